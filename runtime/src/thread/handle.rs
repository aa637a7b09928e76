//! `JoinHandle`: the right to a thread's result.

use core::future::Future;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::any::Any;
use std::fmt;
use std::thread::Result;
use std::time::Duration;

use lisle_lwp::shim::Ordering;

use super::Thread;
use super::packet;
use crate::cancel;
use crate::current::me;
use crate::tcb::Tcb;
use crate::wait::{self, Outcome, Reason, Wait};

static JOINING: Reason = Reason::of_join("join of thread");

/// The right to a thread's result, as `std::thread::JoinHandle`. Dropping it
/// detaches the thread.
///
/// It is also a future: awaiting it gives what [`JoinHandle::join`] returns.
pub struct JoinHandle<T> {
    /// Not dropped: the thread's own reference is shared with the thread, and
    /// the last of the two gives it back.
    thread: ManuallyDrop<Thread>,
    /// Whether the result is no longer ours to take or drop.
    taken: bool,
    /// The result lies in the control block.
    _result: PhantomData<*mut Result<T>>,
}

// SAFETY: the handle gives access to the result by value only, once; a result
// is `Send` (the bound of every spawn).
unsafe impl<T> Send for JoinHandle<T> {}
// SAFETY: nothing of the result can be reached through `&self`.
unsafe impl<T> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}

/// The error of joining a thread that exists only in the process from which
/// this one was forked. It is `join`'s payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForkedError;

impl fmt::Display for ForkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread belongs to the process from which this one was forked")
    }
}

impl std::error::Error for ForkedError {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The block's one reference is shared by thread and handle; the thread leaves a result
    /// of this type.
    pub(super) unsafe fn new(block: &'static Tcb) -> Self {
        JoinHandle {
            thread: ManuallyDrop::new(Thread { block }),
            taken: false,
            _result: PhantomData,
        }
    }

    /// The thread.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Whether the thread has ended: then `join` returns at once.
    pub fn is_finished(&self) -> bool {
        self.block().join.is_finished()
    }

    /// Waits for the thread's end. A cancellation point: if the caller is
    /// cancelled while it waits, the thread is detached.
    ///
    /// # Errors
    /// The payload with which the thread panicked;
    /// [`Cancelled`](crate::cancel::Cancelled) if it was cancelled;
    /// [`ForkedError`] if it stayed behind in a fork.
    ///
    /// A thread that its runtime did not wait for, because that was shut down with a deadline or its
    /// last handle was dropped, never ends: do not join it.
    ///
    /// # Panics
    /// If a thread joins itself, or the handle has given its result as a future.
    #[inline(always)]
    pub fn join(mut self) -> Result<T> {
        // Inlined around the wait: see `Departure`.
        while let Some(wait) = self.prepare_join() {
            if wait.block(None) == Outcome::Cancelled {
                self.join_cancelled();
            }
        }
        self.take()
    }

    /// Waits for the thread's end, but no longer than so, and says whether it has come.
    /// For kernel threads.
    pub(crate) fn finishes_within(&self, limit: Duration) -> bool {
        let deadline = crate::time::now() + limit;
        while let Some(wait) = self.prepare_join() {
            match wait.block(Some(deadline)) {
                Outcome::Cancelled => self.join_cancelled(),
                Outcome::TimedOut => {
                    self.block().join.forget_joiner();
                    return self.is_finished();
                }
                _ => {}
            }
        }
        true
    }

    /// A wait to be blocked on, or `None` if the thread has finished.
    fn prepare_join(&self) -> Option<Wait> {
        assert!(!self.taken, "joined after completion");
        let block = self.block();
        if self.is_finished() || self.is_forked() {
            return None;
        }
        assert!(!core::ptr::eq(block, me()), "a thread cannot join itself");
        // The handle may have been polled before.
        block.join.forget_joiner();
        let id = block.id.load(Ordering::Relaxed) as usize;
        match wait::begin(&JOINING, id, true) {
            Ok(wait) => block.join.wait(wait),
            Err(_) => cancel::deliver(),
        }
    }

    #[cold]
    fn join_cancelled(&self) -> ! {
        self.block().join.forget_joiner();
        cancel::deliver()
    }

    fn block(&self) -> &'static Tcb {
        self.thread.block
    }

    fn is_forked(&self) -> bool {
        self.block().generation.load(Ordering::Relaxed) != crate::fork::generation()
    }

    /// Takes the result of a finished thread. The control block
    /// stays until the handle is dropped: it still names the thread.
    fn take(&mut self) -> Result<T> {
        self.taken = true;
        if self.is_forked() {
            return Err(Box::new(ForkedError));
        }
        if crate::trace::is_on() {
            crate::trace::joined(self.block().id.load(Ordering::Relaxed));
        }
        // SAFETY: the thread has finished, so the result is there; `taken` says that
        // nobody else takes it.
        unsafe { self.block().room.take() }
    }

    /// The result has been taken or dropped, or the thread will drop it.
    fn release(&self) {
        let block = self.block();
        if !block.join.release() {
            return;
        }
        // SAFETY: the last of thread and handle to leave.
        unsafe { crate::sched::free(block) };
    }
}

impl<T> JoinHandle<T> {
    /// Drops the handle; says whether the thread has ended with a panic that
    /// nobody will see.
    pub(super) fn discard(self) -> bool {
        ManuallyDrop::new(self).let_go()
    }

    /// What dropping does; called once, at the end. Says what `discard` does.
    fn let_go(&mut self) -> bool {
        if self.is_forked() {
            return false;
        }
        let join = &self.block().join;
        if !self.taken {
            join.forget_joiner();
        }
        if self.taken || !join.detach() {
            self.release();
            return false;
        }
        // SAFETY: the thread has finished and left its result to us.
        let result = unsafe { self.block().room.take() };
        let panicked = packet::is_panic(&result);
        let guard = Release(self);
        drop::<Result<T>>(result);
        drop(guard);
        panicked
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let _ = self.let_go();
    }
}

/// Lets go of the thread even if dropping the result panics.
struct Release<'a, T>(&'a JoinHandle<T>);

impl<T> Drop for Release<'_, T> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        assert!(!self.taken, "polled after completion");
        if self.is_forked() {
            self.taken = true;
            let error: Box<dyn Any + Send> = Box::new(ForkedError);
            return Poll::Ready(Err(error));
        }
        if self.is_finished() || self.block().join.watch(context.waker()) {
            return Poll::Ready(self.take());
        }
        Poll::Pending
    }
}
