//! The join slot between a thread and its handle. `Life` is the part of a spawn
//! that the two share; `Handle` does what `JoinHandle` does, step by step.

use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use lisle_lwp::explore::{Data, Track, Turns, outcomes};
use lisle_lwp::shim::{AtomicU32, Cell, Ordering};
use loom::thread::spawn;

use crate::join::JoinSlot;
use crate::model::thread::{self, Thread, park};
use crate::wait::{self, Outcome, Reason};

static JOINING: Reason = Reason::new("model");

struct Life {
    slot: JoinSlot,
    turns: Turns,
    /// Everything in the thread's block but the result.
    block: Data,
    /// The result, in the block; loom reports it if it is never dropped.
    result: Cell<Option<Track<()>>>,
    freed: AtomicU32,
}

// SAFETY: that the cells are never touched concurrently is what the models check.
unsafe impl Sync for Life {}
// SAFETY: as above.
unsafe impl Send for Life {}

impl Life {
    fn new() -> Arc<Life> {
        Arc::new(Life {
            slot: JoinSlot::new(),
            turns: Turns::new(),
            block: Data::new(),
            result: Cell::new(None),
            freed: AtomicU32::new(0),
        })
    }

    /// The slot, for one step in any order with the others'.
    fn slot(&self) -> &JoinSlot {
        self.turns.take();
        &self.slot
    }

    fn take_result(&self) {
        // SAFETY: loom reports any concurrent access.
        let result = self.result.with_mut(|result| unsafe { (*result).take() });
        assert!(result.is_some(), "the result is there, once");
    }

    fn give_back(&self) {
        self.block.add_one();
        // SAFETY: as above.
        let gone = self
            .result
            .with_mut(|result| unsafe { (*result).is_none() });
        assert!(gone, "the result was dropped before the block");
        self.freed.fetch_add(1, Ordering::Relaxed);
    }

    /// The thread: `packet::run`, then its LWP on the next stack.
    fn run(&self) {
        self.block.add_one();
        // SAFETY: as above.
        self.result
            .with_mut(|result| unsafe { *result = Some(Track::new(())) });
        if self.slot().finish() {
            self.take_result();
        }
        self.block.add_one();
        if self.slot().exited() {
            self.give_back();
        }
    }

    fn release(&self) {
        if self.slot().release() {
            self.give_back();
        }
    }

    /// The handle is dropped.
    fn drop_handle(&self) {
        self.slot().forget_joiner();
        if self.slot().detach() {
            self.take_result();
        }
        self.release();
    }

    /// `JoinHandle::join`. Returns `false` if the caller was cancelled.
    fn join(&self) -> bool {
        loop {
            if self.slot().is_finished() {
                break;
            }
            self.slot().forget_joiner();
            let Ok(wait) = wait::begin(&JOINING, 0, true) else {
                self.drop_handle();
                return false;
            };
            let Some(wait) = self.slot().wait(wait) else {
                break;
            };
            if wait.block(None) == Outcome::Cancelled {
                self.slot().forget_joiner();
                self.drop_handle();
                return false;
            }
        }
        self.take();
        true
    }

    fn take(&self) {
        self.take_result();
        self.release();
    }

    /// `JoinHandle::poll`. Returns whether the result was there.
    fn poll(&self, waker: &Waker) -> bool {
        let done = self.slot().is_finished() || self.slot().watch(waker);
        if done {
            self.take();
        }
        done
    }

    /// Thread and handle have gone.
    fn check(&self) {
        assert_eq!(self.freed.load(Ordering::Relaxed), 1);
        assert_eq!(self.block.get(), 3);
    }
}

/// A waker that unparks; each clone is an allocation of its own, written by
/// whoever cloned it, so handing it over needs ordering.
struct Alarm {
    number: u32,
    thread: Thread,
    rung: Arc<AtomicU32>,
    used: Cell<u32>,
    _track: Track<()>,
}

impl Alarm {
    fn waker(number: u32, rung: &Arc<AtomicU32>) -> Waker {
        let (thread, rung) = (thread::current(), rung.clone());
        // SAFETY: the table's functions are made for this pointer.
        unsafe { Waker::from_raw(Alarm::raw(number, thread, rung)) }
    }

    fn raw(number: u32, thread: Thread, rung: Arc<AtomicU32>) -> RawWaker {
        let alarm = Alarm {
            number,
            thread,
            rung,
            used: Cell::new(0),
            _track: Track::new(()),
        };
        RawWaker::new(Box::into_raw(Box::new(alarm)) as *const (), &TABLE)
    }

