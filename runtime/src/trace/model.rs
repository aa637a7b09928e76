//! The event hook in models: nobody records, but a model may listen to wakes.

#![allow(clippy::disallowed_macros)] // std's thread_local

#[path = "pass.rs"]
pub(crate) mod pass;

use core::cell::RefCell;

use lisle_lwp::shim::Ordering;

use crate::tcb::Tcb;
use crate::wait::{Outcome, WaitKey};

/// A wake: whose wait, which, and how it ended.
type Wake = (u64, u64, Outcome);

// The threads of a model share a kernel thread. Not loom's, which would put them in
// order.
std::thread_local! {
    /// What a model has been told that asked for it.
    static TOLD: RefCell<Option<Vec<Wake>>> = const { RefCell::new(None) };
}

/// Listens to wakes.
pub(crate) fn listen() {
    TOLD.set(Some(Vec::new()));
}

/// What was told since.
pub(crate) fn told() -> Vec<Wake> {
    TOLD.take().unwrap_or_default()
}

/// See the real one.
#[derive(Debug, Clone, Copy)]
pub struct Waiter;

impl Waiter {
    /// See the real one.
    pub fn of(_: WaitKey) -> Waiter {
        Waiter
    }
}

/// See the real one.
pub fn is_on() -> bool {
    TOLD.with_borrow(Option::is_some)
}

/// See the real one.
pub fn number() -> u32 {
    0
}

/// See the real one.
pub fn new_object() -> u64 {
    0
}

/// See the real one.
pub fn sent(_: u64, _: u64, _: Option<Waiter>) {}

/// See the real one.
pub fn received(_: u64, _: u64, _: Option<Waiter>) {}

/// See the real one.
pub fn handed_over(_: u64, _: u64, _: u64, _: Waiter) {}

pub(crate) fn parked(_: &Tcb) {}

pub(crate) fn over_at_once(_: &Tcb, _: u64, _: Outcome) {}

pub(crate) fn resumed(_: u64, _: Outcome) {}

/// See the real one; asked while a model [listens](listen).
pub(crate) fn whom(thread: &Tcb) -> Option<u64> {
    TOLD.with_borrow(Option::is_some)
        .then(|| thread.id.load(Ordering::Relaxed))
}

pub(crate) fn woke(whom: u64, epoch: u64, outcome: Outcome) {
    TOLD.with_borrow_mut(|told| told.get_or_insert_default().push((whom, epoch, outcome)));
}

pub(crate) fn left_token(_: u64) {}

pub(crate) fn left_scope(_: usize) {}

pub(crate) fn ended_scope(_: usize) {}

pub(crate) fn took_token() {}
