//! The vector clock.
//!
//! *Representation*: the own count beside the entries of all, and these shared:
//!
//! ```text
//!   stamp  process │ own count │ known ──► entries ◄── known │ own count  clock
//! ```
//!
//! An event of one's own changes the count only. So a stamp copies no entries: it shares
//! the clock's until a receive changes them, and then the clock takes a copy, unless no
//! stamp is left. Nor need a receive look at all entries if they are those that the
//! sender's last stamp came with: then only the sender's count can be news.
//!
//! *Invariants*: the own entry among `known` stands there as 1 if the count is not zero,
//! and else is absent, so that equal stamps have equal parts. Entries that somebody
//! shares, or remembers, are never changed.
//!
//! *Rejected*: a vector in each stamp, which costs an allocation and a copy for each send
//! and a merge for each receive; remembering entries by an `Arc`, which would keep as
//! many vectors as there are senders, where a `Weak` keeps the place in memory alone.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Weak};

use crate::{Causal, Causality, Clock, Process, Stamp, VectorTime};

/// A vector clock: one event happened before another if and only if its stamp is
/// less.
///
/// Sources: Fidge, "Timestamps in message-passing systems that preserve the partial
/// ordering", 1988; Mattern, "Virtual time and global states of distributed
/// systems", 1989.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Causal, Clock, Vector};
/// let (mut a, mut b) = (Vector::new(0), Vector::new(1));
/// let sent = a.stamp();
/// b.receive(&sent);
/// assert!(sent.happened_before(&b.now()));
/// assert_eq!(b.time().get(b.process()), 1); // a receive is one event
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vector {
    stamp: VectorStamp,
    step: NonZeroU64,
    /// In the order of the senders.
    #[cfg_attr(feature = "serde", serde(skip))]
    heard: Vec<Heard>,
    /// Where the latest sender is among them.
    #[cfg_attr(feature = "serde", serde(skip))]
    latest: usize,
}

/// What was received last from a sender: all of its entries are known here.
#[derive(Debug, Clone)]
struct Heard {
    from: Process,
    known: Weak<VectorTime>,
    /// Where the sender's entry was.
    hint: usize,
}

/// The time of an event, and its process.
///
/// Copies of it, and the stamps of one clock between two receives, share all entries but
/// the event's own.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(rename = "VectorStamp", from = "Whole", into = "Whole")
)]
pub struct VectorStamp {
    process: Process,
    own: u64,
    known: Arc<VectorTime>,
}

impl Vector {
    /// A clock at zero that goes on by one. A process that joins while others run
    /// needs no more: it hears of the others by their messages, they of it by its.
    pub fn new(process: impl Into<Process>) -> Vector {
        Vector {
            stamp: VectorStamp::new(process, VectorTime::new()),
            step: NonZeroU64::MIN,
            heard: Vec::new(),
            latest: 0,
        }
    }

    /// By how much each event moves the clock, from now on.
    pub fn set_step(&mut self, step: NonZeroU64) {
        self.step = step;
    }

    /// The time of the latest event: a copy of all entries. [`Vector::get`] looks at one.
    pub fn time(&self) -> VectorTime {
        self.stamp.time()
    }

    /// What is known of a process: the count of its latest event that is.
    pub fn get(&self, process: Process) -> u64 {
        self.stamp.get(process)
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
        let known = self.stamp.known.get(process);
        if known > 0 {
            Arc::make_mut(&mut self.stamp.known).set(process, 0);
        }
        // What the others have said may have this entry, and so is no longer known.
        self.heard.clear();
        known
    }

    /// The sender among those heard of.
    #[inline]
    fn sender(&mut self, from: Process) -> usize {
        let latest = self.heard.get(self.latest);
        if latest.is_none_or(|heard| heard.from != from) {
            self.latest = self.find_sender(from);
        }
        self.latest
    }

    fn find_sender(&mut self, from: Process) -> usize {
        let found = self.heard.binary_search_by(|heard| heard.from.cmp(&from));
        found.unwrap_or_else(|at| {
            let (known, hint) = (Weak::new(), 0);
            self.heard.insert(at, Heard { from, known, hint });
            at
        })
    }

