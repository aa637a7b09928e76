//! What it costs to spawn and join a thread that yields once: one by one, and many before the first is joined.
//!
//! may keeps its default pool of 1,000 stacks, used in turns. A larger one makes 10,000 at once several times cheaper and
//! one by one dearer, because every stack comes back cold; a smaller one makes one by one a little cheaper.

mod common;

use std::time::{Duration, Instant};

use common::{Kernel, Lisle, May, Measure, TOKIO_CURRENT, TOKIO_MULTI, Threads, Tokio};

/// Threads spawned `count` at a time and then joined; the cost of one.
fn spawns<T: Threads>(count: u64, n: u64) -> Duration {
    let rounds = n.div_ceil(count);
    T::run(move || {
        let mut threads = Vec::with_capacity(count as usize);
        let start = Instant::now();
        for _ in 0..rounds {
            threads.extend((0..count).map(|_| T::spawn(T::yield_now)));
            threads.drain(..).for_each(T::join);
        }
        common::scale(start.elapsed(), rounds * count, n)
    })
}

/// The same with tokio's tasks.
fn tokio_spawns(runtime: &'static Tokio, count: u64, n: u64) -> Duration {
    let rounds = n.div_ceil(count);
    common::tokio_run(runtime, async move {
        let mut tasks = Vec::with_capacity(count as usize);
        let start = Instant::now();
        for _ in 0..rounds {
            tasks.extend((0..count).map(|_| tokio::spawn(tokio::task::yield_now())));
            for task in tasks.drain(..) {
                task.await.expect("the task returns");
            }
        }
        common::scale(start.elapsed(), rounds * count, n)
    })
}

const ONE_BY_ONE: [(&str, Measure); 5] = [
    ("lisle light", |n| spawns::<Lisle>(1, n)),
    ("may", |n| spawns::<May>(1, n)),
    ("tokio current_thread", |n| {
        tokio_spawns(&TOKIO_CURRENT, 1, n)
    }),
    ("tokio multi_thread", |n| tokio_spawns(&TOKIO_MULTI, 1, n)),
    ("std", |n| spawns::<Kernel>(1, n)),
];

const BATCH_100: [(&str, Measure); 5] = [
    ("lisle light", |n| spawns::<Lisle>(100, n)),
    ("may", |n| spawns::<May>(100, n)),
    ("tokio current_thread", |n| {
        tokio_spawns(&TOKIO_CURRENT, 100, n)
    }),
    ("tokio multi_thread", |n| tokio_spawns(&TOKIO_MULTI, 100, n)),
    ("std", |n| spawns::<Kernel>(100, n)),
];

// Without kernel threads: 10,000 at once are near the limits that many systems set.
const BATCH_10000: [(&str, Measure); 4] = [
    ("lisle light", |n| spawns::<Lisle>(10_000, n)),
    ("may", |n| spawns::<May>(10_000, n)),
    ("tokio current_thread", |n| {
        tokio_spawns(&TOKIO_CURRENT, 10_000, n)
    }),
    ("tokio multi_thread", |n| {
        tokio_spawns(&TOKIO_MULTI, 10_000, n)
    }),
];

fn main() {
    let mut c = common::criterion();
    common::group(&mut c, "spawn_join", &ONE_BY_ONE);
    common::group(&mut c, "spawn_100", &BATCH_100);
    common::group(&mut c, "spawn_10000", &BATCH_10000);
    c.final_summary();
    if common::wants_targets() {
        targets();
    }
}

/// Checks, in one run, what a spawn is meant to cost.
fn targets() {
    let [lisle, may] = common::least([
        (|n| spawns::<Lisle>(1, n), 10_000),
        (|n| spawns::<May>(1, n), 10_000),
    ]);
    common::target("spawn + join >= 5 x cheaper than may", lisle, may, |r| {
        r <= 0.2
    });
}
