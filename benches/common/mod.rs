//! What the benches share: the contestants behind one trait, and how a figure is taken.
//!
//! Every measurement is a function from a number of operations to the time they took. It starts a fresh thread of the
//! contestant's kind, and that thread reads the clock: neither the harness nor a hand-over between kernel threads
//! lies in the timed region. The same functions feed criterion and the table of targets.
//!
//! `LISLE_BENCH_WORKERS` (default 1) is the number of LWPs or workers of every contestant. may can be told only once
//! per process, so two workers are a second run. With one worker, kernel threads are confined to one CPU.

// Each bench includes this file whole and uses its part; std's blocking is what the kernel-thread contestants measure.
#![allow(dead_code, clippy::disallowed_types, clippy::disallowed_methods)]

pub(crate) mod switch;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, LazyLock, Mutex};
use std::time::Duration;

use criterion::{Criterion, SamplingMode};

/// `n` operations to the time they took.
pub(crate) type Measure = fn(u64) -> Duration;

/// LWPs or workers per contestant.
pub(crate) static WORKERS: LazyLock<usize> = LazyLock::new(|| {
    std::env::var("LISLE_BENCH_WORKERS").map_or(1, |text| {
        text.parse()
            .expect("LISLE_BENCH_WORKERS is a number of workers")
    })
});

/// A counting semaphore.
pub(crate) trait Semaphore: Send + Sync + 'static {
    fn new(permits: usize) -> Self;
    fn p(&self);
    fn v(&self);
}

/// A kind of thread that blocks where it stands.
pub(crate) trait Threads: 'static {
    type Handle<T: Send + 'static>;
    type Semaphore: Semaphore;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T>;
    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T;
    fn yield_now();

    /// Runs a measurement in a fresh thread of this kind.
    fn run(f: impl FnOnce() -> Duration + Send + 'static) -> Duration {
        Self::join(Self::spawn(f))
    }
}

/// lisle's light threads.
pub(crate) struct Lisle;

pub(crate) static LISLE: LazyLock<lisle::Runtime> = LazyLock::new(|| {
    lisle::Runtime::builder()
        .lwps(*WORKERS)
        .build()
        .expect("lisle's runtime starts")
});

impl Threads for Lisle {
    type Handle<T: Send + 'static> = lisle::thread::JoinHandle<T>;
    type Semaphore = lisle::sync::Semaphore;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        let builder = lisle::thread::Builder::new().on(&LISLE);
        // SAFETY: the benches' threads call blocking operations, arithmetic, the clock and the allocator; nothing
        // that names a thread-local is inlined beside a call that blocks, and nothing prints.
        unsafe { builder.spawn_light(f) }.expect("lisle spawns")
    }

    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.join().expect("the thread returns")
    }

    fn yield_now() {
        lisle::thread::yield_now();
    }
}

impl Semaphore for lisle::sync::Semaphore {
    fn new(permits: usize) -> Self {
        Self::new(permits)
    }

    // Part of the measured loop, as where a program calls it.
    #[inline(always)]
    fn p(&self) {
        self.p();
    }

    #[inline(always)]
    fn v(&self) {
        self.v();
    }
}

/// lisle's full threads, from the warm pool.
pub(crate) struct Full;

impl Threads for Full {
    type Handle<T: Send + 'static> = lisle::thread::JoinHandle<T>;
    type Semaphore = lisle::sync::Semaphore;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        let builder = lisle::thread::Builder::new().on(&LISLE);
        builder.spawn(f).expect("lisle spawns")
    }

    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        Lisle::join(handle)
    }

    fn yield_now() {
        lisle::thread::yield_now();
    }
}

/// may's coroutines, as configured out of the box but for the number of workers and their pinning.
pub(crate) struct May;

static MAY: LazyLock<()> = LazyLock::new(|| {
    // Nobody else is pinned.
    may::config().set_workers(*WORKERS).set_worker_pin(false);
});

impl Threads for May {
    type Handle<T: Send + 'static> = may::coroutine::JoinHandle<T>;
    type Semaphore = may::sync::Semphore;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        LazyLock::force(&MAY);
        // SAFETY: as for lisle, and no bench needs more than a few hundred bytes of stack.
        unsafe { may::coroutine::spawn(f) }
    }

    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.join().expect("the coroutine returns")
    }

    fn yield_now() {
        may::coroutine::yield_now();
    }
}

impl Semaphore for may::sync::Semphore {
    fn new(permits: usize) -> Self {
        Self::new(permits)
    }

    #[inline(always)]
    fn p(&self) {
        self.wait();
    }

    #[inline(always)]
    fn v(&self) {
        self.post();
    }
}

/// Kernel threads: std's.
pub(crate) struct Kernel;

impl Threads for Kernel {
    type Handle<T: Send + 'static> = std::thread::JoinHandle<T>;
    type Semaphore = Monitor;

    fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        // Small enough that libc keeps a thousand stacks for reuse.
        std::thread::Builder::new()
            .stack_size(32 << 10)
            .spawn(f)
            .expect("the system gives a kernel thread")
    }

    fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
        handle.join().expect("the kernel thread returns")
    }

    fn yield_now() {
        std::thread::yield_now();
    }

    fn run(f: impl FnOnce() -> Duration + Send + 'static) -> Duration {
        Self::join(Self::spawn(|| {
            if *WORKERS == 1 {
                confine();
            }
            f()
        }))
    }
}

/// Leaves the calling kernel thread, and those it will spawn, the CPU it is on.
pub(crate) fn confine() {
    // SAFETY: takes no argument.
    let cpu = unsafe { libc::sched_getcpu() };
    let cpu = usize::try_from(cpu).expect("the system says which CPU this is");
    // SAFETY: a CPU set is plain bits; all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and `CPU_SET` checks the index against its size.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set outlives the call and its size is its own.
    let error = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(error, 0, "one CPU can be chosen");
}

/// The semaphore one writes with std. It counts who waits, because `notify_one` is a system call even for nobody.
pub(crate) struct Monitor {
    state: Mutex<MonitorState>,
    given: Condvar,
}

struct MonitorState {
    permits: usize,
    waiting: usize,
}

impl Semaphore for Monitor {
    fn new(permits: usize) -> Self {
        let waiting = 0;
        Self {
            state: Mutex::new(MonitorState { permits, waiting }),
            given: Condvar::new(),
        }
    }

    fn p(&self) {
        let mut state = self.state.lock().expect("nobody panics");
        while state.permits == 0 {
            state.waiting += 1;
            state = self.given.wait(state).expect("nobody panics");
            state.waiting -= 1;
        }
        state.permits -= 1;
    }

    fn v(&self) {
        let mut state = self.state.lock().expect("nobody panics");
        state.permits += 1;
        let awaited = state.waiting > 0;
        drop(state);
        if awaited {
            self.given.notify_one();
        }
    }
}

/// A tokio runtime.
pub(crate) type Tokio = LazyLock<tokio::runtime::Runtime>;

pub(crate) static TOKIO_CURRENT: Tokio = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.build().expect("tokio's runtime starts")
});

pub(crate) static TOKIO_MULTI: Tokio = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(*WORKERS).enable_time();
    builder.build().expect("tokio's runtime starts")
});

/// Runs a measurement in a fresh task of `runtime`.
pub(crate) fn tokio_run(
    runtime: &'static Tokio,
    measurement: impl Future<Output = Duration> + Send + 'static,
) -> Duration {
    // Spawned, because the future given to `block_on` is no task and runs on no worker.
    runtime
        .block_on(runtime.spawn(measurement))
        .expect("the task returns")
}

/// `took` for `done` operations, as it would be for `asked`.
pub(crate) fn scale(took: Duration, done: u64, asked: u64) -> Duration {
    took.mul_f64(asked as f64 / done as f64)
}

/// The resident memory of this process, in bytes; exact, unlike `statm`.
pub(crate) fn resident() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("/proc is mounted");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: f64 = kilobytes
        .and_then(|number| number.parse().ok())
        .expect("it has a sum");
    kilobytes * 1024.0
}

/// Criterion with budgets that let a whole bench end within 90 s.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000))
        .without_plots()
        .output_directory(&target_directory().join("criterion"))
        .configure_from_args()
}

/// Where cargo builds. It runs benches in benches/, but a relative directory is meant from the root.
pub(crate) fn target_directory() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("benches/ is in the workspace");
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Measures each contestant of one group; one operation is one iteration.
pub(crate) fn group(c: &mut Criterion, name: &str, contestants: &[(&str, Measure)]) {
    let mut group = c.benchmark_group(format!("{name}/w{}", *WORKERS));
    // The same number of operations in every sample: set-up is amortised alike.
    group.sampling_mode(SamplingMode::Flat);
    for &(contestant, measure) in contestants {
        group.bench_function(contestant, |b| b.iter_custom(measure));
    }
    group.finish();
}

/// Whether to print the table of targets: they are set for one worker, and only `cargo bench` measures.
pub(crate) fn wants_targets() -> bool {
    *WORKERS == 1 && measures()
}

/// Whether `cargo bench` runs this, to measure.
pub(crate) fn measures() -> bool {
    let given = |flag| std::env::args().any(|arg| arg == flag);
    given("--bench") && !given("--test") && !given("--list")
}

/// Nanoseconds per operation of each contestant, the least of many rounds; the contestants take turns, so that a
/// disturbance meets all of them.
pub(crate) fn least<const N: usize>(contestants: [(Measure, u64); N]) -> [f64; N] {
    const ROUNDS: u32 = 60;
    let mut least = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        for (least, (measure, operations)) in least.iter_mut().zip(contestants) {
            *least = least.min(measure(operations).as_nanos() as f64 / operations as f64);
        }
    }
    least
}

/// Prints one line of the table of targets.
pub(crate) fn target(claim: &str, ours: f64, theirs: f64, holds: impl Fn(f64) -> bool) {
    let ratio = ours / theirs;
    let verdict = if holds(ratio) { "ok" } else { "missed" };
    println!("target  {claim:<44} {ours:9.2} / {theirs:9.2} ns  ratio {ratio:6.3}  {verdict}");
}
