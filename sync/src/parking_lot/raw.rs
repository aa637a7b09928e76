//! lock_api's traits for the raw locks.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lisle_runtime::time;
use lisle_runtime::wait::Outcome;
use lisle_runtime::wait::inherit::Holder;
use lock_api::GuardNoSend;

use crate::rwlock::policy::RwLockPolicy;
use crate::rwlock::raw::{Mode, Patience};
use crate::{RawMutex, RawRwLock};

// SAFETY: a mutex is held by one at a time.
unsafe impl lock_api::RawMutex for RawMutex {
    #[allow(clippy::declare_interior_mutable_const)] // how lock_api makes one
    const INIT: RawMutex = RawMutex::new();
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock(&self) {
        self.acquire();
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.try_acquire()
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.release();
    }

    fn is_locked(&self) -> bool {
        self.is_held()
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawMutexFair for RawMutex {
    unsafe fn unlock_fair(&self) {
        self.release_fair();
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_for(&self, timeout: Duration) -> bool {
        self.acquire_until(time::now().checked_add(timeout), false) == Outcome::Woken
    }

    fn try_lock_until(&self, deadline: Instant) -> bool {
        self.acquire_until(Some(deadline), false) == Outcome::Woken
    }
}

/// Tells lisle's threads, and kernel threads, apart: for reentrant mutexes.
#[derive(Debug)]
pub struct RawThreadId(());

// SAFETY: no two living threads share a control block.
unsafe impl lock_api::GetThreadId for RawThreadId {
    const INIT: RawThreadId = RawThreadId(());

    fn nonzero_thread_id(&self) -> NonZeroUsize {
        NonZeroUsize::new(Holder::current().to_number()).expect("an address")
    }
}

// SAFETY: writers exclude everybody, readers exclude writers.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLock for RawRwLock<P> {
    #[allow(clippy::declare_interior_mutable_const)] // how lock_api makes one
    const INIT: RawRwLock<P> = RawRwLock::new();
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock_shared(&self) {
        self.acquire(Mode::Read);
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.try_acquire(Mode::Read)
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.release(Mode::Read);
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.acquire(Mode::Write);
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.try_acquire(Mode::Write)
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.release(Mode::Write);
    }

    fn is_locked(&self) -> bool {
        self.is_held().0
    }

    fn is_locked_exclusive(&self) -> bool {
        self.is_held().1
    }
}

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockFair for RawRwLock<P> {
    unsafe fn unlock_shared_fair(&self) {
        self.release_fair(Mode::Read);
    }

    unsafe fn unlock_exclusive_fair(&self) {
        self.release_fair(Mode::Write);
    }
}

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockDowngrade for RawRwLock<P> {
    unsafe fn downgrade(&self) {
        self.downgrade(Mode::Write, Mode::Read);
    }
}

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

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockTimed for RawRwLock<P> {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_shared_for(&self, timeout: Duration) -> bool {
        self.acquire_until(Mode::Read, within(timeout)) == Outcome::Woken
    }

    fn try_lock_shared_until(&self, deadline: Instant) -> bool {
        self.acquire_until(Mode::Read, by(deadline)) == Outcome::Woken
    }

    fn try_lock_exclusive_for(&self, timeout: Duration) -> bool {
        self.acquire_until(Mode::Write, within(timeout)) == Outcome::Woken
    }

    fn try_lock_exclusive_until(&self, deadline: Instant) -> bool {
        self.acquire_until(Mode::Write, by(deadline)) == Outcome::Woken
    }
}

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockRecursive for RawRwLock<P> {
    fn lock_shared_recursive(&self) {
        self.acquire_recursive(Patience::default());
    }

    fn try_lock_shared_recursive(&self) -> bool {
        self.try_acquire_recursive()
    }
}

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockRecursiveTimed for RawRwLock<P> {
    fn try_lock_shared_recursive_for(&self, timeout: Duration) -> bool {
        self.acquire_recursive(within(timeout)) == Outcome::Woken
    }

    fn try_lock_shared_recursive_until(&self, deadline: Instant) -> bool {
        self.acquire_recursive(by(deadline)) == Outcome::Woken
    }
}

// SAFETY: an upgradable reader excludes writers and its like.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockUpgrade for RawRwLock<P> {
    fn lock_upgradable(&self) {
        self.acquire(Mode::Upgradable);
    }

    fn try_lock_upgradable(&self) -> bool {
        self.try_acquire(Mode::Upgradable)
    }

    unsafe fn unlock_upgradable(&self) {
        self.release(Mode::Upgradable);
    }

    unsafe fn upgrade(&self) {
        self.upgrade(Patience::default());
    }

    unsafe fn try_upgrade(&self) -> bool {
        self.try_upgrade()
    }
}

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockUpgradeFair for RawRwLock<P> {
    unsafe fn unlock_upgradable_fair(&self) {
        self.release_fair(Mode::Upgradable);
    }
}

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockUpgradeDowngrade for RawRwLock<P> {
    unsafe fn downgrade_upgradable(&self) {
        self.downgrade(Mode::Upgradable, Mode::Read);
    }

    unsafe fn downgrade_to_upgradable(&self) {
        self.downgrade(Mode::Write, Mode::Upgradable);
    }
}

// SAFETY: as above.
unsafe impl<P: RwLockPolicy> lock_api::RawRwLockUpgradeTimed for RawRwLock<P> {
    fn try_lock_upgradable_for(&self, timeout: Duration) -> bool {
        self.acquire_until(Mode::Upgradable, within(timeout)) == Outcome::Woken
    }

    fn try_lock_upgradable_until(&self, deadline: Instant) -> bool {
        self.acquire_until(Mode::Upgradable, by(deadline)) == Outcome::Woken
    }

    unsafe fn try_upgrade_for(&self, timeout: Duration) -> bool {
        self.upgrade(within(timeout)) == Outcome::Woken
    }

    unsafe fn try_upgrade_until(&self, deadline: Instant) -> bool {
        self.upgrade(by(deadline)) == Outcome::Woken
    }
}
