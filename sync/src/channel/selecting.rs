//! The engine of select: one wait, registered with several operations.
//!
//! *Protocol*. Attempt each operation once, in random order if the choice is to
//! be fair. If none commits: arm one wait, register it with each operation,
//! block, unregister everywhere. Whoever serves the waiter on one channel must
//! win its wait word first, so at most one operation is granted
//! ([`core`](super::core)); which one, its ticket says.
//!
//! *Select against select*. A selecting thread may find, while it registers,
//! that an operation need not wait: another selecting thread is there to be met,
//! say. Then it first ends its own wait. If it cannot, it has been granted
//! something already; if it can, nobody else can grant it anything, and it
//! commits under that channel's lock by winning the other's wait. If the other
//! did the same elsewhere at that moment, both start again. Its own tickets it
//! leaves out, so nobody meets itself.

use std::time::Instant;

use lisle_runtime::wait::{self, Caller, Node, Outcome, Reason, Wait};
use lisle_runtime::{cancel, time};

use super::core::NONE;
use super::operand::{Grant, Operand, Registered};
use super::ticket::{Mode, Ticket, Waiting};

static SELECTING: Reason = Reason::new("select on channels");

/// An operation and the number by which its owner knows it.
#[derive(Clone, Copy)]
pub(super) struct Arm<'a> {
    pub(super) operand: &'a dyn Operand,
    pub(super) index: usize,
}

/// How long to wait for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// Until then, or for ever.
    Until(Option<Instant>),
}

/// Puts arms in random order.
fn shuffle(arms: &mut [Arm<'_>]) {
    for left in (2..=arms.len()).rev() {
        arms.swap(left - 1, wait::choose(left));
    }
}

/// Commits to one operation: its place in `arms`, and what it was given. `None`
/// if time is up.
pub(super) fn select(
    arms: &mut [Arm<'_>],
    fair: bool,
    patience: Patience,
) -> Option<(usize, Grant)> {
    if fair {
        shuffle(arms);
    }
    let attempt = |arms: &[Arm<'_>], waited| {
        let commits = |(at, arm): (usize, &Arm<'_>)| Some((at, arm.operand.attempt(waited)?));
        arms.iter().enumerate().find_map(commits)
    };
    run(arms, patience, Mode::Promise, attempt)
}

/// Waits until an operation is ready: its place in `arms`.
pub(super) fn ready(arms: &mut [Arm<'_>], fair: bool, patience: Patience) -> Option<usize> {
    if fair {
        shuffle(arms);
    }
    let attempt = |arms: &[Arm<'_>], _| {
        let at = arms.iter().position(|arm| arm.operand.is_ready())?;
        Some((at, Grant::Disconnected))
    };
    run(arms, patience, Mode::Watch, attempt).map(|(at, _)| at)
}

fn run(
    arms: &[Arm<'_>],
    patience: Patience,
    mode: Mode,
    attempt: impl Fn(&[Arm<'_>], bool) -> Option<(usize, Grant)>,
) -> Option<(usize, Grant)> {
    let deadline = match patience {
        Patience::None => return attempt(arms, false),
        Patience::Until(deadline) => deadline,
    };
    let mut ended = Ended::Early;
    let mut waited = false;
    loop {
        if let Some(committed) = attempt(arms, waited) {
            return Some(committed);
        }
        let is_late = deadline.is_some_and(|deadline| deadline <= time::now());
        if is_late || ended == Ended::Late {
            return None;
        }
        ended = wait_once(arms, mode, deadline);
        if let Ended::Granted(at, grant) = ended {
            return Some((at, grant));
        }
        waited = true;
    }
}

/// How one wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Granted(usize, Grant),
    /// The caller has to look again.
    Early,
    /// At the caller's deadline.
    Late,
}

fn wait_once(arms: &[Arm<'_>], mode: Mode, deadline: Option<Instant>) -> Ended {
    let due = arms.iter().filter_map(|arm| arm.operand.due()).min();
    let until = due.into_iter().chain(deadline).min();
    // Allocated before the wait begins, so that nothing can unwind from here on.
    let mut tickets: Vec<Waiting> = Vec::with_capacity(arms.len());
    let Ok(wait) = Caller::new().begin(&SELECTING, arms.len(), true) else {
        cancel::deliver()
    };
    tickets.extend(arms.iter().map(|_| Node::new(&wait, Ticket::new(mode))));
    let (granted, outcome) = match register(arms, &tickets, wait) {
        Ok(wait) => {
            let outcome = wait.block(until);
            (unregister(arms, &tickets), outcome)
        }
        Err((registered, committed)) => {
            let granted = unregister(&arms[..registered], &tickets);
            (granted.or(committed), Outcome::Abandoned)
        }
    };
    match (granted, outcome) {
        (Some((at, grant)), _) => Ended::Granted(at, grant),
        (None, Outcome::Cancelled) => cancel::deliver(),
        (None, Outcome::TimedOut) if until == deadline => Ended::Late,
        (None, _) => Ended::Early,
    }
}

type Committed = Option<(usize, Grant)>;

/// Registers the wait with every operation; or with so many, until one need not
/// wait.
fn register(
    arms: &[Arm<'_>],
    tickets: &[Waiting],
    mut wait: Wait,
) -> Result<Wait, (usize, Committed)> {
    for (at, (arm, ticket)) in arms.iter().zip(tickets).enumerate() {
        // SAFETY: the tickets stay where they are until `unregister`.
        match unsafe { arm.operand.register(ticket, wait) } {
            Registered::Joined(same) => wait = same,
            Registered::Committed(grant) => return Err((at, Some((at, grant)))),
            Registered::Missed | Registered::TooLate => return Err((at, None)),
        }
    }
    Ok(wait)
}

/// Leaves every list; returns what was granted.
fn unregister(arms: &[Arm<'_>], tickets: &[Waiting]) -> Committed {
    let mut granted = None;
    for (at, (arm, ticket)) in arms.iter().zip(tickets).enumerate() {
        // SAFETY: registered there.
        let promise = unsafe { arm.operand.unregister(ticket) };
        if promise != NONE {
            debug_assert!(granted.is_none(), "one wait, one grant");
            granted = Some((at, Grant::Promise(promise)));
        }
    }
    granted
}
