//! Receivers that nobody sends to: one message at an instant, many at intervals,
//! or none.
//!
//! The message is made when it is received, by whoever is first: a timer needs no
//! thread and no list. Who waits for it waits with a deadline. The clock is that
//! of [`lisle_runtime::time`], so under a seeded runtime these are virtual, too.

use std::time::{Duration, Instant};

use lisle_runtime::cancel;
use lisle_runtime::time;
use lisle_runtime::wait::{self, Outcome, Reason, Waiters};

use super::RecvTimeoutError;

static WAITING: Reason = Reason::new("receive on timer");

/// The next message, if there will be one.
struct Next {
    due: Option<Instant>,
    /// Between messages; `None` if there is one only.
    period: Option<Duration>,
}

/// What stands behind `after`, `at` and `tick`.
pub(super) struct Timer<T> {
    next: Waiters<Next>,
    /// Only instants are sent; this is how one becomes a `T`.
    message: fn(Instant) -> T,
}

impl Timer<Instant> {
    /// One message at an instant, or then at intervals.
    pub(super) fn new(due: Option<Instant>, period: Option<Duration>) -> Timer<Instant> {
        Timer {
            next: Waiters::new(Next { due, period }),
            message: |instant| instant,
        }
    }
}

impl<T> Timer<T> {
    /// When the next message is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.lock().due
    }

    /// Whether there is a message.
    pub(super) fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= time::now())
    }

    /// Takes the message if it is due. It says when it was due, not when it
    /// was taken. The next tick is counted from now, so that a late receiver is
    /// not flooded; for one that has waited, from when this one was due, so that
    /// ticks do not drift.
    pub(super) fn take(&self, waited: bool) -> Option<Instant> {
        let now = time::now();
        let mut next = self.next.lock();
        let due = next.due.filter(|due| *due <= now)?;
        let after = |from: Instant| next.period.and_then(|period| from.checked_add(period));
        let regular = after(due).filter(|next| waited && *next > now);
        next.due = regular.or_else(|| after(now));
        Some(due)
    }

    pub(super) fn message(&self, due: Instant) -> T {
        (self.message)(due)
    }

    pub(super) fn try_recv(&self) -> Option<T> {
        self.take(false).map(self.message)
    }

    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut waited = false;
        loop {
            if let Some(due) = self.take(waited) {
                return Ok(self.message(due));
            }
            if deadline.is_some_and(|deadline| deadline <= time::now()) {
                return Err(RecvTimeoutError::Timeout);
            }
            sleep_until(self.due().into_iter().chain(deadline).min());
            waited = true;
        }
    }
}

/// Receives from a channel that never has anything.
pub(super) fn wait_for_nothing<T>(deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
    while deadline.is_none_or(|deadline| time::now() < deadline) {
        sleep_until(deadline);
    }
    Err(RecvTimeoutError::Timeout)
}

/// Waits until a deadline, or for ever. A cancellation point.
pub(super) fn sleep_until(deadline: Option<Instant>) {
    let Ok(wait) = wait::begin(&WAITING, 0, true) else {
        cancel::deliver()
    };
    if wait.block(deadline) == Outcome::Cancelled {
        cancel::deliver();
    }
}
