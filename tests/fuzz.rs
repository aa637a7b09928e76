//! Inputs that nobody thought of: mutations of committed corpora, the same in each run.
//! See `tests/fuzz/driver.rs`; longer runs are those of `ci/fuzz.sh`. Requests to the
//! server are fuzzed in `tests/server/fuzz.rs`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "fuzz/api.rs"]
mod api;
#[path = "fuzz/driver.rs"]
mod driver;
#[path = "fuzz/frames.rs"]
mod frames;
#[path = "fuzz/logs.rs"]
mod logs;
#[path = "fuzz/models.rs"]
mod models;
#[path = "fuzz/paths.rs"]
mod paths;
mod support;
