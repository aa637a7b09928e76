//! The LWP: a virtual processor with its run queue.
//!
//! ```text
//!            made ready by the running thread
//!                        │
//!                  ┌─────▼─────┐  taken by thieves if the LWP lets it wait
//!                  │ next slot │──────────────────────────────────────────►
//!                  └─────┬─────┘
//!   depth first    ┌─────▼─────┐  or to the window, like ready threads
//!  ───────────────►│   ahead   │
//!                  └─────┬─────┘
//!   ready threads  ┌─────▼─────┐ while somebody is idle ┌─────────┐ thieves
//!  ───────────────►│   ready   │──────────────────────► │ window  │───────►
//!                  └─────┬─────┘                        └────┬────┘
//!                        └──────────────► runs ◄─────────────┘
//! ```
//!
//! `ready` is private to the LWP and costs a few plain stores per thread; the
//! `window`, a crossbeam-deque of at most [`WINDOW`] threads, is what thieves
//! see. An LWP without neighbours uses the private queue alone. Among several,
//! threads go to the window at once and to `ready` only when it is full, so
//! that nothing hides behind a thread that computes on; under a policy of the
//! program's, the window is filled only while another LWP is idle, because
//! thieves follow no policy. The window never grows: its owner counts.
//!
//! *Ahead* are those that were spawned [depth first](crate::thread::Builder::depth_first): see
//! [`first_come`](super::first_come) for the order of the private queue. Among several LWPs such a thread goes to
//! the window instead while that has room. So thieves see the oldest at first, which have most below them in their
//! tree, and later whoever was the newest when they had made room.
//!
//! *The next slot* is for threads that take turns: the running thread mostly waits soon, and
//! what it has made ready is served here, far sooner than another LWP could. So thieves take
//! that thread only on their last pass, and only if the LWP has not switched for a
//! microsecond (as Go's scheduler leaves its `runnext` alone for a while). Taking it
//! at once would send two threads in turns from LWP to LWP, and each message after them.
//! What is passed over so, and then left waiting after all, is found by the poller's sleeper
//! when it looks round.
//!
//! *Invariants.* A thread is in at most one of next slot, window, ready, or the
//! injector. Everything in the "owner only" group is touched only by the kernel
//! thread that the [`OwnerWord`] names, inside the runtime. Thieves use the
//! stealer only in their own idle context, because it pins an epoch through a
//! thread-local.
#![allow(clippy::disallowed_types)] // std's UnsafeCell: the run queue is not in models

use core::cell::{Cell, UnsafeCell};
use core::ptr;

use crossbeam_deque::{Stealer, Worker};
use crossbeam_utils::CachePadded;
use lisle_lwp::donor::{Donor, Donors};
use lisle_lwp::owner::OwnerWord;
use lisle_lwp::shim::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use lisle_lwp::sleep::Sleeper;
use lisle_lwp::stack::StackCache;

use super::coming::Coming;
use super::next::NextSlot;
use super::policy::{Ready, ReadyThread};
use super::queue::{Injector, ReadyList};
use super::timers::Timers;
use crate::census::Tally;
use crate::donors;
use crate::pool::{self, FreeBlocks};
use crate::runtime::Shared;
use crate::tcb::Tcb;
use crate::trace::{self, Claim};

/// How many threads thieves can see. Below crossbeam-deque's smallest buffer,
/// so that it never grows and hence never allocates.
pub(crate) const WINDOW: usize = 32;
/// How often in a row the next slot may jump the queue.
const STREAK: u32 = 16;
/// After how many occasions at most a sleeping LWP is told of the thread in the next slot.
const PATIENCE: u32 = 4096;
/// For how long, in nanoseconds, an LWP must not have switched before the thread in its next slot
/// is stolen.
const LET_WAIT: u64 = 1_000;
/// After so many switches at most the LWP looks at timers, readiness and the
/// injector; after fewer, if they take long.
const ROUND: u64 = 128;
/// How long a round should last, in nanoseconds: at least, at most.
const ROUND_TIME: (u64, u64) = (50_000, 500_000);

/// A thread in the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stealable(pub(crate) &'static Tcb);

/// Counters, written by the owner only, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) switches: AtomicU64,
    pub(crate) threads: Tally,
    pub(crate) steals: AtomicU64,
    pub(crate) stolen_from: AtomicU64,
    pub(crate) sleeps: AtomicU64,
    pub(crate) polls: AtomicU64,
    pub(crate) queued: AtomicU64,
}

