//! Switching contexts and taking, giving and trimming stacks never enters the allocator: all of it
//! may happen inside the runtime, while the allocator's lock is held by a thread that is suspended.
#![cfg(not(any(lisle_model, lisle_loom, miri)))]
#![allow(clippy::disallowed_types, clippy::disallowed_macros)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lisle_lwp::arch::{self, Context};
use lisle_lwp::stack::{StackCache, StackPool, StackSize};

thread_local!(static CALLS: Cell<usize> = const { Cell::new(0) });

struct Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls_during(f: impl FnOnce()) -> usize {
    let before = CALLS.get();
    f();
    CALLS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(calls_during(|| drop(std::hint::black_box(Box::new(1)))), 2);
}

#[test]
fn stacks_never_allocate() {
    // What is asked of the system once in a process may allocate.
    let pool = StackPool::global();
    pool.give(pool.take(StackSize::SMALL).unwrap());
    let mut held = Vec::with_capacity(200);
    let calls = calls_during(|| {
        let mut cache = StackCache::of(pool);
        for _ in 0..2 {
            while held.len() < 200 {
                if !cache.promise(StackSize::SMALL) {
                    pool.promise(StackSize::SMALL).unwrap();
                }
                held.push(cache.take_promised(StackSize::SMALL));
            }
            held.drain(..).for_each(|stack| cache.give(stack));
        }
        cache.flush();
        assert!(pool.trim(0) >= 200);
        pool.counters();
    });
    assert_eq!(calls, 0);
}

#[test]
fn switching_never_allocates() {
    static mut MAIN: Context = Context::EMPTY;
    unsafe extern "C" fn entry(_: usize, _: *mut ()) -> ! {
        let mut own = Context::EMPTY;
        loop {
            // SAFETY: the test is suspended there, and this test alone uses the static.
            unsafe { arch::switch(&raw mut own, MAIN, &raw mut own as usize) };
        }
    }
    let pool = StackPool::global();
    let stack = pool.take(StackSize::DEFAULT).unwrap();
    let calls = calls_during(|| {
        // SAFETY: the stack is ours, and the context on it, though never ended, is not resumed
        // again.
        unsafe {
            let context = arch::init(stack.top(), entry, std::ptr::null_mut());
            let mut own = arch::switch(&raw mut MAIN, context, 1) as *const Context;
            for n in 0..100 {
                own = arch::switch(&raw mut MAIN, *own, n) as *const Context;
            }
        }
    });
    assert_eq!(calls, 0);
    pool.give(stack);
}
