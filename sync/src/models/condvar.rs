//! The condition variable: releasing the mutex and waiting are one step, and a
//! notify always reaches somebody who waits.

use std::sync::Arc;

use lisle_lwp::explore::{model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::{Condvar, Mutex};

#[derive(Debug)]
struct Monitor {
    items: Mutex<u32>,
    added: Condvar,
}

impl Monitor {
    fn new() -> Arc<Monitor> {
        Arc::new(Monitor {
            items: Mutex::new(0),
            added: Condvar::new(),
        })
    }

    fn add(&self) {
        *self.items.lock().unwrap() += 1;
        self.added.notify_one();
    }

    fn take(&self) {
        let items = self.items.lock().unwrap();
        let mut items = self.added.wait_while(items, |items| *items == 0).unwrap();
        *items -= 1;
    }

    /// Waits once, until the deadline. Takes an item only if it was notified,
    /// or had not to wait.
    fn take_unless_late(&self) -> bool {
        let mut items = self.items.lock().unwrap();
        if *items == 0 {
            let (again, result) = self.added.wait_deadline(items, time::now()).unwrap();
            items = again;
            if result.timed_out() || *items == 0 {
                return false;
            }
        }
        *items -= 1;
        true
    }

    /// Waits once, until the deadline, whatever is there.
    fn is_notified(&self) -> u32 {
        let items = self.items.lock().unwrap();
        let (_items, result) = self.added.wait_deadline(items, time::now()).unwrap();
        u32::from(!result.timed_out())
    }

    fn left(&self) -> u32 {
        *self.items.lock().unwrap()
    }
}

#[test]
fn notify_against_wait() {
    model(Some(2), || {
        let monitor = Monitor::new();
        let other = monitor.clone();
        let adder = spawn(move || other.add());
        monitor.take();
        adder.join().unwrap();
        assert_eq!(monitor.left(), 0);
    });
}

#[test]
fn notify_all_against_waiters() {
    model(Some(2), || {
        let monitor = Monitor::new();
        let waiters =
            [monitor.clone(), monitor.clone()].map(|monitor| spawn(move || monitor.take()));
        *monitor.items.lock().unwrap() += 2;
        monitor.added.notify_all();
        waiters.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(monitor.left(), 0);
    });
}

#[test]
fn notify_against_timeout() {
    let seen = outcomes(Some(2), || {
        let monitor = Monitor::new();
        let other = monitor.clone();
        let adder = spawn(move || other.add());
        let taken = monitor.take_unless_late();
        adder.join().unwrap();
        assert_eq!(monitor.left(), u32::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// One notify ends at most one wait.
#[test]
fn notify_one_against_waiters() {
    let seen = outcomes(Some(2), || {
        let monitor = Monitor::new();
        let (other, notifier) = (monitor.clone(), monitor.clone());
        let other = spawn(move || other.is_notified());
        let notifier = spawn(move || notifier.added.notify_one());
        let notified = monitor.is_notified() + other.join().unwrap();
        notifier.join().unwrap();
        notified
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

/// One notify after the other, each reaches a waiter.
#[test]
fn two_notifies_against_waiters() {
    model(Some(2), || {
        let monitor = Monitor::new();
        let waiters =
            [monitor.clone(), monitor.clone()].map(|monitor| spawn(move || monitor.take()));
        monitor.add();
        monitor.add();
        waiters.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(monitor.left(), 0);
    });
}

/// A notify that meets a waiter whose time was up goes to the next.
#[test]
fn notify_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(2), || {
        let monitor = Monitor::new();
        let (hasty, patient) = (monitor.clone(), monitor.clone());
        let hasty = spawn(move || {
            let taken = hasty.take_unless_late();
            if taken {
                hasty.add();
            }
            taken
        });
        let patient = spawn(move || patient.take());
        monitor.add();
        let taken = hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(monitor.left(), 0);
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// A notify that meets a waiter which was cancelled goes to the next; the cancelled one leaves
/// the mutex free and whole.
#[test]
fn notify_passed_on_when_waiter_was_cancelled() {
    let seen = outcomes_within(1, || {
        let (monitor, me) = (Monitor::new(), thread::current());
        let (other, adder) = (monitor.clone(), monitor.clone());
        let patient = spawn(move || other.take());
        let adder = spawn(move || {
            me.cancel();
            adder.add();
        });
        let taken = unless_cancelled(|| monitor.take()).is_some();
        if taken {
            monitor.add();
        }
        patient.join().unwrap();
        adder.join().unwrap();
        assert_eq!(monitor.left(), 0);
        taken
    });
    assert_eq!(seen.len(), 2);
}