    /// Takes the greater of each two entries.
    #[cold]
    #[inline(never)]
    fn merge(&mut self, known: &Arc<VectorTime>, sender: usize) {
        let VectorStamp {
            process,
            own,
            known: mine,
        } = &mut self.stamp;
        let mine = Arc::make_mut(mine);
        mine.merge(known);
        let said = mine.get(*process);
        if said > 0 {
            *own = said.max(*own);
            mine.set(*process, 1);
        }
        self.heard[sender].known = Arc::downgrade(known);
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
        let first = self.stamp.own == 0;
        let next = self.stamp.own.checked_add(self.step.get());
        self.stamp.own = next.expect("a clock ends at 2⁶⁴");
        if first {
            self.stamp.mark();
        }
    }

    #[inline]
    fn receive(&mut self, sent: &VectorStamp) {
        let sender = self.sender(sent.process);
        if self.heard[sender].known.as_ptr() != Arc::as_ptr(&sent.known) {
            self.merge(&sent.known, sender);
        }
        if sent.process == self.stamp.process {
            self.stamp.own = self.stamp.own.max(sent.own);
        } else if sent.own > 0 {
            let hint = &mut self.heard[sender].hint;
            *hint = Arc::make_mut(&mut self.stamp.known).raise_at(sent.process, *hint, sent.own);
        }
        self.tick();
    }

    #[inline]
    fn now(&self) -> VectorStamp {
        self.stamp.clone()
    }

    fn retract(&mut self) {
        self.stamp.own = self.stamp.own.saturating_sub(self.step.get());
        if self.stamp.own == 0 {
            self.stamp.mark();
        }
    }
}

/// Clocks are equal if the same events would give them the same stamps.
impl PartialEq for Vector {
    fn eq(&self, other: &Vector) -> bool {
        self.stamp == other.stamp && self.step == other.step
    }
}

impl Eq for Vector {}

impl VectorStamp {
    /// The stamp of an event of this process, at this time.
    pub fn new(process: impl Into<Process>, mut time: VectorTime) -> VectorStamp {
        let process = process.into();
        let own = time.get(process);
        time.set(process, own.min(1));
        VectorStamp {
            process,
            own,
            known: Arc::new(time),
        }
    }

    /// Where the event was.
    pub fn process(&self) -> Process {
        self.process
    }

    /// The clock's time: a copy of all entries. [`VectorStamp::get`] looks at one.
    pub fn time(&self) -> VectorTime {
        let mut time = VectorTime::clone(&self.known);
        time.set(self.process, self.own);
        time
    }

    /// What the event knows of a process: the count of its latest event that happened
    /// before.
    #[inline]
    pub fn get(&self, process: Process) -> u64 {
        match process == self.process {
            true => self.own,
            false => self.known.get(process),
        }
    }

    /// How this event lies to the other.
    ///
    /// Looks at one entry of each: whoever knows an event of a process knows all that
    /// was before it. That holds in every execution of such clocks; to compare the
    /// entries of stamps whose origin is doubtful, there is [`VectorTime::causality`].
    pub fn causality(&self, other: &VectorStamp) -> Causality {
        if self.process == other.process && self.own == other.own {
            return self.known.causality(&other.known);
        }
        let known = self.own <= other.get(self.process);
        let knows = other.own <= self.get(other.process);
        match (known, knows) {
            (true, false) => Causality::Before,
            (false, true) => Causality::After,
            // Both: before their first events. No two processes have events of one time.
            _ => Causality::Concurrent,
        }
    }

    /// Makes the own entry stand where it must.
    #[cold]
    fn mark(&mut self) {
        Arc::make_mut(&mut self.known).set(self.process, self.own.min(1));
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

    fn happened_before(&self, other: &VectorStamp) -> bool {
        if self.process == other.process {
            self.own < other.own
        } else {
            // Before their first events, neither knows of the other.
            self.own <= other.known.get(self.process) && (self.own | other.own) != 0
        }
    }
}

/// As [`VectorStamp::causality`].
impl PartialOrd for VectorStamp {
    fn partial_cmp(&self, other: &VectorStamp) -> Option<Ordering> {
        self.causality(other).ordering()
    }
}

impl fmt::Debug for VectorStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorStamp")
            .field("process", &self.process)
            .field("time", &self.time())
            .finish()
    }
}

/// A stamp as it is serialised.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "VectorStamp")]
struct Whole {
    process: Process,
    time: VectorTime,
}

#[cfg(feature = "serde")]
impl From<Whole> for VectorStamp {
    fn from(Whole { process, time }: Whole) -> VectorStamp {
        VectorStamp::new(process, time)
    }
}

#[cfg(feature = "serde")]
impl From<VectorStamp> for Whole {
    fn from(stamp: VectorStamp) -> Whole {
        Whole {
            process: stamp.process,
            time: stamp.time(),
        }
    }
}
