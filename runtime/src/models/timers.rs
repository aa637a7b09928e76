//! Deadlines: each expires once or is removed, nobody looks at a node whose owner has gone on, and no
//! linked deadline is overlooked.
//!
//! Owners write all over their nodes as soon as [`Timers::remove`] has returned, as the next call's frame does.

use std::sync::Arc;

use lisle_lwp::explore::{ALL, outcomes};
use loom::thread::spawn;

use crate::model::new_block;
use crate::sched::timers::{NEVER, Timer, Timers};
use crate::wait::{self, Outcome, Reason, WaitKey};

static SLEEPING: Reason = Reason::new("model");

/// One heap, and nodes in frames of its threads. Their memory stays until the execution is over.
struct Deadlines {
    timers: Timers,
    nodes: Vec<Timer>,
}

// SAFETY: that the nodes are never touched concurrently is what the models check.
unsafe impl Sync for Deadlines {}
// SAFETY: as above.
unsafe impl Send for Deadlines {}

impl Deadlines {
    /// None is linked. The key of each has its deadline for an epoch, and so is stale.
    fn new(deadlines: &[u64]) -> Arc<Deadlines> {
        let nodes = deadlines
            .iter()
            .map(|deadline| Timer::new(*deadline, WaitKey::of(new_block(), *deadline)));
        Arc::new(Deadlines {
            timers: Timers::new(),
            nodes: nodes.collect(),
        })
    }

    fn linked(deadlines: &[u64]) -> Arc<Deadlines> {
        let new = Self::new(deadlines);
        (0..deadlines.len()).for_each(|index| _ = new.insert(index));
        new
    }

    fn insert(&self, index: usize) -> bool {
        // SAFETY: the nodes are in place until all threads have ended.
        unsafe { self.timers.insert(&self.nodes[index]) }
    }

    /// Its owner waits no longer.
    fn remove(&self, index: usize) {
        self.timers.remove(&self.nodes[index]);
        self.nodes[index].scribble();
    }

    /// Expires what is due, and returns which deadlines those were.
    fn expire(&self, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| self.timers.expire_one(now))
            .map(|key| key.epoch_number())
            .collect()
    }

    /// These are left, and none besides.
    fn check(&self, left: &[u64]) {
        assert_eq!(self.timers.len(), left.len());
        assert_eq!(self.timers.earliest(), *left.first().unwrap_or(&NEVER));
        assert_eq!(self.expire(NEVER - 1), left);
    }
}

/// An owner goes while its deadline expires, between one that does and one that does not.
#[test]
fn expire_against_remove() {
    let seen = outcomes(ALL, || {
        let deadlines = Deadlines::linked(&[2, 1, 3]);
        let other = deadlines.clone();
        let expirer = spawn(move || other.expire(2));
        deadlines.remove(0);
        let expired = expirer.join().unwrap();
        assert!(matches!(expired[..], [1] | [1, 2]), "{expired:?}");
        deadlines.remove(1);
        deadlines.check(&[3]);
        expired.len()
    });
    assert_eq!(Vec::from_iter(seen), [1, 2]);
}

/// Two owners go, of deadlines that are linked to each other.
#[test]
fn remove_against_remove() {
    let seen = outcomes(ALL, || {
        let deadlines = Deadlines::linked(&[1, 3, 2]);
        let other = deadlines.clone();
        let owner = spawn(move || other.remove(0));
        deadlines.remove(2);
        owner.join().unwrap();
        deadlines.check(&[3]);
    });
    assert_eq!(seen.len(), 1);
}

/// Two expire deadlines: each goes to one of them, the earlier first, and its owner may go.
#[test]
fn expire_against_expire() {
    let seen = outcomes(ALL, || {
        let deadlines = Deadlines::linked(&[2, 3, 1]);
        let other = deadlines.clone();
        let expirer = spawn(move || other.expire(2));
        let mine = deadlines.expire(2);
        assert!(deadlines.timers.earliest() > 2);
        deadlines.remove(0);
        deadlines.remove(2);
        let its = expirer.join().unwrap();
        assert!(mine.is_sorted() && its.is_sorted());
        let mut all = [&mine[..], &its].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        deadlines.check(&[3]);
        mine
    });
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// Who sets a deadline finds that the earliest is no later, and so does everybody who is told of it,
/// although the one that was earlier expires.
#[test]
fn insert_against_expire() {
    let seen = outcomes(ALL, || {
        let deadlines = Deadlines::new(&[1, 2]);
        deadlines.insert(0);
        let other = deadlines.clone();
        let expirer = spawn(move || other.expire(1));
        let is_earliest = deadlines.insert(1);
        assert!(deadlines.timers.earliest() <= 2);
        assert_eq!(expirer.join().unwrap(), [1]);
        deadlines.remove(0);
        deadlines.check(&[2]);
        is_earliest
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// Of two that set deadlines, who sets the earlier is told to notify the poller's sleeper.
#[test]
fn insert_against_insert() {
    let seen = outcomes(ALL, || {
        let deadlines = Deadlines::new(&[1, 2]);
        let other = deadlines.clone();
        let later = spawn(move || {
            let is_earliest = other.insert(1);
            assert!(other.timers.earliest() <= 2);
            is_earliest
        });
        assert!(deadlines.insert(0));
        assert_eq!(deadlines.timers.earliest(), 1);
        let told = later.join().unwrap();
        deadlines.check(&[1, 2]);
        told
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// A thread waits with a deadline, as `time::with_timer` does it, and is woken at the same time.
#[test]
fn expire_against_wake() {
    let seen = outcomes(Some(2), || {
        let wait = wait::begin(&SLEEPING, 0, false).expect("it cannot be cancelled");
        let key = wait.key();
        let deadlines = Arc::new(Deadlines {
            timers: Timers::new(),
            nodes: vec![Timer::new(1, key)],
        });
        deadlines.insert(0);
        let other = deadlines.clone();
        let expirer = spawn(move || other.timers.expire(1));
        let waker = spawn(move || key.fire(Outcome::Woken));
        let outcome = wait.block(None);
        deadlines.remove(0);
        assert_eq!(waker.join().unwrap(), outcome == Outcome::Woken);
        expirer.join().unwrap();
        deadlines.check(&[]);
        outcome == Outcome::Woken
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}
