//! The runtime as models see it.
//!
//! Under `--cfg lisle_loom` there are no LWPs: every thread is a loom thread,
//! and waits on its [`Sleeper`](lisle_lwp::sleep::Sleeper) like a kernel thread
//! from outside. The wait word, the wait lists and everything built on them are
//! the code that ships. What is left out (switching, the run queue around
//! crossbeam-deque) has models of its own pieces.

use lisle_lwp::shim::Ordering;

use crate::tcb::Tcb;
use crate::wait::{Outcome, WaitKey};

loom::lazy_static! {
    /// Control blocks are type-stable within one execution of a model.
    static ref BLOCKS: Blocks = Blocks::default();
}

/// What is in these is no part of the model.
#[allow(clippy::disallowed_types)]
#[derive(Default)]
struct Blocks {
    all: std::sync::Mutex<Vec<*mut Tcb>>,
    cancelled: std::sync::atomic::AtomicBool,
}

// SAFETY: the pointers are only freed, and only once, when the execution ends.
unsafe impl Send for Blocks {}
// SAFETY: as above; the list has a lock.
unsafe impl Sync for Blocks {}

impl Drop for Blocks {
    fn drop(&mut self) {
        for block in self.all.get_mut().unwrap().drain(..) {
            // SAFETY: boxed by `new_block`; no thread of the execution is left.
            drop(unsafe { Box::from_raw(block) });
        }
    }
}

/// A control block for a loom thread.
pub(crate) fn new_block() -> &'static Tcb {
    let block = Box::into_raw(Box::new(Tcb::blank()));
    let mut blocks = BLOCKS.all.lock().unwrap();
    blocks.push(block);
    let number = u32::try_from(blocks.len()).expect("a model has few threads");
    drop(blocks);
    // SAFETY: just made; it lives as long as the execution.
    let block = unsafe { &*block };
    block.id.store(1, Ordering::Relaxed);
    block.number.store(number, Ordering::Relaxed);
    block.refs.store(1, Ordering::Relaxed);
    block
}

/// How many bits the number of a block has.
pub(crate) const NUMBER_BITS: u32 = 22;

/// The control block of this number.
pub(crate) fn block(number: u32) -> Option<&'static Tcb> {
    let blocks = BLOCKS.all.lock().unwrap();
    let block = blocks.get((number as usize).checked_sub(1)?)?;
    // SAFETY: as in `new_block`.
    Some(unsafe { &**block })
}

/// A thread is unwound by a cancel. All of a model's threads run on one kernel thread, whose
/// panic count counts each: from here on it says nothing of any of them, and a model that
/// cancels has no panics.
pub(crate) fn has_cancels() {
    BLOCKS.cancelled.store(true, Ordering::Relaxed);
}

/// Whether a thread has been unwound by a cancel in this execution.
pub(crate) fn is_cancelled() -> bool {
    BLOCKS.cancelled.load(Ordering::Relaxed)
}

/// Makes a thread ready: it sleeps on its own.
pub(crate) fn make_ready(thread: &'static Tcb) {
    // Release: as a run queue does; pairs with the Acquire in `park`.
    thread.made_ready.store(1, Ordering::Release);
    thread.sleeper.wake();
}

/// Waits as a user thread does: who is parked goes on when it is made ready, not before.
pub(crate) fn park(thread: &'static Tcb, epoch: u64, has_deadline: bool) -> Outcome {
    if thread.wait.commit() {
        if has_deadline {
            WaitKey::of(thread, epoch).fire(Outcome::TimedOut);
        }
        // Acquire: pairs with the Release in `make_ready`. It writes only what it takes: loom
        // may put a store before a write that does not depend on it.
        let is_ready = || {
            let taken =
                thread
                    .made_ready
                    .compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed);
            taken.is_ok()
        };
        while !is_ready() {
            thread.sleeper.sleep(None);
        }
    }
    let outcome = thread.wait.outcome();
    outcome.expect("a thread goes on only when its wait is over")
}

/// A stay inside the runtime; nothing in a model.
#[derive(Debug)]
pub(crate) struct Entry(core::marker::PhantomData<*mut ()>);

impl Entry {
    /// Enters the runtime.
    pub(crate) fn new() -> Self {
        Entry(core::marker::PhantomData)
    }

    /// As [`Entry::new`].
    pub(crate) fn nowhere() -> Entry {
        Entry::new()
    }

    /// As [`Entry::new`].
    pub(crate) fn of(_: &'static Tcb) -> Self {
        Entry::new()
    }

    /// Makes a thread ready.
    pub(crate) fn make_ready(&self, thread: &'static Tcb) {
        make_ready(thread);
    }
}

/// Threads in models: loom's, with lisle's park and cancel.
pub mod thread {
    use std::time::{Duration, Instant};

    use crate::current::me;
    use crate::tcb::Tcb;
    use crate::wait::{self, Reason};

    pub use loom::thread::{JoinHandle, spawn, yield_now};

    static PARKED: Reason = Reason::new("park");

    /// A handle to a thread.
    #[derive(Debug, Clone)]
    pub struct Thread(&'static Tcb);

    /// The calling thread.
    pub fn current() -> Thread {
        Thread(me())
    }

    impl Thread {
        /// See the real one.
        pub fn unpark(&self) {
            wait::give_token(self.0);
        }

        /// See the real one.
        pub fn cancel(&self) {
            wait::cancel(self.0);
        }
    }

    /// Waits for the token; `false` if the thread was cancelled instead (a model
    /// cannot unwind through loom).
    pub fn park() -> bool {
        wait::for_token(&PARKED, None).is_ok()
    }

    /// Waits for the token, or not: loom has no time.
    pub fn park_until(deadline: Instant) -> bool {
        wait::for_token(&PARKED, Some(deadline)).is_ok()
    }

    /// As [`park_until`].
    pub fn park_timeout(timeout: Duration) -> bool {
        park_until(super::time::now() + timeout)
    }
}

/// Time in models: it does not pass.
pub mod time {
    pub use std::time::Instant;

    /// Some instant.
    pub fn now() -> Instant {
        Instant::now()
    }
}
