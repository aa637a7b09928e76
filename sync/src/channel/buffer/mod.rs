//! What is between senders and receivers while nobody waits: a lock-free buffer
//! that can be shut on either side.
//!
//! ```text
//!   write ──► tail │ ring or list │ head ──► read
//!             SHUT │              │ SHUT         then: under the channel's lock
//! ```
//!
//! *Protocol*. Each end is a word, a position and a bit. Who appends or takes a
//! message moves the position on by an exchange that fails if the bit is set. So
//! whoever holds the channel's lock and sets the bit with a read-modify-write
//! knows exactly what came before it, and nothing comes after it until the bit is
//! cleared, but under the lock. That is all that the rest of the channel needs:
//! while somebody waits, the sides concerned are shut, and its rules are those of
//! a queue behind a lock ([`core`](super::core)).
//!
//! *In flight*. A position is moved before the message is: who comes after it may
//! have to wait for a thread that has claimed a slot and not yet filled or emptied
//! it. That thread needs nobody; if it is preempted there, nobody who waits keeps
//! it from going on, because whoever waits lets other kernel threads run, and a
//! thread that was preempted by its runtime needs no LWP to go on.
//!
//! *Rejected*: a flag beside the buffer which says that somebody waits. It takes a
//! fence on both sides, two looks, and wake-ups without a message behind them, for
//! which several waiters then race.

mod list;
mod ring;

use core::marker::PhantomData;

use lisle_lwp::shim::{AtomicUsize, Ordering, spin_loop};

pub(super) use self::list::Bin;
use self::list::List;
use self::ring::Ring;

/// What senders write and what receivers write, on lines of their own.
#[repr(align(64))]
struct Padded<T>(T);

impl<T> core::ops::Deref for Padded<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// In a word: only the holder of the lock may move it on.
const SHUT: usize = 1;

/// Patience with what is in flight.
struct InFlight(u32);

/// How often it spins, twice as long each time, before it lets others run.
const SPINS: u32 = 6;

impl InFlight {
    fn new() -> InFlight {
        InFlight(0)
    }

    #[cold]
    fn pause(&mut self) {
        #[cfg(not(lisle_loom))]
        if self.0 == SPINS {
            return lisle_lwp::sys::sched_yield();
        }
        // One turn is enough for a model.
        let turns = if cfg!(lisle_loom) { 1 } else { 1 << self.0 };
        (0..turns).for_each(|_| spin_loop());
        self.0 = (self.0 + 1).min(SPINS);
    }
}

/// Courtesy to a crowd at one end. Whoever has lost an exchange there steps aside, longer each time: the
/// winner goes on meanwhile with the end's cache line at hand. If all tried again at once, the line
/// would go from processor to processor for each message, which takes longer than all else. Not
/// for the holder of the lock, for whom others wait.
struct Crowd(u32);

/// Pauses at first and at last, as powers of two: where a pause is long, one and four microseconds.
const ASIDE: (u32, u32) = (4, 6);

impl Crowd {
    #[inline(always)]
    fn new() -> Crowd {
        Crowd(ASIDE.0)
    }

    /// The end's word was the second instead of the first. That it is shut makes no crowd.
    #[inline(always)]
    fn lost(&mut self, word: usize, now: usize) {
        if (word ^ now) & !SHUT != 0 {
            self.step_aside();
        }
    }

    #[cold]
    #[inline(never)]
    fn step_aside(&mut self) {
        // It decides nothing, so models do without.
        if !cfg!(lisle_loom) {
            (0..1 << self.0).for_each(|_| spin_loop());
        }
        self.0 = (self.0 + 1).min(ASIDE.1);
    }
}

/// A side of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// See the module documentation.
pub(super) enum Buffer<T> {
    /// Of a rendezvous: there is none.
    None,
    Ring(Ring<T>),
    List(List<T>),
}

impl<T> Buffer<T> {
    /// A buffer for so many messages; `None`: without a bound.
    pub(super) fn new(capacity: Option<usize>) -> Buffer<T> {
        match capacity {
            Some(0) => Buffer::None,
            // A bound that no memory can hold is never reached.
            Some(n) => Ring::new(n).map_or_else(|| Buffer::List(List::new()), Buffer::Ring),
            None => Buffer::List(List::new()),
        }
    }

    /// How many messages fit: the largest number if there is no bound.
    pub(super) fn bound(&self, capacity: Option<usize>) -> usize {
        match self {
            Buffer::List(_) => usize::MAX,
            _ => capacity.unwrap_or(usize::MAX),
        }
    }

    fn word(&self, way: Way) -> Option<&AtomicUsize> {
        match (self, way) {
            (Buffer::None, _) => None,
            (Buffer::Ring(ring), Way::In) => Some(&ring.tail),
            (Buffer::Ring(ring), Way::Out) => Some(&ring.head),
            (Buffer::List(list), Way::In) => Some(list.tail()),
            (Buffer::List(list), Way::Out) => Some(list.head()),
        }
    }

