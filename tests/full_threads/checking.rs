//! An allocator that aborts the process if it is called inside the runtime,
//! around another one.

use std::alloc::{GlobalAlloc, Layout};

pub(crate) struct Checking<A>(pub(crate) A);

#[inline(never)]
fn check() {
    if lisle::__in_runtime() {
        crate::support::say("the allocator was called inside the runtime\n");
        std::process::abort();
    }
}

// SAFETY: everything is left to the other allocator.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Checking<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller's promises.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller's promises.
        unsafe { self.0.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller's promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check();
        // SAFETY: the caller's promises.
        unsafe { self.0.realloc(memory, layout, size) }
    }
}
