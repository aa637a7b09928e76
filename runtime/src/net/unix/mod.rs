//! Unix sockets, mirroring `std::os::unix::net`.
//!
//! What [`net`](super) says about cancellation, timeouts, deadlines and modes
//! holds here, too. One thing more: connecting to a listener whose queue is full
//! waits by asking again, more and more rarely (1 to 16 ms), because the kernel
//! does not say when there is room.

mod datagram;
mod listener;
mod stream;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use lisle_lwp::sys::{self, Call};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

pub use std::os::unix::net::SocketAddr;

pub use self::datagram::UnixDatagram;
pub use self::listener::{Incoming, UnixListener};
pub use self::stream::UnixStream;

/// A socket in non-blocking mode.
fn socket(kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    sys::guarded(Call::Socket, || {
        Ok(socket_with(AddressFamily::UNIX, kind, flags, None)?)
    })
}

/// std's address as the system calls take it.
fn address_of(address: &SocketAddr) -> io::Result<SocketAddrUnix> {
    use std::os::linux::net::SocketAddrExt;
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => path_address(path),
        (None, Some(name)) => Ok(SocketAddrUnix::new_abstract_name(name)?),
        (None, None) => Ok(SocketAddrUnix::new_unnamed()),
    }
}

fn path_address(path: &Path) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(path)?)
}

/// Connects, asking again while the listener's queue is full.
fn connect_patiently(
    socket: &OwnedFd,
    address: &SocketAddrUnix,
    deadline: Option<Instant>,
) -> io::Result<()> {
    crate::cancel::checkpoint();
    let mut pause = Duration::from_millis(1);
    loop {
        let begun = sys::guarded(Call::Connect, || Ok(connect(socket, address)?));
        match begun {
            Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
        let now = crate::time::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let until = now + pause;
        crate::time::sleep_until(deadline.map_or(until, |deadline| deadline.min(until)));
        pause = (pause * 2).min(Duration::from_millis(16));
    }
}
