//! Requests that are refused, and clients that do not behave.

use std::thread;
use std::time::Duration;

use crate::harness::Server;
use crate::{GET, assert_page, echo_with, pattern, post, post_chunked};

fn chunks(chunks: &str) -> String {
    echo_with("Transfer-Encoding: chunked") + chunks
}

/// Requests that the server refuses, started with `--max-body 1000`.
fn refused() -> Vec<(u16, Vec<u8>)> {
    let x = |n: usize| "x".repeat(n);
    let many_headers = "a: b\r\n".repeat(200);
    let texts = [
        (400, "GARBAGE\r\n\r\n".to_owned()),
        (400, "GET /\r\n\r\n".to_owned()),
        (400, "GET / HTTX/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (400, "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (400, "GET  / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (400, "GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (400, "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
        (505, "GET / HTTP/2.0\r\nHost: x\r\n\r\n".to_owned()),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        // The host.
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (
            400,
            "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n".to_owned(),
        ),
        (400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned()),
        // The form of headers.
        (400, echo_with("Content-Length : 0")),
        (400, echo_with("no colon")),
        (400, echo_with("a: b\r\n folded: c")),
        (400, echo_with("a: b\0c")),
        (400, echo_with("a: b\rc")),
        (400, echo_with(": nameless")),
        // Where the body ends.
        (
            400,
            echo_with("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ),
        (
            400,
            echo_with("Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ),
        (400, echo_with("Content-Length: 5\r\nContent-Length: 6")),
        (400, echo_with("Content-Length: 5\r\nContent-Length: 5")),
        (400, echo_with("Content-Length: 5, 5")),
        (400, echo_with("Content-Length: +5")),
        (400, echo_with("Content-Length: -5")),
        (400, echo_with("Content-Length: 0x5")),
        (400, echo_with("Content-Length: 5 5")),
        (400, echo_with("Content-Length:")),
        (400, echo_with("Transfer-Encoding:")),
        (400, echo_with("Transfer-Encoding: chunked, chunked")),
        (
            400,
            echo_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        (
            400,
            "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ),
        (501, echo_with("Transfer-Encoding: gzip")),
        (501, echo_with("Transfer-Encoding: gzip, chunked")),
        (501, echo_with("Transfer-Encoding: xchunked")),
        (417, echo_with("Expect: the worst")),
        // Chunks.
        (400, chunks("x\r\n")),
        (400, chunks("\r\n")),
        (400, chunks("-1\r\n")),
        (400, chunks("0x1\r\n")),
        (400, chunks("1 \r\n")),
        (400, chunks("10000000000000000\r\n")),
        (400, chunks("1\nx\r\n")),
        (400, chunks("1;a\rb\r\nx\r\n")),
        (400, chunks("1\r\nxy\r\n")),
        (400, chunks("1\r\nx\n")),
        (400, chunks(&format!("1;{}\r\n", x(300)))),
        (400, chunks(&format!("1;{}", x(300)))),
        (400, chunks("0\r\na: b\n\r\n")),
        (431, chunks(&format!("0\r\na: {}\r\n\r\n", x(9000)))),
        (
            431,
            chunks(&format!("0\r\n{}\r\n", many_headers.repeat(10))),
        ),
        // What is too large.
        (413, echo_with("Content-Length: 1001")),
        (413, echo_with("Content-Length: 99999999999999999999999999")),
        (413, chunks("3e9\r\n")),
        (413, chunks(&format!("3e8\r\n{}\r\n1\r\n", x(1000)))),
        (413, chunks("ffffffffffffffff\r\n")),
        (414, format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", x(8500))),
        (414, format!("GET /{}", x(8500))),
        (
            414,
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", x(50_000)),
        ),
        (400, x(8500)),
        (431, echo_with(&format!("a: {}", x(20_000)))),
        (431, echo_with(&many_headers)),
        (431, echo_with(&format!("{many_headers}a: {}", x(20_000)))),
    ];
    let texts = texts.into_iter();
    let mut cases: Vec<_> = texts
        .map(|(code, text)| (code, text.into_bytes()))
        .collect();
    // The beginning of a TLS handshake.
    cases.push((
        400,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
    ));
    cases
}

#[test]
fn malformed_requests_are_refused_and_the_connection_closed() {
    let server = Server::start(&["--max-body", "1000"]);
    let cases = refused();
    for (code, request) in &cases {
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]);
        let mut client = server.connect();
        // A sound request first: its answer must not be lost with the refusal.
        client.send([GET.as_bytes(), request].concat());
        assert_page(&client.answer());
        let answer = client.answer();
        assert_eq!(answer.code, *code, "{shown:?}");
        assert!(answer.closes(), "{shown:?}");
        client.expect_end();
    }
    let stats = server.stats();
    assert_eq!(stats["requests"]["rejected"], cases.len());
    assert_eq!(stats["requests"]["answered"], cases.len());
}

#[test]
fn clients_that_leave_in_the_middle() {
    let server = Server::start(&[]);
    let request = post_chunked(b"hello", 2);
    for length in 0..request.len() {
        // Closes both ways.
        server.connect().send(&request[..length]);
        // Closes one way: it can still be told.
        let mut client = server.connect();
        client.send(&request[..length]);
        client.finish_sending();
        if length > 0 {
            assert_eq!(client.answer().code, 400, "{length} bytes");
        }
        client.expect_end();
    }
    assert_page(&server.get("/"));
}

#[test]
fn clients_that_never_read() {
    let server = Server::start(&["--read-timeout-ms", "300"]);
    let mut client = server.connect();
    // Until the server, which cannot send, has given up on this client.
    while client.try_send(post(&pattern(100_000))).is_ok() {}
    assert_page(&server.get("/"));
    assert_eq!(server.stats()["requests"]["broken"], 1);
}

#[test]
fn silent_clients_are_closed() {
    let server = Server::start(&["--read-timeout-ms", "200"]);
    let refused_after = |bytes: &str| {
        let mut client = server.connect();
        client.send(bytes);
        let answer = client.answer();
        assert_eq!(answer.code, 408, "{bytes}");
        assert!(answer.closes());
        client.expect_end();
    };
    refused_after("G");
    refused_after("GET / HTTP/1.1\r\nHost: x\r\n");
    refused_after("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n1234");
    refused_after("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5");
    // One that asks nothing is told nothing.
    let mut client = server.connect();
    client.expect_end();
    let mut client = server.connect();
    client.send(GET);
    assert_page(&client.answer());
    client.expect_end();
}

#[test]
fn clients_that_drip_are_closed() {
    let server = Server::start(&["--read-timeout-ms", "300"]);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\na: ");
    // Never silent for long, never done. Ends when the server has closed.
    while client.try_send("x").is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
    assert_page(&server.get("/"));
    assert_eq!(server.stats()["requests"]["rejected"], 1);
}
