//! Full threads through the facade: that a user thread is a thread to the
//! compiler, to std and to libc, wherever it runs.
//!
//! Migration is forced ([`travel`]): a test that hops fails unless at least half
//! of the resumes were on another kernel thread than the last. Everything runs
//! under an allocator that aborts if the runtime calls it where it must not.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "full_threads/checking.rs"]
mod checking;
#[path = "full_threads/credentials.rs"]
mod credentials;
#[path = "full_threads/ends.rs"]
mod ends;
#[path = "full_threads/fallback.rs"]
mod fallback;
#[path = "full_threads/held.rs"]
mod held;
#[path = "full_threads/libraries.rs"]
mod libraries;
#[path = "full_threads/locals.rs"]
mod locals;
#[path = "full_threads/masses.rs"]
mod masses;
#[path = "full_threads/pool.rs"]
mod pool;
#[path = "full_threads/process.rs"]
mod process;
#[path = "full_threads/pthreads.rs"]
mod pthreads;
#[path = "full_threads/scopes.rs"]
mod scopes;
#[path = "full_threads/signals.rs"]
mod signals;
#[path = "full_threads/stacks.rs"]
mod stacks;
#[path = "full_threads/std_sync.rs"]
mod std_sync;
#[path = "full_threads/storm.rs"]
mod storm;
mod support;
#[path = "full_threads/surroundings.rs"]
mod surroundings;
#[path = "full_threads/travel.rs"]
mod travel;
#[path = "full_threads/turns.rs"]
mod turns;
#[path = "full_threads/unwinding.rs"]
mod unwinding;

#[global_allocator]
static ALLOCATOR: checking::Checking<std::alloc::System> = checking::Checking(std::alloc::System);
