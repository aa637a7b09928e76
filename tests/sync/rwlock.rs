//! Readers-writer locks: std's behaviours, upgrades, and who goes first.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lisle::Runtime;
use lisle::sync::{
    Fair, PreferReaders, PreferWriters, RawRwLock, RwLock, RwLockPolicy, RwLockUpgradableGuard,
    RwLockWriteGuard, TryLockError,
};
use lisle::thread::{self, JoinHandle};
use lisle::upcall::Source;

use super::support::{Log, child, end, many, on, runtime, steady, until_waiting, watchdog};
use super::{LONG, is_cancelled, under_seeds, waits_for, yield_until_waiting};

const TICK: Duration = Duration::from_millis(1);
const READ: &str = "read lock";
const WRITE: &str = "write lock";

fn would_block<T>(result: Result<T, TryLockError<T>>) -> bool {
    matches!(result, Err(TryLockError::WouldBlock))
}

#[test]
fn it_is_made_and_taken_apart_like_std_s() {
    static SHARED: RwLock<u32> = RwLock::new(1);
    *SHARED.write().unwrap() += 1;
    let (one, two) = (SHARED.read().unwrap(), SHARED.try_read().unwrap());
    assert_eq!(format!("{one} {two:?}"), "2 2");
    assert!(would_block(SHARED.try_write()));
    assert!(format!("{SHARED:?}").contains("data: 2"));
    drop((one, two));
    let written = SHARED.try_write().unwrap();
    assert!(would_block(SHARED.try_read()) && would_block(SHARED.try_write()));
    assert!(format!("{SHARED:?}").contains("<locked>"));
    drop(written);
    let mut lock = RwLock::from(String::from("a"));
    lock.get_mut().unwrap().push('b');
    assert_eq!(lock.into_inner().unwrap(), "ab");
    let lock: RwLock<u8> = RwLock::default();
    assert_eq!(*lock.read().unwrap(), 0);
    let unsized_value: &RwLock<[u8]> = &RwLock::new([1, 2]);
    unsized_value.write().unwrap()[0] = 3;
    assert_eq!(*unsized_value.read().unwrap(), [3, 2]);
}

#[test]
fn writers_poison_and_readers_do_not() {
    let _dog = watchdog();
    let rt = runtime(1);
    let lock = Arc::new(RwLock::new(5));
    let same = lock.clone();
    let reader = on(&rt, move || {
        let _guard = same.read().unwrap();
        panic!("expected: while reading");
    });
    reader.join().unwrap_err();
    assert!(!lock.is_poisoned());
    let same = lock.clone();
    let writer = on(&rt, move || {
        *same.write().unwrap() = 6;
        let _guard = same.write().unwrap();
        panic!("expected: while writing");
    });
    writer.join().unwrap_err();
    assert!(lock.is_poisoned());
    assert_eq!(*lock.read().unwrap_err().into_inner(), 6);
    assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
    lock.clear_poison();
    assert_eq!(*lock.read().unwrap(), 6);
    let same = lock.clone();
    let cancelled = on(&rt, move || {
        let _guard = same.write().unwrap();
        thread::park();
    });
    until_waiting(cancelled.thread(), "park");
    cancelled.thread().cancel();
    assert!(is_cancelled(cancelled.join()));
    assert!(!lock.is_poisoned() && lock.try_write().is_ok());
    end(rt);
}

/// A child that takes the lock and notes its name, once it waits.
fn queued<P: RwLockPolicy>(
    lock: &Arc<RwLock<u32, P>>,
    log: &Log<&'static str>,
    name: &'static str,
    writes: bool,
) -> JoinHandle<()> {
    let (lock, log) = (lock.clone(), log.clone());
    let thread = child(move || {
        if writes {
            let _guard = lock.write().unwrap();
            log.note(name);
            thread::yield_now();
        } else {
            let _guard = lock.read().unwrap();
            log.note(name);
            thread::yield_now();
        }
    });
    yield_until_waiting(thread.thread(), if writes { WRITE } else { READ });
    thread
}

