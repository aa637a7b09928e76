//! Dumps, deadlocks, hogs: what a program can ask when something goes wrong.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

#[path = "debugging/deadlocks.rs"]
mod deadlocks;
#[path = "debugging/dumps.rs"]
mod dumps;
#[path = "debugging/hogs.rs"]
mod hogs;
#[path = "debugging/pins.rs"]
mod pins;
#[path = "debugging/quit.rs"]
mod quit;
