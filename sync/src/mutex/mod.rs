//! `Mutex`: mutual exclusion with std's names and behaviour.
//!
//! The value, the mark of poison, and a [`RawMutex`], where the protocol stands.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use lisle_lwp::shim::Cell;
use lisle_runtime::wait::Outcome;
use lisle_runtime::{cancel, time};

pub(crate) mod raw;

use self::raw::RawMutex;
use crate::poison::{Panicking, Poison};

/// Mutual exclusion around a value, as `std::sync::Mutex`.
///
/// *Poison*: a panic while the mutex is held poisons it; a cancel does not.
/// *Fairness*: waiters are served first come, first served, but a thread that finds
/// the mutex free takes it even if others wait. How often that may happen is
/// bounded: a thread with `n` waiters before it gets the mutex after it has been
/// taken at most `n + (n + 1) × 1024` times
/// ([`RawMutex::BYPASS`]). *Cancellation*: taking it is not
/// a cancellation point, but for [`Mutex::lock_cancellable`]. *Recursion*: a thread
/// that locks a mutex which it holds waits for ever. *Size*: a `Mutex<()>` has
/// eight bytes.
///
/// Threads share it if the value can go from thread to thread:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::Mutex::new(std::rc::Rc::new(0)));
/// ```
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Mutex;
/// static COUNT: Mutex<u32> = Mutex::new(0);
/// *COUNT.lock().unwrap() += 1;
/// assert_eq!(*COUNT.lock().unwrap(), 1);
///
/// // The value may be unsized.
/// let tasks: Box<Mutex<[u32]>> = Box::new(Mutex::new([1, 2, 3]));
/// tasks.lock().unwrap()[0] = 9;
/// let shown: &Mutex<dyn std::fmt::Debug> = &COUNT;
/// assert_eq!(format!("{:?}", &*shown.lock().unwrap()), "1");
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: Poison,
    value: Cell<T>,
}

// SAFETY: the value is reached by one thread at a time.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

// A panic inside poisons, so nobody meets a broken value unwarned.
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    lisle_lwp::const_unless_loom! {
        /// A free mutex around a value.
        pub fn new(value: T) -> Mutex<T> {
            Mutex { raw: RawMutex::new(), poison: Poison::new(), value: Cell::new(value) }
        }
    }

    /// The value.
    ///
    /// # Errors
    /// If the mutex is poisoned; the value is in the error.
    pub fn into_inner(self) -> LockResult<T> {
        let Mutex { poison, value, .. } = self;
        poison.wrap(value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the mutex, waiting for it. Not a cancellation point.
    ///
    /// # Errors
    /// If it is poisoned; it is held all the same, by the guard in the error.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.acquire();
        self.guard()
    }

    /// Takes the mutex if it is free.
    ///
    /// # Errors
    /// `WouldBlock` if it is held, or reserved for a waiter that has been
    /// bypassed too often; `Poisoned` as for [`Mutex::lock`].
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_acquire() {
            Ok(self.guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Takes the mutex, waiting at most this long. Not a cancellation point.
    ///
    /// # Errors
    /// `WouldBlock` if the time is up; `Poisoned` as for [`Mutex::lock`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::time::Duration;
    /// use lisle::sync::{Mutex, TryLockError};
    ///
    /// let mutex = Mutex::new(());
    /// let held = mutex.lock().unwrap();
    /// let late = mutex.lock_timeout(Duration::from_millis(1));
    /// assert!(matches!(late, Err(TryLockError::WouldBlock)));
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        // A deadline beyond the clock's range never comes.
        self.lock_until(time::now().checked_add(timeout))
    }

    /// Takes the mutex, waiting at most until the deadline. Not a cancellation
    /// point.
    ///
    /// # Errors
    /// As [`Mutex::lock_timeout`].
    pub fn lock_deadline(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_until(Some(deadline))
    }

    fn lock_until(&self, deadline: Option<Instant>) -> TryLockResult<MutexGuard<'_, T>> {
        match self.raw.acquire_until(deadline, false) {
            Outcome::Woken => Ok(self.guard()?),
            _ => Err(TryLockError::WouldBlock),
        }
    }

    /// As [`Mutex::lock`], and a cancellation point if it waits.
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    pub fn lock_cancellable(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.raw.acquire_until(None, true) {
            Outcome::Woken => self.guard(),
            _ => cancel::deliver(),
        }
    }

    /// Whether a thread panicked while it held the mutex.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Declares the value whole again.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, without locking: the borrow shows that nobody holds it.
    ///
    /// # Errors
    /// If the mutex is poisoned; the value is in the error.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        // SAFETY: `&mut self`.
        let value = self.value.with_mut(|value| unsafe { &mut *value });
        self.poison.wrap(value)
    }

    /// The caller holds it.
    #[inline]
    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        self.poison.wrap(MutexGuard {
            mutex: self,
            entered: self.poison.enter(),
            _not_send: PhantomData,
        })
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => shown.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => shown.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => shown.field("data", &format_args!("<locked>")),
        };
        shown
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// Access to a mutex's value; dropping it unlocks. It stays with its thread, and
/// does not outlive the mutex:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let mutex = lisle::sync::Mutex::new(0);
/// let guard = mutex.lock().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let guard = {
///     let mutex = lisle::sync::Mutex::new(0);
///     mutex.lock().unwrap()
/// };
/// ```
///
/// ```compile_fail,E0505
/// # use lisle_sync::__facade as lisle;
/// let mutex = lisle::sync::Mutex::new(0);
/// let guard = mutex.lock().unwrap();
/// drop(mutex.into_inner());
/// drop(guard);
/// ```
///
/// Threads share it if they can share the value:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let mutex = lisle::sync::Mutex::new(std::cell::Cell::new(0));
/// shared(&mutex.lock().unwrap());
/// ```
#[must_use = "an unused guard unlocks at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    entered: Panicking,
    /// As std's, the guard stays with its thread.
    _not_send: PhantomData<*const ()>,
}

// SAFETY: `&MutexGuard` gives `&T`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Releases the mutex to its first waiter, if there is one: nobody takes it
    /// before. After the manner of parking_lot.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::{Mutex, MutexGuard};
    /// let mutex = Mutex::new(1);
    /// MutexGuard::unlock_fair(mutex.lock().unwrap());
    /// assert_eq!(*mutex.lock().unwrap(), 1);
    /// ```
    pub fn unlock_fair(guard: Self) {
        let guard = core::mem::ManuallyDrop::new(guard);
        guard.mutex.poison.leave(guard.entered);
        guard.mutex.raw.release_fair();
    }

    /// Releases the mutex for what `f` does with it; it is held again when `f`
    /// is over. For condition variables: a panic in the release does not occur.
    pub(crate) fn released<R>(
        guard: Self,
        f: impl FnOnce(&'a RawMutex) -> R,
    ) -> (R, LockResult<MutexGuard<'a, T>>) {
        let guard = core::mem::ManuallyDrop::new(guard);
        let mutex = guard.mutex;
        mutex.poison.leave(guard.entered);
        let result = f(&mutex.raw);
        (result, mutex.guard())
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the mutex.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.leave(self.entered);
        self.mutex.raw.release();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
