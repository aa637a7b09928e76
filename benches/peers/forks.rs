//! Fork and join: fib(30) without a cut-off, where the joins are all there is, and skynet, a tree of a million threads.

use std::future::Future;
use std::hint::black_box;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use lisle::jobs::{self, Scope};

use crate::common::switch::{corosensei_switches, lisle_switches};
use crate::common::{self, Full, LISLE, Lisle, Threads, WORKERS};
use crate::tasks::{Executor, Smol, Tokio};
use crate::{BOTH, Entry, ONE, timed};

const N: u32 = 30;
/// How many joins fib(30) has: fib(31) - 1.
const JOINS: u64 = 1_346_268;

/// `fib` by something that joins two closures.
macro_rules! fib {
    ($name:ident($scope:ident: $type:ty), $join:expr) => {
        fn $name($scope: $type, n: u32) -> u64 {
            if n < 2 {
                return n.into();
            }
            let (a, b) = $join($scope, n);
            a + b
        }
    };
}

fib!(sequential(_none: ()), |_, n| (sequential((), n - 1), sequential((), n - 2)));
fib!(joined(_none: ()), |_, n| lisle::join(|| joined((), n - 1), || joined((), n - 2)));
fib!(scoped(s: &Scope), |s: &Scope, n| s.join(|s| scoped(s, n - 1), |s| scoped(s, n - 2)));
fib!(rayoned(_none: ()), |_, n| {
    rayon_core::join(|| rayoned((), n - 1), || rayoned((), n - 2))
});

fn chilied(s: &mut chili::Scope<'_>, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = s.join(|s| chilied(s, n - 1), |s| chilied(s, n - 2));
    a + b
}

/// `n` joins, rounded to whole runs.
fn fibs(n: u64, mut fib: impl FnMut() -> u64) -> Duration {
    let rounds = n.div_ceil(JOINS);
    let start = Instant::now();
    (0..rounds).for_each(|_| assert_eq!(fib(), 832_040));
    common::scale(start.elapsed(), rounds * JOINS, n)
}

static RAYON: LazyLock<rayon_core::ThreadPool> = LazyLock::new(|| {
    let builder = rayon_core::ThreadPoolBuilder::new().num_threads(*WORKERS);
    builder.build().expect("rayon's pool starts")
});

/// chili's recommended way: the calling thread is one of the pool's.
static CHILI: LazyLock<chili::ThreadPool> = LazyLock::new(|| {
    chili::ThreadPool::with_config(chili::Config {
        thread_count: NonZero::new(*WORKERS),
        ..chili::Config::default()
    })
});

/// Two programs that know nothing of each other do half of the work each: as fast as two processors can be.
fn twins(n: u64, fib: fn() -> u64) -> Duration {
    static TWINS: LazyLock<[lisle::Runtime; 2]> = LazyLock::new(|| {
        [1, 1].map(|lwps| {
            let builder = lisle::Runtime::builder().lwps(lwps);
            builder.build().expect("lisle's runtime starts")
        })
    });
    let threads = TWINS.each_ref().map(|twin| {
        let builder = lisle::thread::Builder::new().on(twin);
        builder.spawn(move || fibs(n, fib)).expect("lisle spawns")
    });
    let took = threads.map(|thread| thread.join().expect("the thread returns"));
    took.into_iter().max().expect("two") / 2
}

/// lisle's threads, spawned depth first.
struct Deep;
struct DeepFull;

macro_rules! deep {
    ($threads:ty, $spawn:expr) => {
        impl Threads for $threads {
            type Handle<T: Send + 'static> = lisle::thread::JoinHandle<T>;
            type Semaphore = lisle::sync::Semaphore;

            fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
                let builder = lisle::thread::Builder::new().on(&LISLE).depth_first(true);
                $spawn(builder, f).expect("lisle spawns")
            }

            fn join<T: Send + 'static>(handle: Self::Handle<T>) -> T {
                Lisle::join(handle)
            }

            fn yield_now() {
                lisle::thread::yield_now();
            }
        }
    };
}

deep!(Deep, |builder: lisle::thread::Builder, f| {
    // SAFETY: as for `Lisle`.
    unsafe { builder.spawn_light(f) }
});
deep!(DeepFull, |builder: lisle::thread::Builder, f| builder
    .spawn(f));

/// The leaves of the tree.
const LEAVES: u64 = 1_000_000;
/// All its nodes: each but the root is a thread.
const NODES: u64 = 1_111_111;
const SUM: u64 = LEAVES * (LEAVES - 1) / 2;

/// Sums the numbers of the leaves; a thread for each child.
fn sky<T: Threads>(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let part = leaves / 10;
    let child = |n| T::spawn(move || sky::<T>(first + n * part, part));
    let children: [_; 10] = std::array::from_fn(|n| child(n as u64));
    children.into_iter().map(T::join).sum()
}

fn skynet<T: Threads>(n: u64) -> Duration {
    T::run(move || {
        let start = Instant::now();
        assert_eq!(black_box(sky::<T>(0, LEAVES)), SUM);
        common::scale(start.elapsed(), NODES, n)
    })
}

type Sum = Pin<Box<dyn Future<Output = u64> + Send>>;

fn task_sky<E: Executor>(first: u64, leaves: u64) -> Sum {
    Box::pin(async move {
        if leaves == 1 {
            return first;
        }
        let part = leaves / 10;
        let child = |n| E::spawn(task_sky::<E>(first + n * part, part));
        let children: [_; 10] = std::array::from_fn(|n| child(n as u64));
        let mut sum = 0;
        for child in children {
            sum += child.await;
        }
        sum
    })
}

fn task_skynet<E: Executor>(n: u64) -> Duration {
    E::run(async move {
        let start = Instant::now();
        assert_eq!(task_sky::<E>(0, LEAVES).await, SUM);
        common::scale(start.elapsed(), NODES, n)
    })
}

pub(crate) fn entries() -> Vec<Entry> {
    vec![
        timed("switch", "lisle light", ONE, lisle_switches),
        timed("switch", "corosensei", ONE, corosensei_switches),
        timed("fib(30)", "lisle light", BOTH, |n| {
            Full::run(move || fibs(n, || joined((), black_box(N))))
        }),
        timed("fib(30)", "lisle scope", BOTH, |n| {
            Full::run(move || fibs(n, || jobs::scope(|s| scoped(s, black_box(N)))))
        }),
        timed("fib(30)", "rayon", BOTH, |n| {
            RAYON.install(|| fibs(n, || rayoned((), black_box(N))))
        }),
        timed("fib(30)", "chili", BOTH, |n| {
            fibs(n, || chilied(&mut CHILI.scope(), black_box(N)))
        }),
        timed("fib(30)", "plain call", ONE, |n| {
            fibs(n, || sequential((), black_box(N)))
        }),
        timed("fib(30)", "lisle scope, twice", &[2], |n| {
            twins(n, || jobs::scope(|s| scoped(s, black_box(N))))
        }),
        timed("skynet", "lisle light", BOTH, skynet::<Deep>),
        timed("skynet", "lisle full", BOTH, skynet::<DeepFull>),
        timed("skynet", "tokio", BOTH, task_skynet::<Tokio>),
        timed("skynet", "smol", BOTH, task_skynet::<Smol>),
        timed("skynet by age", "lisle light", BOTH, skynet::<Lisle>),
    ]
}
