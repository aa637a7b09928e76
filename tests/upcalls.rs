//! Threads that block in the kernel, or compute on and on, and know nothing of lisle while they do.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "upcalls/foreign.rs"]
mod foreign;
#[path = "upcalls/preempt.rs"]
mod preempt;
mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::{Event, Handler, Kind, Source};
use lisle::{Runtime, blocking};
use support::{end, many, until, watchdog};

fn runtime(lwps: usize, source: Source) -> Runtime {
    let builder = Runtime::builder().lwps(lwps).upcalls(source);
    builder.build().unwrap()
}

fn spawn<T: Send + 'static>(rt: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().on(rt).spawn(f).unwrap()
}

fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which are then owned once.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (
            OwnedFd::from_raw_fd(ends[0]).into(),
            OwnedFd::from_raw_fd(ends[1]).into(),
        )
    }
}

/// With either source, a thread that blocks leaves the only LWP to another one,
/// which alone can end its wait.
#[test]
fn a_blocked_thread_does_not_keep_the_lwp() {
    let _dog = watchdog();
    for source in [Source::Auto, Source::Monitor] {
        let rt = runtime(1, source);
        for _ in 0..many(20) {
            let (mut from, mut to) = pipe();
            let reader = spawn(&rt, move || {
                let mut byte = [0];
                from.read_exact(&mut byte).unwrap();
                byte[0]
            });
            let writer = spawn(&rt, move || to.write_all(&[7]).unwrap());
            assert_eq!(reader.join().unwrap(), 7);
            writer.join().unwrap();
        }
        assert!(rt.upcalls().blocked > 0);
        until(|| rt.upcalls().without_lwp() == 0);
        end(rt);
    }
}

