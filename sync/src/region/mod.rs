//! `Region`: the conditional critical region.
//!
//! Definition, sources and interpretation stand at [`Region`].
//!
//! *Invariants*. While nobody is inside, no guard in the line is true. Nobody else is
//! ever woken than the one thread that enters: no guard is tested by waking its owner.
//!
//! The protocol stands in [`possession`](mod@crate::possession).
//!
//! *Rejected*: Brinch Hansen's two queues, from which an exit moves all delayed
//! processes back to the entrance: each exit wakes everybody. Keywords for variables that
//! a guard reads, to skip examinations: a guard costs some nanoseconds, a switch fifty.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use lisle_runtime::time;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Outcome, Reason};

use crate::poison::Panicking;
use crate::possession::{self, Entered, Guard, Hold, Line, Possession, Request, Waiting};

static REASON: Reason = Reason::new("region");

/// A shared variable that is reached only in its critical region, by those whose guard
/// is true.
///
/// *Definition*. `region v when B do S`: a process enters the region of the shared
/// variable `v` when nobody is in it and `B` is true; `await B` inside leaves it until
/// `B` is true. (C. A. R. Hoare, "Towards a theory of parallel programming", 1971;
/// P. Brinch Hansen, "Structured multiprogramming", 1972.)
///
/// *Interpretation*. Hoare leaves open who is next. Here all who wait stand in one
/// line, in the order of their coming, whether for the region or for their guard.
///
/// *Who is woken when*: at each exit the guards are examined in that order, by the thread
/// that exits, and the first whose guard is true is woken, and is inside: nobody else can
/// make its guard false before. So a guard that holds at some exit, and at all exits from
/// then on, gets its thread in after those before it.
///
/// *Guards* are pure functions of the value: they are examined at entry, and at every
/// exit by the thread that exits (hence `Send`), until one is true for the first
/// time. A guard that changes its mind for other reasons than the value may be
/// overlooked. *A guard that panics* does so in the thread that waits for it, also if its
/// time was up meanwhile: its `when` unwinds, the region is free and not poisoned, nobody
/// else notices. In [`Inside::wait_until`] that thread is inside again while it unwinds, so
/// the panic poisons the region unless the body catches it.
///
/// *Fairness*: first in, first out among those whose guard is true; nobody is bypassed
/// by a newcomer. *Cancellation*: whatever waits is a cancellation point; a wait that
/// ends early leaves no trace. One that awaits inside is inside again while it unwinds.
/// *Poison*: a panic of the body poisons the region, a cancel does not. Entering a
/// poisoned region panics, also for those who wait. *Recursion*: entering a region from
/// inside it waits for ever.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Region;
/// static BUFFER: Region<Vec<u32>> = Region::new(Vec::new());
///
/// let taker = std::thread::spawn(|| {
///     BUFFER.when(|items| !items.is_empty(), |items| items.pop().unwrap())
/// });
/// BUFFER.enter(|items| items.push(7));
/// assert_eq!(taker.join().unwrap(), 7);
/// ```
///
/// Threads share it if the value can go from thread to thread:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::Region::new(std::rc::Rc::new(0)));
/// ```
pub struct Region<T> {
    possession: Possession<T, Order<T>>,
}

// A panic inside poisons.
impl<T> UnwindSafe for Region<T> {}
impl<T> RefUnwindSafe for Region<T> {}

/// All who wait, in the order of their coming.
struct Order<T>(Queue<Request<T>>);

impl<T> Line<T> for Order<T> {
    const AGAIN: usize = 0;

    unsafe fn push(&mut self, node: &Waiting<T>) {
        // SAFETY: passed on.
        unsafe { self.0.push(node) };
    }

    unsafe fn remove(&mut self, node: &Waiting<T>) -> bool {
        // SAFETY: passed on.
        unsafe { self.0.remove(node) }
    }

    unsafe fn candidate<'n>(&self, last: Option<&Waiting<T>>) -> Option<&'n Waiting<T>> {
        // SAFETY: passed on.
        unsafe {
            match last {
                Some(last) => self.0.next(last),
                None => self.0.find(|_| true),
            }
        }
    }

