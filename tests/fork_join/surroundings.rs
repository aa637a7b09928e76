//! Joins beside what else happens to a process: memory, shutdown, forks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::jobs::{self, Scope};
use lisle::sync::Semaphore;
use lisle::thread::{self, ForkedError};
use lisle::upcall::Source;
use lisle::{Runtime, join};

use crate::support::{end, in_child, runtime, stderr, watchdog};
use crate::{everywhere, full};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tree(s: &Scope, depth: u32) -> u32 {
    match depth {
        0 => 1,
        _ => {
            let (a, b) = s.join(|s| tree(s, depth - 1), |s| tree(s, depth - 1));
            a + b
        }
    }
}

fn count_allocations() {
    // Upcalls may start kernel threads at any time, which takes memory.
    let rt = Runtime::builder().lwps(1).upcalls(Source::Off);
    let rt = rt.build().unwrap();
    let body = || {
        let count = || jobs::scope(|s| tree(s, 12));
        // The first one finds the runtime.
        assert_eq!(count(), 4096);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        assert_eq!(count(), 4096);
        // Also where jobs are offered: the helper's stack has been used before.
        for _ in 0..2 {
            let go = Semaphore::new(0);
            join(|| go.p(), || go.v());
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    full(&rt, body).join().unwrap();
    assert_eq!(full(&rt, body).join().unwrap(), 0);
    end(rt);
}

#[test]
fn a_join_allocates_nothing() {
    let name = "surroundings::a_join_allocates_nothing";
    let output = in_child(name, &[], count_allocations);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_runtime_ends_when_its_helpers_have() {
    let _dog = watchdog();
    let rt = runtime(2);
    let threads: Vec<_> = (0..20)
        .map(|_| {
            full(&rt, || {
                let go = Semaphore::new(0);
                join(|| go.p(), || go.v());
            })
        })
        .collect();
    rt.shutdown(Duration::from_secs(60)).unwrap();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// One that needs somebody else for its second closure.
fn needs_help() -> thread::ThreadId {
    let go = Semaphore::new(0);
    let ((), helper) = join(
        || go.p(),
        || {
            go.v();
            thread::current().id()
        },
    );
    assert_ne!(helper, thread::current().id());
    helper
}

#[test]
fn a_kernel_thread_finds_the_next_default_runtime() {
    let name = "surroundings::a_kernel_thread_finds_the_next_default_runtime";
    let output = in_child(name, &[("LISLE_LWPS", "2")], || {
        for _ in 0..3 {
            needs_help();
            let default = Runtime::default_runtime().unwrap();
            default.shutdown(Duration::from_secs(60)).unwrap();
            // Without waiting, too.
            jobs::scope(|s| assert_eq!(tree(s, 10), 1024));
        }
        needs_help();
    });
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Forks, does something else in the child; says how the child ended.
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
    // SAFETY: plain system calls; the child runs none of the parent's handlers.
    unsafe {
        libc::alarm(60);
        let outcome = catch_unwind(AssertUnwindSafe(checks));
        libc::_exit(i32::from(outcome.is_err()))
    }
}

#[test]
fn a_forked_child_joins() {
    let _dog = watchdog();
    everywhere(|| {
        let status = forked(|| {
            jobs::scope(|s| assert_eq!(tree(s, 10), 1024));
            needs_help();
        });
        assert_eq!(status, 0);
    });
}

/// What the child of a fork inside a join is to check after that join. Runs in the
/// child only.
fn fork_within(wait_for_helper: bool) -> Option<std::thread::Result<((), u32)>> {
    let parent = std::process::id();
    let (begun, go) = (Semaphore::new(0), Semaphore::new(0));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        join(
            || {
                if wait_for_helper {
                    begun.p();
                }
                // SAFETY: the child goes on as a plain kernel thread, and ends.
                let pid = unsafe { libc::fork() };
                assert!(pid >= 0, "fork failed");
                if pid > 0 {
                    let mut status = 0;
                    // SAFETY: plain system call with a valid place.
                    unsafe { libc::waitpid(pid, &mut status, 0) };
                    assert_eq!(status, 0);
                    go.v();
                }
            },
            || {
                if wait_for_helper {
                    begun.v();
                    go.p();
                }
                7
            },
        )
    }));
    if std::process::id() != parent {
        return Some(outcome);
    }
    assert_eq!(outcome.unwrap(), ((), 7));
    None
}

#[test]
fn a_fork_within_a_join() {
    let _dog = watchdog();
    everywhere(|| {
        for helped in [false, true] {
            let Some(outcome) = fork_within(helped) else {
                continue;
            };
            let right = match outcome {
                Ok(((), 7)) => !helped,
                // An idle LWP may have helped unasked.
                Err(payload) => payload.is::<ForkedError>(),
                _ => false,
            };
            // SAFETY: ends the child without the parent's exit handlers.
            unsafe { libc::_exit(i32::from(!right)) };
        }
    });
}
