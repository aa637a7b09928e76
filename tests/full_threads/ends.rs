//! Ends: destructors of thread-locals that take their time, make threads, fail.

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lisle::Runtime;
use lisle::thread::{self, Builder};

use super::travel::joined;
use crate::support::{alone, end, in_child, many, runtime, stderr, until, watchdog};

static DONE: AtomicUsize = AtomicUsize::new(0);

fn done() -> usize {
    DONE.load(Ordering::SeqCst)
}

/// Does this when the thread ends, then counts.
struct AtTheEnd(Cell<fn()>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        (self.0.get())();
        DONE.fetch_add(1, Ordering::SeqCst);
    }
}

thread_local!(static LAST: AtTheEnd = const { AtTheEnd(Cell::new(|| ())) });

fn at_the_end(deed: fn()) {
    LAST.with(|last| last.0.set(deed));
}

/// Its threads' destructors may use a runtime, so it is there until they have run.
#[test]
fn a_runtime_outlives_its_threads_destructors() {
    fn deed() {
        std::thread::sleep(Duration::from_millis(5));
        let threads = (0..4).map(|n| thread::spawn(move || n));
        assert_eq!(joined(threads.collect::<Vec<_>>()), [0, 1, 2, 3]);
        let mut sum = [0; 3];
        thread::scope(|scope| {
            for part in &mut sum {
                scope.spawn(|| {
                    thread::yield_now();
                    *part = 1;
                });
            }
        });
        assert_eq!(sum, [1; 3]);
    }
    let _dog = watchdog();
    alone("ends::a_runtime_outlives_its_threads_destructors", || {
        for round in 1..=many(20) {
            let rt = runtime(2);
            // Nobody waits for it but the shutdown.
            for _ in 0..3 {
                let fresh = Builder::new().on(&rt).fresh(true);
                drop(fresh.spawn(|| at_the_end(deed)).unwrap());
            }
            end(rt);
            assert_eq!(done(), 3 * round);
        }
    });
}

/// Destructors that make threads whose destructors make threads.
#[test]
fn destructors_make_threads_with_destructors() {
    fn third() {}
    fn second() {
        let fresh = Builder::new().fresh(true).spawn(|| at_the_end(third));
        fresh.unwrap().join().unwrap();
    }
    fn first() {
        let fresh = Builder::new().fresh(true).spawn(|| at_the_end(second));
        fresh.unwrap().join().unwrap();
    }
    let _dog = watchdog();
    alone("ends::destructors_make_threads_with_destructors", || {
        let rt = runtime(2);
        for round in 1..=many(20) {
            let fresh = Builder::new().on(&rt).fresh(true);
            fresh.spawn(|| at_the_end(first)).unwrap().join().unwrap();
            assert_eq!(done(), 3 * round);
        }
        end(rt);
    });
}

/// The thread-locals of pooled threads end with the last runtime; what their
/// destructors make starts the default one.
#[test]
fn destructors_of_pooled_threads_make_threads() {
    fn deed() {
        assert_eq!(thread::spawn(|| 5).join().unwrap(), 5);
    }
    let _dog = watchdog();
    alone("ends::destructors_of_pooled_threads_make_threads", || {
        let rt = runtime(2);
        let threads: Vec<_> = (0..5)
            .map(|_| {
                let body = || {
                    at_the_end(deed);
                    thread::park();
                };
                Builder::new().on(&rt).spawn(body).unwrap()
            })
            .collect();
        threads.iter().for_each(|thread| thread.thread().unpark());
        joined(threads);
        assert_eq!(done(), 0);
        end(rt);
        // The end waits for them, but not for ever.
        while done() < 5 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(done(), 5);
    });
}

static HELD: std::sync::Mutex<()> = std::sync::Mutex::new(());
static WAITS: AtomicBool = AtomicBool::new(false);

fn waits() {
    WAITS.store(true, Ordering::SeqCst);
    drop(HELD.lock());
}

/// A destructor that does not end is a survivor of a fresh thread.
#[test]
fn a_destructor_that_waits_is_a_survivor() {
    let _dog = watchdog();
    alone("ends::a_destructor_that_waits_is_a_survivor", || {
        let held = HELD.lock();
        let rt = runtime(2);
        let fresh = Builder::new().on(&rt).fresh(true).name("stuck".into());
        let stuck = fresh.spawn(|| at_the_end(waits)).unwrap();
        // Else it might be stopped before it gets there.
        until(|| WAITS.load(Ordering::SeqCst));
        let error = rt.shutdown(Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.survivors().len(), 1);
        assert_eq!(error.survivors()[0].name.as_deref(), Some("stuck"));
        drop(held);
        // It has a kernel thread, and goes on.
        stuck.join().unwrap();
        assert_eq!(done(), 1);
    });
}

/// One of a pooled thread is nobody's: it is left to itself.
#[test]
fn a_shutdown_does_not_wait_for_ever_for_pooled_threads() {
    let _dog = watchdog();
    alone(
        "ends::a_shutdown_does_not_wait_for_ever_for_pooled_threads",
        || {
            let held = HELD.lock();
            let rt = runtime(2);
            let pooled = Builder::new().on(&rt).spawn(|| at_the_end(waits));
            let pooled = pooled.unwrap();
            let id = pooled.thread().id();
            pooled.join().unwrap();
            // Its joiner is told before it has left.
            until(|| thread::list().iter().all(|thread| thread.id != id));
            let begin = Instant::now();
            rt.shutdown(Duration::from_millis(10)).unwrap();
            assert!(begin.elapsed() < Duration::from_secs(20));
            assert_eq!(done(), 0);
            drop(held);
            until(|| done() == 1);
            // What comes later takes its stack back.
            let rt = runtime(2);
            let again = Builder::new().on(&rt).spawn(|| 5);
            assert_eq!(again.unwrap().join().unwrap(), 5);
            end(rt);
        },
    );
}

/// As std does.
#[test]
fn a_panic_in_a_destructor_aborts() {
    let _dog = watchdog();
    fn fails() {
        panic!("in a destructor");
    }
    fn run(fresh: bool) {
        let rt = runtime(2);
        let builder = Builder::new().on(&rt).fresh(fresh);
        builder.spawn(|| at_the_end(fails)).unwrap().join().unwrap();
        end(rt);
        println!("survived");
    }
    let test = "ends::a_panic_in_a_destructor_aborts";
    let variable = "LISLE_TEST_FRESH";
    for fresh in ["0", "1"] {
        let output = in_child(test, &[(variable, fresh)], || {
            run(std::env::var("LISLE_TEST_FRESH").unwrap() == "1");
        });
        let errors = stderr(&output);
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
        for expected in ["in a destructor", "thread local panicked on drop"] {
            assert!(errors.contains(expected), "{errors}");
        }
    }
}

/// A pool that keeps nothing: thread-locals end soon after their thread, on the
/// only LWP, too.
#[test]
fn a_pool_may_keep_nothing() {
    let _dog = watchdog();
    alone("ends::a_pool_may_keep_nothing", || {
        let rt = Runtime::builder().lwps(1).idle_threads(0).build().unwrap();
        for n in 1..=3 {
            let threads: Vec<_> = (0..5)
                .map(|_| {
                    let body = || {
                        at_the_end(|| ());
                        thread::park();
                    };
                    Builder::new().on(&rt).spawn(body).unwrap()
                })
                .collect();
            threads.iter().for_each(|thread| thread.thread().unpark());
            joined(threads);
            until(|| done() == 5 * n);
        }
        end(rt);
    });
}
