//! Joining: what passes between a thread's end and its handle.
//!
//! A finished thread's result lies in its control block until the handle has taken or
//! dropped it. Two words there:
//!
//! `joiner`, who is to be told that the result is written:
//!
//! | value | meaning | who leaves it |
//! |---|---|---|
//! | `NOBODY` | nobody yet | handle: `wait`, `watch`, `detach`; thread: `finish` |
//! | a control block | a thread in `join`; its epoch stands beside | handle: `forget_joiner`; thread: `finish` |
//! | a boxed waker | a future | as above |
//! | `GONE` | the handle is dropped, nobody will take the result | thread: `finish` |
//! | `TOLD` | the result is written | nobody |
//!
//! `life`, bits set once each: `EXITED` by the LWP from the next stack, when the
//! thread has left its own; `RELEASED` by the handle, when it will not touch the
//! block again.
//!
//! *Who drops the result* of a dropped handle: the second of `finish` and
//! `detach`. *Who gives the control block back*: the second
//! of `EXITED` and `RELEASED`. Each pair is decided by read-modify-writes of one
//! word, so exactly one side is second. The handle is unique, so there is one
//! registrant at a time.

use core::ptr;
use core::task::Waker;

use lisle_lwp::shim::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::tcb::Tcb;
use crate::wait::{Outcome, Wait, WaitKey};

const EXITED: u8 = 1;
const RELEASED: u8 = 2;

const NOBODY: usize = 0;
const TOLD: usize = 1;
const GONE: usize = 4;
/// Marks a boxed waker; control blocks and boxes are at least 4-aligned.
const WAKER: usize = 2;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct JoinSlot {
    life: AtomicU8,
    joiner: AtomicUsize,
    joiner_epoch: AtomicU64,
}

impl JoinSlot {
    lisle_lwp::const_unless_loom! {
        /// For a thread that has not started.
        pub(crate) fn new() -> JoinSlot {
            JoinSlot {
                life: AtomicU8::new(0),
                joiner: AtomicUsize::new(NOBODY),
                joiner_epoch: AtomicU64::new(0),
            }
        }
    }

    /// Prepares for the next thread. The caller owns the control block.
    pub(crate) fn reset(&self) {
        self.life.store(0, Ordering::Relaxed);
        self.joiner.store(NOBODY, Ordering::Relaxed);
    }

    /// The thread has written its result. Returns `true` if nobody will take
    /// it: then the thread drops it. Runs outside the runtime.
    #[must_use]
    pub(crate) fn finish(&self) -> bool {
        // Release: the result; pairs with the Acquires in `is_finished`, `wait`,
        // `watch` and `detach`. Acquire: the registration; pairs with the
        // Releases in `wait` and `watch`.
        let joiner = self.joiner.swap(TOLD, Ordering::AcqRel);
        match joiner & 3 {
            WAKER => {
                // SAFETY: `watch` boxed it, and the swap made it ours.
                let waker = unsafe { Box::from_raw((joiner & !3) as *mut Waker) };
                waker.wake();
            }
            _ if joiner == NOBODY || joiner == GONE => {}
            _ => {
                // SAFETY: a control block, and those live for ever.
                let thread = unsafe { &*(joiner as *const Tcb) };
                let epoch = self.joiner_epoch.load(Ordering::Relaxed);
                WaitKey::of(thread, epoch).fire(Outcome::Woken);
            }
        }
        joiner == GONE
    }

    /// Whether the result is written.
    pub(crate) fn is_finished(&self) -> bool {
        // Acquire: pairs with the Release in `finish`.
        self.joiner.load(Ordering::Acquire) == TOLD
    }

    /// Registers the calling thread's wait. Returns the wait if it should be
    /// blocked on, `None` if the thread has finished meanwhile.
    pub(crate) fn wait(&self, wait: Wait) -> Option<Wait> {
        let key = wait.key();
        self.joiner_epoch
            .store(key.epoch_number(), Ordering::Relaxed);
        let me = ptr::from_ref(key.block()) as usize;
        // Release: the epoch; pairs with the Acquire in `finish`. Acquire: if
        // the thread has finished, `is_finished` says so from here on; pairs
        // with the Release in `finish`.
        let set = self
            .joiner
            .compare_exchange(NOBODY, me, Ordering::Release, Ordering::Acquire);
        if set.is_err() {
            // `TOLD`, for the handle is unique and has taken its waker back.
            let _ = wait.abandon();
            return None;
        }
        Some(wait)
    }

    /// Takes a registration back, of a thread or a waker. Afterwards nobody
    /// will be told.
    pub(crate) fn forget_joiner(&self) {
        let mut joiner = self.joiner.load(Ordering::Relaxed);
        while joiner != TOLD && joiner != NOBODY {
            // Relaxed: a boxed waker was written by this handle.
            match self
                .joiner
                .compare_exchange(joiner, NOBODY, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) if joiner & 3 == WAKER => {
                    // SAFETY: as in `finish`.
                    return drop(unsafe { Box::from_raw((joiner & !3) as *mut Waker) });
                }
                Ok(_) => return,
                Err(now) => joiner = now,
            }
        }
    }

    /// Registers a waker in place of an earlier one. Returns `true` if the
    /// thread has finished.
    pub(crate) fn watch(&self, waker: &Waker) -> bool {
        self.forget_joiner();
        let boxed = Box::into_raw(Box::new(waker.clone()));
        // Release: the waker; pairs with the Acquire in `finish`. Acquire: the
        // result, which the caller takes next; pairs with the Release there.
        let set = self.joiner.compare_exchange(
            NOBODY,
            boxed as usize | WAKER,
            Ordering::Release,
            Ordering::Acquire,
        );
        if set.is_err() {
            // SAFETY: it was not published.
            drop(unsafe { Box::from_raw(boxed) });
        }
        set.is_err()
    }

    /// The handle is dropped, its registration taken back. Returns `true` if the
    /// result is there: then the handle drops it before it calls
    /// [`JoinSlot::release`].
    #[must_use]
    pub(crate) fn detach(&self) -> bool {
        // Acquire: the result, if it is there; pairs with the Release in
        // `finish`. Nothing to release: the thread drops its own result.
        self.joiner
            .compare_exchange(NOBODY, GONE, Ordering::Relaxed, Ordering::Acquire)
            .is_err()
    }

    /// The handle will not touch the block again. Returns `true` if it is to
    /// give it back.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        // AcqRel: all accesses to the block before it is free; pairs with
        // `exited`.
        self.life.fetch_or(RELEASED, Ordering::AcqRel) & EXITED != 0
    }

    /// The thread has left its stack. Returns `true` if the caller is to give
    /// the block back.
    #[must_use]
    pub(crate) fn exited(&self) -> bool {
        // AcqRel: pairs with `release`.
        self.life.fetch_or(EXITED, Ordering::AcqRel) & RELEASED != 0
    }
}

impl Default for JoinSlot {
    fn default() -> Self {
        Self::new()
    }
}
