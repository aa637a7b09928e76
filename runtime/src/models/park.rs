//! Park and unpark: a token is never lost, and brings what its poster wrote.

use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::explore::{ALL, Data, model, outcomes};
use lisle_lwp::shim::{AtomicBool, Ordering};
use loom::thread::spawn;

use crate::model::thread::{self, park, park_until};

#[test]
fn unpark_before_commit() {
    model(ALL, || {
        let (news, parker) = (Data::new(), thread::current());
        let its_news = news.clone();
        let unparker = spawn(move || {
            its_news.add_one();
            parker.unpark();
        });
        assert!(park());
        assert_eq!(news.get(), 1);
        unparker.join().unwrap();
    });
}

/// Two unparks may become one token, but it brings what both wrote.
#[test]
fn unpark_against_unpark() {
    model(Some(2), || {
        let said = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let parker = thread::current();
        let unparkers = [0, 1].map(|i| {
            let (said, parker) = (said.clone(), parker.clone());
            spawn(move || {
                said[i].store(true, Ordering::Relaxed);
                parker.unpark();
            })
        });
        while !said.iter().all(|said| said.load(Ordering::Relaxed)) {
            assert!(park());
        }
        unparkers.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// A park that ran into its deadline leaves the token to the next.
#[test]
fn unpark_against_park_deadline() {
    model(Some(6), || {
        let said = Arc::new(AtomicBool::new(false));
        let (parker, its_said) = (thread::current(), said.clone());
        let unparker = spawn(move || {
            its_said.store(true, Ordering::Relaxed);
            parker.unpark();
        });
        assert!(park_until(Instant::now()));
        while !said.load(Ordering::Relaxed) {
            assert!(park());
        }
        unparker.join().unwrap();
    });
}

/// Cancelled or unparked, whichever is first; a token that comes second stays.
#[test]
fn cancel_against_unpark() {
    let seen = outcomes(Some(3), || {
        let (parker, cancelled) = (thread::current(), thread::current());
        let unparker = spawn(move || parker.unpark());
        let canceller = spawn(move || cancelled.cancel());
        let by_token = park();
        unparker.join().unwrap();
        canceller.join().unwrap();
        assert!(!park(), "a cancelled thread does not park");
        by_token
    });
    assert_eq!(seen.len(), 2);
}
