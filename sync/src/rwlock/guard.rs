//! The guards of an `RwLock`: how it is held, and how that changes.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use lisle_runtime::cancel;
use lisle_runtime::wait::Outcome;

use super::policy::{Fair, RwLockPolicy};
use super::raw::{Mode, Patience};
use super::{CANCELLABLE, RwLock, by, within};
use crate::poison::Panicking;

/// Access for reading to an `RwLock`'s value; dropping it releases the lock. It
/// stays with its thread, and does not outlive the lock:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let lock = lisle::sync::RwLock::new(0);
/// let guard = lock.read().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let guard = {
///     let lock = lisle::sync::RwLock::new(0);
///     lock.read().unwrap()
/// };
/// ```
///
/// ```compile_fail,E0594
/// # use lisle_sync::__facade as lisle;
/// let lock = lisle::sync::RwLock::new(0);
/// *lock.read().unwrap() = 1;
/// ```
///
/// Threads share it if they can share the value:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let lock = lisle::sync::RwLock::new(std::cell::Cell::new(0));
/// shared(&lock.read().unwrap());
/// ```
#[must_use = "an unused guard releases the lock at once"]
pub struct RwLockReadGuard<'a, T: ?Sized, P: RwLockPolicy = Fair> {
    lock: &'a RwLock<T, P>,
    _not_send: PhantomData<*const ()>,
}

/// As [`RwLockReadGuard`], and the one that can become the writer. It stays with its
/// thread, and neither it nor what it becomes outlives the lock:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let lock = lisle::sync::RwLock::new(0);
/// let guard = lock.upgradable_read().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let guard = {
///     let lock = lisle::sync::RwLock::new(0);
///     lisle::sync::RwLockUpgradableGuard::upgrade(lock.upgradable_read().unwrap())
/// };
/// ```
///
/// Threads share it if they can share the value:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let lock = lisle::sync::RwLock::new(std::cell::Cell::new(0));
/// shared(&lock.upgradable_read().unwrap());
/// ```
#[must_use = "an unused guard releases the lock at once"]
pub struct RwLockUpgradableGuard<'a, T: ?Sized, P: RwLockPolicy = Fair> {
    lock: &'a RwLock<T, P>,
    _not_send: PhantomData<*const ()>,
}

