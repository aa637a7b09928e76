//! `Serializer`: data, possessed by one thread at a time, with queues whose waiters say
//! what they wait for, and crowds of threads that use a resource outside.
//!
//! Definition, sources and interpretation stand at [`Serializer`].
//!
//! *Picture*. Whoever releases possession hands it to the first of:
//!
//! ```text
//!   queues    the first of each, if its guarantee is true: the longest waiting ─┐
//!   leavers   threads that come back from a crowd                               ─┼─► possession ──► out
//!   entrance  newcomers                                                         ─┘     │    ▲
//!                queue [0] [1] … ◄── enqueue ──────────────────────────────────────────┤    │
//!                crowd [0] [1] … ◄── join_crowd ───────────────────────────────────────┴────┘
//! ```
//!
//! *Invariants*. While nobody possesses the serializer, no guarantee of a queue's first is
//! true, and nobody stands at the entrance. A thread is in a crowd from before it
//! releases possession until after it has it again.
//!
//! The protocol stands in [`possession`](mod@crate::possession).

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use lisle_runtime::wait::Reason;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::{cancel, time};

use crate::poison::Panicking;
use crate::possession::{self, Entered, Guard, Line, Possession, Request, Waiting};

static REASON: Reason = Reason::new("serializer");

/// Data that one thread at a time possesses, with `QUEUES` queues and `CROWDS` crowds,
/// named by numbers below these.
///
/// *Definition*. A thread that possesses the serializer may *enqueue* with a guarantee:
/// it releases possession and has it again when it is the first in its queue and the
/// guarantee is true. It may *join a crowd*: it releases possession, uses the
/// resource together with others of the crowd, and has possession again when it leaves.
/// Nobody signals: whoever releases possession has the guarantees examined. (C. E.
/// Hewitt, R. R. Atkinson, "Specification and proof techniques for serializers", 1979; R.
/// R. Atkinson, C. E. Hewitt, "Synchronization in actor systems", 1977.)
///
/// *Interpretation*. A guarantee sees the data, and how many threads are in queues and
/// crowds. The authors' priority queue is [`SerializerGuard::enqueue_ranked`].
///
/// *Who is woken when*: whoever releases possession wakes one thread, which has it then:
/// of the queues' firsts whose guarantee is true the longest waiting one; else the first
/// that comes back from a crowd, or whose time is up or who is cancelled; else the first
/// newcomer. (As leaving a crowd can make no guarantee false that speaks of crowds being
/// empty, the order of the first two is free.)
///
/// *Guarantees* are pure functions of what they are shown: they are examined by the
/// threads that release possession (hence `Send`). A guarantee that panics does so in
/// the thread that waits for it, which possesses the serializer then.
///
/// *Fairness*: each queue is first in, first out (among equal ranks); newcomers bypass
/// nobody whose guarantee is true. *Cancellation*: to enqueue is a cancellation point; a
/// cancelled thread possesses the serializer while it unwinds. Entering is one only in
/// [`Serializer::enter_cancellable`]; leaving a crowd never is. *Poison*: a panic that
/// unwinds through the possession, also from a crowd, poisons; a cancel does not.
/// Entering a poisoned serializer panics, and so does whoever waits in it. *Recursion*:
/// entering it while possessing it waits for ever. From inside a crowd it is allowed; but
/// who enqueues there may wait for somebody who waits for the crowd to be empty: below, a
/// reader that reads once more waits for ever if a writer has come in between.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Serializer;
///
/// const QUEUE: usize = 0;
/// const READERS: usize = 0;
/// const WRITERS: usize = 1;
/// static DISK: Serializer<(), 1, 2> = Serializer::new(());
///
/// fn read<R>(body: impl FnOnce() -> R) -> R {
///     let mut disk = DISK.enter();
///     disk.enqueue(QUEUE, |disk| disk.crowd_is_empty(WRITERS));
///     disk.join_crowd(READERS, body)
/// }
///
/// fn write<R>(body: impl FnOnce() -> R) -> R {
///     let mut disk = DISK.enter();
///     disk.enqueue(QUEUE, |disk| disk.crowd_is_empty(READERS) && disk.crowd_is_empty(WRITERS));
///     disk.join_crowd(WRITERS, body)
/// }
///
/// // Readers may be in it together.
/// let together = std::sync::Barrier::new(2);
/// std::thread::scope(|threads| {
///     threads.spawn(|| read(|| together.wait()));
///     read(|| together.wait());
/// });
/// write(|| ());
/// ```
///
/// Threads share it if the value can go from thread to thread:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::Serializer::<_, 1, 1>::new(std::rc::Rc::new(0)));
/// ```
pub struct Serializer<T, const QUEUES: usize = 1, const CROWDS: usize = 1> {
    possession: Possession<View<T, QUEUES, CROWDS>, Places<T, QUEUES, CROWDS>>,
}

