//! What lisle's threads say to each other.
//!
//! Everything here is built on the wait lists of [`lisle_runtime::wait`], by address
//! or in the primitive, and under one contract:
//!
//! * it works between user threads, kernel threads, and both mixed;
//! * whatever may wait has a form that does not and one with a deadline (but for calls
//!   that run an initializer, half a duplex pair, and `closed`);
//! * a wait that ends with a timeout or a cancel leaves no trace, and a wake-up
//!   that it had consumed is passed on;
//! * waiting is a cancellation point, except for locks, which have a form that is;
//! * it also runs inside `loom::model`, under `--cfg lisle_loom`.
//!
//! This crate is an implementation detail of `lisle`; depend on that instead.

mod barrier;
pub mod channel;
mod condvar;
pub mod delivery;
#[cfg(all(test, lisle_loom))]
mod models;
mod monitor;
mod mutex;
mod once;
mod owner;
mod parker;
#[cfg(not(lisle_loom))]
pub mod parking_lot;
mod path;
mod poison;
mod possession;
mod priority_mutex;
mod queue;
mod region;
mod rwlock;
mod semaphore;
mod serializer;
mod spin;
mod wait_group;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use monitor::{Monitor, MonitorGuard};
pub use mutex::raw::RawMutex;
pub use mutex::{Mutex, MutexGuard};
pub use once::lazy_lock::LazyLock;
pub use once::once_lock::OnceLock;
pub use once::{Once, OnceState};
pub use parker::{Parker, Unparker};
pub use path::{Named, Operation, PathError, PathErrorKind, PathExpression, UnknownOperation};
pub use priority_mutex::{PriorityMutex, PriorityMutexGuard};
pub use region::{Inside, Region};
pub use rwlock::policy::{Fair, PreferReaders, PreferWriters, RwLockPolicy};
pub use rwlock::raw::RawRwLock;
pub use rwlock::{RwLock, RwLockReadGuard, RwLockUpgradableGuard, RwLockWriteGuard};
pub use semaphore::{
    AcquireError, AcquireTimeoutError, OwnedSemaphorePermit, ReleaseError, Semaphore,
    SemaphorePermit, TryAcquireError,
};
pub use serializer::{Serializer, SerializerGuard, View};
pub use wait_group::WaitGroup;

#[doc(hidden)]
pub use path::for_macro as __path;

pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

/// What the crate `lisle`, on which programs depend, calls what is here: for examples.
#[doc(hidden)]
#[cfg(not(lisle_loom))]
pub mod __facade {
    pub use crate as sync;
    pub use crate::{channel, delivery};
    pub use lisle_clock as clock;
    pub use lisle_runtime::*;
}
