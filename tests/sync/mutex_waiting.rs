//! Waiting for a mutex: order, hand-off, and no cancellation point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lisle::cancel;
use lisle::sync::Mutex;
use lisle::thread;

use super::support::{Log, child, end, on, runtime, until_waiting, watchdog};
use super::{is_cancelled, under_seeds, waits_for};

#[test]
fn waiters_get_it_first_come_first_served() {
    let _dog = watchdog();
    let rt = runtime(2);
    let mutex = Arc::new(Mutex::new(()));
    let log = Log::new();
    let guard = mutex.lock().unwrap();
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (mutex, log) = (mutex.clone(), log.clone());
            let thread = on(&rt, move || {
                let guard = mutex.lock().unwrap();
                log.note(number);
                drop(guard);
            });
            until_waiting(thread.thread(), "mutex");
            thread
        })
        .collect();
    drop(guard);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(log.take(), [0, 1, 2, 3, 4, 5, 6, 7]);
    end(rt);
}

#[test]
fn locking_is_no_cancellation_point() {
    let _dog = watchdog();
    let rt = runtime(2);
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.lock().unwrap();
    let same = mutex.clone();
    let waiter = on(&rt, move || {
        *same.lock().unwrap() = 1;
        cancel::checkpoint();
        *same.lock().unwrap() = 2;
    });
    until_waiting(waiter.thread(), "mutex");
    waiter.thread().cancel();
    assert!(waits_for(waiter.thread(), "mutex"));
    drop(guard);
    assert!(is_cancelled(waiter.join()));
    assert_eq!(*mutex.lock().unwrap(), 1);
    end(rt);
}

#[test]
fn a_kernel_thread_waits_for_a_light_one_and_the_other_way_round() {
    let _dog = watchdog();
    let rt = runtime(1);
    let mutex = Arc::new(Mutex::new(0));
    let same = mutex.clone();
    let light = on(&rt, move || {
        let mut guard = same.lock().unwrap();
        thread::park();
        *guard = 1;
    });
    until_waiting(light.thread(), "park");
    let same = mutex.clone();
    let kernel = std::thread::spawn(move || *same.lock().unwrap());
    light.thread().unpark();
    assert_eq!(kernel.join().unwrap(), 1);
    light.join().unwrap();

    let guard = mutex.lock().unwrap();
    let same = mutex.clone();
    let light = on(&rt, move || *same.lock().unwrap());
    until_waiting(light.thread(), "mutex");
    drop(guard);
    assert_eq!(light.join().unwrap(), 1);
    end(rt);
}

#[test]
fn one_inside_at_a_time_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let shared = Arc::new((Mutex::new(0), AtomicBool::new(false)));
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let shared = shared.clone();
                child(move || {
                    for _ in 0..4 {
                        let (mutex, inside) = &*shared;
                        let mut guard = if number == 0 {
                            match mutex.try_lock() {
                                Ok(guard) => guard,
                                Err(_) => mutex.lock().unwrap(),
                            }
                        } else {
                            mutex.lock().unwrap()
                        };
                        assert!(!inside.swap(true, Ordering::Relaxed));
                        let seen = *guard;
                        thread::yield_now();
                        *guard = seen + 1;
                        inside.store(false, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*shared.0.lock().unwrap(), 16);
    });
}
