//! Holding a thread back: it is not run while somebody asks for that, be it the program or
//! whoever looks at its stack.
//!
//! ```text
//!                        ask_to_hold                  hold, by who picks it
//!   RUNNABLE ──────────────────────────► asked for ─────────────────────────► asked for, HELD
//!      ▲                                     │                                      │
//!      └──── let_go, by the last who asks ───┴──── let_go: and makes it ready ──────┘
//! ```
//!
//! *Invariant*: a thread that is held is in no queue, and stands still: its context is saved
//! before it says so. Whoever takes away the last reason takes `HELD` away with it, by one
//! exchange, and makes the thread ready; so that happens once.
//!
//! *Invariant*: what anybody read of its stack comes before it runs on: whoever runs it has
//! seen, with Acquire, that nobody asks any longer.

use lisle_lwp::shim::Ordering;

use crate::tcb::Tcb;

/// No suspension asked for.
pub(crate) const RUNNABLE: u8 = 0;
/// The program asked for it: the thread is to be held when it is picked next.
pub(crate) const SUSPEND_ASKED: u8 = 1;
/// Somebody looks at its stack, so it is to be held, too: see [`crate::debug`].
pub(crate) const PINNED: u8 = 2;
/// The thread has been picked and is held; whoever takes away the last of the
/// other bits makes it ready.
pub(crate) const HELD: u8 = 4;

impl Tcb {
    /// Whether nobody asks that the thread be held.
    #[inline(always)]
    pub(crate) fn is_runnable(&self) -> bool {
        // Acquire: whoever looked at its stack has done so; pairs with the Release
        // in `let_go`.
        self.suspension.load(Ordering::Acquire) == RUNNABLE
    }

    /// Asks that the thread be held when it is picked next. Returns what it was
    /// asked before, and whether it is held already.
    pub(crate) fn ask_to_hold(&self, why: u8) -> u8 {
        // Acquire: the context of one that is held; pairs with the Release in `hold`.
        self.suspension.fetch_or(why, Ordering::Acquire)
    }

    /// Holds the thread back if somebody still asks for it. Its context is saved.
    #[cold]
    pub(crate) fn hold(&self) -> bool {
        // Acquire, here and below: if nobody asks any longer, whoever looked at its stack
        // has done so; pairs with the Release in `let_go`.
        let mut now = self.suspension.load(Ordering::Acquire);
        while now & (SUSPEND_ASKED | PINNED) != 0 {
            // Release: the saved context; pairs with the Acquire in `let_go`.
            match self.suspension.compare_exchange_weak(
                now,
                now | HELD,
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    /// Asks no longer for that reason. Returns whether the thread is held and
    /// nobody else asks: then the caller makes it ready.
    #[must_use]
    pub(crate) fn let_go(&self, why: u8) -> bool {
        let mut now = self.suspension.load(Ordering::Relaxed);
        loop {
            let left = now & !why;
            let next = if left == HELD { RUNNABLE } else { left };
            // Acquire: the context; pairs with the Release in `hold`. Release: what
            // was read of the thread's stack; pairs with the Acquire of
            // `is_runnable`.
            match self.suspension.compare_exchange_weak(
                now,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return left == HELD,
                Err(other) => now = other,
            }
        }
    }
}