    fn is_awaited(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Making one, and having it to oneself.
impl<T> Region<T> {
    lisle_lwp::const_unless_loom! {
        /// A region of a variable with this value.
        pub fn new(value: T) -> Region<T> {
            Region { possession: Possession::new(value, Order(Queue::new()), &REASON) }
        }
    }

    /// The value, poisoned or not.
    pub fn into_inner(self) -> T {
        self.possession.into_inner()
    }

    /// The value, poisoned or not: the borrow shows that nobody is inside.
    pub fn get_mut(&mut self) -> &mut T {
        self.possession.get_mut()
    }

    /// Whether a body has panicked.
    pub fn is_poisoned(&self) -> bool {
        self.possession.poison().get()
    }

    /// Declares the value whole again.
    pub fn clear_poison(&self) {
        self.possession.poison().clear();
    }
}

/// Entering.
impl<T> Region<T> {
    /// `region v do S`: runs the body inside. A cancellation point if it waits.
    ///
    /// # Panics
    /// If the region is poisoned; as the body.
    #[inline]
    #[track_caller]
    pub fn enter<R>(&self, body: impl FnOnce(&mut Inside<'_, T>) -> R) -> R {
        self.when(|_| true, body)
    }

    /// As [`Region::enter`], if nobody is inside; else `None`.
    ///
    /// # Panics
    /// As [`Region::enter`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// let region = lisle::sync::Region::new(1);
    /// assert_eq!(region.try_enter(|n| **n), Some(1));
    /// region.enter(|_| assert_eq!(region.try_enter(|n| **n), None));
    /// ```
    #[track_caller]
    pub fn try_enter<R>(&self, body: impl FnOnce(&mut Inside<'_, T>) -> R) -> Option<R> {
        self.try_when(|_| true, body)
    }

    /// As [`Region::enter`], waiting at most this long; `None` if the time is up.
    ///
    /// # Panics
    /// As [`Region::enter`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::time::Duration;
    /// let region = lisle::sync::Region::new(1);
    /// assert_eq!(region.enter_timeout(Duration::from_secs(1), |n| **n), Some(1));
    /// ```
    #[track_caller]
    pub fn enter_timeout<R>(
        &self,
        timeout: Duration,
        body: impl FnOnce(&mut Inside<'_, T>) -> R,
    ) -> Option<R> {
        self.when_timeout(timeout, |_| true, body)
    }

    /// As [`Region::enter_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`Region::enter`].
    #[track_caller]
    pub fn enter_deadline<R>(
        &self,
        deadline: Instant,
        body: impl FnOnce(&mut Inside<'_, T>) -> R,
    ) -> Option<R> {
        self.when_deadline(deadline, |_| true, body)
    }

    /// `region v when B do S`: waits until nobody is inside and the guard is true, and
    /// runs the body inside. A cancellation point if it waits.
    ///
    /// # Panics
    /// If the region is poisoned; as the guard and the body.
    #[inline]
    #[track_caller]
    pub fn when<R>(
        &self,
        guard: impl Fn(&T) -> bool + Send,
        body: impl FnOnce(&mut Inside<'_, T>) -> R,
    ) -> R {
        match self.admit(&guard, None) {
            Some(mut inside) => body(&mut inside),
            None => unreachable!("no deadline"),
        }
    }

    /// As [`Region::when`], if nobody is inside and the guard is true now; else `None`.
    ///
    /// # Panics
    /// As [`Region::when`].
    #[track_caller]
    pub fn try_when<R>(
        &self,
        guard: impl Fn(&T) -> bool + Send,
        body: impl FnOnce(&mut Inside<'_, T>) -> R,
    ) -> Option<R> {
        if !self.possession.try_take() {
            return None;
        }
        let mut inside = self.examined(&guard)?;
        Some(body(&mut inside))
    }

    /// As [`Region::when`], waiting at most this long; `None` if the time is up.
    ///
    /// # Panics
    /// As [`Region::when`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::time::Duration;
    /// let region = lisle::sync::Region::new(1);
    /// let late = region.when_timeout(Duration::from_millis(1), |n| *n == 2, |n| **n);
    /// assert_eq!(late, None);
    /// ```
    #[track_caller]
    pub fn when_timeout<R>(
        &self,
        timeout: Duration,
        guard: impl Fn(&T) -> bool + Send,
        body: impl FnOnce(&mut Inside<'_, T>) -> R,
    ) -> Option<R> {
        // A deadline beyond the clock's range never comes.
        let mut inside = self.admit(&guard, time::now().checked_add(timeout))?;
        Some(body(&mut inside))
    }

    /// As [`Region::when_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`Region::when`].
    #[track_caller]
    pub fn when_deadline<R>(
        &self,
        deadline: Instant,
        guard: impl Fn(&T) -> bool + Send,
        body: impl FnOnce(&mut Inside<'_, T>) -> R,
    ) -> Option<R> {
        let mut inside = self.admit(&guard, Some(deadline))?;
        Some(body(&mut inside))
    }

    #[inline]
    #[track_caller]
    fn admit<G: Fn(&T) -> bool + Send>(
        &self,
        guard: &G,
        deadline: Option<Instant>,
    ) -> Option<Inside<'_, T>> {
        let request = || Request::new(0).guarded(Guard::new(guard));
        let outcome = match self.possession.take(request(), deadline, true) {
            Entered::Granted => Outcome::Woken,
            Entered::Not(outcome) => outcome,
            Entered::Free => match self.examine(guard) {
                Ok(inside) => return Some(inside),
                Err(hold) => {
                    core::mem::forget(hold);
                    self.possession.wait_outside(request(), deadline)
                }
            },
        };
        match possession::ended(outcome) {
            true => Some(Inside::new(self)),
            false => None,
        }
    }

    /// The caller has taken it; leaves it if the guard is false.
    #[track_caller]
    fn examined(&self, guard: &impl Fn(&T) -> bool) -> Option<Inside<'_, T>> {
        self.examine(guard).ok()
    }

    /// Inside if the guard is true, else still holding it. If the guard panics, the
    /// region is left.
    #[inline(always)]
    #[track_caller]
    fn examine(&self, guard: &impl Fn(&T) -> bool) -> Result<Inside<'_, T>, Hold<'_, T, Order<T>>> {
        let hold = Hold(&self.possession);
        // SAFETY: the caller has taken it.
        if self.is_poisoned() || guard(unsafe { self.possession.value() }) {
            core::mem::forget(hold);
            Ok(Inside::new(self))
        } else {
            Err(hold)
        }
    }
}

impl<T: Default> Default for Region<T> {
    fn default() -> Self {
        Region::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Region");
        if self.possession.try_take() {
            let hold = Hold(&self.possession);
            // SAFETY: just taken.
            shown.field("data", unsafe { hold.0.value() });
        } else {
            shown.field("data", &format_args!("<entered>"));
        }
        shown
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// The value, for a body inside the region. It stays with its thread, and the value with
/// the body:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// lisle::sync::Region::new(0).enter(|inside| {
///     std::thread::scope(|scope| {
///         scope.spawn(|| **inside);
///     });
/// });
/// ```
///
/// ```compile_fail,E0521
/// # use lisle_sync::__facade as lisle;
/// let region = lisle::sync::Region::new(0);
/// let mut outside = None;
/// region.enter(|inside| outside = Some(inside));
/// ```
pub struct Inside<'a, T> {
    region: &'a Region<T>,
    entered: Panicking,
    _not_send: PhantomData<*const ()>,
}

impl<'a, T> Inside<'a, T> {
    /// The caller has taken it.
    #[inline]
    #[track_caller]
    fn new(region: &'a Region<T>) -> Inside<'a, T> {
        let inside = Inside {
            region,
            entered: region.possession.poison().enter(),
            _not_send: PhantomData,
        };
        inside.check();
        inside
    }

    #[inline]
    #[track_caller]
    fn check(&self) {
        if self.region.is_poisoned() {
            possession::poisoned("the region");
        }
    }

    /// `await B`: leaves the region and is inside again when the guard is true. Does not
    /// leave if it is true now. A cancellation point if it waits; the thread is
    /// inside while it unwinds.
    ///
    /// # Panics
    /// If the region has been poisoned meanwhile; as the guard. What unwinds through the
    /// body poisons the region.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::Region;
    /// static STEP: Region<u32> = Region::new(0);
    /// let other = std::thread::spawn(|| STEP.when(|step| *step == 1, |step| **step = 2));
    /// STEP.enter(|step| {
    ///     **step = 1;
    ///     step.wait_until(|step| *step == 2);
    ///     **step = 3;
    /// });
    /// other.join().unwrap();
    /// assert_eq!(STEP.enter(|step| **step), 3);
    /// ```
    #[track_caller]
    pub fn wait_until(&mut self, guard: impl Fn(&T) -> bool + Send) {
        let again = self.await_guard(&guard, None);
        debug_assert!(again);
    }

    /// As [`Inside::wait_until`], at most this long, and then for the region; returns
    /// whether the guard is true.
    ///
    /// # Panics
    /// As [`Inside::wait_until`].
    #[track_caller]
    pub fn wait_until_timeout(
        &mut self,
        timeout: Duration,
        guard: impl Fn(&T) -> bool + Send,
    ) -> bool {
        self.await_guard(&guard, time::now().checked_add(timeout))
    }

    /// As [`Inside::wait_until_timeout`], until the deadline.
    ///
    /// # Panics
    /// As [`Inside::wait_until`].
    #[track_caller]
    pub fn wait_until_deadline(
        &mut self,
        deadline: Instant,
        guard: impl Fn(&T) -> bool + Send,
    ) -> bool {
        self.await_guard(&guard, Some(deadline))
    }

    #[track_caller]
    fn await_guard<G: Fn(&T) -> bool + Send>(
        &mut self,
        guard: &G,
        deadline: Option<Instant>,
    ) -> bool {
        if guard(self) {
            return true;
        }
        let request = Request::new(0).guarded(Guard::new(guard));
        let outcome = self.region.possession.wait(request, deadline);
        let granted = possession::ended(outcome);
        self.check();
        granted || guard(self)
    }
}

impl<T> Deref for Inside<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the thread is inside.
        unsafe { self.region.possession.value() }
    }
}

impl<T> DerefMut for Inside<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the thread is inside, and `&mut self` makes the access unique.
        unsafe { self.region.possession.value_mut() }
    }
}

impl<T> Drop for Inside<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.region.possession.leave(self.entered);
    }
}

impl<T: fmt::Debug> fmt::Debug for Inside<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
