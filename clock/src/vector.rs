//! The vector clock.

use std::cmp::Ordering;
use std::num::NonZeroU64;

use crate::{Causal, Causality, Clock, Process, Stamp, VectorTime};

/// A vector clock: one event happened before another if and only if its stamp is
/// less.
///
/// Sources: Fidge, "Timestamps in message-passing systems that preserve the partial
/// ordering", 1988; Mattern, "Virtual time and global states of distributed
/// systems", 1989.
///
/// ```
/// use lisle_clock::{Causal, Clock, Vector};
/// let (mut a, mut b) = (Vector::new(0), Vector::new(1));
/// let sent = a.stamp();
/// b.receive(&sent);
/// assert!(sent.happened_before(&b.now()));
/// assert_eq!(b.time().get(b.process()), 1); // a receive is one event
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vector {
    stamp: VectorStamp,
    step: NonZeroU64,
    /// Where its own entry was.
    #[cfg_attr(feature = "serde", serde(skip))]
    hint: usize,
}

/// The time of an event, and its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VectorStamp {
    /// Where the event was.
    pub process: Process,
    /// The clock's time.
    pub time: VectorTime,
}

impl Vector {
    /// A clock at zero that goes on by one. A process that joins while others run
    /// needs no more: it hears of the others by their messages, they of it by its.
    pub fn new(process: impl Into<Process>) -> Vector {
        let (process, time) = (process.into(), VectorTime::new());
        Vector {
            stamp: VectorStamp { process, time },
            step: NonZeroU64::MIN,
            hint: 0,
        }
    }

    /// By how much each event moves the clock, from now on.
    pub fn set_step(&mut self, step: NonZeroU64) {
        self.step = step;
    }

    /// The time of the latest event.
    pub fn time(&self) -> &VectorTime {
        &self.stamp.time
    }

    /// Forgets a process that has left; returns what was known of it.
    ///
    /// This is for when nobody will compare a stamp from before with one from
    /// after: such two seem concurrent where they were not. Each process must do it,
    /// or the entry comes back with the next message.
    ///
    /// # Panics
    /// If it is the clock's own process.
    pub fn retire(&mut self, process: Process) -> u64 {
        assert_ne!(process, self.stamp.process, "a clock needs its own entry");
        let known = self.stamp.time.get(process);
        self.stamp.time.set(process, 0);
        known
    }
}

/// # Panics
/// Events panic when an entry reaches 2⁶⁴.
impl Clock for Vector {
    type Stamp = VectorStamp;

    fn process(&self) -> Process {
        self.stamp.process
    }

    #[inline]
    fn tick(&mut self) {
        let VectorStamp { process, time } = &mut self.stamp;
        self.hint = time.add(*process, self.hint, self.step.get());
    }

    #[inline]
    fn receive(&mut self, sent: &VectorStamp) {
        self.stamp.time.merge(&sent.time);
        self.tick();
    }

    #[inline]
    fn now(&self) -> VectorStamp {
        self.stamp.clone()
    }

    fn retract(&mut self) {
        let VectorStamp { process, time } = &mut self.stamp;
        time.set(*process, time.get(*process).saturating_sub(self.step.get()));
    }
}

impl VectorStamp {
    /// How this event lies to the other: see [`VectorTime::causality`].
    pub fn causality(&self, other: &VectorStamp) -> Causality {
        match self.time.causality(&other.time) {
            // No two processes have events of one time.
            Causality::Equal if self.process != other.process => Causality::Concurrent,
            causality => causality,
        }
    }
}

impl Stamp for VectorStamp {
    fn process(&self) -> Process {
        self.process
    }
}

impl Causal for VectorStamp {
    fn causality(&self, other: &VectorStamp) -> Causality {
        VectorStamp::causality(self, other)
    }

    /// Looks at one entry of each: whoever knows an event of a process knows all
    /// that was before it.
    fn happened_before(&self, other: &VectorStamp) -> bool {
        let mine = self.time.get(self.process);
        let known = other.time.get(self.process);
        if self.process == other.process {
            mine < known
        } else {
            mine <= known
        }
    }
}

/// As [`VectorStamp::causality`].
impl PartialOrd for VectorStamp {
    fn partial_cmp(&self, other: &VectorStamp) -> Option<Ordering> {
        self.causality(other).ordering()
    }
}
