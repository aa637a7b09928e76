//! Recording, happens-before graphs, and what is made of them: lisle-trace.

#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // std's lock around recordings, its atomics, kernel threads

mod support;

#[path = "trace/ends.rs"]
mod ends;
#[path = "trace/graph.rs"]
mod graph;
#[path = "trace/large.rs"]
mod large;
#[path = "trace/logs.rs"]
mod logs;
#[path = "trace/losses.rs"]
mod losses;
#[path = "trace/marks.rs"]
mod marks;
#[path = "trace/pictures.rs"]
mod pictures;
#[path = "trace/recording.rs"]
mod recording;
