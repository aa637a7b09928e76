//! Waits for a semaphore that end early, by a timeout or a cancel: they leave
//! no trace, and lose and steal no permit.

use std::sync::Arc;
use std::time::Duration;

use lisle::cancel;
use lisle::sync::{AcquireTimeoutError, Semaphore, SemaphorePermit};
use lisle::thread::{self, JoinHandle};
use lisle::time;

use super::support::{child, end, many, on, runtime, steady, until_waiting, watchdog};
use super::{LONG, is_cancelled, under_seeds, waits_for, yield_until_waiting};

const TICK: Duration = Duration::from_millis(1);

#[test]
fn a_timeout_takes_nothing() {
    let _dog = watchdog();
    let permits = Semaphore::new(1);
    // What is there needs no time.
    assert_eq!(
        permits
            .acquire_timeout(Duration::ZERO)
            .map(SemaphorePermit::forget),
        Ok(())
    );
    assert_eq!(
        permits
            .acquire_timeout(Duration::ZERO)
            .map(SemaphorePermit::forget),
        Err(AcquireTimeoutError::Timeout)
    );
    assert_eq!(
        permits
            .acquire_deadline(time::now())
            .map(SemaphorePermit::forget),
        Err(AcquireTimeoutError::Timeout)
    );
    assert_eq!(
        permits.acquire_timeout(TICK).map(SemaphorePermit::forget),
        Err(AcquireTimeoutError::Timeout)
    );
    permits.release_many(2).unwrap();
    assert_eq!(
        permits
            .acquire_many_deadline(3, time::now() + TICK)
            .map(SemaphorePermit::forget),
        Err(AcquireTimeoutError::Timeout)
    );
    assert_eq!(permits.available_permits(), 2);
}

/// All forms with a deadline, for as many permits as are there, and for more.
#[test]
fn all_that_is_asked_for_in_time_or_nothing() {
    let _dog = watchdog();
    let slots = Arc::new(Semaphore::new(2));
    let soon = || time::now() + TICK;
    for (permits, outcome) in [(2, Ok(2)), (3, Err(AcquireTimeoutError::Timeout))] {
        let one = slots.acquire_many_timeout(permits, TICK);
        assert_eq!(one.map(|taken| taken.num_permits()), outcome);
        let other = slots.acquire_many_deadline(permits, soon());
        assert_eq!(other.map(|taken| taken.num_permits()), outcome);
        let one = slots.clone().acquire_many_owned_timeout(permits, TICK);
        assert_eq!(one.map(|taken| taken.num_permits()), outcome);
        let other = slots.clone().acquire_many_owned_deadline(permits, soon());
        assert_eq!(other.map(|taken| taken.num_permits()), outcome);
        assert_eq!(slots.available_permits(), 2);
    }
    let one = slots.clone().acquire_owned_timeout(TICK).unwrap();
    let other = slots.clone().acquire_owned_deadline(soon()).unwrap();
    assert_eq!((one.num_permits(), other.num_permits()), (1, 1));
    let timeout = AcquireTimeoutError::Timeout;
    let late = slots.clone().acquire_owned_timeout(TICK);
    assert_eq!(late.unwrap_err(), timeout);
    let late = slots.clone().acquire_owned_deadline(soon());
    assert_eq!(late.unwrap_err(), timeout);
    drop((one, other));
    slots.close();
    let closed = slots.clone().acquire_owned_timeout(TICK);
    assert_eq!(closed.unwrap_err(), AcquireTimeoutError::Closed);
    assert_eq!(slots.available_permits(), 2);
}

#[test]
fn a_cancel_ends_an_owned_wait_and_takes_nothing() {
    let _dog = watchdog();
    let rt = runtime(2);
    let slots = Arc::new(Semaphore::new(1));
    let same = slots.clone();
    let waiter = on(&rt, move || same.acquire_many_owned_timeout(2, LONG));
    until_waiting(waiter.thread(), "semaphore");
    waiter.thread().cancel();
    assert!(is_cancelled(waiter.join()));
    assert_eq!(Arc::into_inner(slots).unwrap().available_permits(), 1);
    end(rt);
}

#[test]
fn a_timeout_beyond_the_clock_is_none() {
    let _dog = watchdog();
    let rt = runtime(1);
    let permits = Arc::new(Semaphore::new(0));
    let same = permits.clone();
    let waiter = on(&rt, move || {
        same.acquire_timeout(Duration::MAX)
            .map(SemaphorePermit::forget)
    });
    until_waiting(waiter.thread(), "semaphore");
    permits.v();
    assert_eq!(waiter.join().unwrap(), Ok(()));
    end(rt);
}

#[test]
fn the_timeout_of_a_large_request_lets_smaller_ones_through() {
    let _dog = watchdog();
    under_seeds(|| {
        let permits = Arc::new(Semaphore::new(2));
        let same = permits.clone();
        let large = child(move || {
            same.acquire_many_deadline(3, time::now() + TICK)
                .map(SemaphorePermit::forget)
        });
        yield_until_waiting(large.thread(), "semaphore");
        let small: Vec<JoinHandle<()>> = (0..2)
            .map(|_| {
                let permits = permits.clone();
                child(move || permits.p())
            })
            .collect();
        for small in &small {
            yield_until_waiting(small.thread(), "semaphore");
        }
        assert_eq!(permits.available_permits(), 2);
        // Time passes when all wait.
        small.into_iter().for_each(|small| small.join().unwrap());
        assert_eq!(large.join().unwrap(), Err(AcquireTimeoutError::Timeout));
        assert_eq!(permits.available_permits(), 0);
    });
}

