//! Requests that nobody thought of: mutations of corpora, sent to a real server. Each gets
//! answers of known statuses, however it is cut into pieces, and the server goes on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use crate::driver::fuzz;
use crate::harness::{Server, command, emulated};
use crate::{GET, assert_page};

const WORDS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"\r\n",
    b"\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"HTTP/1.0",
    b" ",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"3\r\nabc\r\n",
    b"ffffffffffffffff\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"HEAD ",
    b"%00",
    b"/../",
    b"?",
    b"\0",
];

/// What the server says of itself.
const STATUSES: [u16; 14] = [
    100, 200, 301, 304, 400, 404, 405, 408, 412, 413, 414, 417, 431, 501,
];

/// All that comes back until the server closes.
fn exchange(server: &Server, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    let mut back = Vec::new();
    // A server that refuses may close before it has all: then the rest cannot be sent.
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    match stream.read_to_end(&mut back) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server neither answers nor closes: {error}"),
    }
    back
}

/// The statuses of the answers. A body of an answer may look like another one, so it is
/// passed over by its length.
fn statuses(mut back: &[u8], heads: bool) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !back.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer
            .parse(back)
            .unwrap_or_else(|error| panic!("{error}: {:?}", shown(back)));
        let httparse::Status::Complete(head) = parsed else {
            // A reset took the rest.
            break;
        };
        let status = answer.code.unwrap();
        assert!(
            STATUSES.contains(&status) || status == 505,
            "{:?}",
            shown(back)
        );
        statuses.push(status);
        let field = |name: &str| {
            let found = answer
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).into_owned())
        };
        if heads || field("transfer-encoding").is_some() {
            // Answers to HEAD have a length and no body; chunks are not followed.
            break;
        }
        let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
        back = back.get(head + length..).unwrap_or_default();
    }
    statuses
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

/// Whether some request's answers cannot be told apart from outside.
fn has_heads(input: &[u8]) -> bool {
    input.windows(4).any(|window| window == b"HEAD")
}

#[test]
fn whatever_comes_is_answered_or_refused() {
    let mut command = command();
    command.stderr(Stdio::piped());
    let server = Server::start_command(command, &["--max-body", "1000"]);
    let rounds = if emulated() { 100 } else { 1500 };
    let corpora = ["tests/server/corpus", "tests/fuzz/corpus/requests"];
    fuzz("requests", &corpora, WORDS, rounds, |input| {
        let whole = statuses(&exchange(&server, &[input]), has_heads(input));
        let (first, rest) = input.split_at(input.len() / 2);
        let in_pieces = statuses(&exchange(&server, &[first, rest]), has_heads(input));
        // What was sent after a refusal can make the kernel drop what was not read yet.
        let shorter = whole.len().min(in_pieces.len());
        assert_eq!(whole[..shorter], in_pieces[..shorter]);
        format!("{whole:?}")
    });
    let mut client = server.connect();
    client.send(GET);
    assert_page(&client.answer());
    let complaints = server.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
    server.signal("TERM");
    let (status, said) = server.wait();
    assert!(status.success(), "{status}: {said:?}");
}
