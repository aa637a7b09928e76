//! A slab: one mapping that holds a header page and many stacks of one class.
//!
//! ```text
//!   | header page | guard 0 | stack 0 … | guard 1 | stack 1 … |  …
//!                 ^ base    (stack i lies at base + i × class)
//! ```
//!
//! The header holds two bits per stack, both under the lock of the class:
//!
//! | free | guarded | meaning |
//! |---|---|---|
//! | 1 | 0 | bare: never used, has no guard yet |
//! | 1 | 1 | cold: trimmed, taken back unused, or made for a promise |
//! | 0 | 1 | in use, warm, or on its way between two states |
//! | 0 | 0 | no such stack |
//!
//! # The register
//! All slabs of the process hang in one append-only list, so that a signal handler can ask whether
//! a faulting address is in a guard. A slab is published by the Release exchange of the head (pairs
//! with the Acquire in [`is_in_guard`]). The header of a slab that was unmapped stays, marked dead:
//! a handler may be reading it. That is a page per dead slab; pools are made for the life of the
//! process.

use core::ptr::NonNull;
use std::io;

use super::{StackSize, guard};
use crate::shim::{AtomicBool, AtomicPtr, AtomicU32, Cell, Ordering};
use crate::sys::{self, Advice};

/// A slab holds at most this many bytes of stacks …
const MAX_BYTES: usize = 256 << 20;
/// … hence at most this many stacks.
const MAX_STACKS: usize = MAX_BYTES >> super::MIN_SHIFT;
/// The first slab of a class holds this many.
const FIRST_STACKS: usize = 16;

const WORDS: usize = MAX_STACKS / 64;

static REGISTER: AtomicPtr<Slab> = AtomicPtr::new(core::ptr::null_mut());

/// Stacks are numbered above what the kernel uses for its threads (2^22) and below what fits into
/// the owner field of a futex (2^30).
const NUMBERS: core::ops::Range<u32> = (1 << 22) + 1..1 << 30;

/// The next free number.
static NEXT_NUMBER: AtomicU32 = AtomicU32::new(NUMBERS.start);

