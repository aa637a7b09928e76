//! A state, and threads and tasks that wait until something is true of it.
//!
//! What `oneshot`, `broadcast` and `watch` have in common. Every change wakes
//! everybody who waited before it, and each looks for itself; so a wait that ends
//! early takes nothing from others, and there is no wake-up to pass on.
//!
//! *No change is missed*: a waiter looks and joins the list in one turn of the
//! lock, under which the state changes. *Ends*: a change wakes those who joined
//! before it, by a stamp, and not those who join while it does; tasks are woken
//! one by one outside the lock.

use core::cell::Cell;
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::time::Instant;

use lisle_runtime::cancel;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Caller, Node, Outcome, Reason, Waiters};

use super::ticket::Summons;

/// A waiter: how often the state had changed when it joined, and its waker if it
/// is a task.
struct Bell {
    joined: u64,
    task: Cell<Option<Waker>>,
}

struct Shared<S> {
    state: S,
    changes: u64,
    waiting: Queue<Bell>,
}

/// See the module documentation.
pub(super) struct Signal<S> {
    shared: Waiters<Shared<S>>,
}

// SAFETY: the state is reached under the lock only, and the list has what can be
// woken from any thread.
unsafe impl<S: Send> Send for Signal<S> {}
// SAFETY: as above.
unsafe impl<S: Send> Sync for Signal<S> {}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimedOut;

impl<S> Signal<S> {
    pub(super) fn new(state: S) -> Signal<S> {
        Signal {
            shared: Waiters::new(Shared {
                state,
                changes: 0,
                waiting: Queue::new(),
            }),
        }
    }

    /// Looks at the state, and may change what nobody waits for. No user code,
    /// allocation or wait in `look`: it runs under a lock of the runtime's.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut S) -> R) -> R {
        look(&mut self.shared.lock().state)
    }

    /// Changes the state and wakes all who wait. `change` as above.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let (result, now) = {
            let mut shared = self.shared.lock();
            shared.changes += 1;
            (change(&mut shared.state), shared.changes)
        };
        while let Some(summons) = self.wake_until_task(now) {
            drop(summons);
        }
        result
    }

    /// Wakes threads that joined before a change, up to the first task.
    fn wake_until_task(&self, change: u64) -> Option<Summons> {
        let mut shared = self.shared.lock();
        loop {
            let first = shared.waiting.front()?;
            if first.data.joined >= change {
                return None;
            }
            // SAFETY: we hold the lock and forget the node once woken.
            let first = unsafe { shared.waiting.pop() }?;
            match first.data.task.take() {
                Some(waker) => return Some(Summons::new(Some(waker))),
                None => _ = shared.wake(first.key()),
            }
        }
    }

    /// Waits until `found` finds something. A cancellation point. `found` as
    /// above.
    pub(super) fn wait<R>(
        &self,
        reason: &'static Reason,
        deadline: Option<Instant>,
        mut found: impl FnMut(&mut S) -> Option<R>,
    ) -> Result<R, TimedOut> {
        let caller = Caller::new();
        let mut late = false;
        loop {
            let node;
            let wait;
            {
                let mut shared = self.shared.lock_as(&caller);
                if let Some(result) = found(&mut shared.state) {
                    return Ok(result);
                }
                if late {
                    return Err(TimedOut);
                }
                let detail = core::ptr::from_ref(self) as usize;
                wait = match caller.begin(reason, detail, true) {
                    Ok(wait) => wait,
                    Err(_) => {
                        drop(shared);
                        cancel::deliver()
                    }
                };
                let joined = shared.changes;
                let task = Cell::new(None);
                node = Node::new(&wait, Bell { joined, task });
                // SAFETY: removed below, before its frame goes, unless popped.
                unsafe { shared.waiting.push(&node) };
            }
            let outcome = wait.block(deadline);
            if outcome != Outcome::Woken {
                // SAFETY: pushed to this list.
                unsafe { self.shared.lock().waiting.remove(&node) };
            }
            match outcome {
                Outcome::Cancelled => cancel::deliver(),
                Outcome::TimedOut => late = true,
                _ => {}
            }
        }
    }

    /// As [`Signal::wait`], for a task.
    pub(super) fn until<R, F>(&self, found: F) -> Until<'_, S, F>
    where
        F: FnMut(&mut S) -> Option<R>,
    {
        Until {
            signal: self,
            found,
            place: Place::new(),
        }
    }

    /// Finds something, or joins the list.
    ///
    /// # Safety
    /// The place stays where it is until [`Signal::leave`].
    pub(super) unsafe fn poll<R>(
        &self,
        place: &mut Place,
        context: &Context<'_>,
        found: impl FnOnce(&mut S) -> Option<R>,
    ) -> Poll<R> {
        let waker = context.waker().clone();
        // Dropped after the lock.
        let _outdated;
        let mut shared = self.shared.lock();
        if let Some(node) = &place.node {
            _outdated = node.data.task.take();
            // SAFETY: it was pushed to this list.
            unsafe { shared.waiting.remove(node) };
        }
        if let Some(result) = found(&mut shared.state) {
            return Poll::Ready(result);
        }
        let joined = shared.changes;
        let task = Cell::new(Some(waker));
        let node = place
            .node
            .insert(Node::without_thread(Bell { joined, task }));
        // SAFETY: the caller's promise.
        unsafe { shared.waiting.push(node) };
        Poll::Pending
    }

    /// Leaves the list.
    pub(super) fn leave(&self, place: &mut Place) {
        if let Some(node) = &place.node {
            // SAFETY: pushed to this list.
            unsafe { self.shared.lock().waiting.remove(node) };
            place.node = None;
        }
    }
}

/// Where a task waits.
pub(super) struct Place {
    node: Option<Node<Bell>>,
    _pinned: PhantomPinned,
}

// SAFETY: what others reach of it they reach under the signal's lock.
unsafe impl Send for Place {}
// SAFETY: as above; nothing can be done with a shared reference.
unsafe impl Sync for Place {}

impl Place {
    pub(super) fn new() -> Place {
        Place {
            node: None,
            _pinned: PhantomPinned,
        }
    }
}

/// The future of [`Signal::until`].
pub(super) struct Until<'a, S, F> {
    signal: &'a Signal<S>,
    found: F,
    place: Place,
}

impl<S, R, F: FnMut(&mut S) -> Option<R>> Future for Until<'_, S, F> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        // SAFETY: nothing is moved out of the future.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: the future is pinned, and dropping it leaves the list.
        unsafe { this.signal.poll(&mut this.place, context, &mut this.found) }
    }
}

impl<S, F> Drop for Until<'_, S, F> {
    fn drop(&mut self) {
        self.signal.leave(&mut self.place);
    }
}
