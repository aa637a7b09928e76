//! Permits as values, limits, and sizes.

use std::sync::Arc;

use lisle::sync::{
    Barrier, Condvar, Mutex, Once, OnceLock, OwnedSemaphorePermit, PriorityMutex, RawMutex,
    RawRwLock, RwLock, Semaphore, TryAcquireError,
};
use lisle::thread;

use super::is_cancelled;
use super::support::{end, message, on, runtime, until_waiting, watchdog};

#[test]
fn a_permit_gives_itself_back() {
    let slots = Semaphore::const_new(5);
    let mut permit = slots.acquire_many(3).unwrap();
    let part = permit.split(1).unwrap();
    assert!(permit.split(3).is_none());
    assert_eq!((permit.num_permits(), part.num_permits()), (2, 1));
    drop(part);
    assert_eq!(slots.available_permits(), 3);
    permit.merge(slots.try_acquire().unwrap());
    assert_eq!((permit.num_permits(), slots.available_permits()), (3, 2));
    drop(permit);
    slots.acquire().unwrap().forget();
    assert_eq!(slots.available_permits(), 4);
    assert_eq!((slots.forget_permits(3), slots.forget_permits(3)), (3, 1));
}

#[test]
fn permits_of_different_semaphores_do_not_mix() {
    let (one, two) = (Semaphore::new(1), Semaphore::new(1));
    let panic = std::panic::catch_unwind(|| {
        let mut permit = one.acquire().unwrap();
        permit.merge(two.acquire().unwrap());
    });
    assert!(message(&*panic.unwrap_err()).contains("different semaphores"));
    assert_eq!((one.available_permits(), two.available_permits()), (1, 1));
}

#[test]
fn an_owned_permit_goes_from_thread_to_thread() {
    let _dog = watchdog();
    let rt = runtime(2);
    let slots = Arc::new(Semaphore::new(2));
    let mut permit: OwnedSemaphorePermit = slots.clone().acquire_many_owned(2).unwrap();
    assert_eq!(
        slots.clone().try_acquire_owned().unwrap_err(),
        TryAcquireError::NoPermits
    );
    let part = permit.split(1).unwrap();
    assert!(Arc::ptr_eq(part.semaphore(), &slots));
    on(&rt, move || drop(part)).join().unwrap();
    permit.merge(slots.clone().acquire_owned().unwrap());
    std::thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!(slots.available_permits(), 2);
    end(rt);
}

#[test]
fn an_unwinding_holder_gives_its_permit_back() {
    let _dog = watchdog();
    let rt = runtime(2);
    let slots = Arc::new(Semaphore::new(1));
    let same = slots.clone();
    let holder = on(&rt, move || {
        let _permit = same.acquire().unwrap();
        thread::park();
    });
    until_waiting(holder.thread(), "park");
    let same = slots.clone();
    let waiter = on(&rt, move || drop(same.acquire().unwrap()));
    until_waiting(waiter.thread(), "semaphore");
    holder.thread().cancel();
    assert!(is_cancelled(holder.join()));
    waiter.join().unwrap();
    assert_eq!(slots.available_permits(), 1);
    end(rt);
}

#[test]
fn a_limit_is_kept() {
    let binary = Semaphore::binary(false);
    assert!(!binary.try_p());
    binary.v();
    assert!(binary.release().is_err() && binary.available_permits() == 1);
    assert!(binary.p_timeout(std::time::Duration::ZERO));
    assert!(!binary.p_deadline(lisle::time::now()));
    let few = Semaphore::with_limit(1, 3);
    assert!(few.release_many(3).is_err() && few.release_many(2).is_ok());
    assert_eq!(few.available_permits(), 3);
    std::panic::catch_unwind(|| Semaphore::with_limit(2, 1)).unwrap_err();
}

/// What the documentation says.
#[test]
fn sizes() {
    assert_eq!((size_of::<RawMutex>(), size_of::<Mutex<()>>()), (4, 8));
    assert_eq!((size_of::<RawRwLock>(), size_of::<RwLock<()>>()), (8, 16));
    assert_eq!((size_of::<Condvar>(), size_of::<Once>()), (1, 4));
    assert_eq!(size_of::<lisle::sync::parking_lot::Mutex<()>>(), 4);
    assert_eq!(size_of::<OnceLock<u32>>(), 8);
    assert_eq!(size_of::<Semaphore>(), 72);
    assert_eq!(size_of::<Barrier>(), 40);
    assert_eq!(size_of::<PriorityMutex<()>>(), 40);
}
