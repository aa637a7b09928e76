//! Connections between processes of a machine.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{SocketAddrUnix, SocketType};

use super::super::endpoint::{Endpoint, common, descriptor, stream, waiting};
use crate::io::Source;

/// A connected Unix socket: [`std::os::unix::net::UnixStream`], on user threads.
///
/// ```
/// # mod lisle { pub mod os { pub mod unix { pub use lisle_runtime::net::unix as net; } } pub use lisle_runtime::*; }
/// use std::io::{Read, Write};
/// use lisle::os::unix::net::UnixStream;
///
/// let (mut near, mut far) = UnixStream::pair()?;
/// near.write_all(b"hello")?;
/// drop(near);
/// let mut text = String::new();
/// far.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixStream {
    endpoint: Endpoint<StdStream>,
}

impl UnixStream {
    /// Connects to the socket with this path. A cancellation point.
    ///
    /// # Errors
    /// As std's.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        Self::connect_until(&super::path_address(path.as_ref())?, None)
    }

    /// As [`UnixStream::connect`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn connect_deadline(path: impl AsRef<Path>, deadline: Instant) -> io::Result<UnixStream> {
        Self::connect_until(&super::path_address(path.as_ref())?, Some(deadline))
    }

    /// Connects to the socket with this address. A cancellation point.
    ///
    /// # Errors
    /// As std's.
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        Self::connect_until(&super::address_of(address)?, None)
    }

    fn connect_until(
        address: &SocketAddrUnix,
        deadline: Option<Instant>,
    ) -> io::Result<UnixStream> {
        let socket = super::socket(SocketType::STREAM)?;
        super::connect_patiently(&socket, address, deadline)?;
        Ok(Self::of(socket.into()))
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// As std's.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (near, far) = StdStream::pair()?;
        Ok((Self::from_std(near)?, Self::from_std(far)?))
    }

    /// Takes over a stream that is in non-blocking mode.
    pub(super) fn of(stream: StdStream) -> UnixStream {
        UnixStream {
            endpoint: Endpoint::new(stream),
        }
    }

    fn receive(
        &self,
        _wanted: usize,
        deadline: Option<Instant>,
        op: impl FnMut(&StdStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // A short read says nothing here: see `Source`.
        self.endpoint.reading(deadline, op)
    }

    pub(in crate::net) fn endpoint(&self) -> &Endpoint<StdStream> {
        &self.endpoint
    }

    pub(crate) fn source(&self) -> &Source<StdStream> {
        self.endpoint.source()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As std's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.get().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As std's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.get().peer_addr()
    }
}

descriptor!(UnixStream, StdStream);
waiting!(UnixStream);
common!(UnixStream);
stream!(UnixStream);
