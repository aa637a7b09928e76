//! `Sleeper`: how a kernel thread sleeps until another wakes it.
//!
//! One per kernel thread; one token, which is never lost: a wake before the
//! sleep makes the sleep return at once.
//!
//! | value | meaning |
//! |---|---|
//! | 0 `EMPTY` | awake, no token |
//! | 1 `NOTIFIED` | awake or about to be, a token waits |
//! | 2 `ASLEEP` | the owner sleeps, or is about to, in the kernel |
//!
//! *Protocol*. Owner: (1) take a token if there is one; (2) `EMPTY → ASLEEP`,
//! which fails only if a token came; (3) sleep while `ASLEEP`; (4) take the
//! token. Waker: `→ NOTIFIED`; if it was `ASLEEP`, wake the kernel thread. The
//! kernel compares the word with `ASLEEP` before it sleeps, so a wake between
//! (2) and (3) is seen.

use core::time::Duration;

use crate::shim::{Futex, Ordering};

const EMPTY: u32 = 0;
const NOTIFIED: u32 = 1;
const ASLEEP: u32 = 2;

/// A token on which one kernel thread sleeps. See the module documentation.
#[derive(Debug)]
pub struct Sleeper(Futex);

impl Sleeper {
    const_unless_loom! {
        /// No token, nobody asleep.
        pub fn new() -> Sleeper {
            Sleeper(Futex::new(EMPTY))
        }
    }

    /// Sleeps until a token comes or, if there is one, `timeout` passes; takes
    /// the token. Returns whether there was a token. Only the owner may call it.
    pub fn sleep(&self, timeout: Option<Duration>) -> bool {
        // Acquire: pairs with the Release in `wake`.
        if self.0.swap(EMPTY, Ordering::Acquire) == NOTIFIED {
            return true;
        }
        let slept = self
            .0
            .compare_exchange(EMPTY, ASLEEP, Ordering::Relaxed, Ordering::Relaxed);
        if slept.is_ok() {
            // With a timeout, one round is enough: callers look at the clock.
            while self.0.wait(ASLEEP, timeout)
                && self.0.load(Ordering::Relaxed) == ASLEEP
                && timeout.is_none()
            {}
        }
        // Acquire: pairs with the Release in `wake`.
        self.0.swap(EMPTY, Ordering::Acquire) == NOTIFIED
    }

    /// Leaves a token and wakes the owner if it sleeps. Any thread may call it.
    pub fn wake(&self) {
        // Release: pairs with the Acquire in `sleep`.
        if self.0.swap(NOTIFIED, Ordering::Release) == ASLEEP {
            self.0.wake_one();
        }
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;

    #[test]
    fn token_before_sleep_is_kept() {
        let sleeper = Sleeper::new();
        sleeper.wake();
        sleeper.wake();
        assert!(sleeper.sleep(None));
        assert!(!sleeper.sleep(Some(Duration::from_millis(1))));
    }

    #[test]
    fn ping_pong_loses_nothing() {
        let (a, b) = (Sleeper::new(), Sleeper::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    while !a.sleep(None) {}
                    b.wake();
                }
            });
            for _ in 0..2_000 {
                a.wake();
                while !b.sleep(None) {}
            }
        });
    }
}
