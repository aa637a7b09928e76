//! Delivery orders: a process cannot choose in which order messages arrive, but it
//! can choose in which order they are delivered to it.
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::delivery;
//!
//! let [mut alice, mut bob] = delivery::causal();
//! alice.broadcast("hello");
//! assert_eq!(bob.recv().unwrap().message, "hello");
//! ```
//!
//! | order | promises | carries | made by |
//! |---|---|---|---|
//! | [`Fifo`] | each sender's messages in their order | a number | [`fifo`](fn@fifo) |
//! | [`Causal`] | no message before one that was delivered or sent where it was sent, before | a vector | [`causal`](fn@causal) |
//! | [`PointToPoint`] | the same, of messages to one receiver | a matrix | [`point_to_point`](fn@point_to_point) |
//! | [`Total`] | everybody delivers the same in the same order, which respects causality | two numbers; acknowledgements | [`total`](fn@total) |
//!
//! *Layers*. An order is a plain value, a [`Protocol`]: it makes envelopes of messages,
//! is told of envelopes that arrive, and says what may be delivered. It does no I/O, so
//! it works over any transport: serialise its envelopes (feature `serde`) and carry them
//! over sockets. A [`Member`] is a protocol at a [`Network`], with calls that wait. The
//! network connects the threads of a program, reliably, or with the faults that one asks
//! for, reproducibly.
//!
//! *Holding back*. What arrives too early waits in a [`HoldBack`], and in a total order
//! in its queue. How much may wait is bounded ([`HoldBack::limit`], [`Total::limit`]); who
//! waits for what can be [seen](Protocol::held).
//! Duplicates are dropped and counted.
//!
//! *Loss*. Nothing is repeated by itself: a message that the transport loses stays away,
//! and what depends on it is held. [`HoldBack::missing`] says what to ask the senders
//! for; what they send again is delivered once. If nobody can, [`Loss`] says what
//! happens when the hold-back is full: refuse, or give up what is missing; and
//! [`HoldBack::skip`] and [`HoldBack::give_up`] do that at any time. What was given up
//! is counted, and dropped if it comes after all.
//!
//! *Joining late*. A process that joins has a past that it does not see: a vector of how
//! many messages of each sender count as delivered to it ([`Causal::joining`]). What
//! was broadcast after that is delivered, what was broadcast before is not.
//! [`Member::join`] takes the cut at the moment of joining; over other transports, some
//! member's [`delivered`](HoldBack::delivered) vector will do, if that member passes on
//! what reaches it from those who do not know of the new process yet. A process that
//! comes back does so as its next [incarnation](lisle_clock::Process::reborn). A total
//! order needs to hear from everybody: its members are those it began with, less those
//! that [left](Total::leave).

mod causal;
mod fifo;
mod hold_back;
mod member;
mod network;
mod point_to_point;
mod total;

pub use self::causal::{Causal, CausalHeader, CausalRule};
pub use self::fifo::{Fifo, FifoHeader, FifoRule};
pub use self::hold_back::{Envelope, Held, HoldBack, Rule, Verdict};
pub use self::member::{Member, RecvError, causal, fifo, point_to_point, total};
pub use self::network::{Faults, Inbox, Network, Traffic};
pub use self::point_to_point::{PointHeader, PointRule, PointToPoint};
pub use self::total::{Packet, Total};

use std::fmt;

use lisle_clock::Process;

/// Names a message: its sender, and how many it had sent up to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MessageId {
    /// Its sender.
    pub from: Process,
    /// Its number; the sender's first one has 1.
    pub number: u64,
}

/// Messages of one sender that have not arrived, or are held themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Missing {
    /// Their sender.
    pub from: Process,
    /// The first one's number.
    pub first: u64,
    /// The last one's number.
    pub last: u64,
}

/// A message that is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Delivery<T> {
    /// Its sender.
    pub from: Process,
    /// Its number: see [`MessageId`].
    pub number: u64,
    /// The message.
    pub message: T,
}

/// What became of an envelope that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// Its message can be delivered.
    Ready,
    /// Its message has to wait for others.
    Held,
    /// It had arrived before, or was given up: it is dropped.
    Duplicate,
}

/// Why an envelope was not accepted. It is handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused<E> {
    /// It would have to wait, and as much waits as may.
    Full(E),
    /// It is not for this process: it is for another one, or its sender is no member, or
    /// it claims to be this process's own.
    Misaddressed(E),
}

/// What happens when a message would have to wait and the hold-back is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Loss {
    /// It is refused, and nothing is delivered out of order or left out. Somebody has
    /// to see to it that what is missing arrives.
    #[default]
    Wait,
    /// Messages that are missing are given up, fewest first, until something can be
    /// delivered.
    Skip,
}

/// A delivery order, as a plain value: see the [module](self).
pub trait Protocol {
    /// What is delivered.
    type Message;
    /// What is sent.
    type Envelope: Clone;

    /// The process that it works for.
    fn process(&self) -> Process;

    /// An envelope has arrived.
    ///
    /// # Errors
    /// If it is not accepted.
    fn arrive(&mut self, envelope: Self::Envelope) -> Result<Arrival, Refused<Self::Envelope>>;

    /// The next message, if one may be delivered.
    fn deliver(&mut self) -> Option<Delivery<Self::Message>>;

    /// What the protocol itself has to say to all others, after an arrival.
    fn reply(&mut self) -> Option<Self::Envelope> {
        None
    }

    /// Who waits for what.
    fn held(&self) -> Vec<Held>;

    /// What has to arrive so that all that is held can be delivered.
    fn missing(&self) -> Vec<Missing>;

    /// Gives up what is missing, fewest messages first, until something can be
    /// delivered; returns how many were given up.
    fn give_up(&mut self) -> u64;
}

/// A delivery order of messages to all others.
pub trait Broadcast: Protocol {
    /// The envelope to be sent to every other process.
    fn broadcast(&mut self, message: Self::Message) -> Self::Envelope;
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.from, self.number)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { from, first, last } = self;
        match first == last {
            true => write!(f, "{from}#{first}"),
            false => write!(f, "{from}#{first}–{last}"),
        }
    }
}

impl<E> fmt::Display for Refused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Full(_) => "as many messages wait as may",
            Refused::Misaddressed(_) => "the message is not for this process",
        })
    }
}

impl<E: fmt::Debug> std::error::Error for Refused<E> {}
