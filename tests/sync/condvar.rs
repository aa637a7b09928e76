//! Condition variables: no notify is lost, whoever waits and however it ends.

use std::sync::Arc;
use std::time::Duration;

use lisle::sync::{Condvar, Mutex};
use lisle::thread::{self, JoinHandle};
use lisle::time;

use super::support::{Log, child, end, many, on, runtime, until, until_waiting, watchdog};
use super::{LONG, is_cancelled, under_seeds, waits_for, yield_until_waiting};

const TICK: Duration = Duration::from_millis(1);
const REASON: &str = "condition variable";

/// Tokens that are taken one by one.
struct Tokens {
    count: Mutex<usize>,
    more: Condvar,
}

impl Tokens {
    fn new() -> Arc<Tokens> {
        Arc::new(Tokens {
            count: Mutex::new(0),
            more: Condvar::new(),
        })
    }

    fn take(&self) {
        let count = self.count.lock().unwrap();
        *self.more.wait_while(count, |count| *count == 0).unwrap() -= 1;
    }

    fn take_within(&self, timeout: Duration) -> bool {
        let count = self.count.lock().unwrap();
        let waited = self
            .more
            .wait_timeout_while(count, timeout, |count| *count == 0);
        let (mut count, result) = waited.unwrap();
        if result.timed_out() {
            assert_eq!(*count, 0);
        } else {
            *count -= 1;
        }
        !result.timed_out()
    }

    fn add(&self) {
        *self.count.lock().unwrap() += 1;
        self.more.notify_one();
    }

    fn left(&self) -> usize {
        *self.count.lock().unwrap()
    }
}

/// Threads that wait for any notify, one after the other, and note it.
fn queue_up(rt: &lisle::Runtime, tokens: &Arc<Tokens>) -> (Log<usize>, Vec<JoinHandle<()>>) {
    let log = Log::new();
    let mut threads = Vec::new();
    for number in 0..4 {
        let (tokens, log) = (tokens.clone(), log.clone());
        let thread = on(rt, move || {
            drop(tokens.more.wait(tokens.count.lock().unwrap()).unwrap());
            log.note(number);
        });
        until_waiting(thread.thread(), REASON);
        threads.push(thread);
    }
    (log, threads)
}

#[test]
fn notify_one_wakes_the_one_that_waited_longest() {
    let _dog = watchdog();
    let rt = runtime(2);
    let tokens = Tokens::new();
    let (log, threads) = queue_up(&rt, &tokens);
    for (number, thread) in threads.into_iter().enumerate() {
        tokens.more.notify_one();
        thread.join().unwrap();
        assert_eq!(log.take(), [number]);
    }
    end(rt);
}

#[test]
fn notify_all_wakes_all_and_a_notify_is_not_kept() {
    let _dog = watchdog();
    let rt = runtime(2);
    let tokens = Tokens::new();
    tokens.more.notify_one();
    tokens.more.notify_all();
    let (log, threads) = queue_up(&rt, &tokens);
    assert_eq!(log.len(), 0);
    tokens.more.notify_all();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let mut woken = log.take();
    woken.sort_unstable();
    assert_eq!(woken, [0, 1, 2, 3]);
    end(rt);
}

#[test]
fn no_notify_is_lost_between_light_and_kernel_threads() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(1000);
    let tokens = Tokens::new();
    let take = |tokens: Arc<Tokens>| move || (0..rounds).for_each(|_| tokens.take());
    let add = |tokens: Arc<Tokens>| move || (0..rounds).for_each(|_| tokens.add());
    let mut light: Vec<_> = (0..4).map(|_| on(&rt, take(tokens.clone()))).collect();
    let mut kernel: Vec<_> = (0..2)
        .map(|_| std::thread::spawn(take(tokens.clone())))
        .collect();
    light.extend((0..4).map(|_| on(&rt, add(tokens.clone()))));
    kernel.extend((0..2).map(|_| std::thread::spawn(add(tokens.clone()))));
    light.into_iter().for_each(|thread| thread.join().unwrap());
    kernel.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(tokens.left(), 0);
    end(rt);
}

#[test]
fn no_notify_is_lost_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let tokens = Tokens::new();
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let tokens = tokens.clone();
                child(move || (0..3).for_each(|_| tokens.take()))
            })
            .collect();
        for _ in 0..9 {
            tokens.add();
        }
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(tokens.left(), 0);
    });
}

#[test]
fn a_notify_that_meets_a_cancelled_waiter_goes_to_the_next() {
    let _dog = watchdog();
    let rt = runtime(1);
    let tokens = Tokens::new();
    let wait = || {
        let tokens = tokens.clone();
        let waiter = on(&rt, move || tokens.take());
        until_waiting(waiter.thread(), REASON);
        waiter
    };
    let (first, second) = (wait(), wait());
    let (target, same) = (first.thread().clone(), tokens.clone());
    // On the only LWP: the first one is cancelled but has not run yet.
    on(&rt, move || {
        target.cancel();
        same.add();
    })
    .join()
    .unwrap();
    assert!(is_cancelled(first.join()));
    second.join().unwrap();
    assert_eq!(tokens.left(), 0);
    end(rt);
}

#[test]
fn no_notify_is_lost_to_a_cancel_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let tokens = Tokens::new();
        let take = || {
            let tokens = tokens.clone();
            child(move || tokens.take())
        };
        let (first, second) = (take(), take());
        let target = first.thread().clone();
        let canceller = child(move || target.cancel());
        tokens.add();
        canceller.join().unwrap();
        if first.join().is_ok() {
            tokens.add();
        }
        // Hangs if the token's notify has died with the first.
        second.join().unwrap();
        assert_eq!(tokens.left(), 0);
    });
}

