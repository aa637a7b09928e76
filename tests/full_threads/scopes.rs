//! Scopes, as std's, on threads that move.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lisle::cancel::Cancelled;
use lisle::thread::{self, Builder};

use super::travel::Trip;
use crate::support::{end, many, message, runtime, until_waiting, watchdog};

/// Sets the flag when it is dropped.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn threads_borrow_from_a_stack_that_moves() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    trip.all(4, |who, go| {
        for round in 0..many(20) {
            let mut parts = [who; 8];
            let total = AtomicUsize::new(0);
            let returned = thread::scope(|scope| {
                for (n, part) in parts.iter_mut().enumerate() {
                    let total = &total;
                    scope.spawn(move || {
                        *part += n;
                        thread::yield_now();
                        total.fetch_add(*part, Ordering::SeqCst);
                    });
                }
                go.hop();
                round
            });
            assert_eq!(returned, round);
            assert_eq!(total.load(Ordering::SeqCst), 8 * who + 28);
            assert!(parts.iter().enumerate().all(|(n, part)| *part == who + n));
            go.hop();
        }
    });
    trip.end();
}

#[test]
fn a_scope_waits_for_threads_whose_handles_are_dropped_or_forgotten() {
    let _dog = watchdog();
    let rt = runtime(2);
    for forget in [false, true] {
        for fresh in [false, true] {
            let ended = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..10 {
                    let builder = Builder::new().on(&rt).fresh(fresh);
                    let handle = builder.spawn_scoped(scope, || {
                        (0..10).for_each(|_| thread::yield_now());
                        ended.fetch_add(1, Ordering::SeqCst);
                    });
                    match forget {
                        true => std::mem::forget(handle.unwrap()),
                        false => drop(handle.unwrap()),
                    }
                }
            });
            assert_eq!(ended.load(Ordering::SeqCst), 10);
        }
    }
    end(rt);
}

/// What the closure borrows is dropped by the thread before the scope ends, and
/// so is its result if nobody takes it.
#[test]
fn captures_and_results_are_dropped_inside_the_scope() {
    let _dog = watchdog();
    let rt = runtime(2);
    for round in 0..many(200) {
        let (capture, result) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let (captured, returned) = (OnDrop(&capture), OnDrop(&result));
            let builder = Builder::new().on(&rt).fresh(round % 8 == 0);
            let handle = builder.spawn_scoped(scope, move || {
                drop(captured);
                returned
            });
            match round % 3 {
                0 => drop(handle.unwrap()),
                1 => drop(handle.unwrap().join().unwrap()),
                _ => std::mem::forget(handle.unwrap()),
            }
        });
        assert!(capture.load(Ordering::SeqCst));
        // A forgotten handle keeps the result, as std's does.
        assert!(result.load(Ordering::SeqCst) || round % 3 == 2);
    }
    end(rt);
}

#[test]
fn a_panic_that_nobody_joins_makes_the_scope_panic_after_all_have_ended() {
    let _dog = watchdog();
    let rt = runtime(2);
    for fresh in [false, true] {
        let ended = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            thread::scope(|scope| {
                let on = || Builder::new().on(&rt).fresh(fresh);
                let panics = || resume_unwind(Box::new(5usize));
                drop(on().spawn_scoped(scope, panics).unwrap());
                for _ in 0..5 {
                    let slow = || {
                        (0..20).for_each(|_| thread::yield_now());
                        ended.fetch_add(1, Ordering::SeqCst);
                    };
                    drop(on().spawn_scoped(scope, slow).unwrap());
                }
            });
        }));
        assert_eq!(message(&*outcome.unwrap_err()), "a scoped thread panicked");
        assert_eq!(ended.load(Ordering::SeqCst), 5);
    }
    end(rt);
}

#[test]
fn a_panic_that_is_joined_is_the_joiners() {
    let _dog = watchdog();
    let rt = runtime(2);
    let value = thread::scope(|scope| {
        let panics = || -> u8 { resume_unwind(Box::new(5usize)) };
        let handle = Builder::new().on(&rt).spawn_scoped(scope, panics);
        let payload = handle.unwrap().join().unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&5usize));
        7
    });
    assert_eq!(value, 7);
    end(rt);
}

