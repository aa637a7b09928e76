//! One mechanism for every flavour: a buffer and the waiters behind one lock.
//!
//! ```text
//!   waiting senders ──► buffer (none, bounded, growing) ──► waiting receivers
//! ```
//!
//! *Hand-over*. A message goes straight into the place of the first waiting
//! receiver, or out of the place of the first waiting sender, before that waiter
//! is woken; if its wait has ended otherwise, the wake fails, the message is
//! taken back and the next waiter tried. So a message is with exactly one side
//! at any time, and messages leave in the order in which they came.
//!
//! *Promises*. Who selects has one wait on several channels, and whoever wakes
//! it decides for one of them, but the message of a selected send is made only
//! afterwards, and nobody on the channel's side knows where a selected receive
//! puts its message. So these are told that they may go on, and complete the
//! operation themselves ([`complete`](super::complete)). Until then the channel
//! keeps
//! * `held`: for each receiver that was promised a message, that message;
//! * `grants`: how much room belongs to senders who have yet to fill it.
//!
//! A message that is held has been received; it is that receiver's, so that
//! nobody who comes first takes it in place of its own, which would upset the
//! order. Where a selecting sender meets a receiver, the place is held without a
//! message, and the receiver waits there until the sender has made it.
//!
//! *Invariants*, whenever the lock is free; watchers and waiters whose wait has
//! ended do not count:
//! * somebody waits to receive only if the buffer is empty and nobody waits to
//!   send;
//! * somebody waits to send only if there is no room (a rendezvous never has
//!   any) and nobody waits to receive.
//!
//! The buffer grows outside the lock, where allocation is allowed: a sender that
//! finds no capacity left brings a larger buffer and tries again. A large buffer
//! that becomes empty is given back. Messages are moved, never dropped, under
//! the lock. *Rejected*: a lock-free list of blocks; it wins only with several
//! LWPs on one channel, and a select over it must look twice at every channel.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lisle_lwp::shim::{AtomicUsize, Ordering};
use lisle_runtime::trace;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Caller, Locked, WaitKey, Waiters};

use super::tally::{Party, Tally, who_waits};
use super::ticket::{Mode, Summons, Ticket, Waiting};

/// Where a buffer begins. In models it grows at once.
const FIRST_ROOM: usize = if cfg!(lisle_loom) { 1 } else { 32 };
/// Where the places begin that are held.
const FIRST_HELD: usize = if cfg!(lisle_loom) { 1 } else { 4 };
/// An empty buffer of more bytes is given back.
const KEEP: usize = if cfg!(lisle_loom) { 0 } else { 1 << 16 };

/// A place held for a receiver that was promised a message.
pub(super) struct Held<T> {
    pub(super) promise: u64,
    /// Nothing yet if it is promised by a selecting sender.
    pub(super) message: Option<T>,
    /// The receiver, if it waits for the message.
    pub(super) claimant: *const Waiting,
    /// Whether it comes from a selecting sender.
    pub(super) met: bool,
}

/// The promise of nothing.
pub(super) const NONE: u64 = 0;
/// The promise of room, rather than to a receiver.
pub(super) const ROOM: u64 = 1;

pub(super) struct State<T> {
    pub(super) buffer: VecDeque<T>,
    /// The largest number if unbounded.
    capacity: usize,
    pub(super) held: VecDeque<Held<T>>,
    last_promise: u64,
    pub(super) grants: usize,
    pub(super) senders: Queue<Ticket>,
    pub(super) receivers: Queue<Ticket>,
    /// One side is gone for good.
    pub(super) disconnected: bool,
    pub(super) tally: Tally,
}

impl<T> State<T> {
    /// Whether there is no room for one more.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len().saturating_add(self.grants) >= self.capacity
    }

    /// Whether one more message can be buffered without an allocation.
    pub(super) fn has_space(&self) -> bool {
        self.buffer.len() < self.buffer.capacity()
    }

    /// Whether one more place can be held without an allocation.
    fn can_hold(&self) -> bool {
        self.held.len() < self.held.capacity()
    }

    /// Holds a place for a receiver.
    fn hold(&mut self, message: Option<T>) -> u64 {
        self.last_promise += 1;
        self.held.push_back(Held {
            promise: self.last_promise,
            met: message.is_none(),
            message,
            claimant: core::ptr::null(),
        });
        self.last_promise
    }
}

