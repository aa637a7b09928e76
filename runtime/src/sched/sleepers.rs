//! Who searches and who sleeps: how idle LWPs and submitters of work find each
//! other without losing a wake-up and without waking one LWP per event.
//!
//! Two counts in one word, readable with one load: LWPs *searching* (awake
//! without work) and LWPs *asleep*. The lists of who sleeps stand behind a lock,
//! because sleeping and waking are rare.
//!
//! *Protocol.*
//!
//! | submitter | LWP going to sleep |
//! |---|---|
//! | 1. make the work visible to others | 1. count itself asleep instead of searching |
//! | 2. `SeqCst` fence | 2. `SeqCst` fence |
//! | 3. nobody searches, somebody sleeps? wake one, counted as searching | 3. work visible? then do not sleep |
//!
//! *No ready thread while every LWP sleeps.* Of the two fences one is first. If
//! the submitter's is, the sleeper's step 3 sees the work. If the sleeper's is,
//! the submitter's step 3 sees the sleeper, and wakes it unless somebody
//! searches. A searcher finds the work, or goes through the right column itself
//! after the submitter's fence and sees it in its step 3. When the *last*
//! searcher finds work it wakes another LWP ([`Sleepers::stop_search`]), because
//! submitters relied on it for the work it did not take.
//!
//! *Readiness has somebody to wait for it while an LWP sleeps.* Who falls asleep takes the poller's
//! bed if that is free. Who leaves it searches, and the last searcher to stop sees it free, and
//! wakes another ([`Sleepers::needs_another`]).
//!
//! *Throttle.* While somebody searches, submitters wake nobody: one searcher
//! wakes the next, so k wake-ups follow one another instead of coming at once.
//!
//! *Rejected*: a wake per submission (a futex wake and the wake-up behind it
//! cost hundreds of spawns); an eventcount without the searching state (wakes
//! an LWP for work that a searcher is about to take).

use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicU32, Ordering, fence};

const SEARCHING: u32 = 1;
const ASLEEP: u32 = 1 << 16;
const SEARCHERS: u32 = ASLEEP - 1;

/// How a sleeping LWP can be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bed {
    /// It sleeps on its own word.
    Alone(usize),
    /// It waits for readiness and timers on behalf of all.
    Poller(usize),
}

#[derive(Debug)]
struct Beds {
    alone: Vec<usize>,
    poller: Option<usize>,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Sleepers {
    counts: AtomicU32,
    beds: RawLock<Beds>,
}

impl Sleepers {
    /// For `lwps` LWPs, all of them busy.
    pub fn new(lwps: usize) -> Self {
        assert!(lwps < SEARCHERS as usize, "at most {} LWPs", SEARCHERS - 1);
        // Room for all: pushing below never allocates.
        let beds = Beds {
            alone: Vec::with_capacity(lwps),
            poller: None,
        };
        Sleepers {
            counts: AtomicU32::new(0),
            beds: RawLock::new(beds),
        }
    }

    /// Whether any LWP is idle, awake or asleep. A hint.
    #[inline(always)]
    pub fn any_idle(&self) -> bool {
        self.counts.load(Ordering::Relaxed) != 0
    }

    /// A word that is not zero while any LWP is idle, for those who look often.
    /// A hint.
    pub fn watch(&self) -> &AtomicU32 {
        &self.counts
    }

    /// How many LWPs search and sleep. A hint.
    pub fn idle(&self) -> (usize, usize) {
        let counts = self.counts.load(Ordering::Relaxed);
        ((counts & SEARCHERS) as usize, (counts / ASLEEP) as usize)
    }

    /// Whether a submission would wake somebody. A hint.
    #[inline]
    pub fn would_wake(&self) -> bool {
        let counts = self.counts.load(Ordering::Relaxed);
        counts & SEARCHERS == 0 && counts >= ASLEEP
    }

    /// How many LWPs sleep. A hint.
    pub fn asleep(&self) -> usize {
        (self.counts.load(Ordering::Relaxed) / ASLEEP) as usize
    }

