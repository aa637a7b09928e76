//! One connection's transport and its two buffers.
//!
//! Answers gather in the output buffer and go out in one write: at the latest before the next read
//! that asks the socket, so that a client never waits for an answer that sits here, while the
//! answers to pipelined requests that are here already leave together.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::response::{self, Status};
use crate::transport::Transport;

/// The largest head of a request, and the size that the input buffer grows to.
pub(crate) const MAX_INPUT: usize = 16 << 10;

/// The size that the input buffer begins with: most requests fit.
const FIRST_INPUT: usize = 1 << 10;

/// Output beyond this is written out before more is added.
const MAX_OUTPUT: usize = 16 << 10;

/// An output buffer that has grown beyond this is given back.
const OUTPUT_KEPT: usize = 4 << 10;

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

/// A transport with buffers.
pub(crate) struct Wire {
    transport: Transport,
    timeout: Duration,
    /// All of it is initialised; what has been read and not consumed is `input[filled]`.
    input: Vec<u8>,
    filled: Range<usize>,
    output: Vec<u8>,
}

impl Wire {
    /// Takes over `transport`. Every read and write gives up after `timeout` without a byte.
    pub(crate) fn new(transport: Transport, timeout: Duration) -> io::Result<Self> {
        transport.configure(timeout)?;
        Ok(Self {
            transport,
            timeout,
            input: vec![0; FIRST_INPUT],
            filled: 0..0,
            output: Vec::new(),
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
        self.read_until(None)
    }

    fn read_until(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        self.flush()?;
        self.make_room();
        let room = &mut self.input[self.filled.end..];
        let n = self.transport.read(room, deadline)?;
        self.filled.end += n;
        Ok(n)
    }

    /// Reads more of a request that has begun: the client may be late, but not stop here.
    pub(crate) fn read_more(&mut self) -> Result<usize, Failure> {
        self.read_more_by(None)
    }

    /// As [`Wire::read_more`], but gives up at `deadline` however busy the client is.
    pub(crate) fn read_more_until(&mut self, deadline: Instant) -> Result<usize, Failure> {
        self.read_more_by(Some(deadline))
    }

    fn read_more_by(&mut self, deadline: Option<Instant>) -> Result<usize, Failure> {
        match self.read_until(deadline) {
            Ok(0) => Err(Failure::Rejected(response::BAD_REQUEST)),
            Ok(n) => Ok(n),
            Err(error) if is_timeout(&error) => Err(Failure::Rejected(response::REQUEST_TIMEOUT)),
            Err(_) => Err(Failure::Gone),
        }
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
        self.transport.write_all(bytes)
    }

    /// Sends a piece of a file after what waits to be sent. A small one leaves together with it.
    pub(crate) fn send_file(&mut self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        let end = self.output.len();
        if let Ok(length) = usize::try_from(length)
            && end + length <= MAX_OUTPUT
        {
            self.output.resize(end + length, 0);
            return file.read_exact_at(&mut self.output[end..], offset);
        }
        let result = self.transport.send_file(&self.output, file, offset, length);
        self.output.clear();
        result
    }

    /// Sends what waits to be sent.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let result = self.transport.write_all(&self.output);
        self.output.clear();
        self.output.shrink_to(OUTPUT_KEPT);
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
        if self.transport.finish().is_err() {
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
