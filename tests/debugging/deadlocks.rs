//! What is a deadlock and what is not. Each in a process of its own, because all
//! threads of the process count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use lisle::debug::{Watchdog, deadlock};
use lisle::os::unix::net::UnixStream;
use lisle::sync::{Mutex, PriorityMutex, Semaphore};
use lisle::thread::{self, Builder};
use lisle::{cancel, channel};

use crate::support::{alone, on, runtime, until, until_waiting, watchdog};

/// Two threads, each of which holds what the other one wants.
fn embrace(rt: &lisle::Runtime) -> [thread::JoinHandle<()>; 2] {
    let locks = [(); 2].map(|()| Arc::new(PriorityMutex::new(())));
    let both = Arc::new(lisle::sync::Barrier::new(2));
    [(0, "left"), (1, "right")].map(|(index, name)| {
        let (own, other) = (locks[index].clone(), locks[1 - index].clone());
        let both = both.clone();
        let builder = Builder::new().on(rt).name(name.into());
        builder
            .spawn(move || {
                let _own = own.lock().unwrap();
                both.wait();
                drop(other.lock_cancellable());
            })
            .unwrap()
    })
}

#[test]
fn a_cycle_is_named_while_others_go_on() {
    alone("deadlocks::a_cycle_is_named_while_others_go_on", || {
        let _watchdog = watchdog();
        let rt = runtime(2);
        let stop = Arc::new(AtomicBool::new(false));
        let busy = on(&rt, {
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            }
        });
        assert!(deadlock().is_none());
        let threads = embrace(&rt);
        // A third one waits for the two and is in no cycle.
        let ids = threads.each_ref().map(|thread| thread.thread().id());
        let [left, right] = threads;
        let left_thread = left.thread().clone();
        let joins = on(&rt, move || drop(left.join()));
        until(|| deadlock().is_some());
        let found = deadlock().unwrap();
        let mut cycle: Vec<_> = found.cycle.iter().map(|thread| thread.id).collect();
        cycle.sort();
        assert_eq!(cycle, ids);
        assert!(!found.standstill);
        assert_eq!(found.threads.len(), 2);
        let text = found.to_string();
        for part in [
            "2 threads wait for each other",
            "'left'",
            "'right'",
            "priority mutex",
            "embrace",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        // It ends by a cancel.
        left_thread.cancel();
        joins.join().unwrap();
        right.join().unwrap();
        assert!(deadlock().is_none());
        stop.store(true, Ordering::Relaxed);
        busy.join().unwrap();
    });
}

#[test]
fn a_join_of_each_other_is_a_cycle() {
    alone("deadlocks::a_join_of_each_other_is_a_cycle", || {
        let _watchdog = watchdog();
        let rt = runtime(1);
        let (give, get) = channel::bounded(1);
        let first = on(&rt, move || {
            let other: thread::JoinHandle<()> = get.recv().unwrap();
            drop(other.join());
        });
        let first_thread = first.thread().clone();
        let second = on(&rt, move || drop(first.join()));
        until_waiting(second.thread(), "join of thread");
        let second_thread = second.thread().clone();
        give.send(second).unwrap();
        until_waiting(&first_thread, "join of thread");
        let found = deadlock().unwrap();
        assert_eq!(found.cycle.len(), 2);
        assert!(
            found
                .cycle
                .iter()
                .any(|thread| thread.id == second_thread.id())
        );
    });
}

#[test]
fn a_wait_with_a_deadline_is_in_no_cycle() {
    alone("deadlocks::a_wait_with_a_deadline_is_in_no_cycle", || {
        let _watchdog = watchdog();
        let rt = runtime(1);
        let lock = Arc::new(PriorityMutex::new(()));
        let held = lock.clone();
        let (send, receive) = channel::bounded(1);
        let holder = on(&rt, move || {
            let _held = held.lock().unwrap();
            let waiter: thread::JoinHandle<bool> = receive.recv().unwrap();
            drop(waiter.join());
        });
        let waits = on(&rt, move || {
            let deadline = lisle::time::now() + Duration::from_secs(1000);
            lock.lock_deadline(deadline).is_ok()
        });
        until_waiting(waits.thread(), "priority mutex");
        send.send(waits).unwrap();
        until_waiting(holder.thread(), "join of thread");
        assert!(deadlock().is_none());
    });
}

