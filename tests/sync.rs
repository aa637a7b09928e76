//! Everything in `lisle::sync` through the facade, between light threads, kernel threads and both mixed. Order, counts and results are
//! asserted, never time; where time matters it is a seeded runtime's, which is
//! virtual.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "sync/abuse.rs"]
mod abuse;
#[path = "sync/condvar.rs"]
mod condvar;
#[path = "sync/inheritance.rs"]
mod inheritance;
#[path = "sync/meeting.rs"]
mod meeting;
#[path = "sync/migration.rs"]
mod migration;
#[path = "sync/mutex.rs"]
mod mutex;
#[path = "sync/mutex_fairness.rs"]
mod mutex_fairness;
#[path = "sync/mutex_waiting.rs"]
mod mutex_waiting;
#[path = "sync/once.rs"]
mod once;
#[path = "sync/parking_lot.rs"]
mod parking_lot;
#[path = "sync/permits.rs"]
mod permits;
#[path = "sync/rwlock.rs"]
mod rwlock;
#[path = "sync/semaphore.rs"]
mod semaphore;
#[path = "sync/semaphore_early.rs"]
mod semaphore_early;
mod support;

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use lisle::cancel::Cancelled;
use lisle::thread::{self, State, Thread};

/// A time that no test lives to see.
const LONG: Duration = Duration::from_secs(1 << 30);

/// Runs the test under many seeds.
fn under_seeds(test: impl Fn() + Send + Sync + Clone + 'static) {
    support::under_seeds(200, test);
}

fn is_cancelled<T>(outcome: std::thread::Result<T>) -> bool {
    outcome.is_err_and(|payload| payload.is::<Cancelled>())
}

fn waits_for(thread: &Thread, reason: &str) -> bool {
    matches!(thread.info().state, State::Waiting { reason: r, .. } if r == reason)
}

/// As `support::until_waiting`, on a light thread.
fn yield_until_waiting(thread: &Thread, reason: &str) {
    while !waits_for(thread, reason) {
        thread::yield_now();
    }
}

fn is_shared<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}

#[test]
fn they_can_be_shared() {
    is_shared::<lisle::sync::Semaphore>();
    is_shared::<lisle::sync::Condvar>();
    is_shared::<lisle::sync::Mutex<std::cell::Cell<u8>>>();
    is_shared::<lisle::sync::PriorityMutex<std::cell::Cell<u8>>>();
    is_shared::<lisle::sync::RwLock<u8>>();
    is_shared::<lisle::sync::Once>();
    is_shared::<lisle::sync::OnceLock<u8>>();
    is_shared::<lisle::sync::LazyLock<u8>>();
    is_shared::<lisle::sync::Barrier>();
    is_shared::<lisle::sync::WaitGroup>();
    is_shared::<lisle::sync::Unparker>();
}

fn unwinds<T: Unpin + UnwindSafe + RefUnwindSafe>() {}

/// As std's: whatever the value is, where a panic poisons.
#[test]
fn they_can_be_caught_with_and_moved() {
    use lisle::sync::*;
    type Any = std::cell::Cell<u8>;
    unwinds::<Mutex<Any>>();
    unwinds::<MutexGuard<'_, Any>>();
    unwinds::<PriorityMutex<Any>>();
    unwinds::<PriorityMutexGuard<'_, Any>>();
    unwinds::<RwLock<Any>>();
    unwinds::<RwLockReadGuard<'_, Any>>();
    unwinds::<RwLockUpgradableGuard<'_, Any>>();
    unwinds::<RwLockWriteGuard<'_, Any>>();
    unwinds::<Condvar>();
    unwinds::<Once>();
    unwinds::<OnceLock<u8>>();
    unwinds::<LazyLock<u8>>();
    unwinds::<Barrier>();
    unwinds::<WaitGroup>();
    unwinds::<Parker>();
    unwinds::<Semaphore>();
    unwinds::<SemaphorePermit<'_>>();
    unwinds::<OwnedSemaphorePermit>();
}
