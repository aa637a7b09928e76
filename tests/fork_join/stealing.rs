//! Who runs what: noted jobs are taken by idle LWPs, and run on full threads.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use lisle::sync::Semaphore;
use lisle::thread::ThreadId;
use lisle::{jobs, join, thread};

use crate::support::{Log, end, many, runtime, steady, until_waiting, watchdog};
use crate::{everywhere, full, give_occasion};

thread_local! {
    static OWN: Cell<u32> = const { Cell::new(0) };
}

#[inline(never)]
fn own() -> u32 {
    OWN.get()
}

#[inline(never)]
fn set_own(value: u32) {
    OWN.set(value);
}

#[test]
fn what_a_waiting_thread_has_noted_runs_on_a_full_thread() {
    let _dog = watchdog();
    everywhere(|| {
        let go = Semaphore::new(0);
        let me = thread::current().info();
        set_own(1);
        let ((), other) = join(
            || go.p(),
            || {
                set_own(2);
                go.v();
                // On a stack of its own, in the middle of which it may move.
                thread::yield_now();
                assert_eq!(own(), 2);
                thread::current().info()
            },
        );
        assert_ne!(other.id, me.id);
        assert_eq!(other.parent, Some(me.id));
        assert!(!other.bound);
        assert_eq!(other.priority, me.priority);
        if me.bound {
            // Else a light thread's kernel thread may be another one by now.
            assert_eq!(own(), 1);
        }
    });
}

#[test]
fn nothing_is_taken_where_nobody_is_idle() {
    let _dog = watchdog();
    let rt = steady(1);
    let body = || {
        let me = thread::current().id();
        fn tree(depth: u32) -> HashSet<ThreadId> {
            if depth == 0 {
                return HashSet::from([thread::current().id()]);
            }
            let (mut a, b) = join(|| tree(depth - 1), || tree(depth - 1));
            a.extend(b);
            a
        }
        assert_eq!(tree(5), HashSet::from([me]));
    };
    full(&rt, body).join().unwrap();
    end(rt);
}

#[test]
fn an_idle_lwp_takes_from_a_thread_that_computes() {
    let _dog = watchdog();
    let rt = runtime(2);
    let body = || {
        let me = thread::current().id();
        for _ in 0..many(50) {
            let taken = AtomicBool::new(false);
            let ((), other) = join(
                || {
                    while !taken.load(Ordering::Relaxed) {
                        give_occasion();
                    }
                },
                || {
                    taken.store(true, Ordering::Relaxed);
                    thread::current().id()
                },
            );
            assert_ne!(me, other);
        }
    };
    full(&rt, body).join().unwrap();
    end(rt);
}

#[test]
fn the_default_runtime_takes_from_a_kernel_thread() {
    let _dog = watchdog();
    let taken = AtomicBool::new(false);
    let ((), other) = join(
        || {
            while !taken.load(Ordering::Relaxed) {
                give_occasion();
            }
        },
        || {
            taken.store(true, Ordering::Relaxed);
            thread::current().info()
        },
    );
    assert!(!other.bound);
}

#[test]
fn the_oldest_is_taken_first() {
    let _dog = watchdog();
    let rt = steady(2);
    let body = || {
        let taken = AtomicU32::new(0);
        let take = |number: u32| {
            // All but the first to come run when it is too late to be first.
            let _ = taken.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        };
        jobs::scope(|s| {
            s.join(
                |s| {
                    s.join(
                        |s| {
                            s.join(
                                |_| {
                                    while taken.load(Ordering::Relaxed) == 0 {
                                        give_occasion();
                                    }
                                },
                                |_| take(3),
                            );
                        },
                        |_| take(2),
                    );
                },
                |_| take(1),
            );
        });
        taken.load(Ordering::Relaxed)
    };
    for _ in 0..many(50) {
        assert_eq!(full(&rt, body).join().unwrap(), 1);
    }
    end(rt);
}

#[test]
fn nothing_else_runs_on_the_stack_of_a_thread_that_waits() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (begun, go) = (&*leak(Semaphore::new(0)), &*leak(Semaphore::new(0)));
    let waiter = full(&rt, move || {
        join(
            || begun.p(),
            || {
                begun.v();
                go.p();
            },
        );
    });
    until_waiting(waiter.thread(), "join of thread");
    let waiting = waiter.thread().id();
    // Its LWP has nothing else to do than these.
    let ids = full(&rt, || {
        let ids = Mutex::new(Vec::new());
        let note = || ids.lock().unwrap().push(thread::current().id());
        for _ in 0..100 {
            let go = Semaphore::new(0);
            join(
                || go.p(),
                || {
                    note();
                    go.v();
                },
            );
        }
        ids.into_inner().unwrap()
    });
    let ids = ids.join().unwrap();
    assert_eq!(ids.len(), 100);
    assert!(!ids.contains(&waiting));
    go.v();
    waiter.join().unwrap();
    end(rt);
}

fn leak<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}

#[test]
fn all_that_is_noted_is_offered_before_a_wait() {
    // Each level waits for the one noted outside of it, the outermost for
    // nobody: only if all are offered can they end.
    fn level(depth: usize, done: &[Semaphore], log: &Log<usize>) {
        if depth == done.len() {
            done[depth - 1].p();
            return;
        }
        join(
            || level(depth + 1, done, log),
            || {
                if depth > 0 {
                    done[depth - 1].p();
                }
                log.note(depth);
                done[depth].v();
            },
        );
    }
    let _dog = watchdog();
    everywhere(|| {
        let done: Vec<_> = (0..30).map(|_| Semaphore::new(0)).collect();
        let log = Log::new();
        level(0, &done, &log);
        assert_eq!(log.take(), Vec::from_iter(0..30));
    });
}

#[test]
fn a_busy_lwp_takes_a_job_now_and_then() {
    let _dog = watchdog();
    let rt = runtime(1);
    let stop = &*leak(AtomicBool::new(false));
    // The LWP is never idle: these two are always ready.
    let busy = [(); 2].map(|()| {
        full(&rt, || {
            while !stop.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        })
    });
    let pair = full(&rt, || {
        let go = Semaphore::new(0);
        join(|| go.p(), || go.v());
    });
    pair.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    end(rt);
}

#[test]
fn many_threads_join_at_once() {
    fn tree(depth: u32) -> u64 {
        if depth == 0 {
            thread::yield_now();
            return 1;
        }
        if depth == 3 {
            let go = Semaphore::new(0);
            join(|| go.p(), || go.v());
        }
        let (a, b) = join(|| tree(depth - 1), || tree(depth - 1));
        a + b
    }
    let _dog = watchdog();
    for lwps in [1, 2, 4] {
        let rt = runtime(lwps);
        let threads: Vec<_> = (0..many(40)).map(|_| full(&rt, || tree(8))).collect();
        let kernel: Vec<_> = (0..2).map(|_| std::thread::spawn(|| tree(8))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 256);
        }
        for thread in kernel {
            assert_eq!(thread.join().unwrap(), 256);
        }
        end(rt);
    }
}
