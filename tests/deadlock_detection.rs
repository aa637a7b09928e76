//! With the feature `deadlock_detection`, the holders of mutexes and of readers-writer locks are known.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::sync::Arc;

use lisle::debug::{Deadlock, deadlock};
use lisle::sync::parking_lot;
use lisle::sync::{Barrier, Condvar, Mutex, RwLock};
use lisle::thread::{self, Builder, JoinHandle};
use support::{alone, runtime, until, until_waiting, watchdog};

type Body = Box<dyn FnOnce(&Barrier) + Send>;

/// Two threads that run these, meeting in between.
fn two(rt: &lisle::Runtime, bodies: [Body; 2]) -> [JoinHandle<()>; 2] {
    let both = Arc::new(Barrier::new(2));
    bodies.map(|body| {
        let both = both.clone();
        Builder::new().on(rt).spawn(move || body(&both)).unwrap()
    })
}

fn cycle_of(threads: &[JoinHandle<()>]) -> Deadlock {
    until(|| deadlock().is_some_and(|found| !found.cycle.is_empty()));
    let found = deadlock().unwrap();
    let mut cycle: Vec<_> = found.cycle.iter().map(|thread| thread.id).collect();
    cycle.sort();
    let ids: Vec<_> = threads.iter().map(|thread| thread.thread().id()).collect();
    assert_eq!(cycle, ids, "{found}");
    found
}

#[test]
fn a_mutex_held_crosswise_is_a_cycle() {
    alone("a_mutex_held_crosswise_is_a_cycle", || {
        let _watchdog = watchdog();
        let rt = runtime(2);
        let locks = [(); 2].map(|()| Arc::new(Mutex::new(())));
        let [a, b] = locks.clone();
        let [c, d] = locks;
        let threads = two(
            &rt,
            [
                Box::new(move |both| {
                    let _own = a.lock().unwrap();
                    both.wait();
                    drop(b.lock_cancellable());
                }),
                Box::new(move |both| {
                    let _own = d.try_lock().unwrap();
                    both.wait();
                    drop(c.lock_cancellable());
                }),
            ],
        );
        let found = cycle_of(&threads);
        assert!(found.to_string().contains("mutex"));
        threads[0].thread().cancel();
        threads.into_iter().for_each(|thread| drop(thread.join()));
        assert!(deadlock().is_none());
    });
}

#[test]
fn writers_of_a_readers_writer_lock_are_known() {
    alone("writers_of_a_readers_writer_lock_are_known", || {
        let _watchdog = watchdog();
        let rt = runtime(2);
        let (shared, mutex) = (
            Arc::new(RwLock::new(())),
            Arc::new(parking_lot::Mutex::new(())),
        );
        let (shared_too, mutex_too) = (shared.clone(), mutex.clone());
        let threads = two(
            &rt,
            [
                Box::new(move |both| {
                    let _own = shared.write().unwrap();
                    both.wait();
                    drop(mutex.lock());
                }),
                Box::new(move |both| {
                    let _own = mutex_too.lock();
                    both.wait();
                    drop(shared_too.read_cancellable());
                }),
            ],
        );
        cycle_of(&threads);
        threads[1].thread().cancel();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    });
}

/// Who waits for a condition has left the mutex, and who is back holds it.
#[test]
fn a_mutex_that_was_left_has_no_holder() {
    alone("a_mutex_that_was_left_has_no_holder", || {
        let _watchdog = watchdog();
        let rt = runtime(2);
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let waits = {
            let pair = pair.clone();
            let body = move || {
                let mut ready = pair.0.lock().unwrap();
                while !*ready {
                    ready = pair.1.wait(ready).unwrap();
                }
                thread::park();
            };
            Builder::new().on(&rt).spawn(body).unwrap()
        };
        until_waiting(waits.thread(), "condition variable");
        let mut ready = pair.0.lock().unwrap();
        let contends = {
            let pair = pair.clone();
            let body = move || drop(pair.0.lock().unwrap());
            Builder::new().on(&rt).spawn(body).unwrap()
        };
        until_waiting(contends.thread(), "mutex");
        let holder = || {
            let dump = lisle::dump();
            let mut threads = dump.threads.into_iter();
            let found = threads.find(|found| found.info.id == contends.thread().id());
            found.unwrap().holder.map(|holder| holder.id)
        };
        assert_eq!(holder(), Some(thread::current().id()));
        *ready = true;
        pair.1.notify_one();
        drop(ready);
        // Whichever of the two gets it first.
        until_waiting(waits.thread(), "park");
        waits.thread().unpark();
        contends.join().unwrap();
        waits.join().unwrap();
    });
}
