//! The injector: every thread taken once, in the order of its pusher, with what
//! its pusher wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use lisle_lwp::explore::{Turns, outcomes};
use lisle_lwp::shim::Ordering;
use loom::thread::{JoinHandle, spawn};

use crate::model::new_block;
use crate::sched::queue::Injector;
use crate::tcb::Tcb;

/// A thread that pusher `pusher` pushes as its `number`th.
fn item(pusher: u64, number: u64) -> &'static Tcb {
    let thread = new_block();
    thread.id.store(pusher * 10 + number, Ordering::Relaxed);
    thread
}

fn push(injector: &Injector, thread: &'static Tcb) {
    // SAFETY: loom reports any concurrent access.
    thread
        .name
        .with_mut(|name| unsafe { *name = Some("ready".into()) });
    injector.push(thread);
}

/// Takes everything and checks each thread and its place.
fn take(injector: &Injector, last: &mut BTreeMap<u64, u64>) -> usize {
    injector.take_all(|thread| {
        assert_eq!(thread.name(), Some("ready"));
        // The taker owns the link from here on.
        thread.link.store(std::ptr::null_mut(), Ordering::Relaxed);
        let id = thread.id.load(Ordering::Relaxed);
        let before = last.insert(id / 10, id % 10).unwrap_or(0);
        assert_eq!(id % 10, before + 1, "each once, in its pusher's order");
    })
}

/// A pusher whose pushes come before or after any other step.
fn start<const N: usize>(
    injector: &Arc<Injector>,
    turns: &Turns,
    items: [&'static Tcb; N],
) -> JoinHandle<()> {
    let (injector, turns) = (injector.clone(), turns.clone());
    spawn(move || {
        for thread in items {
            turns.take();
            push(&injector, thread);
        }
        turns.take();
    })
}

#[test]
fn push_against_take() {
    let seen = outcomes(Some(6), || {
        let (injector, turns) = (Arc::new(Injector::new()), Turns::new());
        let pusher = start(&injector, &turns, [item(1, 1), item(1, 2)]);
        let mut last = BTreeMap::new();
        turns.take();
        let early = take(&injector, &mut last);
        pusher.join().unwrap();
        assert_eq!(early + take(&injector, &mut last), 2);
        assert!(injector.is_empty());
        early
    });
    assert_eq!(Vec::from_iter(seen), [0, 1, 2]);
}

#[test]
fn push_against_push() {
    let seen = outcomes(Some(4), || {
        let (injector, turns) = (Arc::new(Injector::new()), Turns::new());
        let first = start(&injector, &turns, [item(1, 1), item(1, 2)]);
        let second = start(&injector, &turns, [item(2, 1)]);
        let mut last = BTreeMap::new();
        turns.take();
        let early = take(&injector, &mut last);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(early + take(&injector, &mut last), 3);
        early
    });
    assert_eq!(Vec::from_iter(seen), [0, 1, 2, 3]);
}

#[test]
fn take_against_take() {
    let seen = outcomes(Some(5), || {
        let injector = Arc::new(Injector::new());
        let items = [item(1, 1), item(1, 2)];
        let takers = [injector.clone(), injector.clone()].map(|injector| {
            spawn(move || {
                injector.take_all(|thread| {
                    assert_eq!(thread.name(), Some("ready"));
                    // SAFETY: taken, so ours alone; loom reports it if not.
                    thread.name.with_mut(|name| unsafe { *name = None });
                })
            })
        });
        items.iter().for_each(|thread| push(&injector, thread));
        let taken = takers.map(|t| t.join().unwrap());
        assert_eq!(taken[0] + taken[1] + injector.take_all(|_| ()), 2);
        taken
    });
    assert_eq!(seen.len(), 6);
}
