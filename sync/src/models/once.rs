//! `Once` and what rests on it: one runs, all others see what it did.

use std::sync::Arc;

use lisle_lwp::explore::{Data, model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::{cancel, time};

use super::unless_cancelled;
use crate::{LazyLock, Once, OnceLock};

#[test]
fn call_against_call() {
    model(Some(3), || {
        let (once, done) = (Arc::new(Once::new()), Data::new());
        let (other, its_done) = (once.clone(), done.clone());
        let thread = spawn(move || {
            other.call_once(|| its_done.add_one());
            assert_eq!(its_done.get(), 1);
        });
        once.call_once(|| done.add_one());
        assert_eq!(done.get(), 1);
        thread.join().unwrap();
    });
}

/// Waiters come before the beginning, in the middle and after the end.
#[test]
fn call_against_waiters() {
    model(Some(2), || {
        let (once, done) = (Arc::new(Once::new()), Data::new());
        let waiters = [(); 2].map(|()| {
            let (once, done) = (once.clone(), done.clone());
            spawn(move || {
                once.wait();
                assert_eq!(done.get(), 1);
            })
        });
        once.call_once(|| done.add_one());
        waiters.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn call_against_timeout() {
    let seen = outcomes(Some(4), || {
        let (once, done) = (Arc::new(Once::new()), Data::new());
        let (other, its_done) = (once.clone(), done.clone());
        let thread = spawn(move || other.call_once(|| its_done.add_one()));
        let in_time = once.wait_deadline(time::now());
        if in_time {
            assert_eq!(done.get(), 1);
        }
        thread.join().unwrap();
        in_time
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn set_against_set() {
    let seen = outcomes(Some(3), || {
        let lock = Arc::new(OnceLock::new());
        let other = lock.clone();
        let thread = spawn(move || other.set(1).is_ok());
        let set = lock.set(2).is_ok();
        assert_eq!(thread.join().unwrap(), !set);
        *lock.get().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [1, 2]);
}

#[test]
fn force_against_force() {
    model(Some(3), || {
        let made = Data::new();
        let its_made = made.clone();
        let lock = Arc::new(LazyLock::new(move || {
            its_made.add_one();
            7
        }));
        let other = lock.clone();
        let thread = spawn(move || assert_eq!(**other, 7));
        assert_eq!(**lock, 7);
        thread.join().unwrap();
        assert_eq!(made.get(), 1);
    });
}

/// A closure that is cancelled has not been called, and whoever is next knows of what it did.
#[test]
fn call_against_cancelled_call() {
    let seen = outcomes_within(3, || {
        let (once, done) = (Arc::new(Once::new()), Data::new());
        let (other, its_done) = (once.clone(), done.clone());
        let thread = spawn(move || other.call_once(|| its_done.add_one()));
        let closure = || {
            done.add_one();
            thread::current().cancel();
            cancel::checkpoint();
        };
        let called = unless_cancelled(|| once.call_once(closure)).is_some();
        thread.join().unwrap();
        assert!(once.is_completed());
        (called, done.get())
    });
    assert_eq!(Vec::from_iter(seen), [(false, 2), (true, 1)]);
}

#[test]
fn waiter_against_cancel() {
    let seen = outcomes_within(2, || {
        let (once, done, me) = (Arc::new(Once::new()), Data::new(), thread::current());
        let (other, its_done) = (once.clone(), done.clone());
        let canceller = spawn(move || me.cancel());
        let calling = spawn(move || other.call_once(|| its_done.add_one()));
        let waited = unless_cancelled(|| once.wait()).is_some();
        if waited {
            assert_eq!(done.get(), 1);
        }
        canceller.join().unwrap();
        calling.join().unwrap();
        waited
    });
    assert_eq!(seen.len(), 2);
}
