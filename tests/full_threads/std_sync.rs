//! std's own synchronisation, used by full threads. What blocks in std blocks the
//! LWP, so runtimes here have LWPs to spare.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, RwLock, TryLockError, mpsc};
use std::time::Duration;

use lisle::thread::{self, Builder};

use super::travel::{Trip, joined};
use crate::support::{end, many, runtime, until, watchdog};

#[test]
fn a_mutex_is_held_over_moves_and_excludes() {
    let _dog = watchdog();
    let trip = Trip::new(6);
    let shared = Arc::new(Mutex::new((0usize, false)));
    let counted = trip.all(6, {
        let shared = shared.clone();
        move |_, go| {
            let mut wins = 0;
            for _ in 0..many(100) {
                // Who blocked here would block an LWP that the owner needs.
                match shared.try_lock() {
                    Ok(mut held) => {
                        assert!(!std::mem::replace(&mut held.1, true));
                        go.hop();
                        held.0 += 1;
                        held.1 = false;
                        wins += 1;
                    }
                    Err(TryLockError::WouldBlock) => go.hop(),
                    Err(error) => panic!("{error}"),
                }
            }
            wins
        }
    });
    assert_eq!(shared.lock().unwrap().0, counted.iter().sum::<usize>());
    trip.end();
}

#[test]
fn a_mutex_under_contention() {
    let _dog = watchdog();
    let trip = Trip::new(6);
    let shared = Arc::new(Mutex::new(0usize));
    trip.all(6, {
        let shared = shared.clone();
        move |_, go| {
            for n in 0..many(2000) {
                *shared.lock().unwrap() += 1;
                if n % 50 == 0 {
                    go.hop();
                }
            }
        }
    });
    assert_eq!(*shared.lock().unwrap(), 6 * many(2000));
    trip.end();
}

/// Poisoning asks a thread-local whether the thread unwinds.
#[test]
fn a_mutex_is_poisoned_by_its_owners_panic_only() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    trip.all(4, |who, go| {
        for _ in 0..many(20) {
            let shared = Mutex::new(0);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _held = shared.lock().unwrap();
                go.hop();
                if who % 2 == 0 {
                    std::panic::resume_unwind(Box::new(who));
                }
            }));
            assert_eq!(outcome.is_err(), who % 2 == 0);
            go.hop();
            assert_eq!(shared.is_poisoned(), who % 2 == 0);
        }
    });
    trip.end();
}

#[test]
fn a_condition_variable() {
    let _dog = watchdog();
    const WAITERS: usize = 3;
    let trip = Trip::with_blocked(1, WAITERS);
    let shared = Arc::new((Mutex::new(0usize), Condvar::new(), Condvar::new()));
    let waiters: Vec<_> = (0..WAITERS)
        .map(|who| {
            let shared = shared.clone();
            let body = move || {
                let (count, changed, seen) = &*shared;
                for round in 0..many(50) {
                    let mut count = count.lock().unwrap();
                    // Rounds of this waiter: WAITERS * round + who.
                    while *count != WAITERS * round + who {
                        count = changed.wait(count).unwrap();
                    }
                    *count += 1;
                    changed.notify_all();
                    seen.notify_all();
                }
            };
            Builder::new().on(trip.runtime()).spawn(body).unwrap()
        })
        .collect();
    let watcher = trip.spawn({
        let shared = shared.clone();
        move |go| {
            let (count, _, seen) = &*shared;
            let mut looks = 0;
            loop {
                let count = count.lock().unwrap();
                let soon = Duration::from_millis(1);
                let (count, _) = seen.wait_timeout(count, soon).unwrap();
                let over = *count == WAITERS * many(50);
                drop(count);
                go.hop();
                looks += 1;
                if over {
                    return looks;
                }
            }
        }
    });
    joined(waiters);
    assert!(watcher.join().unwrap() > 0);
    assert_eq!(*shared.0.lock().unwrap(), WAITERS * many(50));
    trip.end();
}

#[test]
fn channels_of_std() {
    let _dog = watchdog();
    let trip = Trip::with_blocked(3, 2);
    let (sender, receiver) = mpsc::channel();
    let (bounded, results) = mpsc::sync_channel(1);
    let n = many(500);
    let senders: Vec<_> = (0..2)
        .map(|side| {
            let sender = sender.clone();
            trip.spawn(move |go| {
                for value in 0..n {
                    sender.send(2 * value + side).unwrap();
                    if value % 10 == 0 {
                        go.hop();
                    }
                }
            })
        })
        .collect();
    drop(sender);
    // These two block their LWPs.
    let relay = Builder::new().on(trip.runtime()).spawn(move || {
        for value in receiver {
            bounded.send(value + 1).unwrap();
        }
    });
    let sum = Builder::new()
        .on(trip.runtime())
        .spawn(move || results.iter().sum::<usize>());
    joined(senders);
    relay.unwrap().join().unwrap();
    assert_eq!(sum.unwrap().join().unwrap(), (1..=2 * n).sum::<usize>());
    trip.end();
}

