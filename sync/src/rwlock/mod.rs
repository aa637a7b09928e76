//! `RwLock`: many readers or one writer, with std's names and behaviour.
//!
//! The value, the mark of poison, and a [`RawRwLock`], where the protocol stands.

mod guard;
pub(crate) mod policy;
pub(crate) mod raw;

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use lisle_lwp::shim::Cell;
use lisle_runtime::wait::Outcome;
use lisle_runtime::{cancel, time};

pub use self::guard::{RwLockReadGuard, RwLockUpgradableGuard, RwLockWriteGuard};
use self::policy::{Fair, RwLockPolicy};
use self::raw::{Mode, Patience, RawRwLock};
use crate::poison::Poison;

/// Many readers or one writer, as `std::sync::RwLock`.
///
/// *Policy*: a part of the type: [`Fair`] (the default), [`PreferReaders`] or
/// [`PreferWriters`]; see there who waits for whom, and who may starve.
/// *Recursion*: a thread that holds a read lock of a fair lock and takes another
/// one waits for ever if a writer waits in between; [`RwLock::read_recursive`] does
/// not. *Upgrading* is explicit: [`RwLock::upgradable_read`] is a read lock, one at
/// a time, that can become the write lock without anybody coming in between;
/// [`RwLockWriteGuard::downgrade`] is the way back. *Poison*: a panic while the lock
/// is held for writing poisons it; a cancel does not. *Cancellation*: not a
/// cancellation point, but for the `cancellable` forms. *Size*: an `RwLock<()>` has
/// 16 bytes.
///
/// [`PreferReaders`]: crate::PreferReaders
/// [`PreferWriters`]: crate::PreferWriters
///
/// Threads share it if the value can be shared and can go from thread to thread:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::RwLock::new(std::cell::Cell::new(0)));
/// ```
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::RwLock;
/// static NAMES: RwLock<Vec<&str>> = RwLock::new(Vec::new());
///
/// NAMES.write().unwrap().push("Ada");
/// let (one, two) = (NAMES.read().unwrap(), NAMES.read().unwrap());
/// assert_eq!(one[0], two[0]);
/// ```
pub struct RwLock<T: ?Sized, P = Fair> {
    raw: RawRwLock<P>,
    poison: Poison,
    value: Cell<T>,
}

// SAFETY: the value goes from thread to thread with the lock.
unsafe impl<T: ?Sized + Send, P> Send for RwLock<T, P> {}
// SAFETY: readers share the value, the one writer may take it.
unsafe impl<T: ?Sized + Send + Sync, P> Sync for RwLock<T, P> {}

// A panic of a writer poisons, so nobody meets a broken value unwarned.
impl<T: ?Sized, P> UnwindSafe for RwLock<T, P> {}
impl<T: ?Sized, P> RefUnwindSafe for RwLock<T, P> {}

impl<T> RwLock<T> {
    lisle_lwp::const_unless_loom! {
        /// A free, fair lock around a value.
        pub fn new(value: T) -> RwLock<T> {
            RwLock::with_policy(value)
        }
    }
}

impl<T, P> RwLock<T, P> {
    lisle_lwp::const_unless_loom! {
        /// A free lock around a value, with the policy that the type says.
        ///
        /// ```
        /// # use lisle_sync::__facade as lisle;
        /// use lisle::sync::{PreferWriters, RwLock};
        /// static LOCK: RwLock<u8, PreferWriters> = RwLock::with_policy(1);
        /// assert_eq!(*LOCK.read().unwrap(), 1);
        /// ```
        pub fn with_policy(value: T) -> RwLock<T, P> {
            RwLock { raw: RawRwLock::new(), poison: Poison::new(), value: Cell::new(value) }
        }
    }

    /// The value.
    ///
    /// # Errors
    /// If the lock is poisoned; the value is in the error.
    pub fn into_inner(self) -> LockResult<T> {
        let RwLock { poison, value, .. } = self;
        poison.wrap(value.into_inner())
    }
}

/// Reading.
impl<T: ?Sized, P: RwLockPolicy> RwLock<T, P> {
    /// Takes the lock for reading, waiting for it. Not a cancellation point.
    ///
    /// # Errors
    /// If it is poisoned; it is held all the same, by the guard in the error.
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T, P>> {
        self.raw.acquire(Mode::Read);
        self.poison.wrap(RwLockReadGuard::new(self))
    }

