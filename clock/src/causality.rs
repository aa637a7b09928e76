//! The four answers to "which came first?".

use std::cmp::Ordering;

/// How two events, or two vector times, lie to each other.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Causality, Clock, Vector};
/// let (mut a, mut b) = (Vector::new(0), Vector::new(1));
/// let (sent, other) = (a.stamp(), b.stamp());
/// b.receive(&sent);
/// assert_eq!(sent.causality(&b.now()), Causality::Before);
/// assert_eq!(b.now().causality(&sent), Causality::After);
/// assert_eq!(sent.causality(&sent), Causality::Equal);
/// assert_eq!(sent.causality(&other), Causality::Concurrent);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Causality {
    /// The first happened before the second: it may have caused it.
    Before,
    /// The second happened before the first.
    After,
    /// They are the same.
    Equal,
    /// Neither can know of the other.
    Concurrent,
}

impl Causality {
    /// The answer for the two exchanged.
    #[must_use]
    pub const fn reverse(self) -> Causality {
        match self {
            Causality::Before => Causality::After,
            Causality::After => Causality::Before,
            same => same,
        }
    }

    /// As `PartialOrd` has it: `None` if concurrent.
    pub const fn ordering(self) -> Option<Ordering> {
        match self {
            Causality::Before => Some(Ordering::Less),
            Causality::After => Some(Ordering::Greater),
            Causality::Equal => Some(Ordering::Equal),
            Causality::Concurrent => None,
        }
    }

    /// From whether something of the first is less, and something greater, than in
    /// the second.
    pub(crate) const fn of(less: bool, greater: bool) -> Causality {
        match (less, greater) {
            (false, false) => Causality::Equal,
            (true, false) => Causality::Before,
            (false, true) => Causality::After,
            (true, true) => Causality::Concurrent,
        }
    }
}
