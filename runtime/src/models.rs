//! Models of the runtime's protocols, for loom. Each test is named for the race
//! it looks at.
//!
//! The code under test is the code that ships, file by file as ARCHITECTURE.md's
//! table tells. What stands around it here is small: a thread waits on its own
//! [`Sleeper`](lisle_lwp::sleep::Sleeper), like a kernel thread from outside
//! ([`model`](crate::model)); stacks, results and contexts are loom cells, so that
//! using one too early, too late or twice is a race; a lost wake-up is a deadlock.

mod census;
mod coming;
mod desk;
mod gate;
mod inherit;
mod jobs;
mod join;
mod life;
mod list;
mod lot;
mod mark;
mod next;
mod park;
mod pin;
mod queue;
mod roster;
mod shelf;
mod side;
mod sleepers;
mod slumber;
mod timers;
mod trace;
mod vigil;
mod wait;
