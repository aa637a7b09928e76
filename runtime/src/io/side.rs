//! One direction of a descriptor: how often it became ready, and who waits for that.
//!
//! A counter of events, a list of waiting threads and the waker of a task. *Protocol*. Waiter: (1) reads
//! the counter; (2) tries its operation; (3) if that would block: under the lock, enqueues itself only if
//! the counter has not moved. Reactor: under the lock, counts an event and
//! wakes all. An event between (1) and (3) makes the waiter try again; one after
//! (3) wakes it. So edge-triggered readiness is never lost, and any number of
//! threads may wait on one direction.

use std::task::Waker;

use lisle_lwp::shim::{AtomicU64, Ordering};

use crate::wait::list::Queue;
use crate::wait::{Node, Waiters};

/// A direction's count of events, and whether one of them was unusual (the lowest bit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen(pub(super) u64);

impl Seen {
    const UNUSUAL: u64 = 1;
    const ONE: u64 = 2;

    pub(super) fn is_unusual(self) -> bool {
        self.0 & Self::UNUSUAL != 0
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Side {
    /// A [`Seen`], written under the lock of `waiting`.
    seen: AtomicU64,
    waiting: Waiters<Waiting>,
}

/// Who waits.
#[derive(Debug)]
struct Waiting {
    threads: Queue<()>,
    /// The task that polled last and was told to wait.
    task: Option<Waker>,
}

impl Side {
    lisle_lwp::const_unless_loom! {
        /// Nobody waits.
        pub(crate) fn new() -> Side {
            Side {
                seen: AtomicU64::new(0),
                waiting: Waiters::new(Waiting {
                    threads: Queue::new(),
                    task: None,
                }),
            }
        }
    }

    /// Step (1) of a waiter, without the lock: most operations need not wait.
    #[inline]
    pub(crate) fn seen(&self) -> Seen {
        // Acquire: the operation comes after it. Pairs with the Release in `fire`.
        Seen(self.seen.load(Ordering::Acquire))
    }

    /// Step (3) of a thread. `false`: there has been an event since, and it is to try again.
    ///
    /// # Safety
    /// The node stays in place until it has been woken, or [`Side::leave`] has returned.
    pub(crate) unsafe fn enqueue(&self, node: &Node<()>, since: Seen) -> bool {
        let mut waiting = self.waiting.lock();
        let waits = self.seen() == since;
        if waits {
            // SAFETY: passed on.
            unsafe { waiting.threads.push(node) };
        }
        waits
    }

    /// A thread waits no longer, although it may not have been woken.
    ///
    /// # Safety
    /// The node was enqueued here.
    pub(crate) unsafe fn leave(&self, node: &Node<()>) {
        // SAFETY: passed on.
        unsafe { self.waiting.lock().threads.remove(node) };
    }

    /// Step (3) of a task, in the place of the task that waited before. `false`: there has been an event
    /// since, and it is to try again.
    pub(crate) fn leave_waker(&self, task: &Waker, since: Seen) -> bool {
        let mut task = Some(task.clone());
        let mut waiting = self.waiting.lock();
        let waits = self.seen() == since;
        if waits {
            core::mem::swap(&mut waiting.task, &mut task);
        }
        drop(waiting);
        // Foreign code, outside the lock.
        drop(task);
        waits
    }

    /// Counts an event and wakes all threads. The task that waits is the caller's to wake.
    pub(crate) fn fire(&self, unusual: bool) -> Option<Waker> {
        let mut waiting = self.waiting.lock();
        let seen = self.seen.load(Ordering::Relaxed).wrapping_add(Seen::ONE);
        // Release: what made it ready; pairs with the Acquire in `seen`.
        self.seen
            .store(seen | u64::from(unusual), Ordering::Release);
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(node) = unsafe { waiting.threads.pop() } {
            waiting.wake(node.key());
        }
        waiting.task.take()
    }

    /// Prepares for another descriptor. Nobody waits but, maybe, a task, whose waker is returned.
    pub(super) fn forget(&self) -> Option<Waker> {
        let mut waiting = self.waiting.lock();
        let seen = self.seen.load(Ordering::Relaxed);
        // Relaxed: a hint for whoever uses the slot next.
        self.seen.store(seen & !Seen::UNUSUAL, Ordering::Relaxed);
        waiting.task.take()
    }
}
