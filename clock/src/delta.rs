//! Stamps as differences, for links that keep order and lose nothing.

use std::fmt;

use crate::{Process, Times};

/// What has changed in a time since the one before it on the same link.
///
/// Source: Singhal and Kshemkalyani, "An efficient implementation of vector
/// clocks", 1992.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(deserialize = "K: Ord + Copy + serde::Deserialize<'de>"))
)]
pub struct Delta<K = Process> {
    /// Its place on the link.
    number: u64,
    /// It does not build on the one before.
    whole: bool,
    changed: Times<K>,
}

impl<K: Ord + Copy> Delta<K> {
    /// How many entries it carries.
    pub fn len(&self) -> usize {
        self.changed.len()
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }
}

/// The sending end of a link: makes deltas of times.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Clock, DeltaDecoder, DeltaEncoder, Process, Vector, VectorStamp};
///
/// let mut clock = Vector::new(0);
/// (1..100).for_each(|n| clock.receive(&Vector::new(n).stamp()));
/// let (mut encoder, mut decoder) = (DeltaEncoder::new(), DeltaDecoder::new());
///
/// for entries in [100, 1, 1] {
///     let sent = clock.stamp();
///     let delta = encoder.encode(&sent.time());
///     assert_eq!(delta.len(), entries);
///     assert_eq!(decoder.decode(delta).unwrap(), sent.time());
/// }
/// ```
#[derive(Debug, Clone)]
pub struct DeltaEncoder<K = Process> {
    last: Times<K>,
    number: u64,
    whole: bool,
}

/// The receiving end of a link: makes times of deltas.
#[derive(Debug, Clone)]
pub struct DeltaDecoder<K = Process> {
    last: Times<K>,
    next: u64,
}

impl<K: Ord + Copy> DeltaEncoder<K> {
    /// For a new link; the first delta is whole.
    pub fn new() -> Self {
        DeltaEncoder {
            last: Times::new(),
            number: 0,
            whole: true,
        }
    }

    /// Makes the next delta whole, so that a receiver that missed some can follow
    /// again.
    pub fn reset(&mut self) {
        self.whole = true;
    }

    /// The next delta. It is whole if an entry has gone back, as of a process that
    /// was retired.
    pub fn encode(&mut self, time: &Times<K>) -> Delta<K> {
        let went_back = |(key, last)| time.get(key) < last;
        let whole = self.whole || self.last.iter().any(went_back);
        let changed = match whole {
            true => time.clone(),
            false => {
                let last = &self.last;
                time.iter()
                    .filter(|&(key, new)| last.get(key) != new)
                    .collect()
            }
        };
        self.last.clone_from(time);
        self.whole = false;
        self.number += 1;
        Delta {
            number: self.number - 1,
            whole,
            changed,
        }
    }
}

impl<K: Ord + Copy> DeltaDecoder<K> {
    /// For a new link.
    pub fn new() -> Self {
        DeltaDecoder {
            last: Times::new(),
            next: 0,
        }
    }

    /// The time that was encoded.
    ///
    /// # Errors
    /// If it is none of those that may come next, because the link has lost, repeated or
    /// reordered some: then it changes nothing. The next whole one will do again.
    pub fn decode(&mut self, delta: Delta<K>) -> Result<Times<K>, DeltaError> {
        if delta.number < self.next || (delta.number > self.next && !delta.whole) {
            return Err(DeltaError {
                expected: self.next,
                found: delta.number,
            });
        }
        if delta.whole {
            self.last = delta.changed;
        } else {
            self.last.merge(&delta.changed);
        }
        self.next = delta.number.saturating_add(1);
        Ok(self.last.clone())
    }
}

impl<K: Ord + Copy> Default for DeltaEncoder<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Copy> Default for DeltaDecoder<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// A delta that does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaError {
    /// The number that was expected.
    pub expected: u64,
    /// The number that it has.
    pub found: u64,
}

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeltaError { expected, found } = self;
        write!(f, "delta {found} came where {expected} was expected")
    }
}

impl std::error::Error for DeltaError {}
