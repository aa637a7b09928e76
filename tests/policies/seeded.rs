//! Reproducible interleavings and virtual time.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lisle::{seeded, thread, time};

use crate::support::{Log, child, in_child, message, stderr, watchdog};

/// Runs under a seed; the closures of these tests touch no thread-locals.
fn run<T: Send + 'static>(seed: u64, f: impl FnOnce() -> T + Send + 'static) -> T {
    // SAFETY: see above.
    unsafe { seeded::run(seed, f) }
}

/// What three threads did, in order: they yield, park, unpark, sleep and spawn.
fn trace(seed: u64) -> Vec<(u32, u32)> {
    run(seed, || {
        let log = Log::new();
        let threads: Vec<_> = (0..3u32)
            .map(|who| {
                let log = log.clone();
                child(move || {
                    for step in 0..6u32 {
                        log.note((who, step));
                        match (who + step) % 4 {
                            0 => thread::yield_now(),
                            1 => thread::sleep(Duration::from_millis(u64::from(step))),
                            2 => {
                                thread::current().unpark();
                                thread::park();
                            }
                            _ => {
                                let log = log.clone();
                                child(move || log.note((who + 10, step))).join().unwrap();
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        log.take()
    })
}

#[test]
fn a_seed_repeats_its_interleaving() {
    let _dog = watchdog();
    let mut different = HashSet::new();
    for seed in 0..200 {
        let first = trace(seed);
        assert_eq!(first, trace(seed), "seed {seed}");
        different.insert(first);
    }
    assert!(
        different.len() > 100,
        "only {} interleavings",
        different.len()
    );
}

#[test]
fn virtual_time_jumps_to_the_next_deadline() {
    let _dog = watchdog();
    const UNIT: Duration = Duration::from_secs(1_000_000);
    for seed in 0..50 {
        let order = run(seed, || {
            let log = Log::new();
            let start = time::now();
            let sleepers: Vec<_> = [5u32, 1, 4, 2, 3]
                .map(|n| {
                    let log = log.clone();
                    child(move || {
                        let begun = time::now();
                        thread::sleep(UNIT * n);
                        assert_eq!(time::now() - begun, UNIT * n);
                        log.note(n);
                    })
                })
                .into();
            sleepers.into_iter().for_each(|s| s.join().unwrap());
            assert_eq!(time::now() - start, UNIT * 5);
            // Without a wait, time stands still.
            let still = time::now();
            (0..100).for_each(|_| thread::yield_now());
            assert_eq!(time::now(), still);
            thread::park_timeout(UNIT);
            assert_eq!(time::now(), still + UNIT);
            log.take()
        });
        assert_eq!(order, [1, 2, 3, 4, 5], "seed {seed}");
    }
}

/// A deadline comes only when nothing else can run.
#[test]
fn time_does_not_pass_while_threads_are_ready() {
    let _dog = watchdog();
    for seed in 0..50 {
        let early = run(seed, || {
            let sleeper = child(|| thread::sleep(Duration::from_nanos(1)));
            (0..200).for_each(|_| thread::yield_now());
            let early = sleeper.is_finished();
            sleeper.join().unwrap();
            early
        });
        assert!(!early, "seed {seed}");
    }
}

/// Loses an addition if another thread comes in between.
fn racy() {
    let number = Arc::new(AtomicU64::new(0));
    let add = || {
        let number = number.clone();
        child(move || {
            for _ in 0..3 {
                let read = number.load(Ordering::Relaxed);
                thread::yield_now();
                number.store(read + 1, Ordering::Relaxed);
            }
        })
    };
    let pair = [add(), add()];
    pair.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(number.load(Ordering::Relaxed), 6, "lost an addition");
}

#[test]
fn check_finds_a_race_and_names_its_seed() {
    let _dog = watchdog();
    let test = "seeded::check_finds_a_race_and_names_its_seed";
    let output = in_child(test, &[], || {
        // SAFETY: `racy` touches no thread-local.
        unsafe { seeded::check(0..1000, racy) };
    });
    let errors = stderr(&output);
    assert!(!output.status.success(), "not found");
    let mut words = errors.split("failed under seed ").skip(1);
    let seed = words.next().expect("a seed").lines().next().unwrap();
    let seed: u64 = seed
        .parse()
        .expect("a number alone: the schedules are the default");
    // The seed shows the race again, whenever it is asked to.
    for _ in 0..3 {
        let again = catch_unwind(AssertUnwindSafe(|| run(seed, racy)));
        let payload = again.unwrap_err();
        assert!(message(&*payload).contains("lost an addition"));
    }
}

#[test]
fn check_runs_every_seed_of_what_is_right() {
    let _dog = watchdog();
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    // SAFETY: the closure touches no thread-local.
    unsafe {
        seeded::check(0..100, move || {
            let sum = child(|| 1).join().unwrap() + child(|| 2).join().unwrap();
            counted.fetch_add(sum, Ordering::Relaxed);
        });
    }
    assert_eq!(runs.load(Ordering::Relaxed), 300);
}

#[test]
fn the_result_and_the_panic_come_through() {
    let _dog = watchdog();
    assert_eq!(run(1, || String::from("seeded")), "seeded");
    let outcome = catch_unwind(|| run(1, || -> u8 { panic!("seed and all") }));
    assert_eq!(message(&*outcome.unwrap_err()), "seed and all");
}

/// A thread left behind that waits for ever is an error, by name.
#[test]
fn a_thread_that_is_left_behind_is_reported() {
    let _dog = watchdog();
    let outcome = catch_unwind(|| {
        run(3, || drop(child(thread::park)));
    });
    let payload = outcome.unwrap_err();
    let text = message(&*payload);
    assert!(
        text.contains("seed 3") && text.contains("waiting: park"),
        "{text}"
    );
}
