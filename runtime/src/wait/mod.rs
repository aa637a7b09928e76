//! Waiting: the one way to block on something that the runtime knows.
//!
//! A primitive that must wait does four things:
//!
//! 1. [`begin`] a wait: its [`WaitKey`] is a plain value that anybody may fire
//!    at any time, and that does nothing once the wait is over;
//! 2. publish the key where the waker will find it, mostly in a [`Waiters`]
//!    list;
//! 3. look at the condition once more: if it is true, [`Wait::abandon`];
//! 4. [`Wait::block`], with a deadline if there is one, and act on the
//!    [`Outcome`]: whatever was published and not consumed is taken back.
//!
//! It works alike on user threads (another thread runs meanwhile) and on kernel
//! threads (which sleep in the kernel). *Cancellation*: a wait begun as
//! cancellable ends with [`Outcome::Cancelled`] when the thread is cancelled;
//! the primitive cleans up as for a timeout and calls
//! [`cancel::deliver`](crate::cancel::deliver).

pub mod inherit;
pub mod list;
pub mod lot;
mod mark;
pub mod word;

use core::marker::PhantomData;
use std::time::Instant;

use lisle_lwp::shim::Ordering;

pub use self::list::{Locked, Node, Waiters};
pub use self::mark::Mark;
pub use self::word::Outcome;
use self::word::{Armed, Interest, Resolution};
use crate::current::me;
use crate::sched::queue::ReadyList;
use crate::tcb::Tcb;
use crate::trace;

/// Why a thread waits, as shown to observers: the name of a primitive, and
/// whether the detail (a descriptor, an address, a thread) means anything.
#[derive(Debug)]
pub struct Reason {
    name: &'static str,
    ends: Ends,
}

/// Who can end a wait, for those who look for deadlocks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    /// A thread, any that can reach the primitive.
    Threads,
    /// The thread whose number is the detail: its end.
    Thread,
    /// The holder of a lock, whose number this tells, 0 for nobody known, by the
    /// detail: the address of a lock for which somebody waits in the lot.
    Holder(unsafe fn(usize) -> u64),
    /// Something outside: the kernel, or code that is no thread of ours.
    Outside,
    /// Nobody need: the thread serves others.
    Server,
}

impl Reason {
    /// A reason with this name, to be kept in a `static`.
    pub const fn new(name: &'static str) -> Reason {
        Reason {
            name,
            ends: Ends::Threads,
        }
    }

    /// As [`Reason::new`], for a wait that may be ended from outside: by the
    /// kernel, or by code that is no thread of lisle's.
    pub const fn from_outside(name: &'static str) -> Reason {
        Reason {
            name,
            ends: Ends::Outside,
        }
    }

    /// As [`Reason::new`], for a wait for the end of the thread that the detail
    /// names.
    pub(crate) const fn of_join(name: &'static str) -> Reason {
        Reason {
            name,
            ends: Ends::Thread,
        }
    }

    /// As [`Reason::new`], for a thread that serves others and waits for orders.
    pub(crate) const fn of_server(name: &'static str) -> Reason {
        Reason {
            name,
            ends: Ends::Server,
        }
    }

    /// As [`Reason::new`], for a lock whose waiters wait in the [`lot`]; the detail
    /// of the wait is its address. `holder` tells the number of the thread that
    /// holds it, 0 if that is nobody or not known.
    ///
    /// # Safety
    /// `holder` may be called, by any thread and under a lock of the lot, with the
    /// address of any such lock, as long as a thread waits for it; it neither waits
    /// nor allocates.
    pub const unsafe fn held(name: &'static str, holder: unsafe fn(usize) -> u64) -> Reason {
        Reason {
            name,
            ends: Ends::Holder(holder),
        }
    }

    /// Where the name lies in it.
    #[cfg(not(lisle_loom))]
    pub(crate) const NAME_AT: usize = core::mem::offset_of!(Reason, name);

