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
