//! Fork and join without threads: [`join`](fn@join), [`cobegin`](fn@cobegin), [`Scope`].
//!
//! `join(a, b)` runs `a` and then `b`, on the calling thread; but while `a` runs,
//! `b` is *noted*, and whoever has nothing else to do may run it. So a program
//! can split its work as finely as it likes and pays for threads only where
//! there is a processor to run them.
//!
//! ```text
//!   a thread's noted jobs, on its stack      the runtime's offers     an idle LWP
//!
//!   oldest ◄──► … ◄──► … ◄──► youngest
//!      │                         ▲ │
//!      │                    note │ │ `a` has returned: runs inline
//!      │                         │ ▼
//!      └── somebody is idle, or the thread waits ──► offers ──► a full thread
//! ```
//!
//! *Noting* is a few stores to the caller's stack: the list of noted jobs is
//! the thread's own. *Offering* makes jobs visible to others:
//!
//! * the oldest one, when a join sees an idle LWP, but not too often
//!   ([`pace`]); the oldest is mostly the largest;
//! * all of them, when the thread is about to wait: nothing hides behind a
//!   thread that waits.
//!
//! *Taking* is for an idle LWP, and for a busy one now and then: in its idle
//! context it makes a full thread, mostly from what the pool keeps ready, and
//! runs the job on it ([`offers`] has the protocol). When `a` has ended and
//! nobody has taken `b`, its owner takes it back and runs it. Otherwise the
//! owner waits for that thread as for any other: no other work ever runs on the
//! stack of a thread that waits.
//!
//! *Invariants.* A job is in its owner's list, or in the offers of one runtime,
//! or taken by one thread, or runs inline. A `join` does not end, in whatever
//! way, before its job is in none of these. The list of a thread that waits is
//! empty, if there is anybody who could help.
//!
//! *Ordering.* All but the offers is the thread's own. The word that says
//! whether LWPs are idle is read relaxed, and only a hint.
//!
//! *Rejected*: a deque per LWP as rayon has it (an atomic exchange or a fence per
//! join, and the jobs of a thread that moves would stay behind); running other
//! jobs while waiting (a job may then wait for what lies below it on the same
//! stack); noting only the outermost few jobs and skipping the others, as chili
//! does (cheaper by a nanosecond, but a thread that returns through many skipped
//! ones has nothing to offer).

#[cfg(not(lisle_loom))]
mod cobegin;
#[cfg(not(lisle_loom))]
mod job;
#[cfg(not(lisle_loom))]
mod join;
pub(crate) mod offers;
#[cfg(not(lisle_loom))]
mod pace;
#[cfg(not(lisle_loom))]
mod scope;
#[cfg(not(lisle_loom))]
mod steal;
pub(crate) mod thief;

#[cfg(not(lisle_loom))]
pub use self::cobegin::cobegin;
#[cfg(not(lisle_loom))]
pub use self::join::join;
#[cfg(not(lisle_loom))]
pub use self::scope::{Scope, scope};
#[cfg(not(lisle_loom))]
pub(crate) use self::steal::start;
