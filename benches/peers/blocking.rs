//! The workloads for threads that block where they stand: lisle's light and full threads, may's coroutines, std's threads
//! (with crossbeam-channel and parking_lot, which their users recommend).

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{self, Full, Kernel, Lisle, May, Semaphore, Threads};
use crate::{BOTH, Entry, ONE, timed};

/// Words between two yields of a sender that never waits; else it would fill the memory on one worker.
const BURST: u64 = 256;

/// A sending half.
pub(crate) trait Sender: Clone + Send + 'static {
    fn send(&self, word: u64);
}

/// A receiving half.
pub(crate) trait Receiver: Send + 'static {
    fn receive(&self) -> u64;
}

/// A mutex around a number.
pub(crate) trait Counter: Send + Sync + 'static {
    fn new() -> Self;
    fn add_one(&self) -> u64;
}

/// Threads with the rest of what a program needs.
pub(crate) trait Peer: Threads {
    type Sender: Sender;
    type Receiver: Receiver;
    type Counter: Counter;

    fn unbounded() -> (Self::Sender, Self::Receiver);
}

macro_rules! halves {
    ($($sender:ty, $receiver:ty;)*) => { $(
        impl Sender for $sender {
            #[inline(always)]
            fn send(&self, word: u64) {
                self.send(word).expect("the receiver lives");
            }
        }

        impl Receiver for $receiver {
            #[inline(always)]
            fn receive(&self) -> u64 {
                self.recv().expect("the sender lives")
            }
        }
    )* };
}

halves! {
    lisle::channel::Sender<u64>, lisle::channel::Receiver<u64>;
    may::sync::mpsc::Sender<u64>, may::sync::mpsc::Receiver<u64>;
    crossbeam_channel::Sender<u64>, crossbeam_channel::Receiver<u64>;
}

macro_rules! counters {
    ($($mutex:ty, $($unwrap:ident)?;)*) => { $(
        impl Counter for $mutex {
            fn new() -> Self {
                <$mutex>::new(0)
            }

            #[inline(always)]
            fn add_one(&self) -> u64 {
                let mut number = self.lock()$(.$unwrap())?;
                *number += 1;
                *number
            }
        }
    )* };
}

counters! {
    lisle::sync::Mutex<u64>, unwrap;
    may::sync::Mutex<u64>, unwrap;
    parking_lot::Mutex<u64>, ;
}

macro_rules! peers {
    ($($peer:ty, $($channel:ident)::+, $mutex:ty;)*) => { $(
        impl Peer for $peer {
            type Sender = $($channel)::+::Sender<u64>;
            type Receiver = $($channel)::+::Receiver<u64>;
            type Counter = $mutex;

            fn unbounded() -> (Self::Sender, Self::Receiver) {
                peers!(@new $($channel)::+)
            }
        }
    )* };
    (@new may::sync::mpsc) => { may::sync::mpsc::channel() };
    (@new $($channel:ident)::+) => { $($channel)::+::unbounded() };
}

peers! {
    Lisle, lisle::channel, lisle::sync::Mutex<u64>;
    Full, lisle::channel, lisle::sync::Mutex<u64>;
    May, may::sync::mpsc, may::sync::Mutex<u64>;
    Kernel, crossbeam_channel, parking_lot::Mutex<u64>;
}

/// Yields of `count` threads that do nothing else.
fn yields<T: Threads>(count: u64, n: u64) -> Duration {
    // Enough of each that the joins do not show.
    let each = n.div_ceil(count).max(100);
    crowd::<T>(
        count,
        move || (0..each).for_each(|_| T::yield_now()),
        each * count,
        n,
    )
}

/// Runs `body` in `count` threads, which begin together; scales `done` operations to `n`.
fn crowd<T: Threads>(
    count: u64,
    body: impl Fn() + Clone + Send + 'static,
    done: u64,
    n: u64,
) -> Duration {
    T::run(move || {
        let started = Arc::new(T::Semaphore::new(0));
        let gate = Arc::new(T::Semaphore::new(0));
        let spawn = |_| {
            let (started, gate, body) = (started.clone(), gate.clone(), body.clone());
            T::spawn(move || {
                started.v();
                gate.p();
                body();
            })
        };
        let threads: Vec<_> = (0..count).map(spawn).collect();
        (0..count).for_each(|_| started.p());
        let start = Instant::now();
        (0..count).for_each(|_| gate.v());
        threads.into_iter().for_each(T::join);
        common::scale(start.elapsed(), done, n)
    })
}

/// Threads that yield once, spawned `count` at a time and then joined.
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

