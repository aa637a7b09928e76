//! Whose turn it is: full threads give way like any others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::thread::{self, Builder};

use super::travel::{joined, kernel_thread};
use crate::support::{end, many, on, runtime, watchdog};

/// On every LWP a thread only yields; others come from outside, and deadlines.
#[test]
fn one_that_only_yields_lets_in_what_comes_from_outside() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..lwps)
            .map(|_| {
                let stop = stop.clone();
                let body = move || {
                    while !stop.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                };
                Builder::new().on(&rt).spawn(body).unwrap()
            })
            .collect();
        for n in 0..20 {
            let full = Builder::new().on(&rt).spawn(move || {
                thread::sleep(Duration::from_micros(10));
                n
            });
            assert_eq!(full.unwrap().join().unwrap(), n);
            assert_eq!(on(&rt, move || n).join().unwrap(), n);
        }
        stop.store(true, Ordering::Relaxed);
        joined(busy);
        end(rt);
    }
}

/// Two threads on one LWP, each waiting for the other's step.
#[test]
fn two_take_turns() {
    let _dog = watchdog();
    let rt = runtime(1);
    let steps = many(50_000);
    let turns = Arc::new(AtomicUsize::new(0));
    let pair = [0, 1].map(|side| {
        let turns = turns.clone();
        let body = move || {
            for _ in 0..steps {
                while turns.load(Ordering::Relaxed) % 2 != side {
                    thread::yield_now();
                }
                turns.fetch_add(1, Ordering::Relaxed);
            }
        };
        Builder::new().on(&rt).spawn(body).unwrap()
    });
    joined(pair);
    assert_eq!(turns.load(Ordering::Relaxed), 2 * steps);
    end(rt);
}

/// LWPs change kernel threads under the full threads that they run, because a
/// light one waits while it unwinds.
#[test]
fn an_lwp_changes_hands_under_full_threads() {
    struct Yields;
    impl Drop for Yields {
        fn drop(&mut self) {
            thread::yield_now();
        }
    }
    thread_local!(static MINE: AtomicUsize = const { AtomicUsize::new(0) });
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let stop = Arc::new(AtomicBool::new(false));
        let moves = Arc::new([const { AtomicUsize::new(0) }; 6]);
        let full: Vec<_> = (1..=6)
            .map(|n| {
                let (stop, moves) = (stop.clone(), moves.clone());
                let body = move || {
                    let mut last = kernel_thread();
                    while !stop.load(Ordering::Relaxed) {
                        MINE.with(|mine| mine.store(n, Ordering::Relaxed));
                        thread::yield_now();
                        assert_eq!(MINE.with(|mine| mine.load(Ordering::Relaxed)), n);
                        let now = kernel_thread();
                        moves[n - 1].fetch_add(usize::from(now != last), Ordering::Relaxed);
                        last = now;
                    }
                };
                Builder::new().on(&rt).spawn(body).unwrap()
            })
            .collect();
        // However long one of them is kept from running.
        let all_moved = || moves.iter().all(|moves| moves.load(Ordering::Relaxed) > 10);
        let rounds = (0..).take_while(|round| *round < many(200) || !all_moved());
        for n in rounds {
            let unwinding = on(&rt, move || {
                let _yields = Yields;
                std::panic::resume_unwind(Box::new(n));
            });
            let outcome: std::thread::Result<()> = unwinding.join();
            assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&n));
        }
        stop.store(true, Ordering::Relaxed);
        joined(full);
        end(rt);
    }
}
