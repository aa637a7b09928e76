//! TCP, mirroring `std::net`: calls block the calling user thread only.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::ToSocketAddrs;
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use lisle_lwp::shim::{AtomicU64, Ordering};
use lisle_lwp::sys::{self, Call};
use socket2::{Domain, Protocol, Socket, Type};

use crate::io::{Interest, Source};

/// A listening TCP socket: `std::net::TcpListener`, on user threads.
///
/// ```
/// use std::io::{Read, Write};
/// use lisle_runtime::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// // SAFETY: the closure touches no thread-local.
/// let client = unsafe {
///     lisle_runtime::thread::Builder::new().spawn_light(move || {
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
    source: Source<StdListener>,
}

impl TcpListener {
    /// Binds and listens; with several addresses, on the first that can be
    /// bound.
    ///
    /// # Errors
    /// As std's; and if the default runtime cannot be started.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        Self::from_std(sys::guarded(Call::Bind, || StdListener::bind(address))?)
    }

    /// Takes a listener of std's over; it is made non-blocking.
    ///
    /// # Errors
    /// If the descriptor cannot be made non-blocking or registered.
    pub fn from_std(listener: StdListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener {
            source: Source::new(listener)?,
        })
    }

    /// Waits for a connection. A cancellation point.
    ///
    /// # Errors
    /// As std's; among them exhaustion of descriptors, after which a later call
    /// can succeed.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.source.when_ready(Interest::Read, None, |listener| {
            sys::guarded(Call::Accept, || listener.accept())
        })?;
        Ok((TcpStream::from_std(stream)?, peer))
    }

    /// The connections one after the other, for ever.
    pub fn incoming(&self) -> impl Iterator<Item = io::Result<TcpStream>> + '_ {
        std::iter::repeat_with(|| self.accept().map(|(stream, _)| stream))
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// As std's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// A second handle to the same socket.
    ///
    /// # Errors
    /// As std's.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Self::from_std(self.source.get_ref().try_clone()?)
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get_ref().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.source.get_ref().as_raw_fd()
    }
}

/// No timeout.
const NONE: u64 = 0;

/// A TCP connection: `std::net::TcpStream`, on user threads. All waiting calls
/// are cancellation points.
#[derive(Debug)]
pub struct TcpStream {
    source: Source<StdStream>,
    /// Nanoseconds, or [`NONE`].
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
}

impl TcpStream {
    /// Connects; with several addresses, to the first that answers.
    ///
    /// # Errors
    /// As std's; and if the default runtime cannot be started.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let mut last = None;
        for address in address.to_socket_addrs()? {
            match Self::connect_to(&address, None) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
        Err(last.unwrap_or_else(none))
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

    fn connect_to(address: &SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let domain = Domain::for_address(*address);
        let socket = sys::guarded(Call::Socket, || {
            Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
        })?;
        socket.set_nonblocking(true)?;
        let begun = sys::guarded(Call::Connect, || socket.connect(&(*address).into()));
        let stream = StdStream::from(socket);
        let pending = match begun {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
            Err(error) => return Err(error),
        };
        let stream = Self::from_std(stream)?;
        if pending {
            // Writable is what a connection becomes when it is made or refused.
            stream
                .source
                .when_ready(Interest::Write, deadline, |stream| {
                    match stream.take_error()? {
                        Some(error) => Err(error),
                        None => match stream.peer_addr() {
                            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                                Err(io::ErrorKind::WouldBlock.into())
                            }
                            result => result,
                        },
                    }
                })?;
        }
        Ok(stream)
    }

    /// Takes a stream of std's over; it is made non-blocking. Timeouts set on
    /// it before are not.
    ///
    /// # Errors
    /// If the descriptor cannot be made non-blocking or registered.
    pub fn from_std(stream: StdStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream {
            source: Source::new(stream)?,
            read_timeout: AtomicU64::new(NONE),
            write_timeout: AtomicU64::new(NONE),
        })
    }

    fn stream(&self) -> &StdStream {
        self.source.get_ref()
    }

    fn reading<R>(&self, op: impl FnMut(&StdStream) -> io::Result<R>) -> io::Result<R> {
        self.source.when_ready(
            Interest::Read,
            deadline(&self.read_timeout),
            guarded(Call::Read, op),
        )
    }

    fn writing<R>(&self, op: impl FnMut(&StdStream) -> io::Result<R>) -> io::Result<R> {
        let deadline = deadline(&self.write_timeout);
        self.source
            .when_ready(Interest::Write, deadline, guarded(Call::Write, op))
    }

    /// Reads without taking what it reads.
    ///
    /// # Errors
    /// As std's.
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reading(|stream| stream.peek(buffer))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As std's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As std's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream().local_addr()
    }

    /// Shuts the reading, writing, or both halves down.
    ///
    /// # Errors
    /// As std's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream().shutdown(how)
    }

    /// A second handle to the same connection; its timeouts are its own.
    ///
    /// # Errors
    /// As std's.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        let copy = Self::from_std(self.stream().try_clone()?)?;
        let timeout = self.read_timeout.load(Ordering::Relaxed);
        copy.read_timeout.store(timeout, Ordering::Relaxed);
        let timeout = self.write_timeout.load(Ordering::Relaxed);
        copy.write_timeout.store(timeout, Ordering::Relaxed);
        Ok(copy)
    }

    /// How long a read waits at most; then it fails with `TimedOut` (std's
    /// fails with `WouldBlock` on Linux).
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        set_timeout(&self.read_timeout, timeout)
    }

    /// How long a write waits at most; then it fails with `TimedOut`.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        set_timeout(&self.write_timeout, timeout)
    }

    /// The read timeout.
    ///
    /// # Errors
    /// None; the signature is std's.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(timeout(&self.read_timeout))
    }

    /// The write timeout.
    ///
    /// # Errors
    /// None; the signature is std's.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        Ok(timeout(&self.write_timeout))
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// As std's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream().set_nodelay(nodelay)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// As std's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.stream().nodelay()
    }

    /// Takes the socket's pending error.
    ///
    /// # Errors
    /// As std's.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.stream().take_error()
    }
}

fn guarded<R>(
    call: Call,
    mut op: impl FnMut(&StdStream) -> io::Result<R>,
) -> impl FnMut(&StdStream) -> io::Result<R> {
    move |stream| sys::guarded(call, || op(stream))
}

fn zero_timeout() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "cannot set a timeout of zero; None means none",
    )
}

fn set_timeout(place: &AtomicU64, timeout: Option<Duration>) -> io::Result<()> {
    let nanos = match timeout {
        None => NONE,
        Some(Duration::ZERO) => return Err(zero_timeout()),
        Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
    };
    place.store(nanos, Ordering::Relaxed);
    Ok(())
}

fn timeout(place: &AtomicU64) -> Option<Duration> {
    let nanos = place.load(Ordering::Relaxed);
    (nanos != NONE).then(|| Duration::from_nanos(nanos))
}

fn deadline(place: &AtomicU64) -> Option<Instant> {
    crate::time::now().checked_add(timeout(place)?)
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reading(|mut stream| stream.read(buffer))
    }
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.reading(|mut stream| stream.read_vectored(buffers))
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writing(|mut stream| stream.write(buffer))
    }
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writing(|mut stream| stream.write_vectored(buffers))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl Write for TcpStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(buffers)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream().as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.stream().as_raw_fd()
    }
}
