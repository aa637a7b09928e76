//! `Monitor`: data, entered by one thread at a time, with condition queues.
//!
//! Definition, sources and interpretation stand at [`Monitor`].
//!
//! *Picture*. Whoever leaves, by returning or by waiting, takes the first of:
//!
//! ```text
//!   urgent     signallers                                   ─┐
//!   entrance   newcomers, notified, those whose time was up ─┴─► inside ──► out
//!                 ▲ notify                                         │ ▲
//!              conditions [0] [1] … ◄── wait ──────────────────────┘ └── signal
//! ```
//!
//! *Invariants*. A notify moves a thread and wakes nobody: it is woken when it has the
//! monitor. A waiter is notified or signalled if it is in the condition's queue then,
//! whatever its deadline; who is cancelled passes a notify on.
//!
//! The protocol stands in [`possession`](mod@crate::possession).
//!
//! *Rejected*: conditions as objects of their own, as in POSIX: nothing but a check at
//! each wait ties them to their monitor.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use lisle_runtime::time;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Outcome, Reason};

use crate::poison::Panicking;
use crate::possession::{self, Entered, Line, Possession, Request, Waiting};

static REASON: Reason = Reason::new("monitor");

/// Data that one thread at a time can be inside of, with `N` conditions, named by
/// numbers below `N`.
///
/// *Definition*. Inside the monitor a thread may wait on a condition, which leaves the
/// monitor, and signal a condition, which lets one go on that waits there.
///
/// | discipline | operation | who runs next |
/// |---|---|---|
/// | Hoare | [`MonitorGuard::signal`] | the signalled thread, at once; then the signaller, before newcomers |
/// | Mesa | [`MonitorGuard::notify_one`], [`MonitorGuard::notify_all`] | the notifier; the notified thread enters behind those who stand at the entrance |
///
/// (C. A. R. Hoare, "Monitors: an operating system structuring concept", 1974;
/// B. W. Lampson, D. D. Redell, "Experience with processes and monitors in Mesa", 1980.)
///
/// *Interpretation*. Both may be used in one monitor. Whoever was signalled finds the
/// monitor exactly as the signaller left it: no loop is needed. Whoever was notified does
/// not, hence [`MonitorGuard::wait_while`]. Hoare's scheduled wait, `wait(p)`, is
/// [`MonitorGuard::wait_ranked`].
///
/// *Who is woken when*: whoever leaves the monitor, or waits in it, wakes one thread, which
/// is inside then: the signaller that has waited longest, if there is one, else the first at
/// the entrance. There stand newcomers, the notified, and those whose time is up or who
/// are cancelled, in the order in which they came to stand there.
///
/// *Fairness*: first come, first served at the entrance and in each condition's queue
/// (among equal ranks); nobody is bypassed by a newcomer. *Cancellation*: waiting on a
/// condition is a cancellation point; the thread is inside again while it unwinds, and
/// passes on a notify that it had got. Entering is one only in
/// [`Monitor::enter_cancellable`]. *Poison*: a panic inside poisons the monitor, a
/// cancel does not. Entering a poisoned monitor panics, and so do all who wait in it.
/// *Recursion*: entering it from inside waits for ever.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Monitor;
///
/// const NOT_EMPTY: usize = 0;
/// static BUFFER: Monitor<Vec<u32>, 1> = Monitor::new(Vec::new());
///
/// let taker = std::thread::spawn(|| {
///     let mut items = BUFFER.enter();
///     items.wait_while(NOT_EMPTY, |items| items.is_empty());
///     items.pop()
/// });
/// let mut items = BUFFER.enter();
/// items.push(7);
/// items.notify_one(NOT_EMPTY);
/// drop(items);
/// assert_eq!(taker.join().unwrap(), Some(7));
/// ```
///
/// Threads share it if the value can go from thread to thread:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::Monitor::<_, 1>::new(std::rc::Rc::new(0)));
/// ```
pub struct Monitor<T, const N: usize = 1> {
    possession: Possession<State<T, N>, Queues<T, N>>,
}

