//! Datagrams between processes of a machine.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use lisle_lwp::sys::{self, Call};

use super::super::endpoint::{Endpoint, common, descriptor, waiting};

/// A Unix datagram socket: [`std::os::unix::net::UnixDatagram`], on user threads.
///
/// ```
/// # mod lisle { pub mod os { pub mod unix { pub use lisle_runtime::net::unix as net; } } pub use lisle_runtime::*; }
/// use lisle::os::unix::net::UnixDatagram;
///
/// let (near, far) = UnixDatagram::pair()?;
/// near.send(b"hello")?;
/// let mut buffer = [0; 16];
/// let n = far.recv(&mut buffer)?;
/// assert_eq!(&buffer[..n], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixDatagram {
    endpoint: Endpoint<StdDatagram>,
}

impl UnixDatagram {
    /// A socket bound to a path, which must not be there yet.
    ///
    /// # Errors
    /// As std's.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        Self::from_std(sys::guarded(Call::Bind, || StdDatagram::bind(path))?)
    }

    /// A socket bound to an address.
    ///
    /// # Errors
    /// As std's.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        Self::from_std(sys::guarded(Call::Bind, || {
            StdDatagram::bind_addr(address)
        })?)
    }

    /// A socket without an address.
    ///
    /// # Errors
    /// As std's.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Self::from_std(sys::guarded(Call::Socket, StdDatagram::unbound)?)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// As std's.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (near, far) = StdDatagram::pair()?;
        Ok((Self::from_std(near)?, Self::from_std(far)?))
    }

    /// Sets the path that `send` sends to and `recv` receives from.
    ///
    /// # Errors
    /// As std's.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.endpoint.get().connect(path)
    }

    /// Sets the address that `send` sends to and `recv` receives from.
    ///
    /// # Errors
    /// As std's.
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.endpoint.get().connect_addr(address)
    }

    /// Receives a datagram, and says from whom. What does not fit is cut off.
    ///
    /// # Errors
    /// As std's.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.endpoint
            .reading(None, |socket| socket.recv_from(buffer))
    }

    /// As [`UnixDatagram::recv_from`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn recv_from_deadline(
        &self,
        buffer: &mut [u8],
        deadline: Instant,
    ) -> io::Result<(usize, SocketAddr)> {
        self.endpoint
            .reading(Some(deadline), |socket| socket.recv_from(buffer))
    }

    /// Receives a datagram.
    ///
    /// # Errors
    /// As std's.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.endpoint.reading(None, |socket| socket.recv(buffer))
    }

    /// As [`UnixDatagram::recv`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn recv_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.endpoint
            .reading(Some(deadline), |socket| socket.recv(buffer))
    }

    /// Sends a datagram to the socket with this path. Waits while its queue is
    /// full.
    ///
    /// # Errors
    /// As std's.
    pub fn send_to(&self, buffer: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.endpoint
            .writing(None, |socket| socket.send_to(buffer, path.as_ref()))
    }

    /// As [`UnixDatagram::send_to`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn send_to_deadline(
        &self,
        buffer: &[u8],
        path: impl AsRef<Path>,
        deadline: Instant,
    ) -> io::Result<usize> {
        self.endpoint.writing(Some(deadline), |socket| {
            socket.send_to(buffer, path.as_ref())
        })
    }

    /// Sends a datagram to the socket with this address. Waits while its queue
    /// is full.
    ///
    /// # Errors
    /// As std's.
    pub fn send_to_addr(&self, buffer: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.endpoint
            .writing(None, |socket| socket.send_to_addr(buffer, address))
    }

    /// Sends a datagram to the connected address.
    ///
    /// # Errors
    /// As std's.
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.endpoint.writing(None, |socket| socket.send(buffer))
    }

    /// As [`UnixDatagram::send`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn send_deadline(&self, buffer: &[u8], deadline: Instant) -> io::Result<usize> {
        self.endpoint
            .writing(Some(deadline), |socket| socket.send(buffer))
    }

    /// The address of this socket.
    ///
    /// # Errors
    /// As std's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.get().local_addr()
    }

    /// The address it is connected to.
    ///
    /// # Errors
    /// As std's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.get().peer_addr()
    }

    /// Shuts receiving, sending, or both down. Does not wait.
    ///
    /// # Errors
    /// As std's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.endpoint.get().shutdown(how)
    }
}

descriptor!(UnixDatagram, StdDatagram);
waiting!(UnixDatagram);
common!(UnixDatagram);
