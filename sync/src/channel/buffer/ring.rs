//! A bounded buffer: a ring of slots, each with a turn of its own.
//!
//! ```text
//!   word = lap | index | SHUT          a position in the ring, of head or of tail
//!   slot = turn, message               turn = 2 * lap: free, 2 * lap + 1: written
//! ```
//!
//! Whoever moves the tail on owns the slot that it named until the slot says
//! written; whoever moves the head on owns it until the slot says free for the
//! next lap (Vyukov, "Bounded MPMC queue"). A word never comes back, so a
//! successful exchange of it also proves that what was read before still holds.
//!
//! *Ordering*: words are relaxed. What a message was made of is published by its
//! slot's turn: Release when written or freed, Acquire when looked at. What the
//! lock guards is published by the lock: who finds a word shut goes there.
//!
//! A slot of zeroes is free for lap 0, so that a large ring is made of memory
//! that the system has yet to provide.

use core::mem::MaybeUninit;

use lisle_lwp::shim::{AtomicU32, AtomicUsize, Cell, Ordering};

use super::{Crowd, InFlight, Padded, SHUT};

struct Slot<T> {
    turn: AtomicU32,
    message: Cell<MaybeUninit<T>>,
}

/// See the module documentation.
pub(in super::super) struct Ring<T> {
    pub(super) head: Padded<AtomicUsize>,
    pub(super) tail: Padded<AtomicUsize>,
    slots: Box<[Slot<T>]>,
    /// Where the lap begins in a word.
    shift: u32,
}

// SAFETY: a message is moved in by one thread and out by one.
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Ring<T> {}

/// Slots of zeroes; `None` if the system has not so much.
#[cfg(not(lisle_loom))]
fn free_slots<T>(capacity: usize) -> Option<Box<[Slot<T>]>> {
    let layout = std::alloc::Layout::array::<Slot<T>>(capacity).ok()?;
    // SAFETY: a slot has a size, and there is at least one.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<Slot<T>>();
    if memory.is_null() {
        return None;
    }
    let slots = core::ptr::slice_from_raw_parts_mut(memory, capacity);
    // SAFETY: of this layout, and zeroes are a turn and no message.
    Some(unsafe { Box::from_raw(slots) })
}

/// The same of loom's atomics, which are not made of zeroes.
#[cfg(lisle_loom)]
fn free_slots<T>(capacity: usize) -> Option<Box<[Slot<T>]>> {
    let slot = |_| Slot {
        turn: AtomicU32::new(0),
        message: Cell::new(MaybeUninit::uninit()),
    };
    (capacity < 1 << 10).then(|| (0..capacity).map(slot).collect())
}

impl<T> Ring<T> {
    /// A ring of so many slots, at least one; `None` if the system has not so
    /// much memory.
    pub(super) fn new(capacity: usize) -> Option<Ring<T>> {
        let slots = free_slots(capacity)?;
        Some(Ring {
            head: Padded(AtomicUsize::new(0)),
            tail: Padded(AtomicUsize::new(0)),
            slots,
            shift: capacity.next_power_of_two().trailing_zeros() + 1,
        })
    }

    #[inline(always)]
    fn index(&self, word: usize) -> usize {
        (word & ((1 << self.shift) - 1)) >> 1
    }

    /// The turn of a slot that is free for the lap of this word.
    fn free(&self, word: usize) -> u32 {
        // What is cut off counts billions of laps.
        (word >> self.shift << 1) as u32
    }

    /// The next position, as shut as the last.
    #[inline(always)]
    fn next(&self, word: usize) -> usize {
        if self.index(word) + 1 < self.slots.len() {
            word + 2
        } else {
            self.next_lap(word)
        }
    }

    /// A call, so that the exchange of a word waits for no more than a sum: it is what the next
    /// message waits for.
    #[cold]
    #[inline(never)]
    fn next_lap(&self, word: usize) -> usize {
        ((word >> self.shift) + 1) << self.shift | word & SHUT
    }

    #[inline(always)]
    fn slot(&self, word: usize) -> &Slot<T> {
        let index = self.index(word);
        debug_assert!(index < self.slots.len());
        // SAFETY: `next` keeps the index below the number of slots.
        unsafe { self.slots.get_unchecked(index) }
    }

