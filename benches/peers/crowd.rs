//! Very many threads that wait: what each takes to make and to keep, and how late sleepers wake.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Full, LISLE, Lisle, Semaphore, Threads, resident};
use crate::tasks::{Executor, Smol, Tokio};
use crate::{BOTH, Body, Entry, ONE};

pub(crate) type Figures = Vec<(&'static str, f64)>;

pub(crate) const MILLION: usize = 1_000_000;

/// What `count` waiting somethings take, made since `start`.
pub(crate) fn each(count: usize, before: f64, start: Instant) -> Figures {
    let (took, after) = (start.elapsed().as_nanos() as f64, resident());
    vec![
        ("bytes", (after - before) / count as f64),
        ("ns", took / count as f64),
    ]
}

/// Where they wait, and how many have come.
struct Gate<S> {
    arrived: AtomicUsize,
    closed: S,
}

impl<S> Gate<S> {
    fn new(closed: S) -> Arc<Gate<S>> {
        Arc::new(Gate {
            arrived: AtomicUsize::new(0),
            closed,
        })
    }

    fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    fn lacks(&self, count: usize) -> bool {
        self.arrived.load(Ordering::Relaxed) < count
    }
}

impl<S: Semaphore> Gate<S> {
    fn wait(&self) {
        self.arrive();
        self.closed.p();
    }
}

/// A gate for threads of this kind.
type GateOf<T> = Arc<Gate<<T as Threads>::Semaphore>>;

/// Threads that wait for a semaphore.
fn parked_threads<T: Threads>(count: usize, spawn: fn(GateOf<T>) -> T::Handle<()>) -> Figures {
    let (sender, figures) = std::sync::mpsc::channel();
    T::run(move || {
        let gate = Gate::new(T::Semaphore::new(0));
        let mut handles = Vec::with_capacity(count);
        let (before, start) = (resident(), Instant::now());
        handles.extend((0..count).map(|_| spawn(gate.clone())));
        while gate.lacks(count) {
            T::yield_now();
        }
        sender
            .send(each(count, before, start))
            .expect("somebody listens");
        (0..count).for_each(|_| gate.closed.v());
        handles.into_iter().for_each(T::join);
        Duration::ZERO
    });
    figures.recv().expect("the thread has sent them")
}

/// With the smallest stack that lisle has.
fn small(builder: lisle::thread::Builder) -> lisle::thread::Builder {
    builder.on(&LISLE).stack_size(64 << 10)
}

type LisleGate = Arc<Gate<lisle::sync::Semaphore>>;

fn light_waiter(gate: LisleGate) -> lisle::thread::JoinHandle<()> {
    // SAFETY: it waits and ends; neither touches a thread-local.
    unsafe { small(lisle::thread::Builder::new()).spawn_light(move || gate.wait()) }
        .expect("lisle spawns")
}

fn full_waiter(gate: LisleGate) -> lisle::thread::JoinHandle<()> {
    let builder = lisle::thread::Builder::new().on(&LISLE);
    builder.spawn(move || gate.wait()).expect("lisle spawns")
}

/// Tasks that wait for a channel on which nothing comes; its end wakes them.
fn parked_tasks<E: Executor>(count: usize) -> Figures {
    let (sender, figures) = std::sync::mpsc::channel();
    E::run(async move {
        let (open, closed) = smol::channel::bounded::<()>(1);
        let gate = Gate::new(closed);
        let mut tasks = Vec::with_capacity(count);
        let (before, start) = (resident(), Instant::now());
        tasks.extend((0..count).map(|_| {
            let gate = gate.clone();
            E::spawn(async move {
                gate.arrive();
                let _ = gate.closed.recv().await;
            })
        }));
        while gate.lacks(count) {
            E::yield_now().await;
        }
        sender
            .send(each(count, before, start))
            .expect("somebody listens");
        drop(open);
        for task in tasks {
            task.await;
        }
        Duration::ZERO
    });
    figures.recv().expect("the task has sent them")
}

const SLEEPERS: u32 = 100_000;
const SLEEP: Duration = Duration::from_secs(1);

/// The median and the 99th percentile of how late they were.
fn lateness(mut late: Vec<Duration>) -> Figures {
    late.sort_unstable();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100].as_micros() as f64;
    vec![("p50 us", at(50)), ("p99 us", at(99))]
}

/// Each sleeps for a second from when it begins.
fn sleeping_threads<T: Threads>(sleep: fn(Duration)) -> Figures {
    let (sender, figures) = std::sync::mpsc::channel();
    T::run(move || {
        let sleeper = move || {
            let until = Instant::now() + SLEEP;
            sleep(SLEEP);
            until.elapsed()
        };
        let threads: Vec<_> = (0..SLEEPERS).map(|_| T::spawn(sleeper)).collect();
        let late = threads.into_iter().map(T::join).collect();
        sender.send(lateness(late)).expect("somebody listens");
        Duration::ZERO
    });
    figures.recv().expect("the thread has sent them")
}

fn sleeping_tasks<E: Executor, F: Future + Send + 'static>(sleep: fn(Duration) -> F) -> Figures {
    let (sender, figures) = std::sync::mpsc::channel();
    E::run(async move {
        let sleeper = move || async move {
            let until = Instant::now() + SLEEP;
            sleep(SLEEP).await;
            until.elapsed()
        };
        let tasks: Vec<_> = (0..SLEEPERS).map(|_| E::spawn(sleeper())).collect();
        let mut late = Vec::with_capacity(tasks.len());
        for task in tasks {
            late.push(task.await);
        }
        sender.send(lateness(late)).expect("somebody listens");
        Duration::ZERO
    });
    figures.recv().expect("the task has sent them")
}

async fn smol_sleep(time: Duration) {
    smol::Timer::after(time).await;
}

pub(crate) fn entries() -> Vec<Entry> {
    let entry = |workload, peer, workers, run| Entry {
        workload,
        peer,
        workers,
        body: Body::Figures(run),
    };
    vec![
        entry("parked", "lisle light", ONE, || {
            parked_threads::<Lisle>(MILLION, light_waiter)
        }),
        entry("parked", "lisle full", ONE, || {
            parked_threads::<Full>(MILLION / 10, full_waiter)
        }),
        entry("parked", "tokio", ONE, || parked_tasks::<Tokio>(MILLION)),
        entry("parked", "smol", ONE, || parked_tasks::<Smol>(MILLION)),
        entry("sleep 1 s", "lisle light", BOTH, || {
            sleeping_threads::<Lisle>(lisle::thread::sleep)
        }),
        entry("sleep 1 s", "lisle full", BOTH, || {
            sleeping_threads::<Full>(lisle::thread::sleep)
        }),
        entry("sleep 1 s", "tokio", BOTH, || {
            sleeping_tasks::<Tokio, _>(tokio::time::sleep)
        }),
        entry("sleep 1 s", "smol", BOTH, || {
            sleeping_tasks::<Smol, _>(smol_sleep)
        }),
    ]
}
