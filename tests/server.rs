//! The HTTP server example, end to end: a real process, real sockets, a real client.
//!
//! With `LISLE_TEST_RUNNER` set, the server runs through that command (an emulator). No test
//! asserts how long something takes.
//!
//! ```text
//! cargo test --test server
//! LISLE_TEST_HEAVY=1 cargo test --release --test server concurrent_downloads   (64 times 1 GiB)
//! ```
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // a test waits as any program does

#[path = "server/clients.rs"]
mod clients;
#[path = "fuzz/driver.rs"]
mod driver;
#[path = "server/files.rs"]
mod files;
#[path = "server/fuzz.rs"]
mod fuzz;
#[path = "server/harness.rs"]
mod harness;
#[path = "server/load.rs"]
mod load;
#[path = "server/process.rs"]
mod process;
#[path = "server/protocol.rs"]
mod protocol;
#[path = "server/refusals.rs"]
mod refusals;
#[path = "server/tls.rs"]
mod tls;

use harness::Answer;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn post_chunked(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut request =
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(chunk) {
        request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        request.extend(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

/// A request to `/echo` with these headers, and nothing after them.
fn echo_with(headers: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n")
}

fn assert_page(answer: &Answer) {
    assert_eq!(answer.code, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("lisle"));
}