/// Adds to a counter that only the caller writes.
#[inline(always)]
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(by),
        Ordering::Relaxed,
    );
}

/// See the module documentation.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Lwp {
    // --- owner only ---
    ready: UnsafeCell<Ready>,
    window: Worker<Stealable>,
    /// How many threads the window holds at most; thieves may have made it fewer.
    in_window: Cell<usize>,
    streak: Cell<u32>,
    /// After how many more occasions, out of how many, a sleeping LWP is told
    /// of the thread in the next slot.
    patience: Cell<(u32, u32)>,
    /// Whether the idle context hunts: then the LWP itself counts as idle.
    pub(crate) hunting: Cell<bool>,
    /// When the round ends, in switches; how many a round has; when the last
    /// one ended.
    round_end: Cell<u64>,
    round: Cell<u64>,
    round_began: Cell<u64>,
    /// The next thread number, and how many are left.
    ids: Cell<(u64, u64)>,
    pub(crate) blocks: UnsafeCell<FreeBlocks>,
    pub(crate) stacks: UnsafeCell<StackCache>,
    pub(crate) donors: UnsafeCell<Donors>,
    /// Full threads that have ended and whose donors are to end.
    pub(crate) ending: UnsafeCell<ReadyList>,
    /// When the running thread's slice or CPU account began, in nanoseconds.
    pub(crate) since: Cell<u64>,
    /// The numbers of threads that have passed their limit of CPU time since the idle context last
    /// ran, or 0: the second one goes there when it leaves.
    pub(crate) over_limit: Cell<[u64; 2]>,
    /// The number of the thread that gave the LWP away itself, or 0.
    pub(crate) given_by: Cell<u64>,
    /// Where it writes events while somebody records.
    pub(crate) claim: Claim,

    // --- any thread, atomically or by their own locks ---
    pub(crate) owner: OwnerWord,
    next: NextSlot,
    /// A thief needed the next slot: telling of it was worth it.
    next_was_stolen: AtomicBool,
    /// For thieves: how often it had switched when one of them saw a thread in the next slot, and
    /// when that was new. Hints.
    seen: CachePadded<[AtomicU64; 2]>,
    pub(crate) sleeper: Sleeper,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    /// The idle context of the kernel thread that carries it, or did last.
    pub(crate) carrier: AtomicPtr<Tcb>,
    /// Why it was last offered: an upcall's kind.
    pub(crate) offered_for: AtomicU8,
    /// When it last looked at deadlines and readiness.
    pub(crate) served: AtomicU64,
    /// Kernel threads on their way to carry it.
    pub(crate) coming: Coming,

    // --- immutable ---
    pub(crate) index: usize,
    /// Whether switches look at the clock.
    pub(crate) timed: bool,
    /// Whether the runtime has no other LWP.
    alone: bool,
    /// First come, first served, and no looking at the clock.
    simple: bool,
    /// Simple, and no other LWP.
    plain: bool,
    /// First come, first served, among several LWPs: thieves see what is ready.
    open: bool,
    pub(crate) stealer: Stealer<Stealable>,
    pub(crate) shared: *const Shared,
}

// SAFETY: the owner-only group is used by one kernel thread at a time (owner
// word); the rest is atomic, locked, or immutable.
unsafe impl Sync for Lwp {}
// SAFETY: as above.
unsafe impl Send for Lwp {}

/// How many LWPs there are.
static ALIVE: AtomicU32 = AtomicU32::new(0);

/// How many LWPs there are.
pub(crate) fn alive() -> usize {
    ALIVE.load(Ordering::Relaxed) as usize
}

