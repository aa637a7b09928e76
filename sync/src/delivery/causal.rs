//! Causal broadcast.

use lisle_clock::{Process, VectorTime};

use super::fifo::{before, in_turn};
use super::hold_back::{Envelope, HoldBack, Rule, Verdict};
use super::{Broadcast, MessageId};

/// Delivers no broadcast before one that its sender had delivered, or sent, by then: no
/// reply before its question.
///
/// A message carries how many broadcasts of each process its sender had delivered, its
/// own and this one included. Only broadcasts are counted, not other events: those never
/// arrive anywhere, so waiting for them would last for ever. One's own messages are not
/// delivered to oneself; what claims to be one's own is refused.
///
/// Source: Birman, Schiper and Stephenson, "Lightweight causal and atomic group
/// multicast", ACM TOCS 9(3), 1991.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::delivery::{Arrival, Causal};
///
/// let [mut alice, mut bob, mut carol] = [0, 1, 2].map(Causal::new);
/// let question = alice.broadcast("where?");
/// bob.arrive(question.clone()).unwrap();
/// bob.deliver().unwrap();
/// let answer = bob.broadcast("here");
///
/// assert_eq!(carol.arrive(answer), Ok(Arrival::Held));
/// println!("{:?}", carol.held()); // bob's first waits for alice's first
/// assert_eq!(carol.arrive(question), Ok(Arrival::Ready));
/// assert_eq!(carol.deliver().unwrap().message, "where?");
/// assert_eq!(carol.deliver().unwrap().message, "here");
/// ```
pub type Causal<T> = HoldBack<CausalRule, T>;

/// The [`Rule`] of [`Causal`].
#[derive(Debug, Clone)]
pub struct CausalRule {
    me: Process,
    past: VectorTime,
}

/// What [`Causal`] needs to know of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CausalHeader {
    /// Its sender.
    pub from: Process,
    /// How many broadcasts of each process the sender had delivered; of its own, this
    /// message's number.
    pub seen: VectorTime,
}

impl<T> HoldBack<CausalRule, T> {
    /// For a process that is there from the beginning.
    pub fn new(process: impl Into<Process>) -> Self {
        Self::joining(process, VectorTime::new())
    }

    /// For a process that joins late: so many messages of each sender count as
    /// delivered. The vector must be closed: whatever a message in it depends on is in
    /// it, too.
    pub fn joining(process: impl Into<Process>, past: VectorTime) -> Self {
        HoldBack::with(CausalRule {
            me: process.into(),
            past,
        })
    }

    /// The envelope to be sent to every other process.
    pub fn broadcast(&mut self, message: T) -> Envelope<CausalHeader, T> {
        let CausalRule { me, past } = &mut self.rule;
        let (from, number) = (*me, past.get(*me) + 1);
        past.set(from, number);
        let seen = past.clone();
        // Who lost its memory may be answered before it has spoken again.
        self.awake(MessageId { from, number });
        Envelope {
            header: CausalHeader { from, seen },
            message,
        }
    }
}

impl<T: Clone> Broadcast for HoldBack<CausalRule, T> {
    fn broadcast(&mut self, message: T) -> Envelope<CausalHeader, T> {
        Causal::broadcast(self, message)
    }
}

impl Rule for CausalRule {
    type Header = CausalHeader;

    fn process(&self) -> Process {
        self.me
    }

    fn id(&self, header: &CausalHeader) -> MessageId {
        let (from, number) = (header.from, header.seen.get(header.from));
        MessageId { from, number }
    }

    /// Nobody else gives one's own messages their numbers.
    fn is_mine(&self, header: &CausalHeader) -> bool {
        header.from != self.me
    }

    fn verdict(&self, header: &CausalHeader) -> Verdict {
        if let Some(verdict) = in_turn(self.id(header), &self.past) {
            return verdict;
        }
        let mut unseen = header.seen.exceeding(&self.past);
        match unseen.find(|&(from, _)| from != header.from) {
            Some((from, number)) => Verdict::Waits(MessageId { from, number }),
            None => Verdict::Ready,
        }
    }

    fn needs(&self, header: &CausalHeader) -> Vec<MessageId> {
        let others = header.seen.iter().filter(|&(from, _)| from != header.from);
        let others = others.map(|(from, number)| MessageId { from, number });
        before(self.id(header)).into_iter().chain(others).collect()
    }

    fn delivered(&mut self, header: &CausalHeader) {
        self.past.set(header.from, header.seen.get(header.from));
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
