//! A descriptor in the reactor, and waiting for it to become ready.
//!
//! A descriptor is registered when somebody first has to wait for it, with the
//! reactor of that thread's runtime, and stays there until it is closed. What
//! never waits costs no system call. (`slot.rs` has the protocol of waiting.)
//!
//! *Drained*. A stream that gave less than was asked for has given all it had.
//! Unless there has been an event since, the next read waits at once instead of
//! asking in vain. That is sound because whatever comes after the short read
//! makes a new edge; but the end, errors and urgent data may have come together
//! with the data, under its edge, so after those every read asks. Only for TCP:
//! other streams give less than they have, too.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use lisle_lwp::shim::{AtomicPtr, AtomicU64, Ordering};
use lisle_lwp::sys::{self, Call};

use super::side::Seen;
use super::slot::{self, Slot};
use crate::cancel;
use crate::fork;
use crate::runtime::{self, Shared};
use crate::wait::{self, Node, Outcome, Reason};

static READABLE: Reason = Reason::from_outside("readable descriptor");
static WRITABLE: Reason = Reason::from_outside("writable descriptor");

/// Which readiness is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Data, a connection, or the end can be read.
    Read,
    /// There is room to write, or a connection has been made or refused.
    Write,
}

/// How long an operation may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    Endless,
    /// From when it first has to wait.
    For(Duration),
    Until(Instant),
}

impl Patience {
    /// The deadline of a wait that begins now.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Patience::Endless => None,
            Patience::For(timeout) => crate::time::now().checked_add(timeout),
            Patience::Until(deadline) => Some(deadline),
        }
    }
}

impl From<Option<Instant>> for Patience {
    fn from(deadline: Option<Instant>) -> Self {
        deadline.map_or(Patience::Endless, Patience::Until)
    }
}

/// `drained` when nothing is known: no count of events gets there.
const UNKNOWN: u64 = u64::MAX;

/// A descriptor's place in a reactor. It is left before the descriptor is
/// closed, because it is a field that comes before it.
#[derive(Debug)]
struct Registration {
    slot: &'static Slot,
    fd: RawFd,
    /// The runtime in whose reactor it is, from [`Arc::into_raw`]; null before
    /// anybody had to wait.
    shared: AtomicPtr<Shared>,
    /// The count of events after which a short read emptied the descriptor.
    drained: AtomicU64,
}

impl Registration {
    /// The runtime that waits for the descriptor.
    fn ensure(&self) -> io::Result<&Shared> {
        // Acquire: pairs with the Release in `register`.
        let shared = self.shared.load(Ordering::Acquire);
        // SAFETY: the registration holds a reference.
        match unsafe { shared.as_ref() } {
            Some(shared) => Ok(shared),
            None => self.register(),
        }
    }

    #[cold]
    fn register(&self) -> io::Result<&Shared> {
        let shared = runtime::current()?;
        let alone = self.slot.registering.lock();
        let mut registered = self.shared.load(Ordering::Relaxed).cast_const();
        let mut unused = None;
        let mut outcome = Ok(());
        if registered.is_null() {
            // SAFETY: `Drop` removes it, and the owner closes it after that.
            outcome = unsafe { shared.reactor.add(self.fd, self.slot) };
            registered = Arc::into_raw(shared);
            if outcome.is_ok() {
                // Release: pairs with the Acquire in `ensure`.
                self.shared.store(registered.cast_mut(), Ordering::Release);
            } else {
                // SAFETY: from `into_raw`, and not stored.
                unused = Some(unsafe { Arc::from_raw(registered) });
            }
        } else {
            unused = Some(shared);
        }
        drop(alone);
        // Dropped outside the lock: it may be the last reference.
        drop(unused);
        outcome?;
        // SAFETY: the registration holds a reference.
        Ok(unsafe { &*registered })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let shared = self.shared.load(Ordering::Relaxed);
        if !shared.is_null() {
            // SAFETY: from `into_raw` in `register`.
            let shared = unsafe { Arc::from_raw(shared) };
            // In a forked child the poller is the parent's, and so it stays.
            if shared.generation == fork::generation() {
                // SAFETY: the descriptor is closed, or given away, after this.
                shared
                    .reactor
                    .remove(unsafe { BorrowedFd::borrow_raw(self.fd) });
            }
        }
        slot::give(self.slot);
    }
}

/// A descriptor whose operations block the calling thread only: the way to use
/// any object with a descriptor that can be polled (pipes, event descriptors,
/// terminals, sockets of other kinds).
///
/// The object must be in non-blocking mode, or its operations must be such that
/// they do not block when it is ready. It belongs to the reactor of the runtime
/// on which a thread first waited for it (the default one, for a plain kernel
/// thread) and may be used from anywhere, while that runtime lives: afterwards,
/// calls that would have to wait fail.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::io::{ErrorKind, Read, Write};
/// use lisle::io::{Interest, Source};
/// use std::os::unix::net::UnixStream;
///
/// let (near, mut far) = UnixStream::pair()?;
/// near.set_nonblocking(true)?;
/// let near = Source::new(near);
/// far.write_all(b"!")?;
/// let mut byte = [0];
/// let n = near.when_ready(Interest::Read, None, |mut stream| stream.read(&mut byte))?;
/// assert_eq!((n, byte), (1, *b"!"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Source<T: AsFd> {
    // Before `io`: left before that is closed.
    registration: Registration,
    io: T,
}

