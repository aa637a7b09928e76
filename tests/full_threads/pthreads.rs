//! libc's own thread interface, used by full threads on themselves.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
#[cfg(target_env = "gnu")]
use std::sync::mpsc::channel;

#[cfg(target_env = "gnu")]
use lisle::thread::Builder;

use super::travel::Trip;
#[cfg(target_env = "gnu")]
use crate::support::{alone, end, runtime, until};
use crate::support::{many, watchdog};

/// A mutex of libc that does not move.
struct Raw(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is made to be shared.
unsafe impl Sync for Raw {}
// SAFETY: as above.
unsafe impl Send for Raw {}

impl Raw {
    fn new(kind: libc::c_int) -> Arc<Raw> {
        // SAFETY: initialised by the caller.
        Raw::with(|attributes| unsafe { libc::pthread_mutexattr_settype(attributes, kind) })
    }

    fn with(set: impl FnOnce(*mut libc::pthread_mutexattr_t) -> i32) -> Arc<Raw> {
        let raw = Arc::new(Raw(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialised in this order, before anybody else has it.
        unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr());
            assert_eq!(set(attributes.as_mut_ptr()), 0);
            assert_eq!(
                libc::pthread_mutex_init(raw.0.get(), attributes.as_ptr()),
                0
            );
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
        }
        raw
    }

    fn lock(&self) -> i32 {
        // SAFETY: initialised.
        unsafe { libc::pthread_mutex_lock(self.0.get()) }
    }

    fn try_lock(&self) -> i32 {
        // SAFETY: initialised.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) }
    }

    fn unlock(&self) -> i32 {
        // SAFETY: initialised.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) }
    }

    /// What another thread of the system sees.
    fn elsewhere(self: &Arc<Raw>) -> (i32, i32) {
        let raw = self.clone();
        let look = move || (raw.try_lock(), raw.unlock());
        std::thread::spawn(look).join().unwrap()
    }
}

#[test]
fn a_recursive_mutex_knows_its_owner_over_moves() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    trip.all(8, |_, go| {
        let mutex = Raw::new(libc::PTHREAD_MUTEX_RECURSIVE);
        for _ in 0..many(20) {
            assert_eq!(mutex.lock(), 0);
            go.hop();
            assert_eq!((mutex.lock(), mutex.try_lock()), (0, 0));
            go.hop();
            assert_eq!(mutex.elsewhere(), (libc::EBUSY, libc::EPERM));
            assert_eq!((mutex.unlock(), mutex.unlock()), (0, 0));
            go.hop();
            assert_eq!(mutex.elsewhere(), (libc::EBUSY, libc::EPERM));
            assert_eq!(mutex.unlock(), 0);
            assert_eq!(mutex.unlock(), libc::EPERM);
            assert_eq!(mutex.elsewhere(), (0, 0));
        }
    });
    trip.end();
}

#[test]
fn an_error_checking_mutex_knows_its_owner_over_moves() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    trip.all(8, |_, go| {
        let mutex = Raw::new(libc::PTHREAD_MUTEX_ERRORCHECK);
        for _ in 0..many(20) {
            assert_eq!(mutex.lock(), 0);
            go.hop();
            assert_eq!(mutex.lock(), libc::EDEADLK);
            assert_eq!(mutex.elsewhere(), (libc::EBUSY, libc::EPERM));
            go.hop();
            assert_eq!(mutex.unlock(), 0);
            assert_eq!(mutex.unlock(), libc::EPERM);
            assert_eq!(mutex.elsewhere(), (0, 0));
            go.hop();
        }
    });
    trip.end();
}

/// The kernel knows no thread of the owner's number: once somebody has waited, it stays locked.
#[cfg(target_env = "gnu")]
#[test]
fn a_priority_inheriting_mutex_serves_until_somebody_waits() {
    let _dog = watchdog();
    // Who waits does so for ever.
    let test = "pthreads::a_priority_inheriting_mutex_serves_until_somebody_waits";
    alone(test, || {
        let trip = Trip::new(2);
        trip.all(1, |_, go| {
            // SAFETY: initialised by the caller.
            let mutex = Raw::with(|attributes| unsafe {
                libc::pthread_mutexattr_setprotocol(attributes, libc::PTHREAD_PRIO_INHERIT)
            });
            for _ in 0..many(20) {
                assert_eq!(mutex.lock(), 0);
                go.hop();
                assert_eq!(mutex.elsewhere().0, libc::EBUSY);
                assert_eq!(mutex.unlock(), 0);
            }
            assert_eq!(mutex.lock(), 0);
            go.hop();
            let (sender, receiver) = channel();
            let same = mutex.clone();
            let waiter = std::thread::spawn(move || {
                // SAFETY: plain system call.
                sender.send(unsafe { libc::gettid() }).unwrap();
                same.lock()
            });
            let stat = format!("/proc/self/task/{}/stat", receiver.recv().unwrap());
            until(|| std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") S ")));
            // The kernel refuses, which glibc does not always tell.
            let _ = mutex.unlock();
            assert_eq!(mutex.elsewhere().0, libc::EBUSY);
            assert!(!waiter.is_finished());
        });
    });
}

