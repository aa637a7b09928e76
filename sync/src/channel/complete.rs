//! The second half of a selected operation: coming for what was promised.
//!
//! *Protocol*. A receiver that holds a promise takes the message that is held for
//! it; if there is none yet, it is still being made by a selecting sender, and the
//! receiver waits at its place until it comes. A sender that met a receiver puts
//! its message there and wakes it; one that was granted room sends like anybody
//! else. Who drops what it holds gives it back: the message or the room goes to
//! the next.
//!
//! *No claimant waits for ever*: a place without a message belongs to one sender
//! that was granted it, who fills it or withdraws. If the sender withdraws, the
//! place is gone, and the receiver receives anew; if the receiver does, the sender
//! sends to whoever comes. (A sender that forgets its operation does neither: the receiver
//! waits as for a lock whose guard is forgotten.)

use lisle_runtime::wait::{Caller, Node, Reason};

use super::core::{Core, Held, ROOM, Sent, Turn};
use super::tally::{Party, who_waits};
use super::ticket::{Mode, Ticket, Waiting};
use super::{SendError, SendTimeoutError, TrySendError};

static MEETING: Reason = Reason::new("selected send on channel");

/// What a receiver finds at its place.
pub(super) enum Claimed<T> {
    Message(T),
    /// The message is still being made.
    NotYet,
    /// The sender has withdrawn.
    Gone,
}

impl<T> Turn<'_, T> {
    fn find(&self, promise: u64) -> Option<usize> {
        let held = &self.state.held;
        held.iter().position(|held| held.promise == promise)
    }

    /// Takes a promised message, if it is there.
    pub(super) fn take_promised(&mut self, promise: u64) -> Claimed<T> {
        let Some(at) = self.find(promise) else {
            return Claimed::Gone;
        };
        match self.state.held[at].message.take() {
            None => Claimed::NotYet,
            Some(message) => {
                if self.state.held[at].met {
                    self.state.tally.received_promised(promise);
                }
                self.state.held.swap_remove(at);
                Claimed::Message(message)
            }
        }
    }

    /// Waits, or not (null), for a message that is still being made. A waiting
    /// ticket stays where it is until it is reached or this is undone.
    pub(super) fn set_claimant(&mut self, promise: u64, claimant: *const Waiting) {
        if let Some(at) = self.find(promise) {
            self.state.held[at].claimant = claimant;
        }
    }

    /// Wakes whoever waits at a place.
    fn call(&mut self, claimant: *const Waiting) {
        // SAFETY: a claimant stays where it is until it is reached.
        if let Some(waiting) = unsafe { claimant.as_ref() } {
            let reached = self.reach(waiting);
            debug_assert!(reached, "a claimant waits for nothing else");
        }
    }

    /// Puts a message where a receiver was met. That was when nothing was buffered, but
    /// the room may have been granted to others, who have filled it since: what they sent
    /// is older, so the receiver gets that, and the message goes behind all others.
    fn fill(&mut self, at: usize, message: T) -> Sent<T> {
        let older = self.take_first();
        let state = &mut *self.state;
        let left_now = state.next_age();
        let held = &mut state.held[at];
        let claimant = core::mem::replace(&mut held.claimant, core::ptr::null());
        let sent = match older {
            None => {
                state.tally.sent_promised(held.promise);
                held.message = Some(message);
                Sent::Done
            }
            Some((older, age)) => {
                // SAFETY: a claimant stays where it is until it is reached.
                let to = unsafe { claimant.as_ref() }.map_or(Party::Task, who_waits);
                state.tally.received(to);
                held.met = false;
                held.age = age.unwrap_or(left_now);
                held.message = Some(older);
                self.append(message)
            }
        };
        self.call(claimant);
        sent
    }

    /// Sends what was granted.
    fn send_granted(&mut self, grant: u64, message: T) -> Sent<T> {
        if grant != ROOM {
            let Some(at) = self.find(grant) else {
                // Whoever was met has gone.
                return self.send(message);
            };
            return self.fill(at, message);
        }
        let counts = usize::from(self.is_bounded());
        self.state.grants -= counts;
        let sent = self.send(message);
        if let Sent::NeedsSpace(_) = sent {
            // It will be tried again.
            self.state.grants += counts;
        }
        sent
    }
}

impl<T> Core<T> {
    /// Comes for a promised message. `None` if it was never made.
    pub(super) fn claim(&self, promise: u64) -> Option<T> {
        loop {
            let claimed = self.turn().take_promised(promise);
            match claimed {
                Claimed::Message(message) => return Some(message),
                Claimed::Gone => return None,
                Claimed::NotYet => self.wait_for_promised(promise),
            }
        }
    }

    /// Waits until there is a message under a promise, or never will be.
    #[cold]
    #[inline(never)]
    fn wait_for_promised(&self, promise: u64) {
        let caller = Caller::new();
        let waiting;
        let wait;
        {
            let mut turn = self.turn_of(&caller);
            let at = turn.find(promise);
            if at.is_none_or(|at| turn.state.held[at].message.is_some()) {
                return;
            }
            // Not cancellable: the sender has been told of the meeting.
            wait = caller
                .begin(&MEETING, self.address(), false)
                .expect("not cancellable");
            waiting = Node::new(&wait, Ticket::new(Mode::Promise));
            // Reached before the wait is over, so before its frame goes.
            turn.set_claimant(promise, &waiting);
        }
        wait.block(None);
    }

    /// Sends what room, or a receiver, was granted for. If that has gone since, it waits
    /// like any other send.
    pub(super) fn complete_send(&self, grant: u64, message: T) -> Result<(), SendError<T>> {
        match self.try_complete_send(grant, message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(message)) => Err(SendError(message)),
            Err(TrySendError::Full(message)) => {
                self.send(message, None).map_err(|error| match error {
                    SendTimeoutError::Disconnected(message)
                    | SendTimeoutError::Timeout(message) => SendError(message),
                })
            }
        }
    }

    /// As [`Core::complete_send`], but waits for nobody. `Full`: what was granted has gone,
    /// because the receiver it was granted by gave up, or a message came back.
    pub(super) fn try_complete_send(
        &self,
        grant: u64,
        mut message: T,
    ) -> Result<(), TrySendError<T>> {
        loop {
            let sent = self.turn().send_granted(grant, message);
            match sent {
                Sent::Done => return Ok(()),
                Sent::Disconnected(message) => return Err(TrySendError::Disconnected(message)),
                Sent::NeedsSpace(back) => message = back,
                Sent::Full(message) => return Err(TrySendError::Full(message)),
            }
            self.grow();
        }
    }

    /// Gives up a promise.
    pub(super) fn withdraw_recv(&self, promise: u64) {
        loop {
            let mut turn = self.turn();
            let Some(at) = turn.find(promise) else {
                return;
            };
            if turn.state.has_space() {
                let Held { message, age, .. } = turn.state.held.swap_remove(at);
                if let Some(message) = message {
                    turn.give_again(message, age);
                }
                return;
            }
            drop(turn);
            self.grow();
        }
    }

    /// Gives up a grant.
    pub(super) fn withdraw_send(&self, grant: u64) {
        if grant != ROOM {
            let mut turn = self.turn();
            if let Some(at) = turn.find(grant) {
                let held = turn.state.held.swap_remove(at);
                turn.call(held.claimant);
            }
            return;
        }
        let mut turn = self.turn();
        if turn.is_bounded() {
            turn.state.grants -= 1;
            turn.let_senders_in();
        }
    }
}
