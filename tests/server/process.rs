//! The server as a process: its command line, and how it ends.

use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::harness::{Client, Server, command, deadline, wait};
use crate::{GET, assert_page, echo_with};

/// A client whose request the server is in the middle of: five bytes are awaited.
fn with_request_under_way(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(echo_with("Expect: 100-continue\r\nContent-Length: 5"));
    assert_eq!(client.head().code, 100);
    client
}

fn drains_on(signal: &str) {
    let server = Server::start(&["--drain", "1000"]);
    let mut idle = server.connect();
    idle.send(GET);
    assert_page(&idle.answer());
    let mut busy = with_request_under_way(&server);

    server.signal(signal);
    idle.expect_end();
    assert!(server.try_connect().is_err(), "nobody listens");
    busy.send("hello");
    let answer = busy.answer();
    assert_eq!(answer.code, 200);
    assert_eq!(answer.body, b"hello");
    assert!(answer.closes());
    busy.expect_end();

    let (status, lines) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(lines, ["served 2 requests"]);
}

#[test]
fn an_interrupt_drains() {
    drains_on("INT");
}

#[test]
fn a_termination_drains() {
    drains_on("TERM");
}

#[test]
fn draining_many_idle_connections() {
    let server = Server::start(&["--drain", "1000"]);
    let mut clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        assert_page(&client.answer());
    }
    server.signal("INT");
    for client in &mut clients {
        client.expect_end();
    }
    let (status, lines) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(lines, ["served 100 requests"]);
}

#[test]
fn draining_loses_no_answer() {
    const CLIENTS: usize = 16;
    let server = Server::start(&["--drain", "1000"]);
    let address = server.address();
    let (warm, all_warm) = channel();
    let client = |warm: Sender<()>| {
        move || {
            let mut client = Client::connect(address).expect("the server accepts");
            let mut answers = 0_u64;
            // Until the server has closed, before or after it has read a request.
            while client.try_send(GET).is_ok()
                && let Some(answer) = client.answer_or_end()
            {
                assert_page(&answer);
                answers += 1;
                if answers == 20 {
                    warm.send(()).expect("somebody waits for this");
                }
            }
            answers
        }
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| thread::spawn(client(warm.clone())))
        .collect();
    for _ in 0..CLIENTS {
        all_warm
            .recv_timeout(deadline())
            .expect("every client is served");
    }
    server.signal("INT");
    let (status, lines) = server.wait();
    let answers = clients
        .into_iter()
        .map(|client| client.join().expect("whole answers"));
    assert_eq!(status.code(), Some(0));
    assert_eq!(lines, [format!("served {} requests", answers.sum::<u64>())]);
}

#[test]
fn draining_has_an_end() {
    let server = Server::start(&["--drain", "1"]);
    let _stuck = with_request_under_way(&server);
    server.signal("INT");
    let (status, lines) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        lines,
        ["served 0 requests; gave up on 1 unfinished connections"]
    );
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    let server = Server::start(&["--drain", "1000"]);
    let mut idle = server.connect();
    idle.send(GET);
    assert_page(&idle.answer());
    let _stuck = with_request_under_way(&server);
    server.signal("INT");
    // The first has arrived.
    idle.expect_end();
    server.signal("INT");
    let (status, _lines) = server.wait();
    assert_eq!(status.code(), Some(130));
}

/// Runs the server with flags that do not let it serve; returns its exit code, stdout and stderr.
pub(crate) fn run(flags: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command();
    command.args(flags).stdin(Stdio::null());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    // What it says fits in a pipe.
    wait(&mut child);
    let output = child.wait_with_output().expect("its output");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_command_line() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for flag in [
        "--addr",
        "--root",
        "--tls",
        "--lwps",
        "--per-request",
        "--light",
        "--max-connections",
        "--warm",
        "--drain",
        "--help",
    ] {
        assert!(stdout.contains(flag), "{flag}");
    }
    let bad: [(&[&str], &str); 13] = [
        (&["--nonsense"], "--nonsense"),
        (&["nonsense"], "nonsense"),
        (&["--addr"], "--addr"),
        (&["--addr", "nowhere"], "nowhere"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--read-timeout-ms", "0"], "--read-timeout-ms"),
        (&["--drain", "soon"], "soon"),
        (&["--lwps", "0"], "--lwps"),
        (&["--tls", "only-one"], "--tls"),
        (&["--root"], "--root"),
        (&["--per-request=yes"], "--per-request"),
        (&["--warm", "-1"], "--warm"),
        (&["--warm", "1", "--light"], "--warm"),
    ];
    for (flags, named) in bad {
        let (code, stdout, stderr) = run(flags);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{flags:?}");
        assert!(stderr.contains(named), "{flags:?}: {stderr}");
    }
}

/// Threads are ready before there are connections, which takes memory; more come when they are needed.
#[test]
fn warm_threads() {
    const WARM: u64 = 1_000;
    let (plain, warm) = (Server::start(&[]), Server::start(&["--warm", "1000"]));
    // A stack's and a control block's pages.
    let least = WARM * (8 << 10);
    assert!(warm.peak_memory() > plain.peak_memory() + least);
    let few = Server::start(&["--warm", "3"]);
    let mut clients: Vec<Client> = (0..30).map(|_| few.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        assert_page(&client.answer());
    }
}

#[test]
fn an_address_that_is_taken() {
    let server = Server::start(&[]);
    let address = server.url("").replace("http://", "");
    let (code, stdout, stderr) = run(&["--addr", &address]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&address), "{stderr}");
}

/// A server that stands still for a while loses nothing of what comes meanwhile.
#[test]
fn stopped_and_continued() {
    let server = Server::start(&[]);
    let mut old: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for client in &mut old {
        client.send(GET);
        assert_page(&client.answer());
    }
    let mut busy = with_request_under_way(&server);
    server.signal("STOP");
    let mut new: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for client in old.iter_mut().chain(&mut new) {
        client.send(GET.repeat(3));
    }
    busy.send("hello");
    server.signal("CONT");
    for client in old.iter_mut().chain(&mut new) {
        for _ in 0..3 {
            assert_page(&client.answer());
        }
    }
    assert_eq!(busy.answer().body, b"hello");
}

#[test]
fn as_many_lwps_as_asked_for() {
    for lwps in [1, 3] {
        let server = Server::start(&["--lwps", &lwps.to_string()]);
        let stats = server.stats();
        assert_eq!(stats["lwps"].as_array().expect("an array").len(), lwps);
    }
}
