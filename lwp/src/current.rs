//! Which flow of control is running here.
//!
//! One thread-local word. It belongs to whoever
//! owns the thread pointer: on a kernel thread that runs light threads it is
//! rewritten at every switch (through its address, [`slot`], so that the
//! switching code itself touches no thread-local); a thread with a thread
//! pointer of its own has a word of its own, set once for life. The word points
//! to a control block, and *that* says which LWP runs it, so nobody ever reads
//! a kernel thread's state through a thread-local of the wrong owner.
//!
//! A second word, [`carried`], says which LWP the kernel thread carries. It is a
//! short cut for the hottest path alone: the first word changes at every switch,
//! so what is loaded through it waits for the store that wrote it; the second
//! does not. It is null wherever the two could disagree.
//!
//! *Rule*: the compiler may keep the address of a thread-local in a register,
//! which is wrong after a switch to another kernel thread. So the accessors are
//! never inlined and pass values, never references. This file is the only one
//! that may name `thread_local!`.
#![allow(clippy::disallowed_macros)]

use core::cell::Cell;

/// The address of a current-flow word; opaque to everyone but this file.
pub type Slot = *const Cell<*const ()>;

#[cfg(not(lisle_loom))]
std::thread_local! {
    static CURRENT: Cell<*const ()> = const { Cell::new(core::ptr::null()) };
    static CARRIED: Cell<*const ()> = const { Cell::new(core::ptr::null()) };
    static AT_EXIT: AtExit = const { AtExit(Cell::new(None)) };
}

#[cfg(lisle_loom)]
loom::thread_local! {
    static CURRENT: Cell<*const ()> = Cell::new(core::ptr::null());
    static CARRIED: Cell<*const ()> = Cell::new(core::ptr::null());
    static AT_EXIT: AtExit = AtExit(Cell::new(None));
}

struct AtExit(Cell<Option<fn(*const ())>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        if let Some(run) = self.0.get() {
            // The word has no destructor, so it is still there.
            #[cfg(not(lisle_loom))]
            run(get());
            #[cfg(lisle_loom)]
            let _ = run;
        }
    }
}

/// The current flow's control block, null on a kernel thread that never used
/// the runtime.
#[inline(never)]
pub fn get() -> *const () {
    CURRENT.with(Cell::get)
}

/// As [`get`], inlined: only for functions that are never inlined themselves
/// and do not switch.
#[inline(always)]
pub fn get_inlined() -> *const () {
    CURRENT.with(Cell::get)
}

/// The LWP that the kernel thread carries, or null. Inlined, with the same
/// restriction as [`get_inlined`].
#[inline(always)]
pub fn carried() -> *const () {
    CARRIED.with(Cell::get)
}

/// Sets what [`carried`] returns.
#[inline(never)]
pub fn set_carried(lwp: *const ()) {
    CARRIED.with(|cell| cell.set(lwp));
}

/// Sets the current flow of the calling thread pointer's owner.
#[inline(never)]
pub fn set(current: *const ()) {
    CURRENT.with(|cell| cell.set(current));
}

/// Where the calling thread pointer's owner keeps its word. Valid until the
/// kernel thread ends.
#[inline(never)]
pub fn slot() -> Slot {
    CURRENT.with(|cell| cell as *const _)
}

/// Registers a function that gets the current flow when the calling kernel
/// thread ends. Returns `false` if the thread is already past that point.
#[inline(never)]
pub fn at_exit(run: fn(*const ())) -> bool {
    #[cfg(not(lisle_loom))]
    return AT_EXIT.try_with(|hook| hook.0.set(Some(run))).is_ok();
    #[cfg(lisle_loom)]
    {
        AT_EXIT.with(|hook| hook.0.set(Some(run)));
        true
    }
}
