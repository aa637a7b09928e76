//! Panics: both closures end, and the first one's panic goes on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::sync::Semaphore;
use lisle::{join, thread};

use crate::everywhere;
use crate::support::{Log, many, watchdog};

fn caught<T>(f: impl FnOnce() -> T) -> Option<u32> {
    let payload = catch_unwind(AssertUnwindSafe(f)).err()?;
    Some(*payload.downcast::<u32>().unwrap())
}

/// A panic without a message on the terminal.
fn fail(number: u32) {
    resume_unwind(Box::new(number));
}

#[test]
fn a_panic_of_either_goes_on_and_the_other_has_ended() {
    let _dog = watchdog();
    everywhere(|| {
        for waits in [false, true] {
            let ended = AtomicUsize::new(0);
            let end = |number| {
                if waits {
                    thread::yield_now();
                }
                ended.fetch_add(number, Ordering::Relaxed);
            };
            let left = caught(|| join(|| fail(1), || end(1)));
            assert_eq!((left, ended.load(Ordering::Relaxed)), (Some(1), 1));
            let right = caught(|| join(|| end(2), || fail(2)));
            assert_eq!((right, ended.load(Ordering::Relaxed)), (Some(2), 3));
            assert_eq!(caught(|| join(|| fail(3), || fail(4))), Some(3));
            assert_eq!(caught(|| join(|| end(1), || end(1))), None);
        }
    });
}

/// A value that counts its drops.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whatever_is_not_returned_is_dropped_once() {
    let _dog = watchdog();
    everywhere(|| {
        let drops = AtomicUsize::new(0);
        let count = || drops.swap(0, Ordering::Relaxed);
        // The second closure runs elsewhere if the first waits for it.
        for elsewhere in [false, true] {
            let go = Semaphore::new(0);
            let first = || {
                if elsewhere {
                    go.p();
                }
            };
            let _ = caught(|| {
                join(
                    || (first(), Counted(&drops)),
                    || {
                        go.v();
                        fail(0);
                    },
                )
            });
            assert_eq!(count(), 1);
            let _ = caught(|| {
                join(
                    || {
                        first();
                        fail(0);
                    },
                    || {
                        go.v();
                        Counted(&drops)
                    },
                )
            });
            assert_eq!(count(), 1);
            let captured = (Counted(&drops), Counted(&drops));
            let (a, b) = (captured.0, captured.1);
            let ((a, ()), b) = join(
                move || (a, first()),
                || {
                    go.v();
                    b
                },
            );
            assert_eq!(count(), 0);
            drop((a, b));
            assert_eq!(count(), 2);
        }
    });
}

#[test]
fn a_panic_comes_from_a_helper() {
    let _dog = watchdog();
    everywhere(|| {
        let go = Semaphore::new(0);
        let me = thread::current().id();
        let right = caught(|| {
            join(
                || go.p(),
                || {
                    let other = thread::current().id();
                    go.v();
                    assert_ne!(me, other);
                    fail(7);
                },
            )
        });
        assert_eq!(right, Some(7));
        let go = Semaphore::new(0);
        let both = caught(|| {
            join(
                || {
                    go.p();
                    fail(8);
                },
                || {
                    go.v();
                    fail(9);
                },
            )
        });
        assert_eq!(both, Some(8));
    });
}

#[test]
fn panics_in_the_depth() {
    fn tree(depth: u32, number: u32, log: &Log<u32>) {
        match depth {
            0 if number % 5 == 3 => {
                log.note(number);
                fail(number);
            }
            0 => log.note(number),
            _ => {
                join(
                    || tree(depth - 1, 2 * number, log),
                    || tree(depth - 1, 2 * number + 1, log),
                );
            }
        }
    }
    let _dog = watchdog();
    everywhere(|| {
        for _ in 0..many(20) {
            let log = Log::new();
            assert_eq!(caught(|| tree(6, 0, &log)), Some(3), "the leftmost one's");
            let mut leaves = log.take();
            leaves.sort();
            assert_eq!(leaves, Vec::from_iter(0..64), "every leaf has run");
        }
    });
}

#[test]
fn a_destructor_joins_while_unwinding() {
    struct Joins<'a>(&'a Log<u32>);
    impl Drop for Joins<'_> {
        fn drop(&mut self) {
            let go = Semaphore::new(0);
            let results = join(
                || {
                    go.p();
                    1
                },
                || {
                    go.v();
                    2
                },
            );
            self.0.note(results.0);
            self.0.note(results.1);
            let panicked = caught(|| join(|| (), || fail(3)));
            self.0.note(panicked.unwrap());
        }
    }
    let _dog = watchdog();
    everywhere(|| {
        let log = Log::new();
        let outcome = caught(|| {
            let _joins = Joins(&log);
            fail(4);
        });
        assert_eq!(outcome, Some(4));
        assert_eq!(log.take(), [1, 2, 3]);
        assert!(!thread::panicking());
    });
}
