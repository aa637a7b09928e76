//! What a join costs: fib(30) without a cut-off, so that the joins are all there is, on one and on two LWPs.
//!
//! One operation is one join, of 1,346,268 in a fib(30). A sequential call is what nobody can beat on one processor. On
//! two, nobody can beat two programs that run beside each other and know nothing of each other: "lisle twice, half each".

mod common;

use std::hint::black_box;
use std::num::NonZero;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::Measure;
use lisle::jobs::{self, Scope};
use lisle::{Runtime, thread};

const N: u32 = 30;
/// How many joins that is: fib(31) - 1.
const JOINS: u64 = 1_346_268;

fn sequential(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    sequential(n - 1) + sequential(n - 2)
}

fn joined(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = lisle::join(|| joined(n - 1), || joined(n - 2));
    a + b
}

fn scoped(s: &Scope, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = s.join(|s| scoped(s, n - 1), |s| scoped(s, n - 2));
    a + b
}

fn rayoned(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = rayon_core::join(|| rayoned(n - 1), || rayoned(n - 2));
    a + b
}

fn chilied(s: &mut chili::Scope<'_>, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = s.join(|s| chilied(s, n - 1), |s| chilied(s, n - 2));
    a + b
}

/// `n` joins, rounded to whole runs.
fn timed(n: u64, mut fib: impl FnMut() -> u64) -> Duration {
    let rounds = n.div_ceil(JOINS);
    let start = Instant::now();
    for _ in 0..rounds {
        assert_eq!(fib(), 832_040);
    }
    common::scale(start.elapsed(), rounds * JOINS, n)
}

fn runtime(lwps: usize) -> Runtime {
    let builder = Runtime::builder().lwps(lwps);
    builder.build().expect("lisle's runtime starts")
}

static LISLE: LazyLock<[Runtime; 2]> = LazyLock::new(|| [1, 2].map(runtime));

static RAYON: LazyLock<[rayon_core::ThreadPool; 2]> = LazyLock::new(|| {
    [1, 2].map(|threads| {
        let builder = rayon_core::ThreadPoolBuilder::new().num_threads(threads);
        builder.build().expect("rayon's pool starts")
    })
});

/// chili's recommended way: the calling thread is one of the pool's.
static CHILI: LazyLock<[chili::ThreadPool; 2]> = LazyLock::new(|| {
    [1, 2].map(|threads| {
        chili::ThreadPool::with_config(chili::Config {
            thread_count: NonZero::new(threads),
            ..chili::Config::default()
        })
    })
});

/// In a full thread of the runtime.
fn on_lisle(
    runtime: &Runtime,
    f: impl FnOnce() -> Duration + Send + 'static,
) -> thread::JoinHandle<Duration> {
    let builder = thread::Builder::new().on(runtime);
    builder.spawn(f).expect("lisle spawns")
}

fn lisle_join<const LWPS: usize>(n: u64) -> Duration {
    let thread = on_lisle(&LISLE[LWPS - 1], move || timed(n, || joined(black_box(N))));
    thread.join().expect("the thread returns")
}

fn lisle_scope<const LWPS: usize>(n: u64) -> Duration {
    let body = move || timed(n, || jobs::scope(|s| scoped(s, black_box(N))));
    let thread = on_lisle(&LISLE[LWPS - 1], body);
    thread.join().expect("the thread returns")
}

/// Half of the joins on each of two runtimes with one LWP.
fn lisle_twice(n: u64) -> Duration {
    static TWINS: LazyLock<[Runtime; 2]> = LazyLock::new(|| [1, 1].map(runtime));
    let body = move || timed(n, || jobs::scope(|s| scoped(s, black_box(N))));
    let threads = TWINS.each_ref().map(|twin| on_lisle(twin, body));
    let took = threads.map(|thread| thread.join().expect("the thread returns"));
    took.into_iter().max().expect("two") / 2
}

