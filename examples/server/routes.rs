//! What the server has to say.

use std::io::Write;

use crate::connection::{Connection, Exchange};
use crate::head::{Framing, Method};
use crate::response::{self, Response};
use crate::stats;
use crate::wire::Failure;

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";

const PAGE: &[u8] = b"\
lisle: user threads on virtual processors.

This is its example HTTP/1.1 server: one user thread per connection, blocking code.

GET  /       this page
POST /echo   sends your body back
GET  /stats  counters of the server and of the runtime, as JSON
";

/// A body up to this size is read to its end before it is echoed, since many clients do not read
/// before they have sent everything. A longer one is echoed while it comes.
const MAX_COLLECTED: usize = 1 << 20;

/// A place that the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Root,
    Echo,
    Stats,
    Unknown,
}

impl Route {
    /// The route for a path without its query.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/" => Self::Root,
            "/echo" => Self::Echo,
            "/stats" => Self::Stats,
            _ => Self::Unknown,
        }
    }
}

/// Answers a request whose head has been read.
pub(crate) fn answer(connection: &mut Connection, exchange: &mut Exchange) -> Result<(), Failure> {
    let get = matches!(exchange.head.method, Method::Get | Method::Head);
    match exchange.head.route {
        Route::Root if get => connection.respond(exchange, Response::ok(TEXT), PAGE),
        Route::Root => refuse_method(connection, exchange, "GET, HEAD"),
        Route::Stats if get => {
            let content = stats::json(connection.shared);
            connection.respond(exchange, Response::ok(JSON), content.as_bytes())
        }
        Route::Stats => refuse_method(connection, exchange, "GET, HEAD"),
        Route::Echo if exchange.head.method == Method::Post => echo(connection, exchange),
        Route::Echo => refuse_method(connection, exchange, "POST"),
        Route::Unknown => {
            let response = Response::new(response::NOT_FOUND, TEXT);
            connection.respond(exchange, response, b"404 Not Found\n")
        }
    }
}

fn refuse_method(
    connection: &mut Connection,
    exchange: &mut Exchange,
    allow: &'static str,
) -> Result<(), Failure> {
    let response = Response {
        allow: Some(allow),
        ..Response::new(response::METHOD_NOT_ALLOWED, TEXT)
    };
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
    let length = match exchange.head.framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    connection.begin_response(exchange, Response::ok(BYTES), length);
    loop {
        let Connection { wire, spool, .. } = connection;
        if length.is_none() {
            // Writing to a vector does not fail.
            let _ = write!(wire.output(), "{:x}\r\n", spool.len());
        }
        wire.send(spool)?;
        if length.is_none() {
            wire.send(b"\r\n")?;
        }
        spool.clear();
        if !exchange.body.read_into(wire, spool)? {
            break;
        }
    }
    if length.is_none() {
        connection.wire.send(b"0\r\n\r\n")?;
    }
    Ok(())
}
