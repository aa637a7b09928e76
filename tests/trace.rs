//! Recording, happens-before graphs, and what is made of them: lisle-trace.

#[path = "trace/graph.rs"]
mod graph;
#[path = "trace/logs.rs"]
mod logs;
#[path = "trace/pictures.rs"]
mod pictures;
#[path = "trace/recording.rs"]
mod recording;
