//! Suspending and resuming, and priorities as properties.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lisle::thread::{self, Builder, State};

use crate::support::{
    Log, child, end, on, runtime, spawn, steady, until, until_state, until_waiting, watchdog,
};

#[test]
fn a_ready_thread_is_held_back() {
    let _dog = watchdog();
    let rt = steady(1);
    let log = Log::new();
    let noted = log.clone();
    let boss = on(&rt, move || {
        let held = child({
            let log = noted.clone();
            move || log.note("held")
        });
        held.thread().suspend();
        held.thread().suspend();
        for _ in 0..5 {
            thread::yield_now();
        }
        noted.note("boss");
        assert_eq!(held.thread().info().state, State::Suspended);
        // Suspensions do not add up.
        held.thread().resume();
        held.join().unwrap();
    });
    boss.join().unwrap();
    assert_eq!(log.take(), ["boss", "held"]);
    end(rt);
}

#[test]
fn a_waiting_thread_is_held_back_once_woken() {
    let _dog = watchdog();
    let rt = runtime(1);
    let log = Log::new();
    let noted = log.clone();
    let parked = on(&rt, move || {
        thread::park();
        noted.note("went on");
    });
    until_waiting(parked.thread(), "park");
    parked.thread().suspend();
    parked.thread().unpark();
    until_state(parked.thread(), State::Suspended);
    on(&rt, thread::yield_now).join().unwrap();
    assert_eq!(log.len(), 0);
    parked.thread().resume();
    parked.join().unwrap();
    assert_eq!(log.len(), 1);
    end(rt);
}

#[test]
fn a_running_thread_is_held_when_it_yields() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let (steps, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let spinner = on(&rt, {
            let (steps, stop) = (steps.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    steps.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            }
        });
        for _ in 0..50 {
            let before = steps.load(Ordering::Relaxed);
            until(|| steps.load(Ordering::Relaxed) > before);
            spinner.thread().suspend();
            until_state(spinner.thread(), State::Suspended);
            let held = steps.load(Ordering::Relaxed);
            on(&rt, thread::yield_now).join().unwrap();
            assert_eq!(steps.load(Ordering::Relaxed), held);
            spinner.thread().resume();
        }
        stop.store(true, Ordering::Relaxed);
        spinner.join().unwrap();
        end(rt);
    }
}

#[test]
fn a_thread_suspends_itself() {
    let _dog = watchdog();
    let rt = runtime(1);
    let log = Log::new();
    let noted = log.clone();
    let own = on(&rt, move || {
        noted.note(1);
        thread::current().suspend();
        noted.note(2);
    });
    until_state(own.thread(), State::Suspended);
    assert_eq!(log.take(), [1]);
    own.thread().resume();
    own.join().unwrap();
    assert_eq!(log.take(), [2]);
    end(rt);
}

/// A resume that comes before the thread is held revokes the suspension, under
/// every interleaving that two kernel threads find.
#[test]
fn suspending_and_resuming_race_without_loss() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = Arc::new(AtomicUsize::new(0));
    let worker = on(&rt, {
        let rounds = rounds.clone();
        move || {
            for _ in 0..20_000 {
                rounds.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
        }
    });
    while !worker.is_finished() {
        worker.thread().suspend();
        worker.thread().resume();
    }
    worker.join().unwrap();
    assert_eq!(rounds.load(Ordering::Relaxed), 20_000);
    end(rt);
}

#[test]
fn a_bound_thread_is_suspended_at_its_next_yield() {
    let _dog = watchdog();
    let steps = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (counted, stopped) = (steps.clone(), stop.clone());
    let bound = Builder::new().bound().spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            counted.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
        }
    });
    let bound = bound.unwrap();
    until(|| steps.load(Ordering::Relaxed) > 0);
    bound.thread().suspend();
    until_state(bound.thread(), State::Suspended);
    let held = steps.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    std::thread::yield_now();
    assert_eq!(steps.load(Ordering::Relaxed), held);
    assert!(!bound.is_finished());
    bound.thread().resume();
    bound.join().unwrap();
}

#[test]
fn priorities_are_kept() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = spawn(Builder::new().on(&rt).priority(63), thread::park);
    assert_eq!(thread.thread().priority(), 63);
    thread.thread().set_priority(0);
    assert_eq!(thread.thread().info().priority, 0);
    let set = || thread.thread().set_priority(64);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(set)).is_err());
    assert_eq!(thread.thread().priority(), 0);
    thread.thread().unpark();
    thread.join().unwrap();
    end(rt);
}
