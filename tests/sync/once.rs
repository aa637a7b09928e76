//! What happens once: std's behaviours, poison by panics, and cancels undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::sync::{LazyLock, Once, OnceLock};
use lisle::thread;

use super::support::{child, end, message, on, runtime, until_waiting, watchdog};
use super::{LONG, is_cancelled, under_seeds};

const TICK: Duration = Duration::from_millis(1);

#[test]
fn it_happens_once_whoever_comes() {
    let _dog = watchdog();
    under_seeds(|| {
        let shared = Arc::new((Once::new(), AtomicUsize::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let shared = shared.clone();
                child(move || {
                    shared.0.call_once(|| {
                        thread::yield_now();
                        shared.1.fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(shared.0.is_completed());
                    shared.1.load(Ordering::Relaxed)
                })
            })
            .collect();
        let same = shared.clone();
        let waiter = child(move || same.0.wait());
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 1);
        }
        waiter.join().unwrap();
    });
}

#[test]
fn a_panic_poisons_and_force_heals() {
    let once = Once::new();
    let attempt = || once.call_once(|| panic!("expected: in the closure"));
    std::panic::catch_unwind(attempt).unwrap_err();
    assert!(!once.is_completed());
    let again = std::panic::catch_unwind(|| once.call_once(|| {})).unwrap_err();
    assert!(message(&*again).contains("poisoned"));
    std::panic::catch_unwind(|| once.wait_timeout(TICK)).unwrap_err();
    assert!(!once.wait_force_timeout(TICK) && !once.wait_force_deadline(lisle::time::now()));
    once.call_once_force(|state| assert!(state.is_poisoned()));
    assert!(once.is_completed());
    once.call_once_force(|_| unreachable!("it has happened"));
    once.wait();
    assert!(once.wait_force_timeout(TICK) && once.wait_force_deadline(lisle::time::now()));
}

#[test]
fn a_wait_through_panics_ends_when_it_has_happened() {
    let _dog = watchdog();
    let rt = runtime(2);
    let once = Arc::new(Once::new());
    let same = once.clone();
    let waiter = on(&rt, move || same.wait_force_timeout(LONG));
    until_waiting(waiter.thread(), "once");
    let attempt = || once.call_once(|| panic!("expected: in the closure"));
    std::panic::catch_unwind(attempt).unwrap_err();
    once.call_once_force(|_| {});
    assert!(waiter.join().unwrap());
    end(rt);
}

#[test]
fn a_cancel_leaves_it_undone() {
    let _dog = watchdog();
    let rt = runtime(2);
    let once = Arc::new(Once::new());
    let same = once.clone();
    let first = on(&rt, move || same.call_once(thread::park));
    until_waiting(first.thread(), "park");
    let same = once.clone();
    let second = on(&rt, move || same.call_once(|| {}));
    until_waiting(second.thread(), "once");
    second.thread().cancel();
    first.thread().cancel();
    assert!(is_cancelled(first.join()));
    second.join().unwrap();
    assert!(once.is_completed(), "the second has done it");
    end(rt);
}

#[test]
fn waiting_ends_with_the_time_or_a_cancel() {
    let _dog = watchdog();
    let rt = runtime(2);
    let cell = Arc::new(OnceLock::new());
    assert!(!Once::new().wait_timeout(TICK) && !Once::new().wait_deadline(lisle::time::now()));
    assert_eq!(cell.wait_timeout(TICK), None);
    let same = cell.clone();
    let cancelled = on(&rt, move || *same.wait());
    until_waiting(cancelled.thread(), "once");
    let same = cell.clone();
    let patient = on(&rt, move || same.wait_timeout(LONG).copied());
    until_waiting(patient.thread(), "once");
    cancelled.thread().cancel();
    assert!(is_cancelled(cancelled.join()));
    cell.set(7).unwrap();
    assert_eq!(patient.join().unwrap(), Some(7));
    end(rt);
}

#[test]
fn a_once_lock_is_like_std_s() {
    let mut cell = OnceLock::new();
    assert_eq!(cell.get(), None);
    assert_eq!(cell.get_mut(), None);
    assert_eq!(format!("{cell:?}"), "OnceLock(<uninit>)");
    let attempt = || *cell.get_or_init(|| panic!("expected: in the initializer"));
    std::panic::catch_unwind(attempt).unwrap_err();
    assert_eq!(cell.set(3), Ok(()), "a panic leaves it unwritten");
    assert_eq!((cell.set(4), *cell.get_or_init(|| 5)), (Err(4), 3));
    assert_eq!(format!("{cell:?}"), "OnceLock(3)");
    assert!(cell == cell.clone() && cell != OnceLock::new() && OnceLock::from(3) == cell);
    *cell.get_mut().unwrap() = 6;
    assert_eq!((cell.take(), cell.take()), (Some(6), None));
    assert_eq!(cell.into_inner(), None);
    // Its value is dropped once.
    let value = Arc::new(());
    let (one, two) = (OnceLock::from(value.clone()), OnceLock::from(value.clone()));
    drop(one);
    drop(two.into_inner());
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_lazy_lock_is_like_std_s() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static LAZY: LazyLock<usize> = LazyLock::new(|| MADE.fetch_add(1, Ordering::Relaxed) + 7);
    assert_eq!(format!("{LAZY:?}"), "LazyLock(<uninit>)");
    let threads = [(); 4].map(|()| std::thread::spawn(|| *LAZY));
    assert!(
        threads
            .into_iter()
            .all(|thread| thread.join().unwrap() == 7)
    );
    assert_eq!(
        (*LazyLock::force(&LAZY), MADE.load(Ordering::Relaxed)),
        (7, 1)
    );
    assert_eq!(format!("{LAZY:?}"), "LazyLock(7)");
    let mut lazy = LazyLock::new(|| vec![1]);
    assert_eq!(LazyLock::get_mut(&mut lazy), None);
    lazy.push(2);
    LazyLock::force_mut(&mut lazy).push(3);
    assert_eq!(*lazy, [1, 2, 3]);
    let mut made: LazyLock<u8> = LazyLock::from(4);
    assert_eq!(LazyLock::get(&made), Some(&4));
    *made += 1;
    assert_eq!((*made, format!("{made:?}")), (5, "LazyLock(5)".into()));
    assert_eq!(*LazyLock::<u8>::default(), 0);
    let broken: LazyLock<u8> = LazyLock::new(|| panic!("expected: in the initializer"));
    for _ in 0..2 {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *broken)).unwrap_err();
    }
}

#[test]
fn the_initializer_of_a_lazy_lock_is_shielded() {
    let _dog = watchdog();
    let rt = runtime(2);
    let gate = Arc::new(lisle::sync::Semaphore::new(0));
    let same = gate.clone();
    let lazy = Arc::new(LazyLock::new(move || {
        same.p();
        7
    }));
    let its_lazy = lazy.clone();
    let thread = on(&rt, move || {
        assert_eq!(**its_lazy, 7);
        lisle::cancel::checkpoint();
    });
    until_waiting(thread.thread(), "semaphore");
    thread.thread().cancel();
    gate.v();
    assert!(is_cancelled(thread.join()), "afterwards");
    assert_eq!(**lazy, 7);
    end(rt);
}
