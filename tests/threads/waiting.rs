//! Yielding, parking, sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::thread;
use lisle::time::{now, sleep_until};

use crate::support::{Log, child, end, many, on, runtime, steady, until, until_waiting, watchdog};

#[test]
fn on_one_lwp_yielding_threads_take_turns() {
    let _dog = watchdog();
    let rt = steady(1);
    let log = Log::new();
    let noted = log.clone();
    let boss = on(&rt, move || {
        let round = |who: char| {
            let log = noted.clone();
            move || {
                for _ in 0..100 {
                    log.note(who);
                    thread::yield_now();
                }
            }
        };
        let turns: Vec<_> = ['a', 'b', 'c'].map(round).map(child).into();
        turns.into_iter().for_each(|turn| turn.join().unwrap());
    });
    boss.join().unwrap();
    let order: String = log.take().into_iter().collect();
    assert_eq!(order, "abc".repeat(100));
    end(rt);
}

#[test]
fn threads_that_yield_for_ever_let_others_begin() {
    let _dog = watchdog();
    let rt = runtime(1);
    for full in [true, false] {
        let begun = Arc::new(AtomicBool::new(false));
        let yields = || {
            let begun = begun.clone();
            move || {
                while !begun.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            }
        };
        let spinners = [(); 2].map(|()| match full {
            true => thread::Builder::new().on(&rt).spawn(yields()).unwrap(),
            false => on(&rt, yields()),
        });
        // From outside the runtime: the LWP must come to look for it.
        let last = begun.clone();
        let other = on(&rt, move || last.store(true, Ordering::Relaxed));
        other.join().unwrap();
        spinners.into_iter().for_each(|s| s.join().unwrap());
    }
    end(rt);
}

#[test]
fn two_threads_yield_a_million_times() {
    let _dog = watchdog();
    let rt = runtime(1);
    let steps = many(500_000);
    let behind = Arc::new(AtomicUsize::new(0));
    let turn = |bit: usize| {
        let turns = behind.clone();
        move || {
            for _ in 0..steps {
                while turns.load(Ordering::Relaxed) % 2 != bit {
                    thread::yield_now();
                }
                turns.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
        }
    };
    let pair = [on(&rt, turn(0)), on(&rt, turn(1))];
    pair.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(behind.load(Ordering::Relaxed), 2 * steps);
    end(rt);
}

#[test]
fn a_token_before_park_counts_once() {
    let _dog = watchdog();
    let rt = runtime(1);
    let log = Log::new();
    let noted = log.clone();
    let thread = on(&rt, move || {
        let me = thread::current();
        for _ in 0..3 {
            me.unpark();
        }
        thread::park();
        noted.note("first");
        thread::park();
        noted.note("second");
    });
    until_waiting(thread.thread(), "park");
    assert_eq!(log.take(), ["first"]);
    thread.thread().unpark();
    thread.join().unwrap();
    assert_eq!(log.take(), ["second"]);
    end(rt);
}

#[test]
fn a_token_reaches_a_parked_thread_from_any_thread() {
    let _dog = watchdog();
    let rt = runtime(2);
    let parked = on(&rt, || (0..3).for_each(|_| thread::park()));
    until_waiting(parked.thread(), "park");
    // From a plain kernel thread, a light thread, a bound thread.
    parked.thread().unpark();
    let woken = |n| {
        until(|| parked.thread().info().switches > n);
        until_waiting(parked.thread(), "park");
    };
    woken(1);
    let target = parked.thread().clone();
    on(&rt, move || target.unpark()).join().unwrap();
    woken(2);
    let target = parked.thread().clone();
    let bound = thread::Builder::new()
        .bound()
        .spawn(move || target.unpark());
    bound.unwrap().join().unwrap();
    parked.join().unwrap();
    end(rt);
}

/// A park that timed out leaves nothing behind, and takes a token that is there.
#[test]
fn park_timeout_takes_the_token_or_gives_up() {
    let _dog = watchdog();
    let rt = runtime(1);
    let body = || {
        thread::park_timeout(Duration::from_millis(1));
        thread::park_until(now());
        thread::current().unpark();
        // Returns at once, or the watchdog barks.
        thread::park_timeout(Duration::from_secs(1 << 30));
        thread::current().unpark();
        thread::park_until(now());
        true
    };
    assert!(on(&rt, body).join().unwrap());
    assert!(std::thread::spawn(body).join().unwrap());
    end(rt);
}

/// A token is not lost by a wait that takes none.
#[test]
fn sleeping_and_joining_leave_the_token_alone() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = on(&rt, || {
        thread::current().unpark();
        thread::sleep(Duration::from_millis(1));
        child(thread::yield_now).join().unwrap();
        thread::park();
    });
    thread.join().unwrap();
    end(rt);
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    let _dog = watchdog();
    let rt = steady(1);
    // On a machine that stalls before all are asleep, once more.
    let order = loop {
        let (log, late) = (Log::new(), Arc::new(AtomicBool::new(false)));
        let first = now() + Duration::from_millis(50);
        let sleepers: Vec<_> = [7u64, 3, 9, 1, 5, 8, 2, 6, 4]
            .map(|rank| {
                let (log, late) = (log.clone(), late.clone());
                on(&rt, move || {
                    let deadline = first + Duration::from_millis(rank);
                    late.fetch_or(now() >= first, Ordering::Relaxed);
                    sleep_until(deadline);
                    late.fetch_or(now() < deadline, Ordering::Relaxed);
                    log.note(rank);
                })
            })
            .into();
        sleepers.into_iter().for_each(|s| s.join().unwrap());
        if !late.load(Ordering::Relaxed) {
            break log.take();
        }
    };
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    end(rt);
}

/// A deadline set while the runtime sleeps for a later one is not overslept.
#[test]
fn an_earlier_deadline_is_not_overslept() {
    let _dog = watchdog();
    let rt = runtime(2);
    let long = on(&rt, || thread::sleep(Duration::from_secs(1 << 30)));
    until_waiting(long.thread(), "sleep");
    for _ in 0..20 {
        let short = on(&rt, || thread::sleep(Duration::from_millis(2)));
        short.join().unwrap();
        assert!(!long.is_finished());
    }
    long.thread().cancel();
    assert!(long.join().is_err());
    end(rt);
}

#[test]
fn sleeping_for_no_time_and_for_ever() {
    let _dog = watchdog();
    let rt = runtime(1);
    on(&rt, || thread::sleep(Duration::ZERO)).join().unwrap();
    on(&rt, || sleep_until(now())).join().unwrap();
    let ever = on(&rt, || thread::sleep(Duration::MAX));
    until(|| {
        ever.thread()
            .info()
            .state
            .to_string()
            .starts_with("waiting")
    });
    // A token is no reason to end a sleep.
    ever.thread().unpark();
    let again = on(&rt, thread::yield_now);
    again.join().unwrap();
    assert!(!ever.is_finished());
    ever.thread().cancel();
    assert!(ever.join().is_err());
    end(rt);
}

#[test]
fn yielding_from_a_kernel_thread_is_harmless() {
    thread::yield_now();
    let other = std::thread::spawn(thread::yield_now);
    other.join().unwrap();
}
