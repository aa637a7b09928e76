//! Rendezvous: two solutions of mutual exclusion, and a server with guards.
//!
//! *An asynchronous channel as a lock*: it holds one token; whoever has received
//! it is in the critical section and sends it back. The channel is a semaphore.
//!
//! *A lock process*: a thread that accepts `acquire` and then `release`, in turn.
//! With a synchronous channel nobody needs a shared variable: to be accepted is
//! to have the lock.
//!
//! *Guarded choice*: readers and writers, served by one thread that accepts an
//! entry only while its guard is true (Ada's selective accept).
//!
//! ```text
//! cargo run --release --example rendezvous
//! ```
#![allow(clippy::disallowed_types)] // an example uses std's atomics like any program

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lisle::channel::rendezvous::{Accept, Acceptor, Chosen, entry};
use lisle::channel::unbounded;
use lisle::thread::{self, JoinHandle};

const THREADS: u64 = 8;
const ROUNDS: u64 = 1_000;

/// A counter that loses steps unless its users exclude each other.
#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    fn step(&self) {
        let before = self.0.load(Ordering::Relaxed);
        thread::yield_now();
        self.0.store(before + 1, Ordering::Relaxed);
    }

    fn all_steps_counted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == THREADS * ROUNDS
    }
}

fn main() {
    assert!(with_a_token());
    assert!(with_a_lock_process());
    let (looked, changed) = readers_and_writers();
    println!(
        "ok: {} steps excluded each other twice; {looked} looks at {changed} changes",
        THREADS * ROUNDS
    );
}

/// Runs `section` as often as it should, in many threads.
fn in_threads<F: Fn() + Send + Clone + 'static>(section: F) {
    let spawn = |_| {
        let section = section.clone();
        thread::spawn(move || (0..ROUNDS).for_each(|_| section()))
    };
    let threads: Vec<JoinHandle<()>> = (0..THREADS).map(spawn).collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no section panics"));
}

fn with_a_token() -> bool {
    let counter = Arc::new(Counter::default());
    let (give, take) = unbounded();
    give.send(()).expect("somebody takes it");
    let shared = counter.clone();
    in_threads(move || {
        take.recv().expect("the token goes round");
        shared.step();
        give.send(()).expect("somebody takes it");
    });
    counter.all_steps_counted()
}

fn with_a_lock_process() -> bool {
    let counter = Arc::new(Counter::default());
    let (acquire, acquires) = entry();
    let (release, releases) = entry();
    let lock = thread::spawn(move || {
        while acquires.accept(|()| ()).is_ok() {
            releases.accept(|()| ()).expect("who has it gives it back");
        }
    });
    let shared = counter.clone();
    in_threads(move || {
        acquire.call(()).expect("the lock process lives");
        shared.step();
        release.call(()).expect("the lock process lives");
    });
    lock.join().expect("the lock process ends with its clients");
    counter.all_steps_counted()
}

/// What the server of the readers and writers offers.
struct Entries {
    begin_read: Acceptor<(), u64>,
    end_read: Acceptor<(), ()>,
    write: Acceptor<u64, ()>,
}

impl Entries {
    /// Serves until all clients are gone; returns what was written.
    fn serve(&self) -> u64 {
        let (mut value, mut reading) = (0, 0);
        loop {
            let mut accept = Accept::new();
            let begin_read = accept.or(&self.begin_read);
            let end_read = accept.when(reading > 0, &self.end_read);
            let write = accept.when(reading == 0, &self.write);
            let Chosen::Call(call) = accept.or_terminate().select().expect("a guard is true")
            else {
                return value;
            };
            match call.index() {
                index if index == begin_read => call.accept(&self.begin_read, |()| {
                    reading += 1;
                    value
                }),
                index if index == end_read => call.accept(&self.end_read, |()| reading -= 1),
                index => {
                    assert_eq!(index, write);
                    call.accept(&self.write, |by| value += by);
                }
            }
        }
    }
}

fn readers_and_writers() -> (u64, u64) {
    let (begin_read, begins) = entry();
    let (end_read, ends) = entry();
    let (write, writes) = entry();
    let entries = Entries {
        begin_read: begins,
        end_read: ends,
        write: writes,
    };
    let server = thread::spawn(move || entries.serve());
    let reader = || {
        let (begin, end) = (begin_read.clone(), end_read.clone());
        thread::spawn(move || {
            let mut last = 0;
            for _ in 0..ROUNDS {
                let value = begin.call(()).expect("the server lives");
                assert!(value >= last, "values only grow");
                last = value;
                end.call(()).expect("the server lives");
            }
        })
    };
    let writer = || {
        let write = write.clone();
        thread::spawn(move || (0..ROUNDS).for_each(|_| write.call(1).expect("the server lives")))
    };
    let clients = [reader(), reader(), writer(), writer()];
    drop((begin_read, end_read, write));
    clients
        .into_iter()
        .for_each(|client| client.join().expect("no client panics"));
    let written = server.join().expect("the server ends with its clients");
    assert_eq!(written, 2 * ROUNDS);
    (2 * ROUNDS, written)
}
