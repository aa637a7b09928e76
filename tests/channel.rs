//! Channels through the facade: crossbeam-channel's documented behaviours, for
//! every flavour, between light threads, kernel threads and both mixed. Order,
//! counts and results are asserted, never time; where time matters it is a
//! seeded runtime's, which is virtual.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "channel/ada.rs"]
mod ada;
#[path = "channel/basics.rs"]
mod basics;
#[path = "channel/disconnect.rs"]
mod disconnect;
#[path = "channel/early.rs"]
mod early;
#[path = "channel/forced.rs"]
mod forced;
#[path = "channel/futures.rs"]
mod futures;
#[path = "channel/guarantees.rs"]
mod guarantees;
#[path = "channel/linearizable.rs"]
mod linearizable;
#[path = "channel/memory.rs"]
mod memory;
#[path = "channel/ported.rs"]
mod ported;
#[path = "channel/rendezvous.rs"]
mod rendezvous;
#[path = "channel/select.rs"]
mod select;
#[path = "channel/shapes.rs"]
mod shapes;
#[path = "channel/stress.rs"]
mod stress;
mod support;
#[path = "channel/timers.rs"]
mod timers;
#[allow(dead_code)] // this binary uses a part of it
#[path = "full_threads/travel.rs"]
mod travel;
#[path = "channel/values.rs"]
mod values;

use std::time::Duration;

use lisle::cancel::Cancelled;
use lisle::channel::{Receiver, Sender, bounded, unbounded};
use lisle::thread::{self, State, Thread};

/// A time that no test lives to see.
const LONG: Duration = Duration::from_secs(1 << 30);
const TICK: Duration = Duration::from_millis(1);
const SENDING: &str = "send on channel";
const RECEIVING: &str = "receive on channel";

/// A channel of a flavour: its capacity, if it has one.
fn channel<T>(flavour: Option<usize>) -> (Sender<T>, Receiver<T>) {
    flavour.map_or_else(unbounded, bounded)
}

/// Unbounded, rendezvous, and buffers small and large.
const FLAVOURS: [Option<usize>; 5] = [None, Some(0), Some(1), Some(3), Some(100)];

/// The flavours that buffer at least three messages.
const BUFFERED: [Option<usize>; 3] = [None, Some(3), Some(100)];

/// The flavours in which a send can wait.
const WITH_WAITING_SENDS: [usize; 3] = [0, 1, 3];

fn seeds() -> u64 {
    support::seeds(200)
}

/// Runs the test under many seeds.
fn under_seeds(test: impl Fn() + Send + Sync + Clone + 'static) {
    support::under_seeds(200, test);
}

fn is_cancelled<T>(outcome: std::thread::Result<T>) -> bool {
    outcome.is_err_and(|payload| payload.is::<Cancelled>())
}

/// As `support::until_waiting`, on a light thread.
fn yield_until_waiting(thread: &Thread, reason: &str) {
    let waits = |state| matches!(state, State::Waiting { reason: r, .. } if r == reason);
    while !waits(thread.info().state) {
        thread::yield_now();
    }
}
