//! Logical time through the facade: clocks against the happened-before relation of
//! random executions, stamped channels, delivery orders against ground truth, a network
//! with faults that repeat by seed, and messages over byte streams.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "logical_time/channels.rs"]
mod channels;
#[path = "logical_time/churn.rs"]
mod churn;
#[path = "logical_time/executions.rs"]
mod executions;
#[path = "logical_time/members.rs"]
mod members;
#[path = "logical_time/networks.rs"]
mod networks;
#[path = "logical_time/orders.rs"]
mod orders;
mod support;
#[path = "logical_time/values.rs"]
mod values;
#[path = "logical_time/wire.rs"]
mod wire;

use lisle::clock::Process;
use proptest::test_runner::Config;

/// So many cases of a property.
fn cases(n: usize) -> Config {
    Config {
        failure_persistence: None,
        ..Config::with_cases(support::many(n) as u32)
    }
}

/// The first processes.
fn processes<const N: usize>() -> [Process; N] {
    std::array::from_fn(|n| Process::new(n as u32))
}