// A panic inside poisons.
impl<T, const N: usize> UnwindSafe for Monitor<T, N> {}
impl<T, const N: usize> RefUnwindSafe for Monitor<T, N> {}

struct State<T, const N: usize> {
    value: T,
    /// How many threads have left by waiting on each condition and are not back.
    waiting: [usize; N],
}

type Request0<T, const N: usize> = Request<State<T, N>>;

/// Places in the line: the conditions by number, and these two behind them.
const ENTRANCE: usize = usize::MAX;
const URGENT: usize = usize::MAX - 1;

struct Queues<T, const N: usize> {
    urgent: Queue<Request0<T, N>>,
    entrance: Queue<Request0<T, N>>,
    conditions: [Queue<Request0<T, N>>; N],
}

impl<T, const N: usize> Queues<T, N> {
    fn at(&mut self, place: usize) -> &mut Queue<Request0<T, N>> {
        match place {
            ENTRANCE => &mut self.entrance,
            URGENT => &mut self.urgent,
            condition => &mut self.conditions[condition],
        }
    }

    /// Moves the first waiter of a condition to the entrance. Returns whether there
    /// was one.
    fn notify(&mut self, condition: usize) -> bool {
        // SAFETY: the caller has the lock, and the node, left in place, is enlisted again.
        unsafe {
            let Some(node) = self.conditions[condition].pop() else {
                return false;
            };
            node.data.place.set(ENTRANCE);
            self.entrance.push(node);
        }
        true
    }
}

impl<T, const N: usize> Line<State<T, N>> for Queues<T, N> {
    const AGAIN: usize = ENTRANCE;

    unsafe fn push(&mut self, node: &Waiting<State<T, N>>) {
        // SAFETY: passed on.
        unsafe {
            match node.data.place.get() {
                // Who was notified stands among them, whatever its rank.
                place @ (ENTRANCE | URGENT) => self.at(place).push(node),
                condition => possession::push_by_rank(&mut self.conditions[condition], node),
            }
        }
    }

    unsafe fn remove(&mut self, node: &Waiting<State<T, N>>) -> bool {
        // SAFETY: it is linked, if at all, where its place says.
        unsafe { self.at(node.data.place.get()).remove(node) }
    }

    unsafe fn candidate<'n>(
        &self,
        last: Option<&Waiting<State<T, N>>>,
    ) -> Option<&'n Waiting<State<T, N>>> {
        debug_assert!(last.is_none(), "nobody has a guard");
        // SAFETY: passed on.
        unsafe {
            let urgent = self.urgent.find(|_| true);
            urgent.or_else(|| self.entrance.find(|_| true))
        }
    }

    fn is_awaited(&self) -> bool {
        !self.urgent.is_empty() || !self.entrance.is_empty()
    }
}

/// Making one, and having it to oneself.
impl<T, const N: usize> Monitor<T, N> {
    lisle_lwp::const_unless_loom! {
        /// A monitor around a value, nobody inside.
        pub fn new(value: T) -> Monitor<T, N> {
            let queues = Queues {
                urgent: Queue::new(),
                entrance: Queue::new(),
                conditions: [const { Queue::new() }; N],
            };
            let state = State { value, waiting: [0; N] };
            Monitor { possession: Possession::new(state, queues, &REASON) }
        }
    }

    /// The value, poisoned or not.
    pub fn into_inner(self) -> T {
        self.possession.into_inner().value
    }

    /// The value, poisoned or not: the borrow shows that nobody is inside.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.possession.get_mut().value
    }

    /// Whether a thread panicked inside.
    pub fn is_poisoned(&self) -> bool {
        self.possession.poison().get()
    }

    /// Declares the value whole again.
    pub fn clear_poison(&self) {
        self.possession.poison().clear();
    }
}

