//! Room in a control block for one value of any type. What does not fit lies on the heap.
//!
//! *Invariant*: there is one value or none, and who takes it knows by whom it was put there, of which type, and that
//! nobody else takes it. A thread's room holds what the thread begins with until that has been taken, and then its
//! result: see [`packet`](super::packet).

// Not the shim's: no model looks at it.
#[allow(clippy::disallowed_types)]
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc};

const BYTES: usize = 64;

/// See the module documentation.
#[repr(C, align(16))]
#[allow(clippy::disallowed_types)]
pub(crate) struct Room(UnsafeCell<MaybeUninit<[u8; BYTES]>>);

const fn fits<V>() -> bool {
    size_of::<V>() <= BYTES && align_of::<V>() <= align_of::<Room>()
}

#[allow(clippy::disallowed_types)]
impl Room {
    pub(crate) const fn new() -> Room {
        Room(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Makes room for a value, which the caller writes: from then on there is one. Null if there is no memory.
    ///
    /// # Safety
    /// There is no value, and nobody else uses the room.
    #[inline]
    pub(super) unsafe fn make<V>(&self) -> *mut V {
        let room = self.0.get();
        if fits::<V>() {
            return room.cast();
        }
        let layout = Layout::new::<V>();
        let place: *mut V = match layout.size() {
            0 => NonNull::dangling().as_ptr(),
            // SAFETY: not of size zero.
            _ => unsafe { alloc(layout).cast() },
        };
        // SAFETY: by contract ours, large enough and aligned.
        unsafe { room.cast::<*mut V>().write(place) };
        place
    }

    /// Where the value lies.
    ///
    /// # Safety
    /// There is one of this type, and nobody else uses the room.
    #[inline]
    pub(super) unsafe fn place<V>(&self) -> *mut V {
        let room = self.0.get();
        match fits::<V>() {
            true => room.cast::<V>(),
            // SAFETY: `make` has left its address.
            false => unsafe { room.cast::<*mut V>().read() },
        }
    }

    /// Frees the place of a value that has been read out of it, which is not dropped.
    ///
    /// # Safety
    /// The place comes from [`Room::place`] and is not used again.
    #[inline]
    pub(super) unsafe fn clear<V>(place: *mut V) {
        let layout = Layout::new::<V>();
        if !fits::<V>() && layout.size() > 0 {
            // SAFETY: `make` has allocated it.
            unsafe { dealloc(place.cast(), layout) };
        }
    }

    /// # Safety
    /// As for [`Room::place`]. From here on there is none.
    #[inline]
    pub(super) unsafe fn take<V>(&self) -> V {
        // SAFETY: passed on; the value is read once.
        unsafe {
            let place = self.place::<V>();
            let value = place.read();
            Room::clear(place);
            value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Puts the value, reads it in place, and takes it.
    fn goes_and_comes<V: PartialEq + Clone + core::fmt::Debug>(value: V) {
        let room = Room::new();
        // SAFETY: the room is this test's own.
        unsafe {
            room.make::<V>().write(value.clone());
            assert_eq!(*room.place::<V>(), value);
            assert_eq!(room.take::<V>(), value);
        }
    }

    #[test]
    fn values_of_every_size_and_alignment() {
        #[repr(align(64))]
        #[derive(Debug, Clone, PartialEq)]
        struct Aligned(u8);
        #[repr(align(64))]
        #[derive(Debug, Clone, PartialEq)]
        struct AlignedNothing;
        goes_and_comes(());
        goes_and_comes(7_u8);
        goes_and_comes([1_u64; 8]);
        goes_and_comes([2_u64; 9]);
        goes_and_comes([3_u8; 10_000]);
        goes_and_comes(5_u128);
        goes_and_comes(Aligned(9));
        goes_and_comes(AlignedNothing);
        goes_and_comes(String::from("text"));
    }

    #[test]
    fn what_was_read_in_place_is_not_dropped_twice() {
        let counted = Arc::new(());
        let room = Room::new();
        // SAFETY: as above.
        unsafe {
            room.make::<(Arc<()>, [u64; 20])>()
                .write((counted.clone(), [0; 20]));
            let place = room.place::<(Arc<()>, [u64; 20])>();
            let (taken, _) = place.read();
            Room::clear(place);
            assert_eq!(Arc::strong_count(&counted), 2);
            drop(taken);
        }
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}
