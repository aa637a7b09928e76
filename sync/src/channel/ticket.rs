//! What a channel keeps of each waiter: its ticket.
//!
//! | mode | the waiter | when its turn comes |
//! |---|---|---|
//! | `Direct` | a blocked thread, or a future that sends | the message is moved into, or out of, its place |
//! | `Promise` | a selecting thread, or a future that receives | it is *granted* a message or room, and completes the operation itself |
//! | `Watch` | a thread that only wants to know that an operation is ready | it is woken, and nothing else happens |
//!
//! A ticket belongs to a thread, which has a [`WaitKey`](lisle_runtime::wait::WaitKey), or to a
//! task, which has a [`Waker`]. It is touched under the channel's lock, by who has claimed
//! its waiter's wait ([`Lone`](super::lone::Lone)), or by its waiter when its wait is over and
//! nobody has it.

use core::cell::Cell;
use core::ptr;
use core::task::Waker;

use lisle_lwp::shim;
use lisle_runtime::wait::Node;

/// See the module documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Direct,
    Promise,
    Watch,
}

/// Where the message of a direct ticket is.
pub(super) type Slot<T> = shim::Cell<Option<T>>;

/// See the module documentation.
pub(super) struct Ticket {
    /// Of a direct ticket: a [`Slot`] for the channel's messages.
    slot: *const (),
    pub(super) mode: Mode,
    /// What the waiter was promised: see [`core`](super::core).
    pub(super) granted: Cell<u64>,
    task: Cell<Option<Waker>>,
}

impl Ticket {
    /// A ticket of a thread.
    pub(super) fn new(mode: Mode) -> Ticket {
        Ticket {
            slot: ptr::null(),
            mode,
            granted: Cell::new(super::core::NONE),
            task: Cell::new(None),
        }
    }

    /// A direct ticket with its place for a message.
    pub(super) fn direct<T>(slot: &Slot<T>) -> Ticket {
        Ticket {
            slot: ptr::from_ref(slot).cast(),
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
    /// The ticket is direct and of a channel of `T`; the caller holds the lock, or has
    /// claimed the waiter's wait, and has not woken the waiter.
    pub(super) unsafe fn put<T>(&self, message: T) {
        // SAFETY: the caller's promise: the slot is there, and the access unique.
        unsafe { (*self.slot.cast::<Slot<T>>()).with_mut(|slot| *slot = Some(message)) };
    }

    /// Exchanges what is in a direct ticket.
    ///
    /// # Safety
    /// As [`Ticket::put`].
    pub(super) unsafe fn swap<T>(&self, message: &mut Option<T>) {
        let swap = |slot: *mut _| {
            // SAFETY: as above.
            core::mem::swap(unsafe { &mut *slot }, message);
        };
        // SAFETY: as above.
        unsafe { (*self.slot.cast::<Slot<T>>()).with_mut(swap) };
    }

    /// Takes the message out of a direct ticket.
    ///
    /// # Safety
    /// As [`Ticket::put`].
    pub(super) unsafe fn take<T>(&self) -> Option<T> {
        // SAFETY: as above.
        unsafe { (*self.slot.cast::<Slot<T>>()).with_mut(|slot| (*slot).take()) }
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
