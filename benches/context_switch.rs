//! What it costs to change contexts: bare, and as a yield between 2 and between 1,000 threads.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::switch::{corosensei_switches, lisle_switches};
use common::{
    Kernel, Lisle, May, Measure, Semaphore, TOKIO_CURRENT, TOKIO_MULTI, Threads, Tokio, WORKERS,
};

/// Enough yields per thread that the wake-ups and joins around them do not show.
fn share(count: u64, n: u64) -> u64 {
    n.div_ceil(count).max(1000)
}

/// Yields of `count` threads that do nothing else.
fn yields<T: Threads>(count: u64, n: u64) -> Duration {
    let each = share(count, n);
    T::run(move || {
        let started = Arc::new(T::Semaphore::new(0));
        let gate = Arc::new(T::Semaphore::new(0));
        let threads: Vec<_> = (0..count)
            .map(|_| {
                let (started, gate) = (started.clone(), gate.clone());
                T::spawn(move || {
                    started.v();
                    gate.p();
                    for _ in 0..each {
                        T::yield_now();
                    }
                })
            })
            .collect();
        // All wait at the gate before the clock starts: spawning is not measured.
        for _ in 0..count {
            started.p();
        }
        let start = Instant::now();
        for _ in 0..count {
            gate.v();
        }
        threads.into_iter().for_each(T::join);
        common::scale(start.elapsed(), each * count, n)
    })
}

/// The same with tokio's tasks.
fn tokio_yields(runtime: &'static Tokio, count: u64, n: u64) -> Duration {
    let each = share(count, n);
    common::tokio_run(runtime, async move {
        let started = Arc::new(tokio::sync::Semaphore::new(0));
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let (started, gate) = (started.clone(), gate.clone());
                tokio::spawn(async move {
                    started.add_permits(1);
                    gate.acquire().await.expect("never closed").forget();
                    for _ in 0..each {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let all = u32::try_from(count).expect("so many tasks");
        started
            .acquire_many(all)
            .await
            .expect("never closed")
            .forget();
        let start = Instant::now();
        gate.add_permits(all as usize);
        for task in tasks {
            task.await.expect("the task returns");
        }
        common::scale(start.elapsed(), each * count, n)
    })
}

const SWITCH: [(&str, Measure); 2] = [
    ("lisle", lisle_switches),
    ("corosensei", corosensei_switches),
];

const YIELD_2: [(&str, Measure); 5] = [
    ("lisle light", |n| yields::<Lisle>(2, n)),
    ("may", |n| yields::<May>(2, n)),
    ("tokio current_thread", |n| {
        tokio_yields(&TOKIO_CURRENT, 2, n)
    }),
    ("tokio multi_thread", |n| tokio_yields(&TOKIO_MULTI, 2, n)),
    ("std", |n| yields::<Kernel>(2, n)),
];

const YIELD_1000: [(&str, Measure); 5] = [
    ("lisle light", |n| yields::<Lisle>(1000, n)),
    ("may", |n| yields::<May>(1000, n)),
    ("tokio current_thread", |n| {
        tokio_yields(&TOKIO_CURRENT, 1000, n)
    }),
    ("tokio multi_thread", |n| {
        tokio_yields(&TOKIO_MULTI, 1000, n)
    }),
    ("std", |n| yields::<Kernel>(1000, n)),
];

fn main() {
    let mut c = common::criterion();
    if *WORKERS == 1 {
        common::group(&mut c, "switch", &SWITCH);
    }
    common::group(&mut c, "yield_2", &YIELD_2);
    common::group(&mut c, "yield_1000", &YIELD_1000);
    c.final_summary();
    if common::wants_targets() {
        targets();
    }
}

/// Checks, in one run, what the switch and the yield are meant to cost.
fn targets() {
    let [switch, corosensei, pair] = common::least([
        (lisle_switches, 1_000_000),
        (corosensei_switches, 1_000_000),
        (|n| yields::<Lisle>(2, n), 200_000),
    ]);
    common::target("bare switch <= 1.2 x corosensei", switch, corosensei, |r| {
        r <= 1.2
    });
    common::target("yield of 2 threads < 4 x bare switch", pair, switch, |r| {
        r < 4.0
    });
}
