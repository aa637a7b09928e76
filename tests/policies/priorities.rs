//! Random priorities with change points find what random choices do not, as often as
//! computed; and a seed repeats what it found.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lisle::channel;
use lisle::seeded::{self, Schedules};
use lisle::sync::Mutex;
use lisle::thread;

use crate::support::{Log, child, in_child, message, stderr, watchdog};

/// The steps of the thread that takes long.
const LONG: u32 = 20;

fn yields(n: u32) {
    (0..n).for_each(|_| thread::yield_now());
}

/// Threads that have nothing to do with it.
fn bystanders() -> Vec<thread::JoinHandle<()>> {
    (0..6).map(|_| child(|| yields(2))).collect()
}

/// All threads of a run: main, two of the bug, and the bystanders.
const THREADS: u32 = 9;

/// A bug of depth 2. What is looked at is used at the next step; it changes after a
/// long time, of which all would have to pass in between. Says whether it did.
fn stale_look() -> bool {
    let value = Arc::new(AtomicU32::new(0));
    let (read, write) = (value.clone(), value);
    let user = child(move || {
        let seen = read.load(Relaxed);
        thread::yield_now();
        seen != read.load(Relaxed)
    });
    let changer = child(move || {
        yields(LONG);
        write.store(1, Relaxed);
    });
    let others = bystanders();
    changer.join().unwrap();
    others.into_iter().for_each(|other| other.join().unwrap());
    user.join().unwrap()
}

/// A bug of depth 3: the look must come in the middle of a long time, and its use after
/// it. Says whether it did.
fn stale_look_in_the_middle() -> bool {
    let value = Arc::new(AtomicU32::new(0));
    let (read, write) = (value.clone(), value);
    let changer = child(move || {
        yields(LONG / 2);
        write.store(1, Relaxed);
        yields(LONG / 2);
        write.store(2, Relaxed);
    });
    let user = child(move || {
        let seen = read.load(Relaxed);
        thread::yield_now();
        seen == 1 && read.load(Relaxed) == 2
    });
    let others = bystanders();
    changer.join().unwrap();
    others.into_iter().for_each(|other| other.join().unwrap());
    user.join().unwrap()
}

fn steps_of(bug: fn() -> bool) -> u32 {
    let _dog = watchdog();
    // SAFETY: the bugs of this file touch no thread-local.
    unsafe { seeded::steps(0, move || _ = bug()) }
}

/// Under how many of so many seeds the bug shows.
fn found(schedules: Schedules, seeds: u64, bug: fn() -> bool) -> u64 {
    // SAFETY: as above.
    let shows = |seed: &u64| unsafe { schedules.run(*seed, bug) };
    const PART: u64 = 500;
    let in_part = |from: u64| {
        // One for each part: all of them together take long on a busy machine, and are no hang.
        let _dog = watchdog();
        (from..seeds.min(from + PART)).filter(shows).count() as u64
    };
    (0..seeds).step_by(PART as usize).map(in_part).sum()
}

#[test]
fn change_points_find_a_bug_of_depth_2_as_often_as_computed() {
    let steps = steps_of(stale_look);
    assert!((45..70).contains(&steps), "{steps} steps");
    let seeds = 3000;
    let with = |changes| found(Schedules::Priorities { changes, steps }, seeds, stale_look);
    // The user must fall at the step of its second look; and before, either be above main,
    // which has spawned only it by then, or, below main, above the changer.
    let computed = seeds as f64 * (1.0 / 2.0 + 1.0 / 6.0) / f64::from(steps);
    let guaranteed = seeds as f64 / f64::from(THREADS * steps);
    let by_changes = with(1) as f64;
    println!(
        "of {seeds} seeds: {by_changes} found, {computed:.0} computed, {guaranteed:.0} guaranteed"
    );
    assert!(by_changes > guaranteed);
    assert!(
        (0.6..1.4).contains(&(by_changes / computed)),
        "{by_changes}"
    );
    // Depth 2 means that it takes a change.
    assert_eq!(with(0), 0);
    // One run in 2^20 or so.
    assert_eq!(found(Schedules::Random, seeds, stale_look), 0);
}

#[test]
fn change_points_find_a_bug_of_depth_3_as_often_as_computed() {
    let steps = steps_of(stale_look_in_the_middle);
    let seeds = 6000;
    let bug = stale_look_in_the_middle;
    let with = |changes| found(Schedules::Priorities { changes, steps }, seeds, bug);
    // The changer must fall in the second half of its time, and the user at its second look,
    // and lower; and first, the changer must be above main, which has spawned only it by
    // then, or, below main, above the user.
    let ranks = 1.0 / 2.0 + 1.0 / 6.0;
    let computed = seeds as f64 * ranks * f64::from(LONG / 2) / f64::from(steps).powi(2);
    let guaranteed = seeds as f64 / f64::from(THREADS) / f64::from(steps).powi(2);
    let by_changes = with(2) as f64;
    println!(
        "of {seeds} seeds: {by_changes} found, {computed:.1} computed, {guaranteed:.1} guaranteed"
    );
    assert!(by_changes > guaranteed);
    assert!(
        (0.5..1.5).contains(&(by_changes / computed)),
        "{by_changes}"
    );
    assert_eq!(with(1), 0);
    assert_eq!(found(Schedules::Random, seeds, bug), 0);
}