#[test]
fn no_notify_is_lost_to_a_timeout_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let tokens = Tokens::new();
        let same = tokens.clone();
        let first = child(move || same.take_within(TICK));
        yield_until_waiting(first.thread(), REASON);
        let same = tokens.clone();
        let second = child(move || same.take());
        yield_until_waiting(second.thread(), REASON);
        // Due at the same moment as the first one's deadline.
        thread::sleep(TICK);
        tokens.add();
        if first.join().unwrap() {
            tokens.add();
        }
        second.join().unwrap();
        assert_eq!(tokens.left(), 0);
    });
}

#[test]
fn a_wait_ends_when_its_time_is_up() {
    let _dog = watchdog();
    let tokens = Tokens::new();
    let guard = tokens.count.lock().unwrap();
    let (guard, result) = tokens.more.wait_timeout(guard, TICK).unwrap();
    assert!(result.timed_out());
    let (guard, result) = tokens.more.wait_deadline(guard, time::now()).unwrap();
    assert!(result.timed_out());
    let (guard, result) = tokens
        .more
        .wait_timeout_while(guard, LONG, |count| *count != 0)
        .unwrap();
    assert!(!result.timed_out(), "it did not have to wait");
    let late = time::now();
    let waited = tokens
        .more
        .wait_deadline_while(guard, late, |count| *count != 0);
    let (guard, result) = waited.unwrap();
    assert!(!result.timed_out(), "nor this time, though it was late");
    let mut asked = 0;
    let waited = tokens.more.wait_deadline_while(guard, late, |_| {
        asked += 1;
        asked < 2
    });
    let (guard, result) = waited.unwrap();
    assert!(!result.timed_out() && asked == 2, "asked again at the end");
    let (guard, result) = tokens
        .more
        .wait_deadline_while(guard, late, |count| *count == 0)
        .unwrap();
    assert!(result.timed_out());
    assert!(tokens.count.try_lock().is_err(), "held again");
    drop(guard);
    assert!(!tokens.take_within(TICK));
    tokens.add();
    assert!(tokens.take_within(Duration::ZERO));
}

#[test]
fn a_notify_in_time_is_no_timeout() {
    let _dog = watchdog();
    let rt = runtime(2);
    let tokens = Tokens::new();
    for timeout in [LONG, Duration::MAX] {
        let same = tokens.clone();
        let waiter = on(&rt, move || same.take_within(timeout));
        until_waiting(waiter.thread(), REASON);
        tokens.add();
        assert!(waiter.join().unwrap());
    }
    end(rt);
}

/// Each of the notifies finds the condition unchanged, but for the last.
#[test]
fn a_notify_does_not_end_a_wait_while_with_a_deadline() {
    let _dog = watchdog();
    let rt = runtime(2);
    let tokens = Tokens::new();
    let same = tokens.clone();
    let waiter = on(&rt, move || {
        let (count, deadline) = (same.count.lock().unwrap(), time::now() + LONG);
        let mut asked = Vec::new();
        let waited = same.more.wait_deadline_while(count, deadline, |count| {
            asked.push(*count);
            *count < 2
        });
        let (count, result) = waited.unwrap();
        assert!(!result.timed_out() && *count == 2);
        asked
    });
    for _ in 0..2 {
        until_waiting(waiter.thread(), REASON);
        let mut count = tokens.count.lock().unwrap();
        *count += 1;
        tokens.more.notify_one();
    }
    assert_eq!(waiter.join().unwrap(), [0, 1, 2]);
    end(rt);
}

#[test]
fn a_cancelled_waiter_holds_the_mutex_when_it_unwinds() {
    let _dog = watchdog();
    let rt = runtime(2);
    let tokens = Tokens::new();
    let same = tokens.clone();
    let waiter = on(&rt, move || same.take());
    until_waiting(waiter.thread(), REASON);
    let guard = tokens.count.lock().unwrap();
    waiter.thread().cancel();
    until_waiting(waiter.thread(), "mutex");
    assert!(!waiter.is_finished());
    drop(guard);
    assert!(is_cancelled(waiter.join()));
    assert!(!tokens.count.is_poisoned());
    assert_eq!(tokens.left(), 0);
    end(rt);
}

#[test]
fn release_and_wait_are_one_step() {
    let _dog = watchdog();
    let rt = runtime(2);
    let tokens = Tokens::new();
    let same = tokens.clone();
    let waiter = on(&rt, move || same.take());
    // Once the mutex is free and the waiter has been in, it can be notified.
    until(|| waits_for(waiter.thread(), REASON));
    drop(tokens.count.try_lock().unwrap());
    tokens.add();
    waiter.join().unwrap();
    end(rt);
}

#[test]
fn a_waiter_learns_of_poison() {
    let _dog = watchdog();
    let rt = runtime(2);
    let tokens = Tokens::new();
    let same = tokens.clone();
    let waiter = on(&rt, move || {
        let guard = same.count.lock().unwrap();
        same.more.wait(guard).is_err()
    });
    until_waiting(waiter.thread(), REASON);
    let same = tokens.clone();
    let panicker = on(&rt, move || {
        let _guard = same.count.lock().unwrap();
        same.more.notify_one();
        panic!("expected: in the mutex");
    });
    panicker.join().unwrap_err();
    assert!(waiter.join().unwrap());
    end(rt);
}
