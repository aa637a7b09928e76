//! Path expressions: no end is overlooked by one that waits to begin, and who gives up
//! leaves the automaton as it was.

use std::sync::Arc;

use lisle_lwp::explore::{Data, model, outcomes};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::{PathExpression, Semaphore};

fn path(text: &str) -> Arc<PathExpression> {
    Arc::new(PathExpression::parse(text).unwrap())
}

/// What one operation writes the next one reads.
#[test]
fn end_against_begin() {
    model(Some(4), || {
        let (path, data) = (path("a , b"), Data::new());
        let (other, its_data) = (path.clone(), data.clone());
        let thread = spawn(move || other.perform("a", || its_data.add_one()));
        path.perform("b", || data.add_one());
        thread.join().unwrap();
        path.perform("a", || assert_eq!(data.get(), 2));
    });
}

#[test]
fn end_against_end() {
    model(Some(1), || {
        let (path, data) = (path("{read} , write"), Data::new());
        let readers = [(); 2].map(|()| {
            let (path, data) = (path.clone(), data.clone());
            spawn(move || path.perform("read", || data.get()))
        });
        path.perform("write", || data.add_one());
        for reader in readers {
            reader.join().unwrap();
        }
        assert!(path.try_perform("write", || ()).is_some());
    });
}

/// One end lets all begin that wait and may: these two meet inside.
#[test]
fn end_against_two_who_meet() {
    // Without preemptions both wait when the writer ends, and half a million executions less.
    model(Some(0), || {
        let path = path("{read} , write");
        let met = Arc::new([Semaphore::new(0), Semaphore::new(0)]);
        let readers = path.perform("write", || {
            let readers = [0, 1].map(|who| {
                let (path, met) = (path.clone(), met.clone());
                let meet = move || {
                    met[1 - who].v();
                    met[who].p();
                };
                spawn(move || path.perform("read", meet))
            });
            // Loom lets them come while this one waits, which is no preemption.
            spawn(|| ()).join().unwrap();
            readers
        });
        readers.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// Each end lets one begin that waits.
#[test]
fn end_against_waiters() {
    model(Some(1), || {
        let path = path("2:(a ; b)");
        let takers = [(); 2].map(|()| {
            let path = path.clone();
            spawn(move || path.perform("b", || ()))
        });
        path.perform("a", || path.perform("a", || ()));
        takers.into_iter().for_each(|t| t.join().unwrap());
        assert!(path.try_perform("b", || ()).is_none());
    });
}

#[test]
fn begin_against_timeout() {
    let seen = outcomes(Some(4), || {
        let path = path("a ; b");
        let other = path.clone();
        let thread = spawn(move || other.perform("a", || ()));
        let begun = path.perform_deadline("b", time::now(), || ()).is_some();
        thread.join().unwrap();
        assert_eq!(path.try_perform("b", || ()).is_some(), !begun);
        begun
    });
    assert_eq!(seen.len(), 2);
}

/// What one who gave up could have begun, the next one begins.
#[test]
fn begin_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(2), || {
        let path = path("a ; b");
        let (hasty, patient) = (path.clone(), path.clone());
        let hasty = spawn(move || {
            let begun = hasty.perform_deadline("b", time::now(), || ()).is_some();
            if begun {
                hasty.perform("a", || ());
            }
            begun
        });
        let patient = spawn(move || patient.perform("b", || ()));
        path.perform("a", || ());
        let begun = hasty.join().unwrap();
        patient.join().unwrap();
        assert!(path.try_perform("b", || ()).is_none());
        begun
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn begin_against_cancel() {
    let seen = outcomes(Some(2), || {
        let path = path("a ; b");
        let (other, waiter) = (path.clone(), thread::current());
        let giver = spawn(move || other.perform("a", || ()));
        let canceller = spawn(move || waiter.cancel());
        let begun = unless_cancelled(|| path.perform("b", || ())).is_some();
        giver.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(path.try_perform("b", || ()).is_some(), !begun);
        begun
    });
    assert_eq!(seen.len(), 2);
}
