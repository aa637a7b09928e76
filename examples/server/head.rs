//! The head of a request: request line and headers, checked.
//!
//! Where RFC 9112 lets a server choose between guessing and refusing, this one refuses: two parties
//! that guess differently where a request ends are how one request is smuggled inside another.

use std::mem::MaybeUninit;

use httparse::{Header, Request};

use crate::conditions::Conditions;
use crate::response::{self, Status};
use crate::routes::Route;
use crate::wire::MAX_INPUT;

/// More headers than this are refused.
const MAX_HEADERS: usize = 96;

/// Longer request targets are refused.
const MAX_TARGET: usize = 8 << 10;

/// What the server needs to know of a request before its body. Borrows nothing.
#[derive(Debug)]
pub(crate) struct Head {
    /// Bytes of input that the head took.
    pub(crate) length: usize,
    pub(crate) method: Method,
    pub(crate) route: Route,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    /// The client would like to go on with this connection.
    pub(crate) keep_alive: bool,
    /// The client waits to be told before it sends the body.
    pub(crate) expects_continue: bool,
    /// What a request for a file needs besides.
    pub(crate) file: Option<Box<FileRequest>>,
}

/// Of a request for a file.
#[derive(Debug)]
pub(crate) struct FileRequest {
    /// As it came: with escapes, without the query.
    pub(crate) path: String,
    pub(crate) conditions: Conditions,
}

/// The methods that some route knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// Parses the head at the start of `input`. `None`: it is not all there yet.
pub(crate) fn parse(input: &[u8], files: bool) -> Result<Option<Head>, Status> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(input, &mut headers) {
        Ok(httparse::Status::Complete(length)) => check(&request, length, files).map(Some),
        Ok(httparse::Status::Partial) => check_size(&request, input.len()).map(|()| None),
        Err(httparse::Error::TooManyHeaders) => Err(response::HEADERS_TOO_LARGE),
        Err(httparse::Error::Version) => Err(version_error(input)),
        Err(_) => Err(response::BAD_REQUEST),
    }
}

/// Whether [`parse`] could say more than it did when there were only `before` bytes: it parses from
/// the start each time, which a client that sends single bytes should not make it do.
pub(crate) fn worth_parsing(input: &[u8], before: usize) -> bool {
    let passes = |limit: usize| before <= limit && input.len() > limit;
    // A head ends with a line.
    input[before..].contains(&b'\n') || passes(MAX_TARGET) || passes(MAX_INPUT - 1)
}

/// Refuses a head that is too large already, though not complete.
fn check_size(request: &Request<'_, '_>, size: usize) -> Result<(), Status> {
    if request.path.is_none() && size > MAX_TARGET {
        return Err(match request.method {
            Some(_) => response::URI_TOO_LONG,
            None => response::BAD_REQUEST,
        });
    }
    if size >= MAX_INPUT {
        return Err(response::HEADERS_TOO_LARGE);
    }
    Ok(())
}

/// Tells a version that is not served from a line that has none.
fn version_error(input: &[u8]) -> Status {
    let blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
    // Blank lines before a request are passed over.
    let start = input.iter().take_while(|byte| blank(byte)).count();
    let line = input[start..].split(blank).next().unwrap_or_default();
    let version = line.split(|&byte| byte == b' ').nth(2).unwrap_or_default();
    match version.strip_prefix(b"HTTP/") {
        Some([digit, ..]) if digit.is_ascii_digit() => response::VERSION_NOT_SUPPORTED,
        _ => response::BAD_REQUEST,
    }
}

fn check(request: &Request<'_, '_>, length: usize, files: bool) -> Result<Head, Status> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(response::BAD_REQUEST);
    };
    if target.len() > MAX_TARGET {
        return Err(response::URI_TOO_LONG);
    }
    let version = match minor {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let fields = Fields::collect(request.headers)?;
    if version == Version::Http11 && !fields.host {
        return Err(response::BAD_REQUEST);
    }
    let path = path(target)?;
    let route = Route::of(path);
    let file = files && route.is_perhaps_a_file();
    Ok(Head {
        length,
        method: match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            _ => Method::Other,
        },
        route,
        version,
        framing: fields.framing(version)?,
        keep_alive: !fields.close && (version == Version::Http11 || fields.keep_alive),
        expects_continue: fields.expects_continue && version == Version::Http11,
        file: file.then(|| {
            Box::new(FileRequest {
                path: path.to_owned(),
                conditions: conditions(request.headers),
            })
        }),
    })
}

/// The headers that concern which part of a file is wanted. One that is no text, or comes twice,
/// says nothing.
fn conditions(headers: &[Header<'_>]) -> Conditions {
    let value = |name: &str| {
        let mut found = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        let (first, second) = (found.next()?, found.next());
        let value = str::from_utf8(first.value).ok()?;
        second.is_none().then(|| value.trim().to_owned())
    };
    Conditions {
        if_match: value("if-match"),
        if_none_match: value("if-none-match"),
        if_modified_since: value("if-modified-since"),
        if_range: value("if-range"),
        range: value("range"),
    }
}

/// The path of a target in origin form (`/a?b`) or absolute form (`http://host/a?b`).
fn path(target: &str) -> Result<&str, Status> {
    const SCHEME: &str = "http://";
    let path = if target.starts_with('/') {
        target
    } else {
        match target.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
                &rest[rest.find(['/', '?']).unwrap_or(rest.len())..]
            }
            _ => return Err(response::BAD_REQUEST),
        }
    };
    match path.split('?').next() {
        None | Some("") => Ok("/"),
        Some(path) => Ok(path),
    }
}

/// What the headers that concern the connection say.
#[derive(Default)]
struct Fields {
    host: bool,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn collect(headers: &[Header<'_>]) -> Result<Self, Status> {
        let mut fields = Self::default();
        for header in headers {
            let value = header.value.trim_ascii();
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // By length first: most headers are none of these.
            match header.name.len() {
                4 if is("host") => fields.host(value)?,
                6 if is("expect") => fields.expect(value)?,
                10 if is("connection") => fields.connection(value),
                14 if is("content-length") => fields.content_length(value)?,
                17 if is("transfer-encoding") => fields.transfer_encoding(value)?,
                _ => {}
            }
        }
        Ok(fields)
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Status> {
        let allowed =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(byte);
        if self.host || !value.iter().all(allowed) {
            return Err(response::BAD_REQUEST);
        }
        self.host = true;
        Ok(())
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), Status> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(response::EXPECTATION_FAILED);
        }
        self.expects_continue = true;
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in tokens(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Digits and nothing else, once: neither a sign nor a list of equal numbers.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Status> {
        if self.length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(response::BAD_REQUEST);
        }
        let digits = str::from_utf8(value).map_err(|_| response::BAD_REQUEST)?;
        // Digits that do not fit are a number all the same: a large one.
        self.length = Some(digits.parse().unwrap_or(u64::MAX));
        Ok(())
    }

    /// `chunked` and nothing else, once.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Status> {
        for coding in tokens(value) {
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(response::NOT_IMPLEMENTED);
            }
            if std::mem::replace(&mut self.chunked, true) {
                return Err(response::BAD_REQUEST);
            }
        }
        // An empty list says nothing about where the body ends.
        if !self.chunked {
            return Err(response::BAD_REQUEST);
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, Status> {
        match (self.chunked, self.length) {
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (true, None) if version == Version::Http11 => Ok(Framing::Chunked),
            // Both, or chunks in a version that has none.
            (true, _) => Err(response::BAD_REQUEST),
        }
    }
}

/// The elements of a comma-separated list, without the empty ones.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}
