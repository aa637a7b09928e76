//! Spare kernel threads: those that have lost their LWP and wait for another.
//!
//! A hand-over needs a kernel thread. One that is left over from an earlier
//! hand-over is there at once; up to a limit they are kept, further ones end.
//! Each spare waits on a channel of its own, whose sender stands in the list: a
//! sender that is dropped, because the runtime stops or the hand-over comes to
//! nothing, ends its kernel thread.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use lisle_lwp::owner::HolderId;
use parking_lot::Mutex;

/// The word to carry an LWP, under this name.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) lwp: usize,
    pub(crate) holder: HolderId,
}

/// A kernel thread that waits for the word to carry an LWP.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) send: SyncSender<Order>,
    pub(crate) order: Order,
}

impl Successor {
    /// It begins. Dropping the successor instead ends its kernel thread.
    pub(crate) fn go(self) {
        let _ = self.send.send(self.order);
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Spares {
    limit: usize,
    /// `None` once the runtime stops.
    waiting: Mutex<Option<Vec<SyncSender<Order>>>>,
}

impl Spares {
    pub(crate) fn new(limit: usize) -> Spares {
        Spares {
            limit,
            waiting: Mutex::new(Some(Vec::new())),
        }
    }

    /// A spare, if there is one.
    pub(crate) fn take(&self) -> Option<SyncSender<Order>> {
        self.waiting.lock().as_mut()?.pop()
    }

    /// Makes the calling kernel thread a spare; where it waits for its order.
    /// `None` if there are enough, or the runtime stops: then it ends.
    pub(crate) fn join(&self) -> Option<Receiver<Order>> {
        let (send, receive) = sync_channel(1);
        let mut waiting = self.waiting.lock();
        let waiting = waiting
            .as_mut()
            .filter(|waiting| waiting.len() < self.limit)?;
        waiting.push(send);
        Some(receive)
    }

    /// Ends all spares, now and from now on.
    pub(crate) fn close(&self) {
        let waiting = self.waiting.lock().take();
        drop(waiting);
    }
}
