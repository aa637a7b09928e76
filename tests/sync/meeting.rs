//! Barriers, wait groups and parkers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::sync::{Barrier, Parker, WaitGroup};
use lisle::{cancel, thread};

use super::support::{child, end, many, on, runtime, until_waiting, watchdog};
use super::{LONG, is_cancelled, under_seeds, yield_until_waiting};

const TICK: Duration = Duration::from_millis(1);

#[test]
fn a_barrier_holds_a_thousand_again_and_again() {
    const THREADS: usize = 1000;
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(10);
    let shared = Arc::new((Barrier::new(THREADS), AtomicUsize::new(0)));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let shared = shared.clone();
            on(&rt, move || {
                let mut led = 0;
                for round in 1..=rounds {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                    led += usize::from(shared.0.wait().is_leader());
                    assert!(shared.1.load(Ordering::Relaxed) >= round * THREADS);
                }
                led
            })
        })
        .collect();
    let led: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(led, rounds, "one leader a round");
    end(rt);
}

#[test]
fn a_barrier_for_none_or_one_holds_up_nobody() {
    assert!(Barrier::new(0).wait().is_leader());
    assert!(Barrier::new(1).wait().is_leader());
    assert_eq!(Barrier::new(2).wait_timeout(TICK), None);
    assert_eq!(Barrier::new(2).wait_deadline(lisle::time::now()), None);
}

#[test]
fn a_try_completes_a_round_or_does_not_count() {
    let _dog = watchdog();
    let rt = runtime(2);
    let barrier = Arc::new(Barrier::new(3));
    let arrive = || {
        let barrier = barrier.clone();
        let thread = on(&rt, move || barrier.wait().is_leader());
        until_waiting(thread.thread(), "barrier");
        thread
    };
    for _ in 0..2 {
        assert_eq!(barrier.try_wait(), None);
        let one = arrive();
        assert_eq!((barrier.try_wait(), barrier.try_wait()), (None, None));
        let other = arrive();
        assert!(barrier.try_wait().unwrap().is_leader());
        assert!(!one.join().unwrap() && !other.join().unwrap());
    }
    end(rt);
}

#[test]
fn who_gives_up_does_not_count() {
    let _dog = watchdog();
    let rt = runtime(2);
    let barrier = Arc::new(Barrier::new(2));
    let arrive = || {
        let barrier = barrier.clone();
        let thread = on(&rt, move || {
            barrier.wait_timeout(LONG).map(|met| met.is_leader())
        });
        until_waiting(thread.thread(), "barrier");
        thread
    };
    let first = arrive();
    first.thread().cancel();
    assert!(is_cancelled(first.join()));
    assert_eq!(barrier.wait_timeout(TICK), None);
    let second = arrive();
    assert!(barrier.wait().is_leader());
    assert_eq!(second.join().unwrap(), Some(false));
    end(rt);
}

#[test]
fn cancels_and_arrivals_agree_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let barrier = Arc::new(Barrier::new(2));
        let arrive = || {
            let barrier = barrier.clone();
            child(move || barrier.wait_timeout(TICK).is_some())
        };
        let (one, two) = (arrive(), arrive());
        let target = one.thread().clone();
        let canceller = child(move || target.cancel());
        canceller.join().unwrap();
        let (one, two) = (one.join(), two.join().unwrap());
        // Whoever met has met somebody, who may have been cancelled just then.
        assert!(one.unwrap_or(two) == two);
    });
}

#[test]
fn a_wait_group_waits_for_its_members() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (group, done) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..20)
        .map(|number| {
            let (member, done) = (group.clone(), done.clone());
            let work = move || {
                thread::yield_now();
                done.fetch_add(1, Ordering::Relaxed);
                drop(member);
            };
            (number % 5 != 0)
                .then(|| on(&rt, work.clone()))
                .ok_or_else(|| std::thread::spawn(work))
        })
        .collect();
    assert!(format!("{group:?}").contains("WaitGroup"));
    group.wait();
    assert_eq!(done.load(Ordering::Relaxed), 20);
    for thread in threads {
        match thread {
            Ok(light) => light.join().unwrap(),
            Err(kernel) => kernel.join().unwrap(),
        }
    }
    WaitGroup::new().wait();
    end(rt);
}

#[test]
fn a_wait_group_gives_the_membership_back_when_the_time_is_up() {
    let _dog = watchdog();
    let rt = runtime(2);
    let group = WaitGroup::default();
    let other = group.clone();
    let group = group.wait_timeout(TICK).unwrap_err();
    let group = group.wait_deadline(lisle::time::now()).unwrap_err();
    let group = group.try_wait().unwrap_err();
    let waiter = on(&rt, move || other.wait());
    until_waiting(waiter.thread(), "wait group");
    group.try_wait().unwrap();
    waiter.join().unwrap();
    end(rt);
}

#[test]
fn a_parker_has_one_token() {
    let _dog = watchdog();
    let rt = runtime(2);
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    unparker.unpark();
    unparker.unpark();
    parker.park();
    assert!(!parker.try_park(), "two tokens are one");
    unparker.unpark();
    assert!(parker.try_park() && !parker.try_park());
    parker.park_timeout(TICK);
    parker.park_deadline(lisle::time::now());
    let waiter = on(&rt, move || {
        parker.park();
        parker
    });
    until_waiting(waiter.thread(), "parker");
    unparker.unpark();
    let parker = waiter.join().unwrap();
    let waiter = on(&rt, move || parker.park());
    until_waiting(waiter.thread(), "parker");
    waiter.thread().cancel();
    assert!(is_cancelled(waiter.join()));
    let raw = lisle::sync::Unparker::into_raw(unparker);
    // SAFETY: made just before.
    unsafe { lisle::sync::Unparker::from_raw(raw) }.unpark();
    end(rt);
}

/// A park that is cancelled has taken no token: the next one finds it.
#[test]
fn no_token_is_lost_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let parker = Parker::default();
        let unparker = parker.unparker().clone();
        let waiter = child(move || {
            let park = || parker.park();
            if is_cancelled(catch_unwind(AssertUnwindSafe(park))) {
                cancel::shield(park);
            }
        });
        yield_until_waiting(waiter.thread(), "parker");
        let cancelled = waiter.thread().clone();
        let canceller = child(move || cancelled.cancel());
        unparker.unpark();
        canceller.join().unwrap();
        waiter.join().unwrap();
    });
}
