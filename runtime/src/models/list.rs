//! The wait list, through the smallest primitive that uses it: permits with
//! direct hand-over.

use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::explore::{Data, model, outcomes};
use lisle_lwp::shim::{Cell, Ordering};
use loom::thread::spawn;

use crate::current::me;
use crate::model::thread;
use crate::tcb::Kind;
use crate::wait::list::{Locked, Node, Queue, Waiters};
use crate::wait::{self, Caller, CancelledEarly, Outcome, Reason, Wait};

static REASON: Reason = Reason::new("model");

/// What a waiter keeps in its node: its number in the order of arrival, and
/// where the waker writes. The cell stands for the stack frame that the node
/// lies in: the waiter writes it when its wait is over, so a waker that touches
/// the node later is a race.
struct Place {
    arrival: u32,
    frame: Cell<u32>,
}

#[derive(Default)]
struct Permits {
    free: u32,
    arrivals: u32,
    served: u32,
    queue: Queue<Place>,
}

struct Gate(Waiters<Permits>);

impl Gate {
    fn new() -> Arc<Gate> {
        Arc::new(Gate(Waiters::new(Permits::default())))
    }

    /// The waker's side, as the list's header has it.
    fn open(&self) {
        Gate::give(&mut self.0.lock());
    }

    fn give(permits: &mut Locked<'_, Permits>) {
        loop {
            // SAFETY: under the lock; forgotten once woken.
            let Some(node) = (unsafe { permits.queue.pop() }) else {
                permits.free += 1;
                return;
            };
            let (key, arrival) = (node.key(), node.data.arrival);
            // SAFETY: loom reports it if the waiter's frame is gone.
            node.data.frame.with_mut(|place| unsafe { *place += 1 });
            if permits.wake(key) {
                assert!(arrival > permits.served, "first in, first out");
                permits.served = arrival;
                return;
            }
        }
    }

    /// Two at once, under one lock.
    fn open_twice(&self) {
        let mut permits = self.0.lock();
        Gate::give(&mut permits);
        Gate::give(&mut permits);
    }

    /// The waiter's side. Returns how the wait ended.
    fn pass(&self, deadline: Option<Instant>, cancellable: bool) -> Outcome {
        self.pass_by(|| wait::begin(&REASON, 0, cancellable), deadline)
    }

    /// As a user thread: who has been woken goes on when it is made ready, not before.
    fn pass_as_user(&self) -> Outcome {
        let begin = || Caller::new().begin_claimable(&REASON, 0, core::ptr::null());
        self.pass_by(begin, None)
    }

    fn pass_by(
        &self,
        begin: impl FnOnce() -> Result<Wait, CancelledEarly>,
        deadline: Option<Instant>,
    ) -> Outcome {
        let mut permits = self.0.lock();
        if permits.free > 0 {
            permits.free -= 1;
            return Outcome::Woken;
        }
        let Ok(wait) = begin() else {
            return Outcome::Cancelled;
        };
        permits.arrivals += 1;
        let place = Place {
            arrival: permits.arrivals,
            frame: Cell::new(0),
        };
        let node = Node::new(&wait, place);
        // SAFETY: the node stays here until it is unlinked, by `open` or below.
        unsafe { permits.queue.push(&node) };
        drop(permits);
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: pushed to this queue.
            unsafe { self.0.lock().queue.remove(&node) };
        }
        // SAFETY: loom reports it if somebody still uses the node.
        let handed = node.data.frame.with_mut(|place| unsafe { *place });
        if outcome == Outcome::Woken {
            assert_eq!(handed, 1);
        }
        outcome
    }

    /// The end: nobody waits, and this many permits are left.
    fn check(&self, free: u32) {
        let permits = self.0.lock();
        assert!(permits.queue.is_empty() && permits.queue.front().is_none());
        assert_eq!(permits.free, free);
    }
}

/// From here on, whoever wakes the calling thread makes it ready, as a user
/// thread; else it wakes a kernel thread's sleeper.
fn be_user() {
    me().kind.store(Kind::Light as u8, Ordering::Relaxed);
}

