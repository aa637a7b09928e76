//! One connection's socket and its two buffers.
//!
//! Answers gather in the output buffer and go out in one write: at the latest before the next read
//! that asks the socket, so that a client never waits for an answer that sits here, while the
//! answers to pipelined requests that are here already leave together.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::time::{Duration, Instant};

use lisle::net::TcpStream;

use crate::response::{self, Status};

/// The largest head of a request, and the size that the input buffer grows to.
pub(crate) const MAX_INPUT: usize = 16 << 10;

/// The size that the input buffer begins with.
const FIRST_INPUT: usize = 4 << 10;

/// Output beyond this is written out before more is added.
const MAX_OUTPUT: usize = 16 << 10;

/// How a request can fail to be read or answered.
pub(crate) enum Failure {
    /// The client is to be told, and the connection closed.
    Rejected(Status),
    /// There is nobody to tell.
    Gone,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Rejected(status)
    }
}

/// An error of sending: nothing that is said now arrives.
impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// A socket with buffers.
pub(crate) struct Wire {
    stream: TcpStream,
    timeout: Duration,
    /// All of it is initialised; what has been read and not consumed is `input[filled]`.
    input: Vec<u8>,
    filled: Range<usize>,
    output: Vec<u8>,
}

impl Wire {
    /// Takes over `stream`. Every read and write gives up after `timeout` without a byte.
    pub(crate) fn new(stream: TcpStream, timeout: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self {
            stream,
            timeout,
            input: vec![0; FIRST_INPUT],
            filled: 0..0,
            output: Vec::with_capacity(1 << 10),
        })
    }

    /// What has been read and not consumed.
    pub(crate) fn input(&self) -> &[u8] {
        &self.input[self.filled.clone()]
    }

    /// Forgets the first `n` bytes of the input.
    pub(crate) fn consume(&mut self, n: usize) {
        assert!(n <= self.filled.len());
        self.filled.start += n;
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
    }

    /// Reads once, after sending what waits to be sent. Returns 0 at the end of the stream.
    ///
    /// The input must not be full.
    pub(crate) fn read(&mut self) -> io::Result<usize> {
        self.flush()?;
        self.make_room();
        loop {
            match self.stream.read(&mut self.input[self.filled.end..]) {
                Ok(n) => {
                    self.filled.end += n;
                    return Ok(n);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads more of a request that has begun: the client may be late, but not stop here.
    pub(crate) fn read_more(&mut self) -> Result<usize, Failure> {
        match self.read() {
            Ok(0) => Err(Failure::Rejected(response::BAD_REQUEST)),
            Ok(n) => Ok(n),
            Err(error) if is_timeout(&error) => Err(Failure::Rejected(response::REQUEST_TIMEOUT)),
            Err(_) => Err(Failure::Gone),
        }
    }

    /// As [`Wire::read_more`], but gives up at `deadline` however busy the client is.
    pub(crate) fn read_more_until(&mut self, deadline: Instant) -> Result<usize, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Rejected(response::REQUEST_TIMEOUT));
        }
        self.stream.set_read_timeout(Some(left))?;
        let result = self.read_more();
        self.stream.set_read_timeout(Some(self.timeout))?;
        result
    }

    /// Makes sure that something can be read into the buffer: moves, or grows.
    fn make_room(&mut self) {
        if self.filled.end < self.input.len() {
            return;
        }
        if self.filled.start > 0 {
            self.input.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        } else {
            assert!(self.input.len() < MAX_INPUT);
            self.grow_input();
        }
    }

    /// Grows an input buffer that is small for the `bytes` to come.
    pub(crate) fn grow_for(&mut self, bytes: u64) {
        if bytes > self.input.len() as u64 && self.input.len() < MAX_INPUT {
            self.grow_input();
        }
    }

    fn grow_input(&mut self) {
        let size = (self.input.len() * 2).min(MAX_INPUT);
        self.input.resize(size, 0);
    }

    /// Where answers are put together.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Sends `bytes` after what waits to be sent; copies them if they are few.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.output.len() + bytes.len() <= MAX_OUTPUT {
            self.output.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        self.stream.write_all(bytes)
    }

    /// Sends what waits to be sent.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let result = self.stream.write_all(&self.output);
        self.output.clear();
        result
    }

    /// Says that no more will be sent, then reads and drops what the client still sends, within
    /// bounds.
    ///
    /// Closing a socket with unread input resets the connection, and the client may lose an answer
    /// that it has not read yet.
    pub(crate) fn close_gently(&mut self) {
        const MOST_BYTES: usize = 1 << 20;
        const MOST_TIME: Duration = Duration::from_secs(1);
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + MOST_TIME.min(self.timeout);
        let mut dropped = 0;
        while dropped < MOST_BYTES {
            self.filled = 0..0;
            match self.read_more_until(deadline) {
                Ok(n) => dropped += n,
                Err(_) => return,
            }
        }
    }
}

/// What a timeout looks like differs between systems.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
