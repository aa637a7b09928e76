//! When the words of a recording may be freed: the race between who writes
//! events and who stops the recording.
//!
//! ```text
//!   writer                                stop
//!   1. busy = true                        1. number = 0
//!   2. fence (compiler's)                 2. fence (membarrier: in all threads)
//!   3. the number still mine? write.      3. wait until not busy
//!      Else: nothing.                     4. take what was written
//!   4. busy = false
//! ```
//!
//! *Either fence is first.* If the writer's is, stop's step 3 sees it busy and
//! waits; if stop's is, the writer's step 3 sees that the recording is over. So
//! after step 3 nobody writes. As for the owner words, the rare side pays for
//! both fences; where the kernel refuses `membarrier`, writers run their own.
//!
//! *Rejected*: the owner word's own `inside`: an idle LWP is inside for ever,
//! asleep, and stop would have to wake it.

use lisle_lwp::owner;
use lisle_lwp::shim::{AtomicBool, AtomicU32, Ordering, compiler_fence, fence};

/// What a writer says of itself. One writer, for as long as it may write to any
/// recording: one that comes too late for this one says here that it has left.
#[derive(Debug)]
pub(crate) struct Pass {
    busy: AtomicBool,
}

impl Pass {
    lisle_lwp::const_unless_loom! {
        /// Of somebody who does not write.
        pub(crate) fn new() -> Pass {
            Pass { busy: AtomicBool::new(false) }
        }
    }

    /// Whether the caller may write to the recording of this number. If so it
    /// calls [`Pass::leave`] afterwards.
    #[inline(always)]
    pub(crate) fn enter(&self, current: &AtomicU32, number: u32) -> bool {
        self.busy.store(true, Ordering::Relaxed);
        // Pairs with the barrier of whoever stops: see the module documentation.
        if owner::has_fences() {
            fence(Ordering::SeqCst);
        } else {
            compiler_fence(Ordering::SeqCst);
        }
        // Acquire: the words; pairs with the Release of whoever started.
        let allowed = current.load(Ordering::Acquire) == number;
        if !allowed {
            self.leave();
        }
        allowed
    }

    /// The caller has written.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        // Release: what was written; pairs with the Acquire in `is_busy`.
        self.busy.store(false, Ordering::Release);
    }

    /// Whether somebody may be writing; for the one who stops, after the
    /// barrier.
    pub(crate) fn is_busy(&self) -> bool {
        // Acquire: pairs with the Release in `leave`.
        self.busy.load(Ordering::Acquire)
    }
}
