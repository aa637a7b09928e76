//! Requests for files.

use std::fmt::Write;
use std::io;

use crate::conditions::Part;
use crate::connection::{Connection, Exchange};
use crate::files::{Found, Served};
use crate::head::{FileRequest, Method};
use crate::response::{self, Content, Response, Status};
use crate::routes::{self, Route, TEXT};
use crate::wire::Failure;

/// Answers a request for what is at a path below the root.
pub(crate) fn answer(
    connection: &mut Connection,
    exchange: &mut Exchange,
    wanted: &FileRequest,
) -> Result<(), Failure> {
    if !matches!(exchange.head.method, Method::Get | Method::Head) {
        return routes::refuse_method(connection, exchange, "Allow: GET, HEAD\r\n");
    }
    let found = match &connection.shared.root {
        Some(root) => root.find(&wanted.path),
        None => Ok(Found::Nothing),
    };
    match found {
        Ok(Found::File(served)) => serve(connection, exchange, wanted, &served),
        Ok(Found::Directory) => {
            let location = format!("Location: {}/\r\n", wanted.path);
            plain(connection, exchange, response::MOVED_PERMANENTLY, &location)
        }
        Ok(Found::Nothing) if exchange.head.route == Route::Root => {
            routes::page(connection, exchange)
        }
        Ok(Found::Nothing) => routes::not_found(connection, exchange),
        Err(error) => {
            report(&error);
            plain(connection, exchange, response::INTERNAL_ERROR, "")
        }
    }
}

fn serve(
    connection: &mut Connection,
    exchange: &mut Exchange,
    wanted: &FileRequest,
    served: &Served,
) -> Result<(), Failure> {
    let mut extra = describe(served);
    let (status, first, length) = match wanted.conditions.part_of(served) {
        Part::Whole => (response::OK, 0, served.length),
        Part::Range(first, last) => {
            // Writing to a string does not fail.
            let _ = write!(
                extra,
                "Content-Range: bytes {first}-{last}/{}\r\n",
                served.length
            );
            (response::PARTIAL_CONTENT, first, last - first + 1)
        }
        Part::NotModified => {
            let response = Response::new(response::NOT_MODIFIED, TEXT).with(&extra);
            connection.respond_with_head(exchange, response, Content::None);
            return Ok(());
        }
        Part::PreconditionFailed => {
            return plain(connection, exchange, response::PRECONDITION_FAILED, "");
        }
        Part::Unsatisfiable => {
            let range = format!("Content-Range: bytes */{}\r\n", served.length);
            return plain(
                connection,
                exchange,
                response::RANGE_NOT_SATISFIABLE,
                &range,
            );
        }
    };
    let response = Response::new(status, served.content_type).with(&extra);
    connection.respond_with_head(exchange, response, Content::Length(length));
    if exchange.head.method != Method::Head {
        // The head has been promised: an error can only break it off.
        connection.wire.send_file(&served.file, first, length)?;
    }
    Ok(())
}

/// The headers that tell one state of a file from another.
fn describe(served: &Served) -> String {
    let modified = httpdate::fmt_http_date(served.modified);
    format!(
        "ETag: {}\r\nLast-Modified: {modified}\r\nAccept-Ranges: bytes\r\n",
        served.etag
    )
}

/// An answer that says its status and no more.
fn plain(
    connection: &mut Connection,
    exchange: &mut Exchange,
    status: Status,
    extra: &str,
) -> Result<(), Failure> {
    let content = format!("{}\n", status.text);
    let response = Response::new(status, TEXT).with(extra);
    connection.respond(exchange, response, content.as_bytes())
}

#[inline(never)]
fn report(error: &io::Error) {
    eprintln!("server: cannot read a file: {error}");
}
