//! Who ran where and when.

use std::collections::HashMap;

use lisle_runtime::upcall;

/// An LWP that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lwp {
    /// Which runtime, numbered in order of appearance.
    pub runtime: usize,
    /// Its number there.
    pub index: usize,
}

/// A thread ran on an LWP. Times are in nanoseconds since the recording began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slice {
    /// On which one of [`Schedule::lwps`].
    pub lwp: usize,
    /// Which thread.
    pub thread: u64,
    /// From when.
    pub began: u64,
    /// Until when.
    pub ended: u64,
}

/// A thread waited.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// Which thread.
    pub thread: u64,
    /// From when.
    pub began: u64,
    /// Until it went on; `None` if that was not seen.
    pub ended: Option<u64>,
    /// What for.
    pub reason: String,
}

/// Something that happened to an LWP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// Which one of [`Schedule::lwps`]; `None`: none.
    pub lwp: Option<usize>,
    /// When.
    pub time: u64,
    /// What.
    pub what: Marked,
}

/// What happened to an LWP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Marked {
    /// It stole ready threads.
    Steal {
        /// From the LWP of this number in the same runtime.
        victim: usize,
        /// The first of them.
        thread: u64,
    },
    /// There was an upcall.
    Upcall {
        /// Which one.
        kind: upcall::Kind,
        /// About which thread; 0: none.
        thread: u64,
    },
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Schedule {
    lwps: Vec<Lwp>,
    took: u64,
    pub(crate) slices: Vec<Slice>,
    waits: Vec<Wait>,
    marks: Vec<Mark>,
    names: HashMap<u64, String>,
    pub(crate) open: Vec<Option<(u64, u64)>>,
}

impl Schedule {
    pub(crate) fn new(lwps: Vec<Lwp>, took: u64) -> Schedule {
        let open = vec![None; lwps.len()];
        Schedule {
            lwps,
            took,
            open,
            ..Schedule::default()
        }
    }

    pub(crate) fn mark(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    /// Ends what lasted until the end, and spreads switches that share a time.
    pub(crate) fn finish(&mut self, names: &HashMap<u64, String>, waits: &[Wait]) {
        for lwp in 0..self.lwps.len() {
            if let Some((thread, began)) = self.open[lwp].take() {
                self.slices.push(Slice {
                    lwp,
                    thread,
                    began,
                    ended: self.took.max(began),
                });
            }
        }
        self.slices.sort_by_key(|slice| slice.lwp);
        for slices in self.slices.chunk_by_mut(|a, b| a.lwp == b.lwp) {
            spread(slices);
        }
        self.waits = waits.to_vec();
        self.names = names.clone();
    }

    /// The LWPs.
    pub fn lwps(&self) -> &[Lwp] {
        &self.lwps
    }

    /// What ran, by LWP and time.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Who waited, by time.
    pub fn waits(&self) -> &[Wait] {
        &self.waits
    }

    /// What happened to LWPs, by time.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// How long the recording lasted, in nanoseconds.
    pub fn took(&self) -> u64 {
        self.took
    }

    /// A thread's name.
    pub fn name(&self, thread: u64) -> String {
        let name = self.names.get(&thread).cloned();
        name.unwrap_or_else(|| format!("thread {thread}"))
    }
}

/// Of switches in quick succession only some have a time of their own: spreads the
/// others evenly up to the next one.
fn spread(slices: &mut [Slice]) {
    let mut at = 0;
    while at < slices.len() {
        let began = slices[at].began;
        let same = slices[at..].iter().take_while(|slice| slice.began == began);
        let count = same.count();
        let until = slices[at + count - 1].ended;
        if count > 1 {
            let step = (until - began) as f64 / count as f64;
            let time = |i: usize| began + (step * i as f64) as u64;
            for i in 0..count {
                slices[at + i].began = time(i);
                slices[at + i].ended = if i + 1 == count { until } else { time(i + 1) };
            }
        }
        at += count;
    }
}
