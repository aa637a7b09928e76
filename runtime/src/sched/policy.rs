//! Policies: which ready thread of an LWP runs next.
//!
//! A policy orders the ready threads that belong to one LWP. It runs inside the
//! runtime, on user threads' stacks, so it must not allocate, free, lock,
//! touch thread-locals or panic; it links threads through [`ReadyList`]s. Every
//! policy must let every ready thread run after a bounded number of picks.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use lisle_lwp::shim::Ordering;

use super::first_come::FirstCome;
pub use super::queue::ReadyList;
use super::seeds::Seed;
use crate::tcb::{BOOSTS, Tcb};

/// How many priorities there are.
pub const PRIORITIES: usize = 64;
/// The priority of a thread that was given none.
pub const DEFAULT_PRIORITY: u8 = 32;

/// A ready thread, as policies see it. It must be handed back by
/// [`Policy::pop`] exactly once; a policy that drops it loses the thread.
#[derive(Debug)]
#[must_use = "a dropped ready thread never runs again"]
pub struct ReadyThread(pub(crate) &'static Tcb);

impl ReadyThread {
    /// The thread's number, as in `ThreadId`.
    pub fn id(&self) -> u64 {
        self.0.id.load(Ordering::Relaxed)
    }

    /// The thread's priority, below [`PRIORITIES`]; higher is more urgent. It may
    /// have inherited it.
    pub fn priority(&self) -> u8 {
        self.0.effective_priority()
    }

    /// Appends the thread to a list.
    pub fn push_to(self, list: &mut ReadyList) {
        list.push_back(self.0);
    }

    /// Takes the first thread of a list.
    pub fn pop_from(list: &mut ReadyList) -> Option<ReadyThread> {
        list.pop_front().map(ReadyThread)
    }

    /// Takes the thread at `index` of a list, counted from the front.
    pub fn remove_from(list: &mut ReadyList, index: usize) -> Option<ReadyThread> {
        list.remove(index).map(ReadyThread)
    }
}

/// An order among the ready threads of one LWP. See the module documentation
/// for what it may do.
///
/// # Safety
/// Every thread that `push` takes in leaves through `pop` of the same policy,
/// once, and is reachable from nowhere else meanwhile: what was pushed may not
/// have left its stack yet. `pop` gives a thread whenever there is one. Neither
/// calls back into lisle.
pub unsafe trait Policy: Send {
    /// Takes in a thread that became ready or yielded.
    fn push(&mut self, thread: ReadyThread);
    /// Gives out the thread to run next; `None` only if there is none.
    fn pop(&mut self) -> Option<ReadyThread>;
    /// How many threads it holds.
    fn len(&self) -> usize;
    /// Whether it holds none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// After how much time a running thread gives way at its next call into
    /// the runtime that makes another thread ready; `None`: never.
    fn slice(&self) -> Option<Duration> {
        None
    }
    /// Whether a thread just made ready by the running one may jump the queue.
    /// It does so a bounded number of times in a row.
    fn next_slot(&self) -> bool {
        false
    }
}

/// Makes a policy for each LWP: see [`PolicyKind`].
pub type MakePolicy = dyn Fn(usize) -> Box<dyn Policy> + Send + Sync;

/// Which policy a runtime's LWPs follow.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum PolicyKind {
    /// First come, first served: a thread runs until it waits or yields. A
    /// thread made ready by the running one may go first, a bounded number of
    /// times in a row. Where very many have not begun, those that have go first, so
    /// that few are alive at a time: while 64 or more stand in line on an LWP, one that has
    /// not begun joins them every sixteenth time only.
    /// The default, and the fastest.
    #[default]
    FirstCome,
    /// As first come, strictly in order; and a thread that has run for the
    /// slice gives way at its next call that makes another thread ready.
    RoundRobin(Duration),
    /// The most urgent ready thread first. A ready thread that has been passed
    /// over [`Priority::PATIENCE`] times in a row rises above all others, so
    /// that each waits a bounded time.
    Priority,
    /// Every choice from a seed, and time that jumps to the next deadline when
    /// nothing is ready: the same seed gives the same interleaving. Needs a
    /// runtime of one LWP.
    Seeded(u64),
    /// As `Seeded`, but the choices are those of random priorities with change
    /// points: see [`Schedules::Priorities`](crate::seeded::Schedules::Priorities).
    SeededPriorities {
        /// Where the choices come from.
        seed: u64,
        /// How many change points: at most [`PolicyKind::MOST_CHANGES`].
        changes: u32,
        /// Among how many scheduling steps they are placed.
        steps: u32,
    },
    /// One made by the program, for each LWP by its number.
    Custom(Arc<MakePolicy>),
}

