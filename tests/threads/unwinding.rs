//! Panics: each reaches its joiner and nobody else, whatever a destructor does
//! on the way.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::Runtime;
use lisle::thread::{self, Thread};

use crate::support::{child, end, many, message, on, runtime, until, until_waiting, watchdog};

/// Runs a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Whether the kernel thread that runs the caller unwinds.
#[inline(never)]
fn panicking() -> bool {
    std::thread::panicking()
}

/// Unwinds with a number, past a destructor that does `meanwhile`.
fn unwind_past(number: usize, meanwhile: impl FnMut()) {
    let _guard = OnDrop(meanwhile);
    resume_unwind(Box::new(number));
}

fn number(outcome: std::thread::Result<()>) -> Option<usize> {
    outcome.unwrap_err().downcast_ref().copied()
}

#[test]
fn many_panics_at_once_reach_their_joiners() {
    let _dog = watchdog();
    let rt = runtime(2);
    let body = |n: usize| {
        move || {
            thread::yield_now();
            if n.is_multiple_of(2) {
                resume_unwind(Box::new(n));
            }
            thread::yield_now();
            assert!(!panicking());
        }
    };
    let threads: Vec<_> = (0..many(4000)).map(|n| on(&rt, body(n))).collect();
    for (n, thread) in threads.into_iter().enumerate() {
        let outcome = thread.join();
        match n % 2 {
            0 => assert_eq!(number(outcome), Some(n)),
            _ => outcome.unwrap(),
        }
    }
    end(rt);
}

#[test]
fn a_panic_prints_and_is_reported() {
    let _dog = watchdog();
    let rt = runtime(2);
    let threads: Vec<_> = (0..5).map(|n| on(&rt, move || panic!("no {n}"))).collect();
    for (n, thread) in threads.into_iter().enumerate() {
        let payload: Box<dyn std::any::Any + Send> = thread.join().unwrap_err();
        assert_eq!(message(&*payload), format!("no {n}"));
    }
    end(rt);
}

/// While one thread waits in a destructor, unwinding, the others run, and do not
/// unwind.
fn others_run_meanwhile(rt: &Runtime, wait: fn(), end_wait: fn(&Thread), reason: &str) {
    let unwinding = on(rt, move || unwind_past(1, wait));
    let thread = unwinding.thread().clone();
    until_waiting(&thread, reason);
    for n in 0..20u32 {
        let other = on(rt, move || {
            let before = panicking();
            thread::yield_now();
            thread::sleep(Duration::from_micros(50));
            child(thread::yield_now).join().unwrap();
            (before, panicking(), n)
        });
        assert_eq!(other.join().unwrap(), (false, false, n));
    }
    assert!(!unwinding.is_finished());
    end_wait(&thread);
    assert_eq!(number(unwinding.join()), Some(1));
}

#[test]
fn others_run_while_a_destructor_parks() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        for _ in 0..20 {
            others_run_meanwhile(&rt, thread::park, Thread::unpark, "park");
        }
        end(rt);
    }
}

#[test]
fn every_way_to_wait_works_while_unwinding() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let waits: [fn(); 5] = [
            || thread::sleep(Duration::from_millis(1)),
            || thread::park_timeout(Duration::from_millis(1)),
            || child(thread::yield_now).join().unwrap(),
            || (0..3).for_each(|_| thread::sleep(Duration::from_micros(10))),
            || {
                thread::current().unpark();
                thread::park();
            },
        ];
        for (n, wait) in waits.into_iter().enumerate() {
            let unwinding = on(&rt, move || unwind_past(n, wait));
            assert_eq!(number(unwinding.join()), Some(n));
        }
        end(rt);
    }
}