    /// Steps 2 and 3 of a submitter, after work was made visible. Returns whom
    /// to wake; it is counted as searching already.
    #[must_use]
    pub fn announce(&self) -> Option<Bed> {
        // Pairs with the fence in `fall_asleep`.
        fence(Ordering::SeqCst);
        self.would_wake().then(|| self.rouse(true))?
    }

    /// Takes a sleeper out of its bed. With `alone`, only if nobody searches.
    fn rouse(&self, alone: bool) -> Option<Bed> {
        let mut beds = self.beds.lock();
        if alone && self.counts.load(Ordering::Relaxed) & SEARCHERS != 0 {
            return None;
        }
        // The poller last: it is useful where it is.
        let bed = match beds.alone.pop() {
            Some(lwp) => Bed::Alone(lwp),
            None => Bed::Poller(beds.poller.take()?),
        };
        self.counts.fetch_sub(ASLEEP - SEARCHING, Ordering::Relaxed);
        Some(bed)
    }

    /// Takes any sleeper out of its bed, for shutting down.
    #[must_use]
    pub fn rouse_any(&self) -> Option<Bed> {
        self.rouse(false)
    }

    /// Takes this LWP out of its bed, if it is in one: it is to look round.
    #[must_use]
    pub fn rouse_one(&self, lwp: usize) -> Option<Bed> {
        [Bed::Alone(lwp), Bed::Poller(lwp)]
            .into_iter()
            .find(|bed| self.get_up(*bed))
    }

    /// An LWP without work begins to search.
    pub fn start_search(&self) {
        self.counts.fetch_add(SEARCHING, Ordering::Relaxed);
    }

    /// A searching LWP found work. Returns whether it was the last searcher: if
    /// so it must look whether anybody should take its place.
    #[must_use]
    pub fn stop_search(&self) -> bool {
        let before = self.counts.fetch_sub(SEARCHING, Ordering::Relaxed);
        // The count goes down before the caller looks at what work is left;
        // pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        before & SEARCHERS == 1
    }

    /// What the last searcher asks once it has stopped: whether to wake another. Submitters
    /// relied on it for the work that it did not take, and somebody should wait for readiness,
    /// which nobody announces.
    pub fn needs_another(&self, work_left: impl FnOnce() -> bool) -> bool {
        work_left() || self.poller_vacant()
    }

    /// Steps 1 and 2 of an LWP going to sleep. With `poll`, it takes the
    /// poller's bed if that is free; the returned bed says which it got. Step
    /// 3 is the caller's.
    #[must_use]
    pub fn fall_asleep(&self, lwp: usize, poll: bool) -> Bed {
        let bed = {
            let mut beds = self.beds.lock();
            let bed = if poll && beds.poller.is_none() {
                beds.poller = Some(lwp);
                Bed::Poller(lwp)
            } else {
                beds.alone.push(lwp);
                Bed::Alone(lwp)
            };
            self.counts.fetch_add(ASLEEP - SEARCHING, Ordering::Relaxed);
            bed
        };
        // Pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        bed
    }

    /// An LWP gets up by itself (work in step 3, an event, a deadline), unless
    /// somebody has already woken it; either way it is counted as searching.
    /// Returns whether it got up by itself: if not, a wake token is on its way.
    pub fn get_up(&self, bed: Bed) -> bool {
        let mut beds = self.beds.lock();
        let in_bed = match bed {
            Bed::Poller(lwp) => beds.poller.take_if(|p| *p == lwp).is_some(),
            Bed::Alone(lwp) => match beds.alone.iter().position(|l| *l == lwp) {
                Some(index) => {
                    beds.alone.swap_remove(index);
                    true
                }
                None => false,
            },
        };
        if in_bed {
            self.counts.fetch_sub(ASLEEP - SEARCHING, Ordering::Relaxed);
        }
        in_bed
    }

    /// Whether nobody has taken the LWP out of this bed.
    pub fn is_in_bed(&self, bed: Bed) -> bool {
        let beds = self.beds.lock();
        match bed {
            Bed::Poller(lwp) => beds.poller == Some(lwp),
            Bed::Alone(lwp) => beds.alone.contains(&lwp),
        }
    }

    /// Whether nobody waits for readiness. A hint.
    pub fn poller_vacant(&self) -> bool {
        self.beds.lock().poller.is_none()
    }
}
