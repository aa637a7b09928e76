//! `RawRwLock`: many readers or one writer, without a value, in eight bytes.
//!
//! | bits | meaning |
//! |---|---|
//! | `WRITER` | held for writing |
//! | `UPGRADABLE` | held for reading, by the one reader that may become the writer |
//! | `UPGRADING` | that reader waits for the others to leave: no new ones come in |
//! | `PARKED` | somebody waits in the lot |
//! | `WOKEN` | one waiter has been woken and is on its way |
//! | `COUNT` | how often newcomers have taken the free lock before the first waiter |
//! | `READERS` | how many hold it for reading, `UPGRADABLE` not counted |
//!
//! *Protocol*, as [`RawMutex`](crate::RawMutex)'s. A release after which the first
//! waiter might come in wakes it, and it competes with newcomers; at most
//! [`RawRwLock::BYPASS`] of these take the *free* lock before it, then the lock is
//! reserved. A woken waiter that may not come in waits again, as the first one, and
//! has the lock reserved at once. A woken reader that comes in wakes the next
//! waiter if that may come in beside it.
//!
//! *Who may come in*. [`Fair`]: while somebody waits, newcomers come in only as
//! said above; in particular a reader does not join other readers past a waiting
//! writer. [`PreferReaders`]: readers join readers and wait for a writer inside,
//! never for one that waits. [`PreferWriters`]: readers wait while anybody waits,
//! and waiting writers go first.
//!
//! *No lost wake-up*. (1) A waiter sets `PARKED` and enqueues under the lot's lock, in
//! a read-modify-write that finds that it may not come in. (2) What may let a
//! waiter in is a read-modify-write of the word, too: a release, a downgrade, a
//! waiter or an upgrade given up. Whoever does it and finds `PARKED` without
//! `WOKEN` takes the lot's lock and wakes the first waiter, unless that may not come
//! in, because somebody else has: then it is up to that one. (3) `WOKEN` stands for one
//! thread, which comes in, waits again, or gives up; each of these clears it. Who
//! comes in as a reader, waits again, or gives up, wakes the next.
//!
//! *Upgrading* waits in a queue of its own, for the last reader, and before
//! everybody else.
//!
//! *Ordering*: coming in (Acquire) pairs with leaving (Release), on the word; all
//! are read-modify-writes, so a writer synchronizes with every reader before it.

use core::marker::PhantomData;
use std::time::Instant;

use lisle_lwp::shim::{AtomicU64, Ordering};
use lisle_runtime::wait::lot::{self, Bucket, Waiter};
use lisle_runtime::wait::{self, Locked, Outcome, Reason};

use super::policy::{Fair, Prefers, RwLockPolicy};
#[cfg(doc)]
use super::policy::{PreferReaders, PreferWriters};
use crate::owner::Owner;
use crate::spin::Spin;

const WRITER: u64 = 1;
const UPGRADABLE: u64 = 2;
const UPGRADING: u64 = 4;
const PARKED: u64 = 8;
const WOKEN: u64 = 16;
const ONE: u64 = 1 << 8;
const COUNT: u64 = 0xffff * ONE;
const READER: u64 = 1 << 24;
const READERS: u64 = !(READER - 1);
const HELD: u64 = WRITER | UPGRADABLE | READERS;

// SAFETY: all three wait in the lot, with the address of the lock as their detail.
static READING: Reason = unsafe { Reason::held("read lock", writer) };
// SAFETY: as above.
static WRITING: Reason = unsafe { Reason::held("write lock", writer) };
// Those who upgrade wait for readers, who are not known.
static UPGRADES: Reason = Reason::new("upgrade of a read lock");

/// # Safety
/// A lock lies there, of whichever policy: their layout is the same.
unsafe fn writer(address: usize) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        (*core::ptr::with_exposed_provenance::<RawRwLock>(address))
            .owner
            .id()
    }
}