/// See the module documentation.
pub(super) struct Core<T> {
    state: Waiters<State<T>>,
    capacity: Option<usize>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

// SAFETY: messages go from thread to thread, by value, under the lock.
unsafe impl<T: Send> Send for Core<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Core<T> {}

/// What became of an attempt to send.
pub(super) enum Sent<T> {
    Done,
    Full(T),
    Disconnected(T),
    /// The buffer may grow but has no capacity left for one more.
    NeedsSpace(T),
}

/// What became of an attempt to receive.
pub(super) enum Taken<T> {
    Message(T),
    /// A selecting sender has been met: its message will come under this
    /// promise.
    Claim(u64),
    /// The channel must be able to hold one more place.
    NeedsSpace,
    Empty,
    Disconnected,
}

/// What became of an attempt to be promised a message or room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promised {
    Granted(u64),
    NotReady,
    Disconnected,
    /// There must be space for one more.
    NeedsSpace,
}

/// Holds the lock of a channel. When it is dropped, what was done takes effect
/// outside: the lock is released, threads are made ready, a task is woken, a
/// buffer is freed.
pub(super) struct Turn<'a, T> {
    pub(super) state: Locked<'a, State<T>>,
    // Dropped after the lock.
    pub(super) summons: Summons,
    retired: VecDeque<T>,
}

