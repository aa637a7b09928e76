//! Requests that are served, and how.

use std::io::Cursor;

use crate::harness::{Server, deadline};
use crate::{GET, assert_page, pattern, post, post_chunked};

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(deadline()))
        .http_status_as_error(false);
    config.build().into()
}

#[test]
fn a_real_client_gets_the_page() {
    let server = Server::start(&[]);
    let mut response = agent().get(server.url("/")).call().expect("an answer");
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    httpdate::parse_http_date(&header("date")).expect("a date");
    let length: usize = header("content-length").parse().expect("a number");
    let body = response.body_mut().read_to_string().expect("text");
    assert_eq!(body.len(), length);
    assert!(body.contains("lisle"));
}

#[test]
fn a_real_client_gets_its_body_back() {
    let server = Server::start(&[]);
    let agent = agent();
    for length in [0, 1, 1000, 100_000] {
        let body = pattern(length);
        let sent = agent.post(server.url("/echo")).send(&body[..]);
        let echoed = sent
            .expect("an answer")
            .body_mut()
            .read_to_vec()
            .expect("a body");
        assert!(echoed == body, "length {length}");

        let reader = ureq::SendBody::from_owned_reader(Cursor::new(body.clone()));
        let sent = agent.post(server.url("/echo")).send(reader);
        let echoed = sent
            .expect("an answer")
            .body_mut()
            .read_to_vec()
            .expect("a body");
        assert!(echoed == body, "length {length}, chunked");
    }
}

#[test]
fn echo_of_every_size_class() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // Around the sizes where the server changes its way: a buffer, and what it collects.
    for length in [0, 1, 16_383, 16_385, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let body = pattern(length);
        for request in [
            post(&body),
            post_chunked(&body, 50_000),
            post_chunked(&body, 4093),
        ] {
            let sending = client.send_in_background(request);
            let answer = client.answer();
            sending.join().expect("all is sent");
            assert_eq!(answer.code, 200);
            assert!(answer.body == body, "length {length}");
        }
    }
}

#[test]
fn head_is_get_without_content() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.head();
    client.send(GET);
    let get = client.answer();
    assert_eq!(head.code, 200);
    for name in ["content-type", "content-length"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_page(&get);
}

#[test]
fn many_requests_on_one_connection() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for i in 0..100 {
        client.send(GET);
        assert_page(&client.answer());
        let body = format!("request {i}");
        client.send(post(body.as_bytes()));
        assert_eq!(client.answer().body, body.as_bytes());
    }
    // One connection, and the one that asks.
    let stats = server.stats();
    assert_eq!(stats["connections"]["accepted"], 2);
    // The request that asks is not answered yet.
    assert_eq!(stats["requests"]["answered"], 200);
}

#[test]
fn who_keeps_the_connection_open() {
    let server = Server::start(&[]);
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", None),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            Some("close"),
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n\r\n",
            Some("close"),
        ),
        ("GET / HTTP/1.0\r\n\r\n", Some("close")),
        (
            "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            Some("keep-alive"),
        ),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
            Some("close"),
        ),
    ];
    for (request, connection) in cases {
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer();
        assert_page(&answer);
        assert_eq!(answer.header("connection"), connection, "{request}");
        if connection == Some("close") {
            client.expect_end();
        } else {
            client.send(GET);
            assert_page(&client.answer());
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let body = |i: usize| format!("{i} {}", "x".repeat(i * 7)).into_bytes();
    let mut requests = Vec::new();
    for i in 0..200 {
        requests.extend(match i % 3 {
            0 => post(&body(i)),
            1 => post_chunked(&body(i), 10),
            _ => GET.as_bytes().to_vec(),
        });
    }
    let sending = client.send_in_background(requests);
    for i in 0..200 {
        let answer = client.answer();
        match i % 3 {
            2 => assert_page(&answer),
            _ => assert!(answer.body == body(i), "request {i}"),
        }
    }
    sending.join().expect("all is sent");
}

#[test]
fn requests_that_come_byte_by_byte() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let requests = [
        post(b"hello"),
        GET.as_bytes().to_vec(),
        post_chunked(b"hello again", 4),
    ];
    for byte in requests.concat() {
        client.send([byte]);
    }
    assert_eq!(client.answer().body, b"hello");
    assert_page(&client.answer());
    assert_eq!(client.answer().body, b"hello again");
}

#[test]
fn unusual_but_sound_requests() {
    let server = Server::start(&[]);
    let cases = [
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /?query=1 HTTP/1.1\r\nHost:\r\n\r\n", 200),
        ("GET http://x/ HTTP/1.1\r\nhOST: x:80\r\n\r\n", 200),
        ("GET HTTP://x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
        ("GET http://x?q HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (
            "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            404,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            200,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            200,
        ),
        (
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
             A;name=value\r\n0123456789\r\n000\r\nTrailer: a\r\nOther: b\r\n\r\n",
            200,
        ),
    ];
    for (request, code) in cases {
        let mut client = server.connect();
        client.send(request);
        assert_eq!(client.answer().code, code, "{request}");
        // The end of the request was found: the next one is, too.
        client.send(GET);
        assert_page(&client.answer());
    }
}

#[test]
fn large_heads_within_the_limits() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let request = |target: usize, header: usize| {
        let (target, header) = ("x".repeat(target), "x".repeat(header));
        format!("GET /?{target} HTTP/1.1\r\nHost: x\r\na: {header}\r\n\r\n")
    };
    // Smaller and larger than the buffers on their way to the largest.
    for (target, header) in [(8000, 1), (1, 15_000), (8000, 8000), (4000, 2000)] {
        // The second of each begins in the middle of a buffer.
        client.send(request(target, header).repeat(3));
        for _ in 0..3 {
            assert_page(&client.answer());
        }
    }
}

#[test]
fn wrong_methods_are_told_the_right_ones() {
    let server = Server::start(&[]);
    let cases = [
        ("DELETE", "/", "GET, HEAD"),
        ("POST", "/stats", "GET, HEAD"),
        ("GET", "/echo", "POST"),
        ("BREW", "/echo", "POST"),
    ];
    let mut client = server.connect();
    for (method, path, allow) in cases {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.code, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn a_client_that_expects_to_be_invited() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let head = |path: &str, length: usize| {
        let fields = format!("Host: x\r\nExpect: 100-continue\r\nContent-Length: {length}");
        format!("POST {path} HTTP/1.1\r\n{fields}\r\n\r\n")
    };
    client.send(head("/echo", 5));
    assert_eq!(client.head().code, 100);
    client.send("hello");
    assert_eq!(client.answer().body, b"hello");
    // Nothing to wait for, nothing to say.
    client.send(head("/echo", 0));
    assert_eq!(client.answer().code, 200);
    // Whether the body follows is not known, so this connection is over.
    client.send(head("/nothing", 5));
    let answer = client.answer();
    assert_eq!(answer.code, 404);
    assert!(answer.closes());
    client.expect_end();
}
