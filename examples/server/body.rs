//! The body of a request, piece by piece.
//!
//! ```text
//!  Fixed(n) ──n = 0──> Done <──empty line── Trailers
//!                                              ▲ size 0
//!  Size ──size > 0──> Data(n) ──n = 0──> DataEnd ──> Size
//! ```

use crate::head::Framing;
use crate::response;
use crate::wire::{Failure, Wire};

/// The longest line with the size of a chunk, extensions included.
const MAX_SIZE_LINE: usize = 256;

/// The most bytes of trailer fields; they are read and dropped.
const MAX_TRAILERS: usize = 8 << 10;

/// Where the reader is in the body.
pub(crate) struct Body {
    state: State,
    /// Bytes of content that may still come.
    allowance: u64,
}

#[derive(Clone, Copy)]
enum State {
    Fixed(u64),
    Size,
    Data(u64),
    DataEnd,
    Trailers { left: usize },
    Done,
}

impl Body {
    /// A reader of a body framed so, of at most `limit` bytes.
    pub(crate) fn new(framing: Framing, limit: u64) -> Result<Self, Failure> {
        let state = match framing {
            Framing::Length(length) if length > limit => {
                return Err(Failure::Rejected(response::CONTENT_TOO_LARGE));
            }
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Fixed(length),
            Framing::Chunked => State::Size,
        };
        Ok(Self {
            state,
            allowance: limit,
        })
    }

    /// Whether all of it has been read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Appends the next piece to `sink`; returns false when there is none.
    pub(crate) fn read_into(
        &mut self,
        wire: &mut Wire,
        sink: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        loop {
            match self.state {
                State::Fixed(left) => {
                    let left = left - read_data(left, wire, sink)?;
                    self.state = match left {
                        0 => State::Done,
                        left => State::Fixed(left),
                    };
                    return Ok(true);
                }
                State::Data(left) => {
                    let left = left - read_data(left, wire, sink)?;
                    self.state = match left {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(true);
                }
                State::DataEnd => {
                    read_empty_line(wire)?;
                    self.state = State::Size;
                }
                State::Size => self.state = self.read_size(wire)?,
                State::Trailers { left } => self.state = read_trailer(left, wire)?,
                State::Done => return Ok(false),
            }
        }
    }

    /// How many bytes are certain to come still.
    pub(crate) fn left(&self) -> u64 {
        match self.state {
            State::Fixed(left) | State::Data(left) => left,
            _ => 0,
        }
    }

    fn read_size(&mut self, wire: &mut Wire) -> Result<State, Failure> {
        let Some(length) = line(wire, MAX_SIZE_LINE)? else {
            return Err(Failure::Rejected(response::BAD_REQUEST));
        };
        let Some(size) = chunk_size(&wire.input()[..length]) else {
            return Err(Failure::Rejected(response::BAD_REQUEST));
        };
        wire.consume(length + 2);
        let Some(allowance) = self.allowance.checked_sub(size) else {
            return Err(Failure::Rejected(response::CONTENT_TOO_LARGE));
        };
        self.allowance = allowance;
        Ok(match size {
            0 => State::Trailers { left: MAX_TRAILERS },
            _ => State::Data(size),
        })
    }
}

/// Moves up to `left` bytes (more than 0) from the wire to `sink`; returns how many.
fn read_data(left: u64, wire: &mut Wire, sink: &mut Vec<u8>) -> Result<u64, Failure> {
    if wire.input().is_empty() {
        wire.grow_for(left);
        wire.read_more()?;
    }
    let input = wire.input();
    let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    sink.extend_from_slice(&input[..n]);
    wire.consume(n);
    Ok(n as u64)
}

fn read_empty_line(wire: &mut Wire) -> Result<(), Failure> {
    match line(wire, 0)? {
        Some(_) => {
            wire.consume(2);
            Ok(())
        }
        None => Err(Failure::Rejected(response::BAD_REQUEST)),
    }
}

fn read_trailer(left: usize, wire: &mut Wire) -> Result<State, Failure> {
    let Some(length) = line(wire, left)? else {
        return Err(Failure::Rejected(response::HEADERS_TOO_LARGE));
    };
    wire.consume(length + 2);
    Ok(match length {
        0 => State::Done,
        _ => State::Trailers {
            left: left.saturating_sub(length + 2),
        },
    })
}

/// The length of the line at the start of the input, without its CR LF. `None`: longer than `most`.
fn line(wire: &mut Wire, most: usize) -> Result<Option<usize>, Failure> {
    let mut searched = 0;
    loop {
        let input = wire.input();
        if let Some(found) = input[searched..].iter().position(|&byte| byte == b'\n') {
            let end = searched + found;
            // A line feed alone ends no line here; others may think that it does not.
            return match input[..end].split_last() {
                Some((b'\r', line)) if line.contains(&b'\r') => {
                    Err(Failure::Rejected(response::BAD_REQUEST))
                }
                Some((b'\r', line)) => Ok(Some(line.len()).filter(|&length| length <= most)),
                _ => Err(Failure::Rejected(response::BAD_REQUEST)),
            };
        }
        searched = input.len();
        if searched > most + 1 {
            return Ok(None);
        }
        wire.read_more()?;
    }
}

/// The number at the start of `line`: hexadecimal digits, then nothing or an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (number, rest) = line.split_at(digits);
    if !matches!(rest, [] | [b';', ..]) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(number).ok()?, 16).ok()
}
