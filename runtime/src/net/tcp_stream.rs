//! TCP connections.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use lisle_lwp::sys::{self, Call};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};

use super::ToSocketAddrs;
use super::addr::resolve;
use super::endpoint::{Endpoint, common, descriptor, stream, waiting, zero_timeout};
use crate::io::{Interest, Source};

/// A TCP connection: [`std::net::TcpStream`], on user threads. All waiting calls
/// are cancellation points.
///
/// Any number of threads may use it at once, through `&TcpStream`: each byte is
/// read by one of them; what one call writes may be torn by another's if the
/// socket takes only a part.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::io::{Read, Write};
/// use std::time::{Duration, Instant};
/// use lisle::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut near = TcpStream::connect(listener.local_addr()?)?;
/// let (far, _) = listener.accept()?;
/// near.write_all(b"hello")?;
/// let mut word = [0; 5];
/// let n = far.read_deadline(&mut word, Instant::now() + Duration::from_secs(5))?;
/// assert_eq!(&word[..n], b"hello");
/// // Nothing more comes.
/// let late = far.read_deadline(&mut word, Instant::now()).unwrap_err();
/// assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpStream {
    endpoint: Endpoint<StdStream>,
}

impl TcpStream {
    /// Connects; with several addresses, to the first that answers.
    ///
    /// # Errors
    /// As std's.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        Self::connect_first(address, None)
    }

    /// Connects as [`TcpStream::connect`]; looking a name up, and all its addresses
    /// together, take until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn connect_deadline(
        address: impl ToSocketAddrs,
        deadline: Instant,
    ) -> io::Result<TcpStream> {
        Self::connect_first(address, Some(deadline))
    }

    /// Connects to one address within a time.
    ///
    /// # Errors
    /// As std's; `TimedOut` when the time is up.
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(zero_timeout());
        }
        Self::connect_to(address, crate::time::now().checked_add(timeout))
    }

    fn connect_first(
        address: impl ToSocketAddrs,
        deadline: Option<Instant>,
    ) -> io::Result<TcpStream> {
        let mut last = None;
        for address in resolve(&address, deadline)? {
            match Self::connect_to(&address, deadline) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
        Err(last.unwrap_or_else(none))
    }

    fn connect_to(address: &SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = sys::guarded(Call::Socket, || {
            Ok(socket_with(
                family,
                SocketType::STREAM,
                flags,
                Some(ipproto::TCP),
            )?)
        })?;
        let begun = sys::guarded(Call::Connect, || Ok(connect(&socket, address)?));
        let pending = match begun {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => true,
            Err(error) => return Err(error),
        };
        let stream = Self::of(socket.into());
        if pending {
            // Writable is what a connection becomes when it is made or refused.
            let source = stream.endpoint.source();
            source.when_ready(Interest::Write, deadline, is_connected)?;
        }
        Ok(stream)
    }

    /// Takes over a stream that is in non-blocking mode.
    pub(super) fn of(stream: StdStream) -> TcpStream {
        TcpStream {
            endpoint: Endpoint::new(stream),
        }
    }

    fn receive(
        &self,
        wanted: usize,
        deadline: Option<Instant>,
        op: impl FnMut(&StdStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.endpoint.reading_up_to(wanted, deadline, op)
    }

    pub(super) fn endpoint(&self) -> &Endpoint<StdStream> {
        &self.endpoint
    }

    pub(crate) fn source(&self) -> &Source<StdStream> {
        self.endpoint.source()
    }

    /// Reads without taking what it reads.
    ///
    /// # Errors
    /// As std's.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.endpoint.reading(None, |stream| stream.peek(buffer))
    }

    /// Reads without taking what it reads, until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn peek_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.endpoint
            .reading(Some(deadline), |stream| stream.peek(buffer))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As std's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.get().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As std's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.get().local_addr()
    }

    /// Sets whether small writes are sent at once.
    ///
    /// # Errors
    /// As std's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.endpoint.get().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// As std's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.endpoint.get().nodelay()
    }

    /// Sets how long closing the socket waits until all is sent; `None`: not at
    /// all, and the kernel goes on sending. Zero makes closing reset the
    /// connection. Whole seconds count. Mind that `close` waits in the kernel,
    /// so that any other time blocks the LWP: call `shutdown` and read to the
    /// end instead.
    ///
    /// # Errors
    /// As std's.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(self.endpoint.get(), linger)?)
    }

    /// How long closing the socket waits.
    ///
    /// # Errors
    /// As std's.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        Ok(sockopt::socket_linger(self.endpoint.get())?)
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

/// Whether a connection that was begun has been made.
fn is_connected(stream: &StdStream) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

descriptor!(TcpStream, StdStream);
waiting!(TcpStream);
common!(TcpStream);
stream!(TcpStream);
