//! What a channel keeps of each waiter: its ticket.
//!
//! | mode | the waiter | when its turn comes |
//! |---|---|---|
//! | `Direct` | a blocked thread, or a future that sends | the message is moved into, or out of, its place |
//! | `Promise` | a selecting thread, or a future that receives | it is *granted* a message or room, and completes the operation itself |
//! | `Watch` | a thread that only wants to know that an operation is ready | it is woken, and nothing else happens |
//!
//! A ticket belongs to a thread, which has a [`WaitKey`](lisle_runtime::wait::WaitKey), or to a
//! task, which has a [`Waker`]. It is touched under the channel's lock, or by its
//! waiter when its wait is over and the ticket is in no list.

use core::cell::Cell;
use core::ptr;
use core::task::Waker;

use lisle_runtime::wait::Node;

/// See the module documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Direct,
    Promise,
    Watch,
}

/// See the module documentation.
pub(super) struct Ticket {
    /// Of a direct ticket: an `Option` of the channel's message type.
    message: *mut (),
    pub(super) mode: Mode,
    /// What the waiter was promised: see [`core`](super::core).
    pub(super) granted: Cell<u64>,
    task: Cell<Option<Waker>>,
}

impl Ticket {
    /// A ticket of a thread.
    pub(super) fn new(mode: Mode) -> Ticket {
        Ticket {
            message: ptr::null_mut(),
            mode,
            granted: Cell::new(super::core::NONE),
            task: Cell::new(None),
        }
    }

    /// A direct ticket with its place for a message.
    pub(super) fn direct<T>(place: *mut Option<T>) -> Ticket {
        Ticket {
            message: place.cast(),
            ..Ticket::new(Mode::Direct)
        }
    }

    /// Makes it a task's ticket; returns the waker it had before, to be dropped
    /// outside the lock.
    pub(super) fn set_task(&self, task: Option<Waker>) -> Option<Waker> {
        self.task.replace(task)
    }

    /// Puts a message into a direct ticket.
    ///
    /// # Safety
    /// The ticket is direct and of a channel of `T`; the caller holds the lock
    /// and has not woken the waiter.
    pub(super) unsafe fn put<T>(&self, message: T) {
        // SAFETY: the caller's promise makes the access unique.
        unsafe { *self.message.cast::<Option<T>>() = Some(message) };
    }

    /// Takes the message out of a direct ticket.
    ///
    /// # Safety
    /// As [`Ticket::put`].
    pub(super) unsafe fn take<T>(&self) -> Option<T> {
        // SAFETY: as above.
        unsafe { (*self.message.cast::<Option<T>>()).take() }
    }
}

/// A waiter in a channel's list.
pub(super) type Waiting = Node<Ticket>;

/// A task's waker, called when dropped: after the lock.
#[derive(Default)]
pub(super) struct Summons(Option<Waker>);

impl Summons {
    pub(super) fn new(waker: Option<Waker>) -> Summons {
        Summons(waker)
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

impl Drop for Summons {
    #[inline]
    fn drop(&mut self) {
        if let Some(waker) = self.0.take() {
            wake(waker);
        }
    }
}

/// Calls a waker. A panic of its own ends here: whoever wakes may have tickets in
/// lists, on frames that must not be unwound.
#[cold]
fn wake(waker: Waker) {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
    core::mem::forget(panicked);
}
