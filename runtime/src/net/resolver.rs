//! Looking names up without holding an LWP.
//!
//! The system's resolver (`getaddrinfo`) can only block, and wants a large
//! stack. So it runs on helper kernel threads, [`MOST`] of them at the most;
//! further look-ups queue. They end after some seconds without work. Nothing is
//! cached here: what the system caches, it caches.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use std::vec;

use crate::helpers::Helpers;

/// How many names are looked up at once.
pub const MOST: usize = 4;

static RESOLVERS: Helpers = Helpers::new(MOST);

/// The addresses of a host, with this port. A cancellation point; a look-up that
/// is given up goes on in its helper, and its answer is dropped.
///
/// # Errors
/// As `std::net::ToSocketAddrs` for a name and a port; and if the system refuses
/// a kernel thread when there is no helper yet.
///
/// ```
/// # use lisle_runtime as lisle;
/// let mut addresses = lisle::net::resolver::lookup("localhost", 80)?;
/// assert!(addresses.any(|address| address.ip().is_loopback()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn lookup(host: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    lookup_until(host, port, None)
}

/// As [`lookup`], until the deadline at most.
///
/// # Errors
/// As [`lookup`]; `TimedOut` once the deadline has passed.
pub fn lookup_deadline(
    host: &str,
    port: u16,
    deadline: Instant,
) -> io::Result<vec::IntoIter<SocketAddr>> {
    lookup_until(host, port, Some(deadline))
}

pub(super) fn lookup_until(
    host: &str,
    port: u16,
    deadline: Option<Instant>,
) -> io::Result<vec::IntoIter<SocketAddr>> {
    if deadline.is_some_and(|deadline| deadline <= crate::time::now()) {
        // A name that nobody waits for is not worth a helper.
        return Err(io::ErrorKind::TimedOut.into());
    }
    let host = host.to_owned();
    RESOLVERS.call(deadline, move || {
        use std::net::ToSocketAddrs;
        (host.as_str(), port).to_socket_addrs()
    })?
}
