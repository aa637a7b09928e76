//! Counting semaphores: P and V.
//!
//! E. W. Dijkstra, "Cooperating sequential processes", 1965. A semaphore holds
//! permits; P takes some, waiting until they are there, V gives some. The protocol
//! stands in [`core`](mod@self::core); names of the forms that hand out permits as values
//! are tokio's.

mod core;
mod error;
mod permit;

use ::core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::wait::{self, Node, Outcome, Reason, Wait};
use lisle_runtime::{cancel, time};

use self::core::{Core, Enlisted, Request};
pub use self::error::{AcquireError, AcquireTimeoutError, ReleaseError, TryAcquireError};
pub use self::permit::{OwnedSemaphorePermit, SemaphorePermit};

static REASON: Reason = Reason::new("semaphore");

/// A counting semaphore.
///
/// *Fairness*: first in, first out, by hand-off: V gives permits to the first waiter
/// before it wakes it, so nobody is overtaken. A large request at the head blocks
/// smaller ones behind it. The `try_` forms overtake nobody either: permits that the
/// first waiter could use are never left lying. *Cancellation*: a P that waits is a
/// cancellation point; a wait that ends early neither loses nor takes a permit.
///
/// [`Semaphore::p`] takes a permit as a number: if a panic or a cancel unwinds through
/// the code before the V, it is lost. What [`Semaphore::acquire`] returns gives
/// itself back.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Semaphore;
/// static SLOTS: Semaphore = Semaphore::new(2);
///
/// SLOTS.p();
/// assert_eq!(SLOTS.available_permits(), 1);
/// SLOTS.v();
///
/// let permit = SLOTS.acquire().unwrap();
/// assert_eq!(SLOTS.available_permits(), 1);
/// drop(permit);
/// assert_eq!(SLOTS.available_permits(), 2);
/// ```
#[derive(Debug)]
pub struct Semaphore {
    core: Core,
}

// No panic leaves it between two states.
impl UnwindSafe for Semaphore {}
impl RefUnwindSafe for Semaphore {}

/// Making one.
impl Semaphore {
    /// The most permits that a semaphore can hold.
    pub const MAX_PERMITS: usize = usize::MAX >> 3;

    lisle_lwp::const_unless_loom! {
        /// A semaphore that holds this many permits.
        ///
        /// # Panics
        /// If those are more than [`Semaphore::MAX_PERMITS`].
        pub fn new(permits: usize) -> Semaphore {
            Semaphore::with_limit(permits, Semaphore::MAX_PERMITS)
        }

        /// As [`Semaphore::new`], for code that comes from tokio.
        pub fn const_new(permits: usize) -> Semaphore {
            Semaphore::new(permits)
        }

        /// A semaphore that never holds more permits than the limit: a V beyond it is
        /// an error.
        ///
        /// # Panics
        /// If the permits are more than the limit, or the limit is more than
        /// [`Semaphore::MAX_PERMITS`].
        pub fn with_limit(permits: usize, limit: usize) -> Semaphore {
            assert!(limit <= Semaphore::MAX_PERMITS, "a limit beyond Semaphore::MAX_PERMITS");
            assert!(permits <= limit, "more permits than the semaphore may hold");
            Semaphore { core: Core::new(permits, limit) }
        }

        /// A binary semaphore: it holds one permit or none.
        ///
        /// ```
        /// # use lisle_sync::__facade as lisle;
        /// use lisle::sync::Semaphore;
        /// let free = Semaphore::binary(true);
        /// assert!(free.release().is_err());
        /// free.p();
        /// assert!(free.release().is_ok());
        /// ```
        pub fn binary(free: bool) -> Semaphore {
            Semaphore::with_limit(free as usize, 1)
        }
    }
}

/// P and V: permits are numbers.
impl Semaphore {
    /// P: takes a permit, waiting for it. A cancellation point if it waits.
    ///
    /// # Panics
    /// If the semaphore is closed.
    #[inline(always)]
    pub fn p(&self) {
        // Inlined around the wait, because a `ret` after a switch is predicted
        // wrongly.
        if self.take(1, None).is_err() {
            closed();
        }
    }

    /// P, at most this long; returns whether it took a permit. A cancellation point if
    /// it waits.
    ///
    /// # Panics
    /// If the semaphore is closed.
    pub fn p_timeout(&self, timeout: Duration) -> bool {
        // A deadline beyond the clock's range never comes.
        self.p_until(time::now().checked_add(timeout))
    }

    /// P, at most until the deadline; returns whether it took a permit. A cancellation
    /// point if it waits.
    ///
    /// # Panics
    /// If the semaphore is closed.
    pub fn p_deadline(&self, deadline: Instant) -> bool {
        self.p_until(Some(deadline))
    }

