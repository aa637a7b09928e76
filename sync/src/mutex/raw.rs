//! `RawMutex`: mutual exclusion without a value, in four bytes.
//!
//! | bit | meaning |
//! |---|---|
//! | `LOCKED` | held |
//! | `PARKED` | somebody waits in the lot |
//! | `WOKEN` | one waiter has been woken and is on its way to take the mutex |
//! | the rest | how often the first waiter has been bypassed |
//!
//! *Protocol*. Whoever finds the mutex free takes it, waiters or not: it need not
//! wait for a thread to be switched to. If there are waiters, it counts that in
//! the word. A release that finds waiters and nobody on its way wakes the first
//! one, which competes with the others; until it has come, releases wake nobody.
//! Once the count has reached [`RawMutex::BYPASS`] the mutex is *reserved*: free
//! for the woken waiter only. A woken waiter that finds the mutex taken waits
//! again, as the first one, and has it reserved at once; so does a fair release.
//! Taking it, a waiter sets the count back to zero for the next one.
//!
//! *Bounded bypass*: while a thread waits with `n` others before it, the mutex is
//! taken at most `n + (n + 1) × BYPASS` times. For each waiter gets it in its turn
//! (the queue is first in, first out, and only its first is woken), and before
//! each at most `BYPASS` others, because each of those adds one to the count.
//!
//! *No lost wake-up*. (1) A waiter sets `PARKED` and enqueues under the lot's
//! lock, in a read-modify-write that finds the mutex not free for it. If that is
//! before the holder's release, the release sees `PARKED`, takes the lot's lock and
//! finds the waiter; if after, the waiter sees the mutex free and takes it.
//! (2) A release that sees `PARKED` without `WOKEN` sets `WOKEN` and wakes the first
//! waiter, unless somebody has taken the mutex since: then that one's release does.
//! (3) `WOKEN` stands for exactly one thread, which takes the mutex, waits again, or
//! gives up; each of these clears it, and who gives up wakes the next.
//!
//! *Ordering*: taking (Acquire) pairs with releasing (Release), both on the word.
//! All else in the word guards nothing.
//!
//! *Rejected*: handing the mutex itself to the first waiter: then each release under
//! contention costs a switch. Handing it over after some time, as Go and parking_lot
//! do: a look at the clock, and a bound that cannot be tested. More spinning before
//! the wait: two LWPs that fight for the word's cache line are slower than one.

use std::time::Instant;

use lisle_lwp::shim::{AtomicU32, Ordering};
use lisle_runtime::wait::lot::{self, Bucket, Waiter};
use lisle_runtime::wait::{self, Locked, Outcome, Reason};

use crate::owner::Owner;
use crate::spin::Spin;

const LOCKED: u32 = 1;
const PARKED: u32 = 2;
const WOKEN: u32 = 4;
const COUNT: u32 = !7;
const ONE: u32 = 8;

// SAFETY: waiters wait in the lot, at the address of the mutex.
static REASON: Reason = unsafe { Reason::held("mutex", holder) };

/// # Safety
/// A mutex lies there.
unsafe fn holder(address: usize) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        (*core::ptr::with_exposed_provenance::<RawMutex>(address))
            .owner
            .id()
    }
}

/// How many times in a row a waiter may be bypassed.
const BYPASS: u32 = if cfg!(lisle_loom) { 2 } else { 1024 };
const RESERVED: u32 = BYPASS * ONE;

/// Mutual exclusion without a value: the lock of [`Mutex`](crate::Mutex), and
/// lock_api's raw mutex. See the module documentation.
#[derive(Debug)]
pub struct RawMutex {
    word: AtomicU32,
    owner: Owner,
}

/// What a locker found that cannot have the mutex at once.
enum Found {
    Free,
    Enqueued,
}

impl Default for RawMutex {
    fn default() -> Self {
        Self::new()
    }
}

