//! Recording, happens-before graphs, and what is made of them: lisle-trace.

mod support;

#[path = "trace/graph.rs"]
mod graph;
#[path = "trace/recording.rs"]
mod recording;