// A panic inside poisons.
impl<T, const Q: usize, const C: usize> UnwindSafe for Serializer<T, Q, C> {}
impl<T, const Q: usize, const C: usize> RefUnwindSafe for Serializer<T, Q, C> {}

/// What a guarantee is shown: the data, by dereference, and queues and crowds.
pub struct View<T, const QUEUES: usize, const CROWDS: usize> {
    value: T,
    crowds: [usize; CROWDS],
    /// Whoever gives up counts until it possesses the serializer again.
    lengths: [usize; QUEUES],
}

impl<T, const Q: usize, const C: usize> View<T, Q, C> {
    /// How many threads are in this crowd.
    pub fn crowd(&self, crowd: usize) -> usize {
        self.crowds[crowd]
    }

    /// Whether nobody is in this crowd.
    pub fn crowd_is_empty(&self, crowd: usize) -> bool {
        self.crowds[crowd] == 0
    }

    /// How many threads wait in this queue. A thread whose guarantee is examined for this
    /// queue counts; one that gives up counts until it possesses the serializer again.
    pub fn queue(&self, queue: usize) -> usize {
        self.lengths[queue]
    }

    /// Whether nobody waits in this queue: never so in a guarantee for this same queue,
    /// as the thread that it is for counts.
    pub fn queue_is_empty(&self, queue: usize) -> bool {
        self.queue(queue) == 0
    }
}

impl<T, const Q: usize, const C: usize> Deref for View<T, Q, C> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug, const Q: usize, const C: usize> fmt::Debug for View<T, Q, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("data", &self.value)
            .field("crowds", &self.crowds)
            .field("queues", &self.lengths)
            .finish()
    }
}

/// Places in the line: the queues by number, and these two behind them.
const ENTRANCE: usize = usize::MAX;
const LEAVERS: usize = usize::MAX - 1;

type QueueOf<T, const Q: usize, const C: usize> = Queue<Request<View<T, Q, C>>>;

struct Places<T, const Q: usize, const C: usize> {
    queues: [QueueOf<T, Q, C>; Q],
    leavers: QueueOf<T, Q, C>,
    entrance: QueueOf<T, Q, C>,
    /// The last stamp that was given out: the order of coming over all queues.
    stamp: u64,
}

impl<T, const Q: usize, const C: usize> Places<T, Q, C> {
    fn at(&mut self, place: usize) -> &mut QueueOf<T, Q, C> {
        match place {
            ENTRANCE => &mut self.entrance,
            LEAVERS => &mut self.leavers,
            queue => &mut self.queues[queue],
        }
    }

    /// The longest waiting first of a queue, among those that came after `stamp`.
    ///
    /// # Safety
    /// As [`Queue::find`].
    unsafe fn first_after<'n>(&self, stamp: u64) -> Option<&'n Waiting<View<T, Q, C>>> {
        // SAFETY: passed on.
        let firsts = self
            .queues
            .iter()
            .filter_map(|queue| unsafe { queue.find(|_| true) });
        firsts
            .filter(|first| first.data.stamp.get() > stamp)
            .min_by_key(|first| first.data.stamp.get())
    }
}

