//! Networking, mirroring `std::net`: calls block the calling thread only. A
//! program ports by changing its `use` lines.
//!
//! | here | std's |
//! |---|---|
//! | [`TcpListener`], [`TcpStream`], [`UdpSocket`], [`ToSocketAddrs`] | `std::net` |
//! | [`unix`], as `lisle::os::unix::net` | `std::os::unix::net` |
//! | addresses, [`Shutdown`] | the same types |
//!
//! # What differs from std
//!
//! * **Every call that may wait is a cancellation point** (see
//!   [`cancel`](crate::cancel)): accepting, connecting, reading, writing,
//!   receiving, sending, peeking, looking a name up. A call that is cancelled
//!   has transferred nothing.
//! * A **timeout** that passes is the error `TimedOut`; std's sockets say
//!   `WouldBlock` on Linux. Timeouts belong to the handle, not to the socket.
//! * There are forms with an explicit **deadline** beside what std has: the same
//!   name with `_deadline`, an [`Instant`](std::time::Instant) last. It takes the
//!   timeout's place for that call.
//! * The descriptors are in **non-blocking mode**, which clones, and processes
//!   that share the socket, share too. `set_nonblocking` concerns only whether
//!   this handle's calls wait. What is made from a descriptor, or given away as
//!   one (`IntoRawFd`, `OwnedFd`), is and stays in that mode; `into_std` makes
//!   the socket blocking again.
//! * **Names are resolved** by at most [`resolver::MOST`] helper kernel threads, so
//!   that no LWP waits for the system's resolver. Nothing is cached.
//!
//! # Fairness
//!
//! Threads that wait for the same direction of the same socket are woken
//! together and compete. A thread whose socket is always ready does not give way
//! by itself; one that only moves bytes may want to call
//! [`yield_now`](crate::thread::yield_now) now and then.

mod addr;
mod endpoint;
mod file;
pub mod resolver;
mod tcp;
mod tcp_stream;
mod udp;
pub mod unix;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};

pub use self::addr::ToSocketAddrs;
pub use self::file::SendFile;
pub use self::tcp::{Incoming, TcpListener};
pub use self::tcp_stream::TcpStream;
pub use self::udp::UdpSocket;
