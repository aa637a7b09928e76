//! What locks and barriers cost: alone, and fought over by several threads.
//!
//! `cargo bench --bench sync -- targets` prints the table of what was asked for, for one worker; with
//! `LISLE_BENCH_WORKERS=2`, for two.

// What std offers is among the contestants.
#![allow(clippy::disallowed_types)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Kernel, Lisle, May, Measure, Semaphore, TOKIO_MULTI, Threads, WORKERS};

/// How many threads fight for one lock.
const FIGHTERS: u64 = 8;

/// A lock around a number.
trait Lock: Send + Sync + 'static {
    fn new() -> Self;
    fn add_one(&self);
}

/// A readers-writer lock around a number.
trait SharedLock: Send + Sync + 'static {
    fn new() -> Self;
    fn read(&self) -> u64;
    fn add_one(&self);
}

macro_rules! locks {
    ($($mutex:ty),*; $($shared:ty),*) => {
        $(impl Lock for $mutex {
            fn new() -> Self {
                Self::new(0)
            }
            #[inline]
            fn add_one(&self) {
                *unpoisoned(self.lock()) += 1;
            }
        })*
        $(impl SharedLock for $shared {
            fn new() -> Self {
                Self::new(0)
            }
            #[inline]
            fn read(&self) -> u64 {
                *unpoisoned(self.read())
            }
            #[inline]
            fn add_one(&self) {
                *unpoisoned(self.write()) += 1;
            }
        })*
    };
}

/// The guard: some locks can be poisoned.
trait Unpoisoned {
    type Guard;
    fn guard(self) -> Self::Guard;
}

impl<G> Unpoisoned for std::sync::LockResult<G> {
    type Guard = G;
    #[inline]
    fn guard(self) -> G {
        self.expect("nobody panics")
    }
}

macro_rules! never_poisoned {
    ($($guard:ident)*) => {
        $(impl<'a> Unpoisoned for parking_lot::$guard<'a, u64> {
            type Guard = Self;
            #[inline]
            fn guard(self) -> Self {
                self
            }
        })*
    };
}

never_poisoned!(MutexGuard RwLockReadGuard RwLockWriteGuard);

impl<'a> Unpoisoned for lisle::sync::parking_lot::MutexGuard<'a, u64> {
    type Guard = Self;
    #[inline]
    fn guard(self) -> Self {
        self
    }
}

#[inline]
fn unpoisoned<G: Unpoisoned>(result: G) -> G::Guard {
    result.guard()
}

locks!(
    lisle::sync::Mutex<u64>, lisle::sync::parking_lot::Mutex<u64>, parking_lot::Mutex<u64>, std::sync::Mutex<u64>, may::sync::Mutex<u64>;
    lisle::sync::RwLock<u64>, parking_lot::RwLock<u64>, std::sync::RwLock<u64>, may::sync::RwLock<u64>
);

/// Lock and unlock of one thread alone.
fn uncontended<T: Threads, L: Lock>(n: u64) -> Duration {
    T::run(move || {
        let lock = L::new();
        let start = Instant::now();
        for _ in 0..n {
            lock.add_one();
        }
        start.elapsed()
    })
}

/// Lock and unlock of several threads that do nothing else.
fn contended<T: Threads, L: Lock>(n: u64) -> Duration {
    T::run(move || {
        let lock = Arc::new(L::new());
        let start = Instant::now();
        let fighters: Vec<_> = (0..FIGHTERS)
            .map(|_| {
                let lock = lock.clone();
                T::spawn(move || (0..n / FIGHTERS).for_each(|_| lock.add_one()))
            })
            .collect();
        fighters.into_iter().for_each(T::join);
        start.elapsed()
    })
}

/// The same, with tokio's tasks and mutex.
fn tokio_contended(n: u64) -> Duration {
    common::tokio_run(&TOKIO_MULTI, async move {
        let lock = Arc::new(tokio::sync::Mutex::new(0_u64));
        let start = Instant::now();
        let fighters: Vec<_> = (0..FIGHTERS)
            .map(|_| {
                let lock = lock.clone();
                tokio::spawn(async move {
                    for _ in 0..n / FIGHTERS {
                        *lock.lock().await += 1;
                    }
                })
            })
            .collect();
        for fighter in fighters {
            fighter.await.expect("the task returns");
        }
        start.elapsed()
    })
}

/// Eight threads read, one writes now and then; a read is one operation.
fn eight_readers<T: Threads, L: SharedLock>(n: u64) -> Duration {
    T::run(move || {
        let lock = Arc::new(L::new());
        let start = Instant::now();
        let readers = (0..FIGHTERS).map(|_| {
            let lock = lock.clone();
            T::spawn(move || {
                let mut sum = 0_u64;
                for _ in 0..n / FIGHTERS {
                    sum = sum.wrapping_add(lock.read());
                }
                std::hint::black_box(sum);
            })
        });
        let readers: Vec<_> = readers.collect();
        let writer = T::spawn({
            let lock = lock.clone();
            move || (0..n / FIGHTERS).for_each(|_| lock.add_one())
        });
        readers.into_iter().for_each(T::join);
        T::join(writer);
        start.elapsed()
    })
}

/// A barrier.
trait Meet: Send + Sync + 'static {
    fn new(threads: usize) -> Self;
    fn meet(&self);
}

