//! Policies: which ready thread runs next; seeded runs.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "policies/crowd.rs"]
mod crowd;
#[path = "policies/depth.rs"]
mod depth;
#[path = "policies/order.rs"]
mod order;
#[path = "policies/priorities.rs"]
mod priorities;
#[path = "policies/seeded.rs"]
mod seeded;
mod support;