impl<T> Turn<'_, T> {
    /// Ends a waiter's wait. Returns `false` if it had ended otherwise: then
    /// nothing reached the waiter. It is in no list, and forgotten once reached.
    pub(super) fn reach(&mut self, waiting: &Waiting) -> bool {
        match waiting.data.set_task(None) {
            None => self.state.wake(waiting.key()),
            Some(waker) => {
                debug_assert!(self.summons.is_none(), "one task a turn");
                self.summons = Summons::new(Some(waker));
                true
            }
        }
    }

    /// Takes the first waiting receiver but `me` out of its list.
    fn next_receiver<'n>(&mut self, me: Option<WaitKey>) -> Option<&'n Waiting> {
        // SAFETY: we hold the lock and forget each node once reached.
        unsafe { take_first(&mut self.state.receivers, me) }
    }

    /// Takes the first waiting sender but `me` out of its list.
    fn next_sender<'n>(&mut self, me: Option<WaitKey>) -> Option<&'n Waiting> {
        // SAFETY: as above.
        unsafe { take_first(&mut self.state.senders, me) }
    }

    /// Sends without waiting.
    #[inline]
    pub(super) fn send(&mut self, mut message: T) -> Sent<T> {
        if self.state.disconnected {
            return Sent::Disconnected(message);
        }
        if !self.state.receivers.is_empty() {
            match self.hand_over(message, true) {
                Sent::Full(back) => message = back,
                done => return done,
            }
        }
        if self.state.is_full() {
            Sent::Full(message)
        } else if !self.state.has_space() {
            Sent::NeedsSpace(message)
        } else {
            self.state.buffer.push_back(message);
            self.state.tally.sent(Party::Caller);
            Sent::Done
        }
    }

    /// Gives the message to the first receiver that takes it; `Full` if none
    /// does. `new`: it has not been sent before.
    fn hand_over(&mut self, mut message: T, new: bool) -> Sent<T> {
        while let Some(first) = self.state.receivers.front() {
            if first.data.mode == Mode::Promise && !self.state.can_hold() {
                return Sent::NeedsSpace(message);
            }
            let Some(waiting) = self.next_receiver(None) else {
                break;
            };
            let ticket = &waiting.data;
            match ticket.mode {
                Mode::Watch => _ = self.reach(waiting),
                Mode::Direct => {
                    // SAFETY: a receiver's own place; it does not look before
                    // it is reached.
                    unsafe { ticket.put(message) };
                    let to = who_waits(waiting);
                    if self.reach(waiting) {
                        self.note_handed_over(to, new);
                        return Sent::Done;
                    }
                    // SAFETY: its wait ended otherwise, and it cannot leave
                    // before it has had the lock.
                    message = unsafe { ticket.take() }.expect("nobody else takes it");
                }
                Mode::Promise => {
                    let to = who_waits(waiting);
                    match self.promise(waiting, Some(message)) {
                        Ok(_) => {
                            self.note_handed_over(to, new);
                            return Sent::Done;
                        }
                        Err(back) => message = back.expect("what was promised"),
                    }
                }
            }
        }
        Sent::Full(message)
    }

    #[inline(always)]
    fn note_handed_over(&mut self, to: Party, new: bool) {
        if trace::is_on() && new {
            self.state.tally.handed_over(to);
        }
    }

    /// Promises a waiting receiver a message, or one to come. Gives it back if
    /// the receiver's wait had ended otherwise. There is space to hold it.
    fn promise(&mut self, waiting: &Waiting, message: Option<T>) -> Result<u64, Option<T>> {
        let promise = self.state.hold(message);
        waiting.data.granted.set(promise);
        if self.reach(waiting) {
            return Ok(promise);
        }
        waiting.data.granted.set(NONE);
        let held = self.state.held.pop_back();
        Err(held.and_then(|held| held.message))
    }

    /// Grants a waiting, selecting sender something. Returns `false` if its wait
    /// had ended otherwise.
    fn grant(&mut self, waiting: &Waiting, promise: u64) -> bool {
        waiting.data.granted.set(promise);
        let reached = self.reach(waiting);
        if !reached {
            waiting.data.granted.set(NONE);
        }
        reached
    }

    /// Receives without waiting.
    #[inline]
    pub(super) fn recv(&mut self) -> Taken<T> {
        if let Some(message) = self.state.buffer.pop_front() {
            self.state.tally.received(Party::Caller);
            if !self.state.senders.is_empty() {
                // The place that the message left is theirs.
                self.let_senders_in();
            } else if self.state.buffer.is_empty() {
                self.retire_buffer();
            }
            return Taken::Message(message);
        }
        if !self.state.senders.is_empty() {
            match self.take_from_sender(None) {
                Taken::Empty => {}
                taken => return taken,
            }
        }
        if self.state.disconnected {
            Taken::Disconnected
        } else {
            Taken::Empty
        }
    }

    /// Takes the message of the first sender that gives it. A selecting sender
    /// has none yet: the caller is promised it.
    fn take_from_sender(&mut self, me: Option<WaitKey>) -> Taken<T> {
        if !self.state.can_hold() && is_selecting(&self.state.senders) {
            return Taken::NeedsSpace;
        }
        while let Some(waiting) = self.next_sender(me) {
            let ticket = &waiting.data;
            match ticket.mode {
                Mode::Watch => _ = self.reach(waiting),
                Mode::Direct => {
                    // SAFETY: a sender's own place; it does not look before it
                    // is reached.
                    let message = unsafe { ticket.take() }.expect("a waiting sender has one");
                    let from = who_waits(waiting);
                    if self.reach(waiting) {
                        self.state.tally.sent(from);
                        self.state.tally.received(Party::Caller);
                        return Taken::Message(message);
                    }
                    // SAFETY: as in `hand_over`; the message goes back.
                    unsafe { ticket.put::<T>(message) };
                }
                Mode::Promise => {
                    let promise = self.state.hold(None);
                    if self.grant(waiting, promise) {
                        return Taken::Claim(promise);
                    }
                    self.state.held.pop_back();
                }
            }
        }
        Taken::Empty
    }

    /// There is room: lets senders in that wait for it, in order. Returns
    /// `false` if the buffer must grow for that.
    pub(super) fn let_senders_in(&mut self) -> bool {
        while !self.state.is_full() {
            if !self.state.senders.is_empty() && !self.state.has_space() {
                return false;
            }
            let Some(waiting) = self.next_sender(None) else {
                break;
            };
            let ticket = &waiting.data;
            match ticket.mode {
                Mode::Watch => _ = self.reach(waiting),
                Mode::Promise => {
                    self.state.grants += usize::from(self.grant(waiting, ROOM));
                }
                Mode::Direct => {
                    // SAFETY: as in `take_from_sender`.
                    let message = unsafe { ticket.take() }.expect("a waiting sender has one");
                    self.state.buffer.push_back(message);
                    let from = who_waits(waiting);
                    if self.reach(waiting) {
                        self.state.tally.sent(from);
                    } else {
                        let message = self.state.buffer.pop_back().expect("just pushed");
                        // SAFETY: as in `hand_over`; the message goes back.
                        unsafe { ticket.put::<T>(message) };
                    }
                }
            }
        }
        true
    }

    /// A message has come back: gives it to a receiver that waits, or puts it in
    /// front of the others. There is space for it.
    pub(super) fn give_again(&mut self, message: T) {
        self.state.tally.forget();
        if let Sent::Full(message) | Sent::NeedsSpace(message) = self.hand_over(message, false) {
            self.state.buffer.push_front(message);
        }
    }

    /// Asks for a message, to be taken later. `me` is the caller's own wait, if
    /// it has begun: its tickets do not count.
    pub(super) fn ask_for_message(&mut self, me: Option<WaitKey>) -> Promised {
        if self.state.buffer.is_empty() && self.state.senders.is_empty() {
            return match self.state.disconnected {
                true => Promised::Disconnected,
                false => Promised::NotReady,
            };
        }
        if !self.state.can_hold() {
            return Promised::NeedsSpace;
        }
        let message = match self.state.buffer.pop_front() {
            Some(message) => {
                self.state.tally.received(Party::Caller);
                self.let_senders_in();
                message
            }
            None => match self.take_from_sender(me) {
                Taken::Message(message) => message,
                Taken::Claim(promise) => return Promised::Granted(promise),
                Taken::NeedsSpace => return Promised::NeedsSpace,
                Taken::Empty | Taken::Disconnected => return Promised::NotReady,
            },
        };
        Promised::Granted(self.state.hold(Some(message)))
    }

    /// Asks for room, to be filled later. `me` as above.
    pub(super) fn ask_for_room(&mut self, me: Option<WaitKey>) -> Promised {
        if self.state.disconnected {
            return Promised::Disconnected;
        }
        if !self.state.is_full() {
            self.state.grants += 1;
            return Promised::Granted(ROOM);
        }
        if !self.state.receivers.is_empty() && !self.state.can_hold() {
            return Promised::NeedsSpace;
        }
        while let Some(waiting) = self.next_receiver(me) {
            if waiting.data.mode == Mode::Watch {
                self.reach(waiting);
            } else if let Ok(promise) = self.promise(waiting, None) {
                return Promised::Granted(promise);
            }
        }
        Promised::NotReady
    }

    /// Whether a receive would not wait. `me` as above.
    pub(super) fn can_recv(&self, me: Option<WaitKey>) -> bool {
        !self.state.buffer.is_empty()
            || self.state.disconnected
            || is_anybody(&self.state.senders, me)
    }

    /// Whether a send would not wait. `me` as above.
    pub(super) fn can_send(&self, me: Option<WaitKey>) -> bool {
        !self.state.is_full() || self.state.disconnected || is_anybody(&self.state.receivers, me)
    }

    /// Wakes those who watch for a sender or a receiver to come, which is the
    /// caller.
    pub(super) fn tell_watchers(&mut self, of: Side, me: WaitKey) {
        loop {
            let watches =
                |waiting: &Waiting| waiting.data.mode == Mode::Watch && !waiting.is_of(me);
            let list = match of {
                Side::Sender => &mut self.state.receivers,
                Side::Receiver => &mut self.state.senders,
            };
            // SAFETY: we hold the lock and forget each node once reached.
            let Some(waiting) = (unsafe { list.find(watches) }) else {
                return;
            };
            // SAFETY: found there.
            unsafe { list.remove(waiting) };
            self.reach(waiting);
        }
    }

    /// Gives a large buffer, now empty, back after the lock.
    #[inline]
    fn retire_buffer(&mut self) {
        if self.state.buffer.capacity().saturating_mul(size_of::<T>()) > KEEP {
            self.retired = core::mem::take(&mut self.state.buffer);
        }
    }
}

