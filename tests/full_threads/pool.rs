//! The pool: what is reused, what is not, how many there are. The pool is the
//! process's, so most of these tests have a process to themselves.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::Runtime;
use lisle::thread::{self, Builder};
use lisle::upcall::Source;

use super::travel::joined;
use crate::support::{alone, end, many, runtime, until, watchdog};

thread_local! {
    static USES: Cell<usize> = const { Cell::new(0) };
    static COUNTED: Counted = const { Counted };
}

static DESTROYED: AtomicUsize = AtomicUsize::new(0);

/// Counts its destructions.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DESTROYED.fetch_add(1, Ordering::SeqCst);
    }
}

fn destroyed() -> usize {
    DESTROYED.load(Ordering::SeqCst)
}

fn count_use() -> usize {
    COUNTED.with(|_| ());
    USES.set(USES.get() + 1);
    USES.get()
}

fn kernel_threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn thread_locals_persist_from_one_closure_to_the_next() {
    let _dog = watchdog();
    alone(
        "pool::thread_locals_persist_from_one_closure_to_the_next",
        || {
            // Without upcalls: each closure has left before the next one is spawned.
            let rt = Runtime::builder().lwps(1).upcalls(Source::Off);
            let rt = rt.build().unwrap();
            let all = Builder::new().on(&rt).spawn(|| {
                let (mut ids, mut std_ids) = (HashSet::new(), HashSet::new());
                for n in 1..=100 {
                    let spawned = Builder::new().name(format!("closure-{n}"));
                    let thread = spawned.spawn(move || {
                        let own = thread::current();
                        assert_eq!(own.name(), Some(format!("closure-{n}").as_str()));
                        (count_use(), own.id(), std::thread::current().id())
                    });
                    let (uses, id, std_id) = thread.unwrap().join().unwrap();
                    assert_eq!(uses, n);
                    ids.insert(id);
                    std_ids.insert(std_id);
                }
                (ids, std_ids)
            });
            let (ids, std_ids) = all.unwrap().join().unwrap();
            // lisle's identity is the closure's, std's the pooled thread's.
            assert_eq!((ids.len(), std_ids.len()), (100, 1));
            assert_eq!(destroyed(), 0);
            end(rt);
            assert_eq!(destroyed(), 1);
        },
    );
}

#[test]
fn fresh_threads_share_nothing_and_leave_nothing() {
    let _dog = watchdog();
    alone(
        "pool::fresh_threads_share_nothing_and_leave_nothing",
        || {
            let rt = runtime(2);
            let mut std_ids = HashSet::new();
            for n in 1..=50 {
                let fresh = Builder::new().on(&rt).fresh(true);
                let body = || (count_use(), std::thread::current().id());
                let (uses, std_id) = fresh.spawn(body).unwrap().join().unwrap();
                assert_eq!((uses, destroyed()), (1, n));
                assert!(std_ids.insert(std_id));
                // A pooled one in between keeps its own count.
                let pooled = Builder::new().on(&rt).spawn(|| USES.replace(0));
                assert_eq!(pooled.unwrap().join().unwrap(), 0);
            }
            end(rt);
            assert_eq!(destroyed(), 50);
        },
    );
}

#[test]
fn bound_threads_have_locals_of_their_own_that_end_with_them() {
    let _dog = watchdog();
    alone(
        "pool::bound_threads_have_locals_of_their_own_that_end_with_them",
        || {
            for n in 1..=20 {
                let bound = Builder::new().bound().spawn(count_use);
                assert_eq!(bound.unwrap().join().unwrap(), 1);
                // std's join waits for them; ours is told before.
                until(|| destroyed() == n);
            }
        },
    );
}

/// Donors above the limit end soon; idle ones, after a while, all.
#[test]
fn a_pool_shrinks() {
    let _dog = watchdog();
    alone("pool::a_pool_shrinks", || {
        const LIMIT: usize = 2000;
        let rt = Runtime::builder().lwps(2).idle_threads(LIMIT);
        let rt = rt.build().unwrap();
        let burst = |n: usize| {
            let made: Vec<_> = (0..n)
                .map(|_| {
                    let body = || {
                        count_use();
                        thread::park();
                    };
                    let small = Builder::new().on(&rt).stack_size(64 << 10);
                    small.spawn(body).unwrap()
                })
                .collect();
            made.iter().for_each(|thread| thread.thread().unpark());
            joined(made);
        };
        burst(LIMIT + 200);
        // LWPs keep a few for themselves beside the pool.
        until(|| destroyed() >= 200 - 2 * 32);
        until(|| destroyed() >= LIMIT);
        let before = destroyed();
        burst(100);
        assert!(destroyed() >= before);
        end(rt);
        // All that were ever made have ended.
        assert!(destroyed() >= LIMIT + 200);
    });
}

