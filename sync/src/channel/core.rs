//! One mechanism for every flavour: a buffer, and the waiters behind a lock.
//!
//! ```text
//!   waiting senders ──► buffer (none, ring, list) ──► waiting receivers
//! ```
//!
//! *Fast way*. While nobody waits, messages go through the lock-free buffer and
//! nobody takes the lock. Under the lock, either side of the buffer can be shut;
//! then whoever comes to that side takes the lock, too ([`buffer`](super::buffer)), but for a
//! receiver that waits alone, and its sender ([`lone`](super::lone)).
//! * Nobody joins a list but with the way in shut, and senders only with the way
//!   out shut as well.
//! * Room is granted, and a channel disconnected, with the way in shut.
//! * What comes back stands before the buffer, in the order in which it had left; then
//!   the way out is shut.
//!
//! Ways are opened again by the first that finds the lists empty under the lock,
//! not by who empties them: two threads that wait for each other in turn always
//! find them shut, and go another way ([`lone`](super::lone)).
//!
//! While somebody records, everybody takes the lock: the first that does shuts both
//! ways for that recording, counts what is there, and messages are counted from
//! then on ([`tally`](super::tally)).
//!
//! *Hand-over*. A message goes straight into the place of the first waiting
//! receiver, or out of the place of the first waiting sender, before that waiter
//! is woken; if its wait has ended otherwise, the wake fails, the message is
//! taken back and the next waiter tried. So a message is with exactly one side
//! at any time, and messages leave in the order in which they came. A receiving thread that
//! waits alone comes and is reached without the lock, as long as nobody takes that
//! ([`lone`](super::lone)).
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
//! Messages are moved, never dropped, under the lock, and nothing is allocated or
//! freed there: what must grow grows outside, and the operation is tried again.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lisle_lwp::shim::{AtomicUsize, Ordering};
use lisle_runtime::trace;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Caller, Locked, Mark, WaitKey, Waiters};

use super::buffer::{Bin, Buffer, In, Way};
use super::lone::Lone;
use super::tally::{Party, Tally, who_waits};
use super::ticket::{Mode, Summons, Ticket, Waiting};

/// Where the places begin that are held, and those for what comes back. In models
/// they grow at once.
const FIRST_HELD: usize = if cfg!(lisle_loom) { 1 } else { 4 };

/// A place held for a receiver that was promised a message.
pub(super) struct Held<T> {
    pub(super) promise: u64,
    /// Where it belongs among those that come back.
    pub(super) age: Age,
    /// Nothing yet if it is promised by a selecting sender.
    pub(super) message: Option<T>,
    /// The receiver, if it waits for the message.
    pub(super) claimant: *const Waiting,
    /// Whether it comes from a selecting sender.
    pub(super) met: bool,
}

/// In which order messages left the buffer to be held.
pub(super) type Age = u64;

/// A message that has come back.
struct Returned<T> {
    age: Age,
    message: T,
}

/// The promise of nothing.
pub(super) const NONE: u64 = 0;
/// The promise of room, rather than to a receiver.
pub(super) const ROOM: u64 = 1;

pub(super) struct State<T> {
    /// What came back, by age: it stands before the buffer.
    returned: VecDeque<Returned<T>>,
    /// A block for a buffer without a bound, when it needs one.
    spare: Bin<T>,
    /// The largest number if unbounded.
    capacity: usize,
    /// In no order: a promise is looked for by its number.
    pub(super) held: Vec<Held<T>>,
    last_promise: u64,
    pub(super) grants: usize,
    pub(super) senders: Queue<Ticket>,
    pub(super) receivers: Queue<Ticket>,
    /// One side is gone for good.
    pub(super) disconnected: bool,
    /// The sides of the buffer where everybody takes the lock.
    in_is_shut: bool,
    out_is_shut: bool,
    pub(super) tally: Tally,
}

impl<T> State<T> {
    /// Whether one more message can come back without an allocation.
    pub(super) fn has_space(&self) -> bool {
        self.returned.len() < self.returned.capacity()
    }

    /// Whether one more place can be held without an allocation.
    fn can_hold(&self) -> bool {
        self.held.len() < self.held.capacity()
    }

    /// The age of what leaves the buffer now, or comes into being.
    pub(super) fn next_age(&mut self) -> Age {
        self.last_promise += 1;
        self.last_promise
    }

