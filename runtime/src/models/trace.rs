//! A recording: whoever writes events against whoever stops it and takes what was
//! written.

use std::sync::Arc;

use lisle_lwp::explore::outcomes;
use lisle_lwp::shim::{AtomicU32, Cell, Ordering, fence};
use loom::thread::{spawn, yield_now};

use crate::trace::pass::Pass;

/// A lane: its words are a cell, so that writing and taking at once is a race.
struct Lane {
    number: AtomicU32,
    pass: Pass,
    written: Cell<u32>,
}

impl Lane {
    fn new() -> Arc<Lane> {
        Arc::new(Lane {
            number: AtomicU32::new(1),
            pass: Pass::new(),
            written: Cell::new(0),
        })
    }

    /// Writes an event; says whether that was allowed.
    fn write(&self) -> bool {
        let allowed = self.pass.enter(&self.number, 1);
        if allowed {
            // SAFETY: loom reports any concurrent access.
            self.written.with_mut(|written| unsafe { *written += 1 });
            self.pass.leave();
        }
        allowed
    }

    /// Stops the recording and takes what was written.
    fn stop(&self) -> u32 {
        self.number.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while self.pass.is_busy() {
            yield_now();
        }
        // SAFETY: as above.
        self.written
            .with_mut(|written| unsafe { std::mem::take(&mut *written) })
    }
}

#[test]
fn write_against_stop() {
    let seen = outcomes(None, || {
        let lane = Lane::new();
        let writer = {
            let lane = lane.clone();
            spawn(move || u32::from(lane.write()) + u32::from(lane.write()))
        };
        let taken = lane.stop();
        let written = writer.join().unwrap();
        assert_eq!(taken, written, "all that was allowed was taken");
        taken
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn write_against_next_recording() {
    let seen = outcomes(None, || {
        let lane = Lane::new();
        let writer = {
            let lane = lane.clone();
            spawn(move || lane.write())
        };
        let first = lane.stop();
        // The next recording has another number, and begins with an empty lane.
        // SAFETY: loom reports any concurrent access.
        lane.written.with_mut(|written| unsafe { *written = 0 });
        lane.number.store(3, Ordering::Release);
        let written = writer.join().unwrap();
        let second = lane.stop();
        assert_eq!((first, second), (u32::from(written), 0));
        first
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn write_against_start() {
    let seen = outcomes(None, || {
        let lane = Lane::new();
        lane.number.store(0, Ordering::Relaxed);
        let writer = {
            let lane = lane.clone();
            // Without the hint by which everybody sees that somebody records: with the fence behind it,
            // which there is where `membarrier` is not, it would order as much as the Acquire in
            // `enter`.
            spawn(move || lane.write())
        };
        // SAFETY: loom reports any concurrent access.
        lane.written.with_mut(|written| unsafe { *written = 10 });
        lane.number.store(1, Ordering::Release);
        let written = writer.join().unwrap();
        let taken = lane.stop();
        assert_eq!(taken, 10 + u32::from(written));
        taken
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [10, 11]);
}
