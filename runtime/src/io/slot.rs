//! Slots: what the reactor knows of a descriptor, and who waits for it.
//!
//! Each direction has a counter of events, a list of waiting threads and the
//! waker of a task. *Protocol*. Waiter: (1) reads the counter; (2) tries its
//! operation; (3) if that would block: under the lock, enqueues itself only if
//! the counter has not moved. Reactor: under the lock, counts an event and
//! wakes all. An event between (1) and (3) makes the waiter try again; one after
//! (3) wakes it. So edge-triggered readiness is never lost, and any number of
//! threads may wait on one direction.
//!
//! Slots are type-stable: made once, reused for ever. So an event that was
//! fetched before its descriptor was closed at worst wakes the slot's next user
//! once too often, and makes it try once in vain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use lisle_lwp::current;
use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicU64, Ordering};

use super::source::Interest;
use crate::sched::Steady;
use crate::wait::list::Queue;
use crate::wait::{Locked, Waiters};

/// What happened to a descriptor, as the poller says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Happened {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The end, an error or urgent data: from now on a short read does not mean
    /// that there is nothing more.
    pub(crate) unusual: bool,
}

/// A direction's count of events, and whether one of them was unusual (the lowest bit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen(pub(super) u64);

impl Seen {
    const UNUSUAL: u64 = 1;
    const ONE: u64 = 2;

    pub(super) fn is_unusual(self) -> bool {
        self.0 & Self::UNUSUAL != 0
    }
}

/// Who waits for one direction of a descriptor.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) threads: Queue<()>,
    /// The task that polled last and was told to wait.
    pub(super) task: Option<Waker>,
}

/// One direction of a descriptor.
#[derive(Debug)]
pub(super) struct Side {
    /// A [`Seen`], written under the lock of `waiting`.
    seen: AtomicU64,
    waiting: Waiters<Waiting>,
}

impl Side {
    const fn new() -> Side {
        Side {
            seen: AtomicU64::new(0),
            waiting: Waiters::new(Waiting {
                threads: Queue::new(),
                task: None,
            }),
        }
    }

    /// Step (1) of a waiter, without the lock: most operations need not wait.
    #[inline]
    pub(super) fn seen(&self) -> Seen {
        // Acquire: the operation comes after it. Pairs with the Release in `count`.
        Seen(self.seen.load(Ordering::Acquire))
    }

    pub(super) fn lock(&self) -> Locked<'_, Waiting> {
        self.waiting.lock()
    }

    /// Counts an event, under the lock.
    fn count(&self, unusual: bool) {
        let seen = self.seen.load(Ordering::Relaxed).wrapping_add(Seen::ONE);
        // Release: pairs with the Acquire in `seen`.
        self.seen
            .store(seen | u64::from(unusual), Ordering::Release);
    }
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
            if !fired {
                continue;
            }
            let mut waiting = side.lock();
            side.count(happened.unusual);
            // SAFETY: we hold the lock and forget each node once woken.
            while let Some(node) = unsafe { waiting.threads.pop() } {
                waiting.wake(node.key());
            }
            let task = waiting.task.take();
            drop(waiting);
            if let Some(task) = task {
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
        let mut waiting = side.lock();
        let seen = side.seen.load(Ordering::Relaxed);
        // Relaxed: a hint for whoever uses the slot next.
        side.seen.store(seen & !Seen::UNUSUAL, Ordering::Relaxed);
        let task = waiting.task.take();
        drop(waiting);
        // Foreign code, outside the lock.
        drop(task);
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