#[test]
fn open_against_pass() {
    for user in [false, true] {
        model(Some(6), move || {
            if user {
                be_user();
            }
            let (gate, news) = (Gate::new(), Data::new());
            let (opened, its_news) = (gate.clone(), news.clone());
            let opener = spawn(move || {
                its_news.add_one();
                opened.open();
            });
            assert_eq!(gate.pass(None, false), Outcome::Woken);
            assert_eq!(news.get(), 1);
            opener.join().unwrap();
            gate.check(0);
        });
    }
}

/// Two wait; each gets one permit, in the order in which they came.
#[test]
fn waiter_against_waiter() {
    model(Some(3), || {
        let gate = Gate::new();
        let waiters = [gate.clone(), gate.clone()]
            .map(|gate| spawn(move || assert_eq!(gate.pass(None, false), Outcome::Woken)));
        gate.open();
        gate.open();
        waiters.into_iter().for_each(|t| t.join().unwrap());
        gate.check(0);
    });
}

/// One waker, two waiters, one lock.
#[test]
fn open_twice_against_waiters() {
    model(Some(3), || {
        let gate = Gate::new();
        let waiters = [gate.clone(), gate.clone()].map(|gate| {
            spawn(move || {
                be_user();
                assert_eq!(gate.pass(None, false), Outcome::Woken);
            })
        });
        gate.open_twice();
        waiters.into_iter().for_each(|t| t.join().unwrap());
        gate.check(0);
    });
}

/// One permit, two waiters, one of which gives up: the permit reaches whoever
/// still waits.
#[test]
fn wake_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(4), || {
        let gate = Gate::new();
        let (hasty, patient) = (gate.clone(), gate.clone());
        let hasty = spawn(move || {
            let outcome = hasty.pass(Some(Instant::now()), false);
            if outcome == Outcome::Woken {
                hasty.open();
            }
            outcome as u8
        });
        let patient = spawn(move || {
            be_user();
            assert_eq!(patient.pass(None, false), Outcome::Woken);
        });
        gate.open();
        let outcome = hasty.join().unwrap();
        patient.join().unwrap();
        gate.check(0);
        outcome
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn wake_passed_on_when_waiter_cancelled() {
    let seen = outcomes(Some(2), || {
        let gate = Gate::new();
        let (cancelled, opened) = (gate.clone(), gate.clone());
        let waiter = thread::current();
        let opener = spawn(move || opened.open());
        let patient = spawn(move || {
            waiter.cancel();
            assert_eq!(gate.pass(None, false), Outcome::Woken);
            gate
        });
        let outcome = cancelled.pass(None, true);
        if outcome == Outcome::Woken {
            cancelled.open();
        }
        opener.join().unwrap();
        patient.join().unwrap().check(0);
        outcome as u8
    });
    assert_eq!(seen.len(), 2);
}

/// Giving up in the middle of the queue, at its ends, and alone.
#[test]
fn timeout_against_timeout() {
    let seen = outcomes(Some(4), || {
        let gate = Gate::new();
        let hasty = [gate.clone(), gate.clone()]
            .map(|gate| spawn(move || gate.pass(Some(Instant::now()), false)));
        gate.open();
        let passed = hasty.map(|t| u32::from(t.join().unwrap() == Outcome::Woken));
        let passed = passed[0] + passed[1];
        gate.check(1 - passed);
        passed
    });
    assert_eq!(seen.len(), 2);
}

/// All whom one holder of the lock has woken are made ready.
#[test]
fn woken_together_as_user_threads() {
    model(Some(2), || {
        let gate = Gate::new();
        let passers = [0, 1].map(|_| {
            let gate = gate.clone();
            spawn(move || gate.pass_as_user())
        });
        gate.open_twice();
        for passer in passers {
            assert_eq!(passer.join().unwrap(), Outcome::Woken);
        }
        gate.check(0);
    });
}
