//! The queue of messages that arrived too early, under any rule.
//!
//! ```text
//!   arrive ──► may it be delivered? ── yes ──────────────► ready ──► deliver
//!                 │ no: it waits for a message ID             ▲
//!                 ▼                                           │
//!              held, in the list of ID ── ID is delivered ────┘ (asked again)
//! ```
//!
//! *Invariants*:
//! * `ready` are messages that the rule lets through, in the order in which it came to
//!   do so; delivering one never forbids another;
//! * every other held message is in exactly one list of `waiting`, that of a message
//!   that it needs and that is not delivered;
//! * so a message is looked at on arrival and once for each message it waits for, not
//!   after each delivery.
//!
//! A message counts as delivered when it is taken, not when it could be: what a process
//! has not looked at cannot have caused what it says.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use lisle_clock::{Process, VectorTime};

use super::{Arrival, Delivery, Loss, MessageId, Missing, Protocol, Refused};

/// When a message may be delivered.
pub trait Rule {
    /// What an envelope says about its message.
    type Header: Clone + fmt::Debug;

    /// The process that it works for.
    fn process(&self) -> Process;

    /// The name of a message.
    fn id(&self, header: &Self::Header) -> MessageId;

    /// Whether a message is for this process at all.
    fn is_mine(&self, _: &Self::Header) -> bool {
        true
    }

    /// Whether a message may be delivered.
    fn verdict(&self, header: &Self::Header) -> Verdict;

    /// Messages that have to be delivered before this one: the last of each sender's.
    fn needs(&self, header: &Self::Header) -> Vec<MessageId>;

    /// The message is delivered.
    fn delivered(&mut self, header: &Self::Header);

    /// How many messages of each sender are delivered, or were given up.
    fn past(&self) -> &VectorTime;

    /// Whether messages of this sender can be given up. One's own are not lost: they are
    /// still to be sent.
    fn may_skip(&self, _: Process) -> bool {
        true
    }

    /// The messages of this sender up to this number count as delivered.
    fn skip(&mut self, up_to: MessageId);
}

/// What a [`Rule`] says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be delivered.
    Ready,
    /// It was delivered before, or given up.
    Duplicate,
    /// Not before this one was, at least.
    Waits(MessageId),
}

/// A message on its way, with what its rule needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Envelope<H, T> {
    /// For the rule.
    pub header: H,
    /// For the receiver.
    pub message: T,
}

/// A message that is held, and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The message.
    pub id: MessageId,
    /// What is to be delivered before it: not there yet, or held itself.
    pub waits_for: Vec<Missing>,
}

/// A delivery order: a rule, and the messages that it holds back. See the
/// [module](super).
#[derive(Debug, Clone)]
pub struct HoldBack<R: Rule, T> {
    pub(super) rule: R,
    held: BTreeMap<MessageId, Envelope<R::Header, T>>,
    ready: VecDeque<MessageId>,
    waiting: BTreeMap<MessageId, Vec<MessageId>>,
    limit: usize,
    loss: Loss,
    duplicates: u64,
    lost: u64,
}

impl<R: Rule, T> HoldBack<R, T> {
    /// How many messages may wait unless [`HoldBack::limit`] says otherwise.
    pub const LIMIT: usize = 1024;

    pub(super) fn with(rule: R) -> Self {
        HoldBack {
            rule,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
            limit: Self::LIMIT,
            loss: Loss::Wait,
            duplicates: 0,
            lost: 0,
        }
    }

    /// Sets how many messages may wait for others. Messages that need not wait are
    /// always accepted: they are what the others wait for.
    #[must_use]
    pub fn limit(mut self, messages: usize) -> Self {
        self.limit = messages;
        self
    }

