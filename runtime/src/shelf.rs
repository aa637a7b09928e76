//! A shelf: some slots for things that live for ever and that one owner after the
//! other uses. Putting and taking need no lock and no memory.
//!
//! *Invariants*: a thing stands in at most one slot, and who takes it out is its only
//! owner. After [`Shelf::close`] and the takes that follow it nothing stands on the
//! shelf: either who puts sees that it is closed, or who closes sees the thing.
//!
//! *Reserve*. Who says that the last thing is needed and then sees one
//! ([`Shelf::has_one_for`]) finds one whenever it looks for it, as long as all others
//! take by [`Shelf::take_unless_needed`]: two fences order the saying before the
//! looking, and the taking before the asking. So either the one sees that nothing is
//! left, or the last taker sees the need, and puts the thing back.
//!
//! *Ordering*: taking (Acquire) pairs with putting (Release), for what the last owner
//! did to the thing. The two Dekker patterns stand on SeqCst fences; all else is
//! Relaxed.

use lisle_lwp::shim::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Shelf<T: 'static> {
    slots: Box<[AtomicPtr<T>]>,
    closed: AtomicBool,
}

impl<T> Shelf<T> {
    /// So many slots, all empty.
    pub(crate) fn new(slots: usize) -> Shelf<T> {
        Shelf {
            slots: (0..slots)
                .map(|_| AtomicPtr::new(core::ptr::null_mut()))
                .collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Takes a thing, if there is one.
    pub(crate) fn take(&self) -> Option<&'static T> {
        self.slots.iter().find_map(|slot| {
            if slot.load(Ordering::Relaxed).is_null() {
                return None;
            }
            // Acquire: the last owner has done with it; pairs with the Release in
            // `put`.
            let thing = slot.swap(core::ptr::null_mut(), Ordering::Acquire);
            // SAFETY: null or what was put, which lives for ever.
            unsafe { thing.as_ref() }
        })
    }

    /// Takes a thing, but puts it back if it was the last one and is `needed`. `Err`
    /// with the thing if it cannot be put back: the shelf is closed, or full again.
    pub(crate) fn take_unless_needed(
        &self,
        needed: impl FnOnce() -> bool,
    ) -> Option<Result<&'static T, &'static T>> {
        let thing = self.take()?;
        // Pairs with the fence in `has_one_for`.
        fence(Ordering::SeqCst);
        if !needed() || !self.is_empty() {
            return Some(Ok(thing));
        }
        (!self.put(thing)).then_some(Err(thing))
    }

    /// Counts one more that needs the last thing, and says whether there is one, so
    /// that it stays.
    pub(crate) fn has_one_for(&self, needs: &AtomicUsize) -> bool {
        needs.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence in `take_unless_needed`.
        fence(Ordering::SeqCst);
        !self.is_empty()
    }

    /// Whether nothing stands here. A hint.
    pub(crate) fn is_empty(&self) -> bool {
        let gone = |slot: &AtomicPtr<T>| slot.load(Ordering::Relaxed).is_null();
        self.slots.iter().all(gone)
    }

    /// How many things stand here, and how many slots there are. A hint.
    pub(crate) fn load(&self) -> (usize, usize) {
        let stands = |slot: &&AtomicPtr<T>| !slot.load(Ordering::Relaxed).is_null();
        (self.slots.iter().filter(stands).count(), self.slots.len())
    }

    /// Puts the thing into a slot. `false` if all are taken, or the shelf is closed:
    /// then it is still the caller's.
    pub(crate) fn put(&self, thing: &'static T) -> bool {
        let null = core::ptr::null_mut();
        let thing = core::ptr::from_ref(thing).cast_mut();
        let slot = self.slots.iter().find(|slot| {
            // Release: as in `take`.
            slot.compare_exchange(null, thing, Ordering::Release, Ordering::Relaxed)
                .is_ok()
        });
        let Some(slot) = slot else { return false };
        // Pairs with the fence in `close`.
        fence(Ordering::SeqCst);
        !self.closed.load(Ordering::Relaxed)
            || slot
                .compare_exchange(thing, null, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
    }

    /// From now on nothing can be put here. The caller takes what is left.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Pairs with the fence in `put`.
        fence(Ordering::SeqCst);
    }
}
