//! The next slot: each thread is taken once, by its LWP or by a thief, with what was written before it was
//! put there.

use std::sync::Arc;

use lisle_lwp::explore::{ALL, Turns, outcomes};
use lisle_lwp::shim::Ordering;
use loom::thread::spawn;

use crate::model::new_block;
use crate::sched::next::NextSlot;
use crate::tcb::Tcb;

/// A thread with a number, whose context has not been saved.
fn thread(number: u64) -> &'static Tcb {
    let thread = new_block();
    thread.id.store(number, Ordering::Relaxed);
    thread
}

/// Saves its context, in a way, and makes it ready.
fn put(slot: &NextSlot, thread: &'static Tcb) -> Option<&'static Tcb> {
    // SAFETY: loom reports any concurrent access.
    thread
        .name
        .with_mut(|name| unsafe { *name = Some("saved".into()) });
    slot.put(thread)
}

/// Runs it: its context must be there, and is changed.
fn run(thread: &'static Tcb) -> u64 {
    assert_eq!(thread.name(), Some("saved"));
    // SAFETY: loom reports any concurrent access.
    thread.name.with_mut(|name| unsafe { *name = None });
    thread.id.load(Ordering::Relaxed)
}

/// Takes the next thread as the owner does.
fn pick(slot: &NextSlot) -> Option<&'static Tcb> {
    let thread = slot.look()?;
    slot.take_seen(thread, false).then_some(thread)
}

#[test]
fn put_against_steal() {
    let seen = outcomes(ALL, || {
        let (slot, turns) = (Arc::new(NextSlot::new()), Turns::new());
        let (its_slot, its_turns) = (slot.clone(), turns.clone());
        let thief = spawn(move || {
            its_turns.take();
            its_slot.take().map(run)
        });
        turns.take();
        assert!(put(&slot, thread(1)).is_none());
        turns.take();
        // The second displaces the first, if that is still there.
        let displaced = put(&slot, thread(2)).map(run);
        let stolen = thief.join().unwrap();
        let left = pick(&slot).map(run);
        let mut ran: Vec<u64> = [displaced, stolen, left].into_iter().flatten().collect();
        ran.sort_unstable();
        assert_eq!(ran, [1, 2]);
        assert!(!slot.is_taken());
        (displaced, stolen)
    });
    let expected = [(None, Some(1)), (Some(1), None), (Some(1), Some(2))];
    assert_eq!(Vec::from_iter(seen), expected);
}

#[test]
fn pick_against_steal() {
    let seen = outcomes(ALL, || {
        let (slot, turns) = (Arc::new(NextSlot::new()), Turns::new());
        assert!(put(&slot, thread(1)).is_none());
        let (its_slot, its_turns) = (slot.clone(), turns.clone());
        let thief = spawn(move || {
            its_turns.take();
            its_slot.take().map(run)
        });
        turns.take();
        let picked = pick(&slot).map(run);
        // What comes next is not mistaken for what was there.
        assert!(put(&slot, thread(2)).is_none());
        let stolen = thief.join().unwrap();
        let left = pick(&slot).map(run);
        let mut ran: Vec<u64> = [picked, stolen, left].into_iter().flatten().collect();
        ran.sort_unstable();
        assert_eq!(ran, [1, 2]);
        (picked, stolen)
    });
    let expected = [(None, Some(1)), (Some(1), None), (Some(1), Some(2))];
    assert_eq!(Vec::from_iter(seen), expected);
}

#[test]
fn steal_against_steal() {
    let seen = outcomes(ALL, || {
        let slot = Arc::new(NextSlot::new());
        let steal = || {
            let slot = slot.clone();
            spawn(move || slot.take().map(run))
        };
        let thieves = [steal(), steal()];
        assert!(put(&slot, thread(1)).is_none());
        let stolen = thieves.map(|thief| thief.join().unwrap());
        let left = pick(&slot).map(run);
        let ran = stolen.into_iter().chain([left]).flatten().count();
        assert_eq!(ran, 1);
        stolen.map(|stolen| stolen.is_some())
    });
    assert_eq!(seen.len(), 3);
}