impl<T, const Q: usize, const C: usize> Line<View<T, Q, C>> for Places<T, Q, C> {
    const AGAIN: usize = LEAVERS;

    unsafe fn push(&mut self, node: &Waiting<View<T, Q, C>>) {
        self.stamp += 1;
        node.data.stamp.set(self.stamp);
        // Leavers and newcomers have no rank.
        // SAFETY: passed on.
        unsafe { possession::push_by_rank(self.at(node.data.place.get()), node) };
    }

    unsafe fn remove(&mut self, node: &Waiting<View<T, Q, C>>) -> bool {
        // SAFETY: it is linked, if at all, where its place says.
        unsafe { self.at(node.data.place.get()).remove(node) }
    }

    unsafe fn candidate<'n>(
        &self,
        last: Option<&Waiting<View<T, Q, C>>>,
    ) -> Option<&'n Waiting<View<T, Q, C>>> {
        let stamp = last.map_or(0, |last| last.data.stamp.get());
        // SAFETY: passed on.
        unsafe {
            self.first_after(stamp)
                .or_else(|| self.leavers.find(|_| true))
                .or_else(|| self.entrance.find(|_| true))
        }
    }

    fn is_awaited(&self) -> bool {
        let queued = self.queues.iter().any(|queue| !queue.is_empty());
        queued || !self.leavers.is_empty() || !self.entrance.is_empty()
    }
}

/// Making one, and having it to oneself.
impl<T, const QUEUES: usize, const CROWDS: usize> Serializer<T, QUEUES, CROWDS> {
    lisle_lwp::const_unless_loom! {
        /// A serializer of this data, possessed by nobody.
        pub fn new(value: T) -> Serializer<T, QUEUES, CROWDS> {
            let view = View { value, crowds: [0; CROWDS], lengths: [0; QUEUES] };
            let places = Places {
                queues: [const { Queue::new() }; QUEUES],
                leavers: Queue::new(),
                entrance: Queue::new(),
                stamp: 0,
            };
            Serializer { possession: Possession::new(view, places, &REASON) }
        }
    }

    /// The data, poisoned or not.
    pub fn into_inner(self) -> T {
        self.possession.into_inner().value
    }

    /// The data, poisoned or not: the borrow shows that nobody possesses it.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.possession.get_mut().value
    }

    /// Whether a panic has unwound through the possession.
    pub fn is_poisoned(&self) -> bool {
        self.possession.poison().get()
    }

    /// Declares the data whole again.
    pub fn clear_poison(&self) {
        self.possession.poison().clear();
    }
}

/// Entering.
impl<T, const Q: usize, const C: usize> Serializer<T, Q, C> {
    /// Gains possession, waiting for it. Not a cancellation point.
    ///
    /// # Panics
    /// If the serializer is poisoned.
    #[inline]
    #[track_caller]
    pub fn enter(&self) -> SerializerGuard<'_, T, Q, C> {
        match self.admit(None, false) {
            Entered::Not(_) => unreachable!("no deadline and no cancel"),
            _ => SerializerGuard::new(self),
        }
    }

    /// As [`Serializer::enter`], and a cancellation point if it waits.
    ///
    /// # Panics
    /// As [`Serializer::enter`].
    #[track_caller]
    pub fn enter_cancellable(&self) -> SerializerGuard<'_, T, Q, C> {
        match self.admit(None, true) {
            Entered::Not(_) => cancel::deliver(),
            _ => SerializerGuard::new(self),
        }
    }

    /// Gains possession if nobody has it.
    ///
    /// # Panics
    /// As [`Serializer::enter`].
    #[track_caller]
    pub fn try_enter(&self) -> Option<SerializerGuard<'_, T, Q, C>> {
        let taken = self.possession.try_take();
        taken.then(|| SerializerGuard::new(self))
    }

    /// As [`Serializer::enter`], waiting at most this long; `None` if the time is up.
    ///
    /// # Panics
    /// As [`Serializer::enter`].
    #[track_caller]
    pub fn enter_timeout(&self, timeout: Duration) -> Option<SerializerGuard<'_, T, Q, C>> {
        self.enter_until(time::now().checked_add(timeout))
    }

    /// As [`Serializer::enter_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`Serializer::enter`].
    #[track_caller]
    pub fn enter_deadline(&self, deadline: Instant) -> Option<SerializerGuard<'_, T, Q, C>> {
        self.enter_until(Some(deadline))
    }

    #[track_caller]
    fn enter_until(&self, deadline: Option<Instant>) -> Option<SerializerGuard<'_, T, Q, C>> {
        match self.admit(deadline, false) {
            Entered::Not(_) => None,
            _ => Some(SerializerGuard::new(self)),
        }
    }

    #[inline]
    fn admit(&self, deadline: Option<Instant>, cancellable: bool) -> Entered {
        self.possession
            .take(Request::new(ENTRANCE), deadline, cancellable)
    }
}

