//! Priority inheritance, under the priority policy on one LWP: the classic inversion,
//! with a plain mutex and without, and a chain of two.

use std::sync::Arc;
use std::time::Duration;

use lisle::policy::PolicyKind;
use lisle::sync::{Mutex, PriorityMutex, TryLockError};
use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::Source;
use lisle::{Runtime, cancel};

use super::support::{Log, end, on, runtime, spawn, until_waiting, watchdog};
use super::{is_cancelled, under_seeds, yield_until_waiting};

const LOW: u8 = 10;
const MIDDLE: u8 = 20;
const HIGH: u8 = 30;
const TOP: u8 = 40;

/// One LWP, that nobody takes: else whoever is ready goes on beside one that is held up.
fn prioritized() -> Runtime {
    Runtime::builder()
        .lwps(1)
        .upcalls(Source::Off)
        .policy(PolicyKind::Priority)
        .build()
        .unwrap()
}

fn with_priority<T: Send + 'static>(
    priority: u8,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    spawn(Builder::new().priority(priority), f)
}

/// Yields a few times: longer than any test needs, shorter than the policy's patience.
fn work() {
    (0..5).for_each(|_| thread::yield_now());
}

/// A low thread holds the lock, a high one waits for it, a middle one works.
fn inversion<L: Send + Sync + 'static>(
    lock: L,
    take: fn(&L, &mut dyn FnMut()),
) -> Vec<&'static str> {
    let _dog = watchdog();
    let rt = prioritized();
    let director = move || {
        let (lock, log) = (Arc::new(lock), Log::new());
        let (its_lock, its_log) = (lock.clone(), log.clone());
        let low = with_priority(LOW, move || {
            take(&its_lock, &mut || {
                // Until the high one waits and the middle one is ready.
                thread::park();
                work();
            });
            work();
            its_log.note("low");
        });
        yield_until_waiting(low.thread(), "park");
        let (its_lock, its_log) = (lock.clone(), log.clone());
        let high = with_priority(HIGH, move || take(&its_lock, &mut || its_log.note("high")));
        while !super::waits_for(high.thread(), "mutex")
            && !super::waits_for(high.thread(), "priority mutex")
        {
            thread::yield_now();
        }
        let its_log = log.clone();
        let middle = with_priority(MIDDLE, move || {
            work();
            its_log.note("middle");
        });
        low.thread().unpark();
        for thread in [low, high, middle] {
            thread.join().unwrap();
        }
        log.take()
    };
    // The least urgent of all, so that it only directs.
    let order = spawn(Builder::new().priority(0).on(&rt), director)
        .join()
        .unwrap();
    end(rt);
    order
}

#[test]
fn a_plain_mutex_lets_the_middle_one_go_before_the_high_one() {
    let order = inversion(Mutex::new(()), |lock, f| {
        let _guard = lock.lock().unwrap();
        f();
    });
    assert_eq!(order, ["middle", "high", "low"]);
}

#[test]
fn inheritance_lets_the_high_one_go_first() {
    let order = inversion(PriorityMutex::new(()), |lock, f| {
        let _guard = lock.lock().unwrap();
        f();
    });
    assert_eq!(order, ["high", "middle", "low"]);
}

/// The top one waits for what the high one holds, which waits for what the low one
/// holds: the low one inherits from the top, and then gives back.
#[test]
fn it_is_passed_on_along_a_chain() {
    let _dog = watchdog();
    let rt = prioritized();
    let director = || {
        let (one, two, log) = (
            Arc::new(PriorityMutex::new(())),
            Arc::new(PriorityMutex::new(())),
            Log::new(),
        );
        let (its_one, its_log) = (one.clone(), log.clone());
        let low = with_priority(LOW, move || {
            let guard = its_one.lock().unwrap();
            thread::park();
            work();
            drop(guard);
            work();
            its_log.note("low");
        });
        yield_until_waiting(low.thread(), "park");
        let (its_one, its_two, its_log) = (one.clone(), two.clone(), log.clone());
        let high = with_priority(MIDDLE, move || {
            let _two = its_two.lock().unwrap();
            let _one = its_one.lock().unwrap();
            its_log.note("holder of two");
        });
        yield_until_waiting(high.thread(), "priority mutex");
        let (its_two, its_log) = (two.clone(), log.clone());
        let top = with_priority(TOP, move || {
            let _two = its_two.lock().unwrap();
            its_log.note("top");
        });
        yield_until_waiting(top.thread(), "priority mutex");
        let its_log = log.clone();
        // More urgent than all but the top one.
        let other = with_priority(HIGH, move || {
            work();
            its_log.note("other");
        });
        low.thread().unpark();
        for thread in [low, high, top, other] {
            thread.join().unwrap();
        }
        log.take()
    };
    let order = spawn(Builder::new().priority(0).on(&rt), director)
        .join()
        .unwrap();
    assert_eq!(order, ["holder of two", "top", "other", "low"]);
    end(rt);
}

