//! parking_lot's documented behaviours, on lisle's waiting.

use std::sync::Arc;
use std::time::Duration;

use lisle::sync::PreferWriters;
use lisle::sync::parking_lot::{
    ArcReentrantMutexGuard, Condvar, MappedMutexGuard, Mutex, MutexGuard, ReentrantMutex, RwLock,
    RwLockUpgradableReadGuard, RwLockWriteGuard, const_mutex, const_reentrant_mutex,
};
use lisle::thread;

use super::support::{child, end, on, runtime, until_waiting, watchdog};
use super::{is_cancelled, under_seeds};

const TICK: Duration = Duration::from_millis(1);

#[test]
fn guards_can_be_mapped_and_kept_with_an_arc() {
    static PAIR: Mutex<(u8, u8)> = const_mutex((1, 2));
    let mut second: MappedMutexGuard<'_, u8> = MutexGuard::map(PAIR.lock(), |pair| &mut pair.1);
    *second = 5;
    assert!(PAIR.is_locked() && PAIR.try_lock().is_none());
    assert!(PAIR.try_lock_for(TICK).is_none());
    drop(second);
    assert_eq!(*PAIR.lock(), (1, 5));
    let shared = Arc::new(Mutex::new(3));
    let guard = shared.lock_arc();
    drop(shared);
    assert_eq!(*guard, 3);
}

#[test]
fn a_panic_poisons_nothing() {
    let mutex = Mutex::new(1);
    let attempt = std::panic::AssertUnwindSafe(|| {
        let _guard = mutex.lock();
        panic!("expected: in the mutex");
    });
    std::panic::catch_unwind(attempt).unwrap_err();
    assert_eq!(*mutex.lock(), 1);
}

#[test]
fn a_guard_can_let_others_in_for_a_while() {
    let _dog = watchdog();
    let rt = runtime(1);
    let mutex = Arc::new(Mutex::new(0));
    let same = mutex.clone();
    let holder = on(&rt, move || {
        let mut guard = same.lock();
        let theirs = same.clone();
        let waiter = child(move || *theirs.lock() = 1);
        super::yield_until_waiting(waiter.thread(), "mutex");
        MutexGuard::bump(&mut guard);
        assert_eq!(*guard, 1, "a bump unlocks fairly");
        MutexGuard::unlocked(&mut guard, || assert!(same.try_lock().is_some()));
        waiter.join().unwrap();
    });
    holder.join().unwrap();
    end(rt);
}

#[test]
fn a_reentrant_mutex_belongs_to_its_thread_wherever_that_runs() {
    let _dog = watchdog();
    let rt = runtime(2);
    static FIXED: ReentrantMutex<u8> = const_reentrant_mutex(1);
    assert_eq!(*FIXED.lock() + *FIXED.try_lock().unwrap(), 2);
    let mutex = Arc::new(ReentrantMutex::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mutex = mutex.clone();
            on(&rt, move || {
                for _ in 0..100 {
                    let outer = mutex.lock();
                    thread::yield_now();
                    let inner = mutex.lock();
                    assert!(std::ptr::eq(&*outer, &*inner));
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let guard: ArcReentrantMutexGuard<i32> = mutex.lock_arc();
    let same = mutex.clone();
    let other = on(&rt, move || same.try_lock().is_none());
    assert!(other.join().unwrap());
    drop(guard);
    end(rt);
}

#[test]
fn reads_can_be_upgraded_and_writes_downgraded() {
    let lock: RwLock<u32, PreferWriters> = RwLock::new(1);
    let upgradable = lock.upgradable_read();
    let reader = lock.read();
    let upgradable = RwLockUpgradableReadGuard::try_upgrade(upgradable).unwrap_err();
    drop(reader);
    let mut writer = RwLockUpgradableReadGuard::upgrade(upgradable);
    *writer += 1;
    let upgradable = RwLockWriteGuard::downgrade_to_upgradable(writer);
    assert_eq!((*upgradable, *lock.read_recursive()), (2, 2));
    assert!(lock.try_write_for(TICK).is_none() && lock.try_upgradable_read().is_none());
    drop(upgradable);
    let reader = RwLockWriteGuard::downgrade(lock.write());
    assert!(lock.is_locked() && !lock.is_locked_exclusive());
    drop(reader);
    assert!(lock.try_write_for(TICK).is_some());
}

#[test]
fn a_condition_says_whom_it_woke() {
    let _dog = watchdog();
    under_seeds(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        assert!(!shared.1.notify_one() && shared.1.notify_all() == 0);
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let shared = shared.clone();
                let waiter = child(move || {
                    let (tokens, more) = &*shared;
                    let mut tokens = tokens.lock();
                    more.wait_while(&mut tokens, |tokens| *tokens == 0);
                    *tokens -= 1;
                });
                super::yield_until_waiting(waiter.thread(), "condition variable");
                waiter
            })
            .collect();
        *shared.0.lock() = 3;
        assert!(shared.1.notify_one());
        assert_eq!(shared.1.notify_all(), 2);
        waiters
            .into_iter()
            .for_each(|waiter| waiter.join().unwrap());
        assert_eq!(*shared.0.lock(), 0);
    });
}

#[test]
fn a_wait_for_a_condition_ends_with_the_time_or_a_cancel() {
    let _dog = watchdog();
    let rt = runtime(2);
    let shared = Arc::new((Mutex::new(()), Condvar::new()));
    let mut guard = shared.0.lock();
    assert!(shared.1.wait_for(&mut guard, TICK).timed_out());
    assert!(
        shared
            .1
            .wait_while_for(&mut guard, |()| true, TICK)
            .timed_out()
    );
    assert!(
        shared
            .1
            .wait_until(&mut guard, lisle::time::now())
            .timed_out()
    );
    drop(guard);
    let same = shared.clone();
    let waiter = on(&rt, move || same.1.wait(&mut same.0.lock()));
    until_waiting(waiter.thread(), "condition variable");
    waiter.thread().cancel();
    assert!(is_cancelled(waiter.join()));
    assert!(shared.0.try_lock().is_some());
    end(rt);
}
