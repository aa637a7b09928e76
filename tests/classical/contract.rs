//! The contract of monitors, regions, serializers and path expressions: forms that do not
//! wait or not for ever, cancels, panics and poison, on all kinds of threads.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lisle::sync::{Monitor, PathErrorKind, PathExpression, Region, Serializer, path};
use lisle::thread;

use super::harness::{joined_or_cancelled, quiesce};
use crate::support::{self, Log, child, end, message, on, runtime, until_waiting, watchdog};

const LATE: Duration = Duration::from_millis(1);

fn under_seeds(test: impl Fn() + Send + Sync + Clone + 'static) {
    let _dog = watchdog();
    support::under_seeds(50, test);
}

fn waits_for<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

fn panics(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it should panic");
    message(&*payload).to_owned()
}

#[test]
fn what_does_not_wait_does_not() {
    let monitor = Monitor::<u8>::new(1);
    let mut inside = monitor.try_enter().unwrap();
    assert!(monitor.try_enter().is_none() && monitor.enter_timeout(LATE).is_none());
    assert!(!inside.wait_timeout(0, LATE) && *inside == 1);
    let late = lisle::time::now() + LATE;
    assert!(!inside.wait_while_deadline(0, late, |n| *n == 1));
    assert!(!inside.wait_while_timeout(0, LATE, |n| *n == 1));
    assert!(inside.wait_while_timeout(0, LATE, |n| *n == 2));
    assert!(!inside.wait_ranked_timeout(0, 7, LATE) && !inside.wait_ranked_deadline(0, 7, late));
    assert!(!inside.signal(0) && !inside.is_awaited(0));
    drop(inside);
    let region = Region::new(1);
    assert_eq!(region.try_when(|n| *n == 2, |n| **n), None);
    assert_eq!(region.when_timeout(LATE, |n| *n == 2, |n| **n), None);
    assert_eq!(region.enter_timeout(LATE, |n| **n), Some(1));
    region.enter(|n| {
        assert_eq!(region.try_enter(|_| ()), None);
        assert_eq!(region.enter_timeout(LATE, |_| ()), None);
        assert_eq!(
            region.enter_deadline(lisle::time::now() + LATE, |_| ()),
            None
        );
        assert_eq!(region.try_when(|_| true, |_| ()), None);
        assert_eq!(region.when_timeout(LATE, |_| true, |_| ()), None);
        assert!(!n.wait_until_timeout(LATE, |n| *n == 2) && **n == 1);
    });
    let serializer = Serializer::<u8>::new(1);
    let mut inside = serializer.try_enter().unwrap();
    assert!(serializer.try_enter().is_none() && serializer.enter_timeout(LATE).is_none());
    assert!(!inside.try_enqueue(0, |n| **n == 2) && inside.try_enqueue(0, |n| **n == 1));
    assert!(!inside.enqueue_timeout(0, LATE, |n| **n == 2) && inside.queue(0) == 0);
    assert!(!inside.enqueue_ranked_timeout(0, 7, LATE, |n| **n == 2));
    assert!(!inside.enqueue_ranked_deadline(0, 7, late, |n| **n == 2) && inside.queue(0) == 0);
    assert!(inside.enqueue_ranked_timeout(0, 7, LATE, |n| **n == 1));
    drop(inside);
    let path = path!("a ; b");
    assert!(path.try_perform("b", || ()).is_none());
    assert!(path.perform_timeout("b", LATE, || ()).is_none());
    assert_eq!(path.try_perform("a", || 7), Some(7));
    assert_eq!(path.perform_timeout("b", LATE, || 8), Some(8));
}

#[test]
fn the_signalled_runs_at_once_and_the_signaller_before_newcomers() {
    under_seeds(|| {
        let (monitor, log) = (Arc::new(Monitor::<u8, 1>::new(0)), Log::new());
        let (shared, note) = (monitor.clone(), log.clone());
        let waiter = child(move || {
            let mut inside = shared.enter();
            inside.wait(0);
            assert_eq!(*inside, 1);
            note.note("signalled");
        });
        quiesce();
        let mut inside = monitor.enter();
        let (shared, note) = (monitor.clone(), log.clone());
        let newcomer = child(move || {
            let inside = shared.enter();
            assert_eq!(*inside, 2);
            note.note("newcomer");
        });
        (0..20).for_each(|_| thread::yield_now());
        *inside = 1;
        assert!(inside.signal(0));
        log.note("signaller");
        *inside = 2;
        drop(inside);
        waits_for([waiter, newcomer]);
        assert_eq!(log.take(), ["signalled", "signaller", "newcomer"]);
    });
}