#[test]
fn warm_threads_are_there_at_once_and_stay() {
    let _dog = watchdog();
    alone("pool::warm_threads_are_there_at_once_and_stay", || {
        const WARM: usize = 50;
        let rt = Runtime::builder()
            .lwps(2)
            .warm_threads(WARM)
            .build()
            .unwrap();
        let seen = || {
            let threads: Vec<_> = (0..WARM)
                .map(|_| {
                    let body = || {
                        thread::park();
                        (count_use(), std::thread::current().id())
                    };
                    Builder::new().on(&rt).spawn(body).unwrap()
                })
                .collect();
            threads.iter().for_each(|thread| thread.thread().unpark());
            joined(threads)
        };
        let first: HashSet<_> = seen().into_iter().map(|(_, id)| id).collect();
        assert_eq!(first.len(), WARM);
        // Much longer than idle threads are kept that nobody asked for; there is
        // no event to wait for.
        std::thread::sleep(Duration::from_millis(3500));
        assert_eq!(destroyed(), 0);
        let again = seen();
        assert!(
            again
                .iter()
                .all(|(uses, id)| *uses == 2 && first.contains(id))
        );
        end(rt);
        assert_eq!(destroyed(), WARM);
    });
}

/// After a shutdown nothing is left: no kernel thread, no thread-local, and what
/// comes next starts from nothing.
#[test]
fn a_shutdown_leaves_no_kernel_threads() {
    let _dog = watchdog();
    alone("pool::a_shutdown_leaves_no_kernel_threads", || {
        let before = kernel_threads();
        for round in 0..many(20) {
            let made = destroyed();
            let rt = runtime(3);
            let threads: Vec<_> = (0..60)
                .map(|n| {
                    let builder = Builder::new().on(&rt).fresh(n % 3 == 0);
                    let body = || {
                        assert_eq!(count_use(), 1);
                        thread::park();
                    };
                    builder.spawn(body).unwrap()
                })
                .collect();
            threads.iter().for_each(|thread| thread.thread().unpark());
            match round % 2 {
                0 => drop(joined(threads)),
                _ => drop(threads),
            }
            end(rt);
            assert_eq!(destroyed(), made + 60);
            until(|| kernel_threads() == before);
        }
    });
}

/// Two runtimes use one pool; it ends with the last.
#[test]
fn a_pool_outlives_all_runtimes_but_the_last() {
    let _dog = watchdog();
    alone("pool::a_pool_outlives_all_runtimes_but_the_last", || {
        let (one, other) = (runtime(1), runtime(1));
        let on = |rt: &Runtime| Builder::new().on(rt).spawn(count_use).unwrap();
        assert_eq!(on(&one).join().unwrap(), 1);
        end(one);
        assert_eq!(destroyed(), 0);
        assert_eq!(on(&other).join().unwrap(), 2);
        end(other);
        assert_eq!(destroyed(), 1);
    });
}

/// A shutdown with survivors says who they are, and the process goes on.
#[test]
fn survivors_are_named_and_stay_where_they_are() {
    let _dog = watchdog();
    alone("pool::survivors_are_named_and_stay_where_they_are", || {
        let rt = runtime(2);
        let stuck = Builder::new().on(&rt).name("stuck".into());
        let stuck = stuck.spawn(|| {
            count_use();
            thread::park();
        });
        let stuck = stuck.unwrap();
        crate::support::until_waiting(stuck.thread(), "park");
        let error = rt.shutdown(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.survivors().len(), 1);
        assert_eq!(error.survivors()[0].name.as_deref(), Some("stuck"));
        stuck.thread().unpark();
        let rt = runtime(2);
        let body = || (count_use(), thread::yield_now());
        for _ in 0..20 {
            let thread = Builder::new().on(&rt).spawn(body).unwrap();
            thread.join().unwrap();
        }
        end(rt);
        assert!(!stuck.is_finished());
    });
}

/// Threads are spawned and end in crowds, from LWPs and from outside: each runs
/// once, each thread-local has one owner at a time.
#[test]
fn a_crowd_comes_and_goes() {
    thread_local!(static BUSY: Cell<bool> = const { Cell::new(false) });
    let _dog = watchdog();
    let (one, other) = (runtime(2), runtime(2));
    let runs = Arc::new(AtomicUsize::new(0));
    let body = |runs: Arc<AtomicUsize>| {
        move || {
            assert!(!BUSY.replace(true));
            thread::yield_now();
            runs.fetch_add(1, Ordering::SeqCst);
            assert!(BUSY.replace(false));
        }
    };
    let spawners: Vec<_> = (0..4)
        .map(|n| {
            let (runs, home) = (runs.clone(), [&one, &other][n % 2].clone());
            let target = [&one, &other][n / 2].clone();
            let spawner = move || {
                for k in 0..many(500) {
                    let fresh = k % 50 == 0;
                    let builder = Builder::new().on(&target).fresh(fresh);
                    let thread = builder.spawn(body(runs.clone())).unwrap();
                    match k % 3 {
                        0 => drop(thread),
                        _ => thread.join().unwrap(),
                    }
                }
            };
            Builder::new().on(&home).spawn(spawner).unwrap()
        })
        .collect();
    for _ in 0..many(500) {
        let outside = Builder::new().on(&one).spawn(body(runs.clone()));
        outside.unwrap().join().unwrap();
    }
    joined(spawners);
    end(one);
    end(other);
    assert_eq!(runs.load(Ordering::SeqCst), 5 * many(500));
}
