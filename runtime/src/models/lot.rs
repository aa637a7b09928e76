//! The lot: queues of two addresses in one bucket, while waiters come, are woken and give up.
//! Nobody is lost, and who has left is not reached.

use std::time::Instant;

use lisle_lwp::explore::{Data, outcomes};
use loom::thread::spawn;

use crate::wait::lot::{self, Waiter};
use crate::wait::{self, Outcome, Reason};

static REASON: Reason = Reason::new("model");

const HERE: usize = 8;
const THERE: usize = 16;

/// Opens once, for all who wait at its address. What it counts is guarded by the lot's lock.
#[derive(Clone)]
struct Gate {
    address: usize,
    opened: Data,
    arrivals: Data,
}

impl Gate {
    fn new(address: usize) -> Gate {
        Gate {
            address,
            opened: Data::new(),
            arrivals: Data::new(),
        }
    }

    /// Waits behind all others, or, having been woken too early, before them. Returns how the
    /// wait ended, and as how manieth it came.
    fn wait(&self, again: Option<usize>, deadline: Option<Instant>) -> (Outcome, usize) {
        let wait = wait::begin(&REASON, self.address, false).expect("it cannot be cancelled");
        let mut waiter = Waiter::new(&wait, self.address, 0);
        {
            let mut bucket = lot::lock(self.address);
            if self.opened.get() > 0 {
                drop(bucket);
                let _ = wait.abandon();
                return (Outcome::Abandoned, 0);
            }
            self.arrivals.add_one();
            waiter.tag = again.unwrap_or(self.arrivals.get() as usize);
            // SAFETY: the waiter blocks until it is popped, or removes itself.
            unsafe {
                match again {
                    None => bucket.push_back(&waiter),
                    Some(_) => bucket.push_front(&waiter),
                }
            }
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: pushed to this bucket.
            unsafe { lot::lock(self.address).remove(&waiter) };
        }
        (outcome, waiter.tag)
    }

    fn pass(&self) {
        assert_ne!(self.wait(None, None).0, Outcome::TimedOut);
    }

    /// Whether it was woken or need not wait.
    fn pass_unless_late(&self) -> bool {
        self.wait(None, Some(Instant::now())).0 != Outcome::TimedOut
    }

    /// Waits once more if it is woken. Returns whether it was.
    fn pass_again(&self) -> bool {
        let (outcome, arrival) = self.wait(None, None);
        outcome == Outcome::Woken && self.wait(Some(arrival), None).0 == Outcome::Woken
    }

    /// Wakes the first, who finds the gate shut.
    fn nudge(&self) {
        let mut bucket = lot::lock(self.address);
        // SAFETY: under the lock; forgotten once woken.
        if let Some(first) = unsafe { bucket.pop(self.address) } {
            bucket.wake(first.key());
        }
    }

    fn open(&self) {
        let mut bucket = lot::lock(self.address);
        self.opened.add_one();
        let mut last = 0;
        // SAFETY: as above.
        while let Some(first) = unsafe { bucket.pop(self.address) } {
            assert!(first.tag > last, "first come, first served");
            last = first.tag;
            bucket.wake(first.key());
        }
        assert!(!bucket.is_awaited(self.address));
    }
}

/// Who gives up is the first, in the middle or the last of three.
#[test]
fn open_against_timeout() {
    let seen = outcomes(Some(2), || {
        let gate = Gate::new(HERE);
        let patient = [gate.clone(), gate.clone()].map(|gate| spawn(move || gate.pass()));
        let hasty = gate.clone();
        let hasty = spawn(move || hasty.pass_unless_late());
        gate.open();
        patient.into_iter().for_each(|t| t.join().unwrap());
        hasty.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// Who gives up leaves its queue, with or without others in it, before or behind that of the
/// other address.
#[test]
fn other_address_against_timeout() {
    let seen = outcomes(Some(2), || {
        let gates = [HERE, THERE].map(Gate::new);
        let patient = gates.clone().map(|gate| spawn(move || gate.pass()));
        let hasty = gates[0].clone();
        let hasty = spawn(move || hasty.pass_unless_late());
        gates.iter().for_each(Gate::open);
        patient.into_iter().for_each(|t| t.join().unwrap());
        hasty.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// Who waits again comes before those who have come since.
#[test]
fn wait_again_against_waiters() {
    let seen = outcomes(Some(2), || {
        let gate = Gate::new(HERE);
        let again = gate.clone();
        let again = spawn(move || again.pass_again());
        let others = [gate.clone(), gate.clone()].map(|gate| spawn(move || gate.pass_again()));
        gate.nudge();
        gate.open();
        let others = others.map(|t| t.join().unwrap());
        again.join().unwrap() && !others.contains(&true)
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}