/// Access for writing to an `RwLock`'s value; dropping it releases the lock. It
/// stays with its thread, and neither it nor what it becomes outlives the lock:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let lock = lisle::sync::RwLock::new(0);
/// let guard = lock.write().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let guard = {
///     let lock = lisle::sync::RwLock::new(0);
///     lisle::sync::RwLockWriteGuard::downgrade(lock.write().unwrap())
/// };
/// ```
///
/// Threads share it if they can share the value:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let lock = lisle::sync::RwLock::new(std::cell::Cell::new(0));
/// shared(&lock.write().unwrap());
/// ```
#[must_use = "an unused guard releases the lock at once"]
pub struct RwLockWriteGuard<'a, T: ?Sized, P: RwLockPolicy = Fair> {
    lock: &'a RwLock<T, P>,
    entered: Panicking,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T`.
unsafe impl<T: ?Sized + Sync, P: RwLockPolicy> Sync for RwLockReadGuard<'_, T, P> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync, P: RwLockPolicy> Sync for RwLockUpgradableGuard<'_, T, P> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync, P: RwLockPolicy> Sync for RwLockWriteGuard<'_, T, P> {}

impl<'a, T: ?Sized, P: RwLockPolicy> RwLockReadGuard<'a, T, P> {
    /// The caller holds the lock for reading.
    #[inline]
    pub(super) fn new(lock: &'a RwLock<T, P>) -> Self {
        RwLockReadGuard {
            lock,
            _not_send: PhantomData,
        }
    }
}

impl<'a, T: ?Sized, P: RwLockPolicy> RwLockUpgradableGuard<'a, T, P> {
    /// The caller holds the lock as upgradable.
    pub(super) fn new(lock: &'a RwLock<T, P>) -> Self {
        RwLockUpgradableGuard {
            lock,
            _not_send: PhantomData,
        }
    }

    /// Becomes the writer, waiting for the other readers to leave; new ones do not
    /// come in meanwhile. Nobody writes in between. Not a cancellation point.
    pub fn upgrade(guard: Self) -> RwLockWriteGuard<'a, T, P> {
        match Self::upgrade_until(guard, Patience::default()) {
            Ok(writer) => writer,
            Err(_) => unreachable!("the patience is endless"),
        }
    }

    /// Becomes the writer if nobody else reads.
    ///
    /// # Errors
    /// If somebody does; the guard is in the error.
    pub fn try_upgrade(guard: Self) -> Result<RwLockWriteGuard<'a, T, P>, Self> {
        if guard.lock.raw.try_upgrade() {
            Ok(RwLockWriteGuard::new(ManuallyDrop::new(guard).lock))
        } else {
            Err(guard)
        }
    }

    /// As [`RwLockUpgradableGuard::upgrade`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up; the guard is in the error.
    pub fn upgrade_timeout(
        guard: Self,
        timeout: Duration,
    ) -> Result<RwLockWriteGuard<'a, T, P>, Self> {
        Self::upgrade_until(guard, within(timeout))
    }

    /// As [`RwLockUpgradableGuard::upgrade`], waiting at most until the deadline.
    ///
    /// # Errors
    /// If the time is up; the guard is in the error.
    pub fn upgrade_deadline(
        guard: Self,
        deadline: Instant,
    ) -> Result<RwLockWriteGuard<'a, T, P>, Self> {
        Self::upgrade_until(guard, by(deadline))
    }

    /// As [`RwLockUpgradableGuard::upgrade`], and a cancellation point if it waits:
    /// then the lock is released.
    pub fn upgrade_cancellable(guard: Self) -> RwLockWriteGuard<'a, T, P> {
        Self::upgrade_until(guard, CANCELLABLE).unwrap_or_else(|guard| {
            drop(guard);
            cancel::deliver()
        })
    }

    fn upgrade_until(guard: Self, patience: Patience) -> Result<RwLockWriteGuard<'a, T, P>, Self> {
        match guard.lock.raw.upgrade(patience) {
            Outcome::Woken => Ok(RwLockWriteGuard::new(ManuallyDrop::new(guard).lock)),
            _ => Err(guard),
        }
    }

    /// Becomes an ordinary reader.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T, P> {
        let lock = ManuallyDrop::new(guard).lock;
        lock.raw.downgrade(Mode::Upgradable, Mode::Read);
        RwLockReadGuard::new(lock)
    }
}

impl<'a, T: ?Sized, P: RwLockPolicy> RwLockWriteGuard<'a, T, P> {
    /// The caller holds the lock for writing.
    #[inline]
    pub(super) fn new(lock: &'a RwLock<T, P>) -> Self {
        RwLockWriteGuard {
            lock,
            entered: lock.poison.enter(),
            _not_send: PhantomData,
        }
    }

    /// Becomes a reader. Nobody writes in between.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::{RwLock, RwLockWriteGuard};
    /// let lock = RwLock::new(1);
    /// let mut writing = lock.write().unwrap();
    /// *writing = 2;
    /// let reading = RwLockWriteGuard::downgrade(writing);
    /// assert_eq!(*reading, *lock.read().unwrap());
    /// ```
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T, P> {
        RwLockReadGuard::new(guard.weaken(Mode::Read))
    }

    /// Becomes the upgradable reader. Nobody writes in between.
    pub fn downgrade_to_upgradable(guard: Self) -> RwLockUpgradableGuard<'a, T, P> {
        RwLockUpgradableGuard::new(guard.weaken(Mode::Upgradable))
    }

    /// Releases the lock; if somebody waits, the lock is reserved for the first of
    /// them. After the manner of parking_lot.
    pub fn unlock_fair(guard: Self) {
        let guard = ManuallyDrop::new(guard);
        guard.lock.poison.leave(guard.entered);
        guard.lock.raw.release_fair(Mode::Write);
    }

    fn weaken(self, to: Mode) -> &'a RwLock<T, P> {
        let guard = ManuallyDrop::new(self);
        guard.lock.poison.leave(guard.entered);
        guard.lock.raw.downgrade(Mode::Write, to);
        guard.lock
    }
}

impl<T: ?Sized, P: RwLockPolicy> DerefMut for RwLockWriteGuard<'_, T, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held for writing, and `&mut self` makes the access
        // unique.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized, P: RwLockPolicy> Drop for RwLockReadGuard<'_, T, P> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.release(Mode::Read);
    }
}

impl<T: ?Sized, P: RwLockPolicy> Drop for RwLockUpgradableGuard<'_, T, P> {
    fn drop(&mut self) {
        self.lock.raw.release(Mode::Upgradable);
    }
}

impl<T: ?Sized, P: RwLockPolicy> Drop for RwLockWriteGuard<'_, T, P> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.leave(self.entered);
        self.lock.raw.release(Mode::Write);
    }
}

macro_rules! reads {
    ($($guard:ident)*) => {
        $(
            impl<T: ?Sized, P: RwLockPolicy> Deref for $guard<'_, T, P> {
                type Target = T;
                #[inline]
                fn deref(&self) -> &T {
                    // SAFETY: the lock is held, at least for reading.
                    self.lock.value.with(|value| unsafe { &*value })
                }
            }

            impl<T: ?Sized + fmt::Debug, P: RwLockPolicy> fmt::Debug for $guard<'_, T, P> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    (**self).fmt(f)
                }
            }

            impl<T: ?Sized + fmt::Display, P: RwLockPolicy> fmt::Display for $guard<'_, T, P> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    (**self).fmt(f)
                }
            }
        )*
    };
}

reads!(RwLockReadGuard RwLockUpgradableGuard RwLockWriteGuard);
