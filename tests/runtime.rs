//! Runtimes: building, the environment, shutting down, several at once, idling,
//! stealing.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "runtime/environment.rs"]
mod environment;
#[path = "runtime/lifetime.rs"]
mod lifetime;
#[path = "runtime/sharing.rs"]
mod sharing;
mod support;