impl PolicyKind {
    /// How many change points [`PolicyKind::SeededPriorities`] can have.
    pub const MOST_CHANGES: u32 = 64;
}

impl fmt::Debug for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyKind::FirstCome => f.write_str("FirstCome"),
            PolicyKind::RoundRobin(slice) => f.debug_tuple("RoundRobin").field(slice).finish(),
            PolicyKind::Priority => f.write_str("Priority"),
            PolicyKind::Seeded(seed) => f.debug_tuple("Seeded").field(seed).finish(),
            PolicyKind::SeededPriorities {
                seed,
                changes,
                steps,
            } => f
                .debug_struct("SeededPriorities")
                .field("seed", seed)
                .field("changes", changes)
                .field("steps", steps)
                .finish(),
            PolicyKind::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// Strictly first in, first out, with a slice.
#[derive(Debug)]
pub struct RoundRobin {
    list: ReadyList,
    slice: Duration,
}

impl RoundRobin {
    /// Round robin with this slice.
    pub const fn new(slice: Duration) -> Self {
        RoundRobin {
            list: ReadyList::new(),
            slice,
        }
    }
}

// SAFETY: one list, or one per level, that only push and pop touch.
unsafe impl Policy for RoundRobin {
    fn push(&mut self, thread: ReadyThread) {
        thread.push_to(&mut self.list);
    }
    fn pop(&mut self) -> Option<ReadyThread> {
        ReadyThread::pop_from(&mut self.list)
    }
    fn len(&self) -> usize {
        self.list.len()
    }
    fn slice(&self) -> Option<Duration> {
        Some(self.slice)
    }
}

/// Most urgent first, with patience: see [`PolicyKind::Priority`].
///
/// Each level counts how often a lower one was passed over; the counter of a
/// waiting level rises with every pick from above it and the level goes first
/// when it reaches [`Priority::PATIENCE`]. With `L` levels in use and `n`
/// threads in a level, a thread runs after at most `n × (PATIENCE + L)` picks.
#[derive(Debug)]
pub struct Priority {
    levels: [ReadyList; PRIORITIES],
    /// Bit `p` is set while level `p` has threads.
    occupied: u64,
    passed_over: [u32; PRIORITIES],
    len: usize,
    /// How many boosts it has heeded: see [`BOOSTS`].
    boosts: u64,
}

impl Priority {
    /// How many picks in a row may pass over a level that has ready threads.
    pub const PATIENCE: u32 = 64;

    /// An empty priority policy.
    pub const fn new() -> Self {
        Priority {
            levels: [const { ReadyList::new() }; PRIORITIES],
            occupied: 0,
            passed_over: [0; PRIORITIES],
            len: 0,
            boosts: 0,
        }
    }

    /// Some thread has inherited a priority, or lost one, perhaps while it was ready
    /// here: puts each in the level that is its own now.
    #[cold]
    fn sort_again(&mut self) {
        let mut all = ReadyList::new();
        for level in &mut self.levels {
            while let Some(thread) = ReadyThread::pop_from(level) {
                thread.push_to(&mut all);
            }
        }
        (self.occupied, self.len) = (0, 0);
        while let Some(thread) = ReadyThread::pop_from(&mut all) {
            self.push(thread);
        }
    }