fn rayon<const THREADS: usize>(n: u64) -> Duration {
    RAYON[THREADS - 1].install(|| timed(n, || rayoned(black_box(N))))
}

fn chili<const THREADS: usize>(n: u64) -> Duration {
    let pool = &CHILI[THREADS - 1];
    timed(n, || chilied(&mut pool.scope(), black_box(N)))
}

fn call(n: u64) -> Duration {
    timed(n, || sequential(black_box(N)))
}

/// Joins one after the other of closures that do nothing: whoever helps loses.
fn empty<const LWPS: usize>(n: u64) -> Duration {
    let body = move || {
        let start = Instant::now();
        jobs::scope(|s| {
            for n in 0..n {
                black_box(s.join(|_| black_box(n), |_| black_box(n)));
            }
        });
        start.elapsed()
    };
    let thread = on_lisle(&LISLE[LWPS - 1], body);
    thread.join().expect("the thread returns")
}

fn rayon_empty<const THREADS: usize>(n: u64) -> Duration {
    RAYON[THREADS - 1].install(|| {
        let start = Instant::now();
        for n in 0..n {
            black_box(rayon_core::join(|| black_box(n), || black_box(n)));
        }
        start.elapsed()
    })
}

fn chili_empty<const THREADS: usize>(n: u64) -> Duration {
    let mut s = CHILI[THREADS - 1].scope();
    let start = Instant::now();
    for n in 0..n {
        black_box(s.join(|_| black_box(n), |_| black_box(n)));
    }
    start.elapsed()
}

const EMPTY: [(&str, Measure); 4] = [
    ("lisle, alone", empty::<1>),
    ("lisle, an LWP idle", empty::<2>),
    ("rayon, a worker idle", rayon_empty::<2>),
    ("chili, a worker idle", chili_empty::<2>),
];

const ONE: [(&str, Measure); 5] = [
    ("sequential call", call),
    ("lisle join", lisle_join::<1>),
    ("lisle Scope::join", lisle_scope::<1>),
    ("rayon", rayon::<1>),
    ("chili", chili::<1>),
];

const TWO: [(&str, Measure); 5] = [
    ("lisle join", lisle_join::<2>),
    ("lisle Scope::join", lisle_scope::<2>),
    ("lisle twice, half each", lisle_twice),
    ("rayon", rayon::<2>),
    ("chili", chili::<2>),
];

fn main() {
    let mut c = common::criterion();
    common::group(&mut c, "fib_30/one", &ONE);
    common::group(&mut c, "fib_30/two", &TWO);
    common::group(&mut c, "empty", &EMPTY);
    c.final_summary();
    if common::wants_targets() {
        targets();
    }
}

/// Checks, in one run, what a join is meant to cost.
fn targets() {
    let [call, join, scope, rayon_one, chili_one] = common::least(ONE.map(|(_, m)| (m, JOINS)));
    let [join_two, scope_two, twice, rayon_two, chili_two] =
        common::least(TWO.map(|(_, m)| (m, JOINS)));
    let [alone, idle, _, _] = common::least(EMPTY.map(|(_, m)| (m, 1 << 20)));
    common::target("join <= 0.5 x rayon", join, rayon_one, |r| r <= 0.5);
    common::target("Scope::join <= 1.2 x chili", scope, chili_one, |r| r <= 1.2);
    common::target("join, two LWPs <= 0.5 x rayon", join_two, rayon_two, |r| {
        r <= 0.5
    });
    common::target(
        "Scope::join, two LWPs <= 1.2 x chili",
        scope_two,
        chili_two,
        |r| r <= 1.2,
    );
    common::target(
        "two LWPs >= 0.9 x two independent programs",
        scope_two,
        twice,
        |r| r <= 1.0 / 0.9,
    );
    common::target("an idle LWP costs <= 4 x", idle, alone, |r| r <= 4.0);
    println!("a join beside a sequential call: {join:.2}, {scope:.2} and {call:.2} ns");
}