/// Takes numbers for so many stacks; they are never used again.
fn number(stacks: usize) -> io::Result<u32> {
    let take = |first: u32| {
        first
            .checked_add(stacks as u32)
            .filter(|end| *end <= NUMBERS.end)
    };
    // Relaxed: a counter, it guards no data.
    NEXT_NUMBER
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// The header; it lies at the beginning of the mapping.
#[derive(Debug)]
pub(super) struct Slab {
    // Immutable once registered.
    class: StackSize,
    stacks: usize,
    base: *mut u8,
    next_registered: *mut Slab,
    /// The number of the first stack; the others follow.
    first_number: u32,

    // Any thread, atomically.
    pub(super) dead: AtomicBool,

    // Under the lock of the class.
    state: Cell<SlabState>,
}

/// What changes in a slab, all of it under the lock of the class.
#[derive(Debug)]
pub(super) struct SlabState {
    free: [u64; WORDS],
    guarded: [u64; WORDS],
    /// How many are cold, how many have no guard yet.
    cold: usize,
    bare: usize,
    /// Guards that count in a budget.
    protected: usize,
    /// No word below this one has a free bit.
    first_word: usize,
    /// The class's lists of slabs with cold stacks, and of those with bare ones.
    pub(super) next_with_cold: Option<NonNull<Slab>>,
    pub(super) next_with_bare: Option<NonNull<Slab>>,
    /// The class's list of all its slabs.
    pub(super) next_in_class: Option<NonNull<Slab>>,
}

/// How many stacks the slab after one of `last` stacks should hold (0: there is none yet).
pub(super) fn next_count(class: StackSize, last: usize) -> usize {
    let most = (MAX_BYTES / class.bytes()).max(1);
    (last * 2).clamp(FIRST_STACKS.min(most), most)
}

impl Slab {
    /// Maps and registers a slab of `stacks` stacks, or of fewer if that many do not fit into the
    /// address space.
    pub(super) fn map(class: StackSize, stacks: usize) -> io::Result<NonNull<Slab>> {
        let first_number = number(stacks)?;
        let (mapping, stacks) = reserve(class, stacks)?;
        let len = mapping_len(class, stacks);
        // SAFETY: the mapping is ours.
        let advised = unsafe { sys::madvise(mapping, len, Advice::NoHugePage) };
        if let Err(error) = advised
            // A kernel built without huge pages does not know the advice.
            && error.raw_os_error() != Some(libc::EINVAL)
        {
            // SAFETY: nobody knows the mapping yet.
            unsafe { sys::munmap(mapping, len)? };
            return Err(error);
        }
        let mut free = [0; WORDS];
        for i in 0..stacks {
            free[i / 64] |= 1 << (i % 64);
        }
        let state = SlabState {
            free,
            guarded: [0; WORDS],
            cold: 0,
            bare: stacks,
            protected: 0,
            first_word: 0,
            next_with_cold: None,
            next_with_bare: None,
            next_in_class: None,
        };
        let slab = Slab {
            class,
            stacks,
            base: mapping.wrapping_add(header_len()),
            next_registered: core::ptr::null_mut(),
            first_number,
            dead: AtomicBool::new(false),
            state: Cell::new(state),
        };
        let header = mapping.cast::<Slab>();
        // SAFETY: a page of ours, large enough and aligned, that nobody else knows yet.
        unsafe { header.write(slab) };
        register(header);
        // SAFETY: a successful mapping is not at null.
        Ok(unsafe { NonNull::new_unchecked(header) })
    }

    /// Calls `f` with what changes.
    ///
    /// # Safety
    /// The lock of the class is held, and no such call is under way.
    pub(super) unsafe fn with_state<R>(&self, f: impl FnOnce(&Slab, &mut SlabState) -> R) -> R {
        // SAFETY: by contract this is the only access.
        self.state.with_mut(|state| f(self, unsafe { &mut *state }))
    }

    /// Unmaps the stacks; returns how many guards go back to the budget. The header stays, dead.
    ///
    /// # Safety
    /// As for `with_state`; and no stack of the slab is in use or linked anywhere.
    pub(super) unsafe fn unmap(&self) -> usize {
        // Relaxed: a handler that still takes it for alive only misreads a fault at an address that
        // nobody should touch.
        self.dead.store(true, Ordering::Relaxed);
        let len = self.stacks * self.class.bytes();
        // SAFETY: by contract. On failure the memory stays reserved, which harms nobody.
        let _ = unsafe { sys::munmap(self.base, len) };
        // SAFETY: by contract.
        unsafe { self.with_state(|_, state| core::mem::take(&mut state.protected)) }
    }

    /// The number of the stack at this address: see [`Stack::thread_number`](super::Stack).
    pub(super) fn number_of(&self, base: NonNull<u8>) -> u32 {
        let index = (base.as_ptr() as usize - self.base as usize) / self.class.bytes();
        self.first_number + index as u32
    }

    pub(super) fn stacks(&self) -> usize {
        self.stacks
    }

    /// Bytes of address space, header included.
    pub(super) fn reserved(&self) -> usize {
        mapping_len(self.class, self.stacks)
    }
}

impl SlabState {
    /// Takes a free stack, the lowest one: a cold one, or one that has no guard yet.
    pub(super) fn pick(&mut self, slab: &Slab, bare: bool) -> Option<NonNull<u8>> {
        if self.count(bare) == 0 {
            return None;
        }
        while self.free[self.first_word] == 0 {
            self.first_word += 1;
        }
        let flip = if bare { u64::MAX } else { 0 };
        let wanted = |w: usize| self.free[w] & (self.guarded[w] ^ flip);
        let word = (self.first_word..WORDS).find(|&w| wanted(w) != 0)?;
        let bit = wanted(word) & wanted(word).wrapping_neg();
        self.free[word] &= !bit;
        self.guarded[word] |= bit;
        *self.counter(bare) -= 1;
        let index = word * 64 + bit.trailing_zeros() as usize;
        let base = slab.base.wrapping_add(index * slab.class.bytes());
        // SAFETY: inside a mapping.
        Some(unsafe { NonNull::new_unchecked(base) })
    }

    /// Takes a stack back that holds no memory. Returns whether it is the slab's first such.
    #[must_use = "the slab must then be listed"]
    pub(super) fn put_back(&mut self, slab: &Slab, base: NonNull<u8>, bare: bool) -> bool {
        let index = (base.as_ptr() as usize - slab.base as usize) / slab.class.bytes();
        let (word, bit) = (index / 64, 1 << (index % 64));
        debug_assert!(self.free[word] & bit == 0, "stack given back twice");
        self.free[word] |= bit;
        if bare {
            self.guarded[word] &= !bit;
        }
        self.first_word = self.first_word.min(word);
        let count = self.counter(bare);
        *count += 1;
        *count == 1
    }

    /// How many are free that are bare, or cold.
    pub(super) fn count(&self, bare: bool) -> usize {
        if bare { self.bare } else { self.cold }
    }

    fn counter(&mut self, bare: bool) -> &mut usize {
        match bare {
            true => &mut self.bare,
            false => &mut self.cold,
        }
    }

    /// The next slab with a bare stack, or with a cold one.
    pub(super) fn next(&mut self, bare: bool) -> &mut Option<NonNull<Slab>> {
        match bare {
            true => &mut self.next_with_bare,
            false => &mut self.next_with_cold,
        }
    }

    pub(super) fn note_protected(&mut self) {
        self.protected += 1;
    }

    pub(super) fn protected(&self) -> usize {
        self.protected
    }
}

fn header_len() -> usize {
    size_of::<Slab>().next_multiple_of(sys::page_size())
}

fn mapping_len(class: StackSize, stacks: usize) -> usize {
    header_len() + stacks * class.bytes()
}

/// Maps room for a slab; halves its size as long as the system has no room for it.
fn reserve(class: StackSize, mut stacks: usize) -> io::Result<(*mut u8, usize)> {
    loop {
        match sys::mmap_reserve(mapping_len(class, stacks)) {
            Ok(mapping) => return Ok((mapping, stacks)),
            Err(error) if error.raw_os_error() != Some(libc::ENOMEM) || stacks == 1 => {
                return Err(error);
            }
            Err(_) => stacks /= 2,
        }
    }
}

fn register(slab: *mut Slab) {
    let mut head = REGISTER.load(Ordering::Relaxed);
    loop {
        // SAFETY: not yet published, so still ours.
        unsafe { (*slab).next_registered = head };
        // Publishes the header; pairs with the Acquire in `is_in_guard`. Later entries are reached
        // through it.
        match REGISTER.compare_exchange_weak(head, slab, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(seen) => head = seen,
        }
    }
}

/// Whether `address` lies in the guard of a stack. Async-signal-safe.
pub(super) fn is_in_guard(address: usize) -> bool {
    // Pairs with the Release in `register`; the releases before it are in its release sequence.
    let mut at = REGISTER.load(Ordering::Acquire);
    while !at.is_null() {
        // SAFETY: registered headers are never unmapped; what is read of them is immutable or
        // atomic.
        let slab = unsafe { &*at };
        let offset = address.wrapping_sub(slab.base as usize);
        let inside = offset < slab.stacks * slab.class.bytes();
        // Relaxed: see `unmap`.
        if inside && !slab.dead.load(Ordering::Relaxed) {
            return offset % slab.class.bytes() < guard::size();
        }
        at = slab.next_registered;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_double_up_to_their_maximum() {
        let mut counts = vec![];
        let mut last = 0;
        for _ in 0..12 {
            last = next_count(StackSize::SMALL, last);
            counts.push(last);
        }
        let expected = [
            16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096, 4096,
        ];
        assert_eq!(counts, expected);
        assert_eq!(next_count(StackSize::MAX, 0), 4);
        assert_eq!(next_count(StackSize::MAX, 4), 4);
    }

    #[test]
    fn bits_come_and_go() {
        let slab = Slab::map(StackSize::SMALL, 100).unwrap();
        // SAFETY: a slab of this test's own.
        let slab = unsafe { slab.as_ref() };
        // SAFETY: as above.
        unsafe {
            slab.with_state(|slab, state| {
                assert!(state.pick(slab, false).is_none());
                let picked: Vec<_> = (0..100).map(|_| state.pick(slab, true).unwrap()).collect();
                assert!(state.pick(slab, true).is_none());
                let step = picked[70].as_ptr() as usize - picked[69].as_ptr() as usize;
                assert_eq!(step, StackSize::SMALL.bytes());
                assert!(state.put_back(slab, picked[70], false));
                assert!(state.put_back(slab, picked[3], true));
                assert!(!state.put_back(slab, picked[90], true));
                assert_eq!(state.pick(slab, false), Some(picked[70]));
                assert!(state.pick(slab, false).is_none());
                for low in [3, 90] {
                    assert_eq!(state.pick(slab, true), Some(picked[low]));
                }
                assert_eq!((state.cold, state.bare), (0, 0));
            });
            // Nothing uses its stacks.
            assert_eq!(slab.unmap(), 0);
        }
    }

    #[test]
    fn guards_are_found_at_every_boundary() {
        let class = StackSize::SMALL;
        let slab = Slab::map(class, 20).unwrap();
        // SAFETY: a slab of this test's own.
        let slab = unsafe { slab.as_ref() };
        let (base, guard) = (slab.base as usize, guard::size());
        for i in 0..20 {
            let stack = base + i * class.bytes();
            assert!(is_in_guard(stack) && is_in_guard(stack + guard - 1));
            assert!(!is_in_guard(stack + guard) && !is_in_guard(stack + class.bytes() - 1));
        }
        assert!(!is_in_guard(base - 1), "the header");
        // SAFETY: nothing uses its stacks.
        unsafe { slab.unmap() };
        assert!(slab.dead.load(Ordering::Relaxed));
    }
}