macro_rules! barriers {
    ($($barrier:ty),*) => {
        $(impl Meet for $barrier {
            fn new(threads: usize) -> Self {
                Self::new(threads)
            }
            #[inline]
            fn meet(&self) {
                self.wait();
            }
        })*
    };
}

barriers!(lisle::sync::Barrier, may::sync::Barrier, std::sync::Barrier);

/// A thousand threads meet again and again; one arrival is one operation.
fn meetings<T: Threads, B: Meet>(n: u64) -> Duration {
    const THREADS: u64 = 1000;
    T::run(move || {
        let rounds = n.div_ceil(THREADS);
        let barrier = Arc::new(B::new(THREADS as usize + 1));
        let threads = (0..THREADS).map(|_| {
            let barrier = barrier.clone();
            T::spawn(move || (0..=rounds).for_each(|_| barrier.meet()))
        });
        let threads: Vec<_> = threads.collect();
        // All have started.
        barrier.meet();
        let start = Instant::now();
        (0..rounds).for_each(|_| barrier.meet());
        let took = start.elapsed();
        threads.into_iter().for_each(T::join);
        common::scale(took, rounds * THREADS, n)
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
                for _ in 0..n {
                    ping.p();
                    pong.v();
                }
            }
        });
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

const UNCONTENDED: [(&str, Measure); 5] = [
    ("lisle", uncontended::<Lisle, lisle::sync::Mutex<u64>>),
    (
        "lisle, parking_lot's guards",
        uncontended::<Lisle, lisle::sync::parking_lot::Mutex<u64>>,
    ),
    (
        "parking_lot",
        uncontended::<Kernel, parking_lot::Mutex<u64>>,
    ),
    ("std", uncontended::<Kernel, std::sync::Mutex<u64>>),
    ("may", uncontended::<May, may::sync::Mutex<u64>>),
];

const CONTENDED: [(&str, Measure); 5] = [
    ("lisle", contended::<Lisle, lisle::sync::Mutex<u64>>),
    ("parking_lot", contended::<Kernel, parking_lot::Mutex<u64>>),
    ("std", contended::<Kernel, std::sync::Mutex<u64>>),
    ("may", contended::<May, may::sync::Mutex<u64>>),
    ("tokio", tokio_contended),
];

const EIGHT_READERS: [(&str, Measure); 4] = [
    ("lisle", eight_readers::<Lisle, lisle::sync::RwLock<u64>>),
    (
        "parking_lot",
        eight_readers::<Kernel, parking_lot::RwLock<u64>>,
    ),
    ("std", eight_readers::<Kernel, std::sync::RwLock<u64>>),
    ("may", eight_readers::<May, may::sync::RwLock<u64>>),
];

const MEETINGS: [(&str, Measure); 3] = [
    ("lisle", meetings::<Lisle, lisle::sync::Barrier>),
    ("may", meetings::<May, may::sync::Barrier>),
    ("std", meetings::<Kernel, std::sync::Barrier>),
];

fn main() {
    let mut c = common::criterion();
    common::group(&mut c, "mutex_uncontended", &UNCONTENDED);
    common::group(&mut c, "mutex_contended_8", &CONTENDED);
    common::group(&mut c, "rwlock_8_readers_1_writer", &EIGHT_READERS);
    common::group(&mut c, "barrier_1000", &MEETINGS);
    c.final_summary();
    if common::measures() {
        targets();
    }
}

/// Checks, in one run, what locks are meant to cost.
fn targets() {
    // Like with like: std's guards look for panics twice, parking_lot's do not.
    let [lisle, raw, parking_lot, std] =
        common::least([0, 1, 2, 3].map(|i| (UNCONTENDED[i].1, 1_000_000)));
    common::target("lock + unlock <= parking_lot", raw, parking_lot, |r| {
        r <= 1.0
    });
    common::target("lock + unlock, poisoning, <= std", lisle, std, |r| r <= 1.0);
    common::target(
        "lock + unlock, poisoning, beside parking_lot",
        lisle,
        parking_lot,
        |_| true,
    );
    let [lisle, parking_lot, may, tokio] = common::least([
        (CONTENDED[0].1, 400_000),
        (CONTENDED[1].1, 400_000),
        (CONTENDED[3].1, 40_000),
        (CONTENDED[4].1, 40_000),
    ]);
    println!(
        "        contended, {} workers: parking_lot {parking_lot:.1}, may {may:.1}, tokio {tokio:.1}",
        *WORKERS
    );
    let best = parking_lot.min(may).min(tokio);
    common::target("8 fighters <= the best of the others", lisle, best, |r| {
        r <= 1.0
    });
    let [lisle, parking_lot] =
        common::least([(EIGHT_READERS[0].1, 400_000), (EIGHT_READERS[1].1, 400_000)]);
    common::target(
        "8 readers, 1 writer <= parking_lot",
        lisle,
        parking_lot,
        |r| r <= 1.0,
    );
    let [lisle, may] = common::least([(MEETINGS[0].1, 20_000), (MEETINGS[1].1, 20_000)]);
    common::target("arrival at a barrier of 1,000 <= may", lisle, may, |r| {
        r <= 1.0
    });
    let [trip] = common::least([(round_trips::<Lisle> as Measure, 200_000)]);
    common::target("semaphore round trip <= 72 ns", trip, 72.0, |r| {
        *WORKERS > 1 || r <= 1.0
    });
}