    pub(crate) fn ends(&self) -> Ends {
        self.ends
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Names one wait of one thread. Firing it ends that wait; once the wait is
/// over, firing it does nothing.
#[derive(Debug, Clone, Copy)]
pub struct WaitKey {
    thread: &'static Tcb,
    epoch: u64,
}

impl WaitKey {
    /// Ends the wait and makes the thread ready. Returns whether this call
    /// ended it.
    pub fn fire(self, outcome: Outcome) -> bool {
        if trace::is_on() {
            return self.fire_and_tell(outcome);
        }
        let resolution = self.thread.wait.resolve(self.epoch, outcome);
        carry_out(self.thread, resolution);
        resolution != Resolution::Stale
    }

    /// Ends the wait, and tells those who record.
    #[inline(always)]
    fn resolve(self, outcome: Outcome) -> Resolution {
        let whom = trace::whom(self.thread);
        let resolution = self.thread.wait.resolve(self.epoch, outcome);
        tell(whom, self.epoch, outcome, resolution);
        resolution
    }

    #[cold]
    #[inline(never)]
    fn fire_and_tell(self, outcome: Outcome) -> bool {
        let resolution = self.resolve(outcome);
        carry_out(self.thread, resolution);
        resolution != Resolution::Stale
    }

    /// As [`WaitKey::fire`], but a thread that the scheduler has to make ready
    /// goes to `ready`. Only such a thread may be linked: one that waits on its
    /// sleeper may be gone by then.
    pub(crate) fn fire_into(self, outcome: Outcome, ready: &mut ReadyList) -> bool {
        match self.resolve(outcome) {
            Resolution::MakeReady => ready.push_back(self.thread),
            Resolution::WakeSleeper => self.thread.sleeper.wake(),
            Resolution::Noticed => {}
            Resolution::Stale => return false,
        }
        true
    }

    /// Whether both name the same wait.
    #[inline]
    pub fn is(self, other: WaitKey) -> bool {
        core::ptr::eq(self.thread, other.thread) && self.epoch == other.epoch
    }

    /// The key of a wait known by its parts.
    pub(crate) fn of(thread: &'static Tcb, epoch: u64) -> WaitKey {
        WaitKey { thread, epoch }
    }

    pub(crate) fn block(self) -> &'static Tcb {
        self.thread
    }

    pub(crate) fn epoch_number(self) -> u64 {
        self.epoch
    }

    /// The number of the waiting thread, for observers.
    pub fn thread_id(self) -> u64 {
        self.thread.id.load(Ordering::Relaxed)
    }
}

/// Tells those who record that the caller has ended a wait. `whom` was asked for before:
/// unless it is the caller's to make it ready, the thread may have gone on since, begun
/// another wait, ended, and left its control block to the next one.
#[inline(always)]
fn tell(whom: Option<u64>, epoch: u64, outcome: Outcome, resolution: Resolution) {
    if let Some(whom) = whom
        && resolution != Resolution::Stale
    {
        trace::woke(whom, epoch, outcome);
    }
}

/// Does what a resolving transition asks for.
#[inline(always)]
pub(crate) fn carry_out(thread: &'static Tcb, resolution: Resolution) {
    match resolution {
        Resolution::MakeReady => crate::sched_make_ready(thread),
        // A wake that comes late is a token that a later sleep looks through.
        Resolution::WakeSleeper => thread.sleeper.wake(),
        Resolution::Noticed | Resolution::Stale => {}
    }
}

/// Leaves a thread a token, or ends its wait for one.
pub(crate) fn give_token(thread: &'static Tcb) {
    let whom = trace::whom(thread);
    let (resolution, epoch) = thread.wait.post_token();
    tell(whom, epoch, Outcome::Woken, resolution);
    if let (Some(whom), Resolution::Stale) = (whom, resolution) {
        trace::left_token(whom);
    }
    carry_out(thread, resolution);
}

/// Asks a thread to end, and ends its wait if that may be ended so.
pub(crate) fn cancel(thread: &'static Tcb) {
    let whom = trace::whom(thread);
    let (resolution, epoch) = thread.wait.request_cancel();
    tell(whom, epoch, Outcome::Cancelled, resolution);
    carry_out(thread, resolution);
}

/// The thread was cancelled before it could begin to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelledEarly;

/// A wait that has begun; see the module documentation. It must be ended by
/// [`Wait::block`] or [`Wait::abandon`].
#[derive(Debug)]
#[must_use = "a wait must be blocked on or abandoned"]
pub struct Wait {
    /// All else is in its wait word.
    thread: &'static Tcb,
    /// A wait is that of the thread that began it.
    _not_send: PhantomData<*mut ()>,
}

/// Begins a wait of the calling thread. `detail` says to observers which
/// semaphore, descriptor or thread is meant. A cancellable wait fails at once
/// if the thread is cancelled; shielded and unwinding threads are not.
#[inline]
pub fn begin(
    reason: &'static Reason,
    detail: usize,
    cancellable: bool,
) -> Result<Wait, CancelledEarly> {
    Caller::new().begin(reason, detail, cancellable)
}

/// Waits for the calling thread's park token; takes it. Returns early when the
/// deadline passes.
#[inline(always)]
pub(crate) fn for_token(
    reason: &'static Reason,
    deadline: Option<Instant>,
) -> Result<(), CancelledEarly> {
    match arm(reason, 0, true, Interest::TOKENS)? {
        None => Ok(()),
        Some(wait) => {
            let thread = wait.thread;
            if wait.block(deadline) == Outcome::Cancelled {
                return Err(CancelledEarly);
            }
            if trace::is_on() && thread.wait.took_token() {
                trace::took_token();
            }
            Ok(())
        }
    }
}

/// Arms the calling thread's wait word; `None` if it took a token instead.
fn arm(
    reason: &'static Reason,
    detail: usize,
    cancellable: bool,
    interest: Interest,
) -> Result<Option<Wait>, CancelledEarly> {
    Caller::new().arm(reason, detail, cancellable, interest)
}

/// The calling thread, for operations that may have to wait: what is asked of
/// thread-locals is asked once, before any lock is taken.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    thread: &'static Tcb,
    unwinding: bool,
    _not_send: PhantomData<*mut ()>,
}

