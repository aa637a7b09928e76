//! The scheduler.
//!
//! * [`switch`]: how a thread leaves its LWP; the entry rule
//! * [`lwp`], [`next`]: the run queue of a virtual processor
//! * [`idle`]: what an LWP does without a thread of its own
//! * [`sleepers`]: who searches and who sleeps
//! * [`queue`], [`policy`], [`first_come`], [`seeds`]: which thread runs next
//! * [`timers`]: deadlines of waiting threads
//! * [`stand`]: what a thread stands on, from its first switch to its last
//! * [`ending`]: full threads whose donors end with them
//! * [`handover`]: an LWP leaves its kernel thread
//! * [`coming`]: kernel threads on their way to an LWP
//! * [`roster`]: which LWPs there are
//! * [`preempt`]: a thread leaves it, in a signal handler

pub mod coming;
#[cfg(not(lisle_loom))]
pub(crate) mod ending;
#[cfg(not(lisle_loom))]
pub(crate) mod first_come;
#[cfg(not(lisle_loom))]
pub(crate) mod handover;
#[cfg(not(lisle_loom))]
pub(crate) mod idle;
#[cfg(not(lisle_loom))]
pub(crate) mod lwp;
pub(crate) mod next;
#[cfg(not(lisle_loom))]
pub mod policy;
#[cfg(not(lisle_loom))]
pub(crate) mod preempt;
pub mod queue;
pub mod roster;
#[cfg(not(lisle_loom))]
pub(crate) mod seeds;
pub mod sleepers;
#[cfg(not(lisle_loom))]
pub(crate) mod stand;
#[cfg(not(lisle_loom))]
pub(crate) mod switch;
pub(crate) mod timers;

#[cfg(not(lisle_loom))]
pub(crate) use self::preempt::Steady;
#[cfg(not(lisle_loom))]
pub(crate) use self::stand::free;
#[cfg(not(lisle_loom))]
pub use self::switch::in_runtime;
#[cfg(all(feature = "backtrace", not(lisle_loom)))]
pub(crate) use self::switch::let_go;
#[cfg(not(lisle_loom))]
pub(crate) use self::switch::{
    Entry, arrive, come_back, end_of_slice, exit, exit_with_donor, inject, make_ready,
    offer_own_lwp, on_lwp, prepare_park, resume, running, yield_now,
};
