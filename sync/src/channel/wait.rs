//! Blocking on one channel.
//!
//! What a waiter needs is on its stack: a [`Place`]. A thread attempts its
//! operation and, if it must wait, joins the list in the same turn, or waits
//! alone ([`lone`](super::lone)). The wait itself is inlined into the caller of `send` or `recv`, because a `ret` that
//! pairs with a `call` made by another thread costs more than the switch.

#[allow(clippy::disallowed_types)] // see `Place`
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use std::time::Instant;

use lisle_runtime::cancel;
use lisle_runtime::trace;
use lisle_runtime::wait::{Caller, Mark, Node, Outcome, Reason, Wait};

use super::core::{Core, NONE, Sent, Taken, Turn};
use super::ticket::{Slot, Ticket, Waiting};
use super::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

pub(super) static SENDING: Reason = Reason::new("send on channel");
pub(super) static RECEIVING: Reason = Reason::new("receive on channel");

/// How often a kernel thread lets others run before it sleeps: a sleep and a wake
/// cost as much as hundreds of messages.
const PATIENCE: u32 = if cfg!(lisle_loom) { 0 } else { 8 };

/// What a waiting thread has on its stack: its ticket, and its message or the
/// place for one.
#[allow(clippy::disallowed_types)]
struct Place<T> {
    message: Slot<T>,
    waiting: UnsafeCell<MaybeUninit<Waiting>>,
}