impl Caller {
    /// The calling thread.
    #[inline(never)]
    #[allow(clippy::new_without_default)] // not a value that one invents
    pub fn new() -> Caller {
        Caller::of_leaf()
    }

    /// As [`Caller::new`], inlined: only for functions that are never inlined
    /// themselves and do not switch, so that no address of a thread-local can be
    /// kept over a switch.
    #[inline(always)]
    pub fn of_leaf() -> Caller {
        let thread = lisle_lwp::current::get_inlined().cast::<Tcb>();
        // SAFETY: the word holds null or a control block, and those live for
        // ever.
        match unsafe { thread.as_ref() } {
            Some(thread) => Caller {
                thread,
                unwinding: crate::cancel::unwinds(),
                _not_send: PhantomData,
            },
            None => Caller {
                thread: me(),
                unwinding: crate::cancel::is_unwinding(),
                _not_send: PhantomData,
            },
        }
    }

    /// As [`begin`]. May be called under a [`Waiters`] lock.
    #[inline]
    pub fn begin(
        &self,
        reason: &'static Reason,
        detail: usize,
        cancellable: bool,
    ) -> Result<Wait, CancelledEarly> {
        match self.arm(reason, detail, cancellable, Interest::PLAIN) {
            Ok(Some(wait)) => Ok(wait),
            Ok(None) => unreachable!("the wait takes no tokens"),
            Err(early) => Err(early),
        }
    }

    /// As [`Caller::begin`], for a user thread, of a wait that others may [claim](Stay::claim)
    /// who know its mark. Those find `place`.
    #[inline(always)]
    pub fn begin_claimable(
        &self,
        reason: &'static Reason,
        detail: usize,
        place: *const (),
    ) -> Result<Wait, CancelledEarly> {
        // Relaxed: published with the mark, or by `commit`.
        self.thread.place.store(place.cast_mut(), Ordering::Relaxed);
        match self.arm(reason, detail, true, Interest::CLAIMABLE) {
            Ok(Some(wait)) => Ok(wait),
            Ok(None) => unreachable!("the wait takes no tokens"),
            Err(early) => Err(early),
        }
    }

    /// Whether others may claim a wait of the calling thread: it does not sleep.
    #[inline]
    pub fn is_claimable(&self) -> bool {
        cfg!(lisle_loom) || self.thread.is_user() && !(self.unwinding && self.thread.is_light())
    }

    #[inline(always)]
    fn arm(
        &self,
        reason: &'static Reason,
        detail: usize,
        cancellable: bool,
        interest: Interest,
    ) -> Result<Option<Wait>, CancelledEarly> {
        let (thread, unwinding) = (self.thread, self.unwinding);
        let sleeps = interest != Interest::CLAIMABLE
            && (cfg!(lisle_loom) || !thread.is_user() || unwinding && thread.is_light());
        let cancellable = cancellable && !unwinding && crate::cancel::is_deliverable_to(thread);
        thread.set_reason(reason, detail);
        let interest = Interest::CANCELLABLE
            .when(cancellable)
            .and(interest)
            .and(Interest::SLEEPS.when(sleeps));
        match thread.wait.arm(interest) {
            Armed::Waiting(_) => Ok(Some(Wait {
                thread,
                _not_send: PhantomData,
            })),
            Armed::TookToken => {
                if trace::is_on() {
                    trace::took_token();
                }
                Ok(None)
            }
            Armed::Cancelled => Err(CancelledEarly),
        }
    }

