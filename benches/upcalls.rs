//! What upcalls cost: until another thread runs when one blocks, by each source; to announce it; to be preempted; and
//! what all of it costs a program that needs none of it.
//!
//! `-- targets` prints, besides ratios, how often a foreign call sees EINTR.

// std's atomics: what is measured is a program's own.
#![allow(clippy::disallowed_types)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Measure;
use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::Source;
use lisle::{Runtime, RuntimeBuilder, blocking, channel};

/// A runtime with one LWP.
fn one_lwp(settings: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Runtime {
    settings(Runtime::builder().lwps(1))
        .build()
        .expect("lisle's runtime starts")
}

fn spawn<T: Send + 'static>(rt: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().on(rt).spawn(f).expect("lisle spawns")
}

fn end(rt: Runtime) {
    rt.shutdown(Duration::from_secs(10))
        .expect("all threads have ended");
}

fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which are then owned once.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

/// One thread reads from an empty pipe; how long until another one runs on its LWP?
fn block_to_running(source: Source, announce: bool, n: u64) -> Duration {
    blocks(source, announce, n).iter().sum()
}

/// As [`block_to_running`], each of so many times.
fn blocks(source: Source, announce: bool, n: u64) -> Vec<Duration> {
    let rt = one_lwp(|builder| builder.upcalls(source).time_slice(None));
    let (mut from, mut to) = pipe();
    let epoch = Instant::now();
    // When the reader began to block, in nanoseconds; 0 while it does not.
    let began = Arc::new(AtomicU64::new(0));
    let reader = {
        let began = began.clone();
        spawn(&rt, move || {
            for _ in 0..n {
                // It is back on an LWP, which the other one leaves to it.
                thread::yield_now();
                while began.load(Ordering::Acquire) != 0 {
                    thread::yield_now();
                }
                let mut byte = [0];
                began.store(epoch.elapsed().as_nanos() as u64, Ordering::Release);
                let read = match announce {
                    true => blocking(|| from.read_exact(&mut byte)),
                    false => from.read_exact(&mut byte),
                };
                read.expect("the other end writes");
            }
        })
    };
    let other = spawn(&rt, move || {
        let mut took = Vec::new();
        for _ in 0..n {
            while began.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            let now = epoch.elapsed().as_nanos() as u64;
            took.push(Duration::from_nanos(now - began.load(Ordering::Acquire)));
            began.store(0, Ordering::Release);
            to.write_all(&[1]).expect("the other end reads");
        }
        took
    });
    reader.join().expect("the thread returns");
    let took = other.join().expect("the thread returns");
    let handed_over = rt.upcalls().blocked;
    assert!(
        handed_over >= n * 9 / 10,
        "{handed_over} of {n} handed over"
    );
    end(rt);
    took
}

/// What it costs to announce a call that turns out short.
fn announced_short(n: u64) -> Duration {
    let rt = one_lwp(|builder| builder);
    let measured = spawn(&rt, move || {
        let start = Instant::now();
        for i in 0..n {
            blocking(|| std::hint::black_box(i));
        }
        start.elapsed()
    });
    let took = measured.join().expect("the thread returns");
    end(rt);
    took
}

/// Four threads that compute, on one LWP and one processor: how long they take for so many rounds in all.
fn hogs(slice: Option<Duration>, n: u64) -> Duration {
    let measure = move || {
        common::confine();
        let rt = one_lwp(|builder| builder.time_slice(slice));
        let start = Instant::now();
        let hog = |_| {
            spawn(&rt, move || {
                let mut x = 1_u64;
                for _ in 0..n / 4 {
                    for _ in 0..1000 {
                        x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005) + 1);
                    }
                }
            })
        };
        let threads: Vec<_> = (0..4).map(hog).collect();
        threads
            .into_iter()
            .for_each(|t| t.join().expect("the thread returns"));
        let took = start.elapsed();
        end(rt);
        took
    };
    std::thread::spawn(measure)
        .join()
        .expect("the measurement returns")
}

/// A measurement in a full thread of a runtime with upcalls, or without.
fn with_upcalls(on: bool, f: impl FnOnce() -> Duration + Send + 'static) -> Duration {
    let rt = match on {
        true => one_lwp(|builder| builder),
        false => one_lwp(|builder| builder.upcalls(Source::Off)),
    };
    let took = spawn(&rt, f).join().expect("the thread returns");
    end(rt);
    took
}

fn yields(on: bool, n: u64) -> Duration {
    with_upcalls(on, move || {
        let partner = || {
            // SAFETY: the closure touches no thread-local.
            unsafe {
                Builder::new().spawn_light(move || {
                    let start = Instant::now();
                    (0..n / 2).for_each(|_| thread::yield_now());
                    start.elapsed()
                })
            }
        };
        let pair = [
            partner().expect("lisle spawns"),
            partner().expect("lisle spawns"),
        ];
        let [a, b] = pair.map(|t| t.join().expect("the thread returns"));
        a.max(b)
    })
}

fn spawns(on: bool, n: u64) -> Duration {
    with_upcalls(on, move || {
        let start = Instant::now();
        for _ in 0..n {
            thread::spawn(|| ()).join().expect("the thread returns");
        }
        start.elapsed()
    })
}

fn messages(on: bool, n: u64) -> Duration {
    with_upcalls(on, move || {
        let (sender, receiver) = channel::bounded(1024);
        let start = Instant::now();
        let producer =
            thread::spawn(move || (0..n).for_each(|i| sender.send(i).expect("received")));
        assert_eq!(receiver.iter().count() as u64, n);
        producer.join().expect("the thread returns");
        start.elapsed()
    })
}

