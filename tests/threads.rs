//! User threads through the facade: their life, their handles, waiting, locals,
//! stacks, unwinding. Order, counts and results are asserted, never time.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "threads/basics.rs"]
mod basics;
#[path = "threads/bound.rs"]
mod bound;
#[path = "threads/future.rs"]
mod future;
#[path = "threads/handles.rs"]
mod handles;
#[path = "threads/local.rs"]
mod local;
#[path = "threads/stacks.rs"]
mod stacks;
mod support;
#[path = "threads/suspension.rs"]
mod suspension;
#[path = "threads/unwinding.rs"]
mod unwinding;
#[path = "threads/waiting.rs"]
mod waiting;

use lisle::Runtime;
use lisle::upcall::Source;

/// A runtime of one LWP that stays with what it runs. With upcalls it goes on without a thread
/// whose kernel thread blocks or has lost the processor, and runs others beside that one.
fn steady() -> Runtime {
    match std::env::var_os("LISLE_TEST_SEED") {
        Some(_) => support::runtime(1),
        None => {
            let builder = Runtime::builder().lwps(1).upcalls(Source::Off);
            builder.build().unwrap()
        }
    }
}
