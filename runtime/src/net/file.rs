//! Sending files without copying them through the program.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::fs::sendfile;
use rustix::net::SendFlags;

use super::TcpStream;
use super::endpoint::Endpoint;
use super::unix::UnixStream;

/// The most that one system call sends. The kernel copies it, and reads what
/// the page cache has not, while the LWP waits; so other threads have their turn
/// in between.
const PIECE: u64 = 256 << 10;

/// Streams that can send a piece of a file by themselves: `sendfile`.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::io::{Read, Write};
/// use lisle::net::{SendFile, unix::UnixStream};
///
/// let mut file = std::env::current_exe().and_then(std::fs::File::open)?;
/// let mut expected = [0; 100];
/// file.read_exact(&mut expected)?;
///
/// let (near, mut far) = UnixStream::pair()?;
/// assert_eq!(near.send_file(&file, 0, 100)?, 100);
/// let mut sent = [0; 100];
/// far.read_exact(&mut sent)?;
/// assert_eq!(sent, expected);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait SendFile {
    /// Sends `length` bytes of the file from `offset` on; returns how many were
    /// sent: fewer if the file ends before. The file's own position neither
    /// counts nor moves. Waits while the stream is full; the write timeout
    /// counts for each such wait. A cancellation point; a part may have been
    /// sent by then. Between pieces other threads have their turn.
    ///
    /// # Errors
    /// As `write`; as reading the file; `InvalidInput` for what cannot be mapped
    /// (pipes, sockets).
    fn send_file(&self, file: &File, offset: u64, length: u64) -> io::Result<u64>;

    /// As [`SendFile::send_file`], all of it until the deadline at most.
    ///
    /// # Errors
    /// As [`SendFile::send_file`]; `TimedOut` once the deadline has passed.
    fn send_file_deadline(
        &self,
        file: &File,
        offset: u64,
        length: u64,
        deadline: Instant,
    ) -> io::Result<u64>;

    /// Sends `head`, all of it, and then as [`SendFile::send_file`]; returns how
    /// many bytes of the file were sent. The kernel is told that more follows
    /// the head, so that it does not leave in a packet of its own.
    ///
    /// # Errors
    /// As [`SendFile::send_file`].
    fn send_with_file(&self, head: &[u8], file: &File, offset: u64, length: u64)
    -> io::Result<u64>;
}

fn send_head<T: AsFd>(endpoint: &Endpoint<T>, mut head: &[u8]) -> io::Result<()> {
    while !head.is_empty() {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        let n = endpoint.writing(None, |stream| Ok(rustix::net::send(stream, head, flags)?))?;
        head = &head[n..];
    }
    Ok(())
}

fn send<T: AsFd>(
    endpoint: &Endpoint<T>,
    file: &File,
    offset: u64,
    length: u64,
    deadline: Option<Instant>,
) -> io::Result<u64> {
    let mut sent = 0;
    while sent < length {
        let mut from = offset.saturating_add(sent);
        let piece = (length - sent).min(PIECE) as usize;
        let n = endpoint.writing(deadline, |stream| {
            Ok(sendfile(stream, file, Some(&mut from), piece)?)
        })?;
        if n == 0 {
            break;
        }
        sent += n as u64;
        if sent < length && n == piece {
            crate::thread::yield_now();
        }
    }
    Ok(sent)
}

macro_rules! sends_files {
    ($($stream:ident),*) => {$(
        impl SendFile for $stream {
            fn send_file(&self, file: &File, offset: u64, length: u64) -> io::Result<u64> {
                send(self.endpoint(), file, offset, length, None)
            }

            fn send_file_deadline(
                &self,
                file: &File,
                offset: u64,
                length: u64,
                deadline: Instant,
            ) -> io::Result<u64> {
                send(self.endpoint(), file, offset, length, Some(deadline))
            }

            fn send_with_file(
                &self,
                head: &[u8],
                file: &File,
                offset: u64,
                length: u64,
            ) -> io::Result<u64> {
                send_head(self.endpoint(), head)?;
                send(self.endpoint(), file, offset, length, None)
            }
        }
    )*};
}

sends_files!(TcpStream, UnixStream);
