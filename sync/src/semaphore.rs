//! Counting semaphores: P and V.
//!
//! E. W. Dijkstra, "Cooperating sequential processes", 1965. A semaphore holds
//! permits; P takes some, waiting until they are there, V gives some.
//!
//! *Fairness*: first in, first out, by hand-off: V gives permits to the first
//! waiter before it wakes it, so nobody can overtake. A large request at the
//! head blocks smaller ones behind it. The `try_` forms and a P that finds
//! permits and nobody waiting do not wait; a `try_` never overtakes a waiter
//! either, because permits that waiters could use are never left lying.
//!
//! A permit is a number, not a guard: if a panic or a cancel unwinds through the
//! code between P and V, the permit is lost unless a destructor gives it back.
//!
//! *Invariant*, whenever the lock is free: if somebody waits, the first one
//! wants more than there is.

use core::cell::Cell;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{self, Locked, Node, Outcome, Reason, Waiters};
use lisle_runtime::{cancel, time};

static REASON: Reason = Reason::new("semaphore");

/// What a waiter wants, and whether it got it.
#[derive(Debug)]
struct Request {
    permits: usize,
    granted: Cell<bool>,
}

#[derive(Debug)]
struct State {
    permits: usize,
    closed: bool,
    waiting: Queue<Request>,
}

/// A counting semaphore, first in first out. V hands permits to the first waiter
/// before it wakes it; a large request at the head blocks smaller ones behind it.
///
/// A permit is a number, not a guard: if a panic or a cancel unwinds through the
/// code between P and V, the permit is lost unless a destructor gives it back.
///
/// ```
/// use lisle_sync::Semaphore;
/// static SLOTS: Semaphore = Semaphore::new(2);
///
/// SLOTS.p();
/// assert_eq!(SLOTS.available_permits(), 1);
/// SLOTS.v();
/// ```
#[derive(Debug)]
pub struct Semaphore {
    state: Waiters<State>,
}

// No panic leaves it between two states.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

/// The semaphore has been closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcquireError;

/// Why a `try_acquire` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryAcquireError {
    /// There are not enough permits, or others wait for them.
    NoPermits,
    /// The semaphore has been closed.
    Closed,
}

/// Why an acquire with a deadline failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcquireTimeoutError {
    /// The deadline passed first.
    Timeout,
    /// The semaphore has been closed.
    Closed,
}

/// A release would have made more permits than a `usize` counts; none was
/// given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseError;

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::NoPermits => "not enough permits are free",
            TryAcquireError::Closed => "the semaphore is closed",
        })
    }
}

impl fmt::Display for AcquireTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcquireTimeoutError::Timeout => "no permits before the deadline",
            AcquireTimeoutError::Closed => "the semaphore is closed",
        })
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many permits: the release would overflow the semaphore")
    }
}

impl std::error::Error for AcquireError {}
impl std::error::Error for TryAcquireError {}
impl std::error::Error for AcquireTimeoutError {}
impl std::error::Error for ReleaseError {}

impl Semaphore {
    lisle_lwp::const_unless_loom! {
        /// A semaphore that holds this many permits.
        pub fn new(permits: usize) -> Semaphore {
            let state = State { permits, closed: false, waiting: Queue::new() };
            Semaphore { state: Waiters::new(state) }
        }
    }

    /// P: takes a permit, waiting for it. A cancellation point if it
    /// waits.
    ///
    /// # Panics
    /// If the semaphore is closed.
    pub fn p(&self) {
        self.acquire().expect("P on a closed semaphore");
    }

    /// V: gives a permit.
    ///
    /// # Panics
    /// If the number of permits would overflow.
    pub fn v(&self) {
        self.release().expect("V overflows the semaphore");
    }

    /// Takes a permit, waiting for it. A cancellation point if it
    /// waits.
    ///
    /// # Errors
    /// If the semaphore is closed, before or meanwhile.
    pub fn acquire(&self) -> Result<(), AcquireError> {
        self.acquire_many(1)
    }

