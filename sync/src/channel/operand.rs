//! One operation of a select, whatever the type of its messages.
//!
//! | step | what it does |
//! |---|---|
//! | [`attempt`](Operand::attempt) | commits, if that needs no waiting |
//! | [`register`](Operand::register) | joins the list of an armed wait, unless it need not wait |
//! | [`unregister`](Operand::unregister) | leaves the list; says whether it was granted |
//! | complete or [`withdraw`](Operand::withdraw) | uses up the grant, or gives it back |

use std::sync::Arc;
use std::time::Instant;

use lisle_runtime::wait::{Wait, WaitKey};

use super::core::{Promised, Side, Turn};
use super::ends::{Receiver, Sender, Source};
use super::ticket::{Mode, Waiting};

/// What a committed operation was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// A message or room: see [`core`](super::core).
    Promise(u64),
    /// Completing it fails.
    Disconnected,
    /// A timer's message.
    Due(Instant),
}

/// What became of a registration.
pub(super) enum Registered {
    /// It waits.
    Joined(Wait),
    /// It need not wait, and its own wait was ended for that.
    Committed(Grant),
    /// Its own wait was ended, but whoever it was to meet has gone.
    Missed,
    /// Another operation of the same wait was faster.
    TooLate,
}

/// See the module documentation.
pub(super) trait Operand {
    /// Commits if possible. `waited`: the caller has waited for it before.
    fn attempt(&self, waited: bool) -> Option<Grant>;

    /// Whether it would not wait.
    fn is_ready(&self) -> bool;

    /// Joins the list, with a ticket to select or to watch.
    ///
    /// # Safety
    /// The ticket stays where it is until [`Operand::unregister`].
    unsafe fn register(&self, waiting: &Waiting, wait: Wait) -> Registered;

    /// Leaves the list. Returns what the ticket was granted.
    ///
    /// # Safety
    /// The ticket was registered here.
    unsafe fn unregister(&self, waiting: &Waiting) -> u64;

    /// Gives a grant back.
    fn withdraw(&self, grant: Grant);

    /// When it will be ready by itself.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// The channel and the side of it: the same for all clones.
    fn end(&self) -> (*const (), Side);
}

/// Does [`Operand::register`]'s part that both sides have alike.
///
/// # Safety
/// As [`Operand::register`].
unsafe fn join<T>(turn: &mut Turn<'_, T>, side: Side, waiting: &Waiting, wait: Wait) -> Registered {
    let me = wait.key();
    let watches = waiting.data.mode == Mode::Watch;
    if !watches {
        turn.tell_watchers(side, me);
    }
    let is_ready = match side {
        Side::Sender => {
            turn.shut_both();
            turn.can_send(Some(me))
        }
        Side::Receiver => {
            turn.shut_in();
            turn.can_recv(Some(me))
        }
    };
    if !is_ready {
        let list = match side {
            Side::Sender => &mut turn.state.senders,
            Side::Receiver => &mut turn.state.receivers,
        };
        // SAFETY: passed on.
        unsafe { list.push(waiting) };
        return Registered::Joined(wait);
    }
    // Only who has ended the wait may commit: nobody else can grant it anything
    // any more.
    if wait.abandon().is_some() {
        return Registered::TooLate;
    }
    if watches {
        return Registered::Missed;
    }
    match ask(turn, side, Some(me)) {
        Promised::Granted(promise) => Registered::Committed(Grant::Promise(promise)),
        Promised::Disconnected => Registered::Committed(Grant::Disconnected),
        Promised::NotReady | Promised::NeedsSpace => Registered::Missed,
    }
}

fn ask<T>(turn: &mut Turn<'_, T>, side: Side, me: Option<WaitKey>) -> Promised {
    match side {
        Side::Sender => turn.ask_for_room(me),
        Side::Receiver => turn.ask_for_message(me),
    }
}

fn attempt<T>(core: &super::core::Core<T>, side: Side) -> Option<Grant> {
    loop {
        let promised = ask(&mut core.turn(), side, None);
        match promised {
            Promised::Granted(promise) => return Some(Grant::Promise(promise)),
            Promised::Disconnected => return Some(Grant::Disconnected),
            Promised::NotReady => return None,
            Promised::NeedsSpace => core.grow(),
        }
    }
}

