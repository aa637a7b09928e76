//! Nothing allocates or frees inside the runtime: an allocator that aborts the
//! process if it is called there, under a load of everything.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::net::{TcpListener, TcpStream};
use lisle::policy::{Policy, PolicyKind, ReadyList, ReadyThread};
use lisle::sync::Semaphore;
use lisle::thread::{self, Builder};
use lisle::{Runtime, cancel};

use support::{child, end, in_child, many, on, runtime, spawn, stderr, watchdog};

struct Checking;

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Aborts if the caller is a user thread inside the runtime.
#[inline(never)]
fn check() {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if lisle::__in_runtime() {
        let text = b"the allocator was called inside the runtime\n";
        // SAFETY: the text is readable.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        std::process::abort();
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Checking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Checking = Checking;

lisle::local! {
    static HEAP: Vec<u64> = vec![7; 20];
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// One of everything a thread can do, with values on the heap.
fn everything(n: u64) -> Box<u64> {
    let micros = Duration::from_micros(n % 50);
    match n % 11 {
        0 => thread::yield_now(),
        1 => thread::sleep(micros),
        2 => {
            thread::current().unpark();
            thread::park();
            thread::park_timeout(micros);
        }
        3 => {
            let parked = child(thread::park);
            thread::yield_now();
            parked.thread().unpark();
            parked.join().unwrap();
        }
        4 => drop(child(move || vec![n; 10])),
        5 => {
            let cancelled = child(|| {
                let _guard = OnDrop(|| drop(Box::new(1)));
                thread::sleep(Duration::from_secs(1 << 20));
            });
            thread::yield_now();
            cancelled.thread().cancel();
            assert!(cancelled.join().unwrap_err().is::<cancel::Cancelled>());
        }
        6 => {
            let held = child(|| (0..3).for_each(|_| thread::yield_now()));
            held.thread().suspend();
            thread::yield_now();
            held.thread().resume();
            held.join().unwrap();
        }
        7 => {
            let unwound = child(move || {
                let _guard = OnDrop(|| thread::sleep(Duration::from_micros(1)));
                std::panic::resume_unwind(Box::new(n));
            });
            let outcome: std::thread::Result<()> = unwound.join();
            assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&n));
        }
        8 => {
            let named = Builder::new().name(format!("named-{n}"));
            let named = spawn(named, || HEAP.with(|heap| heap.iter().sum::<u64>()));
            assert_eq!(named.join().unwrap(), 140);
        }
        9 => {
            // The second closure runs on a helper.
            let go = Semaphore::new(0);
            let (one, three) = lisle::join(
                || {
                    go.p();
                    Box::new(n)
                },
                || {
                    go.v();
                    vec![n; 3]
                },
            );
            assert_eq!(*one * 3, three.iter().sum::<u64>());
        }
        _ => {
            let children: Vec<_> = (0..40).map(|i| child(move || Box::new(i))).collect();
            let sum: u64 = children.into_iter().map(|c| *c.join().unwrap()).sum();
            assert_eq!(sum, 780);
        }
    }
    Box::new(n)
}

fn exercise(rt: Runtime) {
    let n = many(1000) as u64;
    let threads: Vec<_> = (0..n)
        .map(|i| {
            on(&rt, move || {
                let mut sum = 0;
                for round in 0..10 {
                    sum += *everything(i + round);
                }
                sum
            })
        })
        .collect();
    for (i, thread) in (0..n).zip(threads) {
        if i % 100 == 0 {
            assert!(!thread::list().is_empty());
            assert!(!rt.lwp_list().is_empty());
        }
        assert_eq!(thread.join().unwrap(), 10 * i + 45);
    }
    end(rt);
}

#[test]
fn first_come() {
    let _dog = watchdog();
    let before = CALLS.load(Ordering::Relaxed);
    for lwps in [1, 2] {
        exercise(runtime(lwps));
    }
    assert!(CALLS.load(Ordering::Relaxed) > before + 1000);
}

#[test]
fn other_policies() {
    let _dog = watchdog();
    let builder = || Runtime::builder().lwps(2);
    let slices = PolicyKind::RoundRobin(Duration::from_micros(20));
    exercise(builder().policy(slices).account_cpu(true).build().unwrap());
    exercise(builder().policy(PolicyKind::Priority).build().unwrap());
    for seed in 0..3 {
        let seeded = Runtime::builder().policy(PolicyKind::Seeded(seed));
        exercise(seeded.build().unwrap());
    }
}

#[test]
fn sockets() {
    let _dog = watchdog();
    let rt = runtime(2);
    let served = on(&rt, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..many(100))
            .map(|n| {
                child(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(&[n as u8; 100]).unwrap();
                    let mut heard = Vec::new();
                    stream
                        .set_read_timeout(Some(Duration::from_secs(50)))
                        .unwrap();
                    stream.read_to_end(&mut heard).unwrap();
                    heard == [n as u8; 100]
                })
            })
            .collect();
        for stream in listener.incoming().take(clients.len()) {
            drop(child(move || {
                let mut stream = stream.unwrap();
                let mut heard = [0; 100];
                stream.read_exact(&mut heard).unwrap();
                stream.write_all(&heard).unwrap();
            }));
        }
        clients.into_iter().all(|c| c.join().unwrap())
    });
    assert!(served.join().unwrap());
    end(rt);
}

/// What others do to threads, from kernel threads and other runtimes.
#[test]
fn from_outside() {
    let _dog = watchdog();
    let (a, b) = (runtime(2), runtime(1));
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..20u64)
        .map(|n| {
            let stop = stop.clone();
            on(&a, move || {
                while !stop.load(Ordering::Relaxed) {
                    match n % 3 {
                        0 => thread::park_timeout(Duration::from_micros(100)),
                        1 => thread::yield_now(),
                        _ => child(|| drop(Box::new(5))).join().unwrap(),
                    }
                }
            })
        })
        .collect();
    for round in 0..many(2000) {
        let target = workers[round % workers.len()].thread().clone();
        match round % 3 {
            0 => target.unpark(),
            1 => drop(on(&b, move || target.unpark())),
            _ => {
                target.suspend();
                target.resume();
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    end(a);
    end(b);
}

/// A policy that breaks the rule.
struct Allocates(ReadyList);

// SAFETY: not at all; that is what the test is about.
unsafe impl Policy for Allocates {
    fn push(&mut self, thread: ReadyThread) {
        drop(std::hint::black_box(Box::new(1)));
        thread.push_to(&mut self.0);
    }
    fn pop(&mut self) -> Option<ReadyThread> {
        ReadyThread::pop_from(&mut self.0)
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The allocator would notice.
#[test]
fn a_policy_that_allocates_is_caught() {
    let _dog = watchdog();
    let output = in_child("a_policy_that_allocates_is_caught", &[], || {
        let make = |_| -> Box<dyn Policy> { Box::new(Allocates(ReadyList::new())) };
        let rt = Runtime::builder().lwps(1);
        let rt = rt
            .policy(PolicyKind::Custom(Arc::new(make)))
            .build()
            .unwrap();
        on(&rt, || child(|| ()).join()).join().unwrap().unwrap();
    });
    let errors = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(
        errors.contains("the allocator was called inside the runtime"),
        "{errors}"
    );
}
