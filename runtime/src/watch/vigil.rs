//! The monitor sleeps while all LWPs do; whoever gets up wakes it.
//!
//! | LWP that gets up | monitor that goes to sleep |
//! |---|---|
//! | 1. it, or who woke it, counts it awake ([`sleepers`](crate::sched::sleepers)) | 1. say that it sleeps |
//! | 2. `SeqCst` fence | 2. `SeqCst` fence |
//! | 3. the monitor sleeps? take that back, and wake it | 3. is an LWP awake? then do not sleep |
//!
//! *No LWP is at work while the monitor sleeps.* Of the two fences one is first. If the LWP's is,
//! step 3 of the monitor sees it awake. If the other is, the LWP sees that the monitor sleeps,
//! or another one has seen that and wakes it. The same holds for an LWP that is added, or
//! revives itself ([`roster`](crate::sched::roster)): then step 1 is counting it as serving.

use std::time::Duration;

use lisle_lwp::shim::{AtomicBool, Ordering, fence};
use lisle_lwp::sleep::Sleeper;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Vigil {
    /// The monitor sleeps until an LWP gets up.
    asleep: AtomicBool,
    monitor: Sleeper,
}

impl Vigil {
    /// The monitor is awake.
    #[allow(clippy::new_without_default)]
    pub(crate) fn new() -> Vigil {
        Vigil {
            asleep: AtomicBool::new(false),
            monitor: Sleeper::new(),
        }
    }

    /// Steps 2 and 3 of the left column.
    pub(crate) fn look_out(&self) {
        // Pairs with the fence in `rest`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.monitor.wake();
        }
    }

    /// The right column, by the monitor: it sleeps while `all_sleep`, at most for `time`, which
    /// is asked behind the fence.
    pub(crate) fn rest(
        &self,
        all_sleep: impl FnOnce() -> bool,
        time: impl FnOnce() -> Option<Duration>,
    ) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `look_out`.
        fence(Ordering::SeqCst);
        if all_sleep() {
            self.monitor.sleep(time());
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// The monitor's pause between two looks, while LWPs are awake.
    pub(crate) fn pause(&self, time: Duration) {
        self.monitor.sleep(Some(time));
    }

    /// The monitor is to look, be LWPs awake or not.
    pub(crate) fn wake(&self) {
        self.monitor.wake();
    }
}
