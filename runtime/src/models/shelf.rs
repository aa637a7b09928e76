//! Spares: each has one owner, none is left behind, and the last one stays while a
//! preempted thread needs it.

use std::sync::Arc;

use lisle_lwp::explore::outcomes;
use lisle_lwp::shim::{AtomicUsize, Cell, Ordering};
use loom::thread::spawn;

use crate::shelf::Shelf;

/// Touched by its owner only; loom sees if that is not so.
struct Thing(Cell<u32>);

fn thing() -> &'static Thing {
    Box::leak(Box::new(Thing(Cell::new(0))))
}

/// Its owner uses it.
fn used(thing: &'static Thing) -> &'static Thing {
    // SAFETY: the caller owns it.
    thing.0.with_mut(|uses| unsafe { *uses += 1 });
    thing
}

fn shelf(slots: usize, things: usize) -> Arc<Shelf<Thing>> {
    let shelf = Shelf::new(slots);
    (0..things).for_each(|_| assert!(shelf.put(thing())));
    Arc::new(shelf)
}

/// One puts, two take.
#[test]
fn put_against_take_and_take() {
    let seen = outcomes(None, || {
        let shelf = shelf(1, 0);
        let takers = [(); 2].map(|()| {
            let shelf = shelf.clone();
            spawn(move || shelf.take().map(used).is_some())
        });
        assert!(shelf.put(used(thing())));
        let got = takers.map(|taker| taker.join().unwrap());
        let left = shelf.take().map(used).is_some();
        let owners = got.iter().filter(|got| **got).count() + usize::from(left);
        assert_eq!(owners, 1, "{got:?}, left: {left}");
        got
    });
    assert_eq!(seen.len(), 3, "{seen:?}");
}

/// A kernel thread becomes a spare while the runtime stops: either it is told to end,
/// or it sees that it must.
#[test]
fn put_against_close() {
    let seen = outcomes(None, || {
        let shelf = shelf(1, 0);
        let other = shelf.clone();
        let putter = spawn(move || other.put(thing()));
        shelf.close();
        let ended = std::iter::from_fn(|| shelf.take()).count();
        let stood = putter.join().unwrap();
        assert!(shelf.is_empty(), "a spare waits for ever");
        assert_eq!(usize::from(stood), ended, "taken by nobody or twice");
        stood
    });
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// Hand-overs take spares while a signal handler relies on the last one.
#[test]
fn reserve_against_takers() {
    let seen = outcomes(Some(3), || {
        let shelf = shelf(2, 2);
        let needs = Arc::new(AtomicUsize::new(0));
        let takers = [(); 2].map(|()| {
            let (shelf, needs) = (shelf.clone(), needs.clone());
            spawn(move || {
                let needed = || needs.load(Ordering::Relaxed) != 0;
                matches!(shelf.take_unless_needed(needed), Some(Ok(_)))
            })
        });
        let has = shelf.has_one_for(&needs);
        let taken = takers.map(|taker| taker.join().unwrap());
        let left = std::iter::from_fn(|| shelf.take()).count();
        assert_eq!(left + taken.iter().filter(|taken| **taken).count(), 2);
        assert!(!has || left > 0, "who was promised the last one has none");
        (has, left)
    });
    assert!(
        seen.contains(&(true, 1)) && seen.contains(&(false, 0)),
        "{seen:?}"
    );
}

/// A taker that wants to put the last one back while the runtime stops keeps it.
#[test]
fn put_back_against_close() {
    let seen = outcomes(None, || {
        let shelf = shelf(1, 1);
        let other = shelf.clone();
        let taker = spawn(move || match other.take_unless_needed(|| true) {
            Some(Ok(_)) => unreachable!("it was the last one"),
            Some(Err(_)) => 1,
            None => 0,
        });
        shelf.close();
        let ended = std::iter::from_fn(|| shelf.take()).count();
        let kept = taker.join().unwrap();
        assert_eq!(ended + kept, 1, "{ended} ended, {kept} kept");
        kept
    });
    assert_eq!(seen.len(), 2, "{seen:?}");
}
