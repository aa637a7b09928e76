//! An unbounded buffer: a list of blocks of slots.
//!
//! ```text
//!   head ─► [ ✓ ✓ m m m m m ] ─► [ m m m m m m m ] ─► [ m m _ _ _ _ _ ] ◄─ tail
//!   word = number of the slot | SHUT;  number % LAP = slot in its block
//! ```
//!
//! Whoever moves the tail on owns the slot that it named until the slot says
//! written; whoever moves the head on owns it from then. The last number of each
//! lap names no slot: while an end stands there, whoever took the last slot of
//! the block is taking that end to the next block, and the others wait for it,
//! some instructions long. (The list of crossbeam-channel has this numbering.)
//!
//! *Blocks go back.* Each read counts in its block; the last one frees it. By
//! then all its slots were written, and the writer of the last slot had linked
//! the next block before. A block's first slot is only claimed once the end
//! stands at it, so nobody else knows the block.
//!
//! *Ordering*. A word is moved to a block's first slot with Release and read with
//! Acquire, so whoever reads it finds that block, or a later one; then its word
//! is old and its exchange fails. Messages are published by their slots: Release
//! when written, Acquire when read. The count is both: what all readers did comes
//! before the memory is freed.

use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use lisle_lwp::shim::{AtomicBool, AtomicPtr, AtomicUsize, Cell, Ordering};

use super::{Crowd, InFlight, Padded, SHUT};

/// Numbers in a lap, one more than slots in a block.
const LAP: usize = if cfg!(lisle_loom) { 3 } else { 32 };
const SLOTS: usize = LAP - 1;

struct Slot<T> {
    message: Cell<MaybeUninit<T>>,
    written: AtomicBool,
}

pub(super) struct Block<T> {
    slots: [Slot<T>; SLOTS],
    read: AtomicUsize,
    next: AtomicPtr<Block<T>>,
    /// So that models report a block that is never freed.
    #[cfg(lisle_loom)]
    _track: lisle_lwp::explore::Track<()>,
}

impl<T> Block<T> {
    /// A block whose slots are empty, made where it stays: it may be larger than
    /// a stack.
    fn new() -> *mut Block<T> {
        let block = Box::into_raw(Box::<Block<T>>::new_uninit()).cast::<Block<T>>();
        // SAFETY: the memory is ours, and everything in it is written.
        unsafe {
            for at in 0..SLOTS {
                let slot = &raw mut (*block).slots[at];
                let message = Cell::new(MaybeUninit::uninit());
                (&raw mut (*slot).message).write(message);
                (&raw mut (*slot).written).write(AtomicBool::new(false));
            }
            (&raw mut (*block).read).write(AtomicUsize::new(0));
            (&raw mut (*block).next).write(AtomicPtr::new(ptr::null_mut()));
            #[cfg(lisle_loom)]
            (&raw mut (*block)._track).write(lisle_lwp::explore::Track::new(()));
        }
        block
    }
}

/// Blocks that nobody else knows, freed when it is dropped: what was emptied, or one
/// to be filled.
pub(in super::super) struct Bin<T>(*mut Block<T>);

impl<T> Bin<T> {
    #[inline]
    pub(in super::super) fn new() -> Bin<T> {
        Bin(ptr::null_mut())
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    /// Makes a block. The bin is empty.
    pub(super) fn bring(&mut self) {
        debug_assert!(self.is_empty());
        self.0 = Block::new();
    }

    /// # Safety
    /// The block is the caller's.
    unsafe fn put(&mut self, block: *mut Block<T>) {
        // So that models see that it is freed after all reads.
        #[cfg(lisle_loom)]
        // SAFETY: the caller's promise.
        for slot in unsafe { &(*block).slots } {
            slot.message.with_mut(|_| ());
        }
        // Relaxed: it is ours.
        // SAFETY: the caller's promise.
        unsafe { (*block).next.store(self.0, Ordering::Relaxed) };
        self.0 = block;
    }

    #[cold]
    fn empty(&mut self) {
        while !self.0.is_null() {
            // SAFETY: put there by its owner.
            let block = unsafe { Box::from_raw(self.0) };
            // Relaxed: as above.
            self.0 = block.next.load(Ordering::Relaxed);
        }
    }
}

impl<T> Drop for Bin<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_null() {
            self.empty();
        }
    }
}

