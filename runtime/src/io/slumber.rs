//! What others know of the poller's sleeper: until when it sleeps.
//!
//! It waits for the earliest deadline of all. Who sets an earlier one afterwards notifies it:
//!
//! | sleeper | setter of a deadline |
//! |---|---|
//! | 1. says until when it sleeps | 1. links the deadline |
//! | 2. `SeqCst` fence | 2. `SeqCst` fence |
//! | 3. looks at the deadlines again | 3. earlier than that? notify |
//!
//! Of the two fences one is first, so either the sleeper sees the deadline or its setter sees what the sleeper has
//! said.
//!
//! A deadline that is not the earliest of its LWP is nobody's to tell: the earlier one's setter has told of that, or
//! will, and the sleeper then looks at what is the earliest.

use lisle_lwp::shim::{AtomicU64, Ordering, fence};

/// `until` while nobody sleeps in the poller: no deadline is earlier.
const AWAKE: u64 = 0;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Slumber {
    until: AtomicU64,
}

impl Slumber {
    lisle_lwp::const_unless_loom! {
        /// Nobody sleeps.
        pub(crate) fn new() -> Slumber {
            Slumber {
                until: AtomicU64::new(AWAKE),
            }
        }
    }

    /// The sleeper's steps. Returns the deadline until which it may sleep.
    pub(crate) fn begin(&self, earliest: impl Fn() -> u64) -> u64 {
        let mut until = earliest();
        loop {
            self.until.store(until, Ordering::Relaxed);
            // Pairs with the fence in `is_too_long_for`.
            fence(Ordering::SeqCst);
            let now_earliest = earliest();
            if now_earliest >= until {
                return until;
            }
            until = now_earliest;
        }
    }

    /// The sleeper is awake.
    pub(crate) fn end(&self) {
        self.until.store(AWAKE, Ordering::Relaxed);
    }

    /// Steps 2 and 3 of who has linked a deadline. If it returns `true`, the caller notifies the sleeper.
    #[must_use]
    #[inline]
    pub(crate) fn is_too_long_for(&self, deadline: u64) -> bool {
        // Pairs with the fence in `begin`.
        fence(Ordering::SeqCst);
        deadline < self.until.load(Ordering::Relaxed)
    }
}
