//! Semaphores: no V is lost, none counts twice; who gives up leaves no trace.

use std::sync::Arc;

use lisle_lwp::explore::{Data, Turns, model, outcomes};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::{AcquireTimeoutError, Semaphore, SemaphorePermit};

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}

#[test]
fn v_against_p() {
    model(Some(6), || {
        let (semaphore, news) = (semaphore(0), Data::new());
        let (given, its_news) = (semaphore.clone(), news.clone());
        let giver = spawn(move || {
            its_news.add_one();
            given.v();
        });
        semaphore.p();
        assert_eq!(news.get(), 1);
        giver.join().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
fn p_against_p() {
    model(Some(2), || {
        let semaphore = semaphore(1);
        let shared = Data::new();
        let threads = [(); 2].map(|()| {
            let (semaphore, shared) = (semaphore.clone(), shared.clone());
            spawn(move || {
                semaphore.p();
                shared.add_one();
                semaphore.v();
            })
        });
        semaphore.p();
        shared.add_one();
        semaphore.v();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(shared.get(), 3);
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// Two V at once serve two waiters at once.
#[test]
fn release_many_against_waiters() {
    model(Some(2), || {
        let semaphore = semaphore(0);
        let waiters =
            [semaphore.clone(), semaphore.clone()].map(|semaphore| spawn(move || semaphore.p()));
        semaphore.release_many(2).unwrap();
        waiters.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(semaphore.available_permits(), 0);
    });
}

/// A permit that meets the deadline is either taken or still there.
#[test]
fn v_against_timeout() {
    let seen = outcomes(Some(6), || {
        let semaphore = semaphore(0);
        let given = semaphore.clone();
        let giver = spawn(move || given.v());
        let taken = semaphore
            .acquire_deadline(time::now())
            .map(SemaphorePermit::forget)
            .is_ok();
        giver.join().unwrap();
        assert_eq!(semaphore.available_permits(), usize::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// Permits that come as a large request gives up, which others wait behind, are either its or still there.
#[test]
fn v_against_large_request_given_up() {
    let seen = outcomes(Some(3), || {
        let (semaphore, turns) = (semaphore(0), Turns::new());
        let [large, small] = [semaphore.clone(), semaphore.clone()];
        let its_turns = turns.clone();
        let large = spawn(move || {
            let taken = large.acquire_many_deadline(2, time::now());
            its_turns.take();
            taken.map(SemaphorePermit::forget).is_ok()
        });
        let small = spawn(move || {
            let taken = small.acquire_deadline(time::now());
            taken.map(SemaphorePermit::forget).is_ok()
        });
        turns.take();
        semaphore.release_many(2).unwrap();
        let taken = 2 * usize::from(large.join().unwrap()) + usize::from(small.join().unwrap());
        assert_eq!(semaphore.available_permits(), 2 - taken);
        taken
    });
    assert_eq!(Vec::from_iter(seen), [0, 1, 2]);
}

/// A permit given to one who gave up reaches the next.
#[test]
fn v_passed_on_when_waiter_timed_out() {
    let seen = outcomes(Some(3), || {
        let semaphore = semaphore(0);
        let (hasty, patient) = (semaphore.clone(), semaphore.clone());
        let hasty = spawn(move || {
            let taken = hasty
                .acquire_deadline(time::now())
                .map(SemaphorePermit::forget)
                .is_ok();
            if taken {
                hasty.v();
            }
            taken
        });
        let patient = spawn(move || patient.p());
        semaphore.v();
        let taken = hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// Who gives up a large request lets the smaller ones behind it through.
#[test]
fn large_request_given_up() {
    let seen = outcomes(Some(5), || {
        let semaphore = semaphore(1);
        let large = semaphore.clone();
        let large = spawn(move || {
            large
                .acquire_many_deadline(2, time::now())
                .map(SemaphorePermit::forget)
                .is_ok()
        });
        semaphore.p();
        assert!(!large.join().unwrap());
        semaphore.available_permits()
    });
    assert_eq!(Vec::from_iter(seen), [0]);
}

/// Nobody overtakes a large request: what it waits for is not taken by others.
#[test]
fn large_request_against_small() {
    let seen = outcomes(Some(4), || {
        let semaphore = semaphore(1);
        let large = semaphore.clone();
        let large = spawn(move || {
            large.acquire_many(2).map(SemaphorePermit::forget).unwrap();
            large.release_many(2).unwrap();
        });
        let small = semaphore.try_acquire().map(SemaphorePermit::forget).is_ok();
        semaphore.v();
        if small {
            semaphore.v();
        }
        large.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
        small
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn v_against_cancel() {
    let seen = outcomes(Some(2), || {
        let semaphore = semaphore(0);
        let (given, waiter) = (semaphore.clone(), thread::current());
        let giver = spawn(move || given.v());
        let canceller = spawn(move || waiter.cancel());
        let taken = unless_cancelled(|| semaphore.p()).is_some();
        giver.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(semaphore.available_permits(), usize::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn close_against_p() {
    let seen = outcomes(Some(2), || {
        let semaphore = semaphore(0);
        let (given, closed) = (semaphore.clone(), semaphore.clone());
        let giver = spawn(move || given.v());
        let closer = spawn(move || closed.close());
        let taken = semaphore.acquire().map(SemaphorePermit::forget).is_ok();
        giver.join().unwrap();
        closer.join().unwrap();
        assert_eq!(semaphore.available_permits(), usize::from(!taken));
        let late = semaphore
            .acquire_deadline(time::now())
            .map(SemaphorePermit::forget);
        assert_eq!(late, Err(AcquireTimeoutError::Closed));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// Whoever waits, first or in the queue, is told.
#[test]
fn close_against_waiters() {
    model(Some(2), || {
        let semaphore = semaphore(0);
        let waiters = [semaphore.clone(), semaphore.clone()].map(|semaphore| {
            spawn(move || semaphore.acquire().map(SemaphorePermit::forget).is_err())
        });
        semaphore.close();
        let told = waiters.map(|t| t.join().unwrap());
        assert_eq!(told, [true; 2]);
    });
}

/// A permit that went through the queue orders as much as one that did not.
#[test]
fn queue_left_against_p() {
    let seen = outcomes(Some(3), || {
        let (semaphore, news, turns) = (semaphore(0), Data::new(), Turns::new());
        let (given, its_news, its_turns) = (semaphore.clone(), news.clone(), turns.clone());
        let giver = spawn(move || {
            its_news.add_one();
            given.v();
            given.forget_permits(0);
            its_turns.take();
        });
        turns.take();
        let taken = semaphore.try_p();
        if taken {
            assert_eq!(news.get(), 1);
        }
        giver.join().unwrap();
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// Gives up, perhaps, and then waits: not for the first time.
fn p_at_last(semaphore: &Semaphore) {
    let taken = semaphore
        .acquire_deadline(time::now())
        .map(SemaphorePermit::forget);
    if taken.is_err() {
        semaphore.p();
    }
}

/// Whoever finds a wait in the word knows of those before it.
#[test]
fn v_against_p_after_timeout() {
    model(Some(4), || {
        let semaphore = semaphore(0);
        let given = semaphore.clone();
        let giver = spawn(move || given.v());
        p_at_last(&semaphore);
        giver.join().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
    });
}

/// Nobody takes the place of one who waits.
#[test]
fn p_against_p_after_timeout() {
    model(Some(1), || {
        let semaphore = semaphore(0);
        let (one, other) = (semaphore.clone(), semaphore.clone());
        let threads = [spawn(move || p_at_last(&one)), spawn(move || other.p())];
        semaphore.v();
        semaphore.v();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(semaphore.available_permits(), 0);
    });
}