/// Who comes in how, when they wait in the order r1 w1 r2 w2 for a writer.
fn order<P: RwLockPolicy>() -> Vec<&'static str> {
    let _dog = watchdog();
    let rt = runtime(1);
    let order = on(&rt, || {
        let (lock, log) = (Arc::new(RwLock::<u32, P>::with_policy(0)), Log::new());
        let held = lock.write().unwrap();
        let threads = [
            queued(&lock, &log, "r1", false),
            queued(&lock, &log, "w1", true),
            queued(&lock, &log, "r2", false),
            queued(&lock, &log, "w2", true),
        ];
        drop(held);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        log.take()
    });
    let order = order.join().unwrap();
    end(rt);
    order
}

#[test]
fn the_policy_says_who_goes_first() {
    assert_eq!(order::<Fair>(), ["r1", "w1", "r2", "w2"]);
    assert_eq!(order::<PreferReaders>(), ["r1", "r2", "w1", "w2"]);
    assert_eq!(order::<PreferWriters>(), ["w1", "w2", "r1", "r2"]);
}

/// Whether a reader joins a reader while a writer waits.
fn joins<P: RwLockPolicy>() -> bool {
    let _dog = watchdog();
    let rt = runtime(1);
    let joined = on(&rt, || {
        let (lock, log) = (Arc::new(RwLock::<u32, P>::with_policy(0)), Log::new());
        let held = lock.read().unwrap();
        let writer = queued(&lock, &log, "w", true);
        let joined = lock.try_read().is_ok();
        assert!(
            lock.try_read_recursive().is_ok(),
            "recursion waits for nobody"
        );
        drop(lock.read_recursive().unwrap());
        assert!(lock.try_write().is_err());
        drop(held);
        writer.join().unwrap();
        joined
    });
    let joined = joined.join().unwrap();
    end(rt);
    joined
}

#[test]
fn a_reader_passes_a_waiting_writer_only_where_readers_go_first() {
    assert!(!joins::<Fair>());
    assert!(joins::<PreferReaders>());
    assert!(!joins::<PreferWriters>());
}

#[test]
fn a_waiter_is_bypassed_so_many_times_and_no_more() {
    let _dog = watchdog();
    let rt = steady(1);
    on(&rt, || {
        let (lock, log) = (Arc::new(RwLock::<u32>::new(0)), Log::new());
        let held = lock.write().unwrap();
        let threads = [
            queued(&lock, &log, "w", true),
            queued(&lock, &log, "r", false),
        ];
        drop(held);
        let mut taken = 0;
        // Readers and writers by turns; the waiters cannot run meanwhile.
        while lock.try_write().is_ok() && lock.try_read().is_ok() {
            taken += 2;
        }
        assert_eq!(taken, RawRwLock::<Fair>::BYPASS);
        drop(lock.write().unwrap());
        assert_eq!(log.take(), ["w", "r"]);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    })
    .join()
    .unwrap();
    end(rt);
}

#[test]
fn an_upgrade_lets_nobody_write_in_between() {
    let _dog = watchdog();
    under_seeds(|| {
        let lock = Arc::new(RwLock::new(0));
        let visit = |number: u32| {
            let lock = lock.clone();
            child(move || {
                for _ in 0..3 {
                    if number.is_multiple_of(2) {
                        let reading = lock.upgradable_read().unwrap();
                        let seen = *reading;
                        thread::yield_now();
                        let mut writing = RwLockUpgradableGuard::upgrade(reading);
                        assert_eq!(*writing, seen);
                        *writing += 1;
                        let reading = RwLockWriteGuard::downgrade(writing);
                        thread::yield_now();
                        assert_eq!(*reading, seen + 1);
                    } else {
                        let reading = lock.read().unwrap();
                        let seen = *reading;
                        thread::yield_now();
                        assert_eq!(*reading, seen);
                    }
                }
            })
        };
        let threads: Vec<_> = (0..5).map(visit).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.try_read().unwrap(), 9);
    });
}