impl Drop for Lwp {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lwp {
    pub(crate) fn new(
        index: usize,
        ready: Ready,
        timed: bool,
        alone: bool,
        shared: *const Shared,
    ) -> Lwp {
        let window = Worker::new_fifo();
        let first_come = matches!(ready, Ready::FirstCome(_));
        ALIVE.fetch_add(1, Ordering::Relaxed);
        let simple = first_come && !timed;
        let (plain, open) = (simple && alone, first_come && !alone);
        let stealer = window.stealer();
        Lwp {
            ready: UnsafeCell::new(ready),
            window,
            in_window: Cell::new(0),
            streak: Cell::new(0),
            patience: Cell::new((0, 0)),
            hunting: Cell::new(false),
            round_end: Cell::new(ROUND),
            round: Cell::new(ROUND),
            round_began: Cell::new(0),
            ids: Cell::new((0, 0)),
            blocks: UnsafeCell::new(FreeBlocks::new()),
            stacks: UnsafeCell::new(StackCache::new()),
            donors: UnsafeCell::new(Donors::new()),
            ending: UnsafeCell::new(ReadyList::new()),
            since: Cell::new(0),
            over_limit: Cell::new([0; 2]),
            given_by: Cell::new(0),
            claim: Claim::new(),
            owner: OwnerWord::new(),
            next: NextSlot::new(),
            next_was_stolen: AtomicBool::new(false),
            seen: CachePadded::new([AtomicU64::new(0), AtomicU64::new(0)]),
            sleeper: Sleeper::new(),
            timers: Timers::new(),
            counters: Counters::default(),
            carrier: AtomicPtr::new(ptr::null_mut()),
            offered_for: AtomicU8::new(0),
            served: AtomicU64::new(0),
            coming: Coming::new(),
            index,
            timed,
            alone,
            simple,
            plain,
            open,
            stealer,
            shared,
        }
    }

    /// The idle context of the kernel thread that carries the LWP, or did last.
    pub(crate) fn carrier(&self) -> Option<&'static Tcb> {
        // SAFETY: null or a control block, and those live for ever. Acquire:
        // pairs with the Release in `idle::carry`.
        unsafe { self.carrier.load(Ordering::Acquire).as_ref() }
    }

