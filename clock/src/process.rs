//! Who an event belongs to.

use std::fmt;

/// A process: a sequential flow of events. A number and an incarnation.
///
/// A process that ends and starts anew without remembering its clock would count
/// from one again and be taken for its former self. So it comes back under the
/// same number as the [next incarnation](Process::reborn), which is a process of
/// its own to every clock. Processes are ordered by number, then incarnation.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::Process;
/// let before = Process::new(7);
/// let after = before.reborn();
/// assert_eq!((after.number(), after.incarnation()), (7, 1));
/// assert!(before < after && after < Process::new(8));
/// assert_eq!(format!("{before} {after}"), "7 7.1");
/// ```
// Packed into one word, number first, so that comparing two is one instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "(u32, u32)", from = "(u32, u32)"))]
pub struct Process(u64);

impl Process {
    /// The first incarnation under this number.
    pub const fn new(number: u32) -> Process {
        Process((number as u64) << 32)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// How often it was reborn.
    pub const fn incarnation(self) -> u32 {
        self.0 as u32
    }

    /// The next incarnation under the same number.
    ///
    /// # Panics
    /// After 2³² of them.
    #[must_use = "the process itself stays as it is"]
    pub const fn reborn(self) -> Process {
        assert!(self.incarnation() != u32::MAX, "no incarnation is left");
        Process(self.0 + 1)
    }
}

impl From<u32> for Process {
    fn from(number: u32) -> Process {
        Process::new(number)
    }
}

impl From<Process> for (u32, u32) {
    fn from(process: Process) -> (u32, u32) {
        (process.number(), process.incarnation())
    }
}

impl From<(u32, u32)> for Process {
    fn from((number, incarnation): (u32, u32)) -> Process {
        Process(Process::new(number).0 | u64::from(incarnation))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.incarnation() {
            0 => write!(f, "{}", self.number()),
            incarnation => write!(f, "{}.{incarnation}", self.number()),
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({self})")
    }
}
