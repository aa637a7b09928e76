//! A child that is forked while a thread of std holds the lock under which such threads begin.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::channel;

use super::{child, forked, until, watchdog};
use crate::support::alone;

/// Of the one thread that allocates as ever; 0 while all do.
static FREE: AtomicI32 = AtomicI32::new(0);
static STALLED: AtomicBool = AtomicBool::new(false);

/// As the system's, but large allocations wait while they are to.
struct Stalling;

#[global_allocator]
static ALLOCATOR: Stalling = Stalling;

/// Larger than what a thread that does nothing allocates, but for a node of the tree in which std
/// keeps what it knows of its threads.
const LARGE: usize = 400;

fn stall(size: usize) {
    let others = || {
        let free = FREE.load(Ordering::SeqCst);
        // SAFETY: plain system call.
        free != 0 && free != unsafe { libc::gettid() }
    };
    while size >= LARGE && others() {
        STALLED.store(true, Ordering::SeqCst);
        // SAFETY: plain system call.
        unsafe { libc::usleep(100) };
    }
}

// SAFETY: everything is left to the system's.
unsafe impl GlobalAlloc for Stalling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        stall(layout.size());
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// A runtime that starts in such a child must not start a thread of std's. (Should std do without the
/// lock one day, nothing stalls, and this test has had its time.)
#[test]
fn a_child_while_a_thread_of_std_begins() {
    let _dog = watchdog();
    alone("stalling::a_child_while_a_thread_of_std_begins", || {
        let (go, wait) = channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let status = std::thread::scope(|scope| {
            // SAFETY: plain system call.
            FREE.store(unsafe { libc::gettid() }, Ordering::SeqCst);
            // As many as need another node of the tree.
            for _ in 0..24 {
                scope.spawn(|| drop(wait.lock().map(|wait| wait.recv())));
            }
            until(|| STALLED.load(Ordering::SeqCst));
            let status = forked(|| {
                FREE.store(0, Ordering::SeqCst);
                assert_eq!(child(|| 5).join().unwrap(), 5);
            });
            FREE.store(0, Ordering::SeqCst);
            drop(go);
            status
        });
        assert_eq!(status, 0);
    });
}