/// Entering.
impl<T, const N: usize> Monitor<T, N> {
    /// Enters, waiting for it. Not a cancellation point.
    ///
    /// # Panics
    /// If the monitor is poisoned.
    #[inline]
    #[track_caller]
    pub fn enter(&self) -> MonitorGuard<'_, T, N> {
        match self.admit(None, false) {
            Entered::Not(_) => unreachable!("no deadline and no cancel"),
            _ => MonitorGuard::new(self),
        }
    }

    /// As [`Monitor::enter`], and a cancellation point if it waits.
    ///
    /// # Panics
    /// As [`Monitor::enter`].
    #[track_caller]
    pub fn enter_cancellable(&self) -> MonitorGuard<'_, T, N> {
        match self.admit(None, true) {
            Entered::Not(_) => lisle_runtime::cancel::deliver(),
            _ => MonitorGuard::new(self),
        }
    }

    /// Enters if nobody is inside.
    ///
    /// # Panics
    /// As [`Monitor::enter`].
    #[track_caller]
    pub fn try_enter(&self) -> Option<MonitorGuard<'_, T, N>> {
        let taken = self.possession.try_take();
        taken.then(|| MonitorGuard::new(self))
    }

    /// Enters, waiting at most this long; `None` if the time is up. Not a cancellation
    /// point.
    ///
    /// # Panics
    /// As [`Monitor::enter`].
    #[track_caller]
    pub fn enter_timeout(&self, timeout: Duration) -> Option<MonitorGuard<'_, T, N>> {
        self.enter_until(time::now().checked_add(timeout))
    }

    /// As [`Monitor::enter_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`Monitor::enter`].
    #[track_caller]
    pub fn enter_deadline(&self, deadline: Instant) -> Option<MonitorGuard<'_, T, N>> {
        self.enter_until(Some(deadline))
    }

    #[track_caller]
    fn enter_until(&self, deadline: Option<Instant>) -> Option<MonitorGuard<'_, T, N>> {
        match self.admit(deadline, false) {
            Entered::Not(_) => None,
            _ => Some(MonitorGuard::new(self)),
        }
    }

    #[inline]
    fn admit(&self, deadline: Option<Instant>, cancellable: bool) -> Entered {
        self.possession
            .take(Request::new(ENTRANCE), deadline, cancellable)
    }
}

