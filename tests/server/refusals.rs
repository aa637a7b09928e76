//! Requests that are refused, and clients that do not behave.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::harness::Server;
use crate::{GET, assert_page, echo_with, pattern, post, post_chunked};

fn chunks(chunks: &str) -> String {
    echo_with("Transfer-Encoding: chunked") + chunks
}

/// The corpus: requests that the server refuses, started with `--max-body 1000`, and the status.
fn corpus() -> Vec<(u16, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/corpus");
    let entries = directory.read_dir().expect("the corpus");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "request")
    });
    paths.sort();
    assert!(paths.len() > 50, "the corpus is there");
    let case = |path: PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).expect("a name");
        let code = name[..3].parse().expect("a status first");
        (code, std::fs::read(&path).expect("a request"))
    };
    paths.into_iter().map(case).collect()
}

/// More of them, too large for files.
fn large() -> Vec<(u16, Vec<u8>)> {
    let x = |n: usize| "x".repeat(n);
    let many_headers = "a: b\r\n".repeat(200);
    let texts = [
        (400, chunks(&format!("1;{}\r\n", x(300)))),
        (400, chunks(&format!("1;{}", x(300)))),
        (431, chunks(&format!("0\r\na: {}\r\n\r\n", x(9000)))),
        (
            431,
            chunks(&format!("0\r\n{}\r\n", many_headers.repeat(10))),
        ),
        (413, chunks(&format!("3e8\r\n{}\r\n1\r\n", x(1000)))),
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
    texts
        .into_iter()
        .map(|(code, text)| (code, text.into_bytes()))
        .collect()
}

#[test]
fn malformed_requests_are_refused_and_the_connection_closed() {
    let server = Server::start(&["--max-body", "1000"]);
    let cases = [corpus(), large()].concat();
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
    // Longer than the machine may keep this client from sending.
    let server = Server::start(&["--read-timeout-ms", "2000"]);
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