/// The kernel does not learn that its owner ends.
#[cfg(target_env = "gnu")]
#[test]
fn a_robust_mutex_is_a_plain_one() {
    let _dog = watchdog();
    let rt = runtime(2);
    for fresh in [false, true] {
        // SAFETY: initialised by the caller.
        let mutex = Raw::with(|attributes| unsafe {
            libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST)
        });
        let same = mutex.clone();
        let locks = move || (same.lock(), same.unlock(), same.lock());
        let owner = Builder::new().on(&rt).fresh(fresh).spawn(locks).unwrap();
        assert_eq!(owner.join().unwrap(), (0, 0, 0));
        assert_eq!(mutex.elsewhere().0, libc::EBUSY);
        // For ever: the owner's list of what it holds leads through it.
        std::mem::forget(mutex);
    }
    end(rt);
}

/// No two threads that are alive pass for each other, in the pool or out of it,
/// nor for the kernel thread that carries them.
#[test]
fn no_two_threads_pass_for_each_other() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    for fresh in [false, true] {
        let mutex = Raw::new(libc::PTHREAD_MUTEX_ERRORCHECK);
        let builder = || lisle::thread::Builder::new().fresh(fresh);
        let held = mutex.clone();
        let (told, tell) = lisle::channel::bounded::<()>(0);
        let (done, wait) = lisle::channel::bounded::<()>(0);
        let owner = trip.spawn_as(builder(), move |go| {
            assert_eq!(held.lock(), 0);
            go.hop();
            told.send(()).unwrap();
            wait.recv().unwrap();
            assert_eq!(held.unlock(), 0);
        });
        tell.recv().unwrap();
        let others: Vec<_> = (0..7)
            .map(|_| {
                let mutex = mutex.clone();
                trip.spawn_as(builder(), move |go| {
                    for _ in 0..many(20) {
                        assert_eq!(mutex.try_lock(), libc::EBUSY);
                        assert_eq!(mutex.unlock(), libc::EPERM);
                        go.hop();
                    }
                })
            })
            .collect();
        super::travel::joined(others);
        let light = {
            let mutex = mutex.clone();
            crate::support::on(trip.runtime(), move || (mutex.try_lock(), mutex.unlock()))
        };
        assert_eq!(light.join().unwrap(), (libc::EBUSY, libc::EPERM));
        done.send(()).unwrap();
        owner.join().unwrap();
    }
    trip.end();
}

/// A write lock knows its owner, too.
#[test]
fn a_read_write_lock_over_moves() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    trip.all(4, |_, go| {
        let lock = Box::new(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER));
        let lock = lock.get();
        for _ in 0..many(20) {
            // SAFETY: the lock outlives the loop.
            unsafe {
                assert_eq!(libc::pthread_rwlock_wrlock(lock), 0);
                go.hop();
                assert_eq!(libc::pthread_rwlock_tryrdlock(lock), libc::EBUSY);
                assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
                assert_eq!(libc::pthread_rwlock_rdlock(lock), 0);
                go.hop();
                assert_eq!(libc::pthread_rwlock_tryrdlock(lock), 0);
                assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
                go.hop();
                assert_eq!(libc::pthread_rwlock_unlock(lock), 0);
            }
        }
    });
    trip.end();
}

/// What a thread does to itself by its handle works in the C library, where no
/// kernel thread is needed for it.
#[test]
fn a_thread_is_equal_to_itself_and_may_change_its_cancel_state() {
    unsafe extern "C" {
        fn pthread_setcancelstate(state: libc::c_int, old: *mut libc::c_int) -> libc::c_int;
        fn pthread_equal(one: libc::pthread_t, other: libc::pthread_t) -> libc::c_int;
    }
    let _dog = watchdog();
    let trip = Trip::new(4);
    trip.all(4, |_, go| {
        let mut old = -1;
        // SAFETY: valid places and handles of living threads.
        unsafe {
            let me = libc::pthread_self();
            assert_eq!(pthread_setcancelstate(1, &mut old), 0);
            assert_eq!(old, 0);
            go.hop();
            assert_eq!(pthread_setcancelstate(0, &mut old), 0);
            assert_eq!(old, 1);
            assert_ne!(pthread_equal(me, libc::pthread_self()), 0);
        }
    });
    trip.end();
}

/// What libc asks the kernel by a thread's number fails, also for the thread
/// itself, and says so; what it asks for the caller works, on the kernel thread.
#[test]
fn calls_by_number_are_refused() {
    unsafe extern "C" {
        fn pthread_getattr_np(
            thread: libc::pthread_t,
            attributes: *mut libc::pthread_attr_t,
        ) -> libc::c_int;
        fn pthread_setname_np(thread: libc::pthread_t, name: *const libc::c_char) -> libc::c_int;
    }
    let _dog = watchdog();
    let trip = Trip::new(2);
    trip.all(2, |_, go| {
        for _ in 0..5 {
            let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
            let mut attributes = MaybeUninit::uninit();
            // SAFETY: valid places of the right sizes; the thread is alive.
            unsafe {
                let me = libc::pthread_self();
                let size = size_of::<libc::cpu_set_t>();
                assert_eq!(libc::sched_getaffinity(0, size, set.as_mut_ptr()), 0);
                let affinity = libc::pthread_getaffinity_np(me, size, set.as_mut_ptr());
                assert_eq!(affinity, libc::ESRCH);
                let got = pthread_getattr_np(me, attributes.as_mut_ptr());
                // glibc's tells the affinity, too; musl's does not.
                let expected = if cfg!(target_env = "gnu") {
                    libc::ESRCH
                } else {
                    0
                };
                assert_eq!(got, expected);
                assert_eq!(pthread_setname_np(me, c"lisle-named".as_ptr()), 0);
                let raised = if cfg!(target_env = "gnu") { 0 } else { -1 };
                assert_eq!(libc::raise(0), raised);
            }
            go.hop();
        }
    });
    trip.end();
}