    /// Takes several permits at once, waiting for all of them. A cancellation
    /// point if it waits.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub fn acquire_many(&self, permits: usize) -> Result<(), AcquireError> {
        self.acquire_until(permits, None).map_err(|_| AcquireError)
    }

    /// Takes a permit if there is one and nobody waits.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire(&self) -> Result<(), TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes several permits if they are there and nobody waits.
    ///
    /// # Errors
    /// As [`Semaphore::try_acquire`].
    pub fn try_acquire_many(&self, permits: usize) -> Result<(), TryAcquireError> {
        self.state.lock().try_take(permits)
    }

    /// Takes a permit, waiting at most this long. A cancellation point if it
    /// waits.
    ///
    /// # Errors
    /// If the time is up, or the semaphore is closed.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<(), AcquireTimeoutError> {
        // A deadline beyond the clock's range never comes.
        self.acquire_until(1, time::now().checked_add(timeout))
    }

    /// Takes a permit, waiting at most until the deadline. A cancellation
    /// point if it waits.
    ///
    /// # Errors
    /// If the deadline passes, or the semaphore is closed.
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<(), AcquireTimeoutError> {
        self.acquire_until(1, Some(deadline))
    }

    /// Takes several permits, waiting at most until the deadline. A
    /// cancellation point if it waits.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_deadline`].
    pub fn acquire_many_deadline(
        &self,
        permits: usize,
        deadline: Instant,
    ) -> Result<(), AcquireTimeoutError> {
        self.acquire_until(permits, Some(deadline))
    }

    fn acquire_until(
        &self,
        permits: usize,
        deadline: Option<Instant>,
    ) -> Result<(), AcquireTimeoutError> {
        match self.try_acquire_many(permits) {
            Ok(()) => Ok(()),
            Err(TryAcquireError::Closed) => Err(AcquireTimeoutError::Closed),
            Err(TryAcquireError::NoPermits) => self.acquire_slow(permits, deadline),
        }
    }

    #[cold]
    fn acquire_slow(
        &self,
        permits: usize,
        deadline: Option<Instant>,
    ) -> Result<(), AcquireTimeoutError> {
        let detail = core::ptr::from_ref(self) as usize;
        let Ok(wait) = wait::begin(&REASON, detail, true) else {
            cancel::deliver()
        };
        let node = Node::new(
            &wait,
            Request {
                permits,
                granted: Cell::new(false),
            },
        );
        let taken = {
            let mut state = self.state.lock();
            let taken = state.try_take(permits);
            if taken == Err(TryAcquireError::NoPermits) {
                // SAFETY: removed below, before the frame goes, unless popped.
                unsafe { state.waiting.push(&node) };
            }
            taken
        };
        if taken != Err(TryAcquireError::NoPermits) {
            // A cancel that came meanwhile is delivered at the next wait.
            let _ = wait.abandon();
            return taken.map_err(|_| AcquireTimeoutError::Closed);
        }
        let outcome = wait.block(deadline);
        if outcome == Outcome::Woken {
            let granted = node.data.granted.get();
            return if granted {
                Ok(())
            } else {
                Err(AcquireTimeoutError::Closed)
            };
        }
        {
            let mut state = self.state.lock();
            // SAFETY: pushed to this queue.
            unsafe { state.waiting.remove(&node) };
            // Smaller requests behind this one may fit now.
            grant(&mut state);
        }
        if outcome == Outcome::Cancelled {
            cancel::deliver();
        }
        Err(AcquireTimeoutError::Timeout)
    }

    /// Gives a permit.
    ///
    /// # Errors
    /// If the number of permits would overflow: then nothing is given.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.release_many(1)
    }

    /// Gives several permits at once. They are there before any waiter runs.
    ///
    /// # Errors
    /// As [`Semaphore::release`].
    pub fn release_many(&self, permits: usize) -> Result<(), ReleaseError> {
        let mut state = self.state.lock();
        state.permits = state.permits.checked_add(permits).ok_or(ReleaseError)?;
        grant(&mut state);
        Ok(())
    }

    /// Closes the semaphore: all waiters, and all acquires from now on, fail.
    /// Permits can still be given.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(node) = unsafe { state.waiting.pop() } {
            state.wake(node.key());
        }
    }

    /// Whether the semaphore has been closed.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// How many permits are free. A hint: others take and give them.
    pub fn available_permits(&self) -> usize {
        self.state.lock().permits
    }
}

impl State {
    fn try_take(&mut self, permits: usize) -> Result<(), TryAcquireError> {
        if self.closed {
            Err(TryAcquireError::Closed)
        } else if self.permits < permits || !self.waiting.is_empty() {
            Err(TryAcquireError::NoPermits)
        } else {
            self.permits -= permits;
            Ok(())
        }
    }
}

/// Restores the invariant: hands permits to waiters, first in first out.
fn grant(state: &mut Locked<'_, State>) {
    while let Some(front) = state.waiting.front() {
        let wanted = front.data.permits;
        if wanted > state.permits {
            return;
        }
        // SAFETY: we hold the lock and forget the node once woken.
        let Some(node) = (unsafe { state.waiting.pop() }) else {
            return;
        };
        node.data.granted.set(true);
        if state.wake(node.key()) {
            state.permits -= wanted;
        }
        // Else it timed out or was cancelled: the permits go to the next.
    }
}