const BYPASS: u64 = if cfg!(lisle_loom) { 2 } else { 1024 };
const RESERVED: u64 = BYPASS * ONE;

/// How a thread wants to hold the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Mode {
    Read,
    Write,
    Upgradable,
}

/// In what manner a thread asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Newcomer,
    /// It may hold the lock for reading already: nobody who waits matters.
    Recursion,
    Woken,
}

/// What a wait may end with, besides the lock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancellable: bool,
}

/// Many readers or one writer: the lock of [`RwLock`](crate::RwLock), and lock_api's
/// raw one. See the module documentation.
#[derive(Debug)]
#[repr(C)]
pub struct RawRwLock<P = Fair> {
    word: AtomicU64,
    /// Of the writer only.
    owner: Owner,
    _policy: PhantomData<fn() -> P>,
}

impl<P: RwLockPolicy> Default for RawRwLock<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> RawRwLock<P> {
    /// How many times others may take the free lock before its first waiter comes
    /// in.
    pub const BYPASS: u32 = BYPASS as u32;

    lisle_lwp::const_unless_loom! {
        /// A free lock.
        pub fn new() -> RawRwLock<P> {
            RawRwLock { word: AtomicU64::new(0), owner: Owner::new(), _policy: PhantomData }
        }
    }
}

// --- coming in ---

impl<P: RwLockPolicy> RawRwLock<P> {
    /// Comes in, waiting for it.
    #[inline]
    pub(crate) fn acquire(&self, mode: Mode) {
        if !self.try_fast(mode) {
            let outcome = self.acquire_slow(mode, By::Newcomer, Patience::default());
            debug_assert_eq!(outcome, Outcome::Woken);
        }
        self.taken(mode);
    }

    /// It is held in this mode from now on.
    #[inline(always)]
    fn taken(&self, mode: Mode) {
        if mode == Mode::Write {
            self.owner.taken();
        }
    }

    /// It is about to be left by who holds it in this mode.
    #[inline(always)]
    fn leaves(&self, mode: Mode) {
        if mode == Mode::Write {
            self.owner.leaves();
        }
    }

    /// As [`RawRwLock::acquire`], while the patience lasts. `Woken` says that it is
    /// held.
    pub(crate) fn acquire_until(&self, mode: Mode, patience: Patience) -> Outcome {
        let outcome = match self.try_fast(mode) {
            true => Outcome::Woken,
            false => self.acquire_slow(mode, By::Newcomer, patience),
        };
        if outcome == Outcome::Woken {
            self.taken(mode);
        }
        outcome
    }

    /// Comes in as a reader, past all who wait.
    pub(crate) fn acquire_recursive(&self, patience: Patience) -> Outcome {
        self.acquire_slow(Mode::Read, By::Recursion, patience)
    }

    /// Comes in if that is possible at once.
    #[inline]
    pub(crate) fn try_acquire(&self, mode: Mode) -> bool {
        let taken = self.try_fast(mode) || self.try_slow(mode, By::Newcomer);
        if taken {
            self.taken(mode);
        }
        taken
    }

    pub(crate) fn try_acquire_recursive(&self) -> bool {
        self.try_slow(Mode::Read, By::Recursion)
    }

