//! Stamped messages, or any others, over byte streams: sockets, pipes, files.
//!
//! ```text
//!   stream:  "lisle" version  frame frame …
//!   frame:   length (4 bytes, little-endian)  body (postcard)
//! ```
//!
//! Both ends of a connection write and read independently: peer to peer. The version
//! is that of this format; a reader refuses others. A frame is at most as long as the
//! [limit](Reader::limit). A reader checks that before it allocates anything for the
//! frame; a writer serialises the message first, and then writes nothing of what is too
//! long.
//!
//! The form of what comes from the other side is not trusted: every malformed input is an
//! error, none a panic, if the message's type is one [to be read](Reader::read) from
//! outside; times near the end of the clocks are refused. What a well-formed message says
//! is believed, its stamp too: see [`MAX_TIME`](crate::MAX_TIME).
//!
//! ```
//! # use lisle_clock::__facade as lisle;
//! use lisle::clock::wire::{Reader, Writer};
//! use lisle::clock::{Clock, Stamped, Vector, VectorStamp};
//!
//! let mut stream = Vec::new(); // a socket, rather
//! let mut here = Vector::new(0);
//! Writer::new(&mut stream).write(&here.stamped("hello".to_string()))?;
//!
//! let mut there = Vector::new(1);
//! let mut reader = Reader::new(&stream[..]);
//! while let Some(hello) = reader.read::<Stamped<String, VectorStamp>>()? {
//!     there.receive(&hello.stamp);
//!     assert_eq!(hello.message, "hello");
//! }
//! # Ok::<(), lisle::clock::wire::WireError>(())
//! ```

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a stream begins with.
const MAGIC: &[u8; 5] = b"lisle";

/// The version of the format.
pub const VERSION: u8 = 1;

/// The limit on frames, in bytes, unless another is set.
pub const LIMIT: u32 = 1 << 20;

/// Why a message could not be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum WireError {
    /// The stream failed.
    Io(io::Error),
    /// The stream does not begin like one of these.
    NotLisle,
    /// It is of another version of the format.
    Version(u8),
    /// A frame of so many bytes exceeds the limit.
    TooLarge(u64),
    /// The stream ended within a frame.
    Truncated,
    /// The body of a frame is no message of the wanted type.
    Malformed(postcard::Error),
    /// After the message, the frame had so many bytes left.
    Trailing(usize),
    /// An earlier error left the stream where no frame begins.
    Broken,
}

/// Writes messages.
#[derive(Debug)]
pub struct Writer<W> {
    stream: W,
    limit: u32,
    begun: bool,
    broken: bool,
}

impl<W: Write> Writer<W> {
    /// A writer at the beginning of a stream. Nothing is written before the first
    /// message. Each message is one call of `write_all`, so a buffer adds nothing.
    pub fn new(stream: W) -> Writer<W> {
        Writer {
            stream,
            limit: LIMIT,
            begun: false,
            broken: false,
        }
    }

    /// Sets the greatest length of a frame.
    #[must_use]
    pub fn limit(mut self, bytes: u32) -> Writer<W> {
        self.limit = bytes;
        self
    }

    /// Writes a message.
    ///
    /// # Errors
    /// If it is too large or cannot be serialised: then nothing is written. If the
    /// stream fails: then the stream is of no further use.
    pub fn write<T: Serialize + ?Sized>(&mut self, message: &T) -> Result<(), WireError> {
        if self.broken {
            return Err(WireError::Broken);
        }
        let mut frame = Vec::new();
        if !self.begun {
            frame.extend_from_slice(MAGIC);
            frame.push(VERSION);
        }
        let head = frame.len();
        frame.extend_from_slice(&[0; 4]);
        let mut frame = postcard::to_extend(message, frame).map_err(WireError::Malformed)?;
        let length = (frame.len() - head - 4) as u64;
        match u32::try_from(length) {
            Ok(length) if length <= self.limit => {
                frame[head..head + 4].copy_from_slice(&length.to_le_bytes());
            }
            _ => return Err(WireError::TooLarge(length)),
        }
        // Half a frame is written if the write fails, or is cancelled.
        self.broken = true;
        self.stream.write_all(&frame).map_err(WireError::Io)?;
        (self.broken, self.begun) = (false, true);
        Ok(())
    }

