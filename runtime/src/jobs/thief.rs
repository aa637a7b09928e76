//! Waiting for the thread that took a job.
//!
//! The wait is a join of that thread, without a handle: its words are in its
//! control block, which the waiter shares ([`join`](crate::join)). A cancel of the
//! waiter does not end the wait, because the job may borrow what the waiter's
//! unwinding would destroy; it is passed on to the thread, once, so that the wait
//! is not for long.

use lisle_lwp::shim::Ordering;

use crate::tcb::Tcb;
use crate::wait::{self, Outcome, Reason};

static JOINING: Reason = Reason::of_join("join of thread");

/// Waits for the end of the thread that took a job. Not a cancellation point: if
/// the caller is cancelled, the thread is, too, and is waited for all the same.
/// Only the owner of the job may call it.
pub(crate) fn wait_for(thief: &'static Tcb) {
    let id = thief.id.load(Ordering::Relaxed) as usize;
    let mut cancellable = true;
    while !thief.join.is_finished() {
        let outcome = match wait::begin(&JOINING, id, cancellable) {
            Ok(wait) => match thief.join.wait(wait) {
                Some(wait) => wait.block(None),
                None => break,
            },
            Err(_) => Outcome::Cancelled,
        };
        if outcome == Outcome::Cancelled {
            thief.join.forget_joiner();
            cancellable = false;
            wait::cancel(thief);
        }
    }
}
