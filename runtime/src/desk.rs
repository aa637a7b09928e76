//! A desk: one asks a certain kernel thread, which answers in a signal handler, or
//! does not answer.
//!
//! ```text
//!           take                 ask(k)                    answer, by k
//!   FREE ─────────► HELD ───────────────────► ASKED(k) ─────────────────► HELD ─► … ─► FREE
//!                     ▲   by who asks            │                          the token tells that
//!                     └──────────────────────────┘                          the answer stands
//!                        withdrawn: time is up
//! ```
//!
//! *Invariant*: what lies on the desk is touched by who has made the word `HELD`: who
//! asks, from taking to asking; then whoever of the two takes `ASKED` away, by one
//! exchange. If that is who answers, the other one waits for the token, however long:
//! the answer is being written, by a handler that waits for nothing.
//!
//! So nobody waits for a thread that does not answer, and an answer that comes too
//! late finds nothing to answer. The desk is never freed: who answers may touch it
//! after the other one has gone on.
//!
//! *Rejected*: a question on the asker's stack (the last step of the answer, the
//! wake-up, would touch memory that may be gone); a desk per kernel thread (control
//! blocks would grow by what is hardly ever used).

use core::time::Duration;

use lisle_lwp::const_unless_loom;
use lisle_lwp::shim::{AtomicU32, Cell, Ordering};
use lisle_lwp::sleep::Sleeper;

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Then the kernel's id of who is asked, which is less than 2^30.
const ASKED: u32 = 2;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Desk<T> {
    word: AtomicU32,
    answered: Sleeper,
    paper: Cell<T>,
}

// SAFETY: the word says whose the paper is.
unsafe impl<T: Send> Sync for Desk<T> {}

impl<T> Desk<T> {
    const_unless_loom! {
        /// Free.
        pub(crate) fn new(paper: T) -> Self {
            Desk {
                word: AtomicU32::new(FREE),
                answered: Sleeper::new(),
                paper: Cell::new(paper),
            }
        }
    }

    /// Takes the desk, to ask, if it is free.
    pub(crate) fn take(&self) -> Option<Asker<'_, T>> {
        // Acquire: the last asker has done with the paper; pairs with the Release in
        // `Asker::drop`.
        let taken = self
            .word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        taken.ok().map(|_| Asker(self))
    }

    /// If the caller, kernel thread `me`, is asked, answers by `f`. Returns whether it
    /// was. Does nothing that a signal handler may not do if `f` does not.
    pub(crate) fn answer(&self, me: u32, f: impl FnOnce(&mut T)) -> bool {
        let asked = ASKED | me << 2;
        // The exchange alone would be enough; most signals have another reason.
        if self.word.load(Ordering::Relaxed) != asked {
            return false;
        }
        // Acquire: the question; pairs with the Release in `ask`.
        let mine = self
            .word
            .compare_exchange(asked, HELD, Ordering::Acquire, Ordering::Relaxed);
        if mine.is_err() {
            return false;
        }
        // SAFETY: whoever takes `ASKED` away has the paper.
        self.paper.with_mut(|paper| f(unsafe { &mut *paper }));
        // Its Release publishes the answer; pairs with the Acquire in `Sleeper::sleep`.
        self.answered.wake();
        true
    }

    /// In a forked child, in which nobody asks.
    pub(crate) fn forget(&self) {
        self.word.store(FREE, Ordering::Relaxed);
    }
}

/// Who has taken the desk; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Asker<'a, T>(&'a Desk<T>);

impl<T> Asker<'_, T> {
    /// Reads and writes what lies on the desk.
    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: who has taken the desk has the paper, except in `ask`.
        self.0.paper.with_mut(|paper| f(unsafe { &mut *paper }))
    }

    /// Asks kernel thread `whom` what is written on the paper. `send` sends it the
    /// signal, and says whether that was possible. Returns whether there is an answer,
    /// which may come until `patience` is over.
    pub(crate) fn ask(
        &mut self,
        whom: u32,
        patience: Duration,
        send: impl FnOnce() -> bool,
    ) -> bool {
        let desk = self.0;
        let asked = ASKED | whom << 2;
        // Release: the question; pairs with the Acquire in `answer`.
        desk.word.store(asked, Ordering::Release);
        if send() && desk.answered.sleep(Some(patience)) {
            return true;
        }
        // Relaxed: nobody has written anything.
        let withdrawn =
            desk.word
                .compare_exchange(asked, HELD, Ordering::Relaxed, Ordering::Relaxed);
        if withdrawn.is_err() {
            while !desk.answered.sleep(None) {}
        }
        withdrawn.is_err()
    }
}

impl<T> Drop for Asker<'_, T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `take`.
        self.0.word.store(FREE, Ordering::Release);
    }
}
