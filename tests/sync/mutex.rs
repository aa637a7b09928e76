//! Mutexes: std's behaviours, and poisoning by panics only.

use std::sync::Arc;

use lisle::cancel;
use lisle::sync::{Mutex, Once, TryLockError};
use lisle::thread;

use super::is_cancelled;
use super::support::{end, many, on, runtime, until_waiting, watchdog};

#[test]
fn the_value_is_reached_through_the_guard() {
    static COUNT: Mutex<u32> = Mutex::new(1);
    *COUNT.lock().unwrap() += 1;
    assert_eq!(*COUNT.lock().unwrap(), 2);
    let guard = COUNT.lock().unwrap();
    assert_eq!(format!("{guard} {guard:?}"), "2 2");
}

#[test]
fn it_is_made_and_taken_apart_like_std_s() {
    let mut mutex = Mutex::new(String::from("a"));
    mutex.get_mut().unwrap().push('b');
    assert_eq!(mutex.into_inner().unwrap(), "ab");
    assert_eq!(*Mutex::<u8>::default().lock().unwrap(), 0);
    assert_eq!(*Mutex::from(3).lock().unwrap(), 3);
    let mutex = Mutex::new(7);
    assert!(format!("{mutex:?}").contains('7'));
    let guard = mutex.lock().unwrap();
    assert!(format!("{mutex:?}").contains("<locked>"));
    drop(guard);
}

#[test]
fn try_lock_does_not_wait() {
    let mutex = Mutex::new(());
    let guard = mutex.try_lock().unwrap();
    assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    drop(guard);
    drop(mutex.try_lock().unwrap());
}

/// A mutex in which a light thread has panicked.
fn poisoned() -> Arc<Mutex<u32>> {
    let rt = runtime(1);
    let mutex = Arc::new(Mutex::new(5));
    let same = mutex.clone();
    let thread = on(&rt, move || {
        let mut guard = same.lock().unwrap();
        *guard = 6;
        panic!("expected: in the mutex");
    });
    thread.join().unwrap_err();
    end(rt);
    mutex
}

#[test]
fn a_panic_poisons() {
    let _dog = watchdog();
    let mutex = poisoned();
    assert!(mutex.is_poisoned());
    assert_eq!(
        *mutex.lock().unwrap_err().into_inner(),
        6,
        "held all the same"
    );
    assert!(
        matches!(mutex.try_lock(), Err(TryLockError::Poisoned(guard)) if **guard.get_ref() == 6)
    );
    assert!(format!("{mutex:?}").contains("poisoned: true"));
    let mut mutex = Arc::into_inner(mutex).unwrap();
    assert_eq!(*mutex.get_mut().unwrap_err().into_inner(), 6);
    assert_eq!(mutex.into_inner().unwrap_err().into_inner(), 6);
}

#[test]
fn a_panic_on_a_kernel_thread_poisons_too() {
    let _dog = watchdog();
    let mutex = Arc::new(Mutex::new(()));
    let same = mutex.clone();
    let thread = std::thread::spawn(move || {
        let _guard = same.lock().unwrap();
        panic!("expected: in the mutex");
    });
    thread.join().unwrap_err();
    assert!(mutex.is_poisoned());
}

#[test]
fn poison_can_be_cleared() {
    let _dog = watchdog();
    let mutex = poisoned();
    *mutex.lock().unwrap_err().into_inner() = 0;
    assert!(mutex.is_poisoned(), "using the value does not clear it");
    mutex.clear_poison();
    assert_eq!(*mutex.lock().unwrap(), 0);
}

#[test]
fn a_cancel_does_not_poison() {
    let _dog = watchdog();
    let rt = runtime(2);
    let mutex = Arc::new(Mutex::new(1));
    let same = mutex.clone();
    let thread = on(&rt, move || {
        let mut guard = same.lock().unwrap();
        *guard = 2;
        thread::park();
    });
    until_waiting(thread.thread(), "park");
    thread.thread().cancel();
    assert!(is_cancelled(thread.join()));
    assert!(!mutex.is_poisoned());
    assert_eq!(*mutex.try_lock().unwrap(), 2, "and has released it");
    end(rt);
}

/// Uses the mutex when dropped.
struct Undo(Arc<Mutex<u32>>);

impl Drop for Undo {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

#[test]
fn a_guard_taken_while_unwinding_does_not_poison() {
    let _dog = watchdog();
    let rt = runtime(1);
    let mutex = Arc::new(Mutex::new(0));
    let same = mutex.clone();
    let thread = on(&rt, move || {
        let _undo = Undo(same);
        panic!("expected: outside the mutex");
    });
    thread.join().unwrap_err();
    let same = mutex.clone();
    let thread = on(&rt, move || {
        let _undo = Undo(same);
        thread::current().cancel();
        cancel::checkpoint();
    });
    assert!(is_cancelled(thread.join()));
    assert_eq!(*mutex.lock().unwrap(), 2);
    end(rt);
}

#[test]
fn light_bound_and_kernel_threads_exclude_each_other() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(2000);
    // Two values that belong together: a reader in between would see it.
    let pair = Arc::new(Mutex::new((0, 0)));
    let work = |pair: Arc<Mutex<(usize, usize)>>| {
        move || {
            for round in 0..rounds {
                let mut guard = pair.lock().unwrap();
                assert_eq!(guard.0, guard.1);
                guard.0 += 1;
                if round % 8 == 0 {
                    thread::yield_now();
                }
                guard.1 += 1;
            }
        }
    };
    let light: Vec<_> = (0..8).map(|_| on(&rt, work(pair.clone()))).collect();
    let bound = thread::Builder::new().bound().spawn(work(pair.clone()));
    let kernel: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(work(pair.clone())))
        .collect();
    light.into_iter().for_each(|thread| thread.join().unwrap());
    bound.unwrap().join().unwrap();
    kernel.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*pair.lock().unwrap(), (12 * rounds, 12 * rounds));
    end(rt);
}

/// Whoever catches a cancel goes on as if there had been none: a panic after that is one.
#[test]
fn a_panic_after_a_caught_cancel_poisons() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (mutex, once) = (Arc::new(Mutex::new(0)), Arc::new(Once::new()));
    let (same, also) = (mutex.clone(), once.clone());
    let thread = on(&rt, move || {
        let caught = || {
            thread::current().cancel();
            let checkpoint = std::panic::catch_unwind(cancel::checkpoint);
            assert!(is_cancelled(checkpoint));
        };
        caught();
        let panics = || also.call_once(|| panic!("expected: in the closure"));
        std::panic::catch_unwind(panics).unwrap_err();
        caught();
        let _guard = same.lock().unwrap();
        panic!("expected: with the guard");
    });
    thread.join().unwrap_err();
    assert!(mutex.is_poisoned());
    let again = || once.call_once(|| {});
    std::panic::catch_unwind(again).expect_err("the closure panicked");
    end(rt);
}

#[test]
fn a_cancel_that_is_passed_on_does_not_poison() {
    let _dog = watchdog();
    let rt = runtime(1);
    let mutex = Arc::new(Mutex::new(0));
    let same = mutex.clone();
    let thread = on(&rt, move || {
        let _guard = same.lock().unwrap();
        let payload = std::panic::catch_unwind(thread::park).unwrap_err();
        // A wait in between: what was caught is over.
        cancel::shield(|| thread::sleep(std::time::Duration::from_millis(1)));
        cancel::resume_unwind(payload);
    });
    until_waiting(thread.thread(), "park");
    thread.thread().cancel();
    assert!(is_cancelled(thread.join()));
    assert!(!mutex.is_poisoned());
    end(rt);
}
