//! Monitors: to leave and to wait, and to signal and to be inside, are one step; no
//! signal or notify is lost.

use std::sync::Arc;

use lisle_lwp::explore::{model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::Monitor;

const THERE: usize = 0;

type Items = Monitor<u32, 1>;

fn items(n: u32) -> Arc<Items> {
    Arc::new(Monitor::new(n))
}

fn notified(items: &Items) {
    let mut items = items.enter();
    *items += 1;
    items.notify_one(THERE);
}

fn signalled(items: &Items) {
    let mut items = items.enter();
    *items += 1;
    if items.signal(THERE) {
        assert_eq!(*items, 0, "the signaller went on before the signalled");
    }
}

/// Mesa's loop.
fn take(items: &Items) {
    let mut items = items.enter();
    items.wait_while(THERE, |items| *items == 0);
    *items -= 1;
}

/// Hoare's: what was signalled is still so.
fn take_signalled(items: &Items) {
    let mut items = items.enter();
    if *items == 0 {
        items.wait(THERE);
    }
    assert_ne!(*items, 0, "somebody was inside between signal and waiter");
    *items -= 1;
}

/// Waits once, at most until the deadline.
fn take_unless_late(items: &Items) -> bool {
    let mut items = items.enter();
    if *items == 0 && !items.wait_deadline(THERE, time::now()) || *items == 0 {
        return false;
    }
    *items -= 1;
    true
}

#[test]
fn enter_against_leave() {
    model(Some(2), || {
        let shared = items(0);
        let threads = [(); 2].map(|()| {
            let shared = shared.clone();
            spawn(move || *shared.enter() += 1)
        });
        *shared.enter() += 1;
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(*shared.enter(), 3);
    });
}

#[test]
fn enter_against_timeout() {
    let seen = outcomes(Some(3), || {
        let shared = items(0);
        let other = shared.clone();
        let hasty = spawn(move || {
            let entered = other.enter_deadline(time::now());
            entered.map(|mut items| *items += 1).is_some()
        });
        *shared.enter() += 1;
        let entered = hasty.join().unwrap();
        assert_eq!(*shared.enter(), 1 + u32::from(entered));
        entered
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn notify_against_wait() {
    model(Some(3), || {
        let shared = items(0);
        let other = shared.clone();
        let adder = spawn(move || notified(&other));
        take(&shared);
        adder.join().unwrap();
        assert_eq!(*shared.enter(), 0);
    });
}

#[test]
fn notify_against_timeout() {
    let seen = outcomes(Some(2), || {
        let shared = items(0);
        let other = shared.clone();
        let adder = spawn(move || notified(&other));
        let taken = take_unless_late(&shared);
        adder.join().unwrap();
        assert_eq!(*shared.enter(), u32::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// One that was notified, or not, by the time it gives up: the item reaches somebody.
#[test]
fn notify_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(2), || {
        let shared = items(0);
        let (hasty, patient) = (shared.clone(), shared.clone());
        let hasty = spawn(move || {
            let taken = take_unless_late(&hasty);
            if taken {
                notified(&hasty);
            }
            taken
        });
        let patient = spawn(move || take(&patient));
        notified(&shared);
        let taken = hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(*shared.enter(), 0);
        taken
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn signal_against_wait() {
    model(Some(3), || {
        let shared = items(0);
        let other = shared.clone();
        let adder = spawn(move || signalled(&other));
        take_signalled(&shared);
        adder.join().unwrap();
        assert_eq!(*shared.enter(), 0);
    });
}

/// A newcomer, who adds ten, is inside neither between the signaller and the signalled nor
/// before the signaller is again.
#[test]
fn signal_against_newcomer() {
    let seen = outcomes(Some(1), || {
        let shared = items(0);
        let (adder, newcomer) = (shared.clone(), shared.clone());
        let adder = spawn(move || {
            let mut items = adder.enter();
            *items += 1;
            let before = *items / 10;
            let signalled = items.signal(THERE);
            assert_eq!(*items / 10, before, "a newcomer came before the signaller");
            signalled
        });
        let newcomer = spawn(move || *newcomer.enter() += 10);
        let mut items = shared.enter();
        if *items % 10 == 0 {
            let before = *items / 10;
            items.wait(THERE);
            assert!(*items % 10 == 1 && *items / 10 >= before);
        }
        *items -= 1;
        drop(items);
        newcomer.join().unwrap();
        let signalled = adder.join().unwrap();
        assert_eq!(*shared.enter(), 10);
        signalled
    });
    assert_eq!(seen.len(), 2);
}

/// A signal that meets a waiter whose time is up goes to the next, or stays inside.
#[test]
fn signal_against_timeout() {
    let seen = outcomes(Some(2), || {
        let shared = items(0);
        let other = shared.clone();
        let adder = spawn(move || signalled(&other));
        let taken = take_unless_late(&shared);
        adder.join().unwrap();
        assert_eq!(*shared.enter(), u32::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// Who is cancelled leaves the monitor free and whole.
#[test]
fn notify_against_cancel() {
    let seen = outcomes_within(1, || {
        let (shared, me) = (items(0), thread::current());
        let adder = shared.clone();
        let adder = spawn(move || {
            me.cancel();
            notified(&adder);
        });
        let taken = unless_cancelled(|| take(&shared)).is_some();
        adder.join().unwrap();
        assert_eq!(*shared.enter(), u32::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}