    #[inline(always)]
    fn try_fast(&self, mode: Mode) -> bool {
        let word = match mode {
            Mode::Write => 0,
            _ => self.word.load(Ordering::Relaxed),
        };
        let blockers = WRITER | UPGRADING | PARKED | WOKEN;
        // Acquire: pairs with the Release of those who leave.
        word & blockers == 0
            && (mode != Mode::Upgradable || word & UPGRADABLE == 0)
            && self
                .word
                .compare_exchange_weak(
                    word,
                    word + hold(mode),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    #[cold]
    fn try_slow(&self, mode: Mode, by: By) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while P::admits(word, mode, by) {
            match self.take(word, mode, by) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Comes in: `word` says that the caller may.
    fn take(&self, word: u64, mode: Mode, by: By) -> Result<(), u64> {
        let mut taken = word + hold(mode);
        if by == By::Woken {
            taken &= !(WOKEN | COUNT);
        } else if word & (PARKED | WOKEN) != 0 && word & HELD == 0 && word & COUNT < RESERVED {
            taken += ONE;
        }
        // Acquire: pairs with the Release of those who leave.
        self.word
            .compare_exchange_weak(word, taken, Ordering::Acquire, Ordering::Relaxed)?;
        if by == By::Woken && mode != Mode::Write && taken & PARKED != 0 {
            self.wake();
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, mode: Mode, mut by: By, patience: Patience) -> Outcome {
        let reason = if mode == Mode::Write {
            &WRITING
        } else {
            &READING
        };
        let mut spin = Spin::new();
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if P::admits(word, mode, by) {
                if self.take(word, mode, by).is_ok() {
                    return Outcome::Woken;
                }
                continue;
            }
            if spin.again() {
                continue;
            }
            let Ok(wait) = wait::begin(reason, self.address(), patience.cancellable) else {
                self.leave_queue(by);
                return Outcome::Cancelled;
            };
            let waiter = Waiter::new(&wait, self.queue(mode), mode as usize);
            if !self.enqueue(&waiter, mode, by) {
                let _ = wait.abandon();
                continue;
            }
            let outcome = wait.block(patience.deadline);
            if outcome != Outcome::Woken {
                self.dequeue(&waiter);
                return outcome;
            }
            by = By::Woken;
            spin = Spin::new();
        }
    }

    /// Waits in the lot: a newcomer as the last, a woken waiter as the first.
    /// `false` if it may come in.
    fn enqueue(&self, waiter: &Waiter, mode: Mode, by: By) -> bool {
        let mut bucket = self.lock_lot();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if P::admits(word, mode, by) {
                return false;
            }
            let waits = if by == By::Woken {
                word & !(WOKEN | COUNT) | PARKED | RESERVED
            } else {
                word | PARKED
            };
            match self.exchange(word, waits) {
                Ok(()) => break,
                Err(now) => word = now,
            }
        }
        // SAFETY: the waiter blocks until it is popped, or removes itself.
        unsafe {
            if by == By::Woken {
                bucket.push_front(waiter);
            } else {
                bucket.push_back(waiter);
            }
        }
        if by == By::Woken {
            // It was on its way meanwhile, so nobody else has been woken; and those of the
            // other queue may come in where it may not.
            self.wake_in(&mut bucket);
        }
        true
    }

    /// A waiter's wait has ended early: those behind it may be let in.
    fn dequeue(&self, waiter: &Waiter) {
        let mut bucket = self.lock_lot();
        // SAFETY: pushed to this bucket.
        unsafe { bucket.remove(waiter) };
        self.wake_in(&mut bucket);
    }

    /// Gives up before waiting. If it had been woken, another one must be.
    fn leave_queue(&self, by: By) {
        if by == By::Woken {
            let mut bucket = self.lock_lot();
            self.change(|word| word & !WOKEN);
            self.wake_in(&mut bucket);
        }
    }
}

// --- leaving ---

impl<P: RwLockPolicy> RawRwLock<P> {
    /// Leaves. The caller holds the lock in this mode.
    #[inline]
    pub(crate) fn release(&self, mode: Mode) {
        self.leaves(mode);
        // Release: pairs with the Acquire of those who come in.
        let word = self.word.fetch_sub(hold(mode), Ordering::Release) - hold(mode);
        // A reader that leaves others behind lets nobody in.
        if word & (PARKED | UPGRADING) != 0 && (mode != Mode::Read || word & READERS == 0) {
            self.left(word);
        }
    }

    /// As [`RawRwLock::release`]; if that makes the lock free, it is reserved for
    /// the first waiter.
    pub(crate) fn release_fair(&self, mode: Mode) {
        self.leaves(mode);
        let mut word = self.word.load(Ordering::Relaxed);
        let left = loop {
            let mut left = word - hold(mode);
            if left & HELD == 0 && left & (PARKED | WOKEN) != 0 {
                left = left & !COUNT | RESERVED;
            }
            // Release: as in `release`.
            match self
                .word
                .compare_exchange_weak(word, left, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break left,
                Err(now) => word = now,
            }
        };
        if left & (PARKED | UPGRADING) != 0 {
            self.left(left);
        }
    }

    /// Holds the lock in another, weaker mode from now on.
    pub(crate) fn downgrade(&self, from: Mode, to: Mode) {
        self.leaves(from);
        let change = hold(to).wrapping_sub(hold(from));
        // Release: as in `release`; others may come in.
        let word = self.word.fetch_add(change, Ordering::Release);
        if word & PARKED != 0 {
            self.left(word.wrapping_add(change));
        }
    }

    /// Somebody has left, which made `word` of the word: lets in who may come now.
    #[cold]
    #[inline(never)]
    fn left(&self, word: u64) {
        if word & UPGRADING != 0 {
            if word & READERS == 0 {
                let mut bucket = self.lock_lot();
                // SAFETY: we hold the lock and forget the node once woken.
                if let Some(upgrader) = unsafe { bucket.pop(self.upgraders()) } {
                    bucket.wake(upgrader.key());
                }
            }
        } else if word & (PARKED | WOKEN) == PARKED {
            self.wake();
        }
    }

    fn wake(&self) {
        self.wake_in(&mut self.lock_lot());
    }

    /// Wakes the first waiter, if it may come in and nobody is on its way.
    fn wake_in(&self, bucket: &mut Locked<'_, Bucket>) {
        let mut woken = false;
        while !woken && let Some(first) = self.first(bucket) {
            let mode = mode_of(first);
            let queue = self.queue(mode);
            let word = self.word.load(Ordering::Relaxed);
            if word & WOKEN != 0 || !P::admits(word, mode, By::Woken) {
                break;
            }
            if self.exchange(word, word | WOKEN).is_err() {
                continue;
            }
            // SAFETY: we hold the lock and forget the node once woken.
            let first = unsafe { bucket.pop(queue) };
            woken = first.is_some_and(|first| bucket.wake(first.key()));
            if !woken {
                self.change(|word| word & !WOKEN);
            }
        }
        if self.first(bucket).is_none() {
            self.change(|word| {
                let counts = word & WOKEN != 0;
                word & !PARKED & if counts { !0 } else { !COUNT }
            });
        }
    }

    /// Whoever waits first, as the policy has it.
    fn first<'b>(&self, bucket: &'b Bucket) -> Option<&'b Waiter> {
        let first = bucket.first(self.address());
        first.or_else(|| bucket.first(self.address() + 2))
    }
}

