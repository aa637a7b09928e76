//! Waiting in a queue: the part that barriers, wait groups and parkers share.

use std::time::Instant;

use lisle_runtime::cancel;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{self, Locked, Node, Outcome, Reason, Waiters};

/// How [`wait_in`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The caller need not wait.
    AtOnce,
    /// Somebody took it out of the queue.
    Woken,
    /// The deadline passed first.
    TimedOut,
}

/// State with one queue of waiters.
pub(crate) trait Awaited: Sized {
    /// The queue.
    fn queue(&mut self) -> &mut Queue<()>;
    /// Whether the caller need not wait. Otherwise it has been counted in.
    fn enter(state: &mut Locked<'_, Self>) -> bool;
    /// A waiter that is still in the queue leaves it early.
    fn leave(&mut self) {}
}

/// Waits until somebody takes the caller out of the queue and wakes it, unless it
/// need not wait. A cancellation point.
///
/// A waiter that was taken out, but whose wait had ended otherwise just before, has
/// got what it waited for.
#[inline]
pub(crate) fn wait_in<S: Awaited>(
    state: &Waiters<S>,
    reason: &'static Reason,
    deadline: Option<Instant>,
) -> Waited {
    let detail = core::ptr::from_ref(state).addr();
    let Ok(wait) = wait::begin(reason, detail, true) else {
        cancel::deliver()
    };
    let node = Node::new(&wait, ());
    if enter(state, &node) {
        let _ = wait.abandon();
        return Waited::AtOnce;
    }
    match wait.block(deadline) {
        Outcome::Woken => Waited::Woken,
        outcome => ended_early(state, &node, outcome),
    }
}

fn enter<S: Awaited>(state: &Waiters<S>, node: &Node<()>) -> bool {
    let mut state = state.lock();
    let done = S::enter(&mut state);
    if !done {
        // SAFETY: the caller blocks until the node is popped, or removes it.
        unsafe { state.queue().push(node) };
    }
    done
}

#[cold]
fn ended_early<S: Awaited>(state: &Waiters<S>, node: &Node<()>, outcome: Outcome) -> Waited {
    let mut locked = state.lock();
    // SAFETY: pushed to this queue.
    let left = unsafe { locked.queue().remove(node) };
    if left {
        locked.leave();
    }
    drop(locked);
    if outcome == Outcome::Cancelled {
        cancel::deliver();
    }
    if left {
        Waited::TimedOut
    } else {
        Waited::Woken
    }
}

/// Takes all out of the queue and wakes them.
pub(crate) fn wake_all<S: Awaited>(state: &mut Locked<'_, S>) {
    // SAFETY: we hold the lock and forget each node once woken.
    while let Some(node) = unsafe { state.queue().pop() } {
        state.wake(node.key());
    }
}