    #[inline(always)]
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: set before the LWP starts; its runtime outlives every thread
        // that can reach the LWP (it is leaked with its survivors).
        unsafe { &*self.shared }
    }

    /// The private queue.
    ///
    /// # Safety
    /// The caller is the owner, inside the runtime, and holds no other
    /// reference to the same queue.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn ready(&self) -> &mut Ready {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.ready.get() }
    }

    /// Keeps a donor for the next full thread.
    ///
    /// # Safety
    /// As [`Lwp::ready`].
    pub(crate) unsafe fn keep_donor(&self, donor: Donor) {
        // SAFETY: owner only; no other reference is alive.
        let own = unsafe { &mut *self.donors.get() };
        if donor.size() > donors::LARGE {
            return donors::give(donor);
        }
        own.give(donor);
        if own.len() > donors::CACHED {
            donors::spill(own, donors::CACHED / 2);
        }
    }

    /// Whether threads are ready here.
    ///
    /// # Safety
    /// As [`Lwp::ready`].
    pub(crate) unsafe fn has_work(&self) -> bool {
        // SAFETY: passed on.
        self.has_next() || self.in_window.get() > 0 || unsafe { self.ready() }.len() > 0
    }

    /// Lets the idle context have its turn at the next switch.
    pub(crate) fn end_round_soon(&self) {
        self.round_end
            .set(self.counters.switches.load(Ordering::Relaxed));
    }

    /// Whether its runtime has no other LWP.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Begins the next round at this time: half as long as the last one if that
    /// took long, twice as long if it was short.
    pub(crate) fn begin_round(&self, now: u64) {
        let took = now.saturating_sub(self.round_began.replace(now));
        let round = self.round.get();
        if took > ROUND_TIME.1 {
            self.round.set((round / 2).max(1));
        } else if took < ROUND_TIME.0 {
            self.round.set((round * 2).min(ROUND));
        }
        let switches = self.counters.switches.load(Ordering::Relaxed);
        self.round_end.set(switches.wrapping_add(self.round.get()));
    }

    /// Counts a switch; says whether the idle context should have a look at
    /// timers, readiness and the injector.
    #[inline(always)]
    pub(crate) fn tick(&self) -> bool {
        let switches = &self.counters.switches;
        let now = switches.load(Ordering::Relaxed).wrapping_add(1);
        switches.store(now, Ordering::Relaxed);
        now >= self.round_end.get()
    }

    /// Whether the next switch ends the round.
    #[inline(always)]
    pub(crate) fn is_last_of_round(&self) -> bool {
        let switches = self.counters.switches.load(Ordering::Relaxed);
        switches.wrapping_add(1) >= self.round_end.get()
    }

    /// Queues a ready thread behind the others.
    ///
    /// # Safety
    /// As [`Lwp::ready`]; the thread is ready, its context saved.
    #[inline]
    pub(crate) unsafe fn push(&self, thread: &'static Tcb) {
        // SAFETY: passed on.
        unsafe { self.enqueue(thread) };
        self.share_if_wanted();
    }

    /// As [`Lwp::push`], without a word to sleepers.
    ///
    /// # Safety
    /// As [`Lwp::push`].
    #[inline]
    pub(crate) unsafe fn enqueue(&self, thread: &'static Tcb) {
        // SAFETY: passed on.
        let ready = unsafe { self.ready() };
        if self.open && !ready.has_line() && self.has_room() {
            self.show(thread);
        } else {
            ready.push(thread);
            // SAFETY: passed on.
            unsafe { self.publish() };
        }
    }

    /// As [`Lwp::push`], but the thread goes ahead of the others, unless a policy of the program's decides.
    ///
    /// # Safety
    /// As [`Lwp::push`].
    #[inline]
    pub(crate) unsafe fn push_ahead(&self, thread: &'static Tcb) {
        if self.open && self.has_room() {
            self.show(thread);
        } else {
            // SAFETY: passed on, one after the other.
            unsafe {
                self.ready().push_ahead(thread);
                self.publish();
            }
        }
        self.share_if_wanted();
    }

    /// Lets others know how many threads wait where thieves do not see them. It is the monitor that asks: a
    /// thread that computes on while others wait keeps the LWP for a slice, one that is alone for longer.
    ///
    /// # Safety
    /// As [`Lwp::ready`].
    #[inline(always)]
    pub(crate) unsafe fn publish(&self) {
        // SAFETY: passed on.
        let queued = unsafe { self.ready() }.len();
        self.counters.queued.store(queued as u64, Ordering::Relaxed);
    }

    /// Whether the window has room for one more.
    #[inline]
    fn has_room(&self) -> bool {
        if self.in_window.get() >= WINDOW {
            self.in_window.set(self.window.len());
        }
        self.in_window.get() < WINDOW
    }

    /// Puts a thread where thieves see it. There is room.
    #[inline]
    fn show(&self, thread: &'static Tcb) {
        self.window.push(Stealable(thread));
        self.in_window.set(self.in_window.get() + 1);
    }

    /// Lets idle LWPs have of the ready threads, if there are idle LWPs.
    #[inline(always)]
    pub(crate) fn share_if_wanted(&self) {
        if !self.alone && !self.hunting.get() && self.shared().sleepers.any_idle() {
            self.share();
        }
    }

    /// Fills the window from the private queue, and tells sleepers.
    #[cold]
    fn share(&self) {
        while self.has_room() {
            // SAFETY: reached only from the owner inside the runtime.
            let Some(thread) = unsafe { self.ready() }.pop_any() else {
                break;
            };
            self.show(thread);
            // SAFETY: as above.
            unsafe { self.publish() };
        }
        if !self.window.is_empty() {
            self.shared().announce();
        }
    }

    /// Puts a thread that the running thread made ready where it runs next.
    ///
    /// # Safety
    /// As [`Lwp::push`].
    #[inline]
    pub(crate) unsafe fn push_next(&self, thread: &'static Tcb) {
        if !self.shared().next_slot {
            // SAFETY: passed on.
            return unsafe { self.push(thread) };
        }
        if let Some(displaced) = self.next.put(thread) {
            // SAFETY: passed on.
            unsafe { self.push(displaced) };
        } else if self.shared().sleepers.would_wake() {
            self.tell_of_next();
        }
    }

    /// Tells a sleeping LWP of the thread in the next slot, unless telling was
    /// useless lately: the running thread mostly waits soon and the next slot
    /// is then served here, far sooner than a sleeper could wake. But if it
    /// computes on, the sleeper must come. So after each useless telling the
    /// LWP waits for twice as many occasions, up to [`PATIENCE`].
    #[cold]
    fn tell_of_next(&self) {
        if self.next_was_stolen.swap(false, Ordering::Relaxed) {
            self.patience.set((0, 0));
        }
        let (left, step) = self.patience.get();
        if left > 0 {
            self.patience.set((left - 1, step));
        } else {
            let step = (step * 2).clamp(1, PATIENCE);
            self.patience.set((step, step));
            self.shared().announce();
        }
    }

    /// A number for a new thread. Owner only.
    #[inline]
    pub(crate) fn next_id(&self) -> u64 {
        let (next, left) = match self.ids.get() {
            (_, 0) => (pool::next_ids(), pool::IDS),
            ids => ids,
        };
        self.ids.set((next + 1, left - 1));
        next
    }

    /// Takes the thread in the next slot. Thieves do so on their last pass.
    pub(crate) fn take_next(&self) -> Option<&'static Tcb> {
        self.next.take()
    }

    /// Whether the next slot is taken. A hint.
    pub(crate) fn has_next(&self) -> bool {
        self.next.is_taken()
    }

    /// The next thread to run, if the LWP has any of its own.
    ///
    /// # Safety
    /// As [`Lwp::ready`].
    #[inline(always)]
    pub(crate) unsafe fn pick(&self) -> Option<&'static Tcb> {
        loop {
            // SAFETY: passed on.
            let thread = unsafe { self.pick_any() }?;
            if may_run(thread) {
                return Some(thread);
            }
        }
    }

    /// As [`Lwp::give_way`], for the common case: first come, nobody idle, nobody ahead, and
    /// nothing but the private queue. `None`: try the other one.
    ///
    /// # Safety
    /// As [`Lwp::give_way`].
    #[inline(always)]
    pub(crate) unsafe fn give_way_fast(&self, me: &'static Tcb) -> Option<&'static Tcb> {
        debug_assert!(self.plain);
        // SAFETY: passed on.
        let Ready::FirstCome(queue) = (unsafe { self.ready() }) else {
            // SAFETY: that is what plain means.
            unsafe { core::hint::unreachable_unchecked() }
        };
        if self.has_next() {
            return None;
        }
        let thread = queue.front()?;
        if !thread.is_runnable() {
            return None;
        }
        queue.rotate(me);
        Some(thread)
    }

    /// As [`Lwp::pick`], for the common cases: the next slot, or, without other LWPs, nothing but
    /// the private queue. `None`: try the other one. Only if the LWP [is simple](Lwp::is_simple).
    ///
    /// # Safety
    /// As [`Lwp::ready`].
    #[inline(always)]
    pub(crate) unsafe fn pick_fast(&self) -> Option<&'static Tcb> {
        debug_assert!(self.simple);
        if let Some(thread) = self.next.look() {
            let streak = self.streak.get() + 1;
            if streak > STREAK || !thread.is_runnable() || !self.next.take_seen(thread, self.alone)
            {
                return None;
            }
            self.streak.set(streak);
            return Some(thread);
        }
        if !self.alone {
            return None;
        }
        // SAFETY: passed on.
        let Ready::FirstCome(queue) = (unsafe { self.ready() }) else {
            // SAFETY: that is what simple means.
            unsafe { core::hint::unreachable_unchecked() }
        };
        if !queue.front()?.is_runnable() {
            return None;
        }
        self.streak.set(0);
        let thread = queue.pop();
        // SAFETY: passed on; the queue is not touched any more.
        unsafe { self.publish() };
        thread
    }

    /// Queues the running thread `me` in the private queue and returns the
    /// thread that runs instead, or `None` if `me` goes on. Only for an LWP whose
    /// private queue holds all that is ready: see [`Lwp::is_open`].
    ///
    /// # Safety
    /// As [`Lwp::ready`]. The caller leaves `me`'s stack before it leaves the
    /// runtime: until then only this LWP can see `me` in its private queue.
    pub(crate) unsafe fn give_way(&self, me: &'static Tcb) -> Option<&'static Tcb> {
        self.share_if_wanted();
        // SAFETY: passed on.
        if let Ready::Ordered(policy) = unsafe { self.ready() } {
            policy.push(ReadyThread(me));
            loop {
                // SAFETY: passed on.
                let thread = unsafe { self.pick_any() }?;
                // `me` is not saved yet, so it must not be held back here.
                if ptr::eq(thread, me) {
                    return None;
                }
                if may_run(thread) {
                    return Some(thread);
                }
            }
        }
        // SAFETY: passed on.
        let thread = unsafe { self.pick() }?;
        // SAFETY: passed on.
        unsafe { self.ready() }.push(me);
        // SAFETY: passed on.
        unsafe { self.publish() };
        Some(thread)
    }

    /// Whether [`Lwp::pick_fast`] is for this LWP.
    #[inline(always)]
    pub(crate) fn is_simple(&self) -> bool {
        self.simple
    }

    /// Whether [`Lwp::give_way_fast`] is for this LWP.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether ready threads go to the window at once, so that a thread which
    /// yields must be queued by its successor.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    #[inline(always)]
    unsafe fn pick_any(&self) -> Option<&'static Tcb> {
        if self.has_next() {
            // SAFETY: passed on.
            if let Some(thread) = unsafe { self.pick_next() } {
                return Some(thread);
            }
        } else {
            self.streak.set(0);
        }
        // SAFETY: passed on.
        if let Some(thread) = unsafe { self.ready() }.pop_ahead() {
            // SAFETY: passed on.
            unsafe { self.publish() };
            return Some(thread);
        }
        if self.in_window.get() > 0 {
            if let Some(Stealable(thread)) = self.window.pop() {
                self.in_window.set(self.in_window.get() - 1);
                if self.open {
                    // SAFETY: passed on.
                    let ready = unsafe { self.ready() };
                    if let Some(next) = ready.pop() {
                        self.show(next);
                        // SAFETY: passed on.
                        unsafe { self.publish() };
                    }
                }
                return Some(thread);
            }
            self.in_window.set(0);
        }
        // It may be somebody else's turn than of those that are ahead, but nobody else there.
        // SAFETY: passed on.
        let thread = unsafe { self.ready() }.pop_any();
        // SAFETY: passed on.
        unsafe { self.publish() };
        thread
    }

    #[inline]
    unsafe fn pick_next(&self) -> Option<&'static Tcb> {
        let thread = self.next.look()?;
        if !self.next.take_seen(thread, self.alone) {
            return None;
        }
        let streak = self.streak.get() + 1;
        if streak <= STREAK {
            self.streak.set(streak);
            return Some(thread);
        }
        // It has jumped the queue often enough: now it waits its turn, if anybody waits.
        self.streak.set(0);
        if self.window.is_empty() {
            self.in_window.set(0);
            // SAFETY: passed on.
            if unsafe { self.ready() }.len() == 0 {
                return Some(thread);
            }
        }
        // SAFETY: passed on.
        unsafe { self.enqueue(thread) };
        None
    }

    /// Gives all ready threads to the injector: the LWP retires. Returns whether
    /// there were any.
    ///
    /// # Safety
    /// As [`Lwp::ready`].
    pub(crate) unsafe fn hand_over_all(&self, injector: &Injector) -> bool {
        let mut any = false;
        // SAFETY: passed on.
        while let Some(thread) = unsafe { self.pick_any() } {
            injector.push(thread);
            any = true;
        }
        any
    }

    /// Steals from another LWP into the window; returns one to run.
    ///
    /// # Safety
    /// As [`Lwp::ready`], and in the idle context: the deque uses thread-locals
    /// and may allocate when stealing.
    pub(crate) unsafe fn steal_from(&self, victim: &Lwp) -> Option<&'static Tcb> {
        loop {
            let stolen = victim
                .stealer
                .steal_batch_with_limit_and_pop(&self.window, WINDOW / 2);
            match stolen {
                crossbeam_deque::Steal::Success(Stealable(thread)) => {
                    self.in_window.set(self.window.len());
                    count(&self.counters.steals, 1);
                    victim.counters.stolen_from.fetch_add(1, Ordering::Relaxed);
                    if trace::is_on() {
                        trace::stole(victim, thread);
                    }
                    return Some(thread);
                }
                crossbeam_deque::Steal::Empty => return None,
                crossbeam_deque::Steal::Retry => core::hint::spin_loop(),
            }
        }
    }

    /// Whether the LWP has not switched for long: since an earlier look, if there was none in
    /// between. Somebody asks who has seen a thread in the next slot.
    pub(crate) fn lets_wait(&self, now: u64) -> bool {
        let [seen, since] = &*self.seen;
        let switches = self.counters.switches.load(Ordering::Relaxed);
        if seen.load(Ordering::Relaxed) != switches {
            seen.store(switches, Ordering::Relaxed);
            since.store(now, Ordering::Relaxed);
        }
        now.saturating_sub(since.load(Ordering::Relaxed)) >= LET_WAIT
    }

    /// Steals the thread in another LWP's next slot: see the module documentation for when.
    pub(crate) fn steal_next_from(&self, victim: &Lwp) -> Option<&'static Tcb> {
        let thread = victim.take_next()?;
        victim.next_was_stolen.store(true, Ordering::Relaxed);
        count(&self.counters.steals, 1);
        victim.counters.stolen_from.fetch_add(1, Ordering::Relaxed);
        if trace::is_on() {
            trace::stole(victim, thread);
        }
        Some(thread)
    }

    /// How many ready threads wait here. A hint for all but the owner.
    pub(crate) fn load(&self) -> usize {
        let queued = self.counters.queued.load(Ordering::Relaxed) as usize;
        queued + self.stealer.len() + usize::from(self.has_next())
    }
}

/// Whether a ready thread may run; if its suspension was asked for, it is held
/// back from here on. Its context is saved.
#[inline(always)]
pub(crate) fn may_run(thread: &'static Tcb) -> bool {
    thread.is_runnable() || !thread.hold()
}
