//! Policy of the lisle runtime: user threads, the scheduler, deadlines,
//! readiness.
//!
//! * [`thread`]: user threads, with `std::thread`'s names
//! * [`Runtime`]: a set of LWPs; the default one starts by itself
//! * [`wait`]: the one way to block, for primitives built on top
//! * [`sched`]: switching, queues, policies, idling (see its module for the
//!   entry rule that all code inside the runtime obeys)
//! * [`cancel`], [`time`], [`net`], [`io`], [`signal`], [`process`], [`lwp`]
//! * [`future`]: async crates on user threads
//! * [`seeded`]: a closure under many reproducible interleavings
//!
//! This crate is an implementation detail of `lisle`; depend on that instead.

// In models only the modelled part of the runtime is used.
#![cfg_attr(lisle_loom, allow(dead_code))]

pub mod cancel;
mod census;
#[cfg(not(lisle_loom))]
mod clock;
mod current;
#[cfg(not(lisle_loom))]
pub mod debug;
#[cfg(any(feature = "backtrace", lisle_loom))]
mod desk;
#[cfg(not(lisle_loom))]
mod donors;
#[cfg(not(lisle_loom))]
mod footing;
#[cfg(not(lisle_loom))]
mod fork;
#[cfg(not(lisle_loom))]
pub mod future;
mod gate;
#[cfg(not(lisle_loom))]
mod helpers;
mod hold;
#[cfg(not(lisle_loom))]
pub mod io;
#[cfg(lisle_loom)]
mod io;
#[cfg(not(lisle_loom))]
pub mod jobs;
#[cfg(lisle_loom)]
mod jobs;
mod join;
mod life;
#[cfg(not(lisle_loom))]
pub mod lwp;
#[cfg(lisle_loom)]
mod model;
#[cfg(all(test, lisle_loom))]
mod models;
#[cfg(not(lisle_loom))]
pub mod net;
#[cfg(not(lisle_loom))]
mod pool;
#[cfg(not(lisle_loom))]
pub mod process;
#[cfg(not(lisle_loom))]
mod random;
#[cfg(not(lisle_loom))]
pub mod runtime;
pub mod sched;
#[cfg(not(lisle_loom))]
pub mod seeded;
mod shelf;
#[cfg(not(lisle_loom))]
pub mod signal;
#[cfg(not(lisle_loom))]
mod spares;
mod tcb;
#[cfg(not(lisle_loom))]
pub mod thread;
#[cfg(not(lisle_loom))]
pub mod time;
#[cfg(not(lisle_loom))]
pub mod trace;
#[cfg(lisle_loom)]
#[path = "trace/model.rs"]
pub mod trace;
pub mod wait;
#[cfg(not(lisle_loom))]
mod watch;
#[cfg(lisle_loom)]
mod watch {
    pub(crate) mod vigil;
}

#[cfg(not(lisle_loom))]
pub use crate::watch::blocking;

/// Upcalls: what happened to LWPs. See [`Builder::upcalls`].
#[cfg(not(lisle_loom))]
pub mod upcall {
    pub use crate::watch::{
        Counters, Doing, Event, Handler, KernelThreads, Kind, Left, Source, SourceInfo,
    };
}

#[cfg(lisle_loom)]
pub(crate) use crate::model::Entry;
#[cfg(lisle_loom)]
pub(crate) use crate::model::make_ready as sched_make_ready;
#[cfg(lisle_loom)]
pub use crate::model::{thread, time};
#[cfg(not(lisle_loom))]
pub use crate::runtime::{Builder, Runtime, ShutdownError};
#[cfg(not(lisle_loom))]
pub(crate) use crate::sched::Entry;
#[cfg(not(lisle_loom))]
pub(crate) use crate::sched::make_ready as sched_make_ready;

/// Runs a closure as the main user thread, on the calling kernel thread, and
/// returns what it returns.
///
/// The thread is *bound*: it keeps its kernel thread and its thread-locals, so
/// any closure will do. What it spawns runs on the default runtime, and goes on
/// when the closure returns; a program that wants to wait joins.
///
/// ```
/// # use lisle_runtime as lisle;
/// let sum = lisle::run(|| {
///     let spawn = |n: u32| lisle::thread::spawn(move || n * n);
///     let handles: Vec<_> = (1..=3).map(spawn).collect();
///     handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u32>()
/// });
/// assert_eq!(sum, 14);
/// ```
#[cfg(not(lisle_loom))]
pub fn run<T>(f: impl FnOnce() -> T) -> T {
    // Making the control block now makes it the parent of what `f` spawns.
    let _ = current::me();
    f()
}
