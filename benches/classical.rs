//! What the classical mechanisms cost: each uncontended beside a mutex, and a compiled path
//! expression beside semaphores for the same problem.
//!
//! `cargo bench --bench classical -- targets` prints the table of what was asked for.

mod common;

use std::time::{Duration, Instant};

use common::{Lisle, Measure, Threads};
use lisle::sync::{Monitor, Mutex, PathExpression, Region, Semaphore, Serializer, path};

/// One thread alone does `step` again and again.
fn alone<S: 'static>(n: u64, make: fn() -> S, step: fn(&S)) -> Duration {
    Lisle::run(move || {
        let shared = std::hint::black_box(make());
        let start = Instant::now();
        for _ in 0..n {
            step(&shared);
        }
        start.elapsed()
    })
}

fn mutex(n: u64) -> Duration {
    alone(
        n,
        || Mutex::new(0_u64),
        |number| *number.lock().unwrap() += 1,
    )
}

fn mesa(n: u64) -> Duration {
    alone(
        n,
        || Monitor::<u64>::new(0),
        |number| {
            let mut number = number.enter();
            number.wait_while(0, |number| *number == u64::MAX);
            *number += 1;
            number.notify_one(0);
        },
    )
}

fn hoare(n: u64) -> Duration {
    alone(
        n,
        || Monitor::<u64>::new(0),
        |number| {
            let mut number = number.enter();
            if *number == u64::MAX {
                number.wait(0);
            }
            *number += 1;
            number.signal(0);
        },
    )
}

fn region(n: u64) -> Duration {
    alone(
        n,
        || Region::new(0_u64),
        |number| number.when(|number| *number < u64::MAX, |number| **number += 1),
    )
}

/// The mechanism's whole cycle: enter, enqueue, join a crowd, come back.
fn serializer(n: u64) -> Duration {
    alone(
        n,
        || Serializer::<u64, 1, 1>::new(0),
        |number| {
            let mut number = number.enter();
            number.enqueue(0, |number| number.crowd_is_empty(0));
            number.join_crowd(0, || ());
            *number += 1;
        },
    )
}

/// Possession alone: enter, enqueue.
fn serializer_queue(n: u64) -> Duration {
    alone(
        n,
        || Serializer::<u64, 1, 1>::new(0),
        |number| {
            let mut number = number.enter();
            number.enqueue(0, |number| number.crowd_is_empty(0));
            *number += 1;
        },
    )
}

fn path_alone(n: u64) -> Duration {
    alone(
        n,
        || (path!("operation"), std::cell::Cell::new(0_u64)),
        |(path, number): &(PathExpression, std::cell::Cell<u64>)| {
            path.perform("operation", || number.set(number.get() + 1));
        },
    )
}

/// Readers and writers by hand, after Courtois, Heymans and Parnas.
struct ByHand {
    readers: Semaphore,
    reading: std::cell::Cell<u32>,
    resource: Semaphore,
}

// A read, and every eighth time a write, is one operation.
const WRITES: u64 = 8;

fn readers_writers_semaphores(n: u64) -> Duration {
    Lisle::run(move || {
        let shared = std::hint::black_box(ByHand {
            readers: Semaphore::new(1),
            reading: std::cell::Cell::new(0),
            resource: Semaphore::new(1),
        });
        let start = Instant::now();
        for round in 0..n {
            if round % WRITES == 0 {
                shared.resource.p();
                std::hint::black_box(&shared);
                shared.resource.v();
                continue;
            }
            shared.readers.p();
            shared.reading.set(shared.reading.get() + 1);
            if shared.reading.get() == 1 {
                shared.resource.p();
            }
            shared.readers.v();
            std::hint::black_box(&shared);
            shared.readers.p();
            shared.reading.set(shared.reading.get() - 1);
            if shared.reading.get() == 0 {
                shared.resource.v();
            }
            shared.readers.v();
        }
        start.elapsed()
    })
}

fn readers_writers_path(n: u64) -> Duration {
    Lisle::run(move || {
        let path = std::hint::black_box(path!("{read} , write"));
        let read = path.operation("read").expect("an operation");
        let write = path.operation("write").expect("an operation");
        let start = Instant::now();
        for round in 0..n {
            let operation = if round % WRITES == 0 { write } else { read };
            path.perform(operation, || std::hint::black_box(&path));
        }
        start.elapsed()
    })
}

/// A put and a take is one operation.
fn buffer_semaphores(n: u64) -> Duration {
    Lisle::run(move || {
        let (free, filled) = std::hint::black_box((Semaphore::new(8), Semaphore::new(0)));
        let start = Instant::now();
        for _ in 0..n {
            free.p();
            std::hint::black_box(&free);
            filled.v();
            filled.p();
            std::hint::black_box(&free);
            free.v();
        }
        start.elapsed()
    })
}

fn buffer_path(n: u64) -> Duration {
    Lisle::run(move || {
        let path = std::hint::black_box(path!("8:(put ; take)"));
        let put = path.operation("put").expect("an operation");
        let take = path.operation("take").expect("an operation");
        let start = Instant::now();
        for _ in 0..n {
            path.perform(put, || std::hint::black_box(&path));
            path.perform(take, || std::hint::black_box(&path));
        }
        start.elapsed()
    })
}

const UNCONTENDED: [(&str, Measure); 7] = [
    ("mutex", mutex),
    ("monitor_mesa", mesa),
    ("monitor_hoare", hoare),
    ("region", region),
    ("serializer", serializer_queue),
    ("serializer_with_crowd", serializer),
    ("path", path_alone),
];

const READERS_WRITERS: [(&str, Measure); 2] = [
    ("semaphores", readers_writers_semaphores),
    ("path", readers_writers_path),
];

const BUFFER: [(&str, Measure); 2] = [("semaphores", buffer_semaphores), ("path", buffer_path)];

fn main() {
    let mut c = common::criterion();
    common::group(&mut c, "classical_uncontended", &UNCONTENDED);
    common::group(&mut c, "classical_readers_writers", &READERS_WRITERS);
    common::group(&mut c, "classical_bounded_buffer", &BUFFER);
    c.final_summary();
    if common::wants_targets() {
        targets();
    }
}

/// Checks, in one run, what the mechanisms are meant to cost.
fn targets() {
    let costs = common::least(UNCONTENDED.map(|(_, measure)| (measure, 200_000)));
    for ((name, _), cost) in UNCONTENDED.iter().zip(costs).skip(1) {
        let claim = format!("{name}, uncontended <= 3 x a mutex");
        common::target(&claim, cost, costs[0], |ratio| ratio <= 3.0);
    }
    for (name, [semaphores, path]) in [("readers/writers", READERS_WRITERS), ("buffer", BUFFER)] {
        let [semaphores, path] = common::least([(semaphores.1, 200_000), (path.1, 200_000)]);
        let claim = format!("{name}: a path <= 1.5 x semaphores");
        common::target(&claim, path, semaphores, |ratio| ratio <= 1.5);
    }
}