#[test]
fn ranked_waits_are_served_by_rank() {
    under_seeds(|| {
        let (monitor, log) = (Arc::new(Monitor::<(), 1>::new(())), Log::new());
        let threads = [3, 1, 2, 1].map(|rank| {
            let (monitor, log) = (monitor.clone(), log.clone());
            let thread = child(move || {
                let mut inside = monitor.enter();
                inside.wait_ranked(0, rank);
                log.note(rank);
            });
            quiesce();
            thread
        });
        let mut inside = monitor.enter();
        while inside.signal(0) {}
        drop(inside);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(log.take(), [1, 1, 2, 3]);
    });
}

/// Those of a rank come in before those of a greater one, whose time is up or not.
#[test]
fn ranked_waits_with_deadlines_are_served_by_rank() {
    under_seeds(|| {
        let monitor = Arc::new(Monitor::<u8, 1>::new(0));
        let serializer = Arc::new(Serializer::<bool>::new(false));
        let log = Log::new();
        let threads = [(3, 100), (1, 100), (2, 6), (1, 100), (2, 100)].map(|(rank, patience)| {
            let (monitor, serializer) = (monitor.clone(), serializer.clone());
            let (log, patience) = (log.clone(), patience * LATE);
            let thread = child(move || {
                let notified = monitor.enter().wait_ranked_timeout(0, rank, patience);
                log.note((rank, notified));
                let mut ready = serializer.enter();
                let came = ready.enqueue_ranked_timeout(0, rank, patience, |ready| **ready);
                log.note((rank, came));
            });
            quiesce();
            thread
        });
        (0..5).for_each(|_| quiesce());
        assert_eq!(log.take(), [(2, false)]);
        let mut inside = monitor.enter();
        while inside.signal(0) {}
        drop(inside);
        (0..5).for_each(|_| quiesce());
        assert_eq!(
            log.take(),
            [(1, true), (1, true), (2, true), (3, true), (2, false)]
        );
        *serializer.enter() = true;
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(log.take(), [(1, true), (1, true), (2, true), (3, true)]);
    });
}

#[test]
fn true_guards_are_first_in_first_out() {
    under_seeds(|| {
        let (region, log) = (Arc::new(Region::new(0)), Log::new());
        let threads = [2, 1, 3, 1, 2].map(|least| {
            let (region, log) = (region.clone(), log.clone());
            let thread = child(move || region.when(|n| *n >= least, |_| log.note(least)));
            quiesce();
            thread
        });
        region.enter(|n| **n = 2);
        quiesce();
        assert_eq!(log.take(), [2, 1, 1, 2]);
        region.enter(|n| **n = 3);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(log.take(), [3]);
    });
}

#[test]
fn guaranteed_waiters_come_before_newcomers() {
    under_seeds(|| {
        let (serializer, log) = (Arc::new(Serializer::<bool>::new(false)), Log::new());
        let (shared, note) = (serializer.clone(), log.clone());
        let waiter = child(move || {
            let mut inside = shared.enter();
            inside.enqueue(0, |ready| **ready);
            note.note("guaranteed");
        });
        quiesce();
        let mut inside = serializer.enter();
        let (shared, note) = (serializer.clone(), log.clone());
        let newcomer = child(move || {
            let _inside = shared.enter();
            note.note("newcomer");
        });
        (0..20).for_each(|_| thread::yield_now());
        *inside = true;
        drop(inside);
        waits_for([waiter, newcomer]);
        assert_eq!(log.take(), ["guaranteed", "newcomer"]);
    });
}

/// The guard is examined by another thread; its panic is its owner's.
#[test]
fn a_guard_that_panics_does_so_in_its_thread() {
    let _dog = watchdog();
    let rt = runtime(2);
    let region = Arc::new(Region::new(0));
    let (first, second) = (region.clone(), region.clone());
    let bad = |n: &i32| {
        if *n == 1 {
            panic!("no such number")
        } else {
            false
        }
    };
    let guarded = on(&rt, move || first.when(bad, |_| ()));
    until_waiting(guarded.thread(), "region");
    let other = on(&rt, move || second.when(|n| *n == 1, |n| **n = 2));
    until_waiting(other.thread(), "region");
    region.enter(|n| **n = 1);
    other.join().unwrap();
    assert_eq!(message(&*guarded.join().unwrap_err()), "no such number");
    assert!(!region.is_poisoned() && region.enter(|n| **n == 2));
    // At entry, too.
    assert_eq!(
        panics(|| region.when(|_| panic!("at once"), |_| ())),
        "at once"
    );
    assert!(!region.is_poisoned() && region.enter(|n| **n == 2));
    end(rt);
}

