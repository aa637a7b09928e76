//! The workloads for the tasks of executors: tokio's and smol's, each with its own channels and locks.
//!
//! The trait says what a task-based program needs; the workloads are those of `blocking.rs`, step by step.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{self, TOKIO_MULTI};
use crate::{BOTH, Entry, timed};

const BURST: u64 = 256;

/// An executor with its channels and its mutex.
pub(crate) trait Executor: 'static {
    type Task<T: Send + 'static>: Future<Output = T> + Send;
    type Sender: Clone + Send + 'static;
    type Receiver: Send + 'static;
    type Mutex: Send + Sync + 'static;

    fn spawn<T: Send + 'static>(f: impl Future<Output = T> + Send + 'static) -> Self::Task<T>;
    fn yield_now() -> impl Future<Output = ()> + Send;
    /// Runs a measurement in a fresh task, on a worker.
    fn run(f: impl Future<Output = Duration> + Send + 'static) -> Duration;
    fn channel(capacity: Option<usize>) -> (Self::Sender, Self::Receiver);
    fn send(to: &Self::Sender, word: u64) -> impl Future<Output = ()> + Send;
    fn receive(from: &mut Self::Receiver) -> impl Future<Output = u64> + Send;
    fn mutex() -> Self::Mutex;
    fn add_one(mutex: &Self::Mutex) -> impl Future<Output = ()> + Send;
}

pub(crate) struct Tokio;

/// tokio has two kinds of channels.
#[derive(Clone)]
pub(crate) enum TokioSender {
    Bounded(tokio::sync::mpsc::Sender<u64>),
    Unbounded(tokio::sync::mpsc::UnboundedSender<u64>),
}

pub(crate) enum TokioReceiver {
    Bounded(tokio::sync::mpsc::Receiver<u64>),
    Unbounded(tokio::sync::mpsc::UnboundedReceiver<u64>),
}

/// A task of tokio's that does not panic.
pub(crate) struct TokioTask<T>(tokio::task::JoinHandle<T>);

impl<T> Future for TokioTask<T> {
    type Output = T;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<T> {
        let task = std::pin::Pin::new(&mut self.0);
        task.poll(context)
            .map(|ended| ended.expect("the task returns"))
    }
}

impl Executor for Tokio {
    type Task<T: Send + 'static> = TokioTask<T>;
    type Sender = TokioSender;
    type Receiver = TokioReceiver;
    type Mutex = tokio::sync::Mutex<u64>;

    fn spawn<T: Send + 'static>(f: impl Future<Output = T> + Send + 'static) -> TokioTask<T> {
        TokioTask(tokio::spawn(f))
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn run(f: impl Future<Output = Duration> + Send + 'static) -> Duration {
        common::tokio_run(&TOKIO_MULTI, f)
    }

    fn channel(capacity: Option<usize>) -> (TokioSender, TokioReceiver) {
        match capacity {
            Some(capacity) => {
                let (sender, receiver) = tokio::sync::mpsc::channel(capacity);
                (
                    TokioSender::Bounded(sender),
                    TokioReceiver::Bounded(receiver),
                )
            }
            None => {
                let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
                (
                    TokioSender::Unbounded(sender),
                    TokioReceiver::Unbounded(receiver),
                )
            }
        }
    }

    async fn send(to: &TokioSender, word: u64) {
        match to {
            TokioSender::Bounded(to) => to.send(word).await.expect("the receiver lives"),
            TokioSender::Unbounded(to) => to.send(word).expect("the receiver lives"),
        }
    }

    async fn receive(from: &mut TokioReceiver) -> u64 {
        let word = match from {
            TokioReceiver::Bounded(from) => from.recv().await,
            TokioReceiver::Unbounded(from) => from.recv().await,
        };
        word.expect("the sender lives")
    }

    fn mutex() -> Self::Mutex {
        tokio::sync::Mutex::new(0)
    }

    async fn add_one(mutex: &Self::Mutex) {
        *mutex.lock().await += 1;
    }
}

/// smol's global executor; `SMOL_THREADS` is its number of threads, which the driver sets.
pub(crate) struct Smol;

impl Executor for Smol {
    type Task<T: Send + 'static> = smol::Task<T>;
    type Sender = smol::channel::Sender<u64>;
    type Receiver = smol::channel::Receiver<u64>;
    type Mutex = smol::lock::Mutex<u64>;

    fn spawn<T: Send + 'static>(f: impl Future<Output = T> + Send + 'static) -> smol::Task<T> {
        smol::spawn(f)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        smol::future::yield_now()
    }

    fn run(f: impl Future<Output = Duration> + Send + 'static) -> Duration {
        smol::block_on(smol::spawn(f))
    }

    fn channel(capacity: Option<usize>) -> (Self::Sender, Self::Receiver) {
        capacity.map_or_else(smol::channel::unbounded, smol::channel::bounded)
    }

    async fn send(to: &Self::Sender, word: u64) {
        to.send(word).await.expect("the receiver lives");
    }

    async fn receive(from: &mut Self::Receiver) -> u64 {
        from.recv().await.expect("the sender lives")
    }

    fn mutex() -> Self::Mutex {
        smol::lock::Mutex::new(0)
    }

    async fn add_one(mutex: &Self::Mutex) {
        *mutex.lock().await += 1;
    }
}

