//! What all sockets have in common: a source, two timeouts, a mode; and the
//! traits and methods that say so.

use core::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lisle_lwp::shim::{AtomicBool, AtomicU64, Ordering};
use lisle_lwp::sys::{self, Call};

use crate::io::{Interest, Patience, Source};

/// No timeout.
const NONE: u64 = 0;

/// How long calls in one direction wait: nanoseconds, or [`NONE`]. Relaxed
/// throughout: it orders nothing.
#[derive(Debug)]
pub(super) struct Timeout(AtomicU64);

impl Timeout {
    fn new(timeout: Option<Duration>) -> Timeout {
        let nanos = |timeout: Duration| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Timeout(AtomicU64::new(timeout.map_or(NONE, nanos)))
    }

    pub(super) fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(zero_timeout());
        }
        let Timeout(nanos) = Timeout::new(timeout);
        self.0
            .store(nanos.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn get(&self) -> Option<Duration> {
        let nanos = self.0.load(Ordering::Relaxed);
        (nanos != NONE).then(|| Duration::from_nanos(nanos))
    }

    /// A call's own deadline, else this timeout.
    fn patience(&self, deadline: Option<Instant>) -> Patience {
        match (deadline, self.get()) {
            (Some(deadline), _) => Patience::Until(deadline),
            (None, Some(timeout)) => Patience::For(timeout),
            (None, None) => Patience::Endless,
        }
    }
}

pub(super) fn zero_timeout() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "cannot set a timeout of zero; None means none",
    )
}

/// A socket in non-blocking mode, with how its handle waits.
pub(super) struct Endpoint<T: AsFd> {
    source: Source<T>,
    pub(super) read_timeout: Timeout,
    pub(super) write_timeout: Timeout,
    /// Whether calls fail with `WouldBlock` where they would wait.
    impatient: AtomicBool,
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Endpoint<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<T: AsFd> Endpoint<T> {
    /// Takes over a socket that is in non-blocking mode.
    pub(super) fn new(io: T) -> Endpoint<T> {
        Endpoint {
            source: Source::new(io),
            read_timeout: Timeout::new(None),
            write_timeout: Timeout::new(None),
            impatient: AtomicBool::new(false),
        }
    }

    /// Takes over any socket.
    pub(super) fn adopt(io: T) -> io::Result<Endpoint<T>> {
        set_blocking(&io, false)?;
        Ok(Endpoint::new(io))
    }

    /// A second handle to the same socket, `io`, that waits like this one.
    pub(super) fn like(&self, io: T) -> Endpoint<T> {
        Endpoint {
            source: Source::new(io),
            read_timeout: Timeout::new(self.read_timeout.get()),
            write_timeout: Timeout::new(self.write_timeout.get()),
            impatient: AtomicBool::new(self.impatient.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn get(&self) -> &T {
        self.source.get_ref()
    }

    pub(super) fn source(&self) -> &Source<T> {
        &self.source
    }

    pub(super) fn into_inner(self) -> T {
        self.source.into_inner()
    }

    pub(super) fn set_impatient(&self, impatient: bool) {
        self.impatient.store(impatient, Ordering::Relaxed);
    }

    pub(super) fn is_impatient(&self) -> bool {
        self.impatient.load(Ordering::Relaxed)
    }

    /// Does what waits until something can be read.
    pub(super) fn reading<R>(
        &self,
        deadline: Option<Instant>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut op = |io: &T| sys::guarded(Call::Read, || op(io));
        if self.is_impatient() {
            return op(self.get());
        }
        let patience = self.read_timeout.patience(deadline);
        self.source.attempt(Interest::Read, patience, op)
    }

    /// As `reading`, for reads of up to `wanted` bytes from a TCP stream.
    pub(super) fn reading_up_to(
        &self,
        wanted: usize,
        deadline: Option<Instant>,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut op = |io: &T| sys::guarded(Call::Read, || op(io));
        if self.is_impatient() {
            return op(self.get());
        }
        let patience = self.read_timeout.patience(deadline);
        self.source.attempt_read(patience, wanted, op)
    }

    /// Does what waits until something can be written.
    pub(super) fn writing<R>(
        &self,
        deadline: Option<Instant>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut op = |io: &T| sys::guarded(Call::Write, || op(io));
        if self.is_impatient() {
            return op(self.get());
        }
        let patience = self.write_timeout.patience(deadline);
        self.source.attempt(Interest::Write, patience, op)
    }
}

/// Sets the mode of the socket, which all its handles share.
pub(super) fn set_blocking(io: &impl AsFd, blocking: bool) -> io::Result<()> {
    sys::guarded(Call::Control, || {
        Ok(rustix::io::ioctl_fionbio(io, !blocking)?)
    })
}

/// The traits about descriptors, and the conversions, of a socket type whose
/// field `endpoint` is an `Endpoint<$std>`.
macro_rules! descriptor {
    ($socket:ident, $std:ty) => {
        impl $socket {
            /// Takes a socket of std's over, which is made non-blocking. Timeouts set on
            /// it before do not count.
            ///
            /// # Errors
            /// If it cannot be made non-blocking.
            pub fn from_std(socket: $std) -> io::Result<$socket> {
                Ok($socket {
                    endpoint: Endpoint::adopt(socket)?,
                })
            }

            /// std's socket, in blocking mode, as are from then on all other handles
            /// to the same socket.
            ///
            /// # Errors
            /// If it cannot be made blocking.
            pub fn into_std(self) -> io::Result<$std> {
                let socket = self.endpoint.into_inner();
                crate::net::endpoint::set_blocking(&socket, true)?;
                Ok(socket)
            }
        }

        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.endpoint.get().as_fd()
            }
        }

        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.endpoint.get().as_raw_fd()
            }
        }

        /// The descriptor stays in non-blocking mode.
        impl IntoRawFd for $socket {
            fn into_raw_fd(self) -> RawFd {
                self.endpoint.into_inner().into_raw_fd()
            }
        }

        /// The socket is made non-blocking.
        impl FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: RawFd) -> $socket {
                // SAFETY: the caller's promise is the same.
                $socket::from(unsafe { OwnedFd::from_raw_fd(fd) })
            }
        }

        /// The socket is made non-blocking.
        impl From<OwnedFd> for $socket {
            fn from(fd: OwnedFd) -> $socket {
                // The kernel has no reason to refuse this for a socket. If it did,
                // calls would block their LWP, too.
                let _ = crate::net::endpoint::set_blocking(&fd, false);
                $socket {
                    endpoint: Endpoint::new(fd.into()),
                }
            }
        }

        /// The descriptor stays in non-blocking mode.
        impl From<$socket> for OwnedFd {
            fn from(socket: $socket) -> OwnedFd {
                socket.endpoint.into_inner().into()
            }
        }

        impl TryFrom<$std> for $socket {
            type Error = io::Error;
            fn try_from(socket: $std) -> io::Result<$socket> {
                $socket::from_std(socket)
            }
        }

        impl TryFrom<$socket> for $std {
            type Error = io::Error;
            fn try_from(socket: $socket) -> io::Result<$std> {
                socket.into_std()
            }
        }
    };
}