/// Who gives up waiting takes its priority back.
#[test]
fn a_waiter_that_gives_up_lends_nothing_any_more() {
    let _dog = watchdog();
    let rt = prioritized();
    let director = || {
        let (mutex, log) = (Arc::new(PriorityMutex::new(())), Log::new());
        let (its_mutex, its_log) = (mutex.clone(), log.clone());
        let low = with_priority(LOW, move || {
            let _guard = its_mutex.lock().unwrap();
            thread::park();
            work();
            its_log.note("low");
        });
        yield_until_waiting(low.thread(), "park");
        let its_mutex = mutex.clone();
        let high = with_priority(HIGH, move || drop(its_mutex.lock_cancellable().unwrap()));
        yield_until_waiting(high.thread(), "priority mutex");
        high.thread().cancel();
        assert!(is_cancelled(high.join()));
        let its_log = log.clone();
        let middle = with_priority(MIDDLE, move || {
            work();
            its_log.note("middle");
        });
        low.thread().unpark();
        low.join().unwrap();
        middle.join().unwrap();
        log.take()
    };
    let order = spawn(Builder::new().priority(0).on(&rt), director)
        .join()
        .unwrap();
    assert_eq!(order, ["middle", "low"]);
    end(rt);
}

#[test]
fn the_most_urgent_waiter_gets_it_and_equals_in_order() {
    let _dog = watchdog();
    let rt = prioritized();
    let director = || {
        let (mutex, log) = (Arc::new(PriorityMutex::new(())), Log::new());
        let guard = mutex.lock().unwrap();
        let threads: Vec<_> = [LOW, HIGH, MIDDLE, HIGH, LOW]
            .into_iter()
            .enumerate()
            .map(|(number, priority)| {
                let (mutex, log) = (mutex.clone(), log.clone());
                let thread = with_priority(priority, move || {
                    let _guard = mutex.lock().unwrap();
                    log.note(number);
                });
                yield_until_waiting(thread.thread(), "priority mutex");
                thread
            })
            .collect();
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        log.take()
    };
    let order = spawn(Builder::new().priority(0).on(&rt), director)
        .join()
        .unwrap();
    assert_eq!(order, [1, 3, 2, 0, 4]);
    end(rt);
}

#[test]
fn it_is_a_mutex() {
    let _dog = watchdog();
    let rt = runtime(2);
    let mutex = Arc::new(PriorityMutex::new(0));
    let guard = mutex.lock().unwrap();
    assert!(mutex.lock_timeout(Duration::from_millis(1)).is_err());
    assert!(mutex.lock_deadline(lisle::time::now()).is_err());
    let same = mutex.clone();
    let waiter = on(&rt, move || {
        cancel::shield(|| *same.lock_cancellable().unwrap() += 1);
    });
    until_waiting(waiter.thread(), "priority mutex");
    drop(guard);
    waiter.join().unwrap();
    let same = mutex.clone();
    let panicker = on(&rt, move || {
        let _guard = same.lock().unwrap();
        panic!("expected: in the mutex");
    });
    panicker.join().unwrap_err();
    assert!(mutex.is_poisoned() && mutex.lock().is_err());
    mutex.clear_poison();
    assert_eq!(*mutex.lock().unwrap(), 1);
    end(rt);
}

#[test]
fn one_inside_at_a_time_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let mutexes = Arc::new([PriorityMutex::new(0), PriorityMutex::new(0)]);
        let visit = |number: usize| {
            let mutexes = mutexes.clone();
            with_priority(number as u8 * 8, move || {
                for round in 0..3 {
                    let mut one = mutexes[0].lock().unwrap();
                    let seen = *one;
                    thread::yield_now();
                    if (round + number).is_multiple_of(2)
                        && let Ok(mut two) = mutexes[1].lock_timeout(Duration::from_millis(1))
                    {
                        *two += 1;
                    }
                    *one = seen + 1;
                }
            })
        };
        let threads: Vec<_> = (0..5).map(visit).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*mutexes[0].try_lock().unwrap(), 15);
    });
}

/// The priority of one that waits already counts as if it had come with it.
#[test]
fn a_waiter_that_becomes_urgent_lends_that_and_goes_first() {
    let _dog = watchdog();
    let rt = prioritized();
    let director = move || {
        let (mutex, log) = (Arc::new(PriorityMutex::new(())), Log::new());
        let held = mutex.clone();
        let low = with_priority(LOW, move || {
            let _held = held.lock().unwrap();
            thread::park();
            work();
        });
        yield_until_waiting(low.thread(), "park");
        let [first, second] = ["first", "second"].map(|name| {
            let (mutex, log) = (mutex.clone(), log.clone());
            let waiter = with_priority(LOW, move || {
                let _held = mutex.lock().unwrap();
                log.note(name);
            });
            yield_until_waiting(waiter.thread(), "priority mutex");
            waiter
        });
        second.thread().set_priority(HIGH);
        let its_log = log.clone();
        let middle = with_priority(MIDDLE, move || {
            work();
            its_log.note("middle");
        });
        low.thread().unpark();
        for thread in [low, first, second, middle] {
            thread.join().unwrap();
        }
        log.take()
    };
    let order = spawn(Builder::new().priority(0).on(&rt), director)
        .join()
        .unwrap();
    assert_eq!(order, ["second", "middle", "first"]);
    end(rt);
}
