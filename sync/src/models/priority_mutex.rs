//! The mutex with priority inheritance: exclusion, hand-over, no lost wake-up. (All
//! priorities are equal here; their order has tests.)

use std::sync::Arc;

use lisle_lwp::explore::{model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::PriorityMutex;

fn add_one(mutex: &PriorityMutex<u32>) {
    *mutex.lock().unwrap() += 1;
}

#[test]
fn lock_against_unlock() {
    model(Some(3), || {
        let mutex = Arc::new(PriorityMutex::new(0));
        let other = mutex.clone();
        let thread = spawn(move || {
            add_one(&other);
            add_one(&other);
        });
        add_one(&mutex);
        thread.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 3);
    });
}

#[test]
fn lock_against_lock() {
    model(Some(2), || {
        let mutex = Arc::new(PriorityMutex::new(0));
        let threads = [mutex.clone(), mutex.clone()].map(|mutex| spawn(move || add_one(&mutex)));
        add_one(&mutex);
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 3);
    });
}

/// The mutex goes past a waiter whose time is up.
#[test]
fn unlock_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(2), || {
        let mutex = Arc::new(PriorityMutex::new(0));
        let (hasty, patient) = (mutex.clone(), mutex.clone());
        let held = mutex.lock().unwrap();
        let hasty = spawn(move || {
            let taken = hasty.lock_deadline(time::now());
            taken.map(|mut value| *value += 1).is_ok()
        });
        let patient = spawn(move || add_one(&patient));
        drop(held);
        patient.join().unwrap();
        let taken = hasty.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1 + u32::from(taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// The mutex goes past a waiter that is cancelled, and not into its frame.
#[test]
fn unlock_passed_on_when_waiter_was_cancelled() {
    let seen = outcomes_within(2, || {
        let (mutex, me) = (Arc::new(PriorityMutex::new(0)), thread::current());
        let (holder, patient) = (mutex.clone(), mutex.clone());
        let holder = spawn(move || {
            let held = holder.lock().unwrap();
            me.cancel();
            drop(held);
        });
        let patient = spawn(move || add_one(&patient));
        let taken = unless_cancelled(|| {
            let taken = mutex.lock_cancellable().map(|mut value| *value += 1);
            assert!(taken.is_ok());
        });
        holder.join().unwrap();
        patient.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1 + u32::from(taken.is_some()));
        taken.is_some()
    });
    assert_eq!(seen.len(), 2);
}