#[test]
fn a_seed_repeats_its_interleaving() {
    let _dog = watchdog();
    let trace = |seed| {
        let schedules = Schedules::Priorities {
            changes: 3,
            steps: 40,
        };
        let test = || {
            let log = Log::new();
            let (sender, receiver) = channel::bounded(2);
            let threads: Vec<_> = (0..4u32)
                .map(|who| {
                    let (log, sender, receiver) = (log.clone(), sender.clone(), receiver.clone());
                    child(move || {
                        for step in 0..4 {
                            log.note((who, step));
                            match who % 2 {
                                0 => sender.send(step).unwrap(),
                                _ => drop(receiver.recv().unwrap()),
                            }
                            thread::sleep(Duration::from_millis(u64::from(who)));
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            log.take()
        };
        // SAFETY: the closures touch thread-locals only in leaves that do not wait.
        unsafe { schedules.run(seed, test) }
    };
    let mut different = std::collections::HashSet::new();
    for seed in 0..100 {
        let first = trace(seed);
        assert_eq!(first, trace(seed), "seed {seed}");
        different.insert(first);
    }
    assert!(different.len() > 30, "only {}", different.len());
}

/// Whoever yields until another thread has done something sees it done, however high
/// its priority is.
#[test]
fn a_thread_that_yields_for_long_lets_others_go_on() {
    let _dog = watchdog();
    for seed in 0..100 {
        let schedules = Schedules::Priorities {
            changes: 0,
            steps: 20,
        };
        let test = || {
            let turn = Arc::new(AtomicU32::new(0));
            let threads: Vec<_> = (0..6)
                .map(|who| {
                    let turn = turn.clone();
                    child(move || {
                        while turn.load(Relaxed) != who {
                            thread::yield_now();
                        }
                        turn.store(who + 1, Relaxed);
                    })
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().unwrap());
            turn.load(Relaxed)
        };
        // SAFETY: the closures touch no thread-local.
        assert_eq!(unsafe { schedules.run(seed, test) }, 6);
    }
}

const ONE_CHANGE: Schedules = Schedules::Priorities {
    changes: 1,
    steps: 80,
};

fn stale_look_panics() {
    assert!(!stale_look(), "it was stale");
}

#[test]
fn check_names_the_seed_and_the_schedules() {
    let _dog = watchdog();
    let test = "priorities::check_names_the_seed_and_the_schedules";
    let output = in_child(test, &[], || {
        // SAFETY: the bug touches no thread-local.
        unsafe { ONE_CHANGE.check(0..3000, stale_look_panics) };
    });
    let errors = stderr(&output);
    assert!(!output.status.success(), "not found");
    let line = errors.split("failed under seed ").nth(1).expect("a seed");
    let (seed, rest) = line.split_once(' ').unwrap();
    assert!(rest.starts_with(&format!("of {ONE_CHANGE:?}\n")), "{rest}");
    let seed: u64 = seed.parse().expect("a number");
    for _ in 0..3 {
        // SAFETY: as above.
        let again = catch_unwind(|| unsafe { ONE_CHANGE.run(seed, stale_look_panics) });
        assert_eq!(message(&*again.unwrap_err()), "it was stale");
    }
}

/// A deadlock ends the run, and says who waits for what.
#[test]
fn a_deadlock_is_found_and_told() {
    let _dog = watchdog();
    let two_orders = || {
        let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let take = |first: &Arc<Mutex<()>>, second: &Arc<Mutex<()>>| {
            let (first, second) = (first.clone(), second.clone());
            child(move || {
                let _first = first.lock().unwrap();
                thread::yield_now();
                let _second = second.lock().unwrap();
            })
        };
        let pair = [take(&a, &b), take(&b, &a)];
        pair.into_iter().for_each(|thread| thread.join().unwrap());
    };
    let schedules = [
        Schedules::Random,
        Schedules::Priorities {
            changes: 1,
            steps: 8,
        },
    ];
    for schedules in schedules {
        let run = |seed: u64| {
            // SAFETY: the closures touch no thread-local.
            catch_unwind(AssertUnwindSafe(|| unsafe {
                schedules.run(seed, two_orders)
            }))
            .err()
        };
        let payload = (0..200).find_map(run).expect("a deadlock");
        let text = message(&*payload);
        assert!(text.contains("a deadlock"), "{text}");
        assert_eq!(text.matches("waiting: mutex").count(), 2, "{text}");
        assert_eq!(text.matches("waiting: join").count(), 1, "{text}");
    }
}

/// Who waits for a kernel thread that comes later, or for virtual time, is in none.
#[test]
fn a_wait_for_time_is_no_deadlock() {
    let _dog = watchdog();
    let runs = Arc::new(AtomicU64::new(0));
    let counted = runs.clone();
    // SAFETY: the closure touches no thread-local.
    unsafe {
        ONE_CHANGE.check(0..20, move || {
            let sleeper = child(|| thread::sleep(Duration::from_secs(1 << 30)));
            sleeper.join().unwrap();
            counted.fetch_add(1, Relaxed);
        });
    }
    assert_eq!(runs.load(Relaxed), 20);
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for (changes, steps) in [(65, 10), (1, 0)] {
        let schedules = Schedules::Priorities { changes, steps };
        // SAFETY: the closure does nothing.
        let refused = catch_unwind(|| unsafe { schedules.run(1, || ()) });
        let payload = refused.unwrap_err();
        let text = message(&*payload);
        assert!(text.contains("change points"), "{text}");
    }
}
