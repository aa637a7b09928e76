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

use lisle_lwp::lock::RawLock;

use super::source::Interest;
use crate::sched::Steady;
use crate::wait::Waiters;
use crate::wait::list::Queue;

/// What happened to a descriptor, as the poller says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Happened {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The end, an error or urgent data: from now on a short read does not mean
    /// that there is nothing more.
    pub(crate) unusual: bool,
}

/// One direction of a descriptor.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) events: u64,
    pub(super) unusual: bool,
    pub(super) waiters: Queue<()>,
    /// The task that polled last and was told to wait.
    pub(super) task: Option<Waker>,
}

impl Direction {
    const fn new() -> Direction {
        Direction {
            events: 0,
            unusual: false,
            waiters: Queue::new(),
            task: None,
        }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Slot {
    read: Waiters<Direction>,
    write: Waiters<Direction>,
    /// Held while the descriptor is being registered.
    pub(super) registering: Waiters<()>,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            read: Waiters::new(Direction::new()),
            write: Waiters::new(Direction::new()),
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

    pub(super) fn side(&self, interest: Interest) -> &Waiters<Direction> {
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
            let mut side = side.lock();
            side.events += 1;
            side.unusual |= happened.unusual;
            // SAFETY: we hold the lock and forget each node once woken.
            while let Some(node) = unsafe { side.waiters.pop() } {
                side.wake(node.key());
            }
            let task = side.task.take();
            drop(side);
            if let Some(task) = task {
                // A waker that panics must not take the LWP with it.
                let _ = catch_unwind(AssertUnwindSafe(|| task.wake()));
            }
        }
    }
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
        let mut side = side.lock();
        side.unusual = false;
        let task = side.task.take();
        drop(side);
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
