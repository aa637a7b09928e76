//! `Condvar`: condition variables with std's names and behaviour.
//!
//! The protocol stands in [`raw`]. A cancelled waiter
//! takes the mutex again before it unwinds, as in POSIX, so that destructors run
//! under the mutex.

use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use lisle_runtime::wait::Outcome;
use lisle_runtime::{cancel, time};

pub(crate) mod raw;

use self::raw::RawCondvar;
use crate::mutex::MutexGuard;

/// A condition variable, as `std::sync::Condvar`. Spurious wake-ups do not happen,
/// but use [`Condvar::wait_while`] all the same: others may run between the notify
/// and the waiter.
///
/// *Fairness*: notifies wake in the order of waiting; a notify that meets a waiter
/// whose time was up, or which was cancelled, goes to the next. *Cancellation*: all
/// waits are cancellation points; a cancelled waiter holds the mutex while it
/// unwinds.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::{Condvar, Mutex};
/// static READY: Mutex<bool> = Mutex::new(false);
/// static CHANGED: Condvar = Condvar::new();
///
/// let setter = std::thread::spawn(|| {
///     *READY.lock().unwrap() = true;
///     CHANGED.notify_one();
/// });
/// let ready = CHANGED.wait_while(READY.lock().unwrap(), |ready| !*ready).unwrap();
/// assert!(*ready);
/// # drop(ready);
/// # setter.join().unwrap();
/// ```
#[derive(Debug)]
pub struct Condvar {
    raw: RawCondvar,
}

// No panic leaves it between two states.
impl UnwindSafe for Condvar {}
impl RefUnwindSafe for Condvar {}

/// Whether a wait ended because the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl Condvar {
    lisle_lwp::const_unless_loom! {
        /// A condition that nobody waits for.
        pub fn new() -> Condvar {
            Condvar { raw: RawCondvar::new() }
        }
    }

    /// Releases the mutex, waits for a notify, and takes the mutex again. A
    /// cancellation point.
    ///
    /// # Errors
    /// If the mutex is poisoned when it is taken again.
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        match self.wait_until(guard, None) {
            Ok((guard, _)) => Ok(guard),
            Err(error) => Err(PoisonError::new(error.into_inner().0)),
        }
    }

    /// Waits as long as the condition holds. A cancellation point.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`Condvar::wait`], at most this long. A cancellation point.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until(guard, time::now().checked_add(timeout))
    }

    /// As [`Condvar::wait`], at most until the deadline. A cancellation point.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    pub fn wait_deadline<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until(guard, Some(deadline))
    }

    /// As [`Condvar::wait_while`], at most this long in all. A cancellation
    /// point.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    pub fn wait_timeout_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until_while(guard, time::now().checked_add(timeout), condition)
    }

    /// As [`Condvar::wait_while`], at most until the deadline. A cancellation
    /// point.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::{Condvar, Mutex};
    /// let (ready, changed) = (Mutex::new(false), Condvar::new());
    /// let deadline = lisle::time::now() + std::time::Duration::from_millis(1);
    /// let waited = changed.wait_deadline_while(ready.lock().unwrap(), deadline, |ready| !*ready);
    /// let (ready, result) = waited.unwrap();
    /// assert!(result.timed_out() && !*ready);
    /// ```
    pub fn wait_deadline_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until_while(guard, Some(deadline), condition)
    }

    fn wait_until_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        loop {
            if !condition(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            let (again, result) = self.wait_until(guard, deadline)?;
            guard = again;
            if result.timed_out() {
                let still = condition(&mut guard);
                return Ok((guard, WaitTimeoutResult(still)));
            }
        }
    }

    fn wait_until<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (outcome, relocked) =
            MutexGuard::released(guard, |mutex| self.raw.wait(mutex, deadline));
        if outcome == Outcome::Cancelled {
            // The guard is dropped, the mutex released, while unwinding.
            cancel::deliver();
        }
        let result = WaitTimeoutResult(outcome == Outcome::TimedOut);
        match relocked {
            Ok(guard) => Ok((guard, result)),
            Err(error) => Err(PoisonError::new((error.into_inner(), result))),
        }
    }

    /// Wakes the thread that has waited longest, if any.
    #[inline]
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Wakes all threads that wait.
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }
}
