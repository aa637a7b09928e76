//! The mutex: exclusion, no lost wake-up, bounded bypass. What it guards is a loom
//! cell, so two holders at once are a race.

use std::sync::Arc;

use lisle_lwp::explore::{ALL, Turns, model, outcomes};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::{Mutex, MutexGuard};

fn add_one(mutex: &Mutex<u32>) {
    *mutex.lock().unwrap() += 1;
}

#[test]
fn lock_against_unlock() {
    model(Some(4), || {
        let mutex = Arc::new(Mutex::new(0));
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

/// The holder comes back while the waiter is on its way into the list.
#[test]
fn lock_again_against_waiter() {
    model(Some(3), || {
        let mutex = Arc::new(Mutex::new(0));
        let waiter = mutex.clone();
        let held = mutex.lock().unwrap();
        let waiter = spawn(move || add_one(&waiter));
        drop(held);
        add_one(&mutex);
        waiter.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 2);
    });
}

/// The mutex is handed from waiter to waiter.
#[test]
fn lock_against_lock() {
    model(Some(2), || {
        let mutex = Arc::new(Mutex::new(0));
        let threads = [mutex.clone(), mutex.clone()].map(|mutex| spawn(move || add_one(&mutex)));
        add_one(&mutex);
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*mutex.lock().unwrap(), 3);
    });
}

#[test]
fn try_lock_against_unlock() {
    let seen = outcomes(ALL, || {
        let (mutex, turns) = (Arc::new(Mutex::new(0)), Turns::new());
        let (other, its_turns) = (mutex.clone(), turns.clone());
        let thread = spawn(move || {
            add_one(&other);
            its_turns.take();
        });
        turns.take();
        let taken = mutex.try_lock().ok().map(|mut value| {
            *value += 1;
            *value
        });
        thread.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1 + u32::from(taken.is_some()));
        taken
    });
    assert_eq!(Vec::from_iter(seen), [None, Some(1), Some(2)]);
}

/// One who tries comes in between, or not; the waiter gets it all the same.
#[test]
fn try_lock_against_hand_off() {
    let seen = outcomes(Some(2), || {
        let mutex = Arc::new(Mutex::new(0));
        let (waiter, trier) = (mutex.clone(), mutex.clone());
        let held = mutex.lock().unwrap();
        let waiter = spawn(move || add_one(&waiter));
        let trier = spawn(move || trier.try_lock().map(|mut value| *value += 1).is_ok());
        drop(held);
        waiter.join().unwrap();
        let taken = trier.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1 + u32::from(taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// A waiter that gives up leaves no trace, and the next one gets the mutex.
#[test]
fn unlock_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(2), || {
        let mutex = Arc::new(Mutex::new(0));
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

/// A waiter that has been woken, and lost, is cancelled before it waits again: the
/// other one is woken.
#[test]
fn unlock_passed_on_when_waiter_was_cancelled() {
    let seen = outcomes(Some(2), || {
        let (mutex, me) = (Arc::new(Mutex::new(0)), thread::current());
        let other = mutex.clone();
        let holder = spawn(move || {
            let held = other.lock().unwrap();
            me.cancel();
            drop(held);
            add_one(&other);
        });
        let taken = unless_cancelled(|| {
            mutex
                .lock_cancellable()
                .map(|mut value| *value += 1)
                .is_ok()
        });
        holder.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1 + u32::from(taken.is_some()));
        taken.is_some()
    });
    assert_eq!(seen.len(), 2);
}

/// Whoever barges in is counted, and does not get it for ever.
#[test]
fn barging_against_waiter() {
    model(Some(2), || {
        let mutex = Arc::new(Mutex::new(0));
        let waiter = mutex.clone();
        let held = mutex.lock().unwrap();
        let waiter = spawn(move || add_one(&waiter));
        drop(held);
        for _ in 0..4 {
            add_one(&mutex);
        }
        waiter.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 5);
    });
}

/// A fair unlock and a lock order what they guard, as others do.
#[test]
fn fair_unlock_against_lock() {
    model(Some(3), || {
        let mutex = Arc::new(Mutex::new(0));
        let other = mutex.clone();
        let thread = spawn(move || add_one(&other));
        for _ in 0..2 {
            let mut held = mutex.lock().unwrap();
            *held += 1;
            MutexGuard::unlock_fair(held);
        }
        thread.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), 3);
    });
}
