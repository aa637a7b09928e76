//! Statuses, and the heads of answers.

use std::io::Write;

use crate::clock::Clock;
use crate::head::Version;

/// A status code with its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

const fn status(code: u16, reason: &'static str) -> Status {
    Status { code, reason }
}

pub(crate) const OK: Status = status(200, "OK");
pub(crate) const BAD_REQUEST: Status = status(400, "Bad Request");
pub(crate) const NOT_FOUND: Status = status(404, "Not Found");
pub(crate) const METHOD_NOT_ALLOWED: Status = status(405, "Method Not Allowed");
pub(crate) const REQUEST_TIMEOUT: Status = status(408, "Request Timeout");
pub(crate) const CONTENT_TOO_LARGE: Status = status(413, "Content Too Large");
pub(crate) const URI_TOO_LONG: Status = status(414, "URI Too Long");
pub(crate) const EXPECTATION_FAILED: Status = status(417, "Expectation Failed");
pub(crate) const HEADERS_TOO_LARGE: Status = status(431, "Request Header Fields Too Large");
pub(crate) const NOT_IMPLEMENTED: Status = status(501, "Not Implemented");
pub(crate) const VERSION_NOT_SUPPORTED: Status = status(505, "HTTP Version Not Supported");

/// The interim answer to `Expect: 100-continue`.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What an answer says of itself, but for its length and what follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response {
    pub(crate) status: Status,
    pub(crate) content_type: &'static str,
    /// The value of an `Allow` header.
    pub(crate) allow: Option<&'static str>,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It stays open, which each version of HTTP says in its own way.
    KeepAlive(Version),
    Close,
}

impl Response {
    pub(crate) fn new(status: Status, content_type: &'static str) -> Self {
        Self {
            status,
            content_type,
            allow: None,
        }
    }

    pub(crate) fn ok(content_type: &'static str) -> Self {
        Self::new(OK, content_type)
    }

    /// Appends the head to `output`, for content of `length` bytes or, with `None`, in chunks.
    /// Allocates only if `output` must grow.
    pub(crate) fn write_head(
        &self,
        output: &mut Vec<u8>,
        clock: &mut Clock,
        length: Option<u64>,
        persistence: Persistence,
    ) {
        let Status { code, reason } = self.status;
        let content_type = self.content_type;
        // Writing to a vector does not fail.
        let _ = write!(output, "HTTP/1.1 {code} {reason}\r\nDate: ");
        output.extend_from_slice(clock.date());
        let _ = write!(output, "\r\nContent-Type: {content_type}\r\n");
        let _ = match length {
            Some(length) => write!(output, "Content-Length: {length}\r\n"),
            None => write!(output, "Transfer-Encoding: chunked\r\n"),
        };
        if let Some(methods) = self.allow {
            let _ = write!(output, "Allow: {methods}\r\n");
        }
        output.extend_from_slice(match persistence {
            Persistence::KeepAlive(Version::Http11) => b"".as_slice(),
            Persistence::KeepAlive(Version::Http10) => b"Connection: keep-alive\r\n",
            Persistence::Close => b"Connection: close\r\n",
        });
        output.extend_from_slice(b"\r\n");
    }
}
