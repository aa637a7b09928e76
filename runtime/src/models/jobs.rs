//! Offered jobs: each runs once, on one side, and its owner goes on only when
//! it has run; no offer is overlooked.
//!
//! A job here is a cell that its runner writes. The owner leaves its frame by
//! writing to the frame's cell, which a thief reads last: loom reports it if the
//! two are not ordered.

use std::sync::Arc;

use lisle_lwp::explore::{Data, Turns, outcomes};
use lisle_lwp::shim::{AtomicU32, Ordering};
use lisle_lwp::sleep::Sleeper;
use loom::thread::{JoinHandle, spawn};

use crate::jobs::offers::{Offer, Offers};
use crate::jobs::thief::wait_for;
use crate::model::{new_block, thread};
use crate::sched::sleepers::{Bed, Sleepers};
use crate::tcb::Tcb;

/// A job, where its owner's stack would be.
struct Frame {
    offer: Offer,
    job: Data,
    frame: Data,
}

// SAFETY: that nothing is touched concurrently is what the models check.
unsafe impl Sync for Frame {}
// SAFETY: as above.
unsafe impl Send for Frame {}

impl Frame {
    fn new() -> Box<Frame> {
        let mut frame = Box::new(Frame {
            offer: Offer::new(std::ptr::null(), new_block(), 0),
            job: Data::new(),
            frame: Data::new(),
        });
        frame.offer.job = (&raw const *frame).cast();
        frame
    }
}

struct Runtime {
    offers: Offers,
    turns: Turns,
    sleepers: Sleepers,
    bed: Sleeper,
    slept: AtomicU32,
}

impl Runtime {
    fn new() -> Arc<Runtime> {
        Arc::new(Runtime {
            offers: Offers::new(),
            turns: Turns::new(),
            sleepers: Sleepers::new(1),
            bed: Sleeper::new(),
            slept: AtomicU32::new(0),
        })
    }

    /// The owner offers a job.
    fn offer(&self, frame: &Frame) {
        frame.job.add_one();
        self.turns.take();
        // SAFETY: withdrawn in `settle`.
        unsafe { self.offers.push(&frame.offer) };
    }

    /// The owner ends a join. Returns whether a thief has run the job.
    fn settle(&self, frame: Box<Frame>) -> bool {
        self.turns.take();
        // SAFETY: offered once, settled once.
        let thief = unsafe { self.offers.withdraw(&frame.offer) };
        match thief {
            None => frame.job.add_one(),
            Some(thief) => wait_for(thief),
        }
        assert_eq!(frame.job.get(), 2, "the job has run once");
        frame.frame.add_one();
        thief.is_some()
    }

    /// An LWP takes a job, if there is one, and runs it on a thread.
    fn take(&self) -> Option<&'static Tcb> {
        if self.offers.is_empty() {
            return None;
        }
        let thief = new_block();
        let offer = self.offers.take(thief)?;
        // SAFETY: in place until the thief's end.
        let frame = unsafe { &*offer.job.cast::<Frame>() };
        frame.job.add_one();
        assert_eq!(frame.frame.get(), 0, "the owner is still there");
        self.turns.take();
        let gone = thief.join.finish();
        assert!(!gone, "its owner waits for it");
        Some(thief)
    }

    /// An LWP, which looks once.
    fn start(self: &Arc<Self>) -> JoinHandle<bool> {
        let runtime = self.clone();
        spawn(move || {
            runtime.turns.take();
            runtime.take().is_some()
        })
    }

    /// An LWP as in its idle context, until it has taken a job.
    fn hunt(&self) {
        self.sleepers.start_search();
        while self.take().is_none() {
            let bed = self.sleepers.fall_asleep(0, false);
            if self.offers.is_empty() {
                self.slept.fetch_add(1, Ordering::Relaxed);
                self.bed.sleep(None);
            }
            let _ = self.sleepers.get_up(bed);
        }
        let _ = self.sleepers.stop_search();
    }
}

#[test]
fn take_against_withdraw() {
    let seen = outcomes(Some(5), || {
        let runtime = Runtime::new();
        let lwp = runtime.start();
        let frame = Frame::new();
        runtime.offer(&frame);
        let helped = runtime.settle(frame);
        assert_eq!(lwp.join().unwrap(), helped);
        assert!(runtime.offers.is_empty());
        helped
    });
    assert_eq!(seen.len(), 2);
}

/// Two jobs of one owner and two LWPs: neighbours in the list come and go.
#[test]
fn take_against_take() {
    let seen = outcomes(Some(2), || {
        let runtime = Runtime::new();
        let (older, younger) = (Frame::new(), Frame::new());
        let first = runtime.start();
        runtime.offer(&older);
        runtime.offer(&younger);
        let second = runtime.start();
        // As joins end: the younger first.
        let helped = [runtime.settle(younger), runtime.settle(older)];
        let took = first.join().unwrap() as usize + second.join().unwrap() as usize;
        assert_eq!(took, helped.iter().filter(|helped| **helped).count());
        assert!(runtime.offers.is_empty());
        helped
    });
    // Never the younger alone: the older one is taken first.
    assert_eq!(
        Vec::from_iter(seen),
        [[false, false], [false, true], [true, true]]
    );
}

/// Two owners: one's job is linked behind the other's.
#[test]
fn offer_against_withdraw() {
    let seen = outcomes(Some(3), || {
        let runtime = Runtime::new();
        let other = runtime.clone();
        let owner = spawn(move || {
            let frame = Frame::new();
            other.offer(&frame);
            other.settle(frame)
        });
        let frame = Frame::new();
        runtime.offer(&frame);
        let lwp = runtime.start();
        let helped = [runtime.settle(frame), owner.join().unwrap()];
        assert_eq!(lwp.join().unwrap(), helped[0] || helped[1]);
        assert!(runtime.offers.is_empty());
        helped
    });
    assert_eq!(seen.len(), 3, "one of them is helped, or neither");
}

/// An owner that waits for what its job does, before it could withdraw it.
#[test]
fn offer_against_fall_asleep() {
    let seen = outcomes(Some(5), || {
        let runtime = Runtime::new();
        let idle = runtime.clone();
        let lwp = spawn(move || idle.hunt());
        let frame = Frame::new();
        runtime.offer(&frame);
        if let Some(Bed::Alone(_)) = runtime.sleepers.announce() {
            runtime.bed.wake();
        }
        lwp.join().unwrap();
        assert!(runtime.settle(frame));
        runtime.slept.load(Ordering::Relaxed) > 0
    });
    assert_eq!(seen.len(), 2);
}

/// A cancel of the owner reaches the thief or comes too late; the owner waits for
/// the thief's end in any case.
#[test]
fn cancel_against_finish() {
    let seen = outcomes(Some(3), || {
        let (thief, turns, job) = (new_block(), Turns::new(), Data::new());
        let owner = thread::current();
        let (turn, work) = (turns.clone(), job.clone());
        let ends = spawn(move || {
            work.add_one();
            turn.take();
            let cancelled = thief.wait.is_cancelled();
            turn.take();
            assert!(!thief.join.finish());
            cancelled
        });
        let cancels = spawn(move || {
            turns.take();
            owner.cancel();
        });
        wait_for(thief);
        assert_eq!(job.get(), 1);
        cancels.join().unwrap();
        ends.join().unwrap()
    });
    assert_eq!(seen.len(), 2);
}