    fn choose(&mut self) -> Option<usize> {
        let top = self.occupied.checked_ilog2()? as usize;
        let mut below = self.occupied & !(1 << top);
        let mut chosen = top;
        while let Some(level) = below.checked_ilog2() {
            below &= !(1 << level);
            let level = level as usize;
            self.passed_over[level] += 1;
            if self.passed_over[level] > Self::PATIENCE
                && self.passed_over[level] > self.passed_over[chosen]
            {
                chosen = level;
            }
        }
        self.passed_over[chosen] = 0;
        Some(chosen)
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: one list, or one per level, that only push and pop touch.
unsafe impl Policy for Priority {
    fn push(&mut self, thread: ReadyThread) {
        let level = usize::from(thread.priority()).min(PRIORITIES - 1);
        thread.push_to(&mut self.levels[level]);
        self.occupied |= 1 << level;
        self.len += 1;
    }
    fn pop(&mut self) -> Option<ReadyThread> {
        // Acquire: pairs with the Release in `set_boost`.
        let boosts = BOOSTS.load(Ordering::Acquire);
        if core::mem::replace(&mut self.boosts, boosts) != boosts {
            self.sort_again();
        }
        let level = self.choose()?;
        let thread = ReadyThread::pop_from(&mut self.levels[level]);
        if self.levels[level].is_empty() {
            self.occupied &= !(1 << level);
            self.passed_over[level] = 0;
        }
        self.len -= 1;
        thread
    }
    fn len(&self) -> usize {
        self.len
    }
}

/// An LWP's private queue: the default order without a virtual call, or a
/// policy.
pub(crate) enum Ready {
    FirstCome(FirstCome),
    Ordered(Box<dyn Policy>),
}

impl Ready {
    pub(crate) fn new(kind: &PolicyKind, lwp: usize, seed: Option<&Arc<Seed>>) -> Ready {
        if let Some(seed) = seed {
            return Ready::Ordered(seed.policy());
        }
        match kind {
            PolicyKind::FirstCome => Ready::FirstCome(FirstCome::new()),
            PolicyKind::RoundRobin(slice) => Ready::Ordered(Box::new(RoundRobin::new(*slice))),
            PolicyKind::Priority => Ready::Ordered(Box::new(Priority::new())),
            PolicyKind::Custom(make) => Ready::Ordered(make(lwp)),
            PolicyKind::Seeded(_) | PolicyKind::SeededPriorities { .. } => {
                unreachable!("they have a seed")
            }
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, thread: &'static Tcb) {
        match self {
            Ready::FirstCome(queue) => queue.push(thread),
            Ready::Ordered(policy) => policy.push(ReadyThread(thread)),
        }
    }

    /// As [`Ready::push`], but ahead of the others, unless a policy of the program's decides.
    #[inline(always)]
    pub(crate) fn push_ahead(&mut self, thread: &'static Tcb) {
        match self {
            Ready::FirstCome(queue) => queue.push_ahead(thread),
            Ready::Ordered(policy) => policy.push(ReadyThread(thread)),
        }
    }

    /// The next one, but for those that are ahead.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<&'static Tcb> {
        match self {
            Ready::FirstCome(queue) => queue.pop(),
            Ready::Ordered(policy) => policy.pop().map(|thread| thread.0),
        }
    }

    /// One of those that are ahead, if it is their turn.
    #[inline(always)]
    pub(crate) fn pop_ahead(&mut self) -> Option<&'static Tcb> {
        match self {
            Ready::FirstCome(queue) => queue.pop_ahead(),
            Ready::Ordered(_) => None,
        }
    }

    /// The next one, or one of those that are ahead.
    #[inline(always)]
    pub(crate) fn pop_any(&mut self) -> Option<&'static Tcb> {
        let thread = self.pop();
        match self {
            Ready::FirstCome(queue) => thread.or_else(|| queue.pop_ahead_at_once()),
            Ready::Ordered(_) => thread,
        }
    }

    pub(crate) fn slice(&self) -> Option<Duration> {
        match self {
            Ready::FirstCome(_) => None,
            Ready::Ordered(policy) => policy.slice(),
        }
    }

    pub(crate) fn next_slot(&self) -> bool {
        match self {
            Ready::FirstCome(_) => true,
            Ready::Ordered(policy) => policy.next_slot(),
        }
    }

    /// Whether somebody waits who is not ahead.
    #[inline(always)]
    pub(crate) fn has_line(&self) -> bool {
        match self {
            Ready::FirstCome(queue) => queue.has_line(),
            Ready::Ordered(policy) => !policy.is_empty(),
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Ready::FirstCome(queue) => queue.len(),
            Ready::Ordered(policy) => policy.len(),
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("len", &self.len()).finish()
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;

    fn thread(priority: u8) -> &'static Tcb {
        let block = Box::leak(Box::new(Tcb::blank()));
        block.priority.store(priority, Ordering::Relaxed);
        block
    }

    #[test]
    fn priority_prefers_the_urgent_and_keeps_order_within_a_level() {
        let mut policy = Priority::new();
        let (low, a, b) = (thread(1), thread(9), thread(9));
        for t in [low, a, b] {
            policy.push(ReadyThread(t));
        }
        let order: Vec<_> = std::iter::from_fn(|| policy.pop()).map(|t| t.0).collect();
        assert!(core::ptr::eq(order[0], a) && core::ptr::eq(order[1], b));
        assert!(core::ptr::eq(order[2], low) && policy.is_empty());
    }

    #[test]
    fn every_level_waits_a_bounded_number_of_picks() {
        let mut policy = Priority::new();
        let threads: Vec<_> = (0..PRIORITIES as u8).map(thread).collect();
        for t in &threads {
            policy.push(ReadyThread(t));
        }
        // Every thread yields at once: the most urgent would always win.
        let bound = Priority::PATIENCE as usize + PRIORITIES;
        let mut last = vec![0usize; PRIORITIES];
        for pick in 1..20_000 {
            let t = policy.pop().unwrap();
            let level = usize::from(t.priority());
            last[level] = pick;
            policy.push(t);
            let longest = last.iter().map(|l| pick - l).max().unwrap();
            assert!(
                longest <= bound,
                "a thread waited {longest} picks, bound {bound}"
            );
        }
    }
}