#[allow(clippy::disallowed_types)]
impl<T> Place<T> {
    #[inline(always)]
    fn new() -> Place<T> {
        Place {
            message: Slot::new(None),
            waiting: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Makes the ticket.
    ///
    /// # Safety
    /// The place is in no list.
    #[inline]
    unsafe fn ticket(&self, wait: &Wait) -> &Waiting {
        // SAFETY: nobody else knows the place yet.
        unsafe { (*self.waiting.get()).write(Node::new(wait, Ticket::direct(&self.message))) }
    }

    /// Where the ticket is, or will be.
    #[inline]
    fn at(&self) -> *const () {
        self.waiting.get().cast_const().cast()
    }

    /// The ticket.
    ///
    /// # Safety
    /// It has been made.
    unsafe fn waiting(&self) -> &Waiting {
        // SAFETY: written by `ticket`.
        unsafe { (*self.waiting.get()).assume_init_ref() }
    }

    /// Puts a message here.
    ///
    /// # Safety
    /// The place is in no list.
    #[inline]
    unsafe fn put(&self, message: T) {
        // SAFETY: nobody else knows the place.
        unsafe { self.message.with_mut(|place| *place = Some(message)) };
    }

    /// Takes the message.
    ///
    /// # Safety
    /// The place is in no list.
    #[inline(always)]
    unsafe fn take(&self) -> Option<T> {
        // SAFETY: nobody else knows the place, or reaches it any more.
        unsafe { self.message.with_mut(|place| (*place).take()) }
    }
}

/// Whether an operation is done, or there is a wait to be blocked on.
enum Begun<R> {
    Done(R),
    Wait(Wait),
}

impl<T> Core<T> {
    pub(super) fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        if let Some(claim) = self.claim_in() {
            claim.write(message);
            return Ok(());
        }
        let mut message = Some(message);
        if self.hand_to_lone(&mut message) {
            return Ok(());
        }
        let mut message = message.expect("it stays");
        let caller = Caller::new();
        loop {
            let sent = self.turn_of(&caller).send(message);
            match sent {
                Sent::Done => return Ok(()),
                Sent::Full(message) => return Err(TrySendError::Full(message)),
                Sent::Disconnected(message) => return Err(TrySendError::Disconnected(message)),
                Sent::NeedsSpace(back) => message = back,
            }
            self.grow();
        }
    }

    #[inline(always)]
    pub(super) fn send(
        &self,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        if let Some(claim) = self.claim_in() {
            claim.write(message);
            return Ok(());
        }
        let place = Place::new();
        // SAFETY: nobody else knows the place yet.
        unsafe { place.put(message) };
        // SAFETY: as above.
        let to_lone = |message: *mut _| self.hand_to_lone(unsafe { &mut *message });
        if self.is_at_rest() && place.message.with_mut(to_lone) {
            return Ok(());
        }
        match self.begin_send(&place) {
            Begun::Done(result) => result,
            Begun::Wait(wait) => {
                let outcome = wait.block(deadline);
                self.end_send(&place, outcome)
            }
        }
    }

    /// The message rests in its place while nothing is done with it.
    #[inline(never)]
    fn begin_send(&self, place: &Place<T>) -> Begun<Result<(), SendTimeoutError<T>>> {
        let caller = Caller::of_leaf();
        let mut patient = caller.is_user_thread();
        loop {
            let mut turn = self.turn_of(&caller);
            // SAFETY: the place is in no list.
            match turn.send(unsafe { place.take() }.expect("it rests there")) {
                Sent::Done => return Begun::Done(Ok(())),
                Sent::Disconnected(message) => {
                    return Begun::Done(Err(SendTimeoutError::Disconnected(message)));
                }
                Sent::NeedsSpace(message) => {
                    // SAFETY: as above.
                    unsafe { place.put(message) };
                    drop(turn);
                    self.grow();
                }
                Sent::Full(message) => {
                    // SAFETY: as above.
                    unsafe { place.put(message) };
                    if turn.shut_both() {
                        continue;
                    }
                    if !patient {
                        drop(turn);
                        patient = true;
                        self.let_others_run(&caller, |turn| turn.can_send(None));
                        continue;
                    }
                    let Ok(wait) = caller.begin(&SENDING, self.address(), true) else {
                        drop(turn);
                        // SAFETY: as above.
                        drop(unsafe { place.take() });
                        cancel::deliver()
                    };
                    // SAFETY: the place leaves the list before its frame goes:
                    // when reached, or in `end_send`.
                    unsafe { turn.state.senders.push(place.ticket(&wait)) };
                    return Begun::Wait(wait);
                }
            }
        }
    }

    #[inline(never)]
    fn end_send(&self, place: &Place<T>, outcome: Outcome) -> Result<(), SendTimeoutError<T>> {
        if outcome != Outcome::Woken {
            // SAFETY: `begin_send` pushed it to this list.
            unsafe { self.turn().state.senders.remove(place.waiting()) };
        }
        // SAFETY: the wait is over, and the ticket is in no list.
        match (outcome, unsafe { place.take() }) {
            (Outcome::Cancelled, message) => {
                drop(message);
                cancel::deliver()
            }
            (_, None) => Ok(()),
            (Outcome::TimedOut, Some(message)) => Err(SendTimeoutError::Timeout(message)),
            (_, Some(message)) => Err(SendTimeoutError::Disconnected(message)),
        }
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        if let Some(message) = self.receive_at_once() {
            return Ok(message);
        }
        let taken = self.turn().recv();
        match taken {
            Taken::Message(message) => Ok(message),
            Taken::Empty => Err(TryRecvError::Empty),
            Taken::Disconnected => Err(TryRecvError::Disconnected),
            Taken::Claim(promise) => match self.claim(promise) {
                Some(message) => Ok(message),
                None => self.try_recv(),
            },
            Taken::NeedsSpace => {
                self.grow();
                self.try_recv()
            }
        }
    }

    #[inline(always)]
    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        if let Some(message) = self.receive_at_once() {
            return Ok(message);
        }
        let place = Place::new();
        loop {
            let begun = match self.wait_at_once(&place) {
                Some(wait) => Begun::Wait(wait),
                None => self.begin_recv(&place),
            };
            match begun {
                Begun::Done(Some(result)) => return result,
                Begun::Done(None) => {}
                Begun::Wait(wait) => {
                    let outcome = wait.block(deadline);
                    if outcome == Outcome::Woken {
                        // SAFETY: a place that is reached is in no list.
                        if let Some(message) = unsafe { place.take() } {
                            return Ok(message);
                        }
                    }
                    if let Some(result) = self.end_recv(&place, outcome) {
                        return result;
                    }
                }
            }
            // The sender who was met did not send after all, or space was made.
        }
    }