/// Threads on one LWP that wait for each other through std.
#[test]
fn std_locks_do_not_deadlock() {
    let _dog = watchdog();
    let rt = runtime(1, Source::Auto);
    let pair = Arc::new((std::sync::Mutex::new(0), std::sync::Condvar::new()));
    let threads: Vec<_> = (0..4)
        .map(|who| {
            let pair = pair.clone();
            spawn(&rt, move || {
                for round in 0..many(20) {
                    let mut turn = pair.0.lock().unwrap();
                    while *turn != 4 * round + who {
                        turn = pair.1.wait(turn).unwrap();
                    }
                    *turn += 1;
                    pair.1.notify_all();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(*pair.0.lock().unwrap(), 4 * many(20));
    end(rt);
}

/// A thread that computes for ever is preempted; the others go on.
#[test]
fn a_hog_does_not_keep_the_lwp() {
    let _dog = watchdog();
    for source in [Source::Auto, Source::Monitor] {
        let rt = runtime(1, source);
        let (stop, running) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let hog = spawn(&rt, {
            let (stop, running) = (stop.clone(), running.clone());
            move || {
                running.store(true, Ordering::SeqCst);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        });
        until(|| running.load(Ordering::SeqCst));
        for n in 0..10 {
            assert_eq!(spawn(&rt, move || n).join().unwrap(), n);
        }
        assert!(rt.upcalls().preempted > 0);
        stop.store(true, Ordering::Relaxed);
        hog.join().unwrap();
        until(|| rt.upcalls().without_lwp() == 0);
        end(rt);
    }
}

/// Without sources nobody is preempted, and what is announced still works.
#[test]
fn off_is_off() {
    let _dog = watchdog();
    let rt = runtime(1, Source::Off);
    let (mut from, mut to) = pipe();
    let reader = spawn(&rt, move || {
        let mut byte = [0];
        blocking(|| from.read_exact(&mut byte)).unwrap();
        byte[0]
    });
    let writer = spawn(&rt, move || to.write_all(&[9]).unwrap());
    assert_eq!(reader.join().unwrap(), 9);
    writer.join().unwrap();
    assert_eq!(rt.upcalls().preempted, 0);
    end(rt);
}

/// Announced blocking on every kind of thread, nested, and with a panic in it.
#[test]
fn blocking_returns_what_its_closure_returns() {
    let _dog = watchdog();
    let rt = runtime(2, Source::Auto);
    assert_eq!(blocking(|| blocking(|| 1) + 1), 2);
    let nested = spawn(&rt, || blocking(|| blocking(|| 1) + 1));
    assert_eq!(nested.join().unwrap(), 2);
    let panics = spawn(&rt, || {
        blocking(|| std::panic::resume_unwind(Box::new(5_u8)))
    });
    assert_eq!(*panics.join().unwrap_err().downcast::<u8>().unwrap(), 5);
    // SAFETY: the closure touches no thread-local.
    let light = unsafe {
        Builder::new()
            .on(&rt)
            .spawn_light(|| blocking(thread::current))
    };
    let light = light.unwrap();
    let id = light.thread().id();
    assert_eq!(light.join().unwrap().id(), id);
    until(|| rt.upcalls().without_lwp() == 0);
    end(rt);
}

/// Many threads of both kinds that block, compute, yield and wait in turns.
#[test]
fn a_mixture_loses_nothing() {
    let _dog = watchdog();
    let rt = runtime(2, Source::Auto);
    let done = Arc::new(AtomicUsize::new(0));
    let body = |n: usize, done: Arc<AtomicUsize>| {
        move || {
            for round in 0..many(30) {
                match (n + round) % 5 {
                    0 => blocking(|| std::thread::sleep(std::time::Duration::from_micros(200))),
                    1 => std::thread::sleep(std::time::Duration::from_micros(200)),
                    2 => thread::sleep(std::time::Duration::from_micros(100)),
                    3 => (0..20_000).for_each(|_| std::hint::spin_loop()),
                    _ => thread::yield_now(),
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let threads: Vec<_> = (0..60)
        .map(|n| match n % 3 {
            // SAFETY: the closure touches no thread-local.
            0 => unsafe { Builder::new().on(&rt).spawn_light(body(n, done.clone())) }.unwrap(),
            _ => spawn(&rt, body(n, done.clone())),
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(done.load(Ordering::Relaxed), 60 * many(30));
    until(|| rt.upcalls().without_lwp() == 0);
    let counters = rt.upcalls();
    assert!(counters.added == 2 && counters.blocked > 0, "{counters:?}");
    end(rt);
}

#[derive(Clone, Default)]
struct Told(Arc<[AtomicUsize; 4]>);

impl Handler for Told {
    fn added(&self, event: &Event) {
        assert_eq!(event.kind, Kind::Added);
        self.0[0].fetch_add(1, Ordering::SeqCst);
    }
    fn blocked(&self, event: &Event) {
        assert!(event.kind == Kind::Blocked && event.lwp == Some(0) && event.thread.is_some());
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }
    fn unblocked(&self, event: &Event) {
        assert!(event.kind == Kind::Unblocked && event.thread.is_some());
        self.0[3].fetch_add(1, Ordering::SeqCst);
    }
}

/// A handler and the log are told what the counters count.
#[test]
fn the_handler_is_told() {
    let _dog = watchdog();
    let told = Told::default();
    let builder = Runtime::builder().lwps(1).upcall_handler(told.clone());
    let rt = builder.time_slice(None).build().unwrap();
    let (mut from, mut to) = pipe();
    let reader = spawn(&rt, move || from.read_exact(&mut [0]).unwrap());
    spawn(&rt, move || to.write_all(&[7]).unwrap())
        .join()
        .unwrap();
    reader.join().unwrap();
    // Until they have ended, threads that have been joined may be left and come back once more.
    let ended = rt.clone();
    end(rt);
    let count = |kind: usize| told.0[kind].load(Ordering::SeqCst) as u64;
    let counters = ended.upcalls();
    assert_eq!(
        (count(0), count(1), count(3)),
        (counters.added, counters.blocked, counters.unblocked)
    );
    assert_eq!(counters.without_lwp(), 0);
    let logged = ended.upcall_log();
    let of = |kind| logged.iter().filter(|event| event.kind == kind).count() as u64;
    assert_eq!(of(Kind::Blocked), counters.blocked);
    assert_eq!(of(Kind::Added), 1);
}

/// With what it panics, panics once more when it is dropped.
struct Stubborn;

impl Drop for Stubborn {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// A handler that panics in every call.
#[derive(Clone, Default)]
struct Fails(Arc<AtomicUsize>);

impl Fails {
    fn fail(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::panic::panic_any(Stubborn);
    }
}

impl Handler for Fails {
    fn added(&self, _event: &Event) {
        self.fail();
    }
    fn blocked(&self, _event: &Event) {
        self.fail();
    }
    fn unblocked(&self, _event: &Event) {
        self.fail();
    }
    fn retired(&self, _event: &Event) {
        self.fail();
    }
}

/// The call ends, and nothing else: LWPs go on, upcalls are counted.
#[test]
fn a_handler_that_panics_harms_nobody() {
    let _dog = watchdog();
    let fails = Fails::default();
    let builder = Runtime::builder().lwps(1).upcall_handler(fails.clone());
    let rt = builder.time_slice(None).build().unwrap();
    for byte in 0..10 {
        let (mut from, mut to) = pipe();
        let reader = spawn(&rt, move || {
            let mut read = [0];
            from.read_exact(&mut read).unwrap();
            read[0]
        });
        let writer = spawn(&rt, move || to.write_all(&[byte]).unwrap());
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), byte);
    }
    let ended = rt.clone();
    end(rt);
    let counters = ended.upcalls();
    assert!(counters.blocked > 0 && counters.without_lwp() == 0);
    let told = counters.added + counters.blocked + counters.unblocked + counters.retired;
    assert_eq!(fails.0.load(Ordering::SeqCst) as u64, told);
}