    /// From now on, only the holder of the lock passes. The caller is.
    pub(super) fn shut(&self, way: Way) {
        if let Some(word) = self.word(way) {
            // Relaxed: being part of the word's order is all that counts.
            word.fetch_or(SHUT, Ordering::Relaxed);
        }
    }

    /// Undoes [`Buffer::shut`].
    pub(super) fn open(&self, way: Way) {
        if let Some(word) = self.word(way) {
            // Relaxed: as in `shut`.
            word.fetch_and(!SHUT, Ordering::Relaxed);
        }
    }

    /// Claims a slot for a message, unless that needs the lock.
    #[inline(always)]
    pub(super) fn claim_in(&self) -> Option<In<'_, T>> {
        match self {
            Buffer::Ring(ring) => ring.claim_in().map(In::Ring),
            Buffer::List(list) => list.claim_in().map(|claim| In::List(claim, PhantomData)),
            Buffer::None => None,
        }
    }

    /// Claims the first message, unless that needs the lock or there is none.
    #[inline(always)]
    pub(super) fn claim_out(&self) -> Option<Out<'_, T>> {
        match self {
            Buffer::Ring(ring) => ring.claim_out().map(Out::Ring),
            Buffer::List(list) => list.claim_out().map(|claim| Out::List(claim, PhantomData)),
            Buffer::None => None,
        }
    }

    /// Claims a slot though it may be shut; the caller holds the lock. Fails if
    /// there is no room, or a list needs a block and there is none to spare.
    pub(super) fn claim_in_anyway(&self, spare: &mut Bin<T>) -> Option<In<'_, T>> {
        match self {
            Buffer::Ring(ring) => ring.claim_in_anyway().map(In::Ring),
            Buffer::List(list) => list
                .claim_in_anyway(spare)
                .map(|claim| In::List(claim, PhantomData)),
            Buffer::None => None,
        }
    }

    /// A block for [`Buffer::claim_in_anyway`], if blocks are what it is made of.
    pub(super) fn spare(&self) -> Bin<T> {
        let mut spare = Bin::new();
        if let Buffer::List(_) = self {
            spare.bring();
        }
        spare
    }

    /// Claims the first message though it may be shut; the caller holds the lock.
    #[inline]
    pub(super) fn claim_out_anyway(&self) -> Option<Out<'_, T>> {
        match self {
            Buffer::Ring(ring) => ring.claim_out_anyway().map(Out::Ring),
            Buffer::List(list) => list
                .claim_out_anyway()
                .map(|claim| Out::List(claim, PhantomData)),
            Buffer::None => None,
        }
    }

    /// Whether a look without the lock shows that there is nothing to receive:
    /// no message, no waiting sender, no end.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        let (Some(head), Some(tail)) = (self.word(Way::Out), self.word(Way::In)) else {
            return false;
        };
        // In this order: the head never passes the tail, so if they are equal
        // now, there was nothing either when the head was looked at, open.
        // Relaxed: who has been told of a message sees its position.
        let head = head.load(Ordering::Relaxed);
        (head & SHUT == 0) && head == tail.load(Ordering::Relaxed)
    }

    /// Whether a look shows that there are none. Exact if it is shut on the way in.
    #[inline]
    pub(super) fn is_bare(&self) -> bool {
        let (Some(head), Some(tail)) = (self.word(Way::Out), self.word(Way::In)) else {
            return true;
        };
        // Relaxed: who shut the way in had the lock, which the caller has.
        (head.load(Ordering::Relaxed) ^ tail.load(Ordering::Relaxed)) & !SHUT == 0
    }

    /// How many messages there are. Exact if it is shut on both sides; whether
    /// there are any, if it is shut on the way in.
    pub(super) fn len(&self) -> usize {
        match self {
            Buffer::Ring(ring) => ring.len(),
            Buffer::List(list) => list.len(),
            Buffer::None => 0,
        }
    }
}

/// A claimed slot for a message. Others wait until it is written.
pub(super) enum In<'a, T> {
    Ring(ring::Claim<'a, T>),
    List(list::Claim<T>, PhantomData<&'a ()>),
}

impl<T> In<'_, T> {
    /// Writes the message.
    #[inline(always)]
    pub(super) fn write(self, message: T) {
        // SAFETY: claimed for that.
        unsafe {
            match self {
                In::Ring(claim) => claim.write(message),
                In::List(claim, _) => claim.write(message),
            }
        }
    }
}

/// A claimed message. Others wait until it is read.
pub(super) enum Out<'a, T> {
    Ring(ring::Claim<'a, T>),
    List(list::Claim<T>, PhantomData<&'a ()>),
}

impl<T> Out<'_, T> {
    /// Reads the message. What can be freed then goes into the bin.
    #[inline(always)]
    pub(super) fn read(self, bin: &mut Bin<T>) -> T {
        // SAFETY: claimed for that.
        unsafe {
            match self {
                Out::Ring(claim) => claim.read(),
                Out::List(claim, _) => claim.read(bin),
            }
        }
    }
}