    /// Whether LWPs run it, rather than a kernel thread of its own.
    #[inline]
    pub fn is_user_thread(&self) -> bool {
        self.thread.is_user()
    }

    /// Enters the runtime, unless it is entered already.
    #[inline(always)]
    pub(crate) fn enter(&self) -> crate::Entry {
        crate::Entry::of(self.thread)
    }
}

/// A stay inside the runtime: as long as it lasts, the thread is neither preempted nor suspended
/// (unless it runs without an LWP): what it does to others is soon done.
/// No user code, allocation or wait meanwhile.
#[derive(Debug)]
pub struct Stay {
    entry: crate::Entry,
    /// Whether it keeps what it promises: not for a user thread without an LWP.
    holds: bool,
}

impl Stay {
    /// Stays inside the runtime, as the calling thread, until this is dropped. Inlined: only where
    /// [`Caller::of_leaf`] may be.
    #[inline(always)]
    pub fn of_leaf() -> Stay {
        // SAFETY: the word holds null or a control block, and those live for ever.
        let thread = unsafe { lisle_lwp::current::get_inlined().cast::<Tcb>().as_ref() };
        let Some(thread) = thread else {
            let (entry, holds) = (crate::Entry::nowhere(), true);
            return Stay { entry, holds };
        };
        let entry = crate::Entry::of(thread);
        #[cfg(not(lisle_loom))]
        let holds = entry.lwp().is_some() || !thread.is_user();
        #[cfg(lisle_loom)]
        let holds = true;
        Stay { entry, holds }
    }

    /// Claims the wait of this mark, if that is one for `detail` that may be
    /// [claimed](Caller::begin_claimable) and its thread is parked. `None` also for a caller
    /// that runs without an LWP.
    #[inline(always)]
    pub fn claim(&self, mark: Mark, detail: usize) -> Option<Claimed<'_>> {
        if !self.holds {
            return None;
        }
        let (thread, epoch) = mark.claim(detail)?;
        tell(
            trace::whom(thread),
            epoch,
            Outcome::Woken,
            Resolution::MakeReady,
        );
        Some(Claimed { thread, stay: self })
    }
}

/// A thread whose wait has been ended by a claim. It stands still until this is dropped.
#[derive(Debug)]
pub struct Claimed<'s> {
    thread: &'static Tcb,
    stay: &'s Stay,
}

impl Claimed<'_> {
    /// What it began its wait with.
    #[inline(always)]
    pub fn place(&self) -> *const () {
        // Relaxed: the claim has acquired it.
        self.thread.place.load(Ordering::Relaxed)
    }
}

impl Drop for Claimed<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.stay.entry.make_ready(self.thread);
    }
}

/// A number below `bound`, for a fair choice among so many. It comes from the
/// seed if the calling thread runs in a seeded runtime; in a model it is 0.
#[cfg(not(lisle_loom))]
pub fn choose(bound: usize) -> usize {
    let me = me();
    // SAFETY: a runtime outlives its threads.
    if let Some(shared) = unsafe { me.shared.load(Ordering::Relaxed).as_ref() }
        && let Some(chosen) = shared.choose(bound)
    {
        return chosen;
    }
    let state = match me.random.load(Ordering::Relaxed) {
        0 => me.id.load(Ordering::Relaxed),
        state => state,
    };
    let mut random = crate::random::Random::new(state);
    let chosen = random.below(bound);
    me.random.store(random.state(), Ordering::Relaxed);
    chosen
}

/// See the real one.
#[cfg(lisle_loom)]
pub fn choose(_: usize) -> usize {
    0
}

impl Wait {
    /// The key that ends this wait.
    #[inline]
    pub fn key(&self) -> WaitKey {
        WaitKey {
            thread: self.thread,
            epoch: self.epoch(),
        }
    }

    #[inline]
    fn epoch(&self) -> u64 {
        self.thread.wait.epoch()
    }

    /// Ends the wait without blocking. Returns how it had ended if somebody was
    /// faster: then something has been handed over.
    pub fn abandon(self) -> Option<Outcome> {
        match self.thread.wait.resolve(self.epoch(), Outcome::Abandoned) {
            Resolution::Noticed => None,
            Resolution::Stale => {
                let outcome = self.thread.wait.outcome();
                if let (true, Some(outcome)) = (trace::is_on(), outcome) {
                    trace::over_at_once(self.thread, self.epoch(), outcome);
                }
                outcome
            }
            Resolution::MakeReady | Resolution::WakeSleeper => {
                unreachable!("a running thread is not parked")
            }
        }
    }

