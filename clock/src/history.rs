//! What happened: events with their stamps, and what can be read from them.
//!
//! A [`History`] is a happens-before graph: the events of each process in their
//! order, and for each receive its send. It finds messages that overtook others, with
//! the chain of events that shows it; it checks cuts; and it checks the stamps
//! themselves, because a wrong clock would make all the rest worthless.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::{Causal, Process, VectorStamp, VectorTime};

/// Names an event: its process, and that process's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventId {
    /// Where it was.
    pub process: Process,
    /// The process's own entry in the event's stamp.
    pub time: u64,
}

/// What kind of event it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EventKind {
    /// Something in the process: input, output, a signal.
    Local,
    /// The sending of a message, to one or to many.
    Send,
    /// The receipt of the message that was sent then.
    Receive(EventId),
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Event {
    /// Where and when.
    pub stamp: VectorStamp,
    /// What kind.
    pub kind: EventKind,
    /// For readers.
    pub label: String,
}

impl From<&VectorStamp> for EventId {
    fn from(stamp: &VectorStamp) -> EventId {
        let (process, time) = (stamp.process(), stamp.get(stamp.process()));
        EventId { process, time }
    }
}

impl Event {
    /// Its name.
    pub fn id(&self) -> EventId {
        EventId::from(&self.stamp)
    }
}

/// Events of any number of processes.
///
/// ```
/// # use lisle_clock::__facade as lisle;
/// use lisle::clock::{Clock, History, Vector};
/// let [mut a, mut b, mut c] = [0, 1, 2].map(Vector::new);
/// let mut history = History::new();
///
/// let question = a.stamp(); // to b and to c
/// history.send(question.clone(), "question");
/// b.receive(&question);
/// history.receive(b.now(), &question, "question");
/// let answer = b.stamp();
/// history.send(answer.clone(), "answer");
///
/// // At c, the answer comes before its question.
/// c.receive(&answer);
/// history.receive(c.now(), &answer, "answer");
/// c.receive(&question);
/// history.receive(c.now(), &question, "question");
///
/// let violations = history.violations();
/// assert_eq!(violations.len(), 1);
/// println!("{}", history.describe(&violations[0]));
/// # assert_eq!(violations[0].chain(&history).len(), 4);
/// history.check().unwrap();
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Vec<Event>", into = "Vec<Event>"))]
pub struct History {
    events: BTreeMap<EventId, Event>,
}

/// A message that was overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The sending of the message that came too late.
    pub sent: EventId,
    /// Its receipt.
    pub late: EventId,
    /// The sending of the message that overtook it.
    pub overtaker: EventId,
    /// The receipt of that one.
    pub early: EventId,
}

impl Violation {
    /// How the one led to the other: from `sent` over `overtaker` to `early`, in the
    /// history that it was found in.
    ///
    /// It is looked for each time: kept, the chains of a history in which every message
    /// was overtaken would be longer than the history by orders of magnitude.
    pub fn chain(&self, history: &History) -> Vec<EventId> {
        let mut chain = history.chain(self.sent, self.overtaker).unwrap_or_default();
        chain.push(self.early);
        chain
    }
}

/// What is wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// This receive is of a message of whose sending nothing is known.
    UnknownSend(EventId),
    /// The stamp of this event is not what follows from the events before it.
    WrongStamp(EventId),
}

/// Why a cut is not consistent: it has a receive without its send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inconsistent {
    /// The send after the cut.
    pub send: EventId,
    /// The receive before it.
    pub receive: EventId,
}

impl History {
    /// Nothing has happened.
    pub fn new() -> History {
        History::default()
    }

    /// Adds an event. Its stamp is the one that the clock had then.
    pub fn record(&mut self, event: Event) {
        self.events.insert(event.id(), event);
    }

    fn add(&mut self, stamp: VectorStamp, kind: EventKind, label: &str) {
        self.record(Event {
            stamp,
            kind,
            label: label.into(),
        });
    }

    /// Adds a local event.
    pub fn local(&mut self, stamp: VectorStamp, label: &str) {
        self.add(stamp, EventKind::Local, label);
    }

    /// Adds the sending of a message.
    pub fn send(&mut self, stamp: VectorStamp, label: &str) {
        self.add(stamp, EventKind::Send, label);
    }

    /// Adds the receipt of the message that was sent with this stamp.
    pub fn receive(&mut self, stamp: VectorStamp, sent: &VectorStamp, label: &str) {
        self.add(stamp, EventKind::Receive(EventId::from(sent)), label);
    }

    /// Adds all events of another history.
    pub fn merge(&mut self, other: History) {
        self.events.extend(other.events);
    }

