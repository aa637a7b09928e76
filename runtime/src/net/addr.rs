//! What can be turned into addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Instant;
use std::{iter, option, slice, vec};

use super::resolver;

/// What can be turned into socket addresses: [`std::net::ToSocketAddrs`], with
/// names looked up by [`resolver`], so that no LWP waits.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::net::ToSocketAddrs;
/// let mut addresses = "127.0.0.1:80".to_socket_addrs()?;
/// assert_eq!(addresses.next(), Some(([127, 0, 0, 1], 80).into()));
/// assert!(("localhost", 443).to_socket_addrs()?.all(|a| a.port() == 443));
/// assert!("no port".to_socket_addrs().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses.
    type Iter: Iterator<Item = SocketAddr>;

    /// Turns it into addresses. A cancellation point if a name is looked up.
    ///
    /// # Errors
    /// If it is no address, or the name has none.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;

    /// As [`ToSocketAddrs::to_socket_addrs`]; a name is looked up until the deadline
    /// at most.
    ///
    /// # Errors
    /// As [`ToSocketAddrs::to_socket_addrs`]; `TimedOut` once the deadline has passed.
    fn to_socket_addrs_deadline(&self, deadline: Instant) -> io::Result<Self::Iter> {
        let _ = deadline;
        self.to_socket_addrs()
    }
}

/// With a deadline or without.
pub(super) fn resolve<A: ToSocketAddrs + ?Sized>(
    address: &A,
    deadline: Option<Instant>,
) -> io::Result<A::Iter> {
    match deadline {
        Some(deadline) => address.to_socket_addrs_deadline(deadline),
        None => address.to_socket_addrs(),
    }
}

impl ToSocketAddrs for SocketAddr {
    type Iter = option::IntoIter<SocketAddr>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(Some(*self).into_iter())
    }
}

/// Types of which each value is one address.
macro_rules! single {
    ($($address:ty),*) => {$(
        impl ToSocketAddrs for $address {
            type Iter = option::IntoIter<SocketAddr>;
            fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                SocketAddr::from(*self).to_socket_addrs()
            }
        }
    )*};
}

single!(
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

fn of_host(
    (host, port): (&str, u16),
    deadline: Option<Instant>,
) -> io::Result<vec::IntoIter<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::from((address, port))].into_iter()),
        Err(_) => resolver::lookup_until(host, port, deadline),
    }
}

fn of_text(text: &str, deadline: Option<Instant>) -> io::Result<vec::IntoIter<SocketAddr>> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address].into_iter());
    }
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| invalid("invalid socket address: want HOST:PORT"))?;
    let port = port.parse().map_err(|_| invalid("invalid port value"))?;
    of_host((host, port), deadline)
}

/// Types whose values may be names.
macro_rules! named {
    ($($named:ty, |$value:ident, $deadline:ident| $resolve:expr;)*) => {$(
        impl ToSocketAddrs for $named {
            type Iter = vec::IntoIter<SocketAddr>;
            fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                let ($value, $deadline) = (self, None);
                $resolve
            }
            fn to_socket_addrs_deadline(&self, deadline: Instant) -> io::Result<Self::Iter> {
                let ($value, $deadline) = (self, Some(deadline));
                $resolve
            }
        }
    )*};
}

named!(
    (&str, u16), |host, deadline| of_host(*host, deadline);
    (String, u16), |host, deadline| of_host((&host.0, host.1), deadline);
    str, |text, deadline| of_text(text, deadline);
    String, |text, deadline| of_text(text, deadline);
);

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Copied<slice::Iter<'a, SocketAddr>>;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().copied())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }
    fn to_socket_addrs_deadline(&self, deadline: Instant) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs_deadline(deadline)
    }
}