/// Counts messages for those who record.
#[inline(always)]
fn begun<T>(mut state: Locked<'_, State<T>>) -> Locked<'_, State<T>> {
    if trace::is_on() {
        let buffered = state.buffer.len();
        state.tally.begin(buffered);
    }
    state
}

/// Drops every message, also if dropping one panics; then goes on with the
/// first panic.
fn drop_each<T>(messages: VecDeque<T>) {
    if !core::mem::needs_drop::<T>() {
        return;
    }
    let mut first = None;
    for message in messages {
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(message)));
        if let Err(payload) = panicked {
            match first {
                None => first = Some(payload),
                // Dropping it might panic, too.
                Some(_) => core::mem::forget(payload),
            }
        }
    }
    if let Some(payload) = first {
        resume_unwind(payload);
    }
}

/// An end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Sender,
    Receiver,
}

/// Unlinks the first waiter but `me`.
///
/// # Safety
/// As [`Queue::pop`].
#[inline]
unsafe fn take_first<'n>(list: &mut Queue<Ticket>, me: Option<WaitKey>) -> Option<&'n Waiting> {
    // SAFETY: passed on; what is removed was found there.
    unsafe {
        match me {
            None => list.pop(),
            Some(me) => {
                let waiting = list.find(|waiting| !waiting.is_of(me))?;
                list.remove(waiting);
                Some(waiting)
            }
        }
    }
}

/// Whether anybody who waits selects.
fn is_selecting(list: &Queue<Ticket>) -> bool {
    // SAFETY: the caller holds the lock; nothing is kept.
    unsafe { list.find(|waiting| waiting.data.mode == Mode::Promise) }.is_some()
}

/// Whether anybody but `me` waits for more than news.
fn is_anybody(list: &Queue<Ticket>, me: Option<WaitKey>) -> bool {
    let counts = |waiting: &Waiting| {
        waiting.data.mode != Mode::Watch && !me.is_some_and(|me| waiting.is_of(me))
    };
    // SAFETY: the caller holds the lock; nothing is kept.
    unsafe { list.find(counts) }.is_some()
}