/// Whoever drops it is unwound.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the bomb is dropped");
    }
}

fn unwinds_with_a_bomb<R>(wait: impl FnOnce() -> R) {
    let unwound = catch_unwind(AssertUnwindSafe(wait));
    let payload = unwound.err().expect("the guard's panic is lost");
    assert!(payload.is::<Bomb>(), "the bomb was dropped");
    core::mem::forget(payload);
}

/// A guard that is under examination, for longer than its waiter waits, panics with
/// something that must not be dropped: the waiter gets it, and possesses the state then.
#[test]
fn a_guards_panic_reaches_a_waiter_that_has_given_up() {
    fn examined(ready: bool) -> bool {
        if ready {
            thread::sleep(30 * LATE);
            resume_unwind(Box::new(Bomb));
        }
        false
    }

    under_seeds(|| {
        let regions = [(); 2].map(|()| Arc::new(Region::new(false)));
        let serializer = Arc::new(Serializer::<bool>::new(false));
        let ([inside, outside], possessed) = (regions.clone(), serializer.clone());
        let waiters = [
            child(move || {
                inside.enter(|n| {
                    unwinds_with_a_bomb(|| n.wait_until_timeout(10 * LATE, |n| examined(*n)));
                    assert!(inside.try_enter(|_| ()).is_none(), "the region is free");
                });
            }),
            child(move || {
                unwinds_with_a_bomb(|| outside.when_timeout(10 * LATE, |n| examined(*n), |_| ()));
            }),
            child(move || {
                let mut n = possessed.enter();
                unwinds_with_a_bomb(|| n.enqueue_timeout(0, 10 * LATE, |n| examined(**n)));
                assert!(possessed.try_enter().is_none(), "the serializer is free");
            }),
        ];
        quiesce();
        let ([first, second], third) = (regions.clone(), serializer.clone());
        waits_for([
            child(move || first.enter(|ready| **ready = true)),
            child(move || second.enter(|ready| **ready = true)),
            child(move || *third.enter() = true),
        ]);
        waits_for(waiters);
        for region in regions {
            assert!(!region.is_poisoned() && region.try_enter(|_| ()).is_some());
        }
        assert!(!serializer.is_poisoned() && serializer.try_enter().is_some());
    });
}

/// One that is cancelled examines guards before it would wait, and again when it leaves.
#[test]
fn a_guards_panic_outlives_the_cancel_of_its_examiner() {
    under_seeds(|| {
        let region = Arc::new(Region::new(false));
        let shared = region.clone();
        let waiter = child(move || {
            let first = AtomicBool::new(true);
            let guard = |ready: &bool| {
                if *ready && first.swap(false, Ordering::SeqCst) {
                    resume_unwind(Box::new(Bomb));
                }
                false
            };
            unwinds_with_a_bomb(|| shared.when(guard, |_| ()));
        });
        quiesce();
        let shared = region.clone();
        let victim = child(move || {
            shared.enter(|ready| {
                **ready = true;
                thread::current().cancel();
                ready.wait_until(|_| false);
            });
        });
        joined_or_cancelled(victim);
        waiter.join().unwrap();
        assert!(!region.is_poisoned() && region.try_enter(|_| ()).is_some());
    });
}

#[test]
fn a_panic_inside_poisons_and_all_who_wait_hear_of_it() {
    let _dog = watchdog();
    let rt = runtime(1);
    let monitor = Arc::new(Monitor::<u8>::new(0));
    let region = Arc::new(Region::new(0));
    let serializer = Arc::new(Serializer::<u8>::new(0));
    let (m, r, s) = (monitor.clone(), region.clone(), serializer.clone());
    let waiters = [
        on(&rt, move || m.enter().wait(0)),
        on(&rt, move || r.when(|n| *n == 1, |_| ())),
        on(&rt, move || s.enter().enqueue(0, |n| **n == 1)),
    ];
    for (waiter, reason) in waiters.iter().zip(["monitor", "region", "serializer"]) {
        until_waiting(waiter.thread(), reason);
    }
    panics(|| {
        let _inside = monitor.enter();
        panic!("inside");
    });
    panics(|| region.enter(|_| panic!("inside")));
    panics(|| serializer.enter().join_crowd(0, || panic!("in a crowd")));
    for waiter in waiters {
        assert!(message(&*waiter.join().unwrap_err()).contains("poisoned"));
    }
    assert!(monitor.is_poisoned() && region.is_poisoned() && serializer.is_poisoned());
    assert!(panics(|| drop(monitor.enter())).contains("the monitor is poisoned"));
    assert!(panics(|| region.enter(|_| ())).contains("the region is poisoned"));
    assert!(panics(|| drop(serializer.enter())).contains("the serializer is poisoned"));
    monitor.clear_poison();
    region.clear_poison();
    serializer.clear_poison();
    assert_eq!(
        (*monitor.enter(), region.enter(|n| **n), *serializer.enter()),
        (0, 0, 0)
    );
    assert_eq!(serializer.enter().crowd(0), 0);
    end(rt);
}