    /// Blocks until the wait ends or the deadline passes. The calling thread
    /// may come back on another kernel thread.
    #[inline(always)]
    pub fn block(self, deadline: Option<Instant>) -> Outcome {
        #[cfg(not(lisle_loom))]
        if deadline.is_none() && !self.thread.wait.sleeps() {
            let thread = self.thread;
            crate::sched::prepare_park(thread).go();
            let outcome = thread.wait.outcome().unwrap_or(Outcome::Abandoned);
            if outcome == Outcome::Cancelled {
                self.tell_of_cancel();
            }
            return outcome;
        }
        self.block_otherwise(deadline)
    }

    /// Nobody else has told, if the cancel was there before the thread was parked.
    #[cfg(not(lisle_loom))]
    #[cold]
    fn tell_of_cancel(&self) {
        if trace::is_on() {
            trace::resumed(self.epoch(), Outcome::Cancelled);
        }
    }

    #[inline(never)]
    fn block_otherwise(self, deadline: Option<Instant>) -> Outcome {
        if let Some(outcome) = self.thread.wait.outcome() {
            if trace::is_on() {
                trace::over_at_once(self.thread, self.epoch(), outcome);
            }
            return outcome;
        }
        #[cfg(not(lisle_loom))]
        if self.thread.is_user() {
            return self.block_user_thread(deadline);
        }
        #[cfg(lisle_loom)]
        if !self.thread.wait.sleeps() {
            return crate::model::park(self.thread, self.epoch(), deadline.is_some());
        }
        let _ = self.lie_down(deadline);
        self.sleep(deadline)
    }

    #[cfg(not(lisle_loom))]
    fn block_user_thread(self, deadline: Option<Instant>) -> Outcome {
        use crate::sched::{handover, prepare_park};
        use crate::time::with_timer;
        let (thread, key) = (self.thread, self.key());
        if !thread.wait.sleeps() {
            let deadline = deadline.expect("without one, `block` parks");
            with_timer(thread, deadline, key, || prepare_park(thread).go());
            let outcome = thread.wait.outcome();
            let outcome = outcome.expect("a thread goes on only when its wait is over");
            if outcome == Outcome::Cancelled {
                self.tell_of_cancel();
            }
            return outcome;
        }
        // First, so that nothing is done for a wait that is over already.
        if !self.lie_down(deadline) || !handover::detach(thread) {
            // Or the system refuses another kernel thread: the LWP waits too.
            return self.sleep(deadline);
        }
        // The LWP goes on without us, and its runtime's clock counts.
        match deadline {
            Some(deadline) => with_timer(thread, deadline, key, || self.sleep(None)),
            None => self.sleep(None),
        }
    }

    /// Says that it waits on its sleeper. `false`: the wait is over.
    #[cfg_attr(lisle_loom, allow(unused_variables))]
    fn lie_down(&self, deadline: Option<Instant>) -> bool {
        let thread = self.thread;
        #[cfg(not(lisle_loom))]
        {
            if let Some(deadline) = deadline {
                thread.set_until(self.epoch(), crate::clock::nanos(deadline));
            }
            thread.jobs.before_wait();
        }
        if trace::is_on() {
            trace::parked(thread);
        }
        thread.wait.commit()
    }

    /// Waits on the sleeper, where it has lain down.
    fn sleep(self, deadline: Option<Instant>) -> Outcome {
        let thread = self.thread;
        loop {
            if let Some(outcome) = thread.wait.outcome() {
                if trace::is_on() {
                    trace::resumed(self.epoch(), outcome);
                }
                return outcome;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
            if left.is_some_and(|left| left.is_zero()) {
                // Whoever was faster decides the outcome.
                let _ = thread.wait.resolve(self.epoch(), Outcome::TimedOut);
            } else {
                thread.sleeper.sleep(left);
            }
        }
    }
}

/// Whether what the caller is about to wait for may happen while it spins: not
/// if it is up to threads that share its only LWP.
#[cfg(not(lisle_loom))]
pub fn may_spin() -> bool {
    let me = crate::sched::running().filter(|me| me.is_user());
    !me.is_some_and(|me| me.own_lwp().is_some_and(|lwp| lwp.is_alone()))
}

/// Loom explores schedules by itself.
#[cfg(lisle_loom)]
pub fn may_spin() -> bool {
    false
}

#[cfg(not(lisle_loom))]
fn now() -> Instant {
    Instant::now()
}

/// Loom has no time: every deadline has come by the time anybody looks, and
/// loom explores who looks when.
#[cfg(lisle_loom)]
fn now() -> Instant {
    Instant::now() + std::time::Duration::from_secs(1 << 30)
}