fn yields<E: Executor>(count: u64, n: u64) -> Duration {
    let each = n.div_ceil(count).max(100);
    E::run(async move {
        let start = Instant::now();
        let body = || async move {
            for _ in 0..each {
                E::yield_now().await;
            }
        };
        let tasks: Vec<_> = (0..count).map(|_| E::spawn(body())).collect();
        for task in tasks {
            task.await;
        }
        common::scale(start.elapsed(), each * count, n)
    })
}

fn spawns<E: Executor>(count: u64, n: u64) -> Duration {
    let rounds = n.div_ceil(count);
    E::run(async move {
        let mut tasks = Vec::with_capacity(count as usize);
        let start = Instant::now();
        for _ in 0..rounds {
            tasks.extend((0..count).map(|_| E::spawn(E::yield_now())));
            for task in tasks.drain(..) {
                task.await;
            }
        }
        common::scale(start.elapsed(), rounds * count, n)
    })
}

fn round_trips<E: Executor>(n: u64) -> Duration {
    E::run(async move {
        let (ping, mut pinged) = E::channel(None);
        let (pong, mut ponged) = E::channel(None);
        let partner = E::spawn(async move {
            for _ in 0..=n {
                let word = E::receive(&mut pinged).await;
                E::send(&pong, word).await;
            }
        });
        E::send(&ping, n).await;
        E::receive(&mut ponged).await;
        let start = Instant::now();
        for word in 0..n {
            E::send(&ping, word).await;
            E::receive(&mut ponged).await;
        }
        let took = start.elapsed();
        partner.await;
        took
    })
}

/// `senders` to one receiver.
fn stream<E: Executor>(capacity: Option<usize>, senders: u64, n: u64) -> Duration {
    let each = n.div_ceil(senders);
    E::run(async move {
        let (sender, mut receiver) = E::channel(capacity);
        let start = Instant::now();
        let spawn = |_| {
            let sender = sender.clone();
            E::spawn(async move {
                for word in 1..=each {
                    E::send(&sender, word).await;
                    if capacity.is_none() && word % BURST == 0 {
                        E::yield_now().await;
                    }
                }
            })
        };
        let tasks: Vec<_> = (0..senders).map(spawn).collect();
        for _ in 0..each * senders {
            E::receive(&mut receiver).await;
        }
        let took = start.elapsed();
        for task in tasks {
            task.await;
        }
        common::scale(took, each * senders, n)
    })
}

fn contended<E: Executor>(n: u64) -> Duration {
    const TASKS: u64 = 8;
    let each = n.div_ceil(TASKS);
    E::run(async move {
        let mutex = Arc::new(E::mutex());
        let start = Instant::now();
        let spawn = |_| {
            let mutex = mutex.clone();
            E::spawn(async move {
                for _ in 0..each {
                    E::add_one(&mutex).await;
                }
            })
        };
        let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
        for task in tasks {
            task.await;
        }
        common::scale(start.elapsed(), each * TASKS, n)
    })
}

/// smol's channels have many receivers.
fn smol_four_to_four(n: u64) -> Duration {
    const PAIRS: u64 = 4;
    let each = n.div_ceil(PAIRS);
    Smol::run(async move {
        let (sender, receiver) = smol::channel::bounded(1024);
        let start = Instant::now();
        let mut tasks = Vec::new();
        for _ in 0..PAIRS {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            tasks.push(smol::spawn(async move {
                for _ in 0..each {
                    receiver.recv().await.expect("the sender lives");
                }
            }));
            tasks.push(smol::spawn(async move {
                for word in 0..each {
                    sender.send(word).await.expect("the receiver lives");
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        common::scale(start.elapsed(), each * PAIRS, n)
    })
}

macro_rules! of_executors {
    ($($name:literal $peer:ty),*) => { [ $(
        timed("yield 2", $name, BOTH, |n| yields::<$peer>(2, n)),
        timed("yield 1,000", $name, BOTH, |n| yields::<$peer>(1000, n)),
        timed("spawn + join", $name, BOTH, |n| spawns::<$peer>(1, n)),
        timed("spawn 100,000", $name, BOTH, |n| spawns::<$peer>(100_000, n)),
        timed("channel ping-pong", $name, BOTH, round_trips::<$peer>),
        timed("unbounded 4:1", $name, BOTH, |n| stream::<$peer>(None, 4, n)),
        timed("bounded 1:1", $name, BOTH, |n| stream::<$peer>(Some(1024), 1, n)),
        timed("mutex by 8", $name, BOTH, contended::<$peer>),
    )* ] };
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = Vec::from(of_executors!["tokio" Tokio, "smol" Smol]);
    entries.push(timed("bounded 4:4", "smol", BOTH, smol_four_to_four));
    entries
}
