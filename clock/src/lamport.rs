//! Lamport's clock: one number.

use std::num::NonZeroU64;

use crate::{Clock, Process, Stamp};

/// Lamport's clock: if one event happened before another, its time is less. The
/// converse does not hold; for that there is [`Vector`](crate::Vector).
///
/// Source: Lamport, "Time, clocks, and the ordering of events in a distributed
/// system", CACM 21(7), 1978.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Clock, Lamport};
/// let (mut a, mut b) = (Lamport::new(0), Lamport::new(1));
/// let sent = a.stamp();
/// b.receive(&sent);
/// assert_eq!(b.time(), 2);
/// assert!(sent < b.now());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lamport {
    stamp: LamportStamp,
    step: NonZeroU64,
}

/// The time of an event and its process, by which ties are broken: so stamps are in
/// a total order, which respects causality.
///
/// If this stamp is less than another, either its event happened before the other,
/// or they are concurrent; the stamps do not tell. What they do tell: a stamp that
/// is not less did not happen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LamportStamp {
    /// The clock's time.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "checked_time"))]
    pub time: u64,
    /// Where the event was.
    pub process: Process,
}

impl Lamport {
    /// A clock at zero that goes on by one.
    pub fn new(process: impl Into<Process>) -> Lamport {
        let process = process.into();
        Lamport {
            stamp: LamportStamp { time: 0, process },
            step: NonZeroU64::MIN,
        }
    }

    /// By how much each event moves the clock, from now on.
    ///
    /// ```
    /// # use lisle_clock::__facade as lisle;
    /// use lisle::clock::{Clock, Lamport};
    /// let mut clock = Lamport::new(0);
    /// clock.set_step(std::num::NonZeroU64::new(10).unwrap());
    /// clock.tick();
    /// assert_eq!(clock.time(), 10);
    /// ```
    pub fn set_step(&mut self, step: NonZeroU64) {
        self.step = step;
    }

    /// The time of the latest event.
    pub fn time(&self) -> u64 {
        self.stamp.time
    }
}

/// # Panics
/// Events panic when the clock reaches 2⁶⁴.
impl Clock for Lamport {
    type Stamp = LamportStamp;

    fn process(&self) -> Process {
        self.stamp.process
    }

    #[inline]
    fn tick(&mut self) {
        let next = self.stamp.time.checked_add(self.step.get());
        self.stamp.time = next.expect("a clock ends at 2⁶⁴");
    }

    #[inline]
    fn receive(&mut self, sent: &LamportStamp) {
        self.stamp.time = self.stamp.time.max(sent.time);
        self.tick();
    }

    #[inline]
    fn now(&self) -> LamportStamp {
        self.stamp
    }

    fn retract(&mut self) {
        self.stamp.time = self.stamp.time.saturating_sub(self.step.get());
    }
}

impl Stamp for LamportStamp {
    fn process(&self) -> Process {
        self.process
    }
}

#[cfg(feature = "serde")]
fn checked_time<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let time = <u64 as serde::Deserialize>::deserialize(from)?;
    if time > crate::MAX_TIME {
        return Err(serde::de::Error::custom("a time is too great"));
    }
    Ok(time)
}
