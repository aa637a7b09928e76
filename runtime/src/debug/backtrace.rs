//! Backtraces: of the calling thread, and of pinned ones.

use std::fmt;

#[cfg(feature = "backtrace")]
#[path = "unwind.rs"]
mod unwind;
#[cfg(not(feature = "backtrace"))]
#[path = "no_unwind.rs"]
mod unwind;

pub(super) use self::unwind::{Own, Unwinder, own_trace};

/// The calls in which a thread is, the innermost first.
#[derive(Debug, Clone)]
pub struct Backtrace(pub(super) Result<Vec<Frame>, &'static str>);

impl Backtrace {
    /// The frames; none if the backtrace cannot be had.
    pub fn frames(&self) -> &[Frame] {
        self.0.as_deref().unwrap_or(&[])
    }

    /// Why it cannot be had.
    pub fn why_not(&self) -> Option<&'static str> {
        self.0.as_ref().err().copied()
    }
}

/// One call. Several have the same address where functions were inlined.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Where the call will return to.
    pub address: usize,
    /// The function, if it is known.
    pub function: Option<String>,
    /// Its source, if that is known: file and line.
    pub source: Option<(String, u32)>,
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = match &self.0 {
            Ok(frames) => frames,
            Err(why) => return writeln!(f, "    no backtrace: {why}"),
        };
        for (number, frame) in frames.iter().enumerate() {
            writeln!(f, "    {number:>2}: {frame}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        match &self.source {
            Some((file, line)) => write!(f, "\n        at {file}:{line}"),
            None => Ok(()),
        }
    }
}