/// A thread computes for so long, then polls for a millisecond, beside two that only compute: of so many polls, how
/// many were interrupted; and how many signals there were.
fn interrupted_polls(slice: Duration, compute: Duration, polls: u64) -> (u64, u64) {
    let rt = one_lwp(|builder| builder.time_slice(Some(slice)));
    let stop = Arc::new(AtomicBool::new(false));
    let hog = |_| {
        let stop = stop.clone();
        spawn(&rt, move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
    };
    let hogs: Vec<_> = (0..2).map(hog).collect();
    let poller = spawn(&rt, move || {
        let mut interrupted = 0;
        for _ in 0..polls {
            let start = Instant::now();
            while start.elapsed() < compute {
                std::hint::spin_loop();
            }
            // SAFETY: no descriptors.
            let returned = unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
            interrupted += u64::from(returned < 0);
        }
        interrupted
    });
    let interrupted = poller.join().expect("the thread returns");
    let signals = rt.upcalls().switched;
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter()
        .for_each(|t| t.join().expect("the thread returns"));
    end(rt);
    (interrupted, signals)
}

const SLICES: [Option<Duration>; 3] = [
    None,
    Some(Duration::from_millis(10)),
    Some(Duration::from_millis(1)),
];

const SOURCES: [(&str, Source, bool); 5] = [
    ("announced", Source::Auto, true),
    ("announced, monitor", Source::Monitor, true),
    ("announced, no source", Source::Off, true),
    ("sentinel", Source::Auto, false),
    ("monitor", Source::Monitor, false),
];

const BLOCK: [(&str, Measure); 5] = [
    (SOURCES[0].0, |n| {
        block_to_running(SOURCES[0].1, SOURCES[0].2, n)
    }),
    (SOURCES[1].0, |n| {
        block_to_running(SOURCES[1].1, SOURCES[1].2, n)
    }),
    (SOURCES[2].0, |n| {
        block_to_running(SOURCES[2].1, SOURCES[2].2, n)
    }),
    (SOURCES[3].0, |n| {
        block_to_running(SOURCES[3].1, SOURCES[3].2, n)
    }),
    (SOURCES[4].0, |n| {
        block_to_running(SOURCES[4].1, SOURCES[4].2, n)
    }),
];

const PREEMPT: [(&str, Measure); 3] = [
    ("no slices", |n| hogs(SLICES[0], n)),
    ("10 ms", |n| hogs(SLICES[1], n)),
    ("1 ms", |n| hogs(SLICES[2], n)),
];

const WITHOUT: [(&str, Measure, Measure, u64); 3] = [
    ("yield", |n| yields(true, n), |n| yields(false, n), 200_000),
    (
        "spawn and join",
        |n| spawns(true, n),
        |n| spawns(false, n),
        20_000,
    ),
    (
        "channel",
        |n| messages(true, n),
        |n| messages(false, n),
        100_000,
    ),
];

fn targets() {
    for (name, source, announce) in SOURCES {
        let mut each: Vec<_> = (0..3).flat_map(|_| blocks(source, announce, 200)).collect();
        each.sort();
        let [median, most] = [2, 10].map(|part| each[each.len() - each.len() / part]);
        println!(
            "figure  block to another running, {name:<21} median {median:9.1?}, nine in ten within {most:.1?}"
        );
    }
    let [short] = common::least([(announced_short as Measure, 100_000)]);
    println!("figure  announced, short {short:37.2} ns");
    let rounds = 400_000;
    let mut took = [f64::INFINITY; 3];
    for _ in 0..5 {
        for (took, (_, measure)) in took.iter_mut().zip(PREEMPT) {
            *took = took.min(measure(rounds).as_nanos() as f64 / rounds as f64);
        }
    }
    common::target("preemption at 10 ms / none", took[1], took[0], |ratio| {
        ratio < 1.02
    });
    common::target("preemption at 1 ms / none", took[2], took[0], |ratio| {
        ratio < 1.05
    });
    for (name, on, off, n) in WITHOUT {
        let mut least = [f64::INFINITY; 2];
        for _ in 0..15 {
            for (least, measure) in least.iter_mut().zip([on, off]) {
                *least = least.min(measure(n).as_nanos() as f64 / n as f64);
            }
        }
        let claim = format!("{name}: upcalls auto / off");
        common::target(&claim, least[0], least[1], |ratio| ratio < 1.05);
    }
    for (slice, compute, polls) in [(10, 1, 2000), (10, 10, 300), (1, 1, 2000)] {
        let (slice, compute) = (Duration::from_millis(slice), Duration::from_millis(compute));
        let (interrupted, signals) = interrupted_polls(slice, compute, polls);
        println!(
            "figure  slice {slice:?}, poll(1 ms) each {compute:?}: {interrupted} of {polls} saw EINTR; {signals} signals"
        );
    }
}

fn main() {
    let mut c = common::criterion();
    common::group(&mut c, "block_to_another", &BLOCK);
    common::group(&mut c, "blocking", &[("short", announced_short)]);
    common::group(&mut c, "preempted", &PREEMPT);
    for (name, on, off, _) in WITHOUT {
        let name = format!("never_blocks/{name}");
        common::group(&mut c, &name, &[("auto", on), ("off", off)]);
    }
    c.final_summary();
    if common::wants_targets() {
        targets();
    }
}