    /// Takes the lock for reading, if that is possible at once and the policy lets
    /// the caller in before those who wait.
    ///
    /// # Errors
    /// `WouldBlock` if not; `Poisoned` as for [`RwLock::read`].
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T, P>> {
        self.tried(self.raw.try_acquire(Mode::Read), RwLockReadGuard::new)
    }

    /// As [`RwLock::read`], waiting at most this long.
    ///
    /// # Errors
    /// `WouldBlock` if the time is up; `Poisoned` as for [`RwLock::read`].
    pub fn read_timeout(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T, P>> {
        self.until(Mode::Read, within(timeout), RwLockReadGuard::new)
    }

    /// As [`RwLock::read`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    pub fn read_deadline(&self, deadline: Instant) -> TryLockResult<RwLockReadGuard<'_, T, P>> {
        self.until(Mode::Read, by(deadline), RwLockReadGuard::new)
    }

    /// As [`RwLock::read`], and a cancellation point if it waits.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    pub fn read_cancellable(&self) -> LockResult<RwLockReadGuard<'_, T, P>> {
        self.cancellable(Mode::Read);
        self.poison.wrap(RwLockReadGuard::new(self))
    }

    /// Takes the lock for reading although others may wait for it: for a thread
    /// that may hold a read lock already. It waits only if a writer is inside, so that
    /// the thread holds none; and then in its turn, like any reader.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::RwLock;
    /// let lock = RwLock::new(1);
    /// let outer = lock.read().unwrap();
    /// assert_eq!(*lock.read_recursive().unwrap(), *outer);
    /// ```
    pub fn read_recursive(&self) -> LockResult<RwLockReadGuard<'_, T, P>> {
        self.raw.acquire_recursive(Patience::default());
        self.poison.wrap(RwLockReadGuard::new(self))
    }

    /// As [`RwLock::read_recursive`], if there is no writer.
    ///
    /// # Errors
    /// As [`RwLock::try_read`].
    pub fn try_read_recursive(&self) -> TryLockResult<RwLockReadGuard<'_, T, P>> {
        self.tried(self.raw.try_acquire_recursive(), RwLockReadGuard::new)
    }

    /// As [`RwLock::read_recursive`], waiting at most this long.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    pub fn read_recursive_timeout(
        &self,
        timeout: Duration,
    ) -> TryLockResult<RwLockReadGuard<'_, T, P>> {
        self.recursive(within(timeout))
    }

    /// As [`RwLock::read_recursive`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    pub fn read_recursive_deadline(
        &self,
        deadline: Instant,
    ) -> TryLockResult<RwLockReadGuard<'_, T, P>> {
        self.recursive(by(deadline))
    }

    /// As [`RwLock::read_recursive`], and a cancellation point if it waits.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    pub fn read_recursive_cancellable(&self) -> LockResult<RwLockReadGuard<'_, T, P>> {
        if self.raw.acquire_recursive(CANCELLABLE) != Outcome::Woken {
            cancel::deliver();
        }
        self.poison.wrap(RwLockReadGuard::new(self))
    }

    fn recursive(&self, patience: Patience) -> TryLockResult<RwLockReadGuard<'_, T, P>> {
        let outcome = self.raw.acquire_recursive(patience);
        self.tried(outcome == Outcome::Woken, RwLockReadGuard::new)
    }
}

