//! A descriptor in the reactor, and waiting for it to become ready.
//!
//! Each direction has a counter of events and a list of waiters. *Protocol*.
//! Waiter: (1) reads the counter; (2) tries its operation; (3) if that would
//! block: under the lock, enqueues itself only if the counter has not moved.
//! Reactor: under the lock, counts an event and wakes all waiters. An event
//! between (1) and (3) makes the waiter try again; one after (3) wakes it. So
//! edge-triggered readiness is never lost, and any number of threads may wait
//! on one direction.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::lock::RawLock;

use crate::cancel;
use crate::fork;
use crate::runtime::{self, Shared};
use crate::wait::list::Queue;
use crate::wait::{self, Node, Outcome, Reason, Waiters};

static READABLE: Reason = Reason::new("readable descriptor");
static WRITABLE: Reason = Reason::new("writable descriptor");

/// Which readiness is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Data, a connection, or the end can be read.
    Read,
    /// There is room to write, or a connection has been made or refused.
    Write,
}

#[derive(Debug)]
struct Direction {
    events: u64,
    waiters: Queue<()>,
}

/// A registered descriptor's waiters. Type-stable: made once, reused for ever.
#[derive(Debug)]
pub(crate) struct Slot {
    read: Waiters<Direction>,
    write: Waiters<Direction>,
}

impl Slot {
    const fn new() -> Slot {
        Slot {
            read: Waiters::new(Direction {
                events: 0,
                waiters: Queue::new(),
            }),
            write: Waiters::new(Direction {
                events: 0,
                waiters: Queue::new(),
            }),
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

    fn side(&self, interest: Interest) -> &Waiters<Direction> {
        match interest {
            Interest::Read => &self.read,
            Interest::Write => &self.write,
        }
    }

    /// Counts events and wakes those who wait for them.
    pub(crate) fn fire(&self, readable: bool, writable: bool) {
        for (fired, side) in [(readable, &self.read), (writable, &self.write)] {
            if fired {
                let mut side = side.lock();
                side.events += 1;
                // SAFETY: we hold the lock and forget each node once woken.
                while let Some(node) = unsafe { side.waiters.pop() } {
                    side.wake(node.key());
                }
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

fn take_slot() -> &'static Slot {
    let free = FREE.lock().pop();
    free.unwrap_or_else(|| Box::leak(Box::new(Slot::new())))
}

fn give_slot(slot: &'static Slot) {
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

/// An I/O object whose operations block the calling thread only.
///
/// The object must be in non-blocking mode. It belongs to the reactor of the
/// runtime on which it was made (the default one, if it was made on a plain
/// kernel thread) and may be used from anywhere.
#[derive(Debug)]
pub struct Source<T: AsFd> {
    io: T,
    slot: &'static Slot,
    shared: Arc<Shared>,
}

impl<T: AsFd> Source<T> {
    /// Registers a non-blocking object.
    ///
    /// # Errors
    /// If the default runtime cannot be started or the poller refuses the
    /// descriptor. The object is dropped then.
    pub fn new(io: T) -> io::Result<Source<T>> {
        let shared = runtime::current()?;
        let slot = take_slot();
        // SAFETY: `io` is closed only after `drop` has removed it.
        let added = unsafe { shared.reactor.add(io.as_fd().as_raw_fd(), slot) };
        if let Err(error) = added {
            give_slot(slot);
            return Err(error);
        }
        Ok(Source { io, slot, shared })
    }

    /// The object.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Does `op` until it does not report `WouldBlock`, waiting for readiness
    /// in between. A cancellation point while it waits.
    ///
    /// # Errors
    /// Those of `op`; `TimedOut` once the deadline has passed.
    pub fn when_ready<R>(
        &self,
        interest: Interest,
        deadline: Option<Instant>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let side = self.slot.side(interest);
        loop {
            let seen = side.lock().events;
            match op(&self.io) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return result,
            }
            self.wait(interest, seen, deadline)?;
        }
    }

    /// Waits until there has been an event since the counter was `seen`.
    fn wait(&self, interest: Interest, seen: u64, deadline: Option<Instant>) -> io::Result<()> {
        let reason = match interest {
            Interest::Read => &READABLE,
            Interest::Write => &WRITABLE,
        };
        let side = self.slot.side(interest);
        let fd = self.io.as_fd().as_raw_fd() as usize;
        let Ok(wait) = wait::begin(reason, fd, true) else {
            cancel::deliver()
        };
        let node = Node::new(&wait, ());
        {
            let mut side = side.lock();
            if side.events != seen {
                drop(side);
                if wait.abandon() == Some(Outcome::Cancelled) {
                    cancel::deliver();
                }
                return Ok(());
            }
            // SAFETY: removed below, before the frame goes, unless popped.
            unsafe { side.waiters.push(&node) };
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: pushed to this queue.
            unsafe { side.lock().waiters.remove(&node) };
        }
        match outcome {
            Outcome::TimedOut => Err(io::ErrorKind::TimedOut.into()),
            Outcome::Cancelled => cancel::deliver(),
            Outcome::Woken | Outcome::Abandoned => Ok(()),
        }
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        // In a forked child the poller is the parent's, and so it stays.
        if self.shared.generation == fork::generation() {
            self.shared.reactor.remove(self.io.as_fd());
        }
        give_slot(self.slot);
    }
}
