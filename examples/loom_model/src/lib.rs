//! Model-checking one's own code: a mailbox built on lisle's primitives.
//!
//! lisle's locks, semaphores and channels run inside `loom::model`, so whatever
//! is built on them can be checked under *every* interleaving, within loom's
//! bounds, instead of the few that a test happens to meet:
//!
//! ```text
//! cargo test -p lisle-example-loom
//! RUSTFLAGS="--cfg lisle_loom" cargo test -p lisle-example-loom --release
//! ```
//!
//! The recipe:
//! 1. the code under test names lisle's primitives and nothing of std's;
//! 2. the test takes `spawn` from loom or from std, by the cfg (module `spawn`);
//! 3. the test's body is a closure that is given to loom's model or called.
//!
//! Two threads and a few operations are enough to find most mistakes, and more
//! are soon too many: the number of interleavings grows exponentially.

use lisle::sync::{Condvar, Mutex};

#[cfg(test)]
mod tests;

/// A place for one message.
///
/// Putting waits while it is taken, taking waits while it is empty.
///
/// *Protocol*: a monitor with two conditions, one for each side, so that a
/// notify cannot wake the wrong side.
#[derive(Debug)]
pub struct Mailbox<T> {
    slot: Mutex<Option<T>>,
    filled: Condvar,
    emptied: Condvar,
}

impl<T> Mailbox<T> {
    /// An empty mailbox.
    pub fn new() -> Self {
        Self {
            slot: Mutex::new(None),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Puts a message in, waiting until there is room.
    ///
    /// # Panics
    /// If a thread panicked in the mailbox.
    pub fn put(&self, message: T) {
        let slot = self.slot.lock().expect("not poisoned");
        let empty = self.emptied.wait_while(slot, |slot| slot.is_some());
        *empty.expect("not poisoned") = Some(message);
        self.filled.notify_one();
    }

    /// Takes the message out, waiting for it.
    ///
    /// # Panics
    /// If a thread panicked in the mailbox.
    pub fn take(&self) -> T {
        loop {
            let slot = self.slot.lock().expect("not poisoned");
            let full = self.filled.wait_while(slot, |slot| slot.is_none());
            if let Some(message) = full.expect("not poisoned").take() {
                self.emptied.notify_one();
                return message;
            }
        }
    }

    /// Takes the message out if there is one.
    ///
    /// # Panics
    /// If a thread panicked in the mailbox.
    pub fn try_take(&self) -> Option<T> {
        let message = self.slot.lock().expect("not poisoned").take()?;
        self.emptied.notify_one();
        Some(message)
    }
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self::new()
    }
}