/// std parks by a word that belongs to `std::thread::current()`.
#[test]
fn parking_by_std() {
    let _dog = watchdog();
    let trip = Trip::with_blocked(1, 1);
    let rounds = many(200);
    let (tell, told) = mpsc::channel();
    let count = Arc::new(AtomicUsize::new(0));
    let parked = trip.spawn({
        let count = count.clone();
        move |go| {
            tell.send(std::thread::current()).unwrap();
            for round in 0..rounds {
                while count.load(Ordering::SeqCst) == 2 * round {
                    std::thread::park();
                }
                go.hop();
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let target = told.recv().unwrap();
    for round in 0..rounds {
        until(|| count.load(Ordering::SeqCst) == 2 * round);
        count.fetch_add(1, Ordering::SeqCst);
        target.unpark();
    }
    parked.join().unwrap();
    trip.end();
}

#[test]
fn once_lazy_barrier_and_read_write_lock() {
    static ONCE: Once = Once::new();
    static LAZY: LazyLock<usize> = LazyLock::new(|| STARTED.fetch_add(1, Ordering::SeqCst));
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let _dog = watchdog();
    const THREADS: usize = 4;
    let trip = Trip::new(THREADS);
    let table = Arc::new(RwLock::new(vec![0usize; THREADS]));
    // All that wait in it block their LWPs, of which there is one more.
    let barrier = Arc::new(Barrier::new(THREADS));
    let leaders = trip.all(THREADS, {
        let table = table.clone();
        move |who, go| {
            let mut leaders = 0;
            go.hop();
            ONCE.call_once(|| {
                STARTED.fetch_add(10, Ordering::SeqCst);
            });
            assert!(*LAZY <= 10);
            for _ in 0..many(20) {
                leaders += usize::from(barrier.wait().is_leader());
                table.write().unwrap()[who] += 1;
                barrier.wait();
                let (least, most) = {
                    let rows = table.read().unwrap();
                    let most = rows.iter().max().copied();
                    (rows.iter().min().copied(), most)
                };
                assert_eq!(least, most);
                barrier.wait();
            }
            go.hop();
            leaders
        }
    });
    assert_eq!(leaders.iter().sum::<usize>(), many(20));
    assert_eq!(STARTED.load(Ordering::SeqCst), 11);
    trip.end();
}

/// Threads of std and of lisle make each other.
#[test]
fn threads_of_std_inside_full_threads_and_back() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    trip.all(4, |who, go| {
        for n in 0..many(10) {
            let rounds = who * 100 + n;
            let kernel = std::thread::Builder::new().name("kernel".into());
            let kernel = kernel.spawn(move || {
                let inner = thread::spawn(move || rounds + 1).join().unwrap();
                (std::thread::current().name().map(str::to_owned), inner)
            });
            let (name, inner) = kernel.unwrap().join().unwrap();
            assert_eq!((name.as_deref(), inner), (Some("kernel"), rounds + 1));
            go.hop();
            let mut parts = [0; 4];
            std::thread::scope(|scope| {
                for part in &mut parts {
                    scope.spawn(move || *part = rounds);
                }
            });
            assert_eq!(parts, [rounds; 4]);
            go.hop();
        }
    });
    trip.end();
}

/// A full thread that blocks in std keeps one LWP, not two.
#[test]
fn who_blocks_in_std_blocks_one_lwp() {
    let _dog = watchdog();
    let rt = runtime(3);
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let blocked: Vec<_> = (0..2)
        .map(|_| {
            let gate = gate.clone();
            let body = move || drop(gate.lock().unwrap());
            Builder::new().on(&rt).spawn(body).unwrap()
        })
        .collect();
    for n in 0..many(100) {
        let free = Builder::new().on(&rt).spawn(move || {
            thread::yield_now();
            n
        });
        assert_eq!(free.unwrap().join().unwrap(), n);
    }
    assert!(blocked.iter().all(|thread| !thread.is_finished()));
    drop(held);
    joined(blocked);
    end(rt);
}