    /// The stream.
    pub fn get_ref(&self) -> &W {
        &self.stream
    }

    /// Gives the stream back.
    pub fn into_inner(self) -> W {
        self.stream
    }
}

/// Reads messages.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    limit: u32,
    begun: bool,
    broken: bool,
}

impl<R: Read> Reader<R> {
    /// A reader at the beginning of a stream. A message takes two reads or more, so
    /// a `BufReader` around a socket saves system calls.
    pub fn new(stream: R) -> Reader<R> {
        Reader {
            stream,
            limit: LIMIT,
            begun: false,
            broken: false,
        }
    }

    /// Sets the greatest length of a frame.
    #[must_use]
    pub fn limit(mut self, bytes: u32) -> Reader<R> {
        self.limit = bytes;
        self
    }

    /// Reads a message; `None` if the stream ends, after a frame or before the first.
    ///
    /// What is made of a frame is up to the message's type, and the limit bounds it only
    /// as far as each of its parts takes bytes. So the type must not be recursive without
    /// bound, such as a list of boxes, or a frame within the limit can overflow the stack;
    /// and it must have no sequences of what takes no bytes, such as `Vec<()>`, or a few
    /// bytes can announce 2⁶⁴ items, which are then made one after the other. No type of
    /// this crate is or has such.
    ///
    /// # Errors
    /// For whatever is wrong with the stream. After [`Malformed`](WireError::Malformed)
    /// and [`Trailing`](WireError::Trailing) the next frame can be read; after others
    /// the stream is of no further use.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        if self.broken {
            return Err(WireError::Broken);
        }
        // Until the whole frame is here; also if the read is cancelled.
        self.broken = true;
        let frame = self.frame()?;
        self.broken = false;
        let Some(frame) = frame else { return Ok(None) };
        let (message, rest) = postcard::take_from_bytes(&frame).map_err(WireError::Malformed)?;
        match rest.len() {
            0 => Ok(Some(message)),
            left => Err(WireError::Trailing(left)),
        }
    }

    fn frame(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        if !self.begun {
            let mut hello = [0; MAGIC.len() + 1];
            if !self.fill(&mut hello)? {
                return Ok(None);
            }
            match hello.split_last() {
                Some((&VERSION, magic)) if magic == MAGIC => self.begun = true,
                Some((&version, magic)) if magic == MAGIC => {
                    return Err(WireError::Version(version));
                }
                _ => return Err(WireError::NotLisle),
            }
        }
        let mut length = [0; 4];
        if !self.fill(&mut length)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length);
        if length > self.limit {
            return Err(WireError::TooLarge(length.into()));
        }
        // Grows with what comes, not with what was announced.
        let mut frame = Vec::new();
        let mut body = self.stream.by_ref().take(length.into());
        body.read_to_end(&mut frame).map_err(WireError::Io)?;
        match frame.len() == length as usize {
            true => Ok(Some(frame)),
            false => Err(WireError::Truncated),
        }
    }

    /// Fills the buffer; `false` if the stream is at its end.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, WireError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(WireError::Truncated),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(WireError::Io(error)),
            }
        }
        Ok(true)
    }

    /// The stream.
    pub fn get_ref(&self) -> &R {
        &self.stream
    }

    /// Gives the stream back.
    pub fn into_inner(self) -> R {
        self.stream
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Io(error) => write!(f, "the stream failed: {error}"),
            WireError::NotLisle => f.write_str("not a stream of lisle messages"),
            WireError::Version(version) => {
                write!(
                    f,
                    "version {version} of the format; this is version {VERSION}"
                )
            }
            WireError::TooLarge(bytes) => write!(f, "a frame of {bytes} bytes is too large"),
            WireError::Truncated => f.write_str("the stream ended within a frame"),
            WireError::Malformed(error) => write!(f, "malformed message: {error}"),
            WireError::Trailing(bytes) => write!(f, "{bytes} bytes after the message"),
            WireError::Broken => f.write_str("the stream failed before"),
        }
    }
}

impl std::error::Error for WireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WireError::Io(error) => Some(error),
            WireError::Malformed(error) => Some(error),
            _ => None,
        }
    }
}
