//! Mutexes under contention: how often a waiter is bypassed, and what gives up.

use std::sync::Arc;
use std::time::Duration;

use lisle::sync::{Mutex, MutexGuard, RawMutex, TryLockError};
use lisle::thread::{self, JoinHandle};

use super::support::{Log, child, end, many, on, runtime, steady, until_waiting, watchdog};
use super::{LONG, is_cancelled, under_seeds, yield_until_waiting};

const BYPASS: usize = RawMutex::BYPASS as usize;
const TICK: Duration = Duration::from_millis(1);

/// Children that wait for the mutex, in this order, and note that they had it.
fn queue_up(mutex: &Arc<Mutex<()>>, log: &Log<usize>, count: usize) -> Vec<JoinHandle<()>> {
    let wait = |number| {
        let (mutex, log) = (mutex.clone(), log.clone());
        let waiter = child(move || {
            let _guard = mutex.lock().unwrap();
            log.note(number);
        });
        yield_until_waiting(waiter.thread(), "mutex");
        waiter
    };
    (0..count).map(wait).collect()
}

/// How often the caller gets the mutex in a row.
fn bargings(mutex: &Mutex<()>) -> usize {
    std::iter::from_fn(|| mutex.try_lock().ok()).count()
}

#[test]
fn a_waiter_is_bypassed_so_many_times_and_no_more() {
    let _dog = watchdog();
    let rt = steady(1);
    on(&rt, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::new());
        let guard = mutex.lock().unwrap();
        let waiters = queue_up(&mutex, &log, 3);
        drop(guard);
        // The waiters cannot run before this thread waits: it has the only LWP.
        assert_eq!(bargings(&mutex), BYPASS);
        // It is free, and reserved for the first waiter; this thread comes last.
        drop(mutex.lock().unwrap());
        assert_eq!(log.take(), [0, 1, 2]);
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().unwrap());
        assert_eq!(
            bargings_without_waiters(&mutex),
            2 * BYPASS,
            "none is counted"
        );
    })
    .join()
    .unwrap();
    end(rt);
}

fn bargings_without_waiters(mutex: &Mutex<()>) -> usize {
    (0..2 * BYPASS).filter(|_| mutex.try_lock().is_ok()).count()
}

/// With `n` before it, a waiter waits for at most `n + (n + 1) * BYPASS` others.
#[test]
fn a_waiter_far_behind_waits_for_a_bounded_number_of_others() {
    let _dog = watchdog();
    let rt = steady(1);
    on(&rt, || {
        const BEFORE: usize = 4;
        let mutex = Arc::new(Mutex::new(0_usize));
        let guard = mutex.lock().unwrap();
        let waiters: Vec<_> = (0..=BEFORE)
            .map(|_| {
                let mutex = mutex.clone();
                let waiter = child(move || {
                    let mut taken = mutex.lock().unwrap();
                    *taken += 1;
                    *taken - 1
                });
                yield_until_waiting(waiter.thread(), "mutex");
                waiter
            })
            .collect();
        drop(guard);
        while !waiters.iter().all(JoinHandle::is_finished) {
            // As often as it can, then lets a waiter have it.
            while let Ok(mut taken) = mutex.try_lock() {
                *taken += 1;
            }
            thread::yield_now();
        }
        let order: Vec<_> = waiters
            .into_iter()
            .map(|waiter| waiter.join().unwrap())
            .collect();
        assert!(order.is_sorted(), "first come, first served: {order:?}");
        let before_last = *order.last().unwrap();
        assert!(before_last <= BEFORE + (BEFORE + 1) * BYPASS);
        assert!(before_last > BYPASS, "it was bypassed at all");
    })
    .join()
    .unwrap();
    end(rt);
}

/// A waiter that was woken and finds it taken has it reserved at once.
#[test]
fn a_waiter_loses_once() {
    let _dog = watchdog();
    let rt = steady(1);
    on(&rt, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::new());
        let guard = mutex.lock().unwrap();
        let waiters = queue_up(&mutex, &log, 1);
        drop(guard);
        let guard = mutex.try_lock().unwrap();
        // It runs, and waits again.
        yield_until_waiting(waiters[0].thread(), "mutex");
        drop(guard);
        assert_eq!(bargings(&mutex), 0);
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().unwrap());
        assert_eq!(log.take(), [0]);
    })
    .join()
    .unwrap();
    end(rt);
}