/// The body's own panic wins; the threads end first.
#[test]
fn a_panic_of_the_body_waits_for_the_threads() {
    let _dog = watchdog();
    let trip = Trip::new(2);
    trip.all(2, |_, go| {
        for _ in 0..many(10) {
            let ended = AtomicUsize::new(0);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                thread::scope(|scope| {
                    for n in 0..4 {
                        let ended = &ended;
                        scope.spawn(move || {
                            (0..20).for_each(|_| thread::yield_now());
                            ended.fetch_add(1, Ordering::SeqCst);
                            if n == 0 {
                                resume_unwind(Box::new("child"));
                            }
                        });
                    }
                    go.hop();
                    resume_unwind(Box::new("body"));
                });
            }));
            assert_eq!(message(&*outcome.unwrap_err()), "body");
            assert_eq!(ended.load(Ordering::SeqCst), 4);
            go.hop();
        }
    });
    trip.end();
}

#[test]
fn scopes_nest_and_threads_spawn_into_their_own_scope() {
    let _dog = watchdog();
    let trip = Trip::new(3);
    let sums = trip.all(3, |who, go| {
        let sum = AtomicUsize::new(0);
        thread::scope(|outer| {
            for n in 0..4 {
                let sum = &sum;
                outer.spawn(move || {
                    let here = [who, n];
                    thread::scope(|inner| {
                        for m in 0..4 {
                            let here = &here;
                            inner.spawn(move || {
                                thread::yield_now();
                                sum.fetch_add(here[0] + here[1] * m, Ordering::SeqCst);
                            });
                        }
                    });
                    // Also after the body has returned.
                    outer.spawn(move || sum.fetch_add(1000, Ordering::SeqCst));
                });
            }
            go.hop();
        });
        go.hop();
        sum.into_inner()
    });
    for (who, sum) in sums.into_iter().enumerate() {
        assert_eq!(sum, 16 * who + 36 + 4000);
    }
    trip.end();
}

/// A cancelled child does not count as a panic, and the scope's wait is no
/// cancellation point.
#[test]
fn cancelling_children_and_the_owner() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (tell, told) = lisle::channel::bounded(1);
    let ended = std::sync::Arc::new(AtomicBool::new(false));
    let watched = ended.clone();
    let owner = Builder::new().on(&rt).spawn(move || {
        thread::scope(|scope| {
            let parked = scope.spawn(|| {
                loop {
                    thread::park();
                }
            });
            parked.thread().cancel();
            drop(parked);
            let cancelled = scope.spawn(|| {
                loop {
                    thread::park();
                }
            });
            cancelled.thread().cancel();
            let outcome: std::thread::Result<()> = cancelled.join();
            assert!(outcome.unwrap_err().is::<Cancelled>());
            let last = scope.spawn(|| {
                thread::park();
                watched.store(true, Ordering::SeqCst);
            });
            tell.send(last.thread().clone()).unwrap();
        });
        // The cancel is delivered at the next wait.
        thread::park();
    });
    let owner = owner.unwrap();
    let last = told.recv().unwrap();
    until_waiting(owner.thread(), "end of scope");
    owner.thread().cancel();
    until_waiting(&last, "park");
    assert!(!ended.load(Ordering::SeqCst) && !owner.is_finished());
    last.unpark();
    assert!(owner.join().unwrap_err().is::<Cancelled>());
    assert!(ended.load(Ordering::SeqCst));
    end(rt);
}

/// A fresh thread leaves its scope after the destructors of its thread-locals,
/// which may still use what the scope lends them through other threads.
#[test]
fn a_fresh_thread_leaves_its_scope_after_its_destructors() {
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            (0..10).for_each(|_| thread::yield_now());
            DESTROYED.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local!(static SLOW: Slow = const { Slow });
    let _dog = watchdog();
    let rt = runtime(2);
    for round in 1..=many(20) {
        thread::scope(|scope| {
            for _ in 0..3 {
                let fresh = Builder::new().on(&rt).fresh(true);
                drop(fresh.spawn_scoped(scope, || SLOW.with(|_| ())).unwrap());
            }
        });
        assert_eq!(DESTROYED.load(Ordering::SeqCst), 3 * round);
    }
    end(rt);
}
