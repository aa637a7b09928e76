//! What a counting semaphore costs: without contention, and as the means by which two threads take turns.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Kernel, Lisle, May, Measure, Semaphore, TOKIO_CURRENT, TOKIO_MULTI, Threads, Tokio};

/// P and V of one thread alone.
fn uncontended<T: Threads>(n: u64) -> Duration {
    T::run(move || {
        let semaphore = T::Semaphore::new(1);
        let start = Instant::now();
        for _ in 0..n {
            semaphore.p();
            semaphore.v();
        }
        start.elapsed()
    })
}

/// The same with tokio's: the permit gives itself back.
fn tokio_uncontended(runtime: &'static Tokio, n: u64) -> Duration {
    common::tokio_run(runtime, async move {
        let semaphore = tokio::sync::Semaphore::new(1);
        let start = Instant::now();
        for _ in 0..n {
            drop(semaphore.acquire().await.expect("never closed"));
        }
        start.elapsed()
    })
}

/// Round trips between two threads, each waiting for the other's semaphore.
fn round_trips<T: Threads>(n: u64) -> Duration {
    T::run(move || {
        let ping = Arc::new(T::Semaphore::new(0));
        let pong = Arc::new(T::Semaphore::new(0));
        let partner = T::spawn({
            let (ping, pong) = (ping.clone(), pong.clone());
            move || {
                // One more than is measured: the partner has started.
                for _ in 0..=n {
                    ping.p();
                    pong.v();
                }
            }
        });
        ping.v();
        pong.p();
        let start = Instant::now();
        for _ in 0..n {
            ping.v();
            pong.p();
        }
        let took = start.elapsed();
        T::join(partner);
        took
    })
}

/// The same with tokio's tasks.
fn tokio_round_trips(runtime: &'static Tokio, n: u64) -> Duration {
    common::tokio_run(runtime, async move {
        let ping = Arc::new(tokio::sync::Semaphore::new(0));
        let pong = Arc::new(tokio::sync::Semaphore::new(0));
        let partner = tokio::spawn({
            let (ping, pong) = (ping.clone(), pong.clone());
            async move {
                for _ in 0..=n {
                    ping.acquire().await.expect("never closed").forget();
                    pong.add_permits(1);
                }
            }
        });
        ping.add_permits(1);
        pong.acquire().await.expect("never closed").forget();
        let start = Instant::now();
        for _ in 0..n {
            ping.add_permits(1);
            pong.acquire().await.expect("never closed").forget();
        }
        let took = start.elapsed();
        partner.await.expect("the task returns");
        took
    })
}

const UNCONTENDED: [(&str, Measure); 5] = [
    ("lisle light", uncontended::<Lisle>),
    ("may", uncontended::<May>),
    ("tokio current_thread", |n| {
        tokio_uncontended(&TOKIO_CURRENT, n)
    }),
    ("tokio multi_thread", |n| tokio_uncontended(&TOKIO_MULTI, n)),
    ("std Mutex + Condvar", uncontended::<Kernel>),
];

const ROUND_TRIP: [(&str, Measure); 5] = [
    ("lisle light", round_trips::<Lisle>),
    ("may", round_trips::<May>),
    ("tokio current_thread", |n| {
        tokio_round_trips(&TOKIO_CURRENT, n)
    }),
    ("tokio multi_thread", |n| tokio_round_trips(&TOKIO_MULTI, n)),
    ("std Mutex + Condvar", round_trips::<Kernel>),
];

fn main() {
    let mut c = common::criterion();
    common::group(&mut c, "semaphore_uncontended", &UNCONTENDED);
    common::group(&mut c, "semaphore_round_trip", &ROUND_TRIP);
    c.final_summary();
}
