//! The second half of a selected operation: coming for what was promised.
//!
//! *Protocol*. A receiver that holds a promise takes whatever the buffer holds;
//! if that is nothing, the message is still being made by a selecting sender,
//! and the receiver waits among the claimants until it comes. A sender that
//! holds a grant puts its message into the buffer and wakes a claimant; without
//! claimants and promises it sends like anybody else. Who drops what it holds
//! gives it back: the message or the room goes to the next.
//!
//! *No claimant waits for ever*: it waits only while there are more grants than
//! claimants, and each grant ends in a message or is withdrawn; whoever withdraws
//! the last grant that a claimant counted on tells it so, and it receives anew.

use lisle_runtime::wait::{Caller, Node, Reason};

use super::core::{Core, Sent, Turn};
use super::ticket::{Mode, Ticket, Waiting};
use super::{SendError, SendTimeoutError};

static MEETING: Reason = Reason::new("selected send on channel");

impl<T> Turn<'_, T> {
    /// Takes a promised message, if it is there.
    pub(super) fn take_promised(&mut self) -> Option<T> {
        let message = self.state.buffer.pop_front()?;
        self.state.promises -= 1;
        Some(message)
    }

    /// Whether a claimant more would have somebody to wait for. If not, it gives
    /// up its promise.
    pub(super) fn may_claim(&mut self) -> bool {
        let may = self.state.claiming < self.state.grants;
        if !may {
            self.state.promises -= 1;
        }
        may
    }

    /// Joins the claimants.
    ///
    /// # Safety
    /// As [`Queue::push`](lisle_runtime::wait::list::Queue::push).
    pub(super) unsafe fn join_claimants(&mut self, waiting: &Waiting) {
        // SAFETY: passed on.
        unsafe { self.state.claimants.push(waiting) };
        self.state.claiming += 1;
    }

    /// Leaves the claimants, unless called.
    pub(super) fn leave_claimants(&mut self, waiting: &Waiting) {
        // SAFETY: where it joined.
        if unsafe { self.state.claimants.remove(waiting) } {
            self.state.claiming -= 1;
        }
    }

    /// Wakes a claimant, if there is one.
    fn call_claimant(&mut self) {
        // SAFETY: we hold the lock and forget the node once reached.
        if let Some(waiting) = unsafe { self.state.claimants.pop() } {
            self.state.claiming -= 1;
            let reached = self.reach(waiting);
            debug_assert!(reached, "a claimant waits for nothing else");
        }
    }

    /// Sends what room was granted for. `Full`: whoever was met has gone.
    fn send_granted(&mut self, message: T) -> Sent<T> {
        if self.state.disconnected {
            self.state.grants -= 1;
            return Sent::Disconnected(message);
        }
        if !self.state.has_space() {
            return Sent::NeedsSpace(message);
        }
        self.state.grants -= 1;
        if self.state.promises > self.state.buffer.len() {
            self.state.buffer.push_back(message);
            self.call_claimant();
            return Sent::Done;
        }
        self.send(message)
    }
}

impl<T> Core<T> {
    /// Comes for a promised message. `None` if it was never made.
    #[cold]
    #[inline(never)]
    pub(super) fn claim(&self) -> Option<T> {
        let caller = Caller::new();
        loop {
            let waiting;
            let wait;
            {
                let mut turn = self.turn_of(&caller);
                if let Some(message) = turn.take_promised() {
                    return Some(message);
                }
                if !turn.may_claim() {
                    return None;
                }
                // Not cancellable: the sender has been told of the meeting.
                wait = caller
                    .begin(&MEETING, self.address(), false)
                    .expect("not cancellable");
                waiting = Node::new(&wait, Ticket::new(Mode::Promise));
                // SAFETY: reached before the wait is over, so before its frame
                // goes.
                unsafe { turn.join_claimants(&waiting) };
            }
            wait.block(None);
        }
    }

    /// Sends what room was granted for.
    pub(super) fn complete_send(&self, mut message: T) -> Result<(), SendError<T>> {
        loop {
            let sent = self.turn().send_granted(message);
            match sent {
                Sent::Done => return Ok(()),
                Sent::Disconnected(message) => return Err(SendError(message)),
                Sent::NeedsSpace(back) => message = back,
                Sent::Full(message) => {
                    return self.send(message, None).map_err(|error| match error {
                        SendTimeoutError::Disconnected(message)
                        | SendTimeoutError::Timeout(message) => SendError(message),
                    });
                }
            }
            self.grow();
        }
    }

    /// Gives up a promise.
    pub(super) fn withdraw_recv(&self) {
        let mut turn = self.turn();
        turn.state.promises -= 1;
        turn.let_receivers_have();
    }

    /// Gives up a grant.
    pub(super) fn withdraw_send(&self) {
        self.turn().state.grants -= 1;
        loop {
            let mut turn = self.turn();
            if turn.state.claiming > turn.state.grants {
                turn.call_claimant();
            } else if turn.let_senders_in() {
                return;
            } else {
                drop(turn);
                self.grow();
            }
        }
    }
}
