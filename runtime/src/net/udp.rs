//! UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use lisle_lwp::sys::{self, Call};

use super::ToSocketAddrs;
use super::addr::resolve;
use super::endpoint::{Endpoint, common, descriptor, waiting};

/// A UDP socket: [`std::net::UdpSocket`], on user threads. All waiting calls are
/// cancellation points; a cancelled one has neither taken nor sent a datagram.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::net::UdpSocket;
///
/// let near = UdpSocket::bind("127.0.0.1:0")?;
/// let far = UdpSocket::bind("127.0.0.1:0")?;
/// near.send_to(b"hello", far.local_addr()?)?;
/// let mut buffer = [0; 16];
/// let (n, from) = far.recv_from(&mut buffer)?;
/// assert_eq!((&buffer[..n], from), (&b"hello"[..], near.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    endpoint: Endpoint<StdSocket>,
}

impl UdpSocket {
    /// Binds; with several addresses, to the first that can be bound. Waits only
    /// if a name must be looked up.
    ///
    /// # Errors
    /// As std's.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        Self::from_std(sys::guarded(Call::Bind, || {
            StdSocket::bind(&addresses[..])
        })?)
    }

    /// Sets the address that `send` sends to and `recv` receives from. Waits
    /// only if a name must be looked up.
    ///
    /// # Errors
    /// As std's.
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
        self.endpoint.get().connect(&addresses[..])
    }

    /// Receives a datagram, and says from whom. What does not fit is cut off.
    ///
    /// # Errors
    /// As std's.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.endpoint
            .reading(None, |socket| socket.recv_from(buffer))
    }

    /// As [`UdpSocket::recv_from`], until the deadline at most.
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

    /// As [`UdpSocket::recv_from`], but the datagram stays.
    ///
    /// # Errors
    /// As std's.
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.endpoint
            .reading(None, |socket| socket.peek_from(buffer))
    }

    /// As [`UdpSocket::peek_from`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn peek_from_deadline(
        &self,
        buffer: &mut [u8],
        deadline: Instant,
    ) -> io::Result<(usize, SocketAddr)> {
        self.endpoint
            .reading(Some(deadline), |socket| socket.peek_from(buffer))
    }

    /// Sends a datagram to the first of the addresses.
    ///
    /// # Errors
    /// As std's.
    pub fn send_to(&self, buffer: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        self.send_to_until(buffer, address, None)
    }

    /// As [`UdpSocket::send_to`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn send_to_deadline(
        &self,
        buffer: &[u8],
        address: impl ToSocketAddrs,
        deadline: Instant,
    ) -> io::Result<usize> {
        self.send_to_until(buffer, address, Some(deadline))
    }

    fn send_to_until(
        &self,
        buffer: &[u8],
        address: impl ToSocketAddrs,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to send to");
        let address = resolve(&address, deadline)?.next().ok_or_else(none)?;
        self.endpoint
            .writing(deadline, |socket| socket.send_to(buffer, address))
    }

    /// Receives a datagram from the connected address.
    ///
    /// # Errors
    /// As std's.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.endpoint.reading(None, |socket| socket.recv(buffer))
    }

    /// As [`UdpSocket::recv`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn recv_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.endpoint
            .reading(Some(deadline), |socket| socket.recv(buffer))
    }

    /// As [`UdpSocket::recv`], but the datagram stays.
    ///
    /// # Errors
    /// As std's.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.endpoint.reading(None, |socket| socket.peek(buffer))
    }

    /// As [`UdpSocket::peek`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn peek_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.endpoint
            .reading(Some(deadline), |socket| socket.peek(buffer))
    }

    /// Sends a datagram to the connected address.
    ///
    /// # Errors
    /// As std's.
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        self.endpoint.writing(None, |socket| socket.send(buffer))
    }

    /// As [`UdpSocket::send`], until the deadline at most.
    ///
    /// # Errors
    /// As std's; `TimedOut` once the deadline has passed.
    pub fn send_deadline(&self, buffer: &[u8], deadline: Instant) -> io::Result<usize> {
        self.endpoint
            .writing(Some(deadline), |socket| socket.send(buffer))
    }
}

/// Options, which std's socket knows: one line each.
macro_rules! options {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl UdpSocket {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As std's.
                pub fn $name(&self, $($argument: $type),*) -> io::Result<$result> {
                    self.endpoint.get().$name($($argument),*)
                }
            )*
        }
    };
}

options! {
    /// The address of this socket.
    fn local_addr() -> SocketAddr;
    /// The address it is connected to.
    fn peer_addr() -> SocketAddr;
    /// Whether it may send to broadcast addresses.
    fn broadcast() -> bool;
    /// Sets whether it may send to broadcast addresses.
    fn set_broadcast(broadcast: bool) -> ();
    /// The time to live of packets sent.
    fn ttl() -> u32;
    /// Sets the time to live of packets sent.
    fn set_ttl(ttl: u32) -> ();
    /// Whether it hears its own IPv4 multicasts.
    fn multicast_loop_v4() -> bool;
    /// Sets whether it hears its own IPv4 multicasts.
    fn set_multicast_loop_v4(yes: bool) -> ();
    /// The time to live of IPv4 multicasts.
    fn multicast_ttl_v4() -> u32;
    /// Sets the time to live of IPv4 multicasts.
    fn set_multicast_ttl_v4(ttl: u32) -> ();
    /// Whether it hears its own IPv6 multicasts.
    fn multicast_loop_v6() -> bool;
    /// Sets whether it hears its own IPv6 multicasts.
    fn set_multicast_loop_v6(yes: bool) -> ();
    /// Joins an IPv4 multicast group on an interface.
    fn join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    /// Joins an IPv6 multicast group on an interface.
    fn join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    /// Leaves an IPv4 multicast group.
    fn leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
    /// Leaves an IPv6 multicast group.
    fn leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
}

descriptor!(UdpSocket, StdSocket);
waiting!(UdpSocket);
common!(UdpSocket);