    /// How many messages there are, being written or read included. Exact if
    /// both words are shut.
    pub(super) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        let laps = (tail >> self.shift).wrapping_sub(head >> self.shift) as isize;
        let len = laps * self.slots.len() as isize + self.index(tail) as isize
            - self.index(head) as isize;
        // Out of range if the two were looked at far apart.
        len.clamp(0, self.slots.len() as isize) as usize
    }

    /// Claims a slot to write, unless it is shut or there is no room.
    #[inline(always)]
    pub(super) fn claim_in(&self) -> Option<Claim<'_, T>> {
        let mut crowd = Crowd::new();
        let mut tail = self.tail.load(Ordering::Relaxed);
        while tail & SHUT == 0 {
            let claim = self.claim(tail, self.free(tail));
            if claim.is_its_turn() {
                match self.move_on(&self.tail, tail) {
                    Ok(_) => return Some(claim),
                    Err(now) => crowd.lost(tail, now),
                }
                tail = self.tail.load(Ordering::Relaxed);
            } else {
                let now = self.tail.load(Ordering::Relaxed);
                if now == tail {
                    break;
                }
                tail = now;
            }
        }
        None
    }

    /// Claims the first message, unless it is shut or there is none.
    #[inline(always)]
    pub(super) fn claim_out(&self) -> Option<Claim<'_, T>> {
        let mut crowd = Crowd::new();
        let mut head = self.head.load(Ordering::Relaxed);
        while head & SHUT == 0 {
            let claim = self.claim(head, self.free(head) + 1);
            if claim.is_its_turn() {
                match self.move_on(&self.head, head) {
                    Ok(_) => return Some(claim),
                    Err(now) => crowd.lost(head, now),
                }
                head = self.head.load(Ordering::Relaxed);
            } else {
                let now = self.head.load(Ordering::Relaxed);
                if now == head {
                    break;
                }
                head = now;
            }
        }
        None
    }

    /// As [`Ring::claim_in`], shut or not. Waits for a slot that is being read.
    /// For the holder of the lock.
    pub(super) fn claim_in_anyway(&self) -> Option<Claim<'_, T>> {
        let mut in_flight = InFlight::new();
        loop {
            let tail = self.tail.load(Ordering::Relaxed);
            let claim = self.claim(tail, self.free(tail));
            if claim.is_its_turn() {
                if self.move_on(&self.tail, tail).is_ok() {
                    return Some(claim);
                }
            } else if self.len() == self.slots.len() {
                return None;
            } else {
                in_flight.pause();
            }
        }
    }

    /// As [`Ring::claim_out`], shut or not. Waits for a slot that is being
    /// written. For the holder of the lock.
    pub(super) fn claim_out_anyway(&self) -> Option<Claim<'_, T>> {
        let mut in_flight = InFlight::new();
        loop {
            let head = self.head.load(Ordering::Relaxed);
            let claim = self.claim(head, self.free(head) + 1);
            if claim.is_its_turn() {
                if self.move_on(&self.head, head).is_ok() {
                    return Some(claim);
                }
            } else if (head ^ self.tail.load(Ordering::Relaxed)) & !SHUT == 0 {
                return None;
            } else {
                in_flight.pause();
            }
        }
    }

    #[inline(always)]
    fn claim(&self, word: usize, turn: u32) -> Claim<'_, T> {
        let slot = self.slot(word);
        Claim { slot, turn }
    }

    #[inline(always)]
    fn move_on(&self, end: &AtomicUsize, word: usize) -> Result<usize, usize> {
        // Relaxed: see the module documentation.
        let next = self.next(word);
        end.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed)
    }
}

/// A slot, and the turn at which it is the caller's once an end has moved past
/// it.
pub(in super::super) struct Claim<'a, T> {
    slot: &'a Slot<T>,
    turn: u32,
}

impl<T> Claim<'_, T> {
    #[inline(always)]
    fn is_its_turn(&self) -> bool {
        // Acquire: pairs with the Release in `pass_on`.
        self.slot.turn.load(Ordering::Acquire) == self.turn
    }

    #[inline(always)]
    fn pass_on(self) {
        let turn = self.turn.wrapping_add(1);
        // Release: pairs with the Acquire in `is_its_turn`.
        self.slot.turn.store(turn, Ordering::Release);
    }

    /// Writes the message.
    ///
    /// # Safety
    /// It was claimed to be written.
    #[inline(always)]
    pub(super) unsafe fn write(self, message: T) {
        self.slot.message.with_mut(|place| {
            // SAFETY: the slot is ours, and free.
            unsafe { (*place).write(message) };
        });
        self.pass_on();
    }

    /// Reads the message.
    ///
    /// # Safety
    /// It was claimed to be read.
    #[inline(always)]
    pub(super) unsafe fn read(self) -> T {
        // SAFETY: the slot is ours, and written.
        let read = |place: *const MaybeUninit<T>| unsafe { (*place).assume_init_read() };
        let message = self.slot.message.with(read);
        self.pass_on();
        message
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while let Some(claim) = self.claim_out_anyway() {
            // SAFETY: claimed to be read.
            drop(unsafe { claim.read() });
        }
    }
}
