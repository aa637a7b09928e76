//! Sparse vectors of times, and matrices as vectors over pairs.
//!
//! *Representation*: entries sorted by key, none of them zero. A matrix has pairs
//! of processes, row first, as keys, so that merging, comparing, deltas and
//! serialisation are written once. *Rejected*: an array indexed by process, which
//! halves the memory of a dense vector but has no place for incarnations and none
//! for few processes among many; a tree, which is slower to merge and to copy at
//! every size measured.

use std::cmp::Ordering;

use crate::{Causality, Process};

/// Times by key: of a vector, the keys are processes; of a matrix, pairs of them.
/// A key that is not there has time zero.
///
/// As a partial order, `a <= b` if no entry of `a` exceeds `b`'s. Merging takes the
/// greater of each two entries: the least that both are below.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Causality, Process, VectorTime};
/// let [p, q] = [0, 1].map(Process::new);
/// let a = VectorTime::from_iter([(p, 2), (q, 1)]);
/// let b = VectorTime::from_iter([(p, 1), (q, 3)]);
/// assert_eq!(a.causality(&b), Causality::Concurrent);
/// let mut both = a.clone();
/// both.merge(&b);
/// assert_eq!(both, VectorTime::from_iter([(p, 2), (q, 3)]));
/// assert!(a < both && b < both);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[cfg_attr(
    feature = "serde",
    serde(bound(deserialize = "K: Ord + serde::Deserialize<'de>"))
)]
pub struct Times<K = Process> {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "checked::entries"))]
    entries: Vec<(K, u64)>,
}

/// The time of a vector clock.
pub type VectorTime = Times<Process>;

/// The time of a matrix clock; keys are (row, column).
pub type MatrixTime = Times<(Process, Process)>;

impl<K> Times<K> {
    /// All zero.
    pub const fn new() -> Times<K> {
        Times {
            entries: Vec::new(),
        }
    }

    /// How many entries are not zero.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether all are zero.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K: Ord + Copy> Times<K> {
    fn find(&self, key: K) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.0.cmp(&key))
    }

    /// The time of this key.
    pub fn get(&self, key: K) -> u64 {
        self.find(key).map_or(0, |at| self.entries[at].1)
    }

    /// Sets the time of this key, also back.
    pub fn set(&mut self, key: K, time: u64) {
        match (self.find(key), time) {
            (Ok(at), 0) => _ = self.entries.remove(at),
            (Ok(at), _) => self.entries[at].1 = time,
            (Err(_), 0) => {}
            (Err(at), _) => self.entries.insert(at, (key, time)),
        }
    }

    /// Sets the time of this key unless it is later already.
    pub fn raise(&mut self, key: K, time: u64) {
        if time > self.get(key) {
            self.set(key, time);
        }
    }

    /// The index of this key, which was last seen at `hint`; the key is put there if it
    /// is not. The caller sees to it that its time is not zero.
    #[inline]
    fn locate(&mut self, key: K, hint: usize) -> usize {
        match self.entries.get(hint) {
            Some(entry) if entry.0 == key => hint,
            _ => self.find(key).unwrap_or_else(|at| {
                self.entries.insert(at, (key, 0));
                at
            }),
        }
    }

    /// Adds to the time of this key, which was last seen at this index; returns the
    /// index.
    ///
    /// # Panics
    /// After 2⁶⁴ steps.
    pub(crate) fn add(&mut self, key: K, hint: usize, by: u64) -> usize {
        let at = self.locate(key, hint);
        let time = &mut self.entries[at].1;
        *time = time.checked_add(by).expect("a clock ends at 2⁶⁴");
        at
    }

    /// As [`Times::raise`], to a time that is not zero, of a key that was last seen at
    /// this index; returns the index.
    #[inline]
    pub(crate) fn raise_at(&mut self, key: K, hint: usize, time: u64) -> usize {
        let at = self.locate(key, hint);
        self.entries[at].1 = self.entries[at].1.max(time);
        at
    }

    /// The entries that are not zero, in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (K, u64)> + '_ {
        self.entries.iter().copied()
    }

    /// Takes the greater of each two entries.
    pub fn merge(&mut self, other: &Times<K>) {
        if self.has_keys_of(other) {
            for (mine, theirs) in self.entries.iter_mut().zip(&other.entries) {
                mine.1 = mine.1.max(theirs.1);
            }
        } else if !self.merge_known(other) {
            self.entries = union(&self.entries, &other.entries);
        }
    }

    fn has_keys_of(&self, other: &Times<K>) -> bool {
        let mut pairs = self.entries.iter().zip(&other.entries);
        self.len() == other.len() && pairs.all(|(mine, theirs)| mine.0 == theirs.0)
    }

    /// Merges in place until a key is not there; `false` if that happens. Merging is
    /// idempotent, so who starts again does no harm.
    fn merge_known(&mut self, other: &Times<K>) -> bool {
        let mut mine = self.entries.iter_mut();
        other
            .entries
            .iter()
            .all(|&(key, time)| match mine.find(|entry| entry.0 >= key) {
                Some(entry) if entry.0 == key => {
                    entry.1 = entry.1.max(time);
                    true
                }
                _ => false,
            })
    }

    /// Which of the two is the earlier one, if either is.
    pub fn causality(&self, other: &Times<K>) -> Causality {
        let (mut less, mut greater) = (false, false);
        let (mut ours, mut theirs) = (&self.entries[..], &other.entries[..]);
        while let ([(mine, time), rest @ ..], [(their, other), others @ ..]) = (ours, theirs) {
            match mine.cmp(their) {
                Ordering::Less => (greater, ours) = (true, rest),
                Ordering::Greater => (less, theirs) = (true, others),
                Ordering::Equal => {
                    less |= time < other;
                    greater |= time > other;
                    (ours, theirs) = (rest, others);
                }
            }
            if less && greater {
                return Causality::Concurrent;
            }
        }
        Causality::of(less || !theirs.is_empty(), greater || !ours.is_empty())
    }

    /// The entries that are later than the other's.
    ///
    /// ```
    /// # use lisle_clock::__facade as lisle;
    /// use lisle::clock::{Process, VectorTime};
    /// let [p, q] = [0, 1].map(Process::new);
    /// let message = VectorTime::from_iter([(p, 2), (q, 5)]);
    /// let known = VectorTime::from_iter([(p, 2), (q, 3)]);
    /// assert_eq!(Vec::from_iter(message.exceeding(&known)), [(q, 5)]);
    /// ```
    pub fn exceeding<'a>(&'a self, other: &'a Times<K>) -> impl Iterator<Item = (K, u64)> + 'a {
        let mut theirs = &other.entries[..];
        self.iter().filter(move |&(key, time)| {
            while let [first, rest @ ..] = theirs
                && first.0 < key
            {
                theirs = rest;
            }
            !matches!(theirs, [first, ..] if first.0 == key && first.1 >= time)
        })
    }

    /// Keeps the entries that the function wants.
    pub fn retain(&mut self, mut wanted: impl FnMut(K, u64) -> bool) {
        self.entries.retain(|&(key, time)| wanted(key, time));
    }
}

