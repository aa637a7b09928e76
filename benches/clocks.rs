//! What logical time costs: stamped channels beside the same channels without stamps, stamps and merges by the number of
//! processes, delivery orders by the number of processes.
//!
//! `cargo bench --bench clocks -- targets` prints the table of targets and the tables of sizes alone.

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Lisle, Measure, Threads};
use lisle::channel::{self, stamped};
use lisle::clock::{
    Causal as _, Clock, DeltaEncoder, Lamport, Matrix, Process, Vector, VectorStamp,
};
use lisle::delivery::{Broadcast, Causal, Fifo, PointToPoint, Total};

/// Words that a sender of a stream sends between two yields.
const BURST: u64 = 256;

/// A clock that knows of these processes, itself one of them.
fn vector(process: u32, known: impl Iterator<Item = u32>) -> Vector {
    let mut clock = Vector::new(process);
    known
        .filter(|&other| other != process)
        .for_each(|other| clock.receive(&Vector::new(other).stamp()));
    clock.tick();
    clock
}

/// A matrix clock among so many processes, all of whom it has heard of.
fn matrix(process: u32, known: u32) -> Matrix {
    let mut clock = Matrix::new(process, (0..known).map(Process::new));
    (0..known)
        .filter(|&other| other != process)
        .for_each(|other| clock.receive(&Matrix::new(other, []).stamp()));
    clock.tick();
    clock
}

/// What of a stream differs: how it sends and how it receives.
trait Ends: Send + 'static {
    type Sender: Send + 'static;
    type Receiver: Send + 'static;
    fn channel(self) -> (Self::Sender, Self::Receiver);
    fn send(sender: &mut Self::Sender, word: u64);
    fn receive(receiver: &mut Self::Receiver) -> u64;
}

/// No stamps.
struct Plain(Option<usize>);

impl Ends for Plain {
    type Sender = channel::Sender<u64>;
    type Receiver = channel::Receiver<u64>;

    fn channel(self) -> (Self::Sender, Self::Receiver) {
        self.0.map_or_else(channel::unbounded, channel::bounded)
    }

    fn send(sender: &mut Self::Sender, word: u64) {
        sender.send(word).expect("the receiver lives");
    }

    fn receive(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().expect("the sender lives")
    }
}

/// Stamps of two clocks.
struct WithClocks<C>(Option<usize>, C, C);

impl<C: Clock<Stamp: Send> + Send + 'static> Ends for WithClocks<C> {
    type Sender = (stamped::Sender<u64, C>, C);
    type Receiver = (stamped::Receiver<u64, C>, C);

    fn channel(self) -> (Self::Sender, Self::Receiver) {
        let (sender, receiver) = self.0.map_or_else(stamped::unbounded, stamped::bounded);
        ((sender, self.1), (receiver, self.2))
    }

    fn send((sender, clock): &mut Self::Sender, word: u64) {
        sender.send(clock, word).expect("the receiver lives");
    }

    fn receive((receiver, clock): &mut Self::Receiver) -> u64 {
        receiver.recv(clock).expect("the sender lives").message
    }
}

/// Stamps of two clocks that threads share.
struct WithShared<C>(Option<usize>, C, C);

impl<C: Clock<Stamp: Send> + Send + 'static> Ends for WithShared<C> {
    type Sender = (stamped::Sender<u64, C>, stamped::Shared<C>);
    type Receiver = (stamped::Receiver<u64, C>, stamped::Shared<C>);

    fn channel(self) -> (Self::Sender, Self::Receiver) {
        let (sender, receiver) = self.0.map_or_else(stamped::unbounded, stamped::bounded);
        (
            (sender, stamped::Shared::new(self.1)),
            (receiver, stamped::Shared::new(self.2)),
        )
    }

    fn send((sender, clock): &mut Self::Sender, word: u64) {
        sender.send(&*clock, word).expect("the receiver lives");
    }

    fn receive((receiver, clock): &mut Self::Receiver) -> u64 {
        receiver.recv(&*clock).expect("the sender lives").message
    }
}

/// A stream of words from one thread to another.
fn stream<E: Ends>(ends: E, n: u64) -> Duration {
    Lisle::run(move || {
        let (mut sender, mut receiver) = ends.channel();
        let start = Instant::now();
        let thread = Lisle::spawn(move || {
            for word in 1..=n {
                E::send(&mut sender, word);
                if word % BURST == 0 {
                    Lisle::yield_now();
                }
            }
        });
        (0..n).for_each(|_| _ = E::receive(&mut receiver));
        let took = start.elapsed();
        Lisle::join(thread);
        took
    })
}

/// A word there and back, two messages.
fn round_trips<E: Ends>(ends: [E; 2], n: u64) -> Duration {
    Lisle::run(move || {
        let [(mut ping, mut pinged), (mut pong, mut ponged)] = ends.map(E::channel);
        let partner = Lisle::spawn(move || {
            for _ in 0..=n {
                let word = E::receive(&mut pinged);
                E::send(&mut pong, word);
            }
        });
        E::send(&mut ping, n);
        E::receive(&mut ponged);
        let start = Instant::now();
        for word in 0..n {
            E::send(&mut ping, word);
            E::receive(&mut ponged);
        }
        let took = start.elapsed();
        Lisle::join(partner);
        took
    })
}

