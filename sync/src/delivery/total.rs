//! Total order by Lamport's queue.

use std::collections::BTreeMap;

use lisle_clock::{Clock, Lamport, LamportStamp, Process};

use super::fifo::{Fifo, FifoHeader, FifoRule};
use super::hold_back::{Envelope, Held, HoldBack};
use super::{Arrival, Broadcast, Delivery, MessageId, Missing, Protocol, Refused};

/// Delivers the same messages in the same order to every member, one's own among them,
/// and no message before one that may have caused it.
///
/// Messages are queued by their Lamport stamps. The first is delivered when every other
/// member has said something with a greater stamp, because then nothing less can come
/// any more. So that everybody says something, members answer what arrives with
/// acknowledgements ([`Protocol::reply`]). Below it lies [`Fifo`], which turns loss
/// into waiting; hence the two numbers.
///
/// Members are those it begins with, less those that [left](Total::leave); what anybody
/// else says is refused, for nobody would wait for it. A member that is silent holds
/// everybody up: meanwhile, so many messages of the others as the
/// [limit](Total::limit) has it wait in the queue, and then they are refused, too.
///
/// Source: Lamport, "Time, clocks, and the ordering of events in a distributed system",
/// CACM 21(7), 1978.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::clock::Process;
/// use lisle::delivery::{Broadcast, Protocol, Total};
///
/// let members = [0, 1].map(Process::new);
/// let [mut alice, mut bob] = members.map(|process| Total::new(process, members));
/// let (a, b) = (alice.broadcast("a"), bob.broadcast("b")); // at the same time
/// alice.arrive(b).unwrap();
/// bob.arrive(a).unwrap();
/// bob.arrive(alice.reply().unwrap()).unwrap();
/// alice.arrive(bob.reply().unwrap()).unwrap();
/// let all = |member: &mut Total<_>| -> Vec<_> {
///     std::iter::from_fn(|| member.deliver()).map(|delivery| delivery.message).collect()
/// };
/// assert_eq!(all(&mut alice), all(&mut bob));
/// ```
#[derive(Debug, Clone)]
pub struct Total<T> {
    below: Fifo<Packet<T>>,
    clock: Lamport,
    /// The latest time that each other member is known to have reached.
    heard: BTreeMap<Process, u64>,
    /// By stamp; a sender's number decides where its times do not rise as they should.
    queue: BTreeMap<(LamportStamp, u64), T>,
    /// How many of those are others'.
    others: usize,
    limit: usize,
    owes_reply: bool,
}

/// What a member of a [`Total`] order sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Packet<T> {
    /// When it was sent.
    pub stamp: LamportStamp,
    /// The message; nothing in an acknowledgement.
    pub message: Option<T>,
}

impl<T> Total<T> {
    /// For one of these members.
    pub fn new(
        process: impl Into<Process>,
        members: impl IntoIterator<Item = Process>,
    ) -> Total<T> {
        let process = process.into();
        let others = members.into_iter().filter(|&member| member != process);
        Total {
            below: Fifo::new(process),
            clock: Lamport::new(process),
            heard: others.map(|member| (member, 0)).collect(),
            queue: BTreeMap::new(),
            others: 0,
            limit: HoldBack::<FifoRule, T>::LIMIT,
            owes_reply: false,
        }
    }

    /// Sets how many envelopes may wait for earlier ones of the same sender; and how many
    /// messages of others, one at least, may wait in the queue. Those of members who are
    /// [awaited](Total::awaited) are always accepted: they are what the others wait for.
    /// One's own are not counted.
    #[must_use]
    pub fn limit(mut self, messages: usize) -> Total<T> {
        self.below = self.below.limit(messages);
        self.limit = messages.max(1);
        self
    }

    /// The member will say nothing more; it is no longer waited for. All must be told
    /// of it, and nothing of the member's may still be on its way: else they could
    /// deliver in different orders.
    pub fn leave(&mut self, member: Process) {
        self.heard.remove(&member);
    }

    /// The members whose next word the first message waits for.
    pub fn awaited(&self) -> Vec<Process> {
        let first = self.queue.first_key_value();
        first.map_or_else(Vec::new, |((first, _), _)| {
            self.silent_since(first).collect()
        })
    }

