//! The mutex: exclusion, no lost wake-up, hand-off. What it guards is a loom
//! cell, so two holders at once are a race.

use std::sync::Arc;

use lisle_lwp::explore::{ALL, Turns, model, outcomes};
use lisle_runtime::thread::spawn;

use crate::Mutex;

fn add_one(mutex: &Mutex<u32>) {
    *mutex.lock().unwrap() += 1;
}

#[test]
fn lock_against_unlock() {
    model(Some(6), || {
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
    model(Some(5), || {
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
    model(Some(3), || {
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
    let seen = outcomes(Some(4), || {
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
