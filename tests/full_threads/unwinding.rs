//! Panics: their count is the thread's own, so that a thread may move while it
//! unwinds.

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use lisle::thread::{self, Builder};
use lisle::{cancel, channel, sync};

use super::travel::{Traveller, Trip, joined};
use crate::support::{ABORTED, end, in_child, many, message, runtime, stderr, watchdog};

/// Runs a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Unwinds with this number past a destructor that does `meanwhile`; returns the
/// number that was caught.
fn unwind_past(number: usize, meanwhile: impl FnMut()) -> usize {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _guard = OnDrop(meanwhile);
        resume_unwind(Box::new(number));
    }));
    let payload: Box<dyn std::any::Any + Send> = outcome.unwrap_err();
    *payload.downcast_ref().unwrap()
}

#[test]
fn a_thread_moves_while_it_unwinds() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    trip.all(8, |who, go| {
        for round in 0..many(40) {
            let number = who * 1000 + round;
            let caught = unwind_past(number, || {
                assert!(std::thread::panicking() && thread::panicking());
                go.hop();
                assert!(std::thread::panicking() && thread::panicking());
            });
            assert_eq!(caught, number);
            assert!(!std::thread::panicking());
            go.hop();
            assert!(!std::thread::panicking());
        }
    });
    trip.end();
}

/// Panics inside destructors that run because of a panic, five deep.
#[test]
fn nested_panics_and_moves() {
    fn nest(depth: usize, go: &Traveller) -> usize {
        let mut below = 0;
        let caught = unwind_past(depth, || {
            go.hop();
            if depth > 0 {
                below = nest(depth - 1, go);
                assert!(std::thread::panicking());
            }
            go.hop();
        });
        caught + below
    }
    let _dog = watchdog();
    let trip = Trip::new(8);
    let sums = trip.all(8, |_, go| {
        let sums: usize = (0..many(10)).map(|_| nest(5, go)).sum();
        assert!(!std::thread::panicking());
        sums
    });
    assert_eq!(sums, [15 * many(10); 8]);
    trip.end();
}

#[test]
fn panics_of_threads_that_moved_reach_their_joiners() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    for batch in 0..many(10) {
        let threads: Vec<_> = (0..8usize)
            .map(|who| {
                let number = batch * 8 + who;
                let builder = Builder::new().fresh(who % 3 == 0);
                let thread = trip.spawn_as(builder, move |go| {
                    go.hop();
                    let copy = go.clone();
                    let _guard = OnDrop(move || copy.hop());
                    if who % 2 == 0 {
                        resume_unwind(Box::new(number));
                    }
                    number
                });
                (number, thread)
            })
            .collect();
        for (number, thread) in threads {
            match thread.join() {
                Ok(value) => assert!(value == number && number % 2 == 1),
                Err(payload) => assert_eq!(payload.downcast_ref(), Some(&number)),
            }
        }
    }
    trip.end();
}

/// With the hook, the message, and a backtrace if one is asked for.
#[test]
fn a_panic_with_a_message_is_reported() {
    let _dog = watchdog();
    let trip = Trip::new(2);
    for n in 0..4 {
        let thread = trip.spawn_as(Builder::new().fresh(n % 2 == 0), move |go| {
            go.hop();
            if n < 4 {
                panic!("no {n}");
            }
        });
        assert_eq!(message(&*thread.join().unwrap_err()), format!("no {n}"));
    }
    trip.end();
}

/// Neighbours on the same LWP do not unwind because one does.
#[test]
fn every_way_to_wait_works_while_unwinding_and_nobody_else_notices() {
    let _dog = watchdog();
    let rt = runtime(2);
    // Each way as often.
    let rounds = many(30).next_multiple_of(6);
    let (sender, receiver) = channel::bounded::<usize>(0);
    let lock = std::sync::Arc::new(sync::Mutex::new(0usize));
    let receiving = receiver.clone();
    let partner = Builder::new().on(&rt).spawn(move || {
        let mut got = 0;
        while receiving.recv().is_ok() {
            assert!(!std::thread::panicking());
            got += 1;
        }
        got
    });
    drop(receiver);
    let threads: Vec<_> = (0..16)
        .map(|n| {
            let (sender, lock) = (sender.clone(), lock.clone());
            let body = move || {
                for round in 0..rounds {
                    let caught = unwind_past(n, || {
                        match round % 6 {
                            0 => thread::yield_now(),
                            1 => thread::sleep(Duration::from_micros(50)),
                            2 => thread::park_timeout(Duration::from_micros(50)),
                            3 => {
                                let inner = || assert!(!std::thread::panicking());
                                thread::spawn(inner).join().unwrap();
                            }
                            4 => sender.send(n).unwrap(),
                            _ => {
                                let mut held = lock.lock().unwrap();
                                thread::yield_now();
                                *held += 1;
                            }
                        }
                        assert!(std::thread::panicking());
                    });
                    assert_eq!(caught, n);
                    thread::yield_now();
                    assert!(!std::thread::panicking());
                }
            };
            Builder::new().on(&rt).spawn(body).unwrap()
        })
        .collect();
    joined(threads);
    drop(sender);
    assert_eq!(partner.unwrap().join().unwrap(), 16 * rounds / 6);
    assert_eq!(*lock.lock().unwrap(), 16 * rounds / 6);
    end(rt);
}

#[test]
fn a_cancelled_thread_unwinds_over_moves() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    for n in 0..many(20) {
        let (ran, runs) = channel::unbounded();
        let thread = trip.spawn_as(Builder::new().fresh(n % 4 == 0), move |go| {
            let copy = go.clone();
            let _guard = OnDrop(move || {
                copy.hop();
                copy.hop();
                ran.send(std::thread::panicking()).unwrap();
            });
            go.hop();
            loop {
                thread::park();
            }
        });
        thread.thread().cancel();
        let outcome: std::thread::Result<()> = thread.join();
        assert!(outcome.unwrap_err().is::<cancel::Cancelled>());
        // Cancelled before it began, it never made the guard.
        assert!(runs.try_iter().all(|unwinding| unwinding));
    }
    trip.end();
}

#[test]
fn a_panic_out_of_a_destructor_while_unwinding_aborts() {
    let _dog = watchdog();
    let test = "unwinding::a_panic_out_of_a_destructor_while_unwinding_aborts";
    let output = in_child(test, &[], || {
        let trip = Trip::new(1);
        let thread = trip.spawn(|go| {
            let copy = go.clone();
            let _guard = OnDrop(move || {
                copy.hop();
                panic!("second");
            });
            go.hop();
            panic!("first");
        });
        let _: std::thread::Result<()> = thread.join();
        println!("survived");
    });
    let errors = stderr(&output);
    assert_eq!(output.status.signal(), Some(ABORTED), "{errors}");
    for expected in ["first", "second", "panic in a destructor during cleanup"] {
        assert!(errors.contains(expected), "{errors}");
    }
}
