//! First in, first out: each sender's messages in their order.

use lisle_clock::{Process, VectorTime};

use super::hold_back::{Envelope, HoldBack, Rule, Verdict};
use super::{Broadcast, MessageId};

/// Delivers each sender's messages in the order in which it sent them, as TCP does.
/// Says nothing about messages of different senders. What claims to be one's own is
/// refused.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::delivery::{Arrival, Broadcast, Fifo};
///
/// let (mut alice, mut bob) = (Fifo::new(0), Fifo::new(1));
/// let [first, second] = ["first", "second"].map(|m| alice.broadcast(m));
/// assert_eq!(bob.arrive(second), Ok(Arrival::Held));
/// assert!(bob.deliver().is_none());
/// assert_eq!(bob.arrive(first.clone()), Ok(Arrival::Ready));
/// assert_eq!(bob.deliver().unwrap().message, "first");
/// assert_eq!(bob.deliver().unwrap().message, "second");
/// assert_eq!(bob.arrive(first), Ok(Arrival::Duplicate));
/// ```
pub type Fifo<T> = HoldBack<FifoRule, T>;

/// The [`Rule`] of [`Fifo`].
#[derive(Debug, Clone)]
pub struct FifoRule {
    me: Process,
    past: VectorTime,
}

/// What [`Fifo`] needs to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FifoHeader {
    /// Its sender.
    pub from: Process,
    /// Its number; the first is 1.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "checked_number"))]
    pub number: u64,
}

#[cfg(feature = "serde")]
fn checked_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let number = <u64 as serde::Deserialize>::deserialize(from)?;
    if number > lisle_clock::MAX_TIME {
        return Err(serde::de::Error::custom("a number is too great"));
    }
    Ok(number)
}

impl<T> HoldBack<FifoRule, T> {
    /// For a process that is there from the beginning.
    pub fn new(process: impl Into<Process>) -> Self {
        Self::joining(process, VectorTime::new())
    }

    /// For a process that joins late: so many messages of each sender count as
    /// delivered.
    pub fn joining(process: impl Into<Process>, past: VectorTime) -> Self {
        HoldBack::with(FifoRule {
            me: process.into(),
            past,
        })
    }

    /// The envelope to be sent to every other process.
    pub fn broadcast(&mut self, message: T) -> Envelope<FifoHeader, T> {
        let FifoRule { me, past } = &mut self.rule;
        let header = FifoHeader {
            from: *me,
            number: past.get(*me) + 1,
        };
        past.set(*me, header.number);
        Envelope { header, message }
    }
}

impl<T: Clone> Broadcast for HoldBack<FifoRule, T> {
    fn broadcast(&mut self, message: T) -> Envelope<FifoHeader, T> {
        Fifo::broadcast(self, message)
    }
}

impl Rule for FifoRule {
    type Header = FifoHeader;

    fn process(&self) -> Process {
        self.me
    }

    fn id(&self, header: &FifoHeader) -> MessageId {
        let FifoHeader { from, number } = *header;
        MessageId { from, number }
    }

    /// Nobody else gives one's own messages their numbers.
    fn is_mine(&self, header: &FifoHeader) -> bool {
        header.from != self.me
    }

    fn verdict(&self, header: &FifoHeader) -> Verdict {
        in_turn(self.id(header), &self.past).unwrap_or(Verdict::Ready)
    }

    fn needs(&self, header: &FifoHeader) -> Vec<MessageId> {
        before(self.id(header)).into_iter().collect()
    }

    fn delivered(&mut self, header: &FifoHeader) {
        self.past.set(header.from, header.number);
    }

    fn past(&self) -> &VectorTime {
        &self.past
    }

    fn may_skip(&self, from: Process) -> bool {
        from != self.me
    }

    fn skip(&mut self, up_to: MessageId) {
        self.past.raise(up_to.from, up_to.number);
    }
}

/// What the order of a sender's own messages has to say; `None` if it is this one's
/// turn.
pub(super) fn in_turn(id: MessageId, past: &VectorTime) -> Option<Verdict> {
    let delivered = past.get(id.from);
    if id.number <= delivered {
        Some(Verdict::Duplicate)
    } else if id.number > delivered.saturating_add(1) {
        before(id).map(Verdict::Waits)
    } else {
        None
    }
}

/// The message that the same sender sent before this one.
pub(super) fn before(id: MessageId) -> Option<MessageId> {
    let number = id.number.checked_sub(1).filter(|&number| number > 0)?;
    Some(MessageId { number, ..id })
}
