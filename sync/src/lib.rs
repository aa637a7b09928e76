//! What lisle's threads say to each other.
//!
//! Everything here is built on one wait list ([`lisle_runtime::wait`]) and
//! under one contract:
//!
//! * it works between user threads, kernel threads, and both mixed;
//! * whatever may wait has a form that does not and one with a deadline;
//! * a wait that ends with a timeout or a cancel leaves no trace, and a wake-up
//!   that it had consumed is passed on;
//! * waiting is a cancellation point, except for locks;
//! * it also runs inside `loom::model`, under `--cfg lisle_loom`.
//!
//! This crate is an implementation detail of `lisle`; depend on that instead.

pub mod channel;
mod condvar;
#[cfg(all(test, lisle_loom))]
mod models;
mod mutex;
mod semaphore;

pub use condvar::{Condvar, WaitTimeoutResult};
pub use mutex::{Mutex, MutexGuard};
pub use semaphore::{AcquireError, AcquireTimeoutError, ReleaseError, Semaphore, TryAcquireError};
pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
