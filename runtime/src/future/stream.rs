//! lisle's streams for async crates.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll};

use crate::io::Interest;
use crate::net::TcpStream;
use crate::net::unix::UnixStream;

/// A stream of [`net`](crate::net) whose operations tell a task when to come
/// again, in place of blocking a thread. With the feature `futures-io` it is an
/// `AsyncRead` and `AsyncWrite` of the futures crates; its methods have the same
/// shape, for other traits to be built on.
///
/// One task at a time can wait for each direction: the last that polled. The
/// stream's timeouts do not count: use
/// [`block_on_deadline`](super::block_on_deadline).
///
/// The task's waker is called by the runtime while it looks for readiness, so it
/// must not block, as wakers should not anyway.
///
/// ```
/// # mod lisle { pub mod os { pub mod unix { pub use lisle_runtime::net::unix as net; } } pub use lisle_runtime::*; }
/// use std::future::poll_fn;
/// use std::io::Write;
/// use lisle::future::{AsyncStream, block_on};
/// use lisle::os::unix::net::UnixStream;
///
/// let (near, mut far) = UnixStream::pair()?;
/// far.write_all(b"hello")?;
/// let near = AsyncStream::new(near);
/// let mut word = [0; 8];
/// let n = block_on(poll_fn(|context| near.poll_read(context, &mut word)))?;
/// assert_eq!(&word[..n], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AsyncStream<T> {
    stream: T,
}

impl<T> AsyncStream<T> {
    /// Wraps a stream.
    pub fn new(stream: T) -> AsyncStream<T> {
        AsyncStream { stream }
    }

    /// The stream.
    pub fn get_ref(&self) -> &T {
        &self.stream
    }

    /// The stream, which blocks again.
    pub fn into_inner(self) -> T {
        self.stream
    }
}

macro_rules! asynchronous {
    ($stream:ident) => {
        impl AsyncStream<$stream> {
            /// Reads, or arranges for the task to be woken when it can.
            pub fn poll_read(
                &self,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.stream
                    .source()
                    .poll_ready(Interest::Read, context, |mut stream| stream.read(buffer))
            }

            /// As `poll_read`, into several buffers.
            pub fn poll_read_vectored(
                &self,
                context: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.stream
                    .source()
                    .poll_ready(Interest::Read, context, |mut stream| {
                        stream.read_vectored(buffers)
                    })
            }

            /// Writes, or arranges for the task to be woken when it can.
            pub fn poll_write(
                &self,
                context: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.stream
                    .source()
                    .poll_ready(Interest::Write, context, |mut stream| stream.write(buffer))
            }

            /// As `poll_write`, from several buffers.
            pub fn poll_write_vectored(
                &self,
                context: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.stream
                    .source()
                    .poll_ready(Interest::Write, context, |mut stream| {
                        stream.write_vectored(buffers)
                    })
            }

            /// Says that no more will be written. Always ready.
            pub fn poll_close(&self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.stream.shutdown(Shutdown::Write))
            }
        }

        #[cfg(feature = "futures-io")]
        impl futures_io::AsyncRead for AsyncStream<$stream> {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Self::poll_read(&self, context, buffer)
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                context: &mut Context<'_>,
                buffers: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                Self::poll_read_vectored(&self, context, buffers)
            }
        }

        #[cfg(feature = "futures-io")]
        impl futures_io::AsyncWrite for AsyncStream<$stream> {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<io::Result<usize>> {
                Self::poll_write(&self, context, buffer)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                context: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Self::poll_write_vectored(&self, context, buffers)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Self::poll_close(&self, context)
            }
        }
    };
}

asynchronous!(TcpStream);
asynchronous!(UnixStream);
