//! What a forked child finds: the old runtime is dead, a new one starts.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "fork/stalling.rs"]
mod stalling;
mod support;

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lisle::thread::{self, Builder, ForkedError};
use lisle::{Runtime, lwp};

use support::{child, end, many, message, on, runtime, say, until, until_waiting, watchdog};

/// One fork at a time; the other tests' threads are what is left behind.
fn exclusive() -> MutexGuard<'static, ()> {
    static FORKING: Mutex<()> = Mutex::new(());
    FORKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forks; the child does `checks` and ends, the parent says how.
#[inline(never)]
fn forked(checks: impl FnOnce()) -> i32 {
    // SAFETY: the child uses only what is meant to work there, and ends.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid > 0 {
        let mut status = 0;
        // SAFETY: plain system call with a valid place.
        let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
        assert_eq!(waited, pid);
        return status;
    }
    // No thread of the parent's watches here.
    // SAFETY: plain system calls.
    unsafe { libc::alarm(if support::emulated() { 300 } else { 30 }) };
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(checks));
    if let Err(payload) = &outcome {
        say(&format!("in the forked child: {}\n", message(&**payload)));
    }
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(i32::from(outcome.is_err())) }
}

/// Everything works on new threads.
fn the_default_runtime_works() {
    let sum = child(|| {
        let threads: Vec<_> = (0..100u64)
            .map(|n| {
                child(move || {
                    thread::sleep(Duration::from_millis(1));
                    thread::yield_now();
                    n
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum.join().unwrap(), 4950);
    let large = support::spawn(Builder::new().stack_size(1 << 20), || 6);
    assert_eq!(large.join().unwrap(), 6);
    assert!(!lwp::list().unwrap().is_empty());
    let own = runtime(1);
    assert!(own.is_alive());
    assert_eq!(on(&own, || 9).join().unwrap(), 9);
    end(own);
}

/// The caller waits like any kernel thread.
fn waiting_works() {
    thread::sleep(Duration::from_millis(1));
    thread::park_timeout(Duration::from_millis(1));
    thread::current().unpark();
    thread::park();
    thread::yield_now();
}

#[test]
fn a_child_of_a_kernel_thread() {
    let _fork = exclusive();
    let _dog = watchdog();
    let rt = runtime(2);
    let parked = on(&rt, || {
        thread::park();
        5
    });
    let finished = on(&rt, || Box::new(6));
    let dropped = on(&rt, thread::park);
    until_waiting(parked.thread(), "park");
    until(|| finished.is_finished());
    // The default runtime runs too.
    child(|| ()).join().unwrap();
    let handles = Mutex::new(Some((parked, finished, dropped)));
    let late = rt.clone();
    let status = forked(|| {
        let (parked, finished, dropped) = handles.lock().unwrap().take().unwrap();
        let old = parked.thread().clone();
        assert!(parked.join().unwrap_err().is::<ForkedError>());
        assert!(finished.join().unwrap_err().is::<ForkedError>());
        drop(dropped);
        old.unpark();
        old.cancel();
        assert!(!late.is_alive());
        // SAFETY: the closure touches no thread-local.
        let refused = unsafe { Builder::new().on(&late).spawn_light(|| ()) };
        assert!(refused.is_err());
        late.shutdown(Duration::ZERO).unwrap();
        let known = thread::list();
        assert_eq!(known.len(), 1, "{known:?}");
        assert_eq!(known[0].id, thread::current().id());
        waiting_works();
        the_default_runtime_works();
    });
    assert_eq!(status, 0);
    // Nothing of it concerns the parent.
    assert!(rt.is_alive());
    let (parked, finished, dropped) = handles.lock().unwrap().take().unwrap();
    for thread in [parked.thread(), dropped.thread()] {
        thread.unpark();
    }
    assert_eq!(parked.join().unwrap(), 5);
    assert_eq!(*finished.join().unwrap(), 6);
    dropped.join().unwrap();
    end(rt);
}

#[test]
fn a_child_of_a_light_thread() {
    let _fork = exclusive();
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let sibling = on(&rt, thread::park);
        until_waiting(sibling.thread(), "park");
        let forking = on(&rt, || {
            forked(|| {
                assert!(thread::current().info().bound);
                waiting_works();
                the_default_runtime_works();
            })
        });
        assert_eq!(forking.join().unwrap(), 0);
        sibling.thread().unpark();
        sibling.join().unwrap();
        end(rt);
    }
}

/// In the child the light thread is the whole process: it ends with it.
#[test]
fn a_light_thread_that_returns_in_the_child_ends_it() {
    let _fork = exclusive();
    let _dog = watchdog();
    let rt = runtime(1);
    let forking = on(&rt, || {
        // SAFETY: the child returns at once.
        unsafe { libc::fork() }
    });
    // Only the parent comes here.
    let pid = forking.join().unwrap();
    let mut status = -1;
    // SAFETY: plain system call with a valid place.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0);
    end(rt);
}

#[test]
fn a_grandchild() {
    let _fork = exclusive();
    let _dog = watchdog();
    let status = forked(|| {
        child(|| ()).join().unwrap();
        let left = child(thread::park);
        until_waiting(left.thread(), "park");
        let mut left = Some(left);
        let status = forked(|| {
            let left = left.take().unwrap();
            assert!(left.join().unwrap_err().is::<ForkedError>());
            waiting_works();
            the_default_runtime_works();
        });
        assert_eq!(status, 0);
        let left = left.take().unwrap();
        left.thread().unpark();
        left.join().unwrap();
    });
    assert_eq!(status, 0);
}

/// Forks while other threads spawn, join, sleep and use sockets: the pools come
/// through whole.
#[test]
fn children_of_a_busy_process() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let _fork = exclusive();
    let _dog = watchdog();
    let rt = runtime(2);
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..4)
        .map(|n| {
            let stop = stop.clone();
            on(&rt, move || {
                while !stop.load(Ordering::Relaxed) {
                    let builder = Builder::new().stack_size(1 << (16 + n));
                    support::spawn(builder, thread::yield_now).join().unwrap();
                    if n == 0 {
                        drop(lisle::net::TcpListener::bind("127.0.0.1:0").unwrap());
                    }
                }
            })
        })
        .collect();
    for _ in 0..many(50) {
        let status = forked(|| {
            waiting_works();
            child(|| thread::sleep(Duration::from_micros(10)))
                .join()
                .unwrap();
            drop(lisle::net::TcpListener::bind("127.0.0.1:0").unwrap());
        });
        assert_eq!(status, 0);
    }
    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|b| b.join().unwrap());
    end(rt);
}

#[test]
fn a_runtime_handle_is_dropped_in_the_child() {
    let _fork = exclusive();
    let _dog = watchdog();
    let rt = Mutex::new(Some(runtime(2)));
    let status = forked(|| {
        let old: Runtime = rt.lock().unwrap().take().unwrap();
        drop(old);
        the_default_runtime_works();
    });
    assert_eq!(status, 0);
    end(rt.into_inner().unwrap().unwrap());
}