    /// Sets what happens when that is not enough.
    #[must_use]
    pub fn loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }

    /// How many messages of each sender count as delivered, its own among them.
    pub fn delivered(&self) -> &VectorTime {
        self.rule.past()
    }

    /// How many envelopes were dropped as duplicates.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// How many messages were given up.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many messages wait for others.
    pub fn waiting(&self) -> usize {
        self.held.len() - self.ready.len()
    }

    /// An envelope has arrived.
    ///
    /// # Errors
    /// [`Refused::Full`] if it would have to wait, as many wait as may, and the policy is
    /// [`Loss::Wait`], or there is something to be delivered first;
    /// [`Refused::Misaddressed`] if it is for another process, or claims to be one's own
    /// under a rule by which nobody sends to oneself.
    pub fn arrive(
        &mut self,
        envelope: Envelope<R::Header, T>,
    ) -> Result<Arrival, Refused<Envelope<R::Header, T>>> {
        if !self.rule.is_mine(&envelope.header) {
            return Err(Refused::Misaddressed(envelope));
        }
        let id = self.rule.id(&envelope.header);
        let verdict = match self.held.contains_key(&id) {
            true => Verdict::Duplicate,
            false => self.rule.verdict(&envelope.header),
        };
        let is_full = matches!(verdict, Verdict::Waits(_)) && self.waiting() >= self.limit;
        // Under either policy, what can be delivered is to be taken first.
        if is_full && (self.loss == Loss::Wait || !self.ready.is_empty()) {
            return Err(Refused::Full(envelope));
        }
        let arrival = self.hold(id, envelope, verdict);
        if is_full {
            return self.make_room(id);
        }
        Ok(arrival)
    }

    fn hold(
        &mut self,
        id: MessageId,
        envelope: Envelope<R::Header, T>,
        verdict: Verdict,
    ) -> Arrival {
        if verdict == Verdict::Duplicate {
            self.duplicates += 1;
            return Arrival::Duplicate;
        }
        self.held.insert(id, envelope);
        self.file(id, verdict)
    }

    /// Gives up what is missing, because one more message waits than may.
    fn make_room(&mut self, id: MessageId) -> Result<Arrival, Refused<Envelope<R::Header, T>>> {
        self.give_up();
        if !self.ready.is_empty() {
            return Ok(match self.ready.contains(&id) {
                true => Arrival::Ready,
                false => Arrival::Held,
            });
        }
        // Nothing is missing: headers that no protocol made wait for each other.
        self.waiting.retain(|_, waiting| {
            waiting.retain(|&other| other != id);
            !waiting.is_empty()
        });
        let envelope = self.held.remove(&id).expect("it is held");
        Err(Refused::Full(envelope))
    }

    /// Puts a held message where it belongs.
    fn file(&mut self, id: MessageId, verdict: Verdict) -> Arrival {
        match verdict {
            Verdict::Ready => {
                self.ready.push_back(id);
                Arrival::Ready
            }
            Verdict::Waits(on) => {
                self.waiting.entry(on).or_default().push(id);
                Arrival::Held
            }
            Verdict::Duplicate => {
                self.held.remove(&id);
                self.duplicates += 1;
                Arrival::Duplicate
            }
        }
    }

    /// Looks again at what waits for messages of this sender up to this number.
    pub(super) fn awake(&mut self, up_to: MessageId) {
        let first = MessageId { number: 0, ..up_to };
        while let Some((&on, _)) = self.waiting.range(first..=up_to).next() {
            for id in self.waiting.remove(&on).unwrap_or_default() {
                let verdict = self.rule.verdict(&self.held[&id].header);
                self.file(id, verdict);
            }
        }
    }

    /// The next message that may be delivered.
    pub fn deliver(&mut self) -> Option<Delivery<T>> {
        let (header, delivery) = self.take()?;
        self.rule.delivered(&header);
        self.awake(MessageId {
            from: delivery.from,
            number: delivery.number,
        });
        Some(delivery)
    }

    fn take(&mut self) -> Option<(R::Header, Delivery<T>)> {
        let id = self.ready.pop_front()?;
        let Envelope { header, message } = self.held.remove(&id)?;
        let MessageId { from, number } = id;
        let delivery = Delivery {
            from,
            number,
            message,
        };
        Some((header, delivery))
    }

    /// Who waits for what.
    pub fn held(&self) -> Vec<Held> {
        let waits = |id: &&MessageId| !self.ready.contains(id);
        let held = self.held.iter().filter(|(id, _)| waits(id));
        held.map(|(&id, envelope)| Held {
            id,
            waits_for: self.waits_for(&envelope.header),
        })
        .collect()
    }

    fn waits_for(&self, header: &R::Header) -> Vec<Missing> {
        let needs = self.rule.needs(header).into_iter();
        let undelivered = needs.filter_map(|MessageId { from, number }| {
            let first = self.rule.past().get(from).saturating_add(1);
            (first <= number).then_some(Missing {
                from,
                first,
                last: number,
            })
        });
        undelivered.collect()
    }

    /// Of these messages, those that are not held: in ranges.
    fn absent(&self, of: Missing) -> Vec<Missing> {
        let Missing { from, first, last } = of;
        let id = |number| MessageId { from, number };
        let mut absent = Vec::new();
        let mut next = first;
        for held in self
            .held
            .range(id(first)..=id(last))
            .map(|(id, _)| id.number)
        {
            if next < held {
                absent.push(Missing {
                    from,
                    first: next,
                    last: held - 1,
                });
            }
            next = held.saturating_add(1);
        }
        if next <= last {
            absent.push(Missing {
                from,
                first: next,
                last,
            });
        }
        absent
    }

    /// What has to arrive so that all that is held can be delivered: what to ask the
    /// senders for.
    pub fn missing(&self) -> Vec<Missing> {
        let mut last = BTreeMap::new();
        for waits in self.held().into_iter().flat_map(|held| held.waits_for) {
            let entry = last.entry(waits.from).or_insert(waits);
            entry.last = entry.last.max(waits.last);
        }
        last.into_values().flat_map(|of| self.absent(of)).collect()
    }

    /// Gives these messages up, and those of the same sender before them, but for
    /// those that are held; returns how many. One's own are not given up where nobody
    /// sends to oneself.
    pub fn skip(&mut self, missing: Missing) -> u64 {
        let Missing { from, last, .. } = missing;
        let past = self.rule.past().get(from);
        let first = past.saturating_add(1);
        if last < first || !self.rule.may_skip(from) {
            return 0;
        }
        // Not beyond a message that is here: its turn will come.
        let of = Missing { from, first, last };
        let Some(gap) = self.absent(of).into_iter().find(|gap| gap.first == first) else {
            return 0;
        };
        let up_to = MessageId {
            from,
            number: gap.last,
        };
        self.rule.skip(up_to);
        self.awake(up_to);
        let skipped = gap.last - past;
        self.lost = self.lost.saturating_add(skipped);
        skipped
    }

    /// Gives up what is missing, fewest messages first, until something can be
    /// delivered; returns how many messages.
    pub fn give_up(&mut self) -> u64 {
        let mut skipped = 0;
        while self.ready.is_empty() {
            let held = self.held().into_iter();
            let gaps = held.map(|held| {
                let first = |of| {
                    self.absent(of)
                        .into_iter()
                        .find(|gap| gap.first == of.first)
                };
                held.waits_for
                    .into_iter()
                    .filter_map(first)
                    .collect::<Vec<_>>()
            });
            let size = |gaps: &Vec<Missing>| -> u64 {
                gaps.iter()
                    .fold(0, |sum: u64, gap| sum.saturating_add(gap.last - gap.first))
            };
            let may_skip = |gaps: &Vec<Missing>| {
                !gaps.is_empty() && gaps.iter().all(|gap| self.rule.may_skip(gap.from))
            };
            let Some(gaps) = gaps.filter(may_skip).min_by_key(size) else {
                break;
            };
            for gap in gaps {
                skipped = self.skip(gap).saturating_add(skipped);
            }
        }
        skipped
    }
}

impl<R: Rule, T: Clone> Protocol for HoldBack<R, T> {
    type Message = T;
    type Envelope = Envelope<R::Header, T>;

    fn process(&self) -> Process {
        self.rule.process()
    }

    fn arrive(&mut self, envelope: Self::Envelope) -> Result<Arrival, Refused<Self::Envelope>> {
        HoldBack::arrive(self, envelope)
    }

    fn deliver(&mut self) -> Option<Delivery<T>> {
        HoldBack::deliver(self)
    }

    fn held(&self) -> Vec<Held> {
        HoldBack::held(self)
    }

    fn missing(&self) -> Vec<Missing> {
        HoldBack::missing(self)
    }

    fn give_up(&mut self) -> u64 {
        HoldBack::give_up(self)
    }
}
