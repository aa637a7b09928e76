//! Kernel threads on their way to an LWP: whoever offers it sends one, unless one is coming.
//!
//! | who offers the LWP | kernel thread that comes and does not get it |
//! |---|---|
//! | 1. offer it ([`owner`](lisle_lwp::owner)) | 1. count itself out |
//! | 2. `SeqCst` fence | 2. `SeqCst` fence |
//! | 3. is anybody counted? rely on that; else count one in and send it | 3. offered, and its holder outside? count itself in and try again |
//!
//! *No offer relies on one who has given up.* Of the two fences one is first. If the
//! offerer's is, step 3 of the right column sees the offer. If the other is, the offerer sees
//! who has gone counted out.
//!
//! *What may be left* is the offer of a holder that was inside at that step 3, and has not seen it: it
//! goes on with the LWP, takes the offer back when it enters again, and if it blocks
//! before that, the monitor's next look sends another. The same holds for an offer that comes
//! between getting hold of the LWP and counting out. (Who offers an LWP that it holds itself
//! has done both before.)

use lisle_lwp::shim::{AtomicU32, Ordering, fence};

/// See the module documentation.
#[derive(Debug)]
pub struct Coming(AtomicU32);

impl Coming {
    /// Nobody comes.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Coming {
        Coming(AtomicU32::new(0))
    }

    /// One more comes. Before it is sent, so that it is not counted out first.
    pub fn count_in(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Steps 2 and 3 of the left column, after an offer: whether one comes who will see it.
    pub fn is_any(&self) -> bool {
        // Pairs with the fence in `arrive`.
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) > 0
    }

    /// The right column, by one who is counted: tries to get hold of the LWP by `attempt`,
    /// again and again while there `is_more` to get.
    pub fn arrive<T>(
        &self,
        mut attempt: impl FnMut() -> Option<T>,
        is_more: impl Fn() -> bool,
    ) -> Option<T> {
        loop {
            let got = attempt();
            self.0.fetch_sub(1, Ordering::Relaxed);
            if got.is_some() {
                return got;
            }
            // Who offered the LWP after we looked may have relied on us; pairs with the
            // fence in `is_any`.
            fence(Ordering::SeqCst);
            if !is_more() {
                return None;
            }
            self.count_in();
        }
    }
}