fn lamports() -> (Lamport, Lamport) {
    (Lamport::new(0), Lamport::new(1))
}

fn vectors(known: u32) -> (Vector, Vector) {
    (vector(0, 0..known), vector(1, 0..known))
}

fn with<C>(capacity: Option<usize>, (here, there): (C, C)) -> WithClocks<C> {
    WithClocks(capacity, here, there)
}

const BUFFER: Option<usize> = Some(1024);

const STREAMS: [(&str, Measure); 5] = [
    ("unstamped", |n| stream(Plain(BUFFER), n)),
    ("lamport", |n| stream(with(BUFFER, lamports()), n)),
    ("vector of 16", |n| stream(with(BUFFER, vectors(16)), n)),
    ("shared lamport", |n| {
        let (here, there) = lamports();
        stream(WithShared(BUFFER, here, there), n)
    }),
    ("vector of 256", |n| stream(with(BUFFER, vectors(256)), n)),
];

const UNBOUNDED: [(&str, Measure); 3] = [
    ("unstamped", |n| stream(Plain(None), n)),
    ("lamport", |n| stream(with(None, lamports()), n)),
    ("vector of 16", |n| stream(with(None, vectors(16)), n)),
];

const TRIPS: [(&str, Measure); 3] = [
    ("unstamped", |n| round_trips([Plain(None), Plain(None)], n)),
    ("lamport", |n| {
        round_trips([with(None, lamports()), with(None, lamports())], n)
    }),
    ("vector of 16", |n| {
        round_trips([with(None, vectors(16)), with(None, vectors(16))], n)
    }),
];

/// What a process of an order has to say, to whom.
fn orders<P: Broadcast<Message = u64>>(mut members: Vec<P>, n: u64) -> Duration {
    let start = Instant::now();
    let mut delivered = 0;
    'all: loop {
        for from in 0..members.len() {
            let mut said = vec![(from, members[from].broadcast(n))];
            while let Some((from, envelope)) = said.pop() {
                for to in (0..members.len()).filter(|&to| to != from) {
                    let member = &mut members[to];
                    assert!(member.arrive(envelope.clone()).is_ok());
                    while member.deliver().is_some() {
                        delivered += 1;
                    }
                    said.extend(member.reply().map(|reply| (to, reply)));
                }
            }
            if delivered >= n {
                break 'all;
            }
        }
    }
    common::scale(start.elapsed(), delivered, n)
}

fn point_to_point(count: u32, n: u64) -> Duration {
    let mut members: Vec<_> = (0..count).map(PointToPoint::new).collect();
    let start = Instant::now();
    for word in 0..n {
        let from = (word % u64::from(count)) as usize;
        let to =
            (from + 1 + (word / u64::from(count)) as usize % (count as usize - 1)) % count as usize;
        let envelope = members[from].send(to as u32, word);
        assert!(members[to].arrive(envelope).is_ok());
        assert!(members[to].deliver().is_some());
    }
    start.elapsed()
}

fn members<P>(count: u32, make: impl Fn(u32) -> P) -> Vec<P> {
    (0..count).map(make).collect()
}

fn total(count: u32, n: u64) -> Duration {
    orders(
        members(count, |process| {
            Total::new(process, (0..count).map(Process::new))
        }),
        n,
    )
}

/// Nanoseconds of an operation, the least of some rounds.
fn nanoseconds(operations: u64, mut run: impl FnMut(u64) -> Duration) -> f64 {
    let rounds = (0..10).map(|_| run(operations).as_nanos() as f64 / operations as f64);
    rounds.fold(f64::INFINITY, f64::min)
}

fn timed(operations: u64, mut operation: impl FnMut()) -> f64 {
    nanoseconds(operations, |n| {
        let start = Instant::now();
        (0..n).for_each(|_| operation());
        start.elapsed()
    })
}

/// Bytes and nanoseconds of a stamp; `known` of the processes, evenly spread, have been
/// heard of.
fn stamps(known: u32, processes: u32) {
    let heard_of = || (0..known).map(|n| n * (processes / known));
    let [mut here, mut there] = [0, processes / known].map(|process| vector(process, heard_of()));
    let stamp = here.stamp();
    let bytes = |value: &_| postcard::to_allocvec(value).expect("it has a form").len();
    let wire = bytes(&stamp);
    let mut encoder = DeltaEncoder::new();
    encoder.encode(&here.time());
    here.tick();
    let delta = postcard::to_allocvec(&encoder.encode(&here.time()))
        .expect("it has a form")
        .len();
    let operations = (400_000 / u64::from(known)).max(50);
    let stamping = timed(operations, || _ = black_box(here.stamp()));
    // What the stamp knows is known from the second time on: nothing is merged.
    let again = timed(operations, || there.receive(black_box(&stamp)));
    // As from a wire: each has entries of its own.
    let from_elsewhere: Vec<_> = (0..operations)
        .map(|_| VectorStamp::new(here.process(), here.stamp().time()))
        .collect();
    let mut next = from_elsewhere.iter().cycle();
    let merging = timed(operations, || {
        there.receive(black_box(next.next().expect("there are some")))
    });
    let (a, b) = (here.now(), there.now());
    let comparing = timed(operations, || _ = black_box(a.causality(black_box(&b))));
    let before = timed(operations, || {
        _ = black_box(a.happened_before(black_box(&b)))
    });
    println!(
        "stamp   {:<28} {:>7} B in memory {wire:>7} B sent {delta:>4} B as delta   stamp {stamping:>9.1} ns   receive {merging:>9.1} ns, {again:>5.1} ns if its entries are known   compare {comparing:>9.1} ns   before? {before:>5.1} ns",
        format!("vector, {known} of {processes} known"),
        stamp.time().len() * size_of::<(Process, u64)>(),
    );
}

