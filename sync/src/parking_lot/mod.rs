//! parking_lot's locks, on lisle's waiting: no poison, and lock_api's features.
//!
//! The types are [`lock_api`]'s around [`RawMutex`] and [`RawRwLock`], as parking_lot's
//! are: guards that can be mapped, guards that hold an `Arc`, reentrant mutexes,
//! upgradable reads, fair unlocks, timeouts. A program ports by changing `use` lines; what
//! is not here is `Once` (use [`crate::Once`]) and `FairMutex` (a lock can be released
//! fairly each time, `MutexGuard::unlock_fair`).
//!
//! *Cancellation*: no cancellation points, but for the condition variable's waits.
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::sync::parking_lot::{Mutex, MutexGuard};
//! static PAIR: Mutex<(u8, u8)> = Mutex::new((1, 2));
//!
//! let mut second = MutexGuard::map(PAIR.lock(), |pair| &mut pair.1);
//! *second += 1;
//! drop(second);
//! assert_eq!(*PAIR.lock(), (1, 3));
//! ```
//!
//! Guards stay with their threads, as std's:
//!
//! ```compile_fail,E0277
//! # use lisle_sync::__facade as lisle;
//! let mutex = lisle::sync::parking_lot::Mutex::new(0);
//! let guard = mutex.lock();
//! std::thread::scope(|scope| {
//!     scope.spawn(move || drop(guard));
//! });
//! ```
//!
//! ```compile_fail,E0277
//! # use lisle_sync::__facade as lisle;
//! let lock = lisle::sync::parking_lot::RwLock::new(0);
//! let guard = lock.read();
//! std::thread::scope(|scope| {
//!     scope.spawn(move || drop(guard));
//! });
//! ```

mod condvar;
mod raw;

pub use lock_api;

pub use self::condvar::{Condvar, WaitTimeoutResult};
pub use self::raw::RawThreadId;
pub use crate::{RawMutex, RawRwLock};

/// See `parking_lot::Mutex`.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;
/// See `parking_lot::MutexGuard`.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;
/// See `parking_lot::MappedMutexGuard`.
pub type MappedMutexGuard<'a, T> = lock_api::MappedMutexGuard<'a, RawMutex, T>;
/// See `parking_lot::ArcMutexGuard`.
pub type ArcMutexGuard<T> = lock_api::ArcMutexGuard<RawMutex, T>;

/// See `parking_lot::ReentrantMutex`.
pub type ReentrantMutex<T> = lock_api::ReentrantMutex<RawMutex, RawThreadId, T>;
/// See `parking_lot::ReentrantMutexGuard`.
pub type ReentrantMutexGuard<'a, T> = lock_api::ReentrantMutexGuard<'a, RawMutex, RawThreadId, T>;
/// See `parking_lot::MappedReentrantMutexGuard`.
pub type MappedReentrantMutexGuard<'a, T> =
    lock_api::MappedReentrantMutexGuard<'a, RawMutex, RawThreadId, T>;
/// See `parking_lot::ArcReentrantMutexGuard`.
pub type ArcReentrantMutexGuard<T> = lock_api::ArcReentrantMutexGuard<RawMutex, RawThreadId, T>;

/// See `parking_lot::RwLock`. It is fair; for other policies name them.
pub type RwLock<T, P = crate::Fair> = lock_api::RwLock<RawRwLock<P>, T>;
/// See `parking_lot::RwLockReadGuard`.
pub type RwLockReadGuard<'a, T, P = crate::Fair> = lock_api::RwLockReadGuard<'a, RawRwLock<P>, T>;
/// See `parking_lot::RwLockWriteGuard`.
pub type RwLockWriteGuard<'a, T, P = crate::Fair> = lock_api::RwLockWriteGuard<'a, RawRwLock<P>, T>;
/// See `parking_lot::RwLockUpgradableReadGuard`.
pub type RwLockUpgradableReadGuard<'a, T, P = crate::Fair> =
    lock_api::RwLockUpgradableReadGuard<'a, RawRwLock<P>, T>;
/// See `parking_lot::MappedRwLockReadGuard`.
pub type MappedRwLockReadGuard<'a, T, P = crate::Fair> =
    lock_api::MappedRwLockReadGuard<'a, RawRwLock<P>, T>;
/// See `parking_lot::MappedRwLockWriteGuard`.
pub type MappedRwLockWriteGuard<'a, T, P = crate::Fair> =
    lock_api::MappedRwLockWriteGuard<'a, RawRwLock<P>, T>;
/// See `parking_lot::ArcRwLockReadGuard`.
pub type ArcRwLockReadGuard<T, P = crate::Fair> = lock_api::ArcRwLockReadGuard<RawRwLock<P>, T>;
/// See `parking_lot::ArcRwLockWriteGuard`.
pub type ArcRwLockWriteGuard<T, P = crate::Fair> = lock_api::ArcRwLockWriteGuard<RawRwLock<P>, T>;
/// See `parking_lot::ArcRwLockUpgradableReadGuard`.
pub type ArcRwLockUpgradableReadGuard<T, P = crate::Fair> =
    lock_api::ArcRwLockUpgradableReadGuard<RawRwLock<P>, T>;

/// See `parking_lot::const_mutex`.
pub const fn const_mutex<T>(value: T) -> Mutex<T> {
    Mutex::new(value)
}

/// See `parking_lot::const_reentrant_mutex`.
pub const fn const_reentrant_mutex<T>(value: T) -> ReentrantMutex<T> {
    ReentrantMutex::const_new(
        <RawMutex as lock_api::RawMutex>::INIT,
        <RawThreadId as lock_api::GetThreadId>::INIT,
        value,
    )
}

/// See `parking_lot::const_rwlock`.
pub const fn const_rwlock<T>(value: T) -> RwLock<T> {
    RwLock::new(value)
}
