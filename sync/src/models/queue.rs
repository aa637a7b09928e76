//! Barriers, wait groups and parkers: nobody is forgotten in the queue.

use std::sync::Arc;

use lisle_lwp::explore::{Data, model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::{cancel, time};

use super::unless_cancelled;
use crate::queue::Waited;
use crate::{Barrier, Parker, WaitGroup};

#[test]
fn arrival_against_arrival() {
    model(Some(3), || {
        let (barrier, data) = (Arc::new(Barrier::new(2)), [Data::new(), Data::new()]);
        let (theirs, their_data) = (barrier.clone(), data.clone());
        let thread = spawn(move || {
            their_data[0].add_one();
            let leads = theirs.wait().is_leader();
            their_data[1].add_one();
            theirs.wait();
            leads
        });
        let leads = barrier.wait().is_leader();
        assert_eq!(data[0].get(), 1);
        barrier.wait();
        assert_eq!(data[1].get(), 1);
        assert_ne!(thread.join().unwrap(), leads);
    });
}

/// Who gives up does not count; who is counted goes on.
#[test]
fn arrival_against_timeout() {
    let seen = outcomes(Some(4), || {
        let barrier = Arc::new(Barrier::new(2));
        let theirs = barrier.clone();
        let thread = spawn(move || theirs.wait_deadline(time::now()).is_some());
        let met = barrier.wait_deadline(time::now()).is_some();
        assert_eq!(thread.join().unwrap(), met);
        met
    });
    assert_eq!(seen.len(), 2);
}

/// Who tries in vain does not count either.
#[test]
fn try_against_timeout() {
    let seen = outcomes(Some(4), || {
        let barrier = Arc::new(Barrier::new(2));
        let theirs = barrier.clone();
        let thread = spawn(move || theirs.wait_deadline(time::now()).is_some());
        let met = barrier.try_wait().is_some() || barrier.try_wait().is_some();
        assert_eq!(thread.join().unwrap(), met);
        met
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn last_member_against_try() {
    let seen = outcomes(Some(4), || {
        let (group, data) = (WaitGroup::new(), Data::new());
        let (member, its_data) = (group.clone(), data.clone());
        let thread = spawn(move || {
            its_data.add_one();
            drop(member);
        });
        let alone = group.try_wait().is_ok();
        if alone {
            assert_eq!(data.get(), 1);
        }
        thread.join().unwrap();
        alone
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn last_member_against_waiter() {
    model(Some(4), || {
        let (group, data) = (WaitGroup::new(), Data::new());
        let (member, its_data) = (group.clone(), data.clone());
        let thread = spawn(move || {
            its_data.add_one();
            drop(member);
        });
        group.wait();
        assert_eq!(data.get(), 1);
        thread.join().unwrap();
    });
}

/// Who gives up is a member again, and only then.
#[test]
fn last_member_against_timeout() {
    let seen = outcomes(Some(4), || {
        let (group, data) = (WaitGroup::new(), Data::new());
        let (member, its_data) = (group.clone(), data.clone());
        let thread = spawn(move || {
            its_data.add_one();
            drop(member);
        });
        let late = match group.wait_deadline(time::now()) {
            Ok(()) => {
                assert_eq!(data.get(), 1);
                None
            }
            Err(group) => Some(group),
        };
        thread.join().unwrap();
        late.map(|group| assert!(group.try_wait().is_ok()))
            .is_some()
    });
    assert_eq!(seen.len(), 2);
}

/// Who is cancelled has left.
#[test]
fn waiter_against_cancel() {
    let seen = outcomes_within(3, || {
        let (group, me) = (WaitGroup::new(), thread::current());
        let member = group.clone();
        let canceller = spawn(move || me.cancel());
        let other = spawn(move || member.wait());
        let waited = unless_cancelled(|| group.wait()).is_some();
        canceller.join().unwrap();
        other.join().unwrap();
        waited
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn unpark_against_park() {
    model(Some(4), || {
        let (parker, data) = (Parker::new(), Data::new());
        let (unparker, its_data) = (parker.unparker().clone(), data.clone());
        let thread = spawn(move || {
            its_data.add_one();
            unparker.unpark();
        });
        parker.park();
        assert_eq!(data.get(), 1);
        thread.join().unwrap();
    });
}

/// A token that meets a waiter whose time is up is there for the next park.
#[test]
fn unpark_against_timeout() {
    let seen = outcomes(Some(4), || {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        let thread = spawn(move || unparker.unpark());
        let in_time = parker.park_until(Some(time::now())) != Waited::TimedOut;
        if !in_time {
            parker.park();
        }
        thread.join().unwrap();
        in_time
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn unpark_against_cancelled_park() {
    let seen = outcomes(Some(3), || {
        let (parker, me) = (Parker::new(), thread::current());
        let unparker = parker.unparker().clone();
        let unparker = spawn(move || unparker.unpark());
        let canceller = spawn(move || me.cancel());
        let parked = unless_cancelled(|| parker.park()).is_some();
        unparker.join().unwrap();
        canceller.join().unwrap();
        if !parked {
            // The token is still there.
            cancel::shield(|| parker.park());
        }
        parked
    });
    assert_eq!(seen.len(), 2);
}
