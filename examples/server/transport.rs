//! What a connection's bytes go through: the socket itself, or TLS.

use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use lisle::net::{SendFile, TcpStream};

use crate::tls::Tls;

/// Bytes of a file that are read at a time where the kernel cannot send it by itself.
const PIECE: usize = 64 << 10;

/// See the module documentation.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Transport {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.socket(),
        }
    }

    /// Every read and write gives up after `timeout` without a byte.
    pub(crate) fn configure(&self, timeout: Duration) -> io::Result<()> {
        let socket = self.socket();
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))
    }

    /// Reads once, until `deadline` if there is one. Returns 0 at the end of the stream.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        match (self, deadline) {
            (Self::Plain(socket), None) => io::Read::read(socket, buffer),
            (Self::Plain(socket), Some(deadline)) => socket.read_deadline(buffer, deadline),
            (Self::Tls(tls), deadline) => tls.read(buffer, deadline),
        }
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes),
        }
    }

    /// Sends `head`, then a piece of a file. A file that has become shorter is an error: what the head promised
    /// cannot be kept.
    pub(crate) fn send_file(
        &mut self,
        head: &[u8],
        file: &File,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        match self {
            Self::Plain(socket) => match socket.send_with_file(head, file, offset, length)? {
                sent if sent == length => Ok(()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            },
            Self::Tls(tls) => {
                tls.write_all(head)?;
                let mut piece = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
                let mut sent = 0;
                while sent < length {
                    let wanted = usize::try_from(length - sent).unwrap_or(PIECE).min(PIECE);
                    file.read_exact_at(&mut piece[..wanted], offset + sent)?;
                    tls.write_all(&piece[..wanted])?;
                    sent += wanted as u64;
                }
                Ok(())
            }
        }
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            tls.say_goodbye()?;
        }
        self.socket().shutdown(Shutdown::Write)
    }
}
