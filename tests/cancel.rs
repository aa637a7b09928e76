//! Cancellation: where it is delivered, where it is masked, and what is left
//! afterwards.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::cancel::{self, Cancelled};
use lisle::net::{TcpListener, TcpStream};
use lisle::thread::{self, JoinHandle};

use support::{
    Log, child, end, in_child, many, on, runtime, stderr, until, until_state, until_waiting,
    watchdog,
};

const LONG: Duration = Duration::from_secs(1 << 30);

fn is_cancelled<T>(outcome: std::thread::Result<T>) -> bool {
    outcome.is_err_and(|payload| payload.is::<Cancelled>())
}

/// Catches an unwinding; a leaf, because it looks at the panic count.
#[inline(never)]
fn cancelled_in(f: impl FnOnce()) -> bool {
    is_cancelled(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)))
}

/// Cancels a thread once it waits for this reason.
fn cancel_waiting<T>(thread: JoinHandle<T>, reason: &str) {
    until_waiting(thread.thread(), reason);
    thread.thread().cancel();
    assert!(is_cancelled(thread.join()), "{reason}");
}

#[test]
fn it_is_delivered_at_every_call_that_waits() {
    let _dog = watchdog();
    let rt = runtime(2);
    cancel_waiting(on(&rt, thread::park), "park");
    cancel_waiting(on(&rt, || thread::park_timeout(LONG)), "park");
    cancel_waiting(on(&rt, || thread::sleep(LONG)), "sleep");
    let parked = on(&rt, thread::park);
    let target = parked.thread().clone();
    cancel_waiting(on(&rt, move || parked.join()), "join of thread");
    // The joined thread is detached, not cancelled.
    assert!(!target.info().to_string().contains("terminated"));
    target.unpark();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = TcpStream::connect(address).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    cancel_waiting(
        on(&rt, move || listener.accept().map(drop)),
        "readable descriptor",
    );
    let read = move || stream.read(&mut [0; 8]);
    cancel_waiting(on(&rt, read), "readable descriptor");
    drop(peer);
    end(rt);
}

#[test]
fn a_cancel_before_the_wait_is_delivered_there() {
    let _dog = watchdog();
    let rt = runtime(1);
    let waits: [fn(); 4] = [
        thread::park,
        || thread::sleep(LONG),
        || thread::sleep(Duration::from_nanos(1)),
        // Cancelled before a token is looked for.
        || {
            thread::current().unpark();
            thread::park();
        },
    ];
    for wait in waits {
        let thread = on(&rt, move || {
            thread::current().cancel();
            thread::yield_now();
            wait();
        });
        assert!(is_cancelled(thread.join()));
    }
    end(rt);
}

/// The thread has not started; its first wait ends it.
#[test]
fn a_thread_is_cancelled_before_it_starts() {
    let _dog = watchdog();
    let rt = runtime(1);
    let log = Log::new();
    let noted = log.clone();
    let boss = on(&rt, move || {
        let late = child(move || {
            noted.note("started");
            thread::park();
            noted.note("went on");
        });
        late.thread().cancel();
        late.join().is_err()
    });
    assert!(boss.join().unwrap());
    assert_eq!(log.take(), ["started"]);
    end(rt);
}

#[test]
fn yielding_and_spawning_are_no_cancellation_points() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = on(&rt, || {
        thread::current().cancel();
        for _ in 0..100 {
            thread::yield_now();
        }
        let other = child(|| 7);
        while !other.is_finished() {
            thread::yield_now();
        }
        // Joining what has ended does not wait.
        other.join().unwrap()
    });
    assert_eq!(thread.join().unwrap(), 7);
    end(rt);
}

#[test]
fn a_shield_masks_it() {
    let _dog = watchdog();
    let rt = runtime(1);
    let log = Log::new();
    let noted = log.clone();
    let thread = on(&rt, move || {
        cancel::shield(|| {
            cancel::shield(thread::park);
            noted.note("inner");
            thread::sleep(Duration::from_micros(1));
            cancel::checkpoint();
            noted.note("outer");
            assert!(cancel::is_cancelled());
        });
        noted.note("unmasked");
        thread::sleep(Duration::from_micros(1));
        noted.note("never");
    });
    until_waiting(thread.thread(), "park");
    thread.thread().cancel();
    // It goes on waiting.
    on(&rt, thread::yield_now).join().unwrap();
    assert_eq!(log.len(), 0);
    thread.thread().unpark();
    assert!(is_cancelled(thread.join()));
    assert_eq!(log.take(), ["inner", "outer", "unmasked"]);
    end(rt);
}

#[test]
fn a_shield_is_lowered_by_unwinding() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = on(&rt, || {
        assert!(cancelled_in(|| cancel::shield(|| cancel::deliver())));
        thread::current().cancel();
        cancel::checkpoint();
    });
    assert!(is_cancelled(thread.join()));
    end(rt);
}