    /// The members from whom something may still come that is less.
    fn silent_since(&self, stamp: &LamportStamp) -> impl Iterator<Item = Process> {
        let silent = self.heard.iter().filter(move |&(&process, &time)| {
            // What it says next is greater than what it said last.
            LamportStamp { time, process } <= *stamp && process != stamp.process
        });
        silent.map(|(&process, _)| process)
    }

    /// Whether there is no room for this in the queue.
    fn is_full(&self, Envelope { header, message }: &Envelope<FifoHeader, Packet<T>>) -> bool {
        let is_new = header.number > self.below.delivered().get(header.from);
        let has_room = self.others < self.limit || message.message.is_none() || !is_new;
        !has_room && !self.awaited().contains(&header.from)
    }

    /// What waits in the queue, and for whose next words.
    fn queued(&self) -> impl Iterator<Item = Held> {
        let next_of = |from| {
            let next = self.below.delivered().get(from).saturating_add(1);
            Missing {
                from,
                first: next,
                last: next,
            }
        };
        let queued = self.queue.keys().map(move |&(ref stamp, number)| Held {
            id: MessageId {
                from: stamp.process,
                number,
            },
            waits_for: self.silent_since(stamp).map(next_of).collect(),
        });
        queued.filter(|held| !held.waits_for.is_empty())
    }

    fn packet(&mut self, message: Option<T>) -> Envelope<FifoHeader, Packet<T>>
    where
        T: Clone,
    {
        let stamp = self.clock.stamp();
        let envelope = self.below.broadcast(Packet {
            stamp,
            message: message.clone(),
        });
        if let Some(message) = message {
            self.queue.insert((stamp, envelope.header.number), message);
        }
        // Whatever is said acknowledges.
        self.owes_reply = false;
        envelope
    }

    fn accept(&mut self) {
        while let Some(delivery) = self.below.deliver() {
            let Packet { stamp, message } = delivery.message;
            // Its header says who sent it; its stamp is not believed in that, nor in going
            // back. All members see the same numbers, so they believe the same times.
            let heard = self.heard.get(&delivery.from).copied().unwrap_or(0);
            let stamp = LamportStamp {
                process: delivery.from,
                time: stamp.time.max(heard),
            };
            self.clock.receive(&stamp);
            if let Some(heard) = self.heard.get_mut(&delivery.from) {
                *heard = stamp.time;
            }
            if let Some(message) = message {
                self.queue.insert((stamp, delivery.number), message);
                self.others += 1;
                self.owes_reply = true;
            }
        }
    }
}

impl<T: Clone> Protocol for Total<T> {
    type Message = T;
    type Envelope = Envelope<FifoHeader, Packet<T>>;

    fn process(&self) -> Process {
        self.clock.process()
    }

    fn arrive(&mut self, envelope: Self::Envelope) -> Result<Arrival, Refused<Self::Envelope>> {
        if !self.heard.contains_key(&envelope.header.from) {
            return Err(Refused::Misaddressed(envelope));
        }
        if self.is_full(&envelope) {
            return Err(Refused::Full(envelope));
        }
        let arrival = self.below.arrive(envelope)?;
        self.accept();
        Ok(match arrival {
            Arrival::Ready if self.queue.is_empty() || !self.awaited().is_empty() => Arrival::Held,
            arrival => arrival,
        })
    }

    fn deliver(&mut self) -> Option<Delivery<T>> {
        if !self.awaited().is_empty() {
            return None;
        }
        let ((stamp, number), message) = self.queue.pop_first()?;
        self.others -= usize::from(stamp.process != self.process());
        Some(Delivery {
            from: stamp.process,
            number,
            message,
        })
    }

    fn reply(&mut self) -> Option<Self::Envelope> {
        self.owes_reply.then(|| self.packet(None))
    }

    /// Envelopes that wait for earlier ones of the same sender; then what waits in the
    /// queue, in its order, for the next words of those who have been silent. Whether
    /// they have said those yet, nobody can tell.
    fn held(&self) -> Vec<Held> {
        self.below.held().into_iter().chain(self.queued()).collect()
    }

    fn missing(&self) -> Vec<Missing> {
        self.below.missing()
    }

    /// Members that give up different messages no longer deliver the same.
    fn give_up(&mut self) -> u64 {
        let lost = self.below.give_up();
        self.accept();
        lost
    }
}

impl<T: Clone> Broadcast for Total<T> {
    fn broadcast(&mut self, message: T) -> Self::Envelope {
        self.packet(Some(message))
    }
}
