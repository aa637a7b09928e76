//! Which message is which, for those who record events.
//!
//! Messages leave a channel in the order in which they came, so counting them on
//! both sides names them. Nobody counts while nobody records: a recording finds
//! the channel with some messages in it, which it does not know the senders of.
//! Likewise after a message has come back ([`Tally::forget`]). What passes a
//! channel without its buffer, under a promise, has the promise's number.

use lisle_runtime::trace::{self, Waiter};

use super::ticket::Waiting;

/// Marks what was sent under a promise.
const PROMISED: u64 = 1 << 63;

/// Who sends or receives.
#[derive(Debug, Clone, Copy)]
pub(super) enum Party {
    /// The calling thread.
    Caller,
    /// A thread that waits.
    Waiter(Waiter),
    /// A task: nobody whose events are told.
    Task,
}

/// Who waits; to be asked before the wait ends.
#[inline(always)]
pub(super) fn who_waits(waiting: &Waiting) -> Party {
    match trace::is_on() {
        true => waiting
            .thread_key()
            .map_or(Party::Task, |key| Party::Waiter(Waiter::of(key))),
        false => Party::Task,
    }
}

/// Under the channel's lock.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The recording that counts.
    recording: u32,
    /// Names the channel.
    channel: u64,
    sent: u64,
    received: u64,
}

impl Tally {
    /// Whether a recording has begun that does not count yet.
    pub(super) fn is_new(&self) -> bool {
        self.recording != trace::number()
    }

    /// Begins to count; so many messages are there, and none comes or goes meanwhile.
    pub(super) fn begin(&mut self, buffered: usize) {
        *self = Tally {
            recording: trace::number(),
            channel: trace::new_object(),
            sent: buffered as u64,
            received: 0,
        };
    }

    fn counts(&self) -> bool {
        trace::is_on() && self.recording == trace::number()
    }

    /// A message has been sent by the calling thread, or by one that waits.
    #[inline(always)]
    pub(super) fn sent(&mut self, by: Party) {
        if self.counts() {
            self.sent += 1;
            match by {
                Party::Caller => trace::sent(self.channel, self.sent, None),
                Party::Waiter(by) => trace::sent(self.channel, self.sent, Some(by)),
                Party::Task => {}
            }
        }
    }

    /// A message has been received.
    #[inline(always)]
    pub(super) fn received(&mut self, by: Party) {
        if self.counts() {
            self.received += 1;
            match by {
                Party::Caller => trace::received(self.channel, self.received, None),
                Party::Waiter(by) => trace::received(self.channel, self.received, Some(by)),
                Party::Task => {}
            }
        }
    }

    /// The calling thread has handed a message over to one that waits.
    #[inline(always)]
    pub(super) fn handed_over(&mut self, to: Party) {
        if let (true, Party::Waiter(to)) = (self.counts(), to) {
            self.sent += 1;
            self.received += 1;
            trace::handed_over(self.channel, self.sent, self.received, to);
        } else {
            self.sent(Party::Caller);
            self.received(to);
        }
    }

    /// The calling thread has sent what it was granted.
    #[inline(always)]
    pub(super) fn sent_promised(&mut self, promise: u64) {
        if self.counts() {
            trace::sent(self.channel, PROMISED | promise, None);
        }
    }

    /// The calling thread has received what it was promised by a sender.
    #[inline(always)]
    pub(super) fn received_promised(&mut self, promise: u64) {
        if self.counts() {
            trace::received(self.channel, PROMISED | promise, None);
        }
    }

    /// A message has come back, so that counting does not name it any more.
    pub(super) fn forget(&mut self) {
        self.recording = 0;
    }
}
