//! Listening for connections of a machine's own processes.

use std::io;
use std::iter::FusedIterator;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::path::Path;
use std::time::Instant;

use lisle_lwp::sys::{self, Call};

use super::super::endpoint::{Endpoint, common, descriptor};
use super::UnixStream;
use crate::io::Interest;

/// A listening Unix socket: [`std::os::unix::net::UnixListener`], on user threads.
///
/// ```
/// # mod lisle { pub mod os { pub mod unix { pub use lisle_runtime::net::unix as net; } } pub use lisle_runtime::*; }
/// use lisle::os::unix::net::{SocketAddr, UnixListener, UnixStream};
/// use std::os::linux::net::SocketAddrExt;
///
/// let name = format!("lisle-example-{}", std::process::id());
/// let address = SocketAddr::from_abstract_name(name)?;
/// let listener = UnixListener::bind_addr(&address)?;
/// let near = UnixStream::connect_addr(&address)?;
/// let (far, _) = listener.accept()?;
/// # drop((near, far));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixListener {
    endpoint: Endpoint<StdListener>,
}

impl UnixListener {
    /// Binds to a path, which must not be there yet, and listens.
    ///
    /// # Errors
    /// As std's.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        Self::from_std(sys::guarded(Call::Bind, || StdListener::bind(path))?)
    }

    /// Binds to an address and listens.
    ///
    /// # Errors
    /// As std's.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        Self::from_std(sys::guarded(Call::Bind, || {
            StdListener::bind_addr(address)
        })?)
    }

    /// Waits for a connection. A cancellation point: a cancelled accept takes
    /// no connection.
    ///
    /// # Errors
    /// As std's.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(None)
    }

    /// Waits for a connection until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn accept_deadline(&self, deadline: Instant) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept_until(Some(deadline))
    }

    fn accept_until(&self, deadline: Option<Instant>) -> io::Result<(UnixStream, SocketAddr)> {
        let accept = |listener: &StdListener| sys::guarded(Call::Accept, || listener.accept());
        let (stream, peer) = if self.endpoint.is_impatient() {
            accept(self.endpoint.get())?
        } else {
            let source = self.endpoint.source();
            source.when_ready(Interest::Read, deadline, accept)?
        };
        Ok((UnixStream::from_std(stream)?, peer))
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
}

descriptor!(UnixListener, StdListener);
common!(UnixListener);

/// The connections that come to a [`UnixListener`]; never ends.
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<UnixStream>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}