impl<T: Default, const N: usize> Default for Monitor<T, N> {
    fn default() -> Self {
        Monitor::new(T::default())
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Monitor<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Monitor");
        if self.possession.try_take() {
            let hold = possession::Hold(&self.possession);
            // SAFETY: just taken.
            shown.field("data", unsafe { &hold.0.value().value });
        } else {
            shown.field("data", &format_args!("<entered>"));
        }
        shown
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// Being inside a monitor; dropping it leaves. A condition's number that is not below `N`
/// is a panic.
///
/// It stays with its thread, and does not outlive the monitor:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let monitor = lisle::sync::Monitor::<_, 1>::new(0);
/// let guard = monitor.enter();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let guard = {
///     let monitor = lisle::sync::Monitor::<_, 1>::new(0);
///     monitor.enter()
/// };
/// ```
///
/// Threads share it if they can share the value:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let monitor = lisle::sync::Monitor::<_, 1>::new(std::cell::Cell::new(0));
/// shared(&monitor.enter());
/// ```
#[must_use = "an unused guard leaves at once"]
pub struct MonitorGuard<'a, T, const N: usize> {
    monitor: &'a Monitor<T, N>,
    entered: Panicking,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: `&MonitorGuard` gives `&T`.
unsafe impl<T: Sync, const N: usize> Sync for MonitorGuard<'_, T, N> {}

impl<'a, T, const N: usize> MonitorGuard<'a, T, N> {
    /// The caller has taken it.
    #[inline]
    #[track_caller]
    fn new(monitor: &'a Monitor<T, N>) -> MonitorGuard<'a, T, N> {
        let guard = MonitorGuard {
            monitor,
            entered: monitor.possession.poison().enter(),
            _not_send: PhantomData,
        };
        guard.check();
        guard
    }

    #[inline]
    #[track_caller]
    fn check(&self) {
        if self.monitor.is_poisoned() {
            possession::poisoned("the monitor");
        }
    }

    #[inline(always)]
    fn state(&mut self) -> &mut State<T, N> {
        // SAFETY: the thread is inside, and `&mut self` makes the access unique.
        unsafe { self.monitor.possession.value_mut() }
    }
}

/// Waiting.
impl<T, const N: usize> MonitorGuard<'_, T, N> {
    /// Leaves, waits on the condition until it is signalled or notified, and is inside
    /// again. A cancellation point.
    ///
    /// # Panics
    /// If the monitor has been poisoned meanwhile.
    #[track_caller]
    pub fn wait(&mut self, condition: usize) {
        self.wait_until(condition, 0, None);
    }

    /// Waits on the condition as long as `blocked` holds: for notifies.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait`]; as `blocked`.
    #[track_caller]
    pub fn wait_while(&mut self, condition: usize, mut blocked: impl FnMut(&mut T) -> bool) {
        while blocked(self) {
            self.wait(condition);
        }
    }

    /// Hoare's scheduled wait: as [`MonitorGuard::wait`], before those of a greater
    /// rank and behind those of the same.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::Monitor;
    /// const TICK: usize = 0;
    /// static CLOCK: Monitor<u64> = Monitor::new(0);
    ///
    /// let sleeper = std::thread::spawn(|| {
    ///     let mut now = CLOCK.enter();
    ///     let due = *now + 3;
    ///     while *now < due {
    ///         now.wait_ranked(TICK, due);
    ///     }
    ///     now.signal(TICK); // Somebody else may be due, too.
    /// });
    /// while !sleeper.is_finished() {
    ///     let mut now = CLOCK.enter();
    ///     *now += 1;
    ///     now.signal(TICK);
    /// }
    /// sleeper.join().unwrap();
    /// ```
    #[track_caller]
    pub fn wait_ranked(&mut self, condition: usize, rank: u64) {
        self.wait_until(condition, rank, None);
    }

    /// As [`MonitorGuard::wait_ranked`], at most this long, and then for the monitor;
    /// returns whether it was signalled or notified.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::time::Duration;
    /// let monitor = lisle::sync::Monitor::<()>::new(());
    /// assert!(!monitor.enter().wait_ranked_timeout(0, 7, Duration::from_millis(1)));
    /// ```
    #[track_caller]
    pub fn wait_ranked_timeout(&mut self, condition: usize, rank: u64, timeout: Duration) -> bool {
        self.wait_until(condition, rank, time::now().checked_add(timeout))
    }

    /// As [`MonitorGuard::wait_ranked_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait`].
    #[track_caller]
    pub fn wait_ranked_deadline(&mut self, condition: usize, rank: u64, deadline: Instant) -> bool {
        self.wait_until(condition, rank, Some(deadline))
    }

    /// As [`MonitorGuard::wait`], at most this long, and then for the monitor; returns
    /// whether it was signalled or notified.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait`].
    #[track_caller]
    pub fn wait_timeout(&mut self, condition: usize, timeout: Duration) -> bool {
        self.wait_until(condition, 0, time::now().checked_add(timeout))
    }

    /// As [`MonitorGuard::wait_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait`].
    #[track_caller]
    pub fn wait_deadline(&mut self, condition: usize, deadline: Instant) -> bool {
        self.wait_until(condition, 0, Some(deadline))
    }

    /// As [`MonitorGuard::wait_while`], at most this long, and then for the monitor;
    /// returns whether `blocked` does not hold.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait_while`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::time::Duration;
    /// let items = lisle::sync::Monitor::<Vec<u8>>::new(Vec::new());
    /// let (mut inside, patience) = (items.enter(), Duration::from_millis(1));
    /// assert!(!inside.wait_while_timeout(0, patience, |items| items.is_empty()));
    /// assert!(inside.wait_while_timeout(0, patience, |items| !items.is_empty()));
    /// ```
    #[track_caller]
    pub fn wait_while_timeout(
        &mut self,
        condition: usize,
        timeout: Duration,
        blocked: impl FnMut(&mut T) -> bool,
    ) -> bool {
        // A deadline beyond the clock's range never comes.
        self.wait_while_until(condition, time::now().checked_add(timeout), blocked)
    }

    /// As [`MonitorGuard::wait_while_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`MonitorGuard::wait_while`].
    #[track_caller]
    pub fn wait_while_deadline(
        &mut self,
        condition: usize,
        deadline: Instant,
        blocked: impl FnMut(&mut T) -> bool,
    ) -> bool {
        self.wait_while_until(condition, Some(deadline), blocked)
    }

    #[track_caller]
    fn wait_while_until(
        &mut self,
        condition: usize,
        deadline: Option<Instant>,
        mut blocked: impl FnMut(&mut T) -> bool,
    ) -> bool {
        while blocked(self) {
            if !self.wait_until(condition, 0, deadline) {
                return !blocked(self);
            }
        }
        true
    }

    #[track_caller]
    fn wait_until(&mut self, condition: usize, rank: u64, deadline: Option<Instant>) -> bool {
        self.state().waiting[condition] += 1;
        let request = Request::new(condition).ranked(rank);
        let (outcome, place) = self.monitor.possession.wait_moved(request, deadline);
        self.state().waiting[condition] -= 1;
        let notified = place == ENTRANCE;
        if outcome == Outcome::Cancelled && notified {
            self.notify_one(condition);
        }
        let woken = possession::ended(outcome);
        self.check();
        woken || notified
    }
}

/// Signalling.
impl<T, const N: usize> MonitorGuard<'_, T, N> {
    /// Hoare's signal: if a thread waits on the condition, the first one is inside at
    /// once, and finds everything as it is now; the caller is inside again, before all
    /// who stand at the entrance, when that one has left or waits. Returns whether there
    /// was one. Not a cancellation point.
    ///
    /// # Panics
    /// If the monitor has been poisoned meanwhile.
    #[inline]
    #[track_caller]
    pub fn signal(&mut self, condition: usize) -> bool {
        self.state().waiting[condition] > 0 && self.signal_waiter(condition)
    }

    #[cold]
    #[track_caller]
    fn signal_waiter(&mut self, condition: usize) -> bool {
        let possession = &self.monitor.possession;
        // SAFETY: it is asked under the lock.
        let first = |queues: &Queues<T, N>| unsafe { queues.conditions[condition].find(|_| true) };
        let signalled = possession.hand_to(Request::new(URGENT), first);
        if signalled {
            self.check();
        }
        signalled
    }

    /// Lets the first thread that waits on the condition enter, behind all who stand at
    /// the entrance. Others may be inside before it.
    #[inline]
    pub fn notify_one(&mut self, condition: usize) {
        if self.state().waiting[condition] > 0 {
            let possession = &self.monitor.possession;
            possession.rearrange(|queues| queues.notify(condition));
        }
    }

    /// Lets all threads that wait on the condition enter, one after the other.
    #[inline]
    pub fn notify_all(&mut self, condition: usize) {
        if self.state().waiting[condition] > 0 {
            let possession = &self.monitor.possession;
            possession.rearrange(|queues| while queues.notify(condition) {});
        }
    }

    /// Whether a thread waits on the condition: Hoare's `condition.queue`. One whose time
    /// is up, or which is cancelled, counts until it notices: so do not infer from this
    /// that a signal will reach somebody; the signal says that itself.
    pub fn is_awaited(&mut self, condition: usize) -> bool {
        let possession = &self.monitor.possession;
        self.state().waiting[condition] > 0
            && possession.rearrange(|queues| !queues.conditions[condition].is_empty())
    }
}

impl<T, const N: usize> Deref for MonitorGuard<'_, T, N> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the thread is inside.
        unsafe { &self.monitor.possession.value().value }
    }
}

impl<T, const N: usize> DerefMut for MonitorGuard<'_, T, N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state().value
    }
}

impl<T, const N: usize> Drop for MonitorGuard<'_, T, N> {
    #[inline]
    fn drop(&mut self) {
        self.monitor.possession.poison().leave(self.entered);
        if self.monitor.is_poisoned() {
            // All who wait are to know.
            (0..N).for_each(|condition| self.notify_all(condition));
        }
        self.monitor.possession.release();
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for MonitorGuard<'_, T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
