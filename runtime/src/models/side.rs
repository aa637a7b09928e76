//! Readiness: whoever waits for an event is woken by it, and finds what it announced.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use lisle_lwp::explore::{Turns, outcomes};
use lisle_lwp::shim::{AtomicUsize, Ordering};
use loom::thread::spawn;

use crate::io::side::Side;
use crate::model::thread::{Thread, current, park};
use crate::wait::{self, Node, Outcome, Reason};

static READABLE: Reason = Reason::new("model");

/// A descriptor: bytes that have arrived and have not been read, and one direction of it.
struct Socket {
    bytes: AtomicUsize,
    side: Side,
    turns: Turns,
}

impl Socket {
    fn new() -> Arc<Socket> {
        Arc::new(Socket {
            bytes: AtomicUsize::new(0),
            side: Side::new(),
            turns: Turns::new(),
        })
    }

    /// Bytes arrive, and the poller says so once.
    fn arrive(&self, bytes: usize) -> Option<Waker> {
        self.turns.take();
        // Relaxed, here and below: what orders it for readers is the side's affair.
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.turns.take();
        self.side.fire(false)
    }

    /// Reads a byte. `false`: it would block, as far as the reader knows.
    fn try_read(&self) -> bool {
        let mut bytes = self.bytes.load(Ordering::Relaxed);
        while bytes > 0 {
            let taken =
                self.bytes
                    .compare_exchange(bytes, bytes - 1, Ordering::Relaxed, Ordering::Relaxed);
            match taken {
                Ok(_) => return true,
                Err(now) => bytes = now,
            }
        }
        false
    }

    /// As `Source::attempt`: reads a byte, or waits for one, or until a deadline, which loom lets pass when
    /// it likes.
    fn read(&self, deadline: Option<Instant>) -> bool {
        loop {
            self.turns.take();
            let seen = self.side.seen();
            if self.try_read() {
                return true;
            }
            self.turns.take();
            let wait = wait::begin(&READABLE, 0, false).expect("it cannot be cancelled");
            let node = Node::new(&wait, ());
            // SAFETY: it leaves below, before the frame goes, unless woken.
            if !unsafe { self.side.enqueue(&node, seen) } {
                let _ = wait.abandon();
                continue;
            }
            let outcome = wait.block(deadline);
            if outcome != Outcome::Woken {
                // SAFETY: enqueued above.
                unsafe { self.side.leave(&node) };
                return false;
            }
        }
    }
}

/// Nobody misses the event, be it before the read, between its steps, or after it waits.
#[test]
fn event_against_read() {
    let seen = outcomes(Some(4), || {
        let socket = Socket::new();
        let its = socket.clone();
        let poller = spawn(move || assert!(its.arrive(1).is_none()));
        assert!(socket.read(None));
        poller.join().unwrap();
    });
    assert_eq!(seen.len(), 1);
}

/// One event lets all have what came with it.
#[test]
fn event_against_reads() {
    let seen = outcomes(Some(2), || {
        let socket = Socket::new();
        let [its, others] = [socket.clone(), socket.clone()];
        let poller = spawn(move || assert!(its.arrive(2).is_none()));
        let reader = spawn(move || assert!(others.read(None)));
        assert!(socket.read(None));
        reader.join().unwrap();
        poller.join().unwrap();
    });
    assert_eq!(seen.len(), 1);
}

/// A read that gives up leaves nothing behind, and its byte to the next.
#[test]
fn event_against_deadline() {
    let seen = outcomes(Some(3), || {
        let socket = Socket::new();
        let its = socket.clone();
        let poller = spawn(move || assert!(its.arrive(1).is_none()));
        let early = socket.read(Some(Instant::now()));
        poller.join().unwrap();
        assert_eq!(socket.try_read(), !early);
        // Nobody waits there any longer.
        assert!(socket.side.fire(false).is_none());
        early
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// Wakes a thread that polls.
struct Unparks(Thread);

// SAFETY: loom's threads are scheduled one at a time, and the handle is `Send` in earnest.
unsafe impl Send for Unparks {}
// SAFETY: as above.
unsafe impl Sync for Unparks {}

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A task that was told to wait is woken.
#[test]
fn event_against_poll() {
    let seen = outcomes(Some(4), || {
        let socket = Socket::new();
        let its = socket.clone();
        let poller = spawn(move || {
            if let Some(task) = its.arrive(1) {
                task.wake();
            }
        });
        let waker = Waker::from(Arc::new(Unparks(current())));
        let mut waited = false;
        loop {
            socket.turns.take();
            let seen = socket.side.seen();
            if socket.try_read() {
                break;
            }
            socket.turns.take();
            if socket.side.leave_waker(&waker, seen) {
                waited = true;
                assert!(park());
            }
        }
        poller.join().unwrap();
        waited
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}
