//! parking_lot's condition variable.

use std::time::{Duration, Instant};

use lisle_runtime::wait::Outcome;
use lisle_runtime::{cancel, time};

use super::MutexGuard;
use crate::condvar::raw::RawCondvar;

/// A condition variable for [`Mutex`](super::Mutex), as `parking_lot::Condvar`. Its
/// waits are cancellation points; a cancelled waiter holds the mutex while it unwinds.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::parking_lot::{Condvar, Mutex};
/// static READY: Mutex<bool> = Mutex::new(false);
/// static CHANGED: Condvar = Condvar::new();
///
/// let setter = std::thread::spawn(|| {
///     *READY.lock() = true;
///     CHANGED.notify_one();
/// });
/// CHANGED.wait_while(&mut READY.lock(), |ready| !*ready);
/// setter.join().unwrap();
/// ```
#[derive(Debug)]
pub struct Condvar {
    raw: RawCondvar,
}

/// Whether a wait ended because the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl Condvar {
    /// A condition that nobody waits for.
    pub const fn new() -> Condvar {
        Condvar {
            raw: RawCondvar::new(),
        }
    }

    /// Wakes the thread that has waited longest; returns whether there was one.
    pub fn notify_one(&self) -> bool {
        self.raw.notify_one()
    }

    /// Wakes all threads that wait; returns how many.
    pub fn notify_all(&self) -> usize {
        self.raw.notify_all()
    }

    /// Releases the mutex, waits for a notify, and takes the mutex again. A
    /// cancellation point.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.until(guard, None);
    }

    /// As [`Condvar::wait`], at most until the deadline.
    pub fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        self.until(guard, Some(deadline))
    }

    /// As [`Condvar::wait`], at most this long.
    pub fn wait_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        timeout: Duration,
    ) -> WaitTimeoutResult {
        self.until(guard, time::now().checked_add(timeout))
    }

    /// Waits as long as the condition holds. A cancellation point.
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) {
        self.while_until(guard, condition, None);
    }

    /// As [`Condvar::wait_while`], at most until the deadline.
    pub fn wait_while_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        self.while_until(guard, condition, Some(deadline))
    }

    /// As [`Condvar::wait_while`], at most this long.
    pub fn wait_while_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
        timeout: Duration,
    ) -> WaitTimeoutResult {
        self.while_until(guard, condition, time::now().checked_add(timeout))
    }

    fn while_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        deadline: Option<Instant>,
    ) -> WaitTimeoutResult {
        while condition(guard) {
            if self.until(guard, deadline).timed_out() {
                return WaitTimeoutResult(condition(guard));
            }
        }
        WaitTimeoutResult(false)
    }

    fn until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Option<Instant>,
    ) -> WaitTimeoutResult {
        // SAFETY: it is held when this returns, as it was, and the guard is borrowed.
        let mutex = unsafe { MutexGuard::mutex(guard).raw() };
        match self.raw.wait(mutex, deadline) {
            Outcome::Cancelled => cancel::deliver(),
            outcome => WaitTimeoutResult(outcome == Outcome::TimedOut),
        }
    }
}