#[test]
fn a_standstill_without_a_cycle_is_found() {
    alone("deadlocks::a_standstill_without_a_cycle_is_found", || {
        let _watchdog = watchdog();
        let rt = runtime(2);
        let semaphore = Arc::new(Semaphore::new(0));
        let waits = {
            let semaphore = semaphore.clone();
            on(&rt, move || semaphore.p())
        };
        let (_sender, receiver) = channel::unbounded::<()>();
        let receives = on(&rt, move || receiver.recv());
        until_waiting(waits.thread(), "semaphore");
        until_waiting(receives.thread(), "receive on channel");
        // The calling thread does not count, but another kernel thread does.
        let (stop, stopped) = mpsc::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let outside = std::thread::spawn(move || {
            let _ = thread::current();
            ready.send(()).unwrap();
            let _ = stopped.recv();
        });
        is_ready.recv().unwrap();
        assert!(deadlock().is_none());
        drop(stop);
        outside.join().unwrap();
        // A kernel thread of the runtime may be on its way out, or in.
        until(|| deadlock().is_some());
        let found = deadlock().unwrap();
        assert!(found.standstill && found.cycle.is_empty());
        assert_eq!(found.threads.len(), 2);
        assert!(found.to_string().contains("all 2 threads wait"));
        semaphore.v();
        waits.join().unwrap();
    });
}

#[test]
fn who_waits_for_time_or_the_kernel_does_not_stand_still() {
    alone(
        "deadlocks::who_waits_for_time_or_the_kernel_does_not_stand_still",
        || {
            let _watchdog = watchdog();
            let rt = runtime(2);
            // Who has been joined may still be on its way out.
            let stands_still = || until(|| deadlock().is_some_and(|found| found.standstill));
            let blocked = on(&rt, || cancel::shield(thread::park));
            until_waiting(blocked.thread(), "park");
            stands_still();
            let sleeps = on(&rt, || thread::sleep(Duration::from_secs(1000)));
            until_waiting(sleeps.thread(), "sleep");
            assert!(deadlock().is_none());
            sleeps.thread().cancel();
            assert!(sleeps.join().is_err());
            stands_still();
            let (here, there) = UnixStream::pair().unwrap();
            let reads = on(&rt, move || {
                std::io::Read::read(&mut &there, &mut [0]).unwrap()
            });
            until_waiting(reads.thread(), "readable descriptor");
            assert!(deadlock().is_none());
            drop(here);
            assert_eq!(reads.join().unwrap(), 0);
            stands_still();
            blocked.thread().unpark();
            blocked.join().unwrap();
            // Nobody is left.
            assert!(deadlock().is_none());
        },
    );
}

#[test]
fn a_watchdog_tells_once_of_each_deadlock() {
    alone("deadlocks::a_watchdog_tells_once_of_each_deadlock", || {
        let _watchdog = watchdog();
        let rt = runtime(2);
        let (tell, told) = mpsc::channel();
        let watching = Watchdog::new()
            .every(Duration::from_millis(1))
            .on_deadlock(move |found| {
                let mut names: Vec<_> = found
                    .cycle
                    .iter()
                    .map(|t| t.name.clone().unwrap())
                    .collect();
                names.sort();
                tell.send(names).unwrap();
                panic!("the watchdog goes on after this");
            })
            .start()
            .unwrap();
        for _ in 0..2 {
            let threads = embrace(&rt);
            assert_eq!(told.recv().unwrap(), ["left", "right"]);
            threads.iter().for_each(|thread| thread.thread().cancel());
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        drop(watching);
        // It ends, and with it its handler.
        until(|| told.try_recv() == Err(mpsc::TryRecvError::Disconnected));
    });
}

/// All of a program waits, and it is the watchdog that says so.
#[test]
fn a_watchdog_tells_of_a_program_that_stands_still() {
    alone(
        "deadlocks::a_watchdog_tells_of_a_program_that_stands_still",
        || {
            let _watchdog = watchdog();
            let rt = runtime(1);
            let mutex = Arc::new(Mutex::new(()));
            let held = mutex.lock().unwrap();
            let waits = Builder::new()
                .on(&rt)
                .name("waits".into())
                .spawn({
                    let mutex = mutex.clone();
                    move || drop(mutex.lock().unwrap())
                })
                .unwrap();
            let _watching = Watchdog::new()
                .every(Duration::from_millis(1))
                .on_deadlock(|found| {
                    let text = found.to_string();
                    assert!(
                        found.standstill && text.contains("'waits': waiting: mutex"),
                        "{text}"
                    );
                    println!("found");
                    std::process::exit(0);
                })
                .start()
                .unwrap();
            let _ = waits.join();
            drop(held);
        },
    );
}
