//! What recording costs, on against off, and what the happens-before graph takes.
//!
//!   cargo bench --profile release --bench trace -- targets
//!
//! Whether the hook costs anything while nobody records is seen in the other benches, against a version without it.

mod common;

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::{Lisle, Measure, Threads};
use lisle_trace::graph::{Builder, Event, Graph, Link};
use lisle_trace::{Raw, Recorder};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bytes of buffers: room for all that one measurement writes.
const ROOM: usize = 64 << 20;

/// Two threads yield to each other.
fn yields(n: u64) -> Duration {
    Lisle::run(move || {
        let turns = || {
            Lisle::spawn(move || {
                for _ in 0..n / 2 {
                    Lisle::yield_now();
                }
            })
        };
        let start = Instant::now();
        let threads = [turns(), turns()];
        threads.into_iter().for_each(Lisle::join);
        start.elapsed()
    })
}

/// A thread asks and another one answers, over two channels.
fn round_trips(n: u64) -> Duration {
    Lisle::run(move || {
        let (to, from) = lisle::channel::bounded(1);
        let (back, answers) = lisle::channel::bounded(1);
        let echo = Lisle::spawn(move || {
            for word in from.iter() {
                back.send(word).expect("it is received");
            }
        });
        let start = Instant::now();
        for word in 0..n {
            to.send(word).expect("it is received");
            assert_eq!(answers.recv(), Ok(word));
        }
        let took = start.elapsed();
        drop(to);
        Lisle::join(echo);
        took
    })
}

/// A server of one connection: a request comes over a socket, is answered by a thread of its own, and the answer goes
/// back.
fn requests(n: u64) -> Duration {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    Lisle::run(move || {
        let (mut client, mut server) =
            lisle::os::unix::net::UnixStream::pair().expect("the system gives sockets");
        let serve = Lisle::spawn(move || {
            let mut request = [0; REQUEST.len()];
            while server.read_exact(&mut request).is_ok() {
                let answer = Lisle::spawn(move || if request == REQUEST { ANSWER } else { b"" });
                server.write_all(Lisle::join(answer)).expect("it is read");
            }
        });
        let start = Instant::now();
        let mut answer = [0; ANSWER.len()];
        for _ in 0..n {
            client.write_all(REQUEST).expect("it is read");
            client.read_exact(&mut answer).expect("it is answered");
        }
        let took = start.elapsed();
        assert_eq!(answer, ANSWER);
        drop(client);
        Lisle::join(serve);
        took
    })
}

/// A measurement while somebody records, and what was recorded.
fn recorded(measure: Measure, n: u64) -> (Duration, Raw) {
    let recording = Recorder::new()
        .capacity(ROOM)
        .start()
        .expect("nobody else records");
    let took = measure(n);
    let raw = recording.stop_raw();
    assert_eq!(raw.dropped(), 0, "there is room");
    (took, raw)
}

fn per(took: Duration, n: u64) -> f64 {
    took.as_nanos() as f64 / n as f64
}

/// Off and on take turns; the least of many rounds.
fn on_against_off(name: &str, measure: Measure, n: u64, rounds: u32) {
    let (mut off, mut on) = (f64::INFINITY, f64::INFINITY);
    let (mut events, mut bytes) = (0, 0);
    for _ in 0..rounds {
        off = off.min(per(measure(n), n));
        let (took, raw) = recorded(measure, n);
        on = on.min(per(took, n));
        (events, bytes) = (raw.len(), raw.bytes());
    }
    common::target(&format!("{name}: on <= 2 x off"), on, off, |ratio| {
        ratio <= 2.0
    });
    let each = events as f64 / n as f64;
    println!(
        "        {each:.1} events an operation, {:.1} million events/s, {:.1} bytes an event",
        each / on * 1000.0,
        bytes as f64 / events as f64,
    );
}

/// Ten million events of processes that send each other messages.
fn large(processes: u32, events: u32) -> Graph {
    let mut random = StdRng::seed_from_u64(1);
    let mut builder = Builder::new();
    for _ in 0..processes {
        builder.process();
    }
    let mut last: Vec<Option<Event>> = vec![None; processes as usize];
    for _ in 0..events {
        let event = builder.event(random.random_range(0..processes));
        // Every other event receives what another process sent last.
        if random.random_bool(0.5)
            && let Some(from) = last[random.random_range(0..processes) as usize]
        {
            builder
                .arrow(from, event, Link::Message)
                .expect("both are there");
        }
        last[event.process as usize] = Some(event);
    }
    builder.build().expect("arrows lead on")
}

fn graph(processes: u32) {
    const EVENTS: u32 = 10_000_000;
    let start = Instant::now();
    let graph = large(processes, EVENTS);
    let built = start.elapsed();
    let mut random = StdRng::seed_from_u64(2);
    let mut any = || {
        let process = random.random_range(0..processes);
        Event::new(process, random.random_range(0..graph.len_of(process)))
    };
    let near: Vec<(Event, Event)> = (0..100_000)
        .map(|_| {
            // Neighbours in time, the hard case: most pairs of others are far apart.
            let a = any();
            let index = a.index.min(graph.len_of((a.process + 1) % processes) - 1);
            (a, Event::new((a.process + 1) % processes, index))
        })
        .collect();
    let far: Vec<(Event, Event)> = (0..100_000).map(|_| (any(), any())).collect();
    let rate = |pairs: &[(Event, Event)]| {
        let start = Instant::now();
        for (a, b) in pairs {
            black_box(graph.compare(*a, *b)).expect("they are there");
        }
        pairs.len() as f64 / start.elapsed().as_secs_f64() / 1e6
    };
    let (near, far) = (rate(&near), rate(&far));
    println!(
        "graph   10 million events of {processes} processes, {} arrows: {:.1} bytes an event, made in {:.1} s, \
         {far:.2} million comparisons/s, {near:.2} of events close together",
        graph.arrows().count(),
        graph.bytes() as f64 / graph.len() as f64,
        built.as_secs_f64(),
    );
}

fn main() {
    let mut c = common::criterion();
    for (name, measure) in [
        ("yield", yields as Measure),
        ("channel", round_trips),
        ("requests", requests),
    ] {
        common::group(
            &mut c,
            &format!("trace/{name}/off"),
            &[("lisle light", measure)],
        );
    }
    c.final_summary();
    if common::wants_targets() {
        on_against_off("yield of 2 threads", yields, 1_000_000, 20);
        on_against_off("round trip over channels", round_trips, 100_000, 20);
        on_against_off("request and answer", requests, 20_000, 20);
        graph(8);
        graph(100);
    }
}
