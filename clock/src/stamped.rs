//! What clocks have in common, and messages with stamps.

use crate::{Causality, Process};

/// The clock of one process.
///
/// Every event of the process is one of: [`tick`](Clock::tick), for what happens in
/// it (input, output, a signal); [`stamp`](Clock::stamp) or
/// [`stamped`](Clock::stamped), for what is stamped, a send above all;
/// [`receive`](Clock::receive).
pub trait Clock {
    /// What it gives to events.
    type Stamp: Stamp;

    /// Whose clock it is.
    fn process(&self) -> Process;

    /// An event: the clock goes on by its step.
    fn tick(&mut self);

    /// The receipt of a message, which is one event: merge, then tick.
    fn receive(&mut self, sent: &Self::Stamp);

    /// The stamp of the latest event.
    fn now(&self) -> Self::Stamp;

    /// Takes the latest event back, which was a tick, as if it had never been. Only
    /// for a tick whose stamp nobody has seen: that of a send that failed.
    fn retract(&mut self);

    /// An event, and its stamp.
    fn stamp(&mut self) -> Self::Stamp {
        self.tick();
        self.now()
    }

    /// An event, such as the sending of this message; the message, with its stamp.
    fn stamped<T>(&mut self, message: T) -> Stamped<T, Self::Stamp> {
        let stamp = self.stamp();
        Stamped { message, stamp }
    }
}

/// The stamp of an event.
pub trait Stamp: Clone {
    /// The process in which the event was.
    fn process(&self) -> Process;
}

/// A stamp that tells what happened before what.
pub trait Causal: Stamp {
    /// How this event lies to the other.
    fn causality(&self, other: &Self) -> Causality;

    /// Whether this event may have caused the other.
    fn happened_before(&self, other: &Self) -> bool {
        self.causality(other) == Causality::Before
    }

    /// Whether neither event can know of the other.
    fn concurrent_with(&self, other: &Self) -> bool {
        self.causality(other) == Causality::Concurrent
    }
}

/// A message, or whatever else an event brought, with the stamp of that event.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Clock, Vector};
/// let (mut a, mut b) = (Vector::new(0), Vector::new(1));
/// let (typed, clicked) = (a.stamped('x'), b.stamped((3, 4)));
/// assert!(typed.concurrent_with(&clicked));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stamped<T, S> {
    /// The message.
    pub message: T,
    /// When it was sent.
    pub stamp: S,
}

impl<T, S: Stamp> Stamped<T, S> {
    /// Who sent it.
    pub fn process(&self) -> Process {
        self.stamp.process()
    }
}

impl<T, S: Causal> Stamped<T, S> {
    /// Whether this was sent before the other, so that it may have caused it.
    pub fn happened_before<U>(&self, other: &Stamped<U, S>) -> bool {
        self.stamp.happened_before(&other.stamp)
    }

    /// Whether neither sender can have known of the other's message.
    pub fn concurrent_with<U>(&self, other: &Stamped<U, S>) -> bool {
        self.stamp.concurrent_with(&other.stamp)
    }
}