impl MatrixTime {
    /// One row: what that process is known to know.
    pub fn row(&self, process: Process) -> VectorTime {
        let from = self.entries.partition_point(|entry| entry.0.0 < process);
        let row = self.entries[from..].iter();
        let row = row.take_while(|entry| entry.0.0 == process);
        VectorTime {
            entries: row.map(|&((_, column), time)| (column, time)).collect(),
        }
    }

    /// Puts a vector where this row is zero or less.
    pub(crate) fn merge_row(&mut self, process: Process, row: &VectorTime) {
        self.merge(&MatrixTime {
            entries: row
                .iter()
                .map(|(column, time)| ((process, column), time))
                .collect(),
        });
    }
}

fn union<K: Ord + Copy>(mut a: &[(K, u64)], mut b: &[(K, u64)]) -> Vec<(K, u64)> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    while let ([first, rest @ ..], [second, others @ ..]) = (a, b) {
        match first.0.cmp(&second.0) {
            Ordering::Less => {
                all.push(*first);
                a = rest;
            }
            Ordering::Greater => {
                all.push(*second);
                b = others;
            }
            Ordering::Equal => {
                all.push((first.0, first.1.max(second.1)));
                (a, b) = (rest, others);
            }
        }
    }
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    all
}

impl<K> Default for Times<K> {
    fn default() -> Self {
        Times::new()
    }
}

/// Of entries with one key, the greatest counts.
impl<K: Ord + Copy> FromIterator<(K, u64)> for Times<K> {
    fn from_iter<I: IntoIterator<Item = (K, u64)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().filter(|entry| entry.1 > 0).collect();
        // The greatest first, which is the one that stays.
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        entries.dedup_by_key(|entry| entry.0);
        Times { entries }
    }
}

/// The partial order of the entries: see [`Times::causality`].
impl<K: Ord + Copy> PartialOrd for Times<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.causality(other).ordering()
    }
}

impl<K: std::fmt::Debug> std::fmt::Debug for Times<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.entries.iter();
        f.debug_map()
            .entries(entries.map(|(key, time)| (key, time)))
            .finish()
    }
}

#[cfg(feature = "serde")]
mod checked {
    use serde::de::{Deserialize, Deserializer, Error};

    /// Entries as they must be: sorted, each key once, none zero, none too great.
    pub(super) fn entries<'de, K, D>(from: D) -> Result<Vec<(K, u64)>, D::Error>
    where
        K: Ord + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let entries = Vec::<(K, u64)>::deserialize(from)?;
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(D::Error::custom("the entries of a time are not in order"));
        }
        if entries
            .iter()
            .any(|entry| entry.1 == 0 || entry.1 > crate::MAX_TIME)
        {
            return Err(D::Error::custom("a time is zero or too great"));
        }
        Ok(entries)
    }
}