// --- upgrading ---

impl<P: RwLockPolicy> RawRwLock<P> {
    /// The caller, who holds the lock as upgradable, becomes the writer if nobody
    /// reads.
    pub(crate) fn try_upgrade(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & READERS == 0 {
            // Acquire: pairs with the Release of the readers that left.
            match self.word.compare_exchange_weak(
                word,
                word & !(UPGRADABLE | UPGRADING) | WRITER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.taken(Mode::Write);
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    /// As [`RawRwLock::try_upgrade`], waiting for the readers to leave. `Woken`
    /// says that it is held for writing; else it is held as before.
    pub(crate) fn upgrade(&self, patience: Patience) -> Outcome {
        if self.try_upgrade() {
            return Outcome::Woken;
        }
        self.change(|word| word | UPGRADING);
        while !self.try_upgrade() {
            let Ok(wait) = wait::begin(&UPGRADES, self.address(), patience.cancellable) else {
                self.give_up_upgrade(&mut self.lock_lot());
                return Outcome::Cancelled;
            };
            let waiter = Waiter::new(&wait, self.upgraders(), 0);
            {
                let mut bucket = self.lock_lot();
                if self.word.load(Ordering::Relaxed) & READERS == 0 {
                    drop(bucket);
                    let _ = wait.abandon();
                    continue;
                }
                // SAFETY: the waiter blocks until it is popped, or removes itself.
                unsafe { bucket.push_back(&waiter) };
            }
            let outcome = wait.block(patience.deadline);
            if outcome != Outcome::Woken {
                let mut bucket = self.lock_lot();
                // SAFETY: pushed to this bucket.
                unsafe { bucket.remove(&waiter) };
                self.give_up_upgrade(&mut bucket);
                return outcome;
            }
        }
        Outcome::Woken
    }

    /// Readers that the upgrade kept out may come in.
    fn give_up_upgrade(&self, bucket: &mut Locked<'_, Bucket>) {
        self.change(|word| word & !UPGRADING);
        self.wake_in(bucket);
    }
}

// --- the word and the lot ---

impl<P: RwLockPolicy> RawRwLock<P> {
    /// Whether it is held in any way, and whether for writing.
    #[cfg(not(lisle_loom))]
    pub(crate) fn is_held(&self) -> (bool, bool) {
        let word = self.word.load(Ordering::Relaxed);
        (word & HELD != 0, word & WRITER != 0)
    }

    /// What is no matter of holding changes only under the lot's lock, or by the
    /// holder who upgrades: nothing is ordered by it.
    fn exchange(&self, word: u64, next: u64) -> Result<(), u64> {
        self.word
            .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
            .map(drop)
    }

    fn change(&self, step: impl Fn(u64) -> u64) {
        let mut word = self.word.load(Ordering::Relaxed);
        while let Err(now) = self.exchange(word, step(word)) {
            word = now;
        }
    }

    /// The word is aligned, so its address and the few behind it share a lock.
    fn address(&self) -> usize {
        core::ptr::from_ref(self).expose_provenance()
    }

    /// Where those wait who want to hold it in this mode: the preferred ones at the
    /// address itself.
    fn queue(&self, mode: Mode) -> usize {
        let second = match P::PREFERS {
            Prefers::Nobody => false,
            Prefers::Readers => mode != Mode::Read,
            Prefers::Writers => mode != Mode::Write,
        };
        self.address() + if second { 2 } else { 0 }
    }

    /// Where the upgrading reader waits.
    fn upgraders(&self) -> usize {
        self.address() + 1
    }

    fn lock_lot(&self) -> Locked<'static, Bucket> {
        lot::lock(self.address())
    }
}

/// What a holder adds to the word.
const fn hold(mode: Mode) -> u64 {
    match mode {
        Mode::Read => READER,
        Mode::Write => WRITER,
        Mode::Upgradable => UPGRADABLE,
    }
}

fn mode_of(waiter: &Waiter) -> Mode {
    match waiter.tag {
        tag if tag == Mode::Read as usize => Mode::Read,
        tag if tag == Mode::Write as usize => Mode::Write,
        _ => Mode::Upgradable,
    }
}

/// Who may come in: see the module documentation.
trait Admits {
    fn admits(word: u64, mode: Mode, by: By) -> bool;
}

impl<P: RwLockPolicy> Admits for P {
    fn admits(word: u64, mode: Mode, by: By) -> bool {
        let excluded = match (mode, by) {
            (Mode::Read, By::Recursion) => WRITER,
            (Mode::Read, _) => WRITER | UPGRADING,
            (Mode::Upgradable, _) => WRITER | UPGRADABLE,
            (Mode::Write, _) => HELD,
        };
        if word & excluded != 0 {
            return false;
        }
        if by != By::Newcomer || word & (PARKED | WOKEN) == 0 {
            return true;
        }
        let barges = word & HELD == 0 && word & COUNT < RESERVED;
        match P::PREFERS {
            Prefers::Nobody => barges,
            Prefers::Readers => mode == Mode::Read || barges,
            Prefers::Writers => mode == Mode::Write && barges,
        }
    }
}
