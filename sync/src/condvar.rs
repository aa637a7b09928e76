//! `Condvar`: condition variables with std's names and behaviour.
//!
//! *Protocol*. A waiter enters the list before it unlocks the mutex, so a
//! notify that comes after the mutex is free finds it: release and wait are one
//! step. Notifies wake in the order of waiting. A notify that meets a waiter
//! whose time was up, or which was cancelled, goes to the next one.
//!
//! A cancelled waiter takes the mutex again before it unwinds, as in POSIX, so
//! that destructors run under the mutex.

use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError};
use std::time::{Duration, Instant};

use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{self, Node, Outcome, Reason, Waiters};
use lisle_runtime::{cancel, time};

use crate::mutex::MutexGuard;

static REASON: Reason = Reason::new("condition variable");

/// A condition variable. See the module documentation. Spurious wake-ups do not
/// happen, but use [`Condvar::wait_while`] all the same: others may run between
/// the notify and the waiter.
///
/// ```
/// use lisle_sync::{Condvar, Mutex};
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
    waiters: Waiters<Queue<()>>,
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
            Condvar { waiters: Waiters::new(Queue::new()) }
        }
    }

    /// Releases the mutex, waits for a notify, and takes the mutex again. A
    /// cancellation point.
    ///
    /// # Errors
    /// If the mutex is poisoned when it is taken again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        match self.wait_until(guard, None) {
            Ok((guard, _)) => Ok(guard),
            Err(error) => Err(PoisonError::new(error.into_inner().0)),
        }
    }

    /// Waits as long as the condition holds. A cancellation point.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    pub fn wait_while<'a, T>(
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
    pub fn wait_timeout<'a, T>(
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
    pub fn wait_deadline<'a, T>(
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
    pub fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let deadline = time::now().checked_add(timeout);
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

    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let mutex = guard.mutex();
        let detail = core::ptr::from_ref(self) as usize;
        let Ok(wait) = wait::begin(&REASON, detail, true) else {
            // The guard is dropped, the mutex released, while unwinding.
            cancel::deliver()
        };
        let node = Node::new(&wait, ());
        // SAFETY: removed below, before the frame goes, unless popped. Unlocking
        // cannot unwind.
        unsafe { self.waiters.lock().push(&node) };
        drop(guard);
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: pushed to this queue.
            unsafe { self.waiters.lock().remove(&node) };
        }
        let relocked = mutex.lock();
        if outcome == Outcome::Cancelled {
            cancel::deliver();
        }
        let result = WaitTimeoutResult(outcome == Outcome::TimedOut);
        match relocked {
            Ok(guard) => Ok((guard, result)),
            Err(error) => Err(PoisonError::new((error.into_inner(), result))),
        }
    }

    /// Wakes the thread that has waited longest, if any.
    pub fn notify_one(&self) {
        let mut waiters = self.waiters.lock();
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(node) = unsafe { waiters.pop() } {
            if waiters.wake(node.key()) {
                return;
            }
        }
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        let mut waiters = self.waiters.lock();
        // SAFETY: as in `notify_one`.
        while let Some(node) = unsafe { waiters.pop() } {
            waiters.wake(node.key());
        }
    }
}
