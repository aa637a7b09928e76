//! Pinning: somebody reads a parked thread's stack while others make the thread run.

use std::sync::Arc;

use lisle_lwp::explore::{ALL, Data, Turns, outcomes};
use lisle_lwp::shim::{AtomicU32, Ordering};
use loom::thread::spawn;

use crate::hold::{HELD, PINNED, SUSPEND_ASKED};
use crate::tcb::Tcb;
use crate::wait::Outcome;
use crate::wait::word::{Armed, Interest, Resolution};

/// A user thread, its stack, and how often it ran.
struct Thread {
    block: Tcb,
    stack: Data,
    runs: AtomicU32,
    turns: Turns,
}

impl Thread {
    fn new() -> Arc<Thread> {
        Arc::new(Thread {
            block: Tcb::blank(),
            stack: Data::new(),
            runs: AtomicU32::new(0),
            turns: Turns::new(),
        })
    }

    fn arm(&self, interest: Interest) -> u64 {
        match self.block.wait.arm(interest) {
            Armed::Waiting(epoch) => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// Leaves its stack.
    fn leave(&self) {
        self.stack.add_one();
        self.turns.take();
        if !self.block.wait.commit() {
            self.pick();
        }
    }

    fn wake(&self, epoch: u64) {
        self.turns.take();
        if self.block.wait.resolve(epoch, Outcome::Woken) == Resolution::MakeReady {
            self.pick();
        }
    }

    /// Ends its wait, if it is parked. (What a sender writes on its stack is no business of who reads its
    /// frames.)
    fn claim(&self, epoch: u64) -> bool {
        self.turns.take();
        let claimed = self.block.wait.claim(|which| which == epoch, || true);
        if claimed.is_some() {
            self.pick();
        }
        claimed.is_some()
    }

    /// As an LWP that finds it ready.
    fn pick(&self) {
        self.turns.take();
        if self.block.is_runnable() || !self.block.hold() {
            self.stack.add_one();
            self.runs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn let_go(&self, why: u8) {
        self.turns.take();
        if self.block.let_go(why) {
            self.pick();
        }
    }

    /// Reads its stack if it stands still. Returns whether it does.
    fn look(&self) -> bool {
        self.turns.take();
        let before = self.block.ask_to_hold(PINNED);
        assert_eq!(before & PINNED, 0);
        self.turns.take();
        let parked = before & HELD != 0 || self.block.wait.is_parked();
        if parked {
            assert_eq!(self.stack.get(), 1);
        }
        self.let_go(PINNED);
        parked
    }
}

#[test]
fn pin_against_resolve() {
    let seen = outcomes(Some(3), || {
        let thread = Thread::new();
        let epoch = thread.arm(Interest::PLAIN);
        let (a, b) = (thread.clone(), thread.clone());
        let waker = spawn(move || a.wake(epoch));
        let reader = spawn(move || b.look());
        thread.leave();
        waker.join().unwrap();
        let read = reader.join().unwrap();
        assert_eq!(thread.runs.load(Ordering::Relaxed), 1);
        read
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn pin_against_claim() {
    let seen = outcomes(Some(3), || {
        let thread = Thread::new();
        let epoch = thread.arm(Interest::CLAIMABLE);
        let (a, b) = (thread.clone(), thread.clone());
        let claimer = spawn(move || a.claim(epoch));
        let reader = spawn(move || b.look());
        thread.leave();
        let (claimed, read) = (claimer.join().unwrap(), reader.join().unwrap());
        assert_eq!(thread.runs.load(Ordering::Relaxed), u32::from(claimed));
        (claimed, read)
    });
    assert_eq!(seen.len(), 4);
}

/// Whichever of the two ends last makes the thread ready.
#[test]
fn pin_against_resume() {
    let seen = outcomes(ALL, || {
        let thread = Thread::new();
        let epoch = thread.arm(Interest::PLAIN);
        thread.leave();
        let _ = thread.block.ask_to_hold(SUSPEND_ASKED);
        let other = thread.clone();
        let reader = spawn(move || other.look());
        thread.wake(epoch);
        thread.let_go(SUSPEND_ASKED);
        let read = reader.join().unwrap();
        assert_eq!(thread.runs.load(Ordering::Relaxed), 1);
        read
    });
    assert_eq!(seen.len(), 2);
}

/// A thread that is held already is looked at while it is resumed. Who leaves the stack and who
/// looks meet in nothing but that word.
#[test]
fn pin_against_hold() {
    let seen = outcomes(ALL, || {
        let thread = Thread::new();
        let _ = thread.block.ask_to_hold(SUSPEND_ASKED);
        let other = thread.clone();
        let reader = spawn(move || other.look());
        thread.stack.add_one();
        // As what was left ready, and picked.
        thread.pick();
        thread.let_go(SUSPEND_ASKED);
        let read = reader.join().unwrap();
        assert_eq!(thread.runs.load(Ordering::Relaxed), 1);
        read
    });
    assert_eq!(seen.len(), 2);
}