#[test]
fn a_fair_unlock_lets_nobody_in_between() {
    let _dog = watchdog();
    let rt = steady(1);
    on(&rt, || {
        let (mutex, log) = (Arc::new(Mutex::new(())), Log::new());
        let guard = mutex.lock().unwrap();
        let waiters = queue_up(&mutex, &log, 2);
        MutexGuard::unlock_fair(guard);
        assert_eq!(bargings(&mutex), 0);
        let guard = mutex.lock().unwrap();
        assert_eq!(log.take(), [0, 1]);
        // Nobody waits: it is as any unlock.
        MutexGuard::unlock_fair(guard);
        assert!(mutex.try_lock().is_ok());
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().unwrap());
    })
    .join()
    .unwrap();
    end(rt);
}

#[test]
fn a_lock_with_a_deadline_gives_up() {
    let _dog = watchdog();
    let mutex = Mutex::new(5);
    assert_eq!(
        *mutex.lock_timeout(Duration::ZERO).unwrap(),
        5,
        "free: no time is needed"
    );
    let guard = mutex.lock().unwrap();
    let late = |result| matches!(result, Err(TryLockError::WouldBlock));
    assert!(late(mutex.lock_timeout(TICK)));
    assert!(late(mutex.lock_deadline(lisle::time::now())));
    drop(guard);
    assert!(mutex.lock_timeout(LONG).is_ok() && mutex.lock_timeout(Duration::MAX).is_ok());
}

#[test]
fn a_cancel_ends_a_cancellable_lock_only() {
    let _dog = watchdog();
    let rt = runtime(2);
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.lock().unwrap();
    let same = mutex.clone();
    let waiter = on(&rt, move || *same.lock_cancellable().unwrap() = 1);
    until_waiting(waiter.thread(), "mutex");
    waiter.thread().cancel();
    assert!(is_cancelled(waiter.join()));
    drop(guard);
    assert_eq!(*mutex.lock().unwrap(), 0);
    assert!(!mutex.is_poisoned());
    end(rt);
}

/// Whatever ends a wait, the mutex reaches those who still wait.
#[test]
fn no_unlock_is_lost_to_a_waiter_that_gives_up() {
    let _dog = watchdog();
    under_seeds(|| {
        let mutex = Arc::new(Mutex::new(0));
        let visit = |number: u32| {
            let mutex = mutex.clone();
            child(move || {
                for round in 0..4 {
                    let guard = match number {
                        0 => mutex.lock_timeout(TICK * (round % 2)).ok(),
                        1 => mutex.lock_cancellable().ok(),
                        _ => mutex.lock().ok(),
                    };
                    if let Some(mut guard) = guard {
                        let seen = *guard;
                        thread::yield_now();
                        *guard = seen + 1;
                    }
                }
            })
        };
        let threads: Vec<_> = (0..5).map(visit).collect();
        let target = threads[1].thread().clone();
        let canceller = child(move || target.cancel());
        canceller.join().unwrap();
        let ended = threads.into_iter().map(JoinHandle::join);
        assert!(ended.filter(Result::is_ok).count() >= 4);
        assert!(*mutex.try_lock().unwrap() >= 12);
    });
}

/// Unsized values behind every kind of waiting, on light and kernel threads.
#[test]
fn timeouts_and_locks_in_a_storm() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(2000);
    let mutex: Arc<Mutex<[usize]>> = Arc::new(Mutex::new([0, 0]));
    let visit = |mutex: Arc<Mutex<[usize]>>, step: usize| {
        move || {
            let mut taken = 0;
            for round in 0..rounds {
                let patience = Duration::from_micros((round * step % 30) as u64);
                let guard = match round % 3 {
                    0 => mutex.lock().ok(),
                    1 => mutex.lock_timeout(patience).ok(),
                    _ => mutex.try_lock().ok(),
                };
                if let Some(mut guard) = guard {
                    guard[0] += 1;
                    if round % 16 == 0 {
                        thread::yield_now();
                    }
                    guard[1] += 1;
                    assert_eq!(guard[0], guard[1]);
                    taken += 1;
                }
            }
            taken
        }
    };
    let light: Vec<_> = (1..7).map(|n| on(&rt, visit(mutex.clone(), n))).collect();
    let kernel: Vec<_> = (7..10)
        .map(|n| std::thread::spawn(visit(mutex.clone(), n)))
        .collect();
    let light = light.into_iter().map(|thread| thread.join().unwrap());
    let kernel = kernel.into_iter().map(|thread| thread.join().unwrap());
    let taken: usize = light.chain(kernel).sum();
    assert_eq!(mutex.lock().unwrap()[0], taken);
    end(rt);
}