    #[inline(never)]
    fn begin_recv(&self, place: &Place<T>) -> Begun<Option<Result<T, RecvTimeoutError>>> {
        let caller = Caller::of_leaf();
        let mut turn = self.turn_of(&caller);
        let mut taken = match turn.is_at_rest() {
            true => Taken::Empty,
            false => turn.recv(),
        };
        if matches!(taken, Taken::Empty) && !caller.is_user_thread() {
            drop(turn);
            self.let_others_run(&caller, |turn| turn.can_recv(None));
            turn = self.turn_of(&caller);
            taken = turn.recv();
        }
        if matches!(taken, Taken::Empty) && turn.shut_in() {
            taken = turn.recv();
        }
        let done = match taken {
            Taken::Message(message) => Some(Ok(message)),
            Taken::Disconnected => Some(Err(RecvTimeoutError::Disconnected)),
            Taken::Claim(promise) => {
                drop(turn);
                self.claim(promise).map(Ok)
            }
            Taken::NeedsSpace => {
                drop(turn);
                self.grow();
                None
            }
            Taken::Empty => {
                let alone = turn.is_for_one() && caller.is_claimable();
                let begun = match alone {
                    true => caller.begin_claimable(&RECEIVING, self.address(), place.at()),
                    false => caller.begin(&RECEIVING, self.address(), true),
                };
                let Ok(wait) = begun else {
                    drop(turn);
                    cancel::deliver()
                };
                // SAFETY: the place leaves the list before its frame goes: when
                // reached, or in `end_recv`.
                let waiting = unsafe { place.ticket(&wait) };
                match Mark::of(&wait) {
                    Some(mark) if alone => turn.let_wait_alone(mark),
                    // SAFETY: as above.
                    _ => unsafe { turn.state.receivers.push(waiting) },
                }
                return Begun::Wait(wait);
            }
        };
        Begun::Done(done)
    }

    /// Begins to wait for a message without the lock. `None`: it is to be taken.
    #[inline(never)]
    fn wait_at_once(&self, place: &Place<T>) -> Option<Wait> {
        if !self.is_at_rest() || trace::is_on() {
            return None;
        }
        let caller = Caller::of_leaf();
        if !caller.is_claimable() {
            return None;
        }
        let begun = caller.begin_claimable(&RECEIVING, self.address(), place.at());
        // Who is cancelled finds that again under the lock.
        let wait = begun.ok()?;
        // SAFETY: the place is in no list.
        unsafe { place.ticket(&wait) };
        if Mark::of(&wait).is_some_and(|mark| self.let_wait_at_once(mark)) {
            return Some(wait);
        }
        // Nobody knows of it.
        let _ = wait.abandon();
        None
    }

    /// Lets other kernel threads run until the operation may succeed, or not
    /// for long.
    #[cold]
    #[inline(never)]
    fn let_others_run(&self, caller: &Caller, is_ready: impl Fn(&Turn<'_, T>) -> bool) {
        for _ in 0..PATIENCE {
            lisle_runtime::thread::yield_now();
            if is_ready(&self.turn_of(caller)) {
                return;
            }
        }
    }

    /// All ends of a wait but the usual one.
    #[cold]
    #[inline(never)]
    fn end_recv(&self, place: &Place<T>, outcome: Outcome) -> Option<Result<T, RecvTimeoutError>> {
        // SAFETY: `begin_recv` made it.
        let waiting = unsafe { place.waiting() };
        if outcome != Outcome::Woken {
            // SAFETY: if it is linked, then in this list.
            unsafe { self.turn().state.receivers.remove(waiting) };
            // SAFETY: nobody has the place any more. It is touched so that models see whether.
            let nothing = unsafe { place.take() };
            debug_assert!(nothing.is_none(), "who found the wait over took it back");
        }
        match outcome {
            Outcome::Cancelled => cancel::deliver(),
            Outcome::TimedOut => Some(Err(RecvTimeoutError::Timeout)),
            _ => match waiting.data.granted.get() {
                NONE => Some(Err(RecvTimeoutError::Disconnected)),
                promise => self.claim(promise).map(Ok),
            },
        }
    }
}