    unsafe fn clone(alarm: *const ()) -> RawWaker {
        // SAFETY: a waker's pointer is a live alarm.
        let alarm = unsafe { &*alarm.cast::<Alarm>() };
        Alarm::raw(alarm.number, alarm.thread.clone(), alarm.rung.clone())
    }

    unsafe fn wake(alarm: *const ()) {
        // SAFETY: waking consumes the waker.
        let alarm = unsafe { Box::from_raw(alarm.cast::<Alarm>().cast_mut()) };
        // SAFETY: loom reports any concurrent access.
        alarm.used.with_mut(|used| unsafe { *used += 1 });
        alarm.rung.swap(alarm.number, Ordering::Relaxed);
        alarm.thread.unpark();
    }

    unsafe fn wake_by_ref(_: *const ()) {
        unreachable!("the slot owns its waker");
    }

    unsafe fn drop(alarm: *const ()) {
        // SAFETY: dropping consumes the waker.
        let alarm = unsafe { Box::from_raw(alarm.cast::<Alarm>().cast_mut()) };
        // SAFETY: loom reports any concurrent access.
        alarm.used.with_mut(|used| unsafe { *used += 1 });
    }
}

static TABLE: RawWakerVTable =
    RawWakerVTable::new(Alarm::clone, Alarm::wake, Alarm::wake_by_ref, Alarm::drop);

fn start(life: &Arc<Life>) -> loom::thread::JoinHandle<()> {
    let life = life.clone();
    spawn(move || life.run())
}

#[test]
fn join_against_finish() {
    let seen = outcomes(Some(6), || {
        let life = Life::new();
        let thread = start(&life);
        let waited = !life.slot().is_finished();
        assert!(life.join());
        thread.join().unwrap();
        life.check();
        waited
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn finish_against_detach() {
    outcomes(None, || {
        let life = Life::new();
        let thread = start(&life);
        life.drop_handle();
        thread.join().unwrap();
        life.check();
    });
}

/// The last of thread and handle gives the block back, and uses of it come before.
#[test]
fn exit_against_release() {
    let seen = outcomes(None, || {
        let life = Life::new();
        let thread = start(&life);
        let finished = life.slot().is_finished();
        if finished {
            life.take();
        } else {
            life.drop_handle();
        }
        thread.join().unwrap();
        life.check();
        finished
    });
    assert_eq!(seen.len(), 2);
}

/// A cancelled joiner takes its registration back; the thread's end does not
/// reach into its next wait.
#[test]
fn cancel_against_finish() {
    let seen = outcomes(Some(2), || {
        let life = Life::new();
        let thread = start(&life);
        let me = thread::current();
        let canceller = spawn(move || me.cancel());
        let joined = life.join();
        let next = wait::begin(&JOINING, 0, false).unwrap();
        thread.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(next.abandon(), None, "nobody ended the next wait");
        life.check();
        joined
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn watch_against_finish() {
    let seen = outcomes(Some(6), || {
        let (life, rung) = (Life::new(), Arc::new(AtomicU32::new(0)));
        let thread = start(&life);
        let waker = Alarm::waker(1, &rung);
        let mut pending = 0;
        while !life.poll(&waker) {
            pending += 1;
            while rung.swap(0, Ordering::Relaxed) == 0 {
                assert!(park());
            }
        }
        thread.join().unwrap();
        life.check();
        pending
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

/// The second poll's waker is the one that is told.
#[test]
fn waker_replaced_against_finish() {
    let seen = outcomes(Some(5), || {
        let (life, rung) = (Life::new(), Arc::new(AtomicU32::new(0)));
        let thread = start(&life);
        let (first, second) = (Alarm::waker(1, &rung), Alarm::waker(2, &rung));
        let mut polls = 1;
        if !life.poll(&first) {
            polls += 1;
            while !life.poll(&second) {
                polls += 1;
                while rung.load(Ordering::Relaxed) != 2 {
                    assert!(park());
                }
            }
        }
        thread.join().unwrap();
        life.check();
        polls
    });
    assert_eq!(Vec::from_iter(seen), [1, 2, 3]);
}

/// A handle that was polled is dropped: nobody is told, nothing leaks.
#[test]
fn waker_forgotten_against_finish() {
    let seen = outcomes(Some(6), || {
        let (life, rung) = (Life::new(), Arc::new(AtomicU32::new(0)));
        let thread = start(&life);
        let done = life.poll(&Alarm::waker(1, &rung));
        if !done {
            life.drop_handle();
        }
        thread.join().unwrap();
        life.check();
        done
    });
    assert_eq!(seen.len(), 2);
}