impl RawMutex {
    /// How many times others may take the mutex before its first waiter gets it:
    /// a thread with `n` waiters before it gets the mutex after it has been taken
    /// at most `n + (n + 1) * BYPASS` times.
    pub const BYPASS: u32 = BYPASS;

    lisle_lwp::const_unless_loom! {
        /// A free mutex.
        pub fn new() -> RawMutex {
            RawMutex { word: AtomicU32::new(0), owner: Owner::new() }
        }
    }

    /// Takes the mutex, waiting for it.
    #[inline]
    pub(crate) fn acquire(&self) {
        if !self.try_fast() {
            let outcome = self.acquire_slow(None, false);
            debug_assert_eq!(outcome, Outcome::Woken);
        }
        self.owner.taken();
    }

    /// Takes the mutex, waiting for it until the deadline, if there is one, or
    /// until a cancel, if it is to be `cancellable`. `Woken` says that it is held.
    #[inline]
    pub(crate) fn acquire_until(&self, deadline: Option<Instant>, cancellable: bool) -> Outcome {
        let outcome = match self.try_fast() {
            true => Outcome::Woken,
            false => self.acquire_slow(deadline, cancellable),
        };
        if outcome == Outcome::Woken {
            self.owner.taken();
        }
        outcome
    }

    /// Takes the mutex if it is free and not reserved for a waiter.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        let taken = self.try_fast() || self.try_barge();
        if taken {
            self.owner.taken();
        }
        taken
    }

    /// Takes a mutex that is free for all, waiters or not. Does not look before it
    /// writes: where nobody fights, a load between two read-modify-writes of one word
    /// costs half as much as either.
    #[inline(always)]
    fn try_fast(&self) -> bool {
        // Acquire: pairs with the Release of the unlocks.
        match self
            .word
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => true,
            Err(word) => self.take_with_waiters(word),
        }
    }

    #[inline(never)]
    fn take_with_waiters(&self, word: u32) -> bool {
        is_free_for(word, false) && self.take(word, false).is_ok()
    }

    #[cold]
    fn try_barge(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while is_free_for(word, false) {
            match self.take(word, false) {
                Ok(()) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes the mutex, which is free for the caller as `word` says.
    #[inline(always)]
    fn take(&self, word: u32, woken: bool) -> Result<(), u32> {
        let taken = if woken {
            word & PARKED | LOCKED
        } else if word & (PARKED | WOKEN) != 0 {
            (word | LOCKED) + ONE
        } else {
            word | LOCKED
        };
        // Acquire: pairs with the Release of the unlocks.
        self.word
            .compare_exchange_weak(word, taken, Ordering::Acquire, Ordering::Relaxed)
            .map(drop)
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, deadline: Option<Instant>, cancellable: bool) -> Outcome {
        let mut spin = Spin::new();
        let mut woken = false;
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if is_free_for(word, woken) {
                if self.take(word, woken).is_ok() {
                    return Outcome::Woken;
                }
                continue;
            }
            if spin.again() {
                continue;
            }
            let Ok(wait) = wait::begin(&REASON, self.address(), cancellable) else {
                self.leave(woken);
                return Outcome::Cancelled;
            };
            let waiter = Waiter::new(&wait, self.address(), 0);
            if let Found::Free = self.enqueue(&waiter, woken) {
                let _ = wait.abandon();
                continue;
            }
            let outcome = wait.block(deadline);
            if outcome != Outcome::Woken {
                self.dequeue(&waiter);
                return outcome;
            }
            woken = true;
            spin = Spin::new();
        }
    }

    /// Waits in the lot: a newcomer as the last, a woken waiter as the first.
    fn enqueue(&self, waiter: &Waiter, woken: bool) -> Found {
        let mut bucket = lot::lock(self.address());
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if is_free_for(word, woken) {
                return Found::Free;
            }
            let waits = if woken {
                word & LOCKED | PARKED | RESERVED
            } else {
                word | PARKED
            };
            let says =
                self.word
                    .compare_exchange_weak(word, waits, Ordering::Relaxed, Ordering::Relaxed);
            match says {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        // SAFETY: the waiter blocks until it is popped, or removes itself.
        unsafe {
            if woken {
                bucket.push_front(waiter);
            } else {
                bucket.push_back(waiter);
            }
        }
        Found::Enqueued
    }

    /// A waiter's wait has ended early.
    fn dequeue(&self, waiter: &Waiter) {
        let mut bucket = lot::lock(self.address());
        // SAFETY: pushed to this bucket.
        if unsafe { bucket.remove(waiter) } && !bucket.is_awaited(self.address()) {
            self.forget_waiters(PARKED);
        }
    }

    /// Nobody is in the lot any more, or, for `WOKEN`, on its way: clears the bits,
    /// and the count if it counts for nobody. Under the lot's lock.
    fn forget_waiters(&self, bits: u32) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let left = word & !bits;
            let counts = left & (PARKED | WOKEN) != 0;
            let next = if counts { left } else { left & !COUNT };
            let done =
                self.word
                    .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed);
            match done {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Gives up before waiting. If it had been woken, another one must be.
    fn leave(&self, woken: bool) {
        if woken {
            self.pass_on(&mut lot::lock(self.address()));
        }
    }

    /// The mutex has been released, and was awaited: wakes the first waiter, unless
    /// somebody has taken the mutex since, or woken it.
    #[cold]
    #[inline(never)]
    fn wake(&self) {
        let mut bucket = lot::lock(self.address());
        let mut word = self.word.load(Ordering::Relaxed);
        while word & (LOCKED | PARKED | WOKEN) == PARKED {
            // Relaxed: the bit says who is on its way, and guards nothing.
            match self.word.compare_exchange_weak(
                word,
                word | WOKEN,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return self.pass_on(&mut bucket),
                Err(now) => word = now,
            }
        }
    }

    /// Makes the first waiter the one for which `WOKEN` stands, or clears that.
    fn pass_on(&self, bucket: &mut Locked<'_, Bucket>) {
        if !self.wake_first(bucket) {
            self.forget_waiters(WOKEN | PARKED);
        } else if !bucket.is_awaited(self.address()) {
            self.forget_waiters(PARKED);
        }
    }

    /// Wakes the first waiter whose wait has not ended otherwise.
    fn wake_first(&self, bucket: &mut Locked<'_, Bucket>) -> bool {
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(waiter) = unsafe { bucket.pop(self.address()) } {
            if bucket.wake(waiter.key()) {
                return true;
            }
        }
        false
    }

    /// Releases the mutex, which the caller holds. A thread that finds it free
    /// may take it before the first waiter does.
    #[inline]
    pub(crate) fn release(&self) {
        self.owner.leaves();
        // Release: pairs with the Acquire of the locks.
        let word = self.word.fetch_sub(LOCKED, Ordering::Release);
        if word & (PARKED | WOKEN) == PARKED {
            self.wake();
        }
    }

    /// Releases the mutex, which the caller holds, to the first waiter, if there
    /// is one: nobody takes it before.
    pub(crate) fn release_fair(&self) {
        self.owner.leaves();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let free = if word & (PARKED | WOKEN) == 0 {
                0
            } else {
                word & (PARKED | WOKEN) | RESERVED
            };
            // Release: pairs with the Acquire of the locks.
            match self
                .word
                .compare_exchange_weak(word, free, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if word & (PARKED | WOKEN) == PARKED {
            self.wake();
        }
    }

    /// Whether somebody holds it.
    #[cfg(not(lisle_loom))]
    pub(crate) fn is_held(&self) -> bool {
        self.word.load(Ordering::Relaxed) & LOCKED != 0
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).expose_provenance()
    }
}

/// Whether a newcomer, or the woken waiter, may take the mutex.
#[inline(always)]
fn is_free_for(word: u32, woken: bool) -> bool {
    word & LOCKED == 0 && (woken || word & COUNT < RESERVED)
}
