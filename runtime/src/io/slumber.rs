//! What others know of the poller's sleeper: until when it sleeps, and whether it sleeps without a period.
//!
//! It waits for the earliest deadline of all, and looks round from time to time while any LWP is busy. Who sets
//! an earlier deadline afterwards, or gets an LWP up, notifies it:
//!
//! | sleeper | setter of a deadline | who gets an LWP up, its own or another |
//! |---|---|---|
//! | 1. says until when it sleeps, and that it sleeps long | 1. links the deadline | 1. counts it awake |
//! | 2. `SeqCst` fence | 2. `SeqCst` fence | 2. `SeqCst` fence |
//! | 3. looks at the deadlines again, and whether others are busy | 3. earlier than that? notify | 3. it sleeps long? notify |
//!
//! Of two fences one is first, so either the sleeper sees the deadline, or the busy LWP, or who is in the other
//! column sees what the sleeper has said.
//!
//! A deadline that is not the earliest of its LWP is nobody's to tell: the earlier one's setter has told of that, or
//! will, and the sleeper then looks at what is the earliest.

use std::time::Duration;

use lisle_lwp::shim::{AtomicBool, AtomicU64, Ordering, fence};

/// `until` while nobody sleeps in the poller: no deadline is earlier.
const AWAKE: u64 = 0;

/// A pause as long as this is no period.
const LONG: Duration = Duration::from_secs(1);

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Slumber {
    until: AtomicU64,
    long: AtomicBool,
}

impl Slumber {
    lisle_lwp::const_unless_loom! {
        /// Nobody sleeps.
        pub(crate) fn new() -> Slumber {
            Slumber {
                until: AtomicU64::new(AWAKE),
                long: AtomicBool::new(false),
            }
        }
    }

    /// The sleeper's steps. Returns the deadline until which it may sleep, and the pause, which is the shorter one
    /// if others are busy.
    pub(crate) fn begin(
        &self,
        earliest: impl Fn() -> u64,
        pause: impl FnOnce() -> Option<Duration>,
    ) -> (u64, Option<Duration>) {
        self.long.store(true, Ordering::Relaxed);
        let mut until = earliest();
        loop {
            self.until.store(until, Ordering::Relaxed);
            // Pairs with the fences in `is_too_long_for` and `end_if_long`.
            fence(Ordering::SeqCst);
            let now_earliest = earliest();
            if now_earliest >= until {
                break;
            }
            until = now_earliest;
        }
        let pause = pause();
        if pause.is_some_and(|pause| pause < LONG) {
            self.long.store(false, Ordering::Relaxed);
        }
        (until, pause)
    }

    /// The sleeper is awake.
    pub(crate) fn end(&self) {
        self.long.store(false, Ordering::Relaxed);
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

    /// Steps 2 and 3 of who gets an LWP up: nobody sleeps long any more. If it returns `true`, the caller notifies
    /// the sleeper.
    #[must_use]
    pub(crate) fn end_if_long(&self) -> bool {
        // Pairs with the fence in `begin`.
        fence(Ordering::SeqCst);
        self.long.load(Ordering::Relaxed) && self.long.swap(false, Ordering::Relaxed)
    }
}