    fn p_until(&self, deadline: Option<Instant>) -> bool {
        match self.take(1, deadline) {
            Ok(()) => true,
            Err(AcquireTimeoutError::Timeout) => false,
            Err(AcquireTimeoutError::Closed) => closed(),
        }
    }

    /// P, if there is a permit and nobody waits; returns whether it took it.
    ///
    /// # Panics
    /// If the semaphore is closed.
    #[inline]
    pub fn try_p(&self) -> bool {
        match self.core.try_take(1) {
            Ok(()) => true,
            Err(TryAcquireError::NoPermits) => false,
            Err(TryAcquireError::Closed) => closed(),
        }
    }

    /// V: gives a permit.
    ///
    /// # Panics
    /// If the semaphore would hold too many.
    #[inline]
    pub fn v(&self) {
        self.add_permits(1);
    }

    /// Gives a permit.
    ///
    /// # Errors
    /// If the semaphore would hold too many: then nothing is given.
    #[inline]
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.core.give(1)
    }

    /// Gives several permits at once. They are there before any waiter runs.
    ///
    /// # Errors
    /// As [`Semaphore::release`].
    pub fn release_many(&self, permits: usize) -> Result<(), ReleaseError> {
        self.core.give(permits)
    }

    /// As [`Semaphore::release_many`], for code that comes from tokio.
    ///
    /// # Panics
    /// If the semaphore would hold too many.
    #[inline]
    #[track_caller]
    pub fn add_permits(&self, permits: usize) {
        if self.core.give(permits).is_err() {
            overflow();
        }
    }

    /// Takes away at most this many permits that are there; returns how many.
    pub fn forget_permits(&self, permits: usize) -> usize {
        self.core.forget(permits)
    }
}

/// Permits as values.
impl Semaphore {
    /// Takes a permit, waiting for it. A cancellation point if it waits.
    ///
    /// # Errors
    /// If the semaphore is closed, before or meanwhile.
    #[inline]
    pub fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1)
    }

    /// Takes several permits at once, waiting for all of them. A cancellation point if
    /// it waits. Nobody waits for none.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    #[inline]
    pub fn acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        let taken = self.take(permits as usize, None);
        taken.map_err(|_| AcquireError)?;
        Ok(SemaphorePermit::new(self, permits as usize))
    }

    /// Takes a permit if there is one and nobody waits.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes several permits if they are there and nobody waits.
    ///
    /// # Errors
    /// As [`Semaphore::try_acquire`].
    pub fn try_acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.core.try_take(permits as usize)?;
        Ok(SemaphorePermit::new(self, permits as usize))
    }

    /// Takes a permit, waiting at most this long. A cancellation point if it waits.
    ///
    /// # Errors
    /// If the time is up, or the semaphore is closed.
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_timeout(1, timeout)
    }

    /// Takes a permit, waiting at most until the deadline. A cancellation point if it
    /// waits.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_deadline(
        &self,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Takes several permits at once, waiting at most this long. A cancellation point if
    /// it waits.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`]; then it has taken none.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::time::Duration;
    /// use lisle::sync::{AcquireTimeoutError, Semaphore};
    /// let slots = Semaphore::new(2);
    /// let late = slots.acquire_many_timeout(3, Duration::from_millis(1));
    /// assert_eq!(late.unwrap_err(), AcquireTimeoutError::Timeout);
    /// assert_eq!(slots.available_permits(), 2);
    /// ```
    pub fn acquire_many_timeout(
        &self,
        permits: u32,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.take(permits as usize, time::now().checked_add(timeout))?;
        Ok(SemaphorePermit::new(self, permits as usize))
    }

    /// Takes several permits at once, waiting at most until the deadline. A cancellation
    /// point if it waits.
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_many_deadline(
        &self,
        permits: u32,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.take(permits as usize, Some(deadline))?;
        Ok(SemaphorePermit::new(self, permits as usize))
    }
}