/// A thread that yields in a destructor must not take its panic count to others,
/// nor leave it behind.
#[test]
fn yielding_while_unwinding_leaks_no_panic_count() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(AtomicUsize::new(0));
        let bystander = || {
            let (stop, seen) = (stop.clone(), seen.clone());
            on(&rt, move || {
                while !stop.load(Ordering::Relaxed) {
                    seen.fetch_add(usize::from(panicking()), Ordering::Relaxed);
                    thread::yield_now();
                }
            })
        };
        let bystanders = [bystander(), bystander(), bystander()];
        // Each of these yields waits for a processor, beside threads that keep them busy.
        for n in 0..many(50) {
            let unwinding = on(&rt, move || {
                unwind_past(n, || {
                    for _ in 0..5 {
                        assert!(panicking());
                        thread::yield_now();
                    }
                });
            });
            assert_eq!(number(unwinding.join()), Some(n));
        }
        stop.store(true, Ordering::Relaxed);
        bystanders.into_iter().for_each(|b| b.join().unwrap());
        assert_eq!(seen.load(Ordering::Relaxed), 0);
        end(rt);
    }
}

/// A thread that suspends itself in a destructor, unwinding.
#[test]
fn suspension_while_unwinding_leaks_no_panic_count() {
    let _dog = watchdog();
    let rt = runtime(1);
    let unwinding = on(&rt, || {
        unwind_past(3, || {
            thread::current().suspend();
            assert!(panicking());
        });
    });
    for _ in 0..20 {
        assert!(!on(&rt, panicking).join().unwrap());
    }
    crate::support::until(|| {
        unwinding.thread().resume();
        unwinding.is_finished()
    });
    assert_eq!(number(unwinding.join()), Some(3));
    end(rt);
}

/// Unwinding that is caught inside the thread: it comes back to the LWPs, and
/// goes on like any other.
#[test]
fn a_thread_comes_back_after_a_hand_over() {
    #[inline(never)]
    fn unwind_and_catch(n: usize) -> usize {
        let sleeping = || thread::sleep(Duration::from_micros(10));
        let caught = std::panic::catch_unwind(|| unwind_past(n, sleeping));
        number(caught).unwrap()
    }
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let threads: Vec<_> = (0..20)
            .map(|start| {
                on(&rt, move || {
                    let mut sum = 0;
                    for n in 0..10 {
                        sum += unwind_and_catch(start + n);
                        assert!(!panicking());
                        match n % 3 {
                            0 => thread::yield_now(),
                            1 => thread::sleep(Duration::from_micros(10)),
                            _ => child(|| ()).join().unwrap(),
                        }
                    }
                    sum
                })
            })
            .collect();
        for (start, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), 10 * start + 45);
        }
        end(rt);
    }
}

/// A wake, a deadline, or both at once end a wait that began while unwinding;
/// the thread goes on exactly once.
#[test]
fn a_wake_and_a_deadline_race_while_unwinding() {
    let _dog = watchdog();
    let rt = runtime(2);
    let ends = Arc::new(AtomicUsize::new(0));
    const ROUNDS: usize = 400;
    for round in 0..ROUNDS {
        let ends = ends.clone();
        let waiting = Arc::new(AtomicBool::new(false));
        let flag = waiting.clone();
        let unwinding = on(&rt, move || {
            unwind_past(round, || {
                flag.store(true, Ordering::Release);
                thread::park_timeout(Duration::from_micros((round % 50) as u64 * 2));
            });
        });
        let target = unwinding.thread().clone();
        let watch = waiting.clone();
        let waker = std::thread::spawn(move || {
            until(|| watch.load(Ordering::Acquire));
            target.unpark();
        });
        assert_eq!(number(unwinding.join()), Some(round));
        waker.join().unwrap();
        ends.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(ends.load(Ordering::Relaxed), ROUNDS);
    end(rt);
}

#[test]
fn a_hundred_threads_unwind_and_wait_at_once() {
    let _dog = watchdog();
    let rt = runtime(2);
    let n = many(100);
    let threads: Vec<_> = (0..n)
        .map(|i| on(&rt, move || unwind_past(i, thread::park)))
        .collect();
    for thread in &threads {
        until_waiting(thread.thread(), "park");
    }
    // All of them wait on kernel threads of their own; the LWPs are free.
    assert_eq!(on(&rt, || 5).join().unwrap(), 5);
    threads.iter().for_each(|thread| thread.thread().unpark());
    for (i, thread) in threads.into_iter().enumerate() {
        assert_eq!(number(thread.join()), Some(i));
    }
    end(rt);
}
