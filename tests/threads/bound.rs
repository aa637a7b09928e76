//! Bound threads: a kernel thread of their own, lisle's in every other respect.
#![allow(clippy::disallowed_macros)] // a bound thread's own thread-locals

use std::cell::Cell;
use std::time::Duration;

use lisle::cancel::Cancelled;
use lisle::thread::{self, Builder, JoinHandle};

use super::local::kernel_thread;
use crate::support::{child, message, on, runtime, until_waiting, watchdog};

fn bound<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().bound().spawn(f).unwrap()
}

#[test]
fn spawn_join_and_panic() {
    let _dog = watchdog();
    assert_eq!(bound(|| 6 * 7).join().unwrap(), 42);
    let panicked = bound(|| panic!("bound")).join();
    assert_eq!(message(&*panicked.unwrap_err()), "bound");
}

#[test]
fn it_has_a_name_a_number_a_parent_and_an_entry_in_the_list() {
    let _dog = watchdog();
    let named = Builder::new().bound().name("gaston".into());
    let named = named.spawn(|| {
        thread::park();
        let std_name = std::thread::current().name().map(str::to_owned);
        (thread::current().id(), std_name)
    });
    let named = named.unwrap();
    until_waiting(named.thread(), "park");
    let info = named.thread().info();
    assert!(info.bound);
    assert_eq!(info.name.as_deref(), Some("gaston"));
    assert_eq!(info.parent, Some(thread::current().id()));
    assert!(thread::list().iter().any(|t| t.id == info.id));
    named.thread().unpark();
    let (id, std_name) = named.join().unwrap();
    assert_eq!((id, std_name.as_deref()), (info.id, Some("gaston")));
}

#[test]
fn it_keeps_its_kernel_thread_and_thread_locals() {
    thread_local!(static OWN: Cell<u32> = const { Cell::new(0) });
    let _dog = watchdog();
    let rt = runtime(2);
    let body = |n: u32| {
        move || {
            let (fresh, start) = (OWN.get(), kernel_thread());
            OWN.set(n);
            let mut stayed = true;
            for round in 0..20 {
                match round % 4 {
                    0 => thread::yield_now(),
                    1 => thread::park_timeout(Duration::from_micros(10)),
                    2 => thread::sleep(Duration::from_micros(10)),
                    _ => child(thread::yield_now).join().unwrap(),
                }
                stayed &= kernel_thread() == start;
            }
            (fresh, OWN.get(), stayed)
        }
    };
    let threads: Vec<_> = (1..10).map(|n| bound(body(n))).collect();
    for (n, thread) in (1..10).zip(threads) {
        assert_eq!(thread.join().unwrap(), (0, n, true));
    }
    crate::support::end(rt);
}

#[test]
fn it_parks_and_is_unparked_like_any_thread() {
    let _dog = watchdog();
    let rt = runtime(1);
    const ROUNDS: usize = 2000;
    let first = bound(|| (0..ROUNDS).for_each(|_| thread::park()));
    let target = first.thread().clone();
    let partner = on(&rt, move || {
        while !first.is_finished() {
            target.unpark();
            thread::yield_now();
        }
        first.join().is_ok()
    });
    assert!(partner.join().unwrap());
    crate::support::end(rt);
}

#[test]
fn it_is_cancelled_like_any_thread() {
    let _dog = watchdog();
    let body: [(&str, fn()); 2] = [
        ("park", thread::park),
        ("sleep", || thread::sleep(Duration::from_secs(1 << 30))),
    ];
    for (reason, wait) in body {
        let thread = bound(wait);
        until_waiting(thread.thread(), reason);
        thread.thread().cancel();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
    }
}

#[test]
fn its_result_is_dropped_once_whoever_comes_last() {
    let _dog = watchdog();
    let result = std::sync::Arc::new(());
    for n in 0..200 {
        let copy = result.clone();
        let handle = bound(move || {
            if n % 2 == 0 {
                thread::yield_now();
            }
            copy
        });
        match n % 3 {
            0 => drop(handle),
            1 => drop(handle.join()),
            _ => {
                crate::support::until(|| handle.is_finished());
                drop(handle);
            }
        }
    }
    crate::support::until(|| std::sync::Arc::strong_count(&result) == 1);
}

#[test]
fn run_makes_the_caller_the_main_thread() {
    let _dog = watchdog();
    let start = kernel_thread();
    let sum = lisle::run(|| {
        assert_eq!(kernel_thread(), start);
        let me = thread::current().id();
        let parts: Vec<_> = (0..10u64)
            .map(|n| child(move || (thread::current().info().parent, n)))
            .collect();
        let parts = parts.into_iter().map(|part| part.join().unwrap());
        parts
            .map(|(parent, n)| {
                assert_eq!(parent, Some(me));
                n
            })
            .sum::<u64>()
    });
    assert_eq!(sum, 45);
}
