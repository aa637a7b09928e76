//! Which LWPs there are: adding and retiring them while the runtime runs.
//!
//! A runtime is built with room for as many LWPs as it may ever have; some of
//! them are *retired*, which is a state of their owner words. The LWPs wanted are
//! always those with the lowest numbers.
//!
//! | who changes the number | LWP that is not wanted, in its idle context |
//! |---|---|
//! | 1. say how many are wanted | 1. hand its threads to the injector |
//! | 2. `SeqCst` fence | 2. retire the owner word |
//! | 3. revive every wanted one that is retired, and send it a kernel thread | 3. `SeqCst` fence |
//! | 4. wake every unwanted one that sleeps | 4. wanted after all? revive it and carry on |
//!
//! *No wanted LWP stays retired.* Of the two fences one is first. If the LWP's
//! is, step 3 of the left column sees it retired. If the other is, its step 4
//! sees that it is wanted. If both, one of them revives it. Each sends one kernel
//! thread (or is one), and the owner word lets one of those who come carry it.
//!
//! *Nothing is left behind.* Ready threads go to the injector before the LWP
//! retires, and are announced as any submission is
//! ([`sleepers`](super::sleepers)). An LWP that was woken for work and retires
//! instead passes the wake-up on as the last searcher does. Deadlines stay where
//! they are: their heaps live as long as the runtime, and whoever looks at
//! deadlines looks at all heaps. An LWP retires only in its idle context; one
//! that is stuck with a thread is offered first, like that of any hog.
//!
//! *The program has the last word.* It may say how many it wants while the runtime changes the
//! number to that of the processors ([`Roster::follow`]). Both say first what they want, and look
//! behind a fence: so what the runtime says last is what the program wants, or
//! is overwritten by it.

use lisle_lwp::owner::{Holder, OwnerWord};
use lisle_lwp::shim::{AtomicUsize, Ordering, fence};

/// See the module documentation.
#[derive(Debug)]
pub struct Roster {
    wanted: AtomicUsize,
    /// How many the program wants; 0: as many as there are processors.
    fixed: AtomicUsize,
    /// How many are not retired, or about to be so no longer.
    serving: AtomicUsize,
    /// How many there were at most: further ones have never done anything.
    most: AtomicUsize,
}

impl Roster {
    /// The first `lwps` LWPs are there.
    pub fn new(lwps: usize) -> Roster {
        Roster {
            wanted: AtomicUsize::new(lwps),
            fixed: AtomicUsize::new(0),
            serving: AtomicUsize::new(lwps),
            most: AtomicUsize::new(lwps),
        }
    }

    /// Steps 1 and 2 of the left column.
    pub fn want(&self, lwps: usize) {
        self.wanted.store(lwps, Ordering::Relaxed);
        // Pairs with the fence in `leave`, and with that in `fix`.
        fence(Ordering::SeqCst);
    }

    /// The program says how many it wants, and is about to see to it.
    pub fn fix(&self, lwps: usize) {
        self.fixed.store(lwps, Ordering::Relaxed);
        // Pairs with the fence in `want` of somebody who follows the processors: that one
        // sees this, or what it says there is overwritten.
        fence(Ordering::SeqCst);
    }

    /// Whether the program has said how many it wants.
    pub fn is_fixed(&self) -> bool {
        self.fixed.load(Ordering::Relaxed) != 0
    }

    /// Has as many as there are processors, by `resize`, which begins with [`Roster::want`]; or
    /// as many as the program wants, if it says so meanwhile, however often.
    pub fn follow(&self, processors: usize, mut resize: impl FnMut(usize)) {
        if self.is_fixed() || processors == self.wanted() {
            return;
        }
        let mut lwps = processors;
        loop {
            resize(lwps);
            match self.fixed.load(Ordering::Relaxed) {
                0 => return,
                fixed if fixed == lwps => return,
                fixed => lwps = fixed,
            }
        }
    }

    /// As [`Roster::want`], if `before` are wanted now.
    pub fn want_instead_of(&self, before: usize, lwps: usize) {
        let _ = self
            .wanted
            .compare_exchange(before, lwps, Ordering::Relaxed, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// How many are wanted.
    pub fn wanted(&self) -> usize {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Whether the LWP with this number is wanted.
    #[inline]
    pub fn wants(&self, lwp: usize) -> bool {
        lwp < self.wanted()
    }

    /// How many are at work, asleep or on their way. A hint.
    pub fn serving(&self) -> usize {
        self.serving.load(Ordering::Relaxed)
    }

    /// How many there ever were.
    #[inline]
    pub fn most(&self) -> usize {
        // Relaxed: what an LWP has done before anybody could see it here is of
        // no interest.
        self.most.load(Ordering::Relaxed)
    }

    /// Step 3 for one LWP. If it returns `true`, the caller sends it a kernel
    /// thread.
    #[must_use]
    pub fn revive(&self, lwp: usize, word: &OwnerWord) -> bool {
        let revived = self.wants(lwp) && word.revive();
        if revived {
            self.serving.fetch_add(1, Ordering::Relaxed);
            self.most.fetch_max(lwp + 1, Ordering::Relaxed);
        }
        revived
    }

    /// The kernel thread for a revived LWP is refused.
    pub fn give_up(&self, word: &OwnerWord) {
        if word.withdraw() {
            self.serving.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Steps 2 to 4 of the right column, by the holder, inside the runtime and
    /// with empty queues. If it returns `true`, the LWP is wanted after all and
    /// free, and the caller tries to carry it again.
    #[must_use]
    pub fn leave(&self, lwp: usize, word: &OwnerWord, me: &Holder) -> bool {
        self.serving.fetch_sub(1, Ordering::Relaxed);
        word.retire(me);
        // Pairs with the fence in `want`.
        fence(Ordering::SeqCst);
        self.revive(lwp, word)
    }
}
