//! `RawCondvar`: waiting for a notify while a raw mutex is free.
//!
//! *Protocol*. A waiter enters the lot before it releases the mutex, so a notify
//! that comes after the mutex is free finds it: release and wait are one step.
//! Notifies wake in the order of waiting. A notify that meets a waiter whose time
//! was up, or which was cancelled, goes to the next one.
//!
//! *No lost notify*: `awaited` is set before the mutex is released. Whoever
//! notifies because of what it did under the mutex afterwards has acquired that
//! release, so it reads `true`; hence Relaxed is enough for the flag. It changes
//! only under the lot's lock.

use std::time::Instant;

use lisle_lwp::shim::{AtomicBool, Ordering};
use lisle_runtime::wait::lot::{self, Waiter};
use lisle_runtime::wait::{self, Outcome, Reason};

use crate::mutex::raw::RawMutex;

static REASON: Reason = Reason::new("condition variable");

/// A condition that threads wait for, each with one mutex. See the module
/// documentation.
#[derive(Debug)]
pub(crate) struct RawCondvar {
    /// Whether somebody waits in the lot.
    awaited: AtomicBool,
}

impl RawCondvar {
    lisle_lwp::const_unless_loom! {
        /// A condition that nobody waits for.
        pub(crate) fn new() -> RawCondvar {
            RawCondvar { awaited: AtomicBool::new(false) }
        }
    }

    /// Releases the mutex, which the caller holds, waits for a notify, the
    /// deadline or a cancel, and takes the mutex again. The caller delivers the
    /// cancel.
    pub(crate) fn wait(&self, mutex: &RawMutex, deadline: Option<Instant>) -> Outcome {
        let Ok(wait) = wait::begin(&REASON, self.address(), true) else {
            return Outcome::Cancelled;
        };
        let waiter = Waiter::new(&wait, self.address(), 0);
        {
            let mut bucket = lot::lock(self.address());
            // SAFETY: the waiter blocks until it is popped, or removes itself.
            unsafe { bucket.push_back(&waiter) };
            self.awaited.store(true, Ordering::Relaxed);
        }
        mutex.release();
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            let mut bucket = lot::lock(self.address());
            // SAFETY: pushed to this bucket.
            unsafe { bucket.remove(&waiter) };
            let awaited = bucket.is_awaited(self.address());
            self.awaited.store(awaited, Ordering::Relaxed);
        }
        mutex.acquire();
        outcome
    }

    /// Wakes the thread that has waited longest, if any. Returns whether there
    /// was one.
    #[inline]
    pub(crate) fn notify_one(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) && self.notify(1) == 1
    }

    /// Wakes all threads that wait. Returns how many those were.
    #[inline]
    pub(crate) fn notify_all(&self) -> usize {
        if self.awaited.load(Ordering::Relaxed) {
            self.notify(usize::MAX)
        } else {
            0
        }
    }

    #[inline(never)]
    fn notify(&self, at_most: usize) -> usize {
        let mut woken = 0;
        let mut bucket = lot::lock(self.address());
        while woken < at_most {
            // SAFETY: we hold the lock and forget each node once woken.
            let Some(waiter) = (unsafe { bucket.pop(self.address()) }) else {
                break;
            };
            woken += usize::from(bucket.wake(waiter.key()));
        }
        let awaited = bucket.is_awaited(self.address());
        self.awaited.store(awaited, Ordering::Relaxed);
        woken
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}