/// A word there and back, through two channels.
fn round_trips<T: Peer>(n: u64) -> Duration {
    T::run(move || {
        let (ping, pinged) = T::unbounded();
        let (pong, ponged) = T::unbounded();
        // One more than is measured: by then the partner has started.
        let partner = T::spawn(move || (0..=n).for_each(|_| pong.send(pinged.receive())));
        ping.send(n);
        ponged.receive();
        let start = Instant::now();
        for word in 0..n {
            ping.send(word);
            ponged.receive();
        }
        let took = start.elapsed();
        T::join(partner);
        took
    })
}

/// P and V there and back, through two semaphores.
fn semaphores<T: Threads>(n: u64) -> Duration {
    T::run(move || {
        let [ping, pong] = [0, 0].map(|permits| Arc::new(T::Semaphore::new(permits)));
        let (pinged, ponged) = (ping.clone(), pong.clone());
        let partner = T::spawn(move || {
            for _ in 0..=n {
                pinged.p();
                pong.v();
            }
        });
        ping.v();
        ponged.p();
        let start = Instant::now();
        for _ in 0..n {
            ping.v();
            ponged.p();
        }
        let took = start.elapsed();
        T::join(partner);
        took
    })
}

/// Four senders, one receiver, no bound.
fn many_to_one<T: Peer>(n: u64) -> Duration {
    const SENDERS: u64 = 4;
    let each = n.div_ceil(SENDERS);
    T::run(move || {
        let (sender, receiver) = T::unbounded();
        let start = Instant::now();
        let spawn = |_| {
            let sender = sender.clone();
            T::spawn(move || {
                for word in 1..=each {
                    sender.send(word);
                    if word % BURST == 0 {
                        T::yield_now();
                    }
                }
            })
        };
        let threads: Vec<_> = (0..SENDERS).map(spawn).collect();
        (0..each * SENDERS).for_each(|_| {
            black_box(receiver.receive());
        });
        let took = start.elapsed();
        threads.into_iter().for_each(T::join);
        common::scale(took, each * SENDERS, n)
    })
}

/// A channel for 1,024 words, from `pairs` senders to as many receivers.
fn bounded<T: Threads, S: Sender, R: Receiver + Clone>(
    channel: fn(usize) -> (S, R),
    pairs: u64,
    n: u64,
) -> Duration {
    let each = n.div_ceil(pairs);
    T::run(move || {
        let (sender, receiver) = channel(1024);
        let start = Instant::now();
        let mut threads = Vec::new();
        for _ in 0..pairs {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            threads.push(T::spawn(move || {
                (0..each).for_each(|_| {
                    black_box(receiver.receive());
                })
            }));
            threads.push(T::spawn(move || {
                (0..each).for_each(|word| sender.send(word))
            }));
        }
        threads.into_iter().for_each(T::join);
        common::scale(start.elapsed(), each * pairs, n)
    })
}

/// Eight threads that add to a number under one mutex.
fn contended<T: Peer>(n: u64) -> Duration {
    const THREADS: u64 = 8;
    let each = n.div_ceil(THREADS);
    let counter = Arc::new(T::Counter::new());
    let body = move || {
        (0..each).for_each(|_| {
            black_box(counter.add_one());
        })
    };
    crowd::<T>(THREADS, body, each * THREADS, n)
}

macro_rules! of_threads {
    ($($name:literal $peer:ty),*) => { [ $(
        timed("yield 2", $name, BOTH, |n| yields::<$peer>(2, n)),
        timed("yield 1,000", $name, BOTH, |n| yields::<$peer>(1000, n)),
        timed("spawn + join", $name, BOTH, |n| spawns::<$peer>(1, n)),
        timed("channel ping-pong", $name, BOTH, round_trips::<$peer>),
        timed("semaphore ping-pong", $name, BOTH, semaphores::<$peer>),
        timed("unbounded 4:1", $name, BOTH, many_to_one::<$peer>),
        timed("mutex by 8", $name, BOTH, contended::<$peer>),
    )* ] };
}

macro_rules! of_bounded {
    ($($name:literal $peer:ty, $channel:path),*) => { [ $(
        timed("bounded 1:1", $name, BOTH, |n| bounded::<$peer, _, _>($channel, 1, n)),
        timed("bounded 4:4", $name, BOTH, |n| bounded::<$peer, _, _>($channel, 4, n)),
    )* ] };
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = Vec::from(of_threads![
        "lisle light" Lisle, "lisle full" Full, "may" May, "std" Kernel
    ]);
    entries.extend(of_bounded![
        "lisle light" Lisle, lisle::channel::bounded,
        "lisle full" Full, lisle::channel::bounded,
        "std" Kernel, crossbeam_channel::bounded
    ]);
    // Not for std: so many kernel threads are near the limits that many systems set.
    entries.extend([
        timed("spawn 100,000", "lisle light", BOTH, |n| {
            spawns::<Lisle>(100_000, n)
        }),
        timed("spawn 100,000", "may", ONE, |n| spawns::<May>(10_000, n)),
    ]);
    entries
}