impl<T> Core<T> {
    pub(super) fn new(capacity: Option<usize>) -> Core<T> {
        let state = State {
            buffer: VecDeque::new(),
            // Nothing ever fills the largest capacity.
            capacity: capacity.unwrap_or(usize::MAX),
            held: VecDeque::new(),
            last_promise: ROOM,
            grants: 0,
            senders: Queue::new(),
            receivers: Queue::new(),
            disconnected: false,
            tally: Tally::default(),
        };
        Core {
            state: Waiters::new(state),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    /// Takes the lock.
    #[inline(always)]
    pub(super) fn turn(&self) -> Turn<'_, T> {
        Turn {
            state: begun(self.state.lock()),
            summons: Summons::default(),
            retired: VecDeque::new(),
        }
    }

    /// As [`Core::turn`], for a thread that knows already who it is.
    #[inline(always)]
    pub(super) fn turn_of(&self, caller: &Caller) -> Turn<'_, T> {
        Turn {
            state: begun(self.state.lock_as(caller)),
            summons: Summons::default(),
            retired: VecDeque::new(),
        }
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// How many messages are buffered.
    pub(super) fn len(&self) -> usize {
        self.state.lock().buffer.len()
    }

    /// Whether a send would have to wait.
    pub(super) fn is_full(&self) -> bool {
        self.state.lock().is_full()
    }

    /// Names the channel to observers.
    pub(super) fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// Makes space for one more message, and for one more to be held.
    #[cold]
    pub(super) fn grow(&self) {
        let (len, held) = {
            let state = self.state.lock();
            (state.buffer.len(), state.held.len())
        };
        // A message that comes back may exceed the capacity.
        let most = self
            .capacity
            .map_or(usize::MAX, |capacity| capacity.max(len + 1));
        let mut larger = VecDeque::with_capacity((len * 2).max(FIRST_ROOM).min(most));
        let mut wider = VecDeque::with_capacity((held * 2).max(FIRST_HELD));
        let mut state = self.state.lock();
        if state.buffer.capacity() < larger.capacity() {
            // Both fit, so this only moves.
            larger.append(&mut state.buffer);
            core::mem::swap(&mut state.buffer, &mut larger);
        }
        if state.held.capacity() < wider.capacity() {
            wider.append(&mut state.held);
            core::mem::swap(&mut state.held, &mut wider);
        }
        // The smaller ones, empty, are freed after the lock.
        drop(state);
    }

    pub(super) fn sender_joined(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn receiver_joined(&self) {
        self.receivers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sender_left(&self) {
        // Relaxed: what the others sent comes before, by the lock, which each
        // had for the last time before it left.
        if self.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.disconnect(Side::Receiver);
        }
    }

    pub(super) fn receiver_left(&self) {
        // Relaxed: as in `sender_left`.
        if self.receivers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.disconnect(Side::Sender);
            // Nobody will receive what is buffered: it is dropped, after the
            // lock, because dropping runs user code.
            let buffered = core::mem::take(&mut self.state.lock().buffer);
            drop_each(buffered);
        }
    }

    /// Tells those who wait on one side that the other is gone: a place that is
    /// as it was says so to a receiver and to a sender.
    fn disconnect(&self, side: Side) {
        loop {
            let mut turn = self.turn();
            turn.state.disconnected = true;
            while turn.summons.is_none() {
                let waiting = match side {
                    Side::Sender => turn.next_sender(None),
                    Side::Receiver => turn.next_receiver(None),
                };
                let Some(waiting) = waiting else { return };
                turn.reach(waiting);
            }
            // A task is woken outside the lock.
        }
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::super::unbounded;
    use super::*;

    #[test]
    fn a_large_buffer_is_given_back_when_it_is_empty() {
        let core = Core::new(None);
        for n in 0..100_000_u64 {
            assert!(core.try_send(n).is_ok());
        }
        assert!(core.state.lock().buffer.capacity() >= 100_000);
        assert!((0..100_000).all(|n| core.try_recv() == Ok(n)));
        assert_eq!(core.state.lock().buffer.capacity(), 0);
        // A small one stays.
        assert!(core.try_send(1).is_ok());
        assert_eq!(core.try_recv(), Ok(1));
        assert_eq!(core.state.lock().buffer.capacity(), FIRST_ROOM);
    }

    #[test]
    fn an_empty_channel_is_small() {
        let (sender, _receiver) = unbounded::<u64>();
        assert!(size_of_val(&*sender.core) <= 320);
        assert_eq!(size_of_val(&sender), size_of::<usize>());
    }
}