/// Cancels poison nothing, and leave nobody in a queue, a crowd or an operation.
#[test]
fn a_cancel_leaves_no_trace() {
    under_seeds(|| {
        let monitor = Arc::new(Monitor::<u8>::new(0));
        let region = Arc::new(Region::new(0));
        let serializer = Arc::new(Serializer::<u8>::new(0));
        let path = Arc::new(path!("a ; b"));
        let (m, r, s, p) = (
            monitor.clone(),
            region.clone(),
            serializer.clone(),
            path.clone(),
        );
        let (inside, crowd) = (region.clone(), serializer.clone());
        let victims = [
            child(move || m.enter().wait(0)),
            child(move || r.when(|n| *n == 1, |_| ())),
            child(move || inside.enter(|n| n.wait_until(|n| *n == 1))),
            child(move || s.enter().enqueue(0, |n| **n == 1)),
            child(move || crowd.enter().join_crowd(0, thread::park)),
            child(move || p.perform("b", || ())),
        ];
        quiesce();
        let inside = serializer.enter();
        assert_eq!((inside.crowd(0), inside.queue(0)), (1, 1));
        drop(inside);
        for victim in victims {
            victim.thread().cancel();
            joined_or_cancelled(victim);
        }
        assert!(!monitor.enter().signal(0));
        region.enter(|n| **n = 1);
        let mut inside = serializer.enter();
        assert_eq!((inside.crowd(0), inside.queue(0)), (0, 0));
        inside.enqueue(0, |n| **n == 0);
        drop(inside);
        assert_eq!(path.perform("a", || path.try_perform("b", || ())), None);
        assert!(path.try_perform("b", || ()).is_some());
    });
}

/// A notify that a cancelled waiter had got goes to the next one.
#[test]
fn a_notify_is_passed_on() {
    under_seeds(|| {
        let monitor = Arc::new(Monitor::<u8>::new(0));
        let wait = || {
            let monitor = monitor.clone();
            let thread = child(move || monitor.enter().wait(0));
            quiesce();
            thread
        };
        let (first, second) = (wait(), wait());
        let mut inside = monitor.enter();
        inside.notify_one(0);
        // It is notified, but not inside yet.
        first.thread().cancel();
        drop(inside);
        second.join().unwrap();
        joined_or_cancelled(first);
    });
}

#[test]
fn an_operation_that_panics_ends() {
    let path = path!("{read} , write");
    assert_eq!(
        panics(|| path.perform("read", || panic!("while reading"))),
        "while reading"
    );
    assert!(path.try_perform("write", || ()).is_some());
    assert!(panics(|| path.perform("raed", || ())).contains("no operation of this name: raed"));
}

#[test]
fn a_path_is_checked_where_it_is_made() {
    let error = PathExpression::parse_declared("{read} , wrte", &["read", "write"]).unwrap_err();
    assert_eq!(
        (error.kind(), error.position()),
        (PathErrorKind::Unknown, 9)
    );
    assert_eq!(
        error.to_string(),
        "path expression, byte 9: unknown: no such operation was declared"
    );
    let error: lisle::sync::PathError = "read , read".parse::<PathExpression>().unwrap_err();
    assert_eq!(
        (error.kind(), error.position()),
        (PathErrorKind::Ambiguous, 7)
    );
    let path = PathExpression::parse("path a end path b ; a end").unwrap();
    assert_eq!(Vec::from_iter(path.operations()), ["a", "b"]);
    assert!(path.operation("a").is_ok() && path.operation("c").is_err());
}

/// What the documentation of `lisle::sync` says.
#[test]
fn sizes() {
    let sizes = [
        size_of::<Monitor<()>>(),
        size_of::<Region<()>>(),
        size_of::<Serializer<()>>(),
    ];
    assert_eq!(sizes, [80, 40, 96]);
}
