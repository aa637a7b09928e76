//! The gate of a thread scope: how many threads are inside, and the one that waits until
//! none is.
//!
//! ```text
//!   a thread:  enter ──► borrows ──► leave: counts itself out; the last one takes the
//!                                    key under the lock and fires it
//!   the end:   wait: looks ──► begins a wait ──► under the lock: looks again, and leaves
//!                                    its key if somebody is inside ──► blocks
//! ```
//!
//! *Invariant*: `wait` returns only after it has read that nobody is inside, with Acquire.
//! A wake-up is a reason to look, and nothing else; so what threads borrow outlives them
//! whatever wakes the end of their scope.
//!
//! *Invariant*: the last one counts itself out before it takes the lock. So it finds the
//! key, or is seen under the lock.
//!
//! Once the end waits only those inside can let others in, while they are inside
//! themselves: who is the last one then is the last one for ever.

use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicBool, AtomicUsize, Ordering};

use crate::Entry;
use crate::trace;
use crate::wait::{self, Outcome, Reason, WaitKey};

static ENDING: Reason = Reason::new("end of scope");

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Gate {
    inside: AtomicUsize,
    panicked: AtomicBool,
    /// The wait of the scope's end.
    waiter: RawLock<Option<WaitKey>>,
}

impl Gate {
    /// Nobody is inside.
    pub(crate) fn new() -> Gate {
        Gate {
            inside: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            waiter: RawLock::new(None),
        }
    }

    /// Lets a thread in that is to be. The caller is inside, or the scope's closure.
    pub(crate) fn enter(&self) {
        // Like a reference count: the limit cannot be reached by counting threads.
        self.inside.fetch_add(1, Ordering::Relaxed);
    }

    /// A thread has left what it borrows for ever.
    pub(crate) fn leave(&self, panicked: bool) {
        if trace::is_on() {
            trace::left_scope(core::ptr::from_ref(self) as usize);
        }
        if panicked {
            self.note_panic();
        }
        // Release: all that the thread did; pairs with the Acquire in `wait`.
        if self.inside.fetch_sub(1, Ordering::Release) == 1 {
            let waiter = {
                let _entry = Entry::new();
                self.waiter.lock().take()
            };
            if let Some(waiter) = waiter {
                waiter.fire(Outcome::Woken);
            }
        }
    }

    /// Waits until nobody is inside. Not a cancellation point.
    pub(crate) fn wait(&self) {
        // Acquire: pairs with the Release in `leave`.
        while self.inside.load(Ordering::Acquire) != 0 {
            let Ok(wait) = wait::begin(&ENDING, 0, false) else {
                unreachable!("the wait cannot be cancelled")
            };
            let over = {
                let _entry = Entry::new();
                let mut waiter = self.waiter.lock();
                // The last one leaves before it takes the lock, so it either
                // finds the wait or is seen here. Acquire: as above.
                let over = self.inside.load(Ordering::Acquire) == 0;
                *waiter = (!over).then(|| wait.key());
                over
            };
            if over {
                let _ = wait.abandon();
            } else {
                let _ = wait.block(None);
            }
        }
        if trace::is_on() {
            trace::ended_scope(core::ptr::from_ref(self) as usize);
        }
    }

    /// A thread has panicked of which no handle tells. The caller is inside, or the scope's
    /// closure.
    pub(crate) fn note_panic(&self) {
        // Relaxed: looked at after `wait`.
        self.panicked.store(true, Ordering::Relaxed);
    }

    /// Whether [`Gate::note_panic`] was called; asked after [`Gate::wait`].
    pub(crate) fn saw_panic(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    /// How many are inside, for observers.
    pub(crate) fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }
}
