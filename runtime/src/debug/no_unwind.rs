//! Without the feature `backtrace` there are none.

use super::Backtrace;
use crate::tcb::Tcb;

const WITHOUT: &str = "built without the feature `backtrace`";

/// Where the calling thread is.
#[derive(Debug, Clone)]
pub(in crate::debug) struct Own;

pub(in crate::debug) fn own_trace() -> Own {
    Own
}

#[derive(Debug)]
pub(in crate::debug) struct Unwinder;

impl Unwinder {
    pub(in crate::debug) fn new() -> Unwinder {
        Unwinder
    }

    pub(in crate::debug) fn of(&mut self, _: &'static Tcb, _: Option<i32>) -> Backtrace {
        Backtrace(Err(WITHOUT))
    }

    pub(in crate::debug) fn own(&mut self, _: &Own) -> Backtrace {
        Backtrace(Err(WITHOUT))
    }
}