/// Runs a function when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Destructors run; what they wait for is not interrupted by the cancel.
#[test]
fn it_is_masked_while_unwinding() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let log = Log::new();
        let noted = log.clone();
        let thread = on(&rt, move || {
            let _outer = OnDrop(|| noted.note("outer"));
            let _inner = OnDrop(|| {
                thread::sleep(Duration::from_micros(1));
                noted.note("slept");
                thread::park();
                cancel::checkpoint();
                child(thread::yield_now).join().unwrap();
                noted.note("inner");
            });
            thread::sleep(LONG);
        });
        until_waiting(thread.thread(), "sleep");
        thread.thread().cancel();
        thread.thread().cancel();
        until_waiting(thread.thread(), "park");
        thread.thread().unpark();
        assert!(is_cancelled(thread.join()));
        assert_eq!(log.take(), ["slept", "inner", "outer"]);
        end(rt);
    }
}

#[test]
fn it_is_sticky() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = on(&rt, || {
        thread::current().cancel();
        let waits: [fn(); 4] = [
            thread::park,
            || thread::sleep(LONG),
            cancel::checkpoint,
            || child(thread::yield_now).join().unwrap(),
        ];
        waits.into_iter().filter(|wait| cancelled_in(wait)).count()
    });
    assert_eq!(thread.join().unwrap(), 4);
    end(rt);
}

#[test]
fn checkpoints_end_loops_that_never_wait() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = rounds.clone();
    let spinner = on(&rt, move || {
        assert!(!cancel::is_cancelled());
        loop {
            cancel::checkpoint();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    until(|| rounds.load(Ordering::Relaxed) > 100);
    spinner.thread().cancel();
    assert!(is_cancelled::<()>(spinner.join()));
    let watcher = on(&rt, || {
        let mut rounds = 0u64;
        while !cancel::is_cancelled() {
            rounds += 1;
        }
        rounds
    });
    watcher.thread().cancel();
    watcher.join().unwrap();
    end(rt);
}

#[test]
fn a_suspended_thread_is_cancelled_when_it_goes_on() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = on(&rt, thread::park);
    until_waiting(thread.thread(), "park");
    thread.thread().suspend();
    thread.thread().cancel();
    until_state(thread.thread(), thread::State::Suspended);
    assert!(!thread.is_finished());
    thread.thread().resume();
    assert!(is_cancelled(thread.join()));
    end(rt);
}

/// A kernel thread from outside can be cancelled too: it unwinds.
#[test]
fn a_plain_kernel_thread_is_cancelled() {
    let _dog = watchdog();
    let log = Log::new();
    let noted = log.clone();
    let outside = std::thread::spawn(move || {
        noted.note(thread::current());
        thread::sleep(LONG);
    });
    until(|| log.len() == 1);
    let thread = log.take().remove(0);
    until_waiting(&thread, "sleep");
    thread.cancel();
    assert!(is_cancelled(outside.join()));
}

#[test]
fn a_cancel_races_with_a_wake_and_a_deadline() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (mut cancelled, mut woken) = (0, 0);
    for round in 0..many(2000) {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        let thread = on(&rt, move || {
            let _flag = OnDrop(|| flag.store(true, Ordering::Relaxed));
            thread::park_timeout(Duration::from_micros(round as u64 % 40));
        });
        let target = thread.thread().clone();
        let waker = on(&rt, move || target.unpark());
        thread.thread().cancel();
        match thread.join() {
            Ok(()) => woken += 1,
            Err(payload) => {
                assert!(payload.is::<Cancelled>());
                cancelled += 1;
            }
        }
        assert!(ended.load(Ordering::Relaxed));
        waker.join().unwrap();
    }
    assert_eq!(woken + cancelled, many(2000));
    assert!(cancelled > 0);
    end(rt);
}

#[test]
fn cancelling_a_thread_that_has_ended_does_nothing() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = on(&rt, || 3);
    let target = thread.thread().clone();
    until(|| thread.is_finished());
    target.cancel();
    assert_eq!(thread.join().unwrap(), 3);
    target.cancel();
    // Whoever got its control block is not meant.
    let others: Vec<_> = (0..100).map(|_| on(&rt, cancel::is_cancelled)).collect();
    assert!(others.into_iter().all(|other| !other.join().unwrap()));
    end(rt);
}

#[test]
fn it_prints_nothing() {
    let _dog = watchdog();
    let output = in_child("it_prints_nothing", &[], || {
        let rt = runtime(2);
        for wait in [thread::park as fn(), || thread::sleep(LONG)] {
            let thread = on(&rt, wait);
            until(|| thread.thread().info().to_string().contains("waiting"));
            thread.thread().cancel();
            assert!(is_cancelled(thread.join()));
        }
        end(rt);
    });
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stderr(&output), "");
}
