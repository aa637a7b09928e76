//! The matrix clock.

use std::cmp::Ordering;
use std::num::NonZeroU64;

use crate::{Causal, Causality, Clock, MatrixTime, Process, Stamp, VectorTime};

/// A matrix clock: its own row is a vector clock, each other row what it knows of
/// that process's vector clock.
///
/// The least entry of a column is what *everybody* is known to know of that process:
/// its events up to then are [stable](Matrix::stable), and what was kept only so
/// that somebody could still learn of them can be discarded.
///
/// A receive merges all rows, then the sender's row into its own, then ticks.
///
/// Sources: Wuu and Bernstein, "Efficient solutions to the replicated log and
/// dictionary problems", 1984; Sarin and Lynch, "Discarding obsolete information in
/// a replicated database system", 1987.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Clock, Matrix, Process};
/// let members = [0, 1].map(Process::new);
/// let [mut a, mut b] = members.map(|process| Matrix::new(process, members));
///
/// let sent = a.stamped("news");
/// b.receive(&sent.stamp);
/// assert_eq!(a.stable().get(members[0]), 0); // for all that a knows
/// a.receive(&b.stamp());
/// assert_eq!(a.stable().get(members[0]), 1); // b has the news
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Unchecked"))]
pub struct Matrix {
    stamp: MatrixStamp,
    step: NonZeroU64,
    #[cfg_attr(feature = "serde", serde(skip))]
    hint: usize,
    /// In order.
    members: Vec<Process>,
    /// Incarnations do not come back.
    left: Vec<Process>,
}

/// The time of an event, and its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MatrixStamp {
    /// Where the event was.
    pub process: Process,
    /// The clock's time.
    pub time: MatrixTime,
}

impl Matrix {
    /// A clock at zero that goes on by one, among these members, to which its own
    /// process belongs in any case.
    pub fn new(process: impl Into<Process>, members: impl IntoIterator<Item = Process>) -> Matrix {
        let (process, time) = (process.into(), MatrixTime::new());
        let mut members: Vec<_> = members.into_iter().chain([process]).collect();
        members.sort_unstable();
        members.dedup();
        Matrix {
            stamp: MatrixStamp { process, time },
            step: NonZeroU64::MIN,
            hint: 0,
            members,
            left: Vec::new(),
        }
    }

    /// By how much each event moves the clock, from now on.
    pub fn set_step(&mut self, step: NonZeroU64) {
        self.step = step;
    }

    /// The time of the latest event.
    pub fn time(&self) -> &MatrixTime {
        &self.stamp.time
    }

    /// The members, in order.
    pub fn members(&self) -> &[Process] {
        &self.members
    }

    /// From now on what is stable is what this process is known to know, too. A
    /// process whose messages are received, or of which others know something, joins
    /// by that. Nothing happens if it has joined, or has left.
    pub fn join(&mut self, process: Process) {
        if let (Err(at), Err(_)) = (
            self.members.binary_search(&process),
            self.left.binary_search(&process),
        ) {
            self.members.insert(at, process);
        }
    }

    /// The process has left for good: what it knows no longer counts. It may come
    /// back [reborn](Process::reborn).
    ///
    /// # Panics
    /// If it is the clock's own process.
    pub fn leave(&mut self, process: Process) {
        assert_ne!(process, self.stamp.process, "a clock needs its own row");
        if let Ok(at) = self.members.binary_search(&process) {
            self.members.remove(at);
        }
        if let Err(at) = self.left.binary_search(&process) {
            self.left.insert(at, process);
        }
        self.stamp.time.retain(|(row, _), _| row != process);
    }

    /// What every member is known to know: the least entry of each column.
    pub fn stable(&self) -> VectorTime {
        let rows: Vec<_> = self
            .members
            .iter()
            .map(|&p| self.stamp.time.row(p))
            .collect();
        let known = rows[0].iter().map(|(column, _)| column);
        let least = |column| rows.iter().map(|row| row.get(column)).min().unwrap_or(0);
        known.map(|column| (column, least(column))).collect()
    }