impl<T: Default, const Q: usize, const C: usize> Default for Serializer<T, Q, C> {
    fn default() -> Self {
        Serializer::new(T::default())
    }
}

impl<T: fmt::Debug, const Q: usize, const C: usize> fmt::Debug for Serializer<T, Q, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Serializer");
        if self.possession.try_take() {
            let hold = possession::Hold(&self.possession);
            // SAFETY: just taken.
            shown.field("view", unsafe { hold.0.value() });
        } else {
            shown.field("view", &format_args!("<possessed>"));
        }
        shown
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// Possession of a serializer; dropping it releases it. The number of a queue or crowd
/// that is not there is a panic.
///
/// It stays with its thread, and does not outlive the serializer:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let serializer = lisle::sync::Serializer::<_, 1, 1>::new(0);
/// let guard = serializer.enter();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let guard = {
///     let serializer = lisle::sync::Serializer::<_, 1, 1>::new(0);
///     serializer.enter()
/// };
/// ```
///
/// Threads share it if they can share the value:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let serializer = lisle::sync::Serializer::<_, 1, 1>::new(std::cell::Cell::new(0));
/// shared(&serializer.enter());
/// ```
#[must_use = "an unused guard releases possession at once"]
pub struct SerializerGuard<'a, T, const QUEUES: usize, const CROWDS: usize> {
    serializer: &'a Serializer<T, QUEUES, CROWDS>,
    entered: Panicking,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: `&SerializerGuard` gives `&T`.
unsafe impl<T: Sync, const Q: usize, const C: usize> Sync for SerializerGuard<'_, T, Q, C> {}

