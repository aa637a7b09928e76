//! Causal delivery of messages to single receivers.

use lisle_clock::{MatrixTime, Process, VectorTime};

use super::MessageId;
use super::hold_back::{Envelope, HoldBack, Rule, Verdict};

/// Delivers no message before another to the same receiver that was sent before it,
/// by anybody.
///
/// A message carries how many messages from whom to whom its sender knew to have been
/// sent: a matrix, O(n²). Over links that keep order and lose nothing, send
/// [deltas](lisle_clock::DeltaEncoder) of it.
///
/// Source: Raynal, Schiper and Toueg, "The causal ordering abstraction and a simple way
/// to implement it", Information Processing Letters 39(6), 1991.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::clock::Process;
/// use lisle::delivery::{Arrival, PointToPoint};
///
/// let [mut alice, mut bob, mut carol] = [0, 1, 2].map(PointToPoint::new);
/// let slow = alice.send(2, "by post");
/// let request = alice.send(1, "tell carol");
/// bob.arrive(request).unwrap();
/// bob.deliver().unwrap();
/// let fast = bob.send(2, "alice has written to you");
///
/// assert_eq!(carol.arrive(fast), Ok(Arrival::Held));
/// assert_eq!(carol.arrive(slow), Ok(Arrival::Ready));
/// assert_eq!(carol.deliver().unwrap().message, "by post");
/// assert_eq!(carol.deliver().unwrap().from, Process::new(1));
/// ```
pub type PointToPoint<T> = HoldBack<PointRule, T>;

/// The [`Rule`] of [`PointToPoint`].
#[derive(Debug, Clone)]
pub struct PointRule {
    me: Process,
    /// Messages that are known to have been sent, (from, to).
    sent: MatrixTime,
    /// Messages from each that were delivered here.
    past: VectorTime,
}

/// What [`PointToPoint`] needs to know of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PointHeader {
    /// Its sender.
    pub from: Process,
    /// Its receiver.
    pub to: Process,
    /// How many messages the sender knew to have been sent before it, (from, to).
    pub sent: MatrixTime,
}

impl<T> HoldBack<PointRule, T> {
    /// For a process, from the beginning or late: nothing was sent to it before.
    pub fn new(process: impl Into<Process>) -> Self {
        HoldBack::with(PointRule {
            me: process.into(),
            sent: MatrixTime::new(),
            past: VectorTime::new(),
        })
    }

    /// The envelope to be sent to this process.
    pub fn send(&mut self, to: impl Into<Process>, message: T) -> Envelope<PointHeader, T> {
        let PointRule { me, sent, .. } = &mut self.rule;
        let (from, to) = (*me, to.into());
        let header = PointHeader {
            from,
            to,
            sent: sent.clone(),
        };
        sent.set((from, to), sent.get((from, to)) + 1);
        Envelope { header, message }
    }
}

impl PointRule {
    /// What was sent to this process before the message, by whom.
    fn before_it<'a>(&self, header: &'a PointHeader) -> impl Iterator<Item = MessageId> + 'a {
        let me = self.me;
        let to_me = header.sent.iter().filter(move |&((_, to), _)| to == me);
        to_me.map(|((from, _), number)| MessageId { from, number })
    }
}

impl Rule for PointRule {
    type Header = PointHeader;

    fn process(&self) -> Process {
        self.me
    }

    fn id(&self, header: &PointHeader) -> MessageId {
        MessageId {
            from: header.from,
            number: header.sent.get((header.from, header.to)).saturating_add(1),
        }
    }

    fn is_mine(&self, header: &PointHeader) -> bool {
        header.to == self.me
    }

    fn verdict(&self, header: &PointHeader) -> Verdict {
        let id = self.id(header);
        if id.number <= self.past.get(id.from) {
            return Verdict::Duplicate;
        }
        let delivered = |id: &MessageId| self.past.get(id.from) >= id.number;
        match self.before_it(header).find(|id| !delivered(id)) {
            Some(id) => Verdict::Waits(id),
            None => Verdict::Ready,
        }
    }

    fn needs(&self, header: &PointHeader) -> Vec<MessageId> {
        self.before_it(header).collect()
    }

    fn delivered(&mut self, header: &PointHeader) {
        let MessageId { from, number } = self.id(header);
        self.past.set(from, number);
        self.sent.merge(&header.sent);
        self.sent.raise((from, self.me), number);
    }

    fn past(&self) -> &VectorTime {
        &self.past
    }

    fn skip(&mut self, up_to: MessageId) {
        self.past.raise(up_to.from, up_to.number);
    }
}