/// The methods about waiting of a socket type.
macro_rules! waiting {
    ($socket:ident) => {
        impl $socket {
            /// How long a call that reads or receives waits at most; then it fails with
            /// `TimedOut` (std's fails with `WouldBlock` on Linux).
            ///
            /// # Errors
            /// `InvalidInput` for a timeout of zero.
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.endpoint.read_timeout.set(timeout)
            }

            /// How long a call that writes or sends waits at most; then it fails with
            /// `TimedOut`.
            ///
            /// # Errors
            /// `InvalidInput` for a timeout of zero.
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.endpoint.write_timeout.set(timeout)
            }

            /// The read timeout.
            ///
            /// # Errors
            /// None; the signature is std's.
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.endpoint.read_timeout.get())
            }

            /// The write timeout.
            ///
            /// # Errors
            /// None; the signature is std's.
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.endpoint.write_timeout.get())
            }
        }
    };
}

/// The methods that every socket type has.
macro_rules! common {
    ($socket:ident) => {
        impl $socket {
            /// A second handle to the same socket; its timeouts are its own.
            ///
            /// # Errors
            /// As std's.
            pub fn try_clone(&self) -> io::Result<$socket> {
                let socket = self.endpoint.get().try_clone()?;
                Ok($socket {
                    endpoint: self.endpoint.like(socket),
                })
            }

            /// Takes the socket's pending error.
            ///
            /// # Errors
            /// As std's.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.endpoint.get().take_error()
            }

            /// With `true`, calls through this handle fail with `WouldBlock` where they
            /// would wait. Other handles to the socket are not concerned, unlike std's.
            ///
            /// # Errors
            /// None; the signature is std's.
            pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                self.endpoint.set_impatient(nonblocking);
                Ok(())
            }
        }
    };
}

/// Reading from and writing to a stream, through `&T` and `T`, on top of its
/// methods `receive` and `transmit`, which take operations on std's stream.
macro_rules! stream {
    ($socket:ident) => {
        impl Read for &$socket {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.receive(buffer.len(), None, |mut stream| stream.read(buffer))
            }
            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
                self.receive(wanted, None, |mut stream| stream.read_vectored(buffers))
            }
        }

        impl Write for &$socket {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                self.endpoint
                    .writing(None, |mut stream| stream.write(buffer))
            }
            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                self.endpoint
                    .writing(None, |mut stream| stream.write_vectored(buffers))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Read for $socket {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }
            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }

        impl Write for $socket {
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

        impl $socket {
            /// Reads as [`Read::read`], until the deadline at most.
            ///
            /// # Errors
            /// As std's; `TimedOut` once the deadline has passed.
            pub fn read_deadline(&self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
                let wanted = buffer.len();
                self.receive(wanted, Some(deadline), |mut stream| stream.read(buffer))
            }

            /// Writes as [`Write::write`], until the deadline at most.
            ///
            /// # Errors
            /// As std's; `TimedOut` once the deadline has passed.
            pub fn write_deadline(&self, buffer: &[u8], deadline: Instant) -> io::Result<usize> {
                self.endpoint
                    .writing(Some(deadline), |mut stream| stream.write(buffer))
            }

            /// Shuts the reading, writing, or both halves down. Does not wait; threads
            /// that wait for those halves go on.
            ///
            /// # Errors
            /// As std's.
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.endpoint.get().shutdown(how)
            }
        }
    };
}

pub(super) use {common, descriptor, stream, waiting};