    /// The events, by process and time.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// The event of this name.
    pub fn get(&self, id: EventId) -> Option<&Event> {
        self.events.get(&id)
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The event before this one in its process.
    fn previous(&self, id: EventId) -> Option<&Event> {
        let (before, _) = (self.events.range(..id).next_back()).map(|(id, e)| (e, id))?;
        (before.stamp.process() == id.process).then_some(before)
    }

    /// What happened right before this event: the event before it in its process,
    /// and if it is a receive, the send.
    pub fn causes(&self, id: EventId) -> impl Iterator<Item = &Event> {
        let sent = match self.get(id).map(|event| event.kind) {
            Some(EventKind::Receive(sent)) => self.get(sent),
            _ => None,
        };
        self.previous(id).into_iter().chain(sent)
    }

    /// A shortest chain of events from one to another; `None` if the first did not
    /// happen before the second, by the graph, whatever the stamps say.
    pub fn chain(&self, from: EventId, to: EventId) -> Option<Vec<EventId>> {
        let mut next = BTreeMap::from([(to, to)]);
        let mut queue = VecDeque::from([to]);
        while let Some(at) = queue.pop_front() {
            if at == from {
                let step = |at: &EventId| (*at != to).then(|| next[at]);
                return Some(std::iter::successors(Some(from), step).collect());
            }
            for cause in self.causes(at).map(Event::id) {
                next.entry(cause).or_insert_with(|| {
                    queue.push_back(cause);
                    at
                });
            }
        }
        None
    }

    /// The messages that were overtaken: received by a process after another message
    /// that was sent later. One overtaker is given for each, the first.
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut known = VectorTime::new();
        let mut received: Vec<(EventId, &VectorStamp)> = Vec::new();
        let mut process = None;
        for (&at, event) in &self.events {
            if process.replace(at.process) != Some(at.process) {
                known = VectorTime::new();
                received.clear();
            }
            let EventKind::Receive(sent) = event.kind else {
                continue;
            };
            let Some(send) = self.get(sent) else { continue };
            if known.get(sent.process) >= sent.time {
                let later =
                    |(_, other): &&(EventId, &VectorStamp)| send.stamp.happened_before(other);
                if let Some(&(early, other)) = received.iter().find(later) {
                    violations.push(Violation {
                        sent,
                        late: at,
                        overtaker: EventId::from(other),
                        early,
                    });
                }
            }
            known.merge(&send.stamp.time());
            received.push((at, &send.stamp));
        }
        violations
    }

    /// A violation in words, an event a line.
    pub fn describe(&self, violation: &Violation) -> String {
        let label = |id| self.get(id).map_or("?", |event| &event.label);
        let mut text = format!(
            "at process {}, \"{}\" overtook \"{}\":",
            violation.late.process,
            label(violation.overtaker),
            label(violation.sent)
        );
        for id in violation.chain(self).into_iter().chain([violation.late]) {
            let kind = match self.get(id).map(|event| event.kind) {
                Some(EventKind::Send) => "sends",
                Some(EventKind::Receive(_)) => "receives",
                _ => "has",
            };
            text += &format!("\n  process {} {kind} \"{}\"", id.process, label(id));
        }
        text
    }

    /// Whether a cut, the events of each process up to a time, is one that could
    /// have been seen: no receive without its send.
    ///
    /// # Errors
    /// A receive whose send is not in the cut.
    pub fn check_cut(&self, cut: &VectorTime) -> Result<(), Inconsistent> {
        let within = |id: EventId| id.time <= cut.get(id.process);
        for (&receive, event) in &self.events {
            if let EventKind::Receive(send) = event.kind
                && within(receive)
                && !within(send)
            {
                return Err(Inconsistent { send, receive });
            }
        }
        Ok(())
    }

    /// The messages that were on their way at a cut: sent before it, received after
    /// it or never. A broadcast counts once for each process that received it later.
    pub fn in_transit(&self, cut: &VectorTime) -> Vec<EventId> {
        let within = |id: EventId| id.time <= cut.get(id.process);
        let (mut crossing, mut received) = (Vec::new(), BTreeSet::new());
        for (&at, event) in &self.events {
            if let EventKind::Receive(send) = event.kind {
                received.insert(send);
                if within(send) && !within(at) {
                    crossing.push(send);
                }
            }
        }
        let lost = self.events.iter().filter(|(id, event)| {
            event.kind == EventKind::Send && within(**id) && !received.contains(id)
        });
        crossing.extend(lost.map(|(&id, _)| id));
        crossing
    }

    /// Recomputes every stamp from the events before it.
    ///
    /// # Errors
    /// The first event whose stamp is not the merge of those, ticked, or whose send
    /// is not known. Of a history in which clocks have retired processes, or events
    /// are missing, stamps are not expected to fit.
    pub fn check(&self) -> Result<(), Flaw> {
        for (&id, event) in &self.events {
            if let EventKind::Receive(sent) = event.kind
                && self.get(sent).is_none()
            {
                return Err(Flaw::UnknownSend(id));
            }
            let mut expected = VectorTime::new();
            for cause in self.causes(id) {
                expected.merge(&cause.stamp.time());
            }
            let advances = id.time > expected.get(id.process);
            expected.set(id.process, id.time);
            if !advances || expected != event.stamp.time() {
                return Err(Flaw::WrongStamp(id));
            }
        }
        Ok(())
    }
}

impl From<Vec<Event>> for History {
    fn from(events: Vec<Event>) -> History {
        events.into_iter().collect()
    }
}

impl From<History> for Vec<Event> {
    fn from(history: History) -> Vec<Event> {
        history.events.into_values().collect()
    }
}

impl FromIterator<Event> for History {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> History {
        let mut history = History::new();
        events.into_iter().for_each(|event| history.record(event));
        history
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.process, self.time)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::UnknownSend(id) => write!(f, "event {id} receives what nobody sent"),
            Flaw::WrongStamp(id) => write!(f, "the stamp of event {id} does not follow"),
        }
    }
}

impl fmt::Display for Inconsistent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inconsistent { send, receive } = self;
        write!(f, "the cut has receive {receive} but not its send {send}")
    }
}

impl std::error::Error for Flaw {}
impl std::error::Error for Inconsistent {}
