//! Logical time: which event happened before which.
//!
//! Events in a system of communicating processes are ordered by *causality* and
//! by nothing else: the events of one process by their order there, a send before
//! its receive, and what follows from the two (Lamport, 1978). A logical clock
//! gives every event a stamp that tells of this order. Everything here is a plain
//! value: no threads, no locks, no I/O, no unsafe code.
//!
//! | clock | its stamp | tells | bytes |
//! |---|---|---|---|
//! | [`Lamport`] | a number, and the process as tie-break | a total order that respects causality | constant |
//! | [`Vector`] | a number for each process | causality: before, after, or concurrent | O(n) |
//! | [`Matrix`] | a vector for each process | also what everybody is known to know | O(n²) |
//!
//! ```
//! # use lisle_clock::__facade as lisle;
//! use lisle::clock::{Causality, Clock, Vector};
//!
//! let (mut alice, mut bob) = (Vector::new(0), Vector::new(1));
//! let question = alice.stamped("where?"); // a send is an event
//! let meanwhile = bob.stamp(); // so is what happens meanwhile
//! bob.receive(&question.stamp); // and so is a receive
//! let answer = bob.stamped("here");
//!
//! assert!(question.happened_before(&answer));
//! assert_eq!(question.stamp.causality(&meanwhile), Causality::Concurrent);
//! ```
//!
//! # What an event does
//!
//! The rules are the pseudocode of the textbooks: on *any* event, first merge, if
//! it is the receipt of a message; then add the step to one's own entry; then
//! stamp. So a receive is exactly one event.
//!
//! ```text
//!   on event e:   if e receives m:   clock = max(m.stamp, clock)
//!                 clock[self] += step
//!                 e.stamp = clock
//!                 if e sends m:      m.stamp = clock
//! ```
//!
//! The formula that is often printed beside it, `C_j(b) = max(C_i(a) + d, C_j(b))`,
//! says the same only if the `C_j(b)` on its right has been ticked for `b` already:
//! `max(C_i + d, C_j + d) = max(C_i, C_j) + d`. Read with the clock as it was before
//! `b`, it would give a receive the time of the event before it whenever `C_j ≥ C_i +
//! d`, and two events of one process must not have one time. So the pseudocode is
//! what is followed here.
//!
//! # Processes come and go
//!
//! A [`Process`] is a number and an incarnation, so that one that is restarted is
//! not taken for its former self. Vectors and matrices are sparse: who has not been
//! heard of counts as zero and takes no room, so a process joins by sending its
//! first message, and nothing is restarted. Entries are never dropped silently; see
//! [`Vector::retire`].
//!
//! This crate is an implementation detail of `lisle`; depend on that instead.
#![forbid(unsafe_code)]

mod causality;
mod delta;
pub mod history;
mod lamport;
mod matrix;
mod process;
mod stamped;
mod times;
mod vector;
#[cfg(feature = "wire")]
pub mod wire;

pub use self::causality::Causality;
pub use self::delta::{Delta, DeltaDecoder, DeltaEncoder, DeltaError};
pub use self::history::{Event, EventId, History};
pub use self::lamport::{Lamport, LamportStamp};
pub use self::matrix::{Matrix, MatrixStamp};
pub use self::process::Process;
pub use self::stamped::{Causal, Clock, Stamp, Stamped};
pub use self::times::{MatrixTime, Times, VectorTime};
pub use self::vector::{Vector, VectorStamp};

/// The greatest time that is accepted from outside, when a stamp is deserialised.
///
/// Clocks count to 2⁶⁴, and panic there. A message that claimed to come from near that end
/// would bring its receivers there; this bound keeps them 3·2⁶² events away from it, so
/// that no single message, damaged or forged, makes a clock panic.
///
/// That is all. Peers are trusted to send stamps that their clocks gave. One who does not
/// can bring its receivers to this very bound: a Lamport clock by any stamp, a vector or
/// matrix clock by one that claims to know so much of the receiver. What the receiver stamps
/// after that is refused by all who deserialise it, until it comes back
/// [reborn](Process::reborn) with a new clock; and stamps that claim what did not happen
/// make comparisons worthless. Against such peers, authenticate them, and compare what they
/// claim with what you know before you [receive](Clock::receive) it.
pub const MAX_TIME: u64 = 1 << 62;

/// What the crate `lisle`, on which programs depend, calls what is here: for examples.
#[doc(hidden)]
pub mod __facade {
    pub use crate as clock;
}