fn targets() {
    let [plain, lamport, vector, shared, large] = common::least([
        (STREAMS[0].1, 50_000),
        (STREAMS[1].1, 50_000),
        (STREAMS[2].1, 50_000),
        (STREAMS[3].1, 50_000),
        (STREAMS[4].1, 10_000),
    ]);
    common::target(
        "stream, bounded: Lamport <= 1.3 x unstamped",
        lamport,
        plain,
        |r| r <= 1.3,
    );
    common::target("stream, bounded: vector of 16 <= 2 x", vector, plain, |r| {
        r <= 2.0
    });
    common::target(
        "stream, bounded: shared Lamport clocks",
        shared,
        plain,
        |_| true,
    );
    common::target("stream, bounded: vector of 256", large, plain, |_| true);
    let [plain, lamport, vector] = common::least(UNBOUNDED.map(|(_, measure)| (measure, 50_000)));
    common::target(
        "stream, unbounded: Lamport <= 1.3 x unstamped",
        lamport,
        plain,
        |r| r <= 1.3,
    );
    common::target(
        "stream, unbounded: vector of 16 <= 2 x",
        vector,
        plain,
        |r| r <= 2.0,
    );
    let [plain, lamport, vector] = common::least(TRIPS.map(|(_, measure)| (measure, 10_000)));
    common::target(
        "round trip: Lamport <= 1.3 x unstamped",
        lamport,
        plain,
        |r| r <= 1.3,
    );
    common::target("round trip: vector of 16 <= 2 x", vector, plain, |r| {
        r <= 2.0
    });

    let lamport = Lamport::new(0).stamp();
    println!(
        "stamp   {:<28} {:>7} B in memory {:>7} B sent",
        "Lamport",
        size_of_val(&lamport),
        postcard::to_allocvec(&lamport)
            .expect("it has a form")
            .len()
    );
    for processes in [2, 16, 256, 4096] {
        stamps(processes, processes);
    }
    for processes in [16, 256, 4096] {
        // A clock knows those whose messages reached it, directly or not.
        stamps(8, processes);
    }
    for processes in [2, 16, 64] {
        let (mut here, mut there) = (matrix(0, processes), matrix(1, processes));
        (0..processes).for_each(|_| there.receive(&here.stamp()));
        here.receive(&there.stamp());
        let stamp = here.stamp();
        let operations = (100_000 / u64::from(processes * processes)).max(50);
        println!(
            "stamp   {:<28} {:>7} B in memory {:>7} B sent   stamp {:>9.1} ns   receive {:>9.1} ns",
            format!("matrix, {processes} processes"),
            stamp.time.len() * size_of::<((Process, Process), u64)>(),
            postcard::to_allocvec(&stamp).expect("it has a form").len(),
            timed(operations, || _ = black_box(here.stamp())),
            timed(operations, || there.receive(black_box(&stamp))),
        );
    }
    for processes in [2, 4, 16, 64, 256] {
        let operations = 4_000;
        let fifo = nanoseconds(operations, |n| orders(members(processes, Fifo::new), n));
        let causal = nanoseconds(operations, |n| orders(members(processes, Causal::new), n));
        let [point, total] = match processes {
            ..=64 => [point_to_point, total].map(|f| nanoseconds(operations, |n| f(processes, n))),
            _ => [f64::NAN; 2],
        };
        println!(
            "order   {processes:>4} processes, ns a delivery: fifo {fifo:>8.1}   causal {causal:>8.1}   point to point {point:>9.1}   total {total:>9.1}"
        );
    }
}

fn main() {
    if !std::env::args().any(|arg| arg == "targets") {
        let mut c = common::criterion();
        common::group(&mut c, "stamped stream, bounded", &STREAMS);
        common::group(&mut c, "stamped stream, unbounded", &UNBOUNDED);
        common::group(&mut c, "stamped round trip", &TRIPS);
        let causal: [(&str, Measure); 4] = [
            ("2", |n| orders(members(2, Causal::new), n)),
            ("16", |n| orders(members(16, Causal::new), n)),
            ("64", |n| orders(members(64, Causal::new), n)),
            ("256", |n| orders(members(256, Causal::new), n)),
        ];
        common::group(&mut c, "causal delivery by processes", &causal);
        c.final_summary();
    }
    if common::wants_targets() {
        targets();
    }
}
