//! Listening for TCP connections.

use std::io;
use std::iter::FusedIterator;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Instant;

use lisle_lwp::sys::{self, Call};
use rustix::net::{SocketFlags, acceptfrom_with, listen};

use super::endpoint::{Endpoint, common, descriptor};
use super::{TcpStream, ToSocketAddrs};
use crate::io::Interest;

/// A listening TCP socket: [`std::net::TcpListener`], on user threads.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::io::{Read, Write};
/// use lisle::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// // SAFETY: the closure touches no thread-local.
/// let client = unsafe {
///     lisle::thread::Builder::new().spawn_light(move || {
///         let mut stream = TcpStream::connect(address)?;
///         stream.write_all(b"hello")
///     })
/// }?;
/// let (mut stream, _) = listener.accept()?;
/// let mut text = String::new();
/// stream.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// client.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpListener {
    endpoint: Endpoint<StdListener>,
}

impl TcpListener {
    /// Binds and listens; with several addresses, on the first that can be
    /// bound. As std's, it lets a program listen again where connections of
    /// its predecessor still linger. The queue of connections that nobody has
    /// accepted yet is as long as the system allows (std's holds 128, and
    /// connections beyond that are lost for a second). Waits only if a name must
    /// be looked up.
    ///
    /// # Errors
    /// As std's.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        let listener = sys::guarded(Call::Bind, || StdListener::bind(&addresses[..]))?;
        // Listening again sets the length of the queue; the kernel limits it.
        sys::guarded(Call::Bind, || Ok(listen(&listener, i32::MAX)?))?;
        Self::from_std(listener)
    }

    /// Waits for a connection. A cancellation point: a cancelled accept takes
    /// no connection.
    ///
    /// # Errors
    /// As std's; among them exhaustion of descriptors, after which a later call
    /// can succeed.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_until(None)
    }

    /// Waits for a connection until the deadline at most.
    ///
    /// # Errors
    /// As [`TcpListener::accept`]; `TimedOut` once the deadline has passed.
    pub fn accept_deadline(&self, deadline: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_until(Some(deadline))
    }

    fn accept_until(&self, deadline: Option<Instant>) -> io::Result<(TcpStream, SocketAddr)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accept = |listener: &StdListener| {
            sys::guarded(Call::Accept, || Ok(acceptfrom_with(listener, flags)?))
        };
        let (socket, peer) = if self.endpoint.is_impatient() {
            accept(self.endpoint.get())?
        } else {
            let source = self.endpoint.source();
            source.when_ready(Interest::Read, deadline, accept)?
        };
        let stream = TcpStream::of(socket.into());
        match peer.map(SocketAddr::try_from) {
            Some(Ok(peer)) => Ok((stream, peer)),
            // The kernel says who it is; if not, the socket may know.
            _ => {
                let peer = stream.peer_addr()?;
                Ok((stream, peer))
            }
        }
    }

    /// The connections one after the other, for ever.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// As std's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.get().local_addr()
    }

    /// The time to live of packets sent.
    ///
    /// # Errors
    /// As std's.
    pub fn ttl(&self) -> io::Result<u32> {
        self.endpoint.get().ttl()
    }

    /// Sets the time to live of packets sent.
    ///
    /// # Errors
    /// As std's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.endpoint.get().set_ttl(ttl)
    }
}

descriptor!(TcpListener, StdListener);
common!(TcpListener);

/// The connections that come to a [`TcpListener`]; never ends.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}