impl<'a, T, const Q: usize, const C: usize> SerializerGuard<'a, T, Q, C> {
    /// The caller has taken it.
    #[inline]
    #[track_caller]
    fn new(serializer: &'a Serializer<T, Q, C>) -> SerializerGuard<'a, T, Q, C> {
        let guard = SerializerGuard {
            serializer,
            entered: serializer.possession.poison().enter(),
            _not_send: PhantomData,
        };
        guard.check();
        guard
    }

    #[inline]
    #[track_caller]
    fn check(&self) {
        if self.serializer.is_poisoned() {
            possession::poisoned("the serializer");
        }
    }

    #[inline(always)]
    fn view(&mut self) -> &mut View<T, Q, C> {
        // SAFETY: the thread has possession, and `&mut self` makes the access unique.
        unsafe { self.serializer.possession.value_mut() }
    }

    /// How many threads are in this crowd.
    pub fn crowd(&self, crowd: usize) -> usize {
        // SAFETY: the thread has possession.
        unsafe { self.serializer.possession.value() }.crowd(crowd)
    }

    /// How many threads wait in this queue; one that gives up counts until it possesses
    /// the serializer again.
    pub fn queue(&self, queue: usize) -> usize {
        // SAFETY: the thread has possession.
        unsafe { self.serializer.possession.value() }.queue(queue)
    }

    /// Joins the queue; goes on when the thread is its first and the guarantee is true,
    /// with possession. Possession is released meanwhile, unless that is so now. A
    /// cancellation point if it waits.
    ///
    /// # Panics
    /// If the serializer has been poisoned meanwhile; as the guarantee, also if that panics
    /// just when the wait ends otherwise. The thread has possession while it unwinds.
    #[inline]
    #[track_caller]
    pub fn enqueue(&mut self, queue: usize, guarantee: impl Fn(&View<T, Q, C>) -> bool + Send) {
        let true_now = self.wait_for(queue, 0, &guarantee, None);
        debug_assert!(true_now);
    }

    /// As [`SerializerGuard::enqueue`], before those of a greater rank and behind those
    /// of the same.
    ///
    /// # Panics
    /// As [`SerializerGuard::enqueue`].
    #[track_caller]
    pub fn enqueue_ranked(
        &mut self,
        queue: usize,
        rank: u64,
        guarantee: impl Fn(&View<T, Q, C>) -> bool + Send,
    ) {
        let true_now = self.wait_for(queue, rank, &guarantee, None);
        debug_assert!(true_now);
    }

    /// As [`SerializerGuard::enqueue_ranked`], at most this long, and then for
    /// possession; returns whether the guarantee is true.
    ///
    /// # Panics
    /// As [`SerializerGuard::enqueue`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::time::Duration;
    /// let disk = lisle::sync::Serializer::<u64>::new(0);
    /// let (mut head, patience) = (disk.enter(), Duration::from_millis(1));
    /// assert!(!head.enqueue_ranked_timeout(0, 7, patience, |head| **head == 7));
    /// assert!(head.enqueue_ranked_timeout(0, 7, patience, |head| **head == 0));
    /// ```
    #[track_caller]
    pub fn enqueue_ranked_timeout(
        &mut self,
        queue: usize,
        rank: u64,
        timeout: Duration,
        guarantee: impl Fn(&View<T, Q, C>) -> bool + Send,
    ) -> bool {
        let deadline = time::now().checked_add(timeout);
        self.wait_for(queue, rank, &guarantee, deadline)
    }

    /// As [`SerializerGuard::enqueue_ranked_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`SerializerGuard::enqueue`].
    #[track_caller]
    pub fn enqueue_ranked_deadline(
        &mut self,
        queue: usize,
        rank: u64,
        deadline: Instant,
        guarantee: impl Fn(&View<T, Q, C>) -> bool + Send,
    ) -> bool {
        self.wait_for(queue, rank, &guarantee, Some(deadline))
    }

    /// As [`SerializerGuard::enqueue`], at most this long, and then for possession;
    /// returns whether the guarantee is true.
    ///
    /// # Panics
    /// As [`SerializerGuard::enqueue`].
    #[track_caller]
    pub fn enqueue_timeout(
        &mut self,
        queue: usize,
        timeout: Duration,
        guarantee: impl Fn(&View<T, Q, C>) -> bool + Send,
    ) -> bool {
        self.wait_for(queue, 0, &guarantee, time::now().checked_add(timeout))
    }

    /// As [`SerializerGuard::enqueue_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`SerializerGuard::enqueue`].
    #[track_caller]
    pub fn enqueue_deadline(
        &mut self,
        queue: usize,
        deadline: Instant,
        guarantee: impl Fn(&View<T, Q, C>) -> bool + Send,
    ) -> bool {
        self.wait_for(queue, 0, &guarantee, Some(deadline))
    }

    /// Goes on if nobody waits in the queue and the guarantee is true; returns whether
    /// it does.
    ///
    /// # Panics
    /// As the guarantee.
    pub fn try_enqueue(
        &mut self,
        queue: usize,
        guarantee: impl Fn(&View<T, Q, C>) -> bool,
    ) -> bool {
        Counted::in_queue(self.serializer, queue).goes_on(0, &guarantee)
    }

    #[inline]
    #[track_caller]
    fn wait_for<G: Fn(&View<T, Q, C>) -> bool + Send>(
        &mut self,
        queue: usize,
        rank: u64,
        guarantee: &G,
        deadline: Option<Instant>,
    ) -> bool {
        let counted = Counted::in_queue(self.serializer, queue);
        if counted.goes_on(rank, guarantee) {
            return true;
        }
        let request = Request::new(queue)
            .ranked(rank)
            .guarded(Guard::new(guarantee));
        let outcome = self.serializer.possession.wait(request, deadline);
        drop(counted);
        let granted = possession::ended(outcome);
        self.check();
        granted
    }

    /// Joins the crowd, releases possession for the body, and has it again when it has
    /// left the crowd. The body itself waits as it likes; leaving is not a cancellation
    /// point.
    ///
    /// # Panics
    /// If the serializer has been poisoned meanwhile; as the body.
    #[inline]
    #[track_caller]
    pub fn join_crowd<R>(&mut self, crowd: usize, body: impl FnOnce() -> R) -> R {
        self.view().crowds[crowd] += 1;
        let member = Member {
            possession: &self.serializer.possession,
            crowd,
        };
        member.possession.release();
        let result = body();
        drop(member);
        self.check();
        result
    }
}

/// Counts in the length of a queue. Made and dropped with possession.
struct Counted<'a, T, const Q: usize, const C: usize> {
    view: &'a Possession<View<T, Q, C>, Places<T, Q, C>>,
    queue: usize,
}

