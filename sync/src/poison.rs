//! Poison: the mark that a panic leaves on what it unwound through.
//!
//! As std's: a guard that is dropped while its thread panics poisons what it
//! guards, unless the thread was panicking when it got the guard. A cancel also
//! unwinds, but poisons nothing.

use std::sync::{LockResult, PoisonError};

use lisle_lwp::shim::{AtomicBool, Ordering};
use lisle_runtime::cancel;

/// Whether a thread panicked inside.
#[derive(Debug)]
pub(crate) struct Poison(AtomicBool);

/// Whether the thread was panicking when it got its guard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panicking(bool);

impl Poison {
    lisle_lwp::const_unless_loom! {
        /// Not poisoned.
        pub(crate) fn new() -> Poison {
            Poison(AtomicBool::new(false))
        }
    }

    // Relaxed throughout: written before a release of the lock and read after
    // an acquire, or a hint.

    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// For a guard that is being made.
    #[inline]
    pub(crate) fn enter(&self) -> Panicking {
        Panicking(cancel::panicking())
    }

    /// For a guard that is being dropped, before the lock is released.
    #[inline]
    pub(crate) fn leave(&self, entered: Panicking) {
        if !entered.0 && cancel::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// What was asked for, with a warning if it is poisoned.
    #[inline]
    pub(crate) fn wrap<T>(&self, value: T) -> LockResult<T> {
        if self.get() {
            Err(PoisonError::new(value))
        } else {
            Ok(value)
        }
    }
}