    /// Whether every member is known to know of this event.
    ///
    /// ```
    /// # use lisle_clock::__facade as lisle;
    /// # use lisle::clock::{Clock, Matrix, Process};
    /// # let mut clock = Matrix::new(0, [Process::new(1)]);
    /// let mut kept = vec![clock.stamped("news")];
    /// // Later: whoever could ask for it has it.
    /// kept.retain(|message| !clock.is_stable(&message.stamp));
    /// assert_eq!(kept.len(), 1); // process 1 has not been heard of
    /// ```
    pub fn is_stable(&self, event: &MatrixStamp) -> bool {
        let time = event.time.get((event.process, event.process));
        let known = |&row| self.stamp.time.get((row, event.process));
        self.members.iter().all(|row| known(row) >= time)
    }
}

/// # Panics
/// Events panic when an entry reaches 2⁶⁴.
impl Clock for Matrix {
    type Stamp = MatrixStamp;

    fn process(&self) -> Process {
        self.stamp.process
    }

    fn tick(&mut self) {
        let MatrixStamp { process, time } = &mut self.stamp;
        self.hint = time.add((*process, *process), self.hint, self.step.get());
    }

    fn receive(&mut self, sent: &MatrixStamp) {
        let mut row = None;
        for ((process, _), _) in sent.time.iter() {
            if row.replace(process) != Some(process) {
                self.join(process);
            }
        }
        self.join(sent.process);
        let MatrixStamp { process, time } = &mut self.stamp;
        time.merge(&sent.time);
        time.merge_row(*process, &sent.time.row(sent.process));
        if !self.left.is_empty() {
            let left = &self.left;
            time.retain(|(row, _), _| left.binary_search(&row).is_err());
        }
        self.tick();
    }

    fn now(&self) -> MatrixStamp {
        self.stamp.clone()
    }

    fn retract(&mut self) {
        let MatrixStamp { process, time } = &mut self.stamp;
        let own = (*process, *process);
        time.set(own, time.get(own).saturating_sub(self.step.get()));
    }
}

impl MatrixStamp {
    /// The event's vector time: its own row.
    pub fn vector(&self) -> VectorTime {
        self.time.row(self.process)
    }
}

impl Stamp for MatrixStamp {
    fn process(&self) -> Process {
        self.process
    }
}

impl Causal for MatrixStamp {
    fn causality(&self, other: &MatrixStamp) -> Causality {
        match self.vector().causality(&other.vector()) {
            Causality::Equal if self != other => Causality::Concurrent,
            causality => causality,
        }
    }
}

/// As [`Causal::causality`].
impl PartialOrd for MatrixStamp {
    fn partial_cmp(&self, other: &MatrixStamp) -> Option<Ordering> {
        self.causality(other).ordering()
    }
}

/// A clock as it comes from outside.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename = "Matrix")]
struct Unchecked {
    stamp: MatrixStamp,
    step: NonZeroU64,
    members: Vec<Process>,
    left: Vec<Process>,
}

#[cfg(feature = "serde")]
impl TryFrom<Unchecked> for Matrix {
    type Error = &'static str;

    fn try_from(from: Unchecked) -> Result<Matrix, &'static str> {
        let Unchecked {
            stamp,
            step,
            members,
            left,
        } = from;
        let in_order = |processes: &[Process]| processes.is_sorted_by(|a, b| a < b);
        if !in_order(&members) || !in_order(&left) {
            return Err("the members of a clock are not in order");
        }
        let is_member = |process: &Process| members.binary_search(process).is_ok();
        if !is_member(&stamp.process) {
            return Err("a clock is not among its members");
        }
        if left.iter().any(is_member) {
            return Err("a member of a clock has left");
        }
        if !stamp.time.iter().all(|((row, _), _)| is_member(&row)) {
            return Err("a clock has a row of a process that is no member");
        }
        Ok(Matrix {
            stamp,
            step,
            hint: 0,
            members,
            left,
        })
    }
}
