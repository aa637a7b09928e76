//! Slots: what the reactor knows of a descriptor: its two [`Side`]s.
//!
//! Slots are type-stable: made once, reused for ever. So an event that was
//! fetched before its descriptor was closed at worst wakes the slot's next user
//! once too often, and makes it try once in vain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use lisle_lwp::current;
use lisle_lwp::lock::RawLock;

use super::side::Side;
use super::source::Interest;
use crate::sched::Steady;
use crate::wait::Waiters;

/// What happened to a descriptor, as the poller says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Happened {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The end, an error or urgent data: from now on a short read does not mean
    /// that there is nothing more.
    pub(crate) unusual: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Slot {
    read: Side,
    write: Side,
    /// Held while the descriptor is being registered.
    pub(super) registering: Waiters<()>,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            read: Side::new(),
            write: Side::new(),
            registering: Waiters::new(()),
        }
    }

    pub(crate) fn key(&'static self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// # Safety
    /// The key comes from [`Slot::key`].
    pub(crate) unsafe fn from_key(key: usize) -> &'static Slot {
        // SAFETY: the caller's promise; slots live for ever.
        unsafe { &*(key as *const Slot) }
    }

    pub(super) fn side(&self, interest: Interest) -> &Side {
        match interest {
            Interest::Read => &self.read,
            Interest::Write => &self.write,
        }
    }

    /// Counts events and wakes those who wait for them. Called in the idle
    /// context only, because wakers are foreign code.
    pub(crate) fn fire(&self, happened: Happened) {
        for (fired, side) in [
            (happened.readable, &self.read),
            (happened.writable, &self.write),
        ] {
            if fired && let Some(task) = side.fire(happened.unusual) {
                wake(task);
            }
        }
    }
}

/// Calls a task's waker in the idle context. It is foreign code: it may panic, and may call
/// whatever code on a plain kernel thread may call.
#[inline(never)]
fn wake(task: Waker) {
    // The short cut of `yield_now` takes whoever runs on a kernel thread with an LWP for a user
    // thread; the idle context must not be queued as one.
    let carried = current::carried();
    current::set_carried(core::ptr::null());
    let panicked = catch_unwind(AssertUnwindSafe(|| task.wake())).err();
    // What it panicked with is foreign code, too.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panicked))) {
        core::mem::forget(again);
    }
    current::set_carried(carried);
}

/// Slots that wait for their next descriptor.
static FREE: RawLock<Vec<&'static Slot>> = RawLock::new(Vec::new());

/// Takes the list's lock over a fork.
pub(crate) fn lock_for_fork() {
    FREE.lock_raw();
}

/// Releases what [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread called `lock_for_fork`, or is its copy in the child.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: passed on.
    unsafe { FREE.unlock_raw() };
}

/// A slot that nobody else uses.
pub(super) fn take() -> &'static Slot {
    let _steady = Steady::new();
    let free = FREE.lock().pop();
    free.unwrap_or_else(|| Box::leak(Box::new(Slot::new())))
}

/// Gives a slot back. Nobody waits on it.
pub(super) fn give(slot: &'static Slot) {
    for side in [&slot.read, &slot.write] {
        // Foreign code, outside the lock.
        drop(side.forget());
    }
    let _steady = Steady::new();
    let mut spare: Vec<&'static Slot> = Vec::new();
    loop {
        let mut free = FREE.lock();
        if free.len() < free.capacity() {
            return free.push(slot);
        }
        if spare.capacity() > free.len() {
            spare.append(&mut free);
            core::mem::swap(&mut *free, &mut spare);
            continue;
        }
        let wanted = (free.len() + 1) * 2;
        drop(free);
        spare.reserve(wanted);
    }
}
