//! What is wrong with a path expression, and where.

use core::fmt;

/// Why a text is no path expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathErrorKind {
    /// This cannot stand here.
    Unexpected,
    /// The text ends too early.
    UnexpectedEnd,
    /// The operation stands twice in one path, so where it is would be ambiguous.
    Ambiguous,
    /// The operation is not among those that were declared.
    Unknown,
    /// A bound is 0, or too large.
    Bound,
    /// Where a repetition ends would be ambiguous: nothing follows it in its sequence, or
    /// something else may begin instead of it. That is so of a repetition that stands
    /// directly behind another one, or at the beginning of another one, of a member of a
    /// selection, or of what is activated simultaneously. (A whole path is repeated
    /// anyhow.)
    Repetition,
    /// There are too many operations or counters, or brackets are nested too deep.
    TooLarge,
}

/// Why a text is no path expression, and at which byte of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathError {
    kind: PathErrorKind,
    position: usize,
}

impl PathError {
    pub(super) const fn new(kind: PathErrorKind, position: usize) -> PathError {
        PathError { kind, position }
    }

    /// Why.
    pub const fn kind(&self) -> PathErrorKind {
        self.kind
    }

    /// At which byte of the text, from 0.
    pub const fn position(&self) -> usize {
        self.position
    }

    const fn text(&self) -> &'static str {
        match self.kind {
            PathErrorKind::Unexpected => "this cannot stand here",
            PathErrorKind::UnexpectedEnd => "the text ends too early",
            PathErrorKind::Ambiguous => "ambiguous: the operation stands twice in one path",
            PathErrorKind::Unknown => "unknown: no such operation was declared",
            PathErrorKind::Bound => "a bound must be from 1 to 65535",
            PathErrorKind::Repetition => "ambiguous: where this repetition ends",
            PathErrorKind::TooLarge => "too many operations or counters, or brackets too deep",
        }
    }

    /// Panics with the position and the reason; at compile time, that is a compile error.
    #[doc(hidden)]
    pub const fn refuse(&self) -> ! {
        let mut message = [b' '; 128];
        let mut len = write(&mut message, 0, "path expression, byte ");
        let mut place = 1;
        while self.position / place > 9 {
            place *= 10;
        }
        while place > 0 {
            message[len] = b'0' + (self.position / place % 10) as u8;
            len += 1;
            place /= 10;
        }
        len = write(&mut message, len, ": ");
        len = write(&mut message, len, self.text());
        let (message, _) = message.split_at(len);
        match core::str::from_utf8(message) {
            Ok(message) => panic!("{}", message),
            Err(_) => panic!("path expression"),
        }
    }
}

const fn write(message: &mut [u8], mut at: usize, text: &str) -> usize {
    let text = text.as_bytes();
    let mut i = 0;
    while i < text.len() {
        message[at] = text[i];
        at += 1;
        i += 1;
    }
    at
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "path expression, byte {}: {}",
            self.position,
            self.text()
        )
    }
}

impl std::error::Error for PathError {}

/// A path expression has no operation of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownOperation;

impl fmt::Display for UnknownOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path expression has no operation of this name")
    }
}

impl std::error::Error for UnknownOperation {}
