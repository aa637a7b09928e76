//! What the server has to say.

use std::io::Write;

use crate::connection::{Connection, Exchange};
use crate::head::{Framing, Method};
use crate::response::{self, Content, Response};
use crate::stats::Snapshot;
use crate::wire::Failure;
use crate::{file_route, metrics};

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
const HELLO: &[u8] = b"Hello, World!";

const PAGE: &[u8] = b"\
lisle: user threads on virtual processors.

This is its example HTTP/1.1 server: one user thread per connection, blocking code.

GET  /         this page, unless --root has an index.html
GET  /hello    a greeting, for measuring
POST /echo     sends your body back
GET  /stats    counters of the server and of the runtime, as JSON
GET  /metrics  the same for Prometheus
GET  /...      files below --root
";

/// A body up to this size is read to its end before it is echoed, since many clients do not read
/// before they have sent everything. A longer one is echoed while it comes.
const MAX_COLLECTED: usize = 1 << 20;

/// A place that the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Root,
    Hello,
    Echo,
    Stats,
    Metrics,
    Other,
}

impl Route {
    /// The route for a path without its query.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/" => Self::Root,
            "/hello" => Self::Hello,
            "/echo" => Self::Echo,
            "/stats" => Self::Stats,
            "/metrics" => Self::Metrics,
            _ => Self::Other,
        }
    }

    /// Whether it is a file's place if files are served.
    pub(crate) fn is_perhaps_a_file(self) -> bool {
        matches!(self, Self::Root | Self::Other)
    }
}

/// Answers a request whose head has been read.
pub(crate) fn answer(connection: &mut Connection, exchange: &mut Exchange) -> Result<(), Failure> {
    if let Some(wanted) = exchange.head.file.take() {
        return file_route::answer(connection, exchange, &wanted);
    }
    let get = matches!(exchange.head.method, Method::Get | Method::Head);
    match exchange.head.route {
        Route::Other => not_found(connection, exchange),
        Route::Echo if exchange.head.method == Method::Post => echo(connection, exchange),
        Route::Echo => refuse_method(connection, exchange, "Allow: POST\r\n"),
        _ if !get => refuse_method(connection, exchange, "Allow: GET, HEAD\r\n"),
        Route::Hello => connection.respond(exchange, Response::ok(TEXT), HELLO),
        Route::Root => page(connection, exchange),
        Route::Stats => {
            let content = Snapshot::take(connection.shared).json();
            connection.respond(exchange, Response::ok(JSON), content.as_bytes())
        }
        Route::Metrics => {
            let content = metrics::text(&Snapshot::take(connection.shared));
            connection.respond(exchange, Response::ok(metrics::TYPE), content.as_bytes())
        }
    }
}

pub(crate) fn page(connection: &mut Connection, exchange: &mut Exchange) -> Result<(), Failure> {
    connection.respond(exchange, Response::ok(TEXT), PAGE)
}

pub(crate) fn not_found(
    connection: &mut Connection,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let response = Response::new(response::NOT_FOUND, TEXT);
    connection.respond(exchange, response, b"404 Not Found\n")
}

pub(crate) fn refuse_method(
    connection: &mut Connection,
    exchange: &mut Exchange,
    allow: &'static str,
) -> Result<(), Failure> {
    let response = Response::new(response::METHOD_NOT_ALLOWED, TEXT).with(allow);
    connection.respond(exchange, response, b"405 Method Not Allowed\n")
}

fn echo(connection: &mut Connection, exchange: &mut Exchange) -> Result<(), Failure> {
    connection.invite_body(exchange)?;
    loop {
        let Connection { wire, spool, .. } = connection;
        if !exchange.body.read_into(wire, spool)? {
            let content = std::mem::take(&mut connection.spool);
            let result = connection.respond(exchange, Response::ok(BYTES), &content);
            connection.spool = content;
            return result;
        }
        if connection.spool.len() > MAX_COLLECTED {
            // Once the answer has begun, an error can only break it off.
            return echo_while_reading(connection, exchange).map_err(|_| Failure::Gone);
        }
    }
}

/// Sends what has been collected, then each piece of the body as it comes.
fn echo_while_reading(connection: &mut Connection, exchange: &mut Exchange) -> Result<(), Failure> {
    let (content, chunked) = match exchange.head.framing {
        Framing::Length(length) => (Content::Length(length), false),
        Framing::Chunked => (Content::Chunked, true),
    };
    connection.begin_response(exchange, Response::ok(BYTES), content);
    loop {
        let Connection { wire, spool, .. } = connection;
        if chunked {
            // Writing to a vector does not fail.
            let _ = write!(wire.output(), "{:x}\r\n", spool.len());
        }
        wire.send(spool)?;
        if chunked {
            wire.send(b"\r\n")?;
        }
        spool.clear();
        if !exchange.body.read_into(wire, spool)? {
            break;
        }
    }
    if chunked {
        connection.wire.send(b"0\r\n\r\n")?;
    }
    Ok(())
}