impl<'a, T, const Q: usize, const C: usize> Counted<'a, T, Q, C> {
    #[inline(always)]
    fn in_queue(serializer: &'a Serializer<T, Q, C>, queue: usize) -> Self {
        let view = &serializer.possession;
        // SAFETY: the thread has possession, and no reference is in use.
        unsafe { view.value_mut() }.lengths[queue] += 1;
        Counted { view, queue }
    }

    /// Whether the thread need not wait: its guarantee is true, and nobody stands before
    /// it in the queue.
    #[inline(always)]
    fn goes_on(&self, rank: u64, guarantee: &impl Fn(&View<T, Q, C>) -> bool) -> bool {
        // SAFETY: the thread has possession.
        let view = unsafe { self.view.value() };
        guarantee(view) && (view.lengths[self.queue] == 1 || self.is_before_all(rank))
    }

    /// Nobody would examine an urgent newcomer before the next release, so it must go on.
    fn is_before_all(&self, rank: u64) -> bool {
        self.view.rearrange(|places| {
            let first = places.queues[self.queue].front();
            first.is_none_or(|first| first.data.rank > rank)
        })
    }
}

impl<T, const Q: usize, const C: usize> Drop for Counted<'_, T, Q, C> {
    fn drop(&mut self) {
        // SAFETY: the thread has possession, and no reference is in use.
        unsafe { self.view.value_mut() }.lengths[self.queue] -= 1;
    }
}

/// Being in a crowd, without possession; leaving gains it.
struct Member<'a, T, const Q: usize, const C: usize> {
    possession: &'a Possession<View<T, Q, C>, Places<T, Q, C>>,
    crowd: usize,
}

impl<T, const Q: usize, const C: usize> Drop for Member<'_, T, Q, C> {
    #[inline]
    fn drop(&mut self) {
        let again = self.possession.take(Request::new(LEAVERS), None, false);
        debug_assert!(!matches!(again, Entered::Not(_)));
        // SAFETY: just taken.
        unsafe { self.possession.value_mut() }.crowds[self.crowd] -= 1;
    }
}

impl<T, const Q: usize, const C: usize> Deref for SerializerGuard<'_, T, Q, C> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the thread has possession.
        unsafe { &self.serializer.possession.value().value }
    }
}

impl<T, const Q: usize, const C: usize> DerefMut for SerializerGuard<'_, T, Q, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.view().value
    }
}

impl<T, const Q: usize, const C: usize> Drop for SerializerGuard<'_, T, Q, C> {
    #[inline]
    fn drop(&mut self) {
        self.serializer.possession.leave(self.entered);
    }
}

impl<T: fmt::Debug, const Q: usize, const C: usize> fmt::Debug for SerializerGuard<'_, T, Q, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
