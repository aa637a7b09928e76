//! How many threads of a runtime have not ended, and whether it takes more.
//!
//! ```text
//!   spawns from outside:  counts ──► fence ──► stops it? ─── no ──► the thread is put in a queue
//!                                                       └── yes ──► counts its end: refused
//!   a shutdown:           stops ───► fence ──► looks at the counts: have all ended?
//! ```
//!
//! *Invariant*: a thread is counted before anybody else can see it, and its end after all that
//! it did, having counted whom it spawned. An LWP counts what its own threads do, with plain
//! stores ([`Tally`]); all else is counted in one place, by exchanges.
//!
//! *Why a shutdown tells the truth*. By the fences, either it sees the count of a thread that
//! is spawned from outside, or whoever spawns that sees that the runtime stops, and refuses.
//! Ends are read first. An end that is seen brings the thread's own count and those of all
//! whom it spawned; so if there are as many counts as ends, they are those of the same threads:
//! all who were spawned from outside and were not refused, and of those whatever they spawned.
//! (A helper of jobs is launched by an idle LWP, for a thread that waits for its end: that
//! thread's own end brings both counts.)
//!
//! In between, one that is about to be refused counts as alive: a shutdown may say that
//! threads are left when none is, but not the other way round.

use crossbeam_utils::CachePadded;
use lisle_lwp::shim::{AtomicBool, AtomicU64, Ordering, fence};

/// What the threads of an LWP did: written by its owner only, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    spawned: AtomicU64,
    ended: AtomicU64,
}

impl Tally {
    /// A thread is spawned, and is about to be seen.
    #[inline(always)]
    pub(crate) fn count_spawned(&self) {
        let spawned = self.spawned.load(Ordering::Relaxed);
        // Relaxed: the end of whoever spawns it brings it.
        self.spawned
            .store(spawned.wrapping_add(1), Ordering::Relaxed);
    }

    /// A thread has ended.
    #[inline(always)]
    pub(crate) fn count_ended(&self) {
        let ended = self.ended.load(Ordering::Relaxed);
        // Release: what the thread spawned; pairs with the Acquire in `live`.
        self.ended.store(ended + 1, Ordering::Release);
    }

    /// For observers.
    pub(crate) fn spawned(&self) -> u64 {
        self.spawned.load(Ordering::Relaxed)
    }

    /// For observers.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Census {
    /// What is counted by no LWP. Apart from what is read at each spawn.
    elsewhere: CachePadded<Tally>,
    stopping: AtomicBool,
}

impl Census {
    /// No thread, and any may come.
    pub(crate) fn new() -> Census {
        Census {
            elsewhere: CachePadded::new(Tally::default()),
            stopping: AtomicBool::new(false),
        }
    }

    /// Counts a thread that is spawned by none of the runtime's LWPs. `false`: the runtime stops,
    /// and takes none.
    #[must_use]
    pub(crate) fn admit(&self) -> bool {
        // Relaxed: the fence orders it.
        self.elsewhere.spawned.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence in `stop`: either the runtime counts the thread
        // before it calls itself ended, or we see that it stops.
        fence(Ordering::SeqCst);
        let stops = self.is_stopping();
        if stops {
            self.count_ended();
        }
        !stops
    }

    /// A thread has ended that runs on no LWP. From here on the runtime may be gone.
    pub(crate) fn count_ended(&self) {
        // Release: what the thread spawned; pairs with the Acquire in `live`.
        self.elsewhere.ended.fetch_add(1, Ordering::Release);
    }

    /// From here on none is admitted that a look at [`Census::live`] has missed.
    pub(crate) fn stop(&self) {
        // Release: pairs with the Acquire in `is_stopping`.
        self.stopping.store(true, Ordering::Release);
        // Pairs with the fence in `admit`.
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        // Acquire: pairs with the Release in `stop`.
        self.stopping.load(Ordering::Acquire)
    }

    /// How many threads have not ended. Exact once no thread is spawned.
    pub(crate) fn live<'a>(&'a self, lwps: impl Iterator<Item = &'a Tally> + Clone) -> u64 {
        let tallies = lwps.chain([&*self.elsewhere]);
        // Ends are read first: a thread that ends meanwhile counts as alive.
        // Acquire: pairs with the Releases in both `count_ended`; it also keeps the second look behind.
        let ended: u64 = tallies
            .clone()
            .map(|tally| tally.ended.load(Ordering::Acquire))
            .sum();
        let spawned: u64 = tallies
            .map(|tally| tally.spawned.load(Ordering::Relaxed))
            .sum();
        spawned.saturating_sub(ended)
    }
}