    /// Holds a place for a receiver. `age`: what is held had come back.
    fn hold(&mut self, message: Option<T>, age: Option<Age>) -> u64 {
        let promise = self.next_age();
        self.held.push(Held {
            promise,
            age: age.unwrap_or(promise),
            met: message.is_none(),
            message,
            claimant: core::ptr::null(),
        });
        promise
    }
}

/// See the module documentation.
pub(super) struct Core<T> {
    buffer: Buffer<T>,
    state: Waiters<State<T>>,
    lone: Lone,
    capacity: Option<usize>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

// SAFETY: messages go from thread to thread, by value: under the lock, by a claimed slot, or to a
// receiver whose wait the sender has claimed.
unsafe impl<T: Send> Send for Core<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Core<T> {}

/// Loom does not see what `Arc` orders: that everything comes before the end. Both
/// sides had the lock when they disconnected.
#[cfg(lisle_loom)]
impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        drop(self.state.lock());
    }
}

/// What became of an attempt to send.
pub(super) enum Sent<T> {
    Done,
    Full(T),
    Disconnected(T),
    /// The channel must be able to hold one more place, or have a block to spare.
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
/// outside: the lock is released, threads are made ready, a task is woken, memory
/// is freed.
pub(super) struct Turn<'a, T> {
    buffer: &'a Buffer<T>,
    lone: &'a Lone,
    pub(super) state: Locked<'a, State<T>>,
    // Dropped after the lock.
    pub(super) summons: Summons,
    bin: Bin<T>,
}

