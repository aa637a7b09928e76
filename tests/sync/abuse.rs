//! What careless code does with locks: nothing of it harms others.

use std::mem::forget;
use std::sync::Arc;
use std::time::Duration;

use lisle::cancel::Cancelled;
use lisle::sync::{Condvar, Mutex, PriorityMutex, RwLock, Semaphore};
use lisle::thread::{self, Builder};

use super::LONG;
use super::support::{child, end, on, runtime, until_waiting, watchdog};

const TICK: Duration = Duration::from_millis(1);

/// A forgotten guard holds its lock for ever; whoever waits can give up, and whoever owns the lock
/// gets at the value.
#[test]
fn forgotten_guards() {
    let _dog = watchdog();
    let rt = runtime(1);
    on(&rt, || {
        let mut mutex = Mutex::new(1);
        forget(mutex.lock().unwrap());
        assert!(mutex.try_lock().is_err() && mutex.lock_timeout(TICK).is_err());
        *mutex.get_mut().unwrap() = 2;
        assert_eq!(mutex.into_inner().unwrap(), 2);

        let mut rwlock = RwLock::new(1);
        forget(rwlock.read().unwrap());
        assert_eq!(*rwlock.read().unwrap(), 1);
        assert!(rwlock.write_timeout(TICK).is_err());
        assert_eq!(*rwlock.read().unwrap(), 1, "the writer has left no trace");
        *rwlock.get_mut().unwrap() = 2;

        let mut priority = PriorityMutex::new(1);
        forget(priority.lock().unwrap());
        assert!(priority.lock_timeout(TICK).is_err());
        *priority.get_mut().unwrap() = 2;

        let slots = Semaphore::new(2);
        forget(slots.acquire().unwrap());
        slots.acquire().unwrap().forget();
        assert!(slots.try_acquire().is_err());
        slots.add_permits(1);
        assert!(slots.acquire().is_ok());
    })
    .join()
    .unwrap();
    end(rt);
}

/// The holder has ended with the lock; its control block is another thread's by then.
#[test]
fn a_holder_that_ended_is_not_its_successor() {
    let _dog = watchdog();
    let rt = runtime(1);
    on(&rt, || {
        let mutex = Arc::new(PriorityMutex::new(()));
        let same = mutex.clone();
        child(move || forget(same.lock())).join().unwrap();
        let successors: Vec<_> = (0..4)
            .map(|_| {
                let mutex = mutex.clone();
                child(move || {
                    assert!(mutex.try_lock().is_err());
                    assert!(mutex.lock_timeout(TICK).is_err());
                })
            })
            .collect();
        successors
            .into_iter()
            .for_each(|successor| successor.join().unwrap());
    })
    .join()
    .unwrap();
    end(rt);
}

/// One condition with guards of two mutexes: each waiter releases its own, and holds it again.
#[test]
fn a_condition_with_two_mutexes() {
    let _dog = watchdog();
    let rt = runtime(1);
    let shared = Arc::new((Mutex::new(false), Mutex::new(false), Condvar::new()));
    let wait = |first: bool| {
        let shared = shared.clone();
        on(&rt, move || {
            let mutex = if first { &shared.0 } else { &shared.1 };
            let guard = mutex.lock().unwrap();
            let guard = shared.2.wait_while(guard, |said| !*said).unwrap();
            assert!(*guard && mutex.try_lock().is_err());
        })
    };
    let waiters = [wait(true), wait(false)];
    for waiter in &waiters {
        until_waiting(waiter.thread(), "condition variable");
    }
    *shared.0.lock().unwrap() = true;
    *shared.1.lock().unwrap() = true;
    shared.2.notify_all();
    waiters
        .into_iter()
        .for_each(|waiter| waiter.join().unwrap());
    end(rt);
}

/// Waits for a turn when it is dropped, holding a lock meanwhile.
struct Patient(Arc<(Mutex<u32>, Condvar)>);

impl Drop for Patient {
    fn drop(&mut self) {
        let (mutex, condition) = &*self.0;
        // Whoever unwinds poisons nothing by locks taken while it does.
        let turn = mutex.lock().unwrap();
        let mut turn = condition.wait_while(turn, |turn| *turn == 0).unwrap();
        *turn -= 1;
    }
}

#[test]
fn destructors_that_wait() {
    let _dog = watchdog();
    let rt = runtime(1);
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    for full in [false, true] {
        for panics in [false, true] {
            let patient = Patient(shared.clone());
            let body = move || {
                let _patient = patient;
                if panics {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                thread::sleep(LONG);
            };
            let leaver = match full {
                true => Builder::new().on(&rt).spawn(body).unwrap(),
                false => on(&rt, body),
            };
            if !panics {
                until_waiting(leaver.thread(), "sleep");
                leaver.thread().cancel();
            }
            until_waiting(leaver.thread(), "condition variable");
            // The LWP goes on meanwhile.
            let same = shared.clone();
            on(&rt, move || {
                *same.0.lock().unwrap() += 1;
                same.1.notify_one();
            })
            .join()
            .unwrap();
            let payload = leaver.join().unwrap_err();
            assert_eq!(payload.is::<Cancelled>(), !panics);
        }
    }
    assert_eq!(*shared.0.lock().unwrap(), 0);
    end(rt);
}