#[test]
fn the_cancel_of_a_large_request_lets_smaller_ones_through() {
    let _dog = watchdog();
    let rt = runtime(2);
    let permits = Arc::new(Semaphore::new(1));
    let same = permits.clone();
    let large = on(&rt, move || {
        same.acquire_many(2).map(SemaphorePermit::forget)
    });
    until_waiting(large.thread(), "semaphore");
    let same = permits.clone();
    let small = on(&rt, move || same.acquire().map(SemaphorePermit::forget));
    until_waiting(small.thread(), "semaphore");
    large.thread().cancel();
    assert!(is_cancelled(large.join()));
    small.join().unwrap().unwrap();
    assert_eq!(permits.available_permits(), 0);
    end(rt);
}

#[test]
fn a_cancel_neither_leaks_nor_steals() {
    let _dog = watchdog();
    under_seeds(|| {
        let permits = Arc::new(Semaphore::new(0));
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let permits = permits.clone();
                child(move || permits.p())
            })
            .collect();
        let targets: Vec<_> = waiters.iter().map(|w| w.thread().clone()).collect();
        let canceller = child(move || {
            targets[0].cancel();
            thread::yield_now();
            targets[1].cancel();
        });
        // A permit for each of the three, two of which are cancelled before,
        // meanwhile or after.
        permits.v();
        thread::yield_now();
        permits.v();
        canceller.join().unwrap();
        permits.v();
        let served = waiters.into_iter().map(JoinHandle::join);
        let served = served.filter(|outcome| outcome.is_ok()).count();
        assert_eq!(served + permits.available_permits(), 3);
        assert!(served >= 1, "the third was cancelled by nobody");
    });
}

#[test]
fn a_cancel_that_comes_first_leaves_the_permit_to_the_next() {
    let _dog = watchdog();
    let rt = runtime(1);
    let permits = Arc::new(Semaphore::new(0));
    let wait = || {
        let permits = permits.clone();
        let waiter = on(&rt, move || permits.p());
        until_waiting(waiter.thread(), "semaphore");
        waiter
    };
    let (first, second) = (wait(), wait());
    let (target, same) = (first.thread().clone(), permits.clone());
    // On the only LWP: the first one is cancelled but has not run yet.
    on(&rt, move || {
        target.cancel();
        same.v();
    })
    .join()
    .unwrap();
    assert!(is_cancelled(first.join()));
    second.join().unwrap();
    assert_eq!(permits.available_permits(), 0);
    end(rt);
}

#[test]
fn a_permit_that_comes_first_is_kept_over_a_cancel() {
    let _dog = watchdog();
    let rt = steady(1);
    let permits = Arc::new(Semaphore::new(0));
    let same = permits.clone();
    let waiter = on(&rt, move || {
        same.p();
        cancel::is_cancelled()
    });
    until_waiting(waiter.thread(), "semaphore");
    let (target, same) = (waiter.thread().clone(), permits.clone());
    on(&rt, move || {
        same.v();
        target.cancel();
    })
    .join()
    .unwrap();
    assert!(waiter.join().unwrap(), "it has the permit, and knows");
    assert_eq!(permits.available_permits(), 0);
    end(rt);
}

#[test]
fn a_shielded_wait_goes_on() {
    let _dog = watchdog();
    let rt = runtime(2);
    let permits = Arc::new(Semaphore::new(0));
    let same = permits.clone();
    let waiter = on(&rt, move || {
        cancel::shield(|| same.p());
        cancel::checkpoint();
    });
    until_waiting(waiter.thread(), "semaphore");
    waiter.thread().cancel();
    assert!(waits_for(waiter.thread(), "semaphore"));
    permits.v();
    assert!(is_cancelled(waiter.join()), "at the checkpoint");
    assert_eq!(permits.available_permits(), 0);
    end(rt);
}

#[test]
fn timeouts_neither_leak_nor_steal_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let permits = Arc::new(Semaphore::new(0));
        let waiters: Vec<_> = (0..6)
            .map(|n| {
                let permits = permits.clone();
                // Deadlines that coincide with the releases below.
                child(move || {
                    permits
                        .acquire_timeout(TICK * (n % 3 + 1))
                        .map(SemaphorePermit::forget)
                        .is_ok()
                })
            })
            .collect();
        for _ in 0..3 {
            thread::sleep(TICK);
            permits.v();
        }
        let served = waiters.into_iter().map(|w| w.join().unwrap());
        let served = served.filter(|served| *served).count();
        assert_eq!(served + permits.available_permits(), 3);
    });
}

#[test]
fn timeouts_and_permits_in_a_storm() {
    let _dog = watchdog();
    let rt = runtime(2);
    let permits = Arc::new(Semaphore::new(2));
    let rounds = many(1000);
    let visit = |permits: Arc<Semaphore>, step: usize| {
        move || {
            for round in 0..rounds {
                let patience = Duration::from_micros((round * step % 40) as u64);
                if permits
                    .acquire_timeout(patience)
                    .map(SemaphorePermit::forget)
                    .is_ok()
                {
                    thread::yield_now();
                    permits.v();
                }
            }
        }
    };
    let light: Vec<_> = (1..7).map(|n| on(&rt, visit(permits.clone(), n))).collect();
    let kernel: Vec<_> = (7..10)
        .map(|n| std::thread::spawn(visit(permits.clone(), n)))
        .collect();
    light.into_iter().for_each(|thread| thread.join().unwrap());
    kernel.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(permits.available_permits(), 2);
    assert_eq!(
        permits.acquire_timeout(LONG).map(SemaphorePermit::forget),
        Ok(())
    );
    end(rt);
}