impl<T> Turn<'_, T> {
    /// Makes everybody who comes to send take the lock. `true` if somebody may
    /// have sent since the caller looked.
    #[inline]
    pub(super) fn shut_in(&mut self) -> bool {
        let opened = !self.state.in_is_shut;
        if opened {
            self.state.in_is_shut = true;
            self.buffer.shut(Way::In);
        }
        opened
    }

    /// Makes everybody who comes to receive take the lock. `true` if somebody
    /// may have received since the caller looked.
    #[inline]
    fn shut_out(&mut self) -> bool {
        let opened = !self.state.out_is_shut;
        if opened {
            self.state.out_is_shut = true;
            self.buffer.shut(Way::Out);
        }
        opened
    }

    /// What senders do before they wait; `true` if they must look again.
    pub(super) fn shut_both(&mut self) -> bool {
        // Both: `||` would stop at the first.
        self.shut_in() | self.shut_out()
    }

    /// Lets senders pass without the lock, if nobody waits or records.
    #[inline]
    fn open_in(&mut self) {
        let state = &mut self.state;
        let nobody = state.receivers.is_empty() && state.senders.is_empty() && state.grants == 0;
        if nobody && state.in_is_shut && state.capacity > 0 && !trace::is_on() {
            state.in_is_shut = false;
            self.buffer.open(Way::In);
        }
    }

    /// Lets receivers pass without the lock, if no sender waits, nothing has come
    /// back and nobody records.
    #[inline]
    fn open_out(&mut self) {
        let state = &mut self.state;
        let nobody = state.senders.is_empty() && state.returned.is_empty();
        if nobody && state.out_is_shut && state.capacity > 0 && !trace::is_on() {
            state.out_is_shut = false;
            self.buffer.open(Way::Out);
        }
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.state.returned.len() + self.buffer.len()
    }

    /// Whether a receiver has to wait, and nobody can fill the buffer meanwhile but under the lock.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        let state = &self.state;
        state.in_is_shut
            && state.senders.is_empty()
            && !state.disconnected
            && state.returned.is_empty()
            && self.buffer.is_bare()
    }

    /// Whether there is no room for one more.
    pub(super) fn is_full(&self) -> bool {
        self.is_bounded() && self.len().saturating_add(self.state.grants) >= self.state.capacity
    }

    /// Whether room is counted.
    pub(super) fn is_bounded(&self) -> bool {
        self.state.capacity != usize::MAX
    }

    /// Takes the first message, and its age if it had come back.
    #[inline]
    pub(super) fn take_first(&mut self) -> Option<(T, Option<Age>)> {
        match self.state.returned.pop_front() {
            None => {
                let claim = self.buffer.claim_out_anyway()?;
                Some((claim.read(&mut self.bin), None))
            }
            Some(Returned { age, message }) => Some((message, Some(age))),
        }
    }

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

    /// Whether a receiver that has found nothing may wait alone. The way in is shut.
    #[inline]
    pub(super) fn is_for_one(&self) -> bool {
        self.state.receivers.is_empty() && !trace::is_on()
    }

    /// Lets a receiving thread wait, as it [may](Turn::is_for_one), alone: it has begun a wait
    /// with this mark.
    #[inline]
    pub(super) fn let_wait_alone(&mut self, mark: Mark) {
        self.lone.wait(mark);
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
            match self.hand_over(message, None) {
                Sent::Full(back) => message = back,
                done => return done,
            }
        }
        self.append(message)
    }

    /// Puts the message behind all others, if there is room.
    #[inline]
    pub(super) fn append(&mut self, message: T) -> Sent<T> {
        // Looked at twice, because it is exact only while nobody else can send.
        if self.is_full() && (!self.shut_in() || self.is_full()) {
            return Sent::Full(message);
        }
        match self.buffer.claim_in_anyway(&mut self.state.spare) {
            None if self.is_bounded() => Sent::Full(message),
            None => Sent::NeedsSpace(message),
            Some(claim) => {
                claim.write(message);
                self.state.tally.sent(Party::Caller);
                self.open_in();
                Sent::Done
            }
        }
    }

    /// Gives the message to the first receiver that takes it; `Full` if none
    /// does. `age`: it had left already.
    fn hand_over(&mut self, mut message: T, age: Option<Age>) -> Sent<T> {
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
                        self.note_handed_over(to, age.is_none());
                        return Sent::Done;
                    }
                    // SAFETY: its wait ended otherwise, and it cannot leave
                    // before it has had the lock.
                    message = unsafe { ticket.take() }.expect("nobody else takes it");
                }
                Mode::Promise => {
                    let to = who_waits(waiting);
                    match self.promise(waiting, Some(message), age) {
                        Ok(_) => {
                            self.note_handed_over(to, age.is_none());
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
    fn promise(
        &mut self,
        waiting: &Waiting,
        message: Option<T>,
        age: Option<Age>,
    ) -> Result<u64, Option<T>> {
        let promise = self.state.hold(message, age);
        waiting.data.granted.set(promise);
        if self.reach(waiting) {
            return Ok(promise);
        }
        waiting.data.granted.set(NONE);
        let held = self.state.held.pop();
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
        if let Some((message, _)) = self.take_first() {
            self.state.tally.received(Party::Caller);
            if !self.state.senders.is_empty() {
                // The place that the message left is theirs.
                self.let_senders_in();
            }
            self.open_out();
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
                    let promise = self.state.hold(None, None);
                    if self.grant(waiting, promise) {
                        return Taken::Claim(promise);
                    }
                    self.state.held.pop();
                }
            }
        }
        Taken::Empty
    }

    /// There is room: lets senders in that wait for it, in order.
    pub(super) fn let_senders_in(&mut self) {
        while !self.is_full() {
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
                    let from = who_waits(waiting);
                    if self.reach(waiting) {
                        // Both sides are shut since it joined: the room is there.
                        let claim = self.buffer.claim_in_anyway(&mut self.state.spare);
                        claim.expect("a waiting sender's room").write(message);
                        self.state.tally.sent(from);
                    } else {
                        // SAFETY: as in `hand_over`; the message goes back.
                        unsafe { ticket.put::<T>(message) };
                    }
                }
            }
        }
    }

    /// A message has come back: gives it to a receiver that waits, or puts it before
    /// those that left after it. There is space for it.
    pub(super) fn give_again(&mut self, message: T, age: Age) {
        self.state.tally.forget();
        let given = self.hand_over(message, Some(age));
        if let Sent::Full(message) | Sent::NeedsSpace(message) = given {
            self.shut_out();
            let returned = &mut self.state.returned;
            let place = returned.partition_point(|other| other.age < age);
            returned.insert(place, Returned { age, message });
        }
    }

    /// Asks for a message, to be taken later. `me` is the caller's own wait, if
    /// it has begun: its tickets do not count.
    pub(super) fn ask_for_message(&mut self, me: Option<WaitKey>) -> Promised {
        if self.len() == 0 && self.state.senders.is_empty() {
            return match self.state.disconnected {
                true => Promised::Disconnected,
                false => Promised::NotReady,
            };
        }
        if !self.state.can_hold() {
            return Promised::NeedsSpace;
        }
        let (message, age) = match self.take_first() {
            Some(first) => {
                self.state.tally.received(Party::Caller);
                if !self.state.senders.is_empty() {
                    self.let_senders_in();
                }
                first
            }
            None => match self.take_from_sender(me) {
                Taken::Message(message) => (message, None),
                Taken::Claim(promise) => return Promised::Granted(promise),
                Taken::NeedsSpace => return Promised::NeedsSpace,
                Taken::Empty | Taken::Disconnected => return Promised::NotReady,
            },
        };
        Promised::Granted(self.state.hold(Some(message), age))
    }

    /// Asks for room, to be filled later. `me` as above.
    pub(super) fn ask_for_room(&mut self, me: Option<WaitKey>) -> Promised {
        if self.state.disconnected {
            return Promised::Disconnected;
        }
        if !self.is_bounded() {
            return Promised::Granted(ROOM);
        }
        // Looked at twice, because it is exact only while nobody else can send.
        let mut full = self.is_full();
        if !full && self.shut_in() {
            full = self.is_full();
        }
        if !full {
            self.state.grants += 1;
            return Promised::Granted(ROOM);
        }
        if !self.state.receivers.is_empty() && !self.state.can_hold() {
            return Promised::NeedsSpace;
        }
        while let Some(waiting) = self.next_receiver(me) {
            if waiting.data.mode == Mode::Watch {
                self.reach(waiting);
            } else if let Ok(promise) = self.promise(waiting, None, None) {
                return Promised::Granted(promise);
            }
        }
        Promised::NotReady
    }

    /// Whether a receive would not wait. `me` as above.
    pub(super) fn can_recv(&self, me: Option<WaitKey>) -> bool {
        self.len() > 0 || self.state.disconnected || is_anybody(&self.state.senders, me)
    }

    /// Whether a send would not wait. `me` as above.
    pub(super) fn can_send(&self, me: Option<WaitKey>) -> bool {
        !self.is_full() || self.state.disconnected || is_anybody(&self.state.receivers, me)
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

    /// Begins to count messages, if a new recording has begun. From now on they
    /// come under the lock, so that none is missed.
    fn count(&mut self) {
        if self.state.tally.is_new() {
            self.shut_both();
            let buffered = self.len();
            self.state.tally.begin(buffered);
        }
    }
}