impl<T> Operand for Sender<T> {
    fn attempt(&self, _waited: bool) -> Option<Grant> {
        attempt(&self.core, Side::Sender)
    }

    fn is_ready(&self) -> bool {
        self.core.turn().can_send(None)
    }

    unsafe fn register(&self, waiting: &Waiting, wait: Wait) -> Registered {
        // SAFETY: passed on.
        unsafe { join(&mut self.core.turn(), Side::Sender, waiting, wait) }
    }

    unsafe fn unregister(&self, waiting: &Waiting) -> u64 {
        // SAFETY: passed on.
        unsafe { self.core.turn().state.senders.remove(waiting) };
        waiting.data.granted.get()
    }

    fn withdraw(&self, grant: Grant) {
        if let Grant::Promise(promise) = grant {
            self.core.withdraw_send(promise);
        }
    }

    fn end(&self) -> (*const (), Side) {
        (Arc::as_ptr(&self.core).cast(), Side::Sender)
    }
}

impl<T> Operand for Receiver<T> {
    fn attempt(&self, waited: bool) -> Option<Grant> {
        match &self.source {
            Source::Channel(core) if core.is_idle() => None,
            Source::Channel(core) => attempt(core, Side::Receiver),
            Source::Timer(timer) => timer.take(waited).map(Grant::Due),
            Source::Never => None,
        }
    }

    fn is_ready(&self) -> bool {
        match &self.source {
            Source::Channel(core) => core.turn().can_recv(None),
            Source::Timer(timer) => timer.is_due(),
            Source::Never => false,
        }
    }

    unsafe fn register(&self, waiting: &Waiting, wait: Wait) -> Registered {
        match &self.source {
            // SAFETY: passed on.
            Source::Channel(core) => unsafe {
                join(&mut core.turn(), Side::Receiver, waiting, wait)
            },
            // The wait has their deadlines.
            Source::Timer(_) | Source::Never => Registered::Joined(wait),
        }
    }

    unsafe fn unregister(&self, waiting: &Waiting) -> u64 {
        if let Source::Channel(core) = &self.source {
            // SAFETY: passed on.
            unsafe { core.turn().state.receivers.remove(waiting) };
        }
        waiting.data.granted.get()
    }

    fn withdraw(&self, grant: Grant) {
        if let (Source::Channel(core), Grant::Promise(promise)) = (&self.source, grant) {
            core.withdraw_recv(promise);
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.source {
            Source::Timer(timer) => timer.due(),
            _ => None,
        }
    }

    fn end(&self) -> (*const (), Side) {
        let channel = match &self.source {
            Source::Channel(core) => Arc::as_ptr(core).cast(),
            Source::Timer(timer) => Arc::as_ptr(timer).cast(),
            Source::Never => core::ptr::null(),
        };
        (channel, Side::Receiver)
    }
}

impl<T> Sender<T> {
    /// Completes a committed send.
    pub(super) fn complete(&self, grant: Grant, message: T) -> Result<(), super::SendError<T>> {
        match grant {
            Grant::Promise(promise) => self.core.complete_send(promise, message),
            _ => Err(super::SendError(message)),
        }
    }

    /// As [`Sender::complete`], but waits for nobody if the grant has gone.
    pub(super) fn try_complete(
        &self,
        grant: Grant,
        message: T,
    ) -> Result<(), super::TrySendError<T>> {
        match grant {
            Grant::Promise(promise) => self.core.try_complete_send(promise, message),
            _ => Err(super::TrySendError::Disconnected(message)),
        }
    }
}

impl<T> Receiver<T> {
    /// Completes a committed receive.
    pub(super) fn complete(&self, grant: Grant) -> Result<T, super::RecvError> {
        match (&self.source, grant) {
            (Source::Channel(core), Grant::Promise(promise)) => match core.claim(promise) {
                Some(message) => Ok(message),
                // The sender that was met withdrew: as if it had never come.
                None => self.recv(),
            },
            (Source::Timer(timer), Grant::Due(due)) => Ok(timer.message(due)),
            _ => Err(super::RecvError),
        }
    }
}
