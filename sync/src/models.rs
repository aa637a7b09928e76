//! Models of what threads say to each other, for loom. Each test is named for
//! the race it looks at.
//!
//! The primitives and the wait list under them are the code that ships. Every
//! thread waits on its own sleeper, as a kernel thread does; loom has no time,
//! so every deadline has come by the time anybody looks. A lost wake-up is a
//! deadlock; data that is not ordered, or a message received twice, is a race or
//! a leak.

mod buffer;
mod channel;
mod condvar;
mod delivery;
mod monitor;
mod mutex;
mod once;
mod path;
mod priority_mutex;
mod queue;
mod region;
mod rendezvous;
mod rwlock;
mod select;
mod semaphore;
mod serializer;
mod shapes;
mod stamped;
mod task;
mod timer;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lisle_runtime::cancel::Cancelled;

/// What `wait` returns, or `None` if the calling thread was cancelled in it.
/// While it unwinds, loom runs others, too: see `has_cancels` in the runtime's `model.rs`.
fn unless_cancelled<T>(wait: impl FnOnce() -> T) -> Option<T> {
    let payload = match catch_unwind(AssertUnwindSafe(wait)) {
        Ok(value) => return Some(value),
        Err(payload) => payload,
    };
    if !payload.is::<Cancelled>() {
        std::panic::resume_unwind(payload);
    }
    None
}