/// Drops every message, also if dropping one panics; then goes on with the
/// first panic.
fn drop_each<T>(messages: VecDeque<T>) {
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
        let buffer = Buffer::new(capacity);
        let none = capacity == Some(0);
        let state = State {
            returned: VecDeque::new(),
            spare: Bin::new(),
            capacity: buffer.bound(capacity),
            held: Vec::new(),
            last_promise: ROOM,
            grants: 0,
            senders: Queue::new(),
            receivers: Queue::new(),
            disconnected: false,
            in_is_shut: none,
            out_is_shut: none,
            tally: Tally::default(),
        };
        Core {
            buffer,
            state: Waiters::new(state),
            lone: Lone::new(),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    /// Takes the lock.
    #[inline(always)]
    pub(super) fn turn(&self) -> Turn<'_, T> {
        self.turn_with(self.state.lock())
    }

    /// As [`Core::turn`], for a thread that knows already who it is.
    #[inline(always)]
    pub(super) fn turn_of(&self, caller: &Caller) -> Turn<'_, T> {
        self.turn_with(self.state.lock_as(caller))
    }

    #[inline(always)]
    fn turn_with<'a>(&'a self, mut state: Locked<'a, State<T>>) -> Turn<'a, T> {
        self.lone.enlist(self.address(), &mut state);
        if trace::is_on() {
            return self.counting_turn(state);
        }
        self.turn_in(state)
    }

    #[inline(always)]
    fn turn_in<'a>(&'a self, state: Locked<'a, State<T>>) -> Turn<'a, T> {
        Turn {
            buffer: &self.buffer,
            lone: &self.lone,
            state,
            summons: Summons::default(),
            bin: Bin::new(),
        }
    }

    /// A call of its own, so that the common turn is made where it is to be.
    #[cold]
    #[inline(never)]
    fn counting_turn<'a>(&'a self, state: Locked<'a, State<T>>) -> Turn<'a, T> {
        let mut turn = self.turn_in(state);
        turn.count();
        turn
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// Claims a slot for a message without the lock, while nobody waits or records.
    #[inline(always)]
    pub(super) fn claim_in(&self) -> Option<In<'_, T>> {
        if trace::is_on() {
            return None;
        }
        self.buffer.claim_in()
    }

    /// Whether a receiver has found the channel at rest, and nobody has taken the lock since: then
    /// the buffer is empty, and shut to senders. A hint.
    #[inline(always)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.lone.is_at_rest()
    }

    /// Gives the message to a receiver that waits alone, without the lock, while nobody
    /// records. `false`, and it stays, if there is none.
    #[inline(never)]
    pub(super) fn hand_to_lone(&self, message: &mut Option<T>) -> bool {
        !trace::is_on() && self.lone.hand_over(self.address(), message)
    }

    /// Lets a thread that has begun to wait for a message do so without the lock. `false`: it
    /// takes that.
    #[inline]
    pub(super) fn let_wait_at_once(&self, mark: Mark) -> bool {
        self.lone.replace(mark)
    }

    /// Receives without the lock, while nobody waits to send or records.
    #[inline(always)]
    pub(super) fn receive_at_once(&self) -> Option<T> {
        if trace::is_on() {
            return None;
        }
        let claim = self.buffer.claim_out()?;
        Some(claim.read(&mut Bin::new()))
    }

    /// Whether a look without the lock shows that there is nothing to receive.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.buffer.is_idle()
    }

    /// How many messages are buffered.
    pub(super) fn len(&self) -> usize {
        self.turn().len()
    }

    /// Whether a send would have to wait.
    pub(super) fn is_full(&self) -> bool {
        self.turn().is_full()
    }

    /// Names the channel to observers.
    pub(super) fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// Makes space for one more place to be held, for one more message to come back,
    /// and for one more block of messages.
    #[cold]
    pub(super) fn grow(&self) {
        let (returned, held) = {
            let state = self.state.lock();
            (state.returned.len(), state.held.len())
        };
        let mut larger = VecDeque::with_capacity((returned * 2).max(FIRST_HELD));
        let mut wider = Vec::with_capacity((held * 2).max(FIRST_HELD));
        let mut spare = self.buffer.spare();
        let mut state = self.state.lock();
        if state.returned.capacity() < larger.capacity() {
            // Both fit, so this only moves.
            larger.append(&mut state.returned);
            core::mem::swap(&mut state.returned, &mut larger);
        }
        if state.held.capacity() < wider.capacity() {
            wider.append(&mut state.held);
            core::mem::swap(&mut state.held, &mut wider);
        }
        if state.spare.is_empty() {
            core::mem::swap(&mut state.spare, &mut spare);
        }
        // The smaller ones, empty, are freed after the lock.
        drop(state);
    }

    pub(super) fn sender_joined(&self) {
        // Relaxed, here and below: the end that is cloned keeps the count up.
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn receiver_joined(&self) {
        self.receivers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sender_left(&self) {
        // Relaxed: the last one takes the lock and shuts the way in, and what the others
        // did here comes before that in the order of the lock or of the way's word.
        if self.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.disconnect(Side::Receiver);
        }
    }

    pub(super) fn receiver_left(&self) {
        // Release and Acquire: all receives come before the last look.
        if self.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.disconnect(Side::Sender);
            // Nobody will receive what is buffered: it is dropped, outside the
            // lock, because dropping runs user code. Nothing follows: it is shut.
            let returned = core::mem::take(&mut self.state.lock().returned);
            let mut messages: VecDeque<T> = returned.into_iter().map(|back| back.message).collect();
            while let Some(claim) = self.buffer.claim_out_anyway() {
                messages.push_back(claim.read(&mut Bin::new()));
            }
            // See `drop`.
            #[cfg(lisle_loom)]
            drop(self.state.lock());
            drop_each(messages);
        }
    }

    /// Tells those who wait on one side that the other is gone: a place that is
    /// as it was says so to a receiver and to a sender.
    fn disconnect(&self, side: Side) {
        loop {
            let mut turn = self.turn();
            turn.state.disconnected = true;
            turn.shut_in();
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
    use super::super::{bounded, unbounded};

    #[test]
    fn an_empty_channel_is_small() {
        let (sender, _receiver) = unbounded::<u64>();
        assert!(size_of_val(&*sender.core) <= 512);
        assert_eq!(size_of_val(&sender), size_of::<usize>());
    }

    #[test]
    fn the_ways_are_shut_while_somebody_waits() {
        let (sender, _receiver) = bounded::<u8>(1);
        let core = &sender.core;
        core.claim_in().expect("open, and empty").write(1);
        assert!(core.claim_in().is_none(), "full");
        core.turn().shut_both();
        assert_eq!(core.receive_at_once(), None, "shut");
        assert_eq!(core.try_recv(), Ok(1));
        assert!(core.claim_in().is_none(), "senders open the way in");
        assert_eq!(core.try_send(2), Ok(()));
        assert_eq!(core.receive_at_once(), Some(2));
        assert!(core.claim_in().is_some_and(|claim| {
            claim.write(3);
            true
        }));
    }
}
