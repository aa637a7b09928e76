//! Regions: no guard that has become true is overlooked, whoever comes, leaves or gives
//! up meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use lisle_lwp::explore::{model, outcomes};
use lisle_lwp::shim::{AtomicU32, Ordering};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::Region;

fn region(n: u32) -> Arc<Region<u32>> {
    Arc::new(Region::new(n))
}

fn add(region: &Region<u32>) {
    region.enter(|n| **n += 1);
}

fn take(region: &Region<u32>) {
    region.when(|n| *n > 0, |n| **n -= 1);
}

fn take_unless_late(region: &Region<u32>) -> bool {
    let taken = region.when_deadline(time::now(), |n| *n > 0, |n| **n -= 1);
    taken.is_some()
}

fn left(region: &Region<u32>) -> u32 {
    region.enter(|n| **n)
}

#[test]
fn enter_against_leave() {
    model(Some(2), || {
        let shared = region(0);
        let threads = [(); 2].map(|()| {
            let shared = shared.clone();
            spawn(move || add(&shared))
        });
        add(&shared);
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(left(&shared), 3);
    });
}

#[test]
fn exit_against_guard() {
    model(Some(3), || {
        let shared = region(0);
        let other = shared.clone();
        let adder = spawn(move || add(&other));
        take(&shared);
        adder.join().unwrap();
        assert_eq!(left(&shared), 0);
    });
}

/// Two wait for one item each, and get them in any order.
#[test]
fn guard_against_guard() {
    model(Some(1), || {
        let shared = region(0);
        let takers = [shared.clone(), shared.clone()].map(|shared| spawn(move || take(&shared)));
        add(&shared);
        add(&shared);
        takers.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(left(&shared), 0);
    });
}

/// A waiter gives up while its guard is examined, or just before it is handed the region.
#[test]
fn examination_against_timeout() {
    let seen = outcomes(Some(3), || {
        let shared = region(0);
        let other = shared.clone();
        let adder = spawn(move || add(&other));
        let taken = take_unless_late(&shared);
        adder.join().unwrap();
        assert_eq!(left(&shared), u32::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// A waiter gives up while its guard is examined, and the region is left once more before
/// it runs again: when it is gone, nobody looks at its guard.
#[test]
fn examination_after_examination_against_timeout() {
    let seen = outcomes(Some(3), || {
        let shared = region(0);
        let (other, gone) = (shared.clone(), Arc::new(AtomicU32::new(0)));
        let adder = spawn(move || {
            add(&other);
            add(&other);
        });
        let examined_late = Arc::new(AtomicU32::new(0));
        let guard = {
            let (gone, late) = (gone.clone(), examined_late.clone());
            move |n: &u32| {
                late.fetch_or(gone.load(Ordering::Relaxed), Ordering::Relaxed);
                *n == 2
            }
        };
        let came = shared.when_deadline(time::now(), guard, |_| ()).is_some();
        gone.store(1, Ordering::Relaxed);
        adder.join().unwrap();
        assert_eq!(examined_late.load(Ordering::Relaxed), 0);
        assert_eq!(left(&shared), 2);
        came
    });
    assert_eq!(seen.len(), 2);
}

/// A guard panics, once, for the thread that examines it, while its waiter gives up: the
/// panic reaches the waiter, which is inside again.
#[test]
fn panicking_guard_against_timeout() {
    let seen = outcomes(Some(2), || {
        let shared = region(0);
        let other = shared.clone();
        let adder = spawn(move || add(&other));
        let panicked = Arc::new(AtomicU32::new(0));
        let guard = {
            let panicked = panicked.clone();
            move |n: &u32| {
                if *n == 1 && panicked.swap(1, Ordering::Relaxed) == 0 {
                    resume_unwind(Box::new(7_u8));
                }
                false
            }
        };
        let unwound = shared.enter(|n| {
            let wait = AssertUnwindSafe(|| n.wait_until_deadline(time::now(), &guard));
            let unwound = catch_unwind(wait).is_err();
            **n += 1;
            unwound
        });
        adder.join().unwrap();
        assert_eq!(u32::from(unwound), panicked.load(Ordering::Relaxed));
        assert_eq!(left(&shared), 2);
        unwound
    });
    assert_eq!(seen.len(), 2);
}

/// What one who gave up could have had goes to the next.
#[test]
fn exit_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(2), || {
        let shared = region(0);
        let (hasty, patient) = (shared.clone(), shared.clone());
        let hasty = spawn(move || {
            let taken = take_unless_late(&hasty);
            if taken {
                add(&hasty);
            }
            taken
        });
        let patient = spawn(move || take(&patient));
        add(&shared);
        let taken = hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(left(&shared), 0);
        taken
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn exit_against_cancel() {
    let seen = outcomes(Some(2), || {
        let shared = region(0);
        let (other, waiter) = (shared.clone(), thread::current());
        let adder = spawn(move || add(&other));
        let canceller = spawn(move || waiter.cancel());
        let taken = unless_cancelled(|| take(&shared)).is_some();
        adder.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(shared.try_when(|_| true, |n| **n), Some(u32::from(!taken)));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// One leaves by awaiting, the other enters, and back.
#[test]
fn await_against_await() {
    model(Some(3), || {
        let shared = region(0);
        let other = shared.clone();
        let echo = spawn(move || other.when(|n| *n == 1, |n| **n = 2));
        shared.enter(|n| {
            **n = 1;
            n.wait_until(|n| *n == 2);
            **n = 3;
        });
        echo.join().unwrap();
        assert_eq!(left(&shared), 3);
    });
}

/// One that awaits inside and gives up is inside again all the same.
#[test]
fn await_against_timeout() {
    let seen = outcomes(Some(2), || {
        let shared = region(0);
        let other = shared.clone();
        let adder = spawn(move || add(&other));
        let came = shared.enter(|n| {
            let came = n.wait_until_deadline(time::now(), |n| *n == 1);
            assert_eq!(came, **n == 1);
            **n += 1;
            came
        });
        adder.join().unwrap();
        assert_eq!(left(&shared), 2);
        came
    });
    assert_eq!(seen.len(), 2);
}
