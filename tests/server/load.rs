//! Many connections, limits, and what the server counts.

use std::process::{Command, Stdio};
use std::thread;

use crate::harness::{Client, Server, command, emulated, raise_descriptor_limit};
use crate::{GET, assert_page, post};

#[test]
fn two_hundred_connections_at_once() {
    let server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for round in 0..5 {
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(post(format!("{round} {i}").as_bytes()));
        }
        for (i, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.answer().body, format!("{round} {i}").into_bytes());
        }
    }
    let stats = server.stats();
    assert_eq!(stats["connections"]["open"], 201);
    assert_eq!(stats["requests"]["answered"], 1000);
}

#[test]
fn busy_clients_in_parallel() {
    let server = Server::start(&[]);
    let address = server.address();
    thread::scope(|scope| {
        for client in 0..16 {
            scope.spawn(move || {
                for connection in 0..10 {
                    let mut wire = Client::connect(address).expect("the server accepts");
                    for request in 0..20 {
                        let body = format!("{client} {connection} {request}");
                        wire.send(post(body.as_bytes()));
                        assert_eq!(wire.answer().body, body.as_bytes());
                    }
                }
            });
        }
    });
    assert_eq!(server.stats()["requests"]["answered"], 16 * 10 * 20);
}

#[test]
fn one_request_per_connection_if_so_asked() {
    one_request_per_connection(&["--per-request"]);
    one_request_per_connection(&["--per-request", "--light"]);
}

fn one_request_per_connection(flags: &[&str]) {
    let server = Server::start(flags);
    for _ in 0..20 {
        let mut client = server.connect();
        // The second request finds nobody.
        client.send(GET.repeat(2));
        let answer = client.answer();
        assert_page(&answer);
        assert!(answer.closes());
        client.expect_end();
    }
    assert_eq!(server.stats()["requests"]["answered"], 20);
}

#[test]
fn connections_over_the_limit_wait() {
    let server = Server::start(&["--max-connections", "1"]);
    let stats = |client: &mut Client| -> serde_json::Value {
        serde_json::from_slice(&client.answer().body).expect("JSON")
    };
    let request = "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = server.connect();
    first.send(request);
    assert_eq!(stats(&mut first)["connections"]["accepted"], 1);
    // Connected, as far as the kernel is concerned.
    let mut second = server.connect();
    second.send(request);
    first.send(request);
    assert_eq!(stats(&mut first)["connections"]["accepted"], 1);
    drop(first);
    let stats = stats(&mut second);
    assert_eq!(stats["connections"]["accepted"], 2);
    assert_eq!(stats["connections"]["open"], 1);
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let server = command();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 64 && exec \"$@\"", "sh"]);
    shell.arg(server.get_program()).args(server.get_args());
    shell.stderr(Stdio::piped());
    let server = Server::start_command(shell, &[]);
    let mut clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    assert!(server.complaint().contains("cannot take a connection"));
    for client in &mut clients {
        client.send(GET);
    }
    // Those that are served make room for those that wait.
    for mut client in clients {
        assert_page(&client.answer());
    }
    assert_page(&server.get("/"));
}

#[test]
fn stats_are_json() {
    let server = Server::start(&["--max-connections", "77"]);
    let answer = server.get("/stats");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let stats = server.stats();
    assert!(stats["uptime_seconds"].is_u64());
    assert_eq!(stats["requests"]["answered"], 1);
    assert_eq!(stats["requests"]["rejected"], 0);
    assert!(stats["requests"]["broken"].is_u64());
    assert_eq!(stats["connections"]["limit"], 77);
    let lwps = stats["lwps"].as_array().expect("an array");
    assert!(!lwps.is_empty());
    for lwp in lwps {
        for field in ["id", "switches", "steals", "sleeps", "queued"] {
            assert!(lwp[field].is_u64(), "{field} in {lwp}");
        }
    }
    for kind in ["added", "blocked", "preempted", "unblocked"] {
        assert!(stats["upcalls"][kind].is_u64(), "{kind}");
    }
    let threads = stats["threads"].as_object().expect("an object");
    assert!(threads.values().any(|count| count.as_u64() > Some(0)));
}

/// 10,000 of them, or as many as the system lets one process have; each takes its turn after all
/// have been idle.
#[test]
fn thousands_of_idle_connections() {
    let limit = raise_descriptor_limit().saturating_sub(200);
    let n = limit.min(if emulated() { 200 } else { 10_000 });
    assert!(n >= 200, "not enough descriptors for any of this: {n}");
    let flags = ["--max-connections", "20000", "--read-timeout-ms", "1000000"];
    let server = Server::start(&flags);
    let address = server.address();
    // Several at a time: on a busy machine each takes a while.
    let connect = move |n: usize| {
        let connect = |_| Client::connect(address).expect("the server accepts");
        (0..n).map(connect).collect::<Vec<_>>()
    };
    let connectors: Vec<_> = (0..32)
        .map(|i| thread::spawn(move || connect(n / 32 + usize::from(i < n % 32))))
        .collect();
    let mut clients: Vec<Client> = connectors
        .into_iter()
        .flat_map(|connector| connector.join().expect("all connect"))
        .collect();
    // The first is served while the others do nothing.
    for _ in 0..3 {
        clients[0].send(GET);
        assert_page(&clients[0].answer());
    }
    for round in 0..2 {
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(post(format!("{round} {i}").as_bytes()));
        }
        for (i, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.answer().body, format!("{round} {i}").into_bytes());
        }
    }
    // The last one's place is the next one's.
    drop(clients.pop());
    let stats = server.stats();
    assert_eq!(stats["requests"]["answered"], 3 + 2 * n);
    assert_eq!(stats["connections"]["accepted"], n + 1);
}

#[test]
fn metrics_are_prometheus_text() {
    let server = Server::start(&["--max-connections", "77"]);
    server.get("/");
    let answer = server.get("/metrics");
    let content_type = answer.header("content-type").expect("a type");
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.body).expect("text");
    let mut families = Vec::new();
    let mut samples = std::collections::BTreeMap::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a kind");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert!(!families.contains(&name), "{line}");
            families.push(name);
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let family = name.split('{').next().expect("a name");
            // Its family was introduced just before.
            assert_eq!(families.last(), Some(&family), "{line}");
            let value: u64 = value.parse().expect("a number");
            assert_eq!(samples.insert(name.to_owned(), value), None, "{line}");
        }
    }
    assert_eq!(
        samples["lisle_http_requests_total{outcome=\"answered\"}"],
        1
    );
    assert_eq!(samples["lisle_connections_limit"], 77);
    assert_eq!(samples["lisle_connections_total"], 2);
    assert!(samples.contains_key("lisle_lwp_switches_total{lwp=\"0\"}"));
    assert!(
        samples
            .keys()
            .any(|name| name.starts_with("lisle_threads{state="))
    );
}