#[test]
fn one_upgradable_reader_at_a_time_beside_others() {
    let lock = RwLock::new(1);
    let upgradable = lock.upgradable_read().unwrap();
    assert!(would_block(lock.try_upgradable_read()) && would_block(lock.try_write()));
    let reader = lock.try_read().unwrap();
    let upgradable = RwLockUpgradableGuard::try_upgrade(upgradable).unwrap_err();
    let upgradable = RwLockUpgradableGuard::upgrade_timeout(upgradable, TICK).unwrap_err();
    assert!(
        lock.try_read().is_ok(),
        "an upgrade given up keeps nobody out"
    );
    drop(reader);
    let writer = RwLockUpgradableGuard::try_upgrade(upgradable).unwrap();
    let upgradable = RwLockWriteGuard::downgrade_to_upgradable(writer);
    assert_eq!(*lock.try_read().unwrap(), *upgradable);
    let reader = RwLockUpgradableGuard::downgrade(upgradable);
    assert!(lock.try_upgradable_read().is_ok());
    drop(reader);
    assert!(lock.try_write().is_ok());
}

#[test]
fn locks_with_a_deadline_give_up() {
    let _dog = watchdog();
    let lock = RwLock::new(0);
    let writer = lock.write().unwrap();
    assert!(would_block(lock.read_timeout(TICK)) && would_block(lock.write_timeout(TICK)));
    assert!(would_block(lock.read_deadline(lisle::time::now())));
    assert!(would_block(lock.read_recursive_timeout(TICK)));
    assert!(would_block(
        lock.read_recursive_deadline(lisle::time::now())
    ));
    assert!(would_block(lock.upgradable_read_timeout(TICK)));
    assert!(would_block(
        lock.upgradable_read_deadline(lisle::time::now())
    ));
    drop(writer);
    assert!(lock.read_timeout(LONG).is_ok() && lock.write_timeout(Duration::MAX).is_ok());
}

#[test]
fn a_cancel_ends_a_cancellable_lock_only() {
    let _dog = watchdog();
    let rt = runtime(2);
    let lock = Arc::new(RwLock::new(0));
    let held = lock.read().unwrap();
    let same = lock.clone();
    let writer = on(&rt, move || *same.write_cancellable().unwrap() = 1);
    until_waiting(writer.thread(), WRITE);
    let same = lock.clone();
    let reader = on(&rt, move || *same.read_cancellable().unwrap());
    until_waiting(reader.thread(), READ);
    writer.thread().cancel();
    assert!(is_cancelled(writer.join()));
    // Whom it kept out comes in.
    assert_eq!(reader.join().unwrap(), 0);
    drop(held);
    assert!(lock.try_write().is_ok());
    end(rt);
}

#[test]
fn a_cancelled_recursive_reader_keeps_nobody_out() {
    let _dog = watchdog();
    let rt = runtime(2);
    let lock = Arc::new(RwLock::new(0));
    let held = lock.write().unwrap();
    let same = lock.clone();
    let reader = on(&rt, move || *same.read_recursive_cancellable().unwrap());
    until_waiting(reader.thread(), READ);
    let same = lock.clone();
    let writer = on(&rt, move || *same.write().unwrap() = 1);
    until_waiting(writer.thread(), WRITE);
    reader.thread().cancel();
    assert!(is_cancelled(reader.join()));
    drop(held);
    writer.join().unwrap();
    assert_eq!(*lock.read_recursive_cancellable().unwrap(), 1);
    assert!(lock.try_write().is_ok());
    end(rt);
}

/// An upgrade that ends early is still a read lock: for who gets it back, or for nobody.
#[test]
fn an_upgrade_ends_with_the_time_or_a_cancel() {
    let _dog = watchdog();
    let rt = runtime(2);
    let lock = Arc::new(RwLock::new(0));
    let held = lock.read().unwrap();
    let upgradable = lock.upgradable_read().unwrap();
    let late = RwLockUpgradableGuard::upgrade_deadline(upgradable, lisle::time::now());
    drop(late.unwrap_err());
    let same = lock.clone();
    let upgrader = on(&rt, move || {
        let upgradable = same.upgradable_read().unwrap();
        *RwLockUpgradableGuard::upgrade_cancellable(upgradable) = 1;
    });
    until_waiting(upgrader.thread(), "upgrade of a read lock");
    assert!(would_block(lock.try_read()), "an upgrade lets nobody in");
    upgrader.thread().cancel();
    assert!(is_cancelled(upgrader.join()));
    assert!(lock.try_read().is_ok() && lock.try_upgradable_read().is_ok());
    drop(held);
    assert_eq!(*lock.try_write().unwrap(), 0);
    end(rt);
}

