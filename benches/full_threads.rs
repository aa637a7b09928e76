//! What a thread with thread-locals of its own costs, beside one that borrows them and beside kernel threads.
//!
//! All on one LWP (or `LISLE_BENCH_WORKERS`). The difference between the yields of full and light threads is the write
//! of the thread pointer, and what the longer path of full threads costs.

mod common;

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::{Kernel, Lisle, Measure, Threads, WORKERS};
use lisle::thread::{self, Builder, JoinHandle};

static RUNTIME: LazyLock<lisle::Runtime> = LazyLock::new(|| {
    let builder = lisle::Runtime::builder().lwps(*WORKERS);
    builder.build().expect("lisle's runtime starts")
});

/// lisle's full threads, from the warm pool.
struct Full;

impl Threads for Full {
    type Handle<T: Send + 'static> = JoinHandle<T>;
    type Semaphore = lisle::sync::Semaphore;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Builder::new().on(&RUNTIME).spawn(f).expect("lisle spawns")
    }

    fn join<T: Send + 'static>(handle: JoinHandle<T>) -> T {
        handle.join().expect("the thread returns")
    }

    fn yield_now() {
        thread::yield_now();
    }
}

/// Full threads on donors that nobody has used.
struct Fresh;

impl Threads for Fresh {
    type Handle<T: Send + 'static> = JoinHandle<T>;
    type Semaphore = lisle::sync::Semaphore;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let builder = Builder::new().on(&RUNTIME).fresh(true);
        builder.spawn(f).expect("lisle spawns")
    }

    fn join<T: Send + 'static>(handle: JoinHandle<T>) -> T {
        handle.join().expect("the thread returns")
    }

    fn yield_now() {
        thread::yield_now();
    }

    fn run(f: impl FnOnce() -> Duration + Send + 'static) -> Duration {
        Full::run(f)
    }
}

/// Two threads yield in turns; the cost of one yield.
fn yields<T: Threads>(n: u64) -> Duration {
    T::run(move || {
        let other = T::spawn(move || (0..n / 2).for_each(|_| T::yield_now()));
        let start = Instant::now();
        (0..n / 2).for_each(|_| T::yield_now());
        let took = start.elapsed();
        T::join(other);
        took
    })
}

thread_local! {
    static USED: Cell<u64> = const { Cell::new(0) };
}

/// Uses a thread-local of the thread.
fn use_own() -> u64 {
    USED.with(|used| used.replace(used.get() + 1))
}

/// Threads that use a thread-local, spawned and joined one by one.
fn spawns<T: Threads>(n: u64) -> Duration {
    T::run(move || {
        let start = Instant::now();
        (0..n).for_each(|_| {
            T::join(T::spawn(use_own));
        });
        start.elapsed()
    })
}

/// As above, with nothing in them: for light threads, which have no thread-locals.
fn empty_spawns<T: Threads>(n: u64) -> Duration {
    T::run(move || {
        let start = Instant::now();
        (0..n).for_each(|_| T::join(T::spawn(|| ())));
        start.elapsed()
    })
}

const YIELD: [(&str, Measure); 3] = [
    ("lisle light", yields::<Lisle>),
    ("lisle full", yields::<Full>),
    ("std", yields::<Kernel>),
];

const SPAWN: [(&str, Measure); 4] = [
    ("lisle light", empty_spawns::<Lisle>),
    ("lisle full", spawns::<Full>),
    ("lisle full, fresh", spawns::<Fresh>),
    ("std", spawns::<Kernel>),
];

fn main() {
    let mut c = common::criterion();
    common::group(&mut c, "full_yield", &YIELD);
    common::group(&mut c, "full_spawn_join", &SPAWN);
    c.final_summary();
    if common::wants_targets() {
        targets();
    }
}

/// Checks, in one run, what a full thread is meant to cost.
fn targets() {
    let [light, full, light_yield, full_yield] = common::least([
        (empty_spawns::<Lisle>, 10_000),
        (spawns::<Full>, 10_000),
        (yields::<Lisle>, 100_000),
        (yields::<Full>, 100_000),
    ]);
    let [fresh, std, warm] = common::least([
        (spawns::<Fresh>, 20),
        (spawns::<Kernel>, 20),
        (spawns::<Full>, 2_000),
    ]);
    let write = full_yield - light_yield;
    println!(
        "yield: light {light_yield:.2} ns, full {full_yield:.2} ns; pointer write and longer path {write:.2} ns"
    );
    println!("resident: {} bytes per parked full thread", resident());
    let allowed = light + 2.0 * write + 40.0;
    common::target(
        "spawn + join <= light + 2 writes + 40 ns",
        full,
        allowed,
        |r| r <= 1.0,
    );
    common::target("spawn + join >= 50 x cheaper than std", warm, std, |r| {
        r <= 0.02
    });
    // No target: what a donor costs that nobody has used.
    println!(
        "        fresh donor {fresh:9.0} ns, std's thread {std:9.0} ns, ratio {:.2}",
        fresh / std
    );
}

/// Bytes that each of many parked full threads adds to the process.
fn resident() -> u64 {
    const THREADS: u64 = 5_000;
    let before = resident_set();
    let spawn = || Full::spawn(thread::park);
    let parked: Vec<_> = (0..THREADS).map(|_| spawn()).collect();
    while thread::list()
        .iter()
        .filter(|t| !t.bound && t.switches > 0)
        .count()
        < THREADS as usize
    {
        thread::sleep(Duration::from_millis(10));
    }
    let bytes = (resident_set() - before) / THREADS;
    for thread in &parked {
        thread.thread().unpark();
    }
    parked.into_iter().for_each(Full::join);
    bytes
}

fn resident_set() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("statm's second number") * 4096
}