impl<T: AsFd> Source<T> {
    /// Prepares an object for waiting. No system call is made yet.
    pub fn new(io: T) -> Source<T> {
        let registration = Registration {
            slot: slot::take(),
            fd: io.as_fd().as_raw_fd(),
            shared: AtomicPtr::new(core::ptr::null_mut()),
            drained: AtomicU64::new(UNKNOWN),
        };
        Source { registration, io }
    }

    /// The object.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The object, which the reactor knows no longer.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// Does `op` until it does not report `WouldBlock`, waiting for readiness
    /// in between. A cancellation point.
    ///
    /// # Errors
    /// Those of `op`; `TimedOut` once the deadline has passed; when it must
    /// wait for the first time, if the default runtime cannot be started or the
    /// kernel cannot poll such a descriptor; and when it must wait although the
    /// runtime to which the descriptor belongs has been shut down.
    pub fn when_ready<R>(
        &self,
        interest: Interest,
        deadline: Option<Instant>,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.attempt(interest, deadline.into(), op)
    }

    pub(crate) fn attempt<R>(
        &self,
        interest: Interest,
        patience: Patience,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        cancel::checkpoint();
        let side = self.registration.slot.side(interest);
        let mut deadline = None;
        loop {
            let seen = side.seen();
            match op(&self.io) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return result,
            }
            let deadline = *deadline.get_or_insert_with(|| patience.deadline());
            self.wait(interest, seen, deadline)?;
        }
    }

    /// As [`Source::attempt`], for reads of up to `wanted` bytes from a TCP
    /// stream: see *Drained* in the module documentation.
    pub(crate) fn attempt_read(
        &self,
        patience: Patience,
        wanted: usize,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        cancel::checkpoint();
        let Registration { slot, drained, .. } = &self.registration;
        let mut deadline = None;
        loop {
            let seen = slot.side(Interest::Read).seen();
            // Relaxed: a hint about this descriptor that only readers of it
            // write; an old value costs a read in vain.
            if seen.is_unusual() || wanted == 0 || drained.load(Ordering::Relaxed) != seen.0 {
                match op(&self.io) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(n) => {
                        if 0 < n && n < wanted {
                            drained.store(seen.0, Ordering::Relaxed);
                        }
                        return Ok(n);
                    }
                    error => return error,
                }
            }
            let deadline = *deadline.get_or_insert_with(|| patience.deadline());
            self.wait(Interest::Read, seen, deadline)?;
        }
    }

    /// Does `op`; if that would block, arranges for the task to be woken when
    /// it may be worth trying again. For futures. One task at a time can wait
    /// for each direction: the last that polled.
    pub fn poll_ready<R>(
        &self,
        interest: Interest,
        context: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let side = self.registration.slot.side(interest);
        loop {
            let seen = side.seen();
            match op(&self.io) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return Poll::Ready(result),
            }
            match self.registration.ensure() {
                Ok(served_by) if served_by.is_stopping() => return Poll::Ready(Err(not_served())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if side.leave_waker(context.waker(), seen) {
                return Poll::Pending;
            }
        }
    }

    /// Waits until there has been an event since the counter was `seen`.
    fn wait(&self, interest: Interest, seen: Seen, deadline: Option<Instant>) -> io::Result<()> {
        let Registration { slot, fd, .. } = self.registration;
        let served_by = self.registration.ensure()?;
        if served_by.generation != fork::generation() {
            // A forked child: nobody serves the parent's reactor here.
            return poll_alone(self.io.as_fd(), interest, deadline);
        }
        if served_by.is_stopping() {
            return Err(not_served());
        }
        let reason = match interest {
            Interest::Read => &READABLE,
            Interest::Write => &WRITABLE,
        };
        let side = slot.side(interest);
        let Ok(wait) = wait::begin(reason, fd as usize, true) else {
            cancel::deliver()
        };
        let node = Node::new(&wait, ());
        // SAFETY: it leaves below, before the frame goes, unless woken.
        if !unsafe { side.enqueue(&node, seen) } {
            let _ = wait.abandon();
            return Ok(());
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: enqueued above.
            unsafe { side.leave(&node) };
        }
        match outcome {
            Outcome::TimedOut => Err(io::ErrorKind::TimedOut.into()),
            Outcome::Cancelled => cancel::deliver(),
            Outcome::Woken | Outcome::Abandoned => Ok(()),
        }
    }
}

#[cold]
fn not_served() -> io::Error {
    io::Error::other("the runtime that served this descriptor has been shut down")
}

/// Waits on the calling kernel thread. Returns early when interrupted.
#[cold]
fn poll_alone(fd: BorrowedFd<'_>, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    let flags = match interest {
        Interest::Read => PollFlags::IN,
        Interest::Write => PollFlags::OUT,
    };
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let polled = sys::guarded(Call::Wait, || Ok(poll(&mut fds, timeout.as_ref())?));
    match polled {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}