/// One end of the list.
struct End<T> {
    word: AtomicUsize,
    block: AtomicPtr<Block<T>>,
}

impl<T> End<T> {
    fn new() -> End<T> {
        End {
            word: AtomicUsize::new(0),
            block: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Moves past the slot that the word names, if that is what it still is.
    #[inline(always)]
    fn step(&self, word: usize) -> Result<usize, usize> {
        // Relaxed: the word is as it was when it was read, or is read again.
        let relaxed = Ordering::Relaxed;
        self.word.compare_exchange(word, word + 2, relaxed, relaxed)
    }

    /// Takes the end, which stands behind its block, to the next one.
    fn move_to(&self, block: *mut Block<T>) {
        // Relaxed: published by the word.
        self.block.store(block, Ordering::Relaxed);
        // Release: pairs with the Acquire of whoever reads the word.
        self.word.fetch_add(2, Ordering::Release);
    }
}

struct Head<T> {
    end: End<T>,
    /// A number that the tail has passed, so that a receiver need not look at
    /// the tail each time.
    passed: AtomicUsize,
}

/// See the module documentation.
pub(in super::super) struct List<T> {
    head: Padded<Head<T>>,
    tail: Padded<End<T>>,
}

// SAFETY: a message is moved in by one thread and out by one.
unsafe impl<T: Send> Send for List<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for List<T> {}

/// Which of a block's slots a word names; `SLOTS` if none.
fn offset(word: usize) -> usize {
    (word >> 1) % LAP
}

/// How many slots come before the one that a word names.
fn slots_before(word: usize) -> usize {
    (word >> 1) / LAP * SLOTS + offset(word)
}

impl<T> List<T> {
    pub(super) fn new() -> List<T> {
        List {
            head: Padded(Head {
                end: End::new(),
                passed: AtomicUsize::new(0),
            }),
            tail: Padded(End::new()),
        }
    }

    pub(super) fn head(&self) -> &AtomicUsize {
        &self.head.end.word
    }

    pub(super) fn tail(&self) -> &AtomicUsize {
        &self.tail.word
    }

    /// How many messages there are, being written included. Exact if both words
    /// are shut.
    pub(super) fn len(&self) -> usize {
        // Relaxed: who shut them had the lock, which the caller has.
        let head = self.head.end.word.load(Ordering::Relaxed);
        let tail = self.tail.word.load(Ordering::Relaxed);
        let len = slots_before(tail).wrapping_sub(slots_before(head));
        // Negative if the tail was looked at too early.
        if len > usize::MAX / 2 { 0 } else { len }
    }

    /// Claims a slot to write, unless it is shut.
    ///
    /// What is common is tried without a loop: so it saves no registers, which would cost half as
    /// much as all else.
    #[inline(never)]
    pub(super) fn claim_in(&self) -> Option<Claim<T>> {
        // Orderings: as in `claim_in_as`.
        let tail = self.tail.word.load(Ordering::Acquire);
        if tail & SHUT != 0 {
            return None;
        }
        let at = offset(tail);
        let block = NonNull::new(self.tail.block.load(Ordering::Acquire));
        // A block's last slot has more to it.
        let (true, Some(block)) = (at + 1 < SLOTS, block) else {
            return self.claim_in_after_all(tail, tail);
        };
        match self.tail.step(tail) {
            Ok(_) => Some(Claim { block, at }),
            Err(now) => self.claim_in_after_all(tail, now),
        }
    }

    /// Goes on where [`List::claim_in`] stopped: the tail was the second instead of the first.
    #[inline(never)]
    fn claim_in_after_all(&self, tail: usize, now: usize) -> Option<Claim<T>> {
        let mut crowd = Crowd::new();
        crowd.lost(tail, now);
        self.claim_in_as(&mut Bin::new(), Some(crowd))
    }

    /// As [`List::claim_in`], shut or not; but it allocates nothing, and fails if it
    /// needs a block and there is none to spare.
    pub(super) fn claim_in_anyway(&self, spare: &mut Bin<T>) -> Option<Claim<T>> {
        self.claim_in_as(spare, None)
    }

    /// Without a crowd to be courteous to, the caller has the lock: it passes though it is shut,
    /// and allocates nothing.
    #[inline]
    fn claim_in_as(&self, spare: &mut Bin<T>, mut crowd: Option<Crowd>) -> Option<Claim<T>> {
        let (mut in_flight, has_lock) = (InFlight::new(), crowd.is_none());
        // Acquire: pairs with the Release in `move_to`.
        let mut tail = self.tail.word.load(Ordering::Acquire);
        while has_lock || tail & SHUT == 0 {
            let at = offset(tail);
            if at == SLOTS {
                in_flight.pause();
                // Acquire: as above.
                tail = self.tail.word.load(Ordering::Acquire);
                continue;
            }
            // Acquire: pairs with the Release in `begin`; later blocks came with
            // the word.
            let block = NonNull::new(self.tail.block.load(Ordering::Acquire));
            // Before the slot is claimed, so that others need not wait for it.
            if (block.is_none() || at + 1 == SLOTS) && spare.is_empty() {
                if has_lock {
                    return None;
                }
                spare.bring();
            }
            let Some(block) = block else {
                self.begin(spare);
                // The word's block is there now; it may be full soon.
                continue;
            };
            match self.tail.step(tail) {
                Ok(_) => {
                    if at + 1 == SLOTS {
                        // SAFETY: the slot is ours: it keeps the block.
                        self.link(unsafe { block.as_ref() }, spare);
                    }
                    return Some(Claim { block, at });
                }
                Err(now) => {
                    if let Some(crowd) = &mut crowd {
                        crowd.lost(tail, now);
                    }
                    // Acquire: as above.
                    tail = self.tail.word.load(Ordering::Acquire);
                }
            }
        }
        None
    }

    /// Takes the tail, which is the caller's, from a full block to the next.
    fn link(&self, block: &Block<T>, spare: &mut Bin<T>) {
        let next = core::mem::replace(&mut spare.0, ptr::null_mut());
        self.tail.move_to(next);
        // Release: pairs with the Acquire in `follow`.
        block.next.store(next, Ordering::Release);
    }

    /// Puts the first block there, unless somebody else has.
    #[cold]
    fn begin(&self, spare: &mut Bin<T>) {
        let first = spare.0;
        // Release: pairs with the Acquire in `claim_in_as`. Relaxed if somebody else
        // has: the caller looks at the block again.
        let begun = self.tail.block.compare_exchange(
            ptr::null_mut(),
            first,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if begun.is_ok() {
            spare.0 = ptr::null_mut();
            // Release: pairs with the Acquire in `claim_out_as`.
            self.head.end.block.store(first, Ordering::Release);
        }
    }

    /// Claims the first message, unless it is shut or there is none. Written as
    /// [`List::claim_in`], and why.
    #[inline(never)]
    pub(super) fn claim_out(&self) -> Option<Claim<T>> {
        // Orderings: as in `claim_out_as`.
        let head = self.head.end.word.load(Ordering::Acquire);
        if head & SHUT != 0 {
            return None;
        }
        let at = offset(head);
        if at + 1 < SLOTS {
            if !self.has_passed(head) {
                return None;
            }
            let block = NonNull::new(self.head.end.block.load(Ordering::Acquire));
            if let Some(block) = block {
                return match self.head.end.step(head) {
                    Ok(_) => Some(Claim { block, at }),
                    Err(now) => self.claim_out_after_all(head, now),
                };
            }
        }
        self.claim_out_after_all(head, head)
    }

    /// As [`List::claim_in_after_all`].
    #[inline(never)]
    fn claim_out_after_all(&self, head: usize, now: usize) -> Option<Claim<T>> {
        let mut crowd = Crowd::new();
        crowd.lost(head, now);
        self.claim_out_as(Some(crowd))
    }

    /// As [`List::claim_out`], shut or not.
    pub(super) fn claim_out_anyway(&self) -> Option<Claim<T>> {
        self.claim_out_as(None)
    }

    /// `crowd`: as for [`List::claim_in_as`].
    #[inline]
    fn claim_out_as(&self, mut crowd: Option<Crowd>) -> Option<Claim<T>> {
        let (mut in_flight, has_lock) = (InFlight::new(), crowd.is_none());
        // Acquire: pairs with the Release in `move_to`.
        let mut head = self.head.end.word.load(Ordering::Acquire);
        while has_lock || head & SHUT == 0 {
            let at = offset(head);
            if at == SLOTS {
                in_flight.pause();
                // Acquire: as above.
                head = self.head.end.word.load(Ordering::Acquire);
                continue;
            }
            if !self.has_passed(head) {
                return None;
            }
            // Acquire: pairs with the Release in `begin`; later blocks came with
            // the word.
            let Some(block) = NonNull::new(self.head.end.block.load(Ordering::Acquire)) else {
                // Somebody is bringing the first one.
                in_flight.pause();
                continue;
            };
            match self.head.end.step(head) {
                Ok(_) => {
                    if at + 1 == SLOTS {
                        // SAFETY: the slot is ours: it keeps the block.
                        self.follow(unsafe { block.as_ref() });
                    }
                    return Some(Claim { block, at });
                }
                Err(now) => {
                    if let Some(crowd) = &mut crowd {
                        crowd.lost(head, now);
                    }
                    // Acquire: as above.
                    head = self.head.end.word.load(Ordering::Acquire);
                }
            }
        }
        None
    }

    /// Takes the head, which is the caller's, from an empty block to the next.
    fn follow(&self, block: &Block<T>) {
        let mut in_flight = InFlight::new();
        loop {
            // Acquire: pairs with the Release in `link`.
            let next = block.next.load(Ordering::Acquire);
            if !next.is_null() {
                return self.head.end.move_to(next);
            }
            in_flight.pause();
        }
    }

    /// Whether the tail has passed a slot.
    #[inline]
    fn has_passed(&self, head: usize) -> bool {
        let is_before = |number: usize| (number.wrapping_sub(head >> 1) as isize) > 0;
        // Relaxed: a number says what the tail had passed when it was looked at,
        // and it never goes back.
        if is_before(self.head.passed.load(Ordering::Relaxed)) {
            return true;
        }
        let tail = self.tail.word.load(Ordering::Relaxed) >> 1;
        self.head.passed.store(tail, Ordering::Relaxed);
        is_before(tail)
    }
}

/// A slot that an end has moved past. It keeps its block.
pub(in super::super) struct Claim<T> {
    /// Not null, so that two registers hold the answer whether there is a claim.
    block: NonNull<Block<T>>,
    at: usize,
}

impl<T> Claim<T> {
    /// Writes the message.
    ///
    /// # Safety
    /// It was claimed to be written, and the list lives.
    #[inline(always)]
    pub(super) unsafe fn write(self, message: T) {
        // SAFETY: the block is there until all its slots are read.
        let slot = unsafe { &self.block.as_ref().slots[self.at] };
        slot.message.with_mut(|place| {
            // SAFETY: the slot is ours.
            unsafe { (*place).write(message) };
        });
        // Release: pairs with the Acquire in `read`.
        slot.written.store(true, Ordering::Release);
    }

    /// Reads the message, when it is written.
    ///
    /// # Safety
    /// It was claimed to be read, and the list lives.
    #[inline(always)]
    pub(super) unsafe fn read(self, bin: &mut Bin<T>) -> T {
        // SAFETY: the block is there until all its slots are read.
        let block = unsafe { self.block.as_ref() };
        let slot = &block.slots[self.at];
        let mut in_flight = InFlight::new();
        // Acquire: pairs with the Release in `write`.
        while !slot.written.load(Ordering::Acquire) {
            in_flight.pause();
        }
        // SAFETY: the slot is ours, and written.
        let read = |place: *const MaybeUninit<T>| unsafe { (*place).assume_init_read() };
        let message = slot.message.with(read);
        // Release: the message is out before the block goes. Acquire: so it is in
        // all other slots.
        if block.read.fetch_add(1, Ordering::AcqRel) + 1 == SLOTS {
            // SAFETY: all slots were read, each when it was written, so nobody
            // has anything to do here any more.
            unsafe { bin.put(self.block.as_ptr()) };
        }
        message
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        while let Some(claim) = self.claim_out_anyway() {
            // SAFETY: claimed to be read.
            drop(unsafe { claim.read(&mut Bin::new()) });
        }
        // Relaxed: whoever had a part in it has come before.
        let last = self.tail.block.load(Ordering::Relaxed);
        if !last.is_null() {
            // SAFETY: nobody else is left. Both ends stand in one block.
            unsafe { Bin::new().put(last) };
        }
    }
}