/// Reading, with the option to write.
impl<T: ?Sized, P: RwLockPolicy> RwLock<T, P> {
    /// Takes the lock for reading, as the one reader that can become the writer.
    /// Waits for writers and for another upgradable reader. Not a cancellation
    /// point.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::{RwLock, RwLockUpgradableGuard};
    /// let lock = RwLock::new(vec![1]);
    /// let reading = lock.upgradable_read().unwrap();
    /// if !reading.contains(&2) {
    ///     // Nobody has written in between.
    ///     let mut writing = RwLockUpgradableGuard::upgrade(reading);
    ///     writing.push(2);
    /// }
    /// assert_eq!(*lock.read().unwrap(), [1, 2]);
    /// ```
    pub fn upgradable_read(&self) -> LockResult<RwLockUpgradableGuard<'_, T, P>> {
        self.raw.acquire(Mode::Upgradable);
        self.poison.wrap(RwLockUpgradableGuard::new(self))
    }

    /// As [`RwLock::upgradable_read`], if that is possible at once.
    ///
    /// # Errors
    /// As [`RwLock::try_read`].
    pub fn try_upgradable_read(&self) -> TryLockResult<RwLockUpgradableGuard<'_, T, P>> {
        self.tried(
            self.raw.try_acquire(Mode::Upgradable),
            RwLockUpgradableGuard::new,
        )
    }

    /// As [`RwLock::upgradable_read`], waiting at most this long.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    pub fn upgradable_read_timeout(
        &self,
        timeout: Duration,
    ) -> TryLockResult<RwLockUpgradableGuard<'_, T, P>> {
        self.until(
            Mode::Upgradable,
            within(timeout),
            RwLockUpgradableGuard::new,
        )
    }

    /// As [`RwLock::upgradable_read`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    pub fn upgradable_read_deadline(
        &self,
        deadline: Instant,
    ) -> TryLockResult<RwLockUpgradableGuard<'_, T, P>> {
        self.until(Mode::Upgradable, by(deadline), RwLockUpgradableGuard::new)
    }

    /// As [`RwLock::upgradable_read`], and a cancellation point if it waits.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    pub fn upgradable_read_cancellable(&self) -> LockResult<RwLockUpgradableGuard<'_, T, P>> {
        self.cancellable(Mode::Upgradable);
        self.poison.wrap(RwLockUpgradableGuard::new(self))
    }
}

/// Writing.
impl<T: ?Sized, P: RwLockPolicy> RwLock<T, P> {
    /// Takes the lock for writing, waiting for it. Not a cancellation point.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T, P>> {
        self.raw.acquire(Mode::Write);
        self.poison.wrap(RwLockWriteGuard::new(self))
    }

    /// Takes the lock for writing if that is possible at once.
    ///
    /// # Errors
    /// As [`RwLock::try_read`].
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T, P>> {
        self.tried(self.raw.try_acquire(Mode::Write), RwLockWriteGuard::new)
    }

    /// As [`RwLock::write`], waiting at most this long.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    pub fn write_timeout(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T, P>> {
        self.until(Mode::Write, within(timeout), RwLockWriteGuard::new)
    }

    /// As [`RwLock::write`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`RwLock::read_timeout`].
    pub fn write_deadline(&self, deadline: Instant) -> TryLockResult<RwLockWriteGuard<'_, T, P>> {
        self.until(Mode::Write, by(deadline), RwLockWriteGuard::new)
    }

    /// As [`RwLock::write`], and a cancellation point if it waits.
    ///
    /// # Errors
    /// As [`RwLock::read`].
    pub fn write_cancellable(&self) -> LockResult<RwLockWriteGuard<'_, T, P>> {
        self.cancellable(Mode::Write);
        self.poison.wrap(RwLockWriteGuard::new(self))
    }

    fn tried<'a, G>(&'a self, held: bool, guard: fn(&'a Self) -> G) -> TryLockResult<G> {
        if held {
            Ok(self.poison.wrap(guard(self))?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    fn until<'a, G>(
        &'a self,
        mode: Mode,
        patience: Patience,
        guard: fn(&'a Self) -> G,
    ) -> TryLockResult<G> {
        let outcome = self.raw.acquire_until(mode, patience);
        self.tried(outcome == Outcome::Woken, guard)
    }

    fn cancellable(&self, mode: Mode) {
        if self.raw.acquire_until(mode, CANCELLABLE) != Outcome::Woken {
            cancel::deliver();
        }
    }
}

impl<T: ?Sized, P> RwLock<T, P> {
    /// Whether a thread panicked while it held the lock for writing.
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
    /// If the lock is poisoned; the value is in the error.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        // SAFETY: `&mut self`.
        let value = self.value.with_mut(|value| unsafe { &mut *value });
        self.poison.wrap(value)
    }
}

const CANCELLABLE: Patience = Patience {
    deadline: None,
    cancellable: true,
};

/// A deadline beyond the clock's range never comes.
fn within(timeout: Duration) -> Patience {
    Patience {
        deadline: time::now().checked_add(timeout),
        cancellable: false,
    }
}

fn by(deadline: Instant) -> Patience {
    Patience {
        deadline: Some(deadline),
        cancellable: false,
    }
}

// Not for every policy: `RwLock::default()` would not say which.
impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug, P: RwLockPolicy> fmt::Debug for RwLock<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => shown.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => shown.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => shown.field("data", &format_args!("<locked>")),
        };
        shown
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}