/// Permits as values that share the semaphore.
impl Semaphore {
    /// As [`Semaphore::acquire`].
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use std::sync::Arc;
    /// use lisle::sync::Semaphore;
    /// let slots = Arc::new(Semaphore::new(1));
    /// let permit = slots.clone().acquire_owned().unwrap();
    /// std::thread::spawn(move || drop(permit)).join().unwrap();
    /// assert_eq!(slots.available_permits(), 1);
    /// ```
    pub fn acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.acquire_many_owned(1)
    }

    /// As [`Semaphore::acquire_many`].
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub fn acquire_many_owned(
        self: Arc<Self>,
        permits: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let taken = self.take(permits as usize, None);
        taken.map_err(|_| AcquireError)?;
        Ok(OwnedSemaphorePermit::new(self, permits as usize))
    }

    /// As [`Semaphore::try_acquire`].
    ///
    /// # Errors
    /// As [`Semaphore::try_acquire`].
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// As [`Semaphore::try_acquire_many`].
    ///
    /// # Errors
    /// As [`Semaphore::try_acquire`].
    pub fn try_acquire_many_owned(
        self: Arc<Self>,
        permits: u32,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.core.try_take(permits as usize)?;
        Ok(OwnedSemaphorePermit::new(self, permits as usize))
    }

    /// As [`Semaphore::acquire_timeout`].
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_owned_timeout(
        self: Arc<Self>,
        timeout: Duration,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.acquire_many_owned_timeout(1, timeout)
    }

    /// As [`Semaphore::acquire_deadline`].
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_owned_deadline(
        self: Arc<Self>,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.acquire_many_owned_deadline(1, deadline)
    }

    /// As [`Semaphore::acquire_many_timeout`].
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_many_owned_timeout(
        self: Arc<Self>,
        permits: u32,
        timeout: Duration,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.take(permits as usize, time::now().checked_add(timeout))?;
        Ok(OwnedSemaphorePermit::new(self, permits as usize))
    }

    /// As [`Semaphore::acquire_many_deadline`].
    ///
    /// # Errors
    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_many_owned_deadline(
        self: Arc<Self>,
        permits: u32,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.take(permits as usize, Some(deadline))?;
        Ok(OwnedSemaphorePermit::new(self, permits as usize))
    }
}

/// The rest.
impl Semaphore {
    /// Closes the semaphore: all waiters, and all acquires from now on, fail. Permits
    /// can still be given.
    pub fn close(&self) {
        self.core.close();
    }

    /// Whether the semaphore has been closed.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// How many permits are free. A hint: others take and give them.
    pub fn available_permits(&self) -> usize {
        self.core.available()
    }

    #[inline(always)]
    fn take(&self, permits: usize, deadline: Option<Instant>) -> Result<(), AcquireTimeoutError> {
        match self.core.try_take(permits) {
            Ok(()) => return Ok(()),
            Err(TryAcquireError::Closed) => return Err(AcquireTimeoutError::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let detail = ::core::ptr::from_ref(self).addr();
        let Ok(wait) = wait::begin(&REASON, detail, true) else {
            cancel::deliver()
        };
        let alone = match permits {
            1 => self.core.wait_alone(&wait),
            _ => None,
        };
        let Some(mark) = alone else {
            return self.take_in_turn(wait, permits, deadline);
        };
        match wait.block(deadline) {
            Outcome::Woken if self.core.has_granted(mark) => Ok(()),
            Outcome::Woken => Err(AcquireTimeoutError::Closed),
            outcome => gave_up(outcome),
        }
    }

    /// Takes permits that are there after all, or waits in the queue.
    #[cold]
    #[inline(never)]
    fn take_in_turn(
        &self,
        wait: Wait,
        permits: usize,
        deadline: Option<Instant>,
    ) -> Result<(), AcquireTimeoutError> {
        let node = Node::new(&wait, Request::new(permits));
        let enlisted = self.core.enlist(&node);
        if enlisted != Enlisted::Waits {
            // A cancel that came meanwhile is delivered at the next wait.
            let _ = wait.abandon();
            return match enlisted {
                Enlisted::Closed => Err(AcquireTimeoutError::Closed),
                _ => Ok(()),
            };
        }
        match wait.block(deadline) {
            Outcome::Woken if node.data.granted.get() => Ok(()),
            Outcome::Woken => Err(AcquireTimeoutError::Closed),
            outcome => {
                self.core.withdraw(&node);
                gave_up(outcome)
            }
        }
    }

    /// Permits that were taken from here.
    #[inline]
    fn give_back(&self, permits: usize) {
        // Somebody may have given more than were taken, up to the limit. Then there
        // are as many as there may be.
        let _ = self.core.give(permits);
    }
}

#[cold]
#[track_caller]
fn closed() -> ! {
    panic!("P on a closed semaphore")
}

/// A wait has ended without permits.
#[cold]
fn gave_up(outcome: Outcome) -> Result<(), AcquireTimeoutError> {
    if outcome == Outcome::Cancelled {
        cancel::deliver();
    }
    Err(AcquireTimeoutError::Timeout)
}

#[cold]
#[track_caller]
fn overflow() -> ! {
    panic!("V overflows the semaphore")
}