fn storm<P: RwLockPolicy>() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(1000);
    let lock = Arc::new(RwLock::<[usize; 2], P>::with_policy([0, 0]));
    let visit = |lock: Arc<RwLock<[usize; 2], P>>, step: usize| {
        move || {
            let mut written = 0;
            for round in 0..rounds {
                let patience = Duration::from_micros((round * step % 30) as u64);
                if (round + step).is_multiple_of(4) {
                    let guard = match round % 8 {
                        0..4 => lock.write().ok(),
                        _ => lock.write_timeout(patience).ok(),
                    };
                    if let Some(mut pair) = guard {
                        pair[0] += 1;
                        thread::yield_now();
                        pair[1] += 1;
                        written += 1;
                    }
                } else if let Ok(pair) = lock.read_timeout(patience) {
                    let first = pair[0];
                    thread::yield_now();
                    assert_eq!(first, pair[1]);
                }
            }
            written
        }
    };
    let light: Vec<_> = (1..6).map(|n| on(&rt, visit(lock.clone(), n))).collect();
    let kernel: Vec<_> = (6..8)
        .map(|n| std::thread::spawn(visit(lock.clone(), n)))
        .collect();
    let light = light.into_iter().map(|thread| thread.join().unwrap());
    let kernel = kernel.into_iter().map(|thread| thread.join().unwrap());
    let written: usize = light.chain(kernel).sum();
    assert_eq!(*lock.try_read().unwrap(), [written, written]);
    end(rt);
}

#[test]
fn fair_readers_and_writers_in_a_storm() {
    storm::<Fair>();
}

#[test]
fn preferred_readers_in_a_storm() {
    storm::<PreferReaders>();
}

#[test]
fn preferred_writers_in_a_storm() {
    storm::<PreferWriters>();
}

/// A reader that waits beside somebody else comes in when only readers are inside: beside a writer
/// that was woken and has to wait again; or, with `downgrades`, beside one who waits to be the
/// upgradable reader, which the writer inside becomes.
fn a_reader_that_waits_beside_others_comes_in(downgrades: bool) {
    let _dog = watchdog();
    // One LWP, that nobody takes: what is ready runs when this thread lets it.
    let builder = Runtime::builder().lwps(1).time_slice(None);
    let rt = builder.upcalls(Source::Off).build().unwrap();
    let lock = Arc::new(RwLock::<u8, PreferReaders>::with_policy(0));
    let test = on(&rt, move || {
        let mut inside = lock.write().unwrap();
        let same = lock.clone();
        let waits = child(move || match downgrades {
            true => drop(same.upgradable_read().unwrap()),
            false => drop(same.write().unwrap()),
        });
        yield_until_waiting(waits.thread(), if downgrades { READ } else { WRITE });
        if !downgrades {
            // The writer is woken, but not there yet.
            drop(inside);
            inside = lock.try_write().unwrap();
        }
        let (same, waiting) = (lock.clone(), Arc::new(Mutex::new(None)));
        let told = waiting.clone();
        let reader = std::thread::spawn(move || {
            *told.lock().unwrap() = Some(thread::current());
            drop(same.read().unwrap());
        });
        let is_waiting = |thread: &thread::Thread| waits_for(thread, READ);
        while !waiting.lock().unwrap().as_ref().is_some_and(is_waiting) {
            core::hint::spin_loop();
        }
        if downgrades {
            let _inside = RwLockWriteGuard::downgrade_to_upgradable(inside);
            lisle::blocking(|| reader.join()).unwrap();
        } else {
            drop(inside);
            let _beside = lock.read().unwrap();
            yield_until_waiting(waits.thread(), WRITE);
            lisle::blocking(|| reader.join()).unwrap();
        }
        waits.join().unwrap();
    });
    test.join().unwrap();
    end(rt);
}

#[test]
fn a_preferred_reader_waits_for_no_writer_that_waits_again() {
    a_reader_that_waits_beside_others_comes_in(false);
}

#[test]
fn a_preferred_reader_does_not_wait_behind_an_upgradable_one() {
    a_reader_that_waits_beside_others_comes_in(true);
}
