//! Statuses, and the heads of answers.

use crate::clock::Clock;
use crate::head::Version;

/// A status code with its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) text: &'static str,
}

const fn status(text: &'static str) -> Status {
    Status { text }
}

pub(crate) const OK: Status = status("200 OK");
pub(crate) const PARTIAL_CONTENT: Status = status("206 Partial Content");
pub(crate) const MOVED_PERMANENTLY: Status = status("301 Moved Permanently");
pub(crate) const NOT_MODIFIED: Status = status("304 Not Modified");
pub(crate) const BAD_REQUEST: Status = status("400 Bad Request");
pub(crate) const NOT_FOUND: Status = status("404 Not Found");
pub(crate) const METHOD_NOT_ALLOWED: Status = status("405 Method Not Allowed");
pub(crate) const REQUEST_TIMEOUT: Status = status("408 Request Timeout");
pub(crate) const PRECONDITION_FAILED: Status = status("412 Precondition Failed");
pub(crate) const CONTENT_TOO_LARGE: Status = status("413 Content Too Large");
pub(crate) const URI_TOO_LONG: Status = status("414 URI Too Long");
pub(crate) const RANGE_NOT_SATISFIABLE: Status = status("416 Range Not Satisfiable");
pub(crate) const EXPECTATION_FAILED: Status = status("417 Expectation Failed");
pub(crate) const HEADERS_TOO_LARGE: Status = status("431 Request Header Fields Too Large");
pub(crate) const INTERNAL_ERROR: Status = status("500 Internal Server Error");
pub(crate) const NOT_IMPLEMENTED: Status = status("501 Not Implemented");
pub(crate) const VERSION_NOT_SUPPORTED: Status = status("505 HTTP Version Not Supported");

/// The interim answer to `Expect: 100-continue`.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer says of itself, but for its length and what follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response<'a> {
    pub(crate) status: Status,
    pub(crate) content_type: &'static str,
    /// Further header lines, each with its end.
    pub(crate) extra: &'a str,
}

/// What follows the head of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    Length(u64),
    Chunked,
    /// Nothing, by the status's nature.
    None,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It stays open, which each version of HTTP says in its own way.
    KeepAlive(Version),
    Close,
}

impl<'a> Response<'a> {
    pub(crate) fn new(status: Status, content_type: &'static str) -> Self {
        Self {
            status,
            content_type,
            extra: "",
        }
    }

    pub(crate) fn ok(content_type: &'static str) -> Self {
        Self::new(OK, content_type)
    }

    pub(crate) fn with(self, extra: &'a str) -> Self {
        Self { extra, ..self }
    }

    /// Appends the head to `output`. Allocates only if `output` must grow.
    ///
    /// By hand, because this is a good part of what answering a small request costs; the formatting
    /// machinery takes twice as long.
    pub(crate) fn write_head(
        &self,
        output: &mut Vec<u8>,
        clock: &mut Clock,
        content: Content,
        persistence: Persistence,
    ) {
        output.reserve(192 + self.extra.len());
        output.extend_from_slice(b"HTTP/1.1 ");
        output.extend_from_slice(self.status.text.as_bytes());
        output.extend_from_slice(b"\r\nDate: ");
        output.extend_from_slice(clock.date());
        if !matches!(content, Content::None) {
            output.extend_from_slice(b"\r\nContent-Type: ");
            output.extend_from_slice(self.content_type.as_bytes());
        }
        match content {
            Content::Length(length) => {
                output.extend_from_slice(b"\r\nContent-Length: ");
                write_decimal(output, length);
            }
            Content::Chunked => output.extend_from_slice(b"\r\nTransfer-Encoding: chunked"),
            Content::None => {}
        }
        output.extend_from_slice(b"\r\n");
        output.extend_from_slice(self.extra.as_bytes());
        output.extend_from_slice(match persistence {
            Persistence::KeepAlive(Version::Http11) => b"\r\n".as_slice(),
            Persistence::KeepAlive(Version::Http10) => b"Connection: keep-alive\r\n\r\n",
            Persistence::Close => b"Connection: close\r\n\r\n",
        });
    }
}

fn write_decimal(output: &mut Vec<u8>, mut number: u64) {
    // As many digits as the largest number has.
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return output.extend_from_slice(&digits[first..]);
        }
    }
}
