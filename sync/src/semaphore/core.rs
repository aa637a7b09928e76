//! The protocol of semaphores: a word, and a queue for when more than one waits.
//!
//! | word | meaning |
//! |---|---|
//! | `FREE`, number | so many permits are there, nobody waits |
//! | `ONE`, mark | none is there; the wait that the [mark](Mark) names is one for a permit, and as long as it lasts nobody else waits |
//! | `QUEUED` | permits, waiters and whether it is closed stand in the locked state |
//!
//! *Why*. Two threads that take turns, the most frequent use, need one exchange of the
//! word to wait and none to wake: the wait word of the thread that waits settles who ends
//! its wait, and a mark leads there without a look at anything that thread owns. A wait
//! that is over leaves its mark in the word. There it means "none is there, nobody waits",
//! to be overwritten by whoever changes that.
//!
//! *Protocol*. `FREE` and `ONE` are left by exchanges that anybody makes; `QUEUED` is
//! entered and left under the lock, and while it lasts everything happens there, but that
//! a V which has read a mark before may still serve it. `QUEUED` begins when there is more
//! to say or to do than the word has room for, and ends when the queue is empty and the
//! semaphore open. The mark goes with it into the locked state, and back.
//!
//! *Fairness*: who waits in `ONE` was first, and is served before the queue. Permits that
//! the first waiter can use are never left lying: in `ONE` there are none, and in
//! `QUEUED` the first wants more than there are, whenever the lock is free. Who wants none
//! does not wait.
//!
//! *No permit is lost, none counts twice*: a V that ends the wait of a mark has given its
//! permit to that thread, and to nobody else. If that wait had ended otherwise, the V puts
//! its permit in the place of the mark.
//!
//! *Ordering*: taking (Acquire) pairs with giving (Release) on the word. A mark is
//! published by the exchange to `ONE` (Release) and read by loads that acquire, so that
//! whoever follows it does not find the thread before that wait and take it for over.

use core::cell::Cell;

use lisle_lwp::shim::{AtomicU64, Ordering};
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Locked, Mark, Node, Outcome, Wait, Waiters};

use super::{ReleaseError, TryAcquireError};

const ONE: u64 = 1;
const QUEUED: u64 = 2;
const TAG: u64 = 3;
const SHIFT: u32 = 2;
const _: () = assert!(Mark::BITS <= u64::BITS - SHIFT);

/// What a waiter in the queue wants, and whether it got it.
#[derive(Debug)]
pub(super) struct Request {
    permits: usize,
    pub(super) granted: Cell<bool>,
}

impl Request {
    pub(super) fn new(permits: usize) -> Request {
        Request {
            permits,
            granted: Cell::new(false),
        }
    }
}

#[derive(Debug)]
struct State {
    permits: usize,
    closed: bool,
    /// Who waited when there was nobody else: before the queue.
    first: Option<Mark>,
    /// Whose wait was ended because the semaphore was closed, if it was `first`.
    refused: Option<Mark>,
    waiting: Queue<Request>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enlisted {
    Taken,
    Closed,
    Waits,
}

/// What the word says.
enum Word {
    Free(usize),
    One(Mark),
    Queued,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Core {
    word: AtomicU64,
    limit: usize,
    state: Waiters<State>,
}

const fn free(permits: usize) -> u64 {
    (permits as u64) << SHIFT
}

fn one(mark: Mark) -> u64 {
    mark.bits() << SHIFT | ONE
}

#[inline(always)]
fn read(word: u64) -> Word {
    let rest = word >> SHIFT;
    match (word & TAG, Mark::from_bits(rest)) {
        (ONE, Some(mark)) => Word::One(mark),
        (QUEUED, _) => Word::Queued,
        _ => Word::Free(rest as usize),
    }
}

impl Core {
    lisle_lwp::const_unless_loom! {
        /// So many permits, and never more than the limit.
        pub(super) fn new(permits: usize, limit: usize) -> Core {
            let state = State {
                permits: 0,
                closed: false,
                first: None,
                refused: None,
                waiting: Queue::new(),
            };
            Core {
                word: AtomicU64::new(free(permits)),
                limit,
                state: Waiters::new(state),
            }
        }
    }

    /// Takes permits if they are there and nobody waits, or no permits.
    #[inline]
    pub(super) fn try_take(&self, permits: usize) -> Result<(), TryAcquireError> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            match read(word) {
                Word::Free(there) if there >= permits => {
                    // Acquire: pairs with the Release of the V's.
                    match self.exchange(word, free(there - permits), Ordering::Acquire) {
                        Ok(()) => return Ok(()),
                        Err(now) => word = now,
                    }
                }
                Word::One(_) if permits == 0 => return Ok(()),
                Word::Free(_) | Word::One(_) => return Err(TryAcquireError::NoPermits),
                Word::Queued => return self.try_take_locked(permits),
            }
        }
    }

    #[cold]
    fn try_take_locked(&self, permits: usize) -> Result<(), TryAcquireError> {
        let mut state = self.queue_up();
        let taken = state.try_take(permits);
        self.settle(&mut state);
        taken
    }

    /// Lets a wait that has begun be one for a permit. `None`: there is one, or others
    /// wait, or the semaphore is closed ([`Core::enlist`] says which), or the wait has no mark.
    #[inline(always)]
    pub(super) fn wait_alone(&self, wait: &Wait) -> Option<Mark> {
        let mark = Mark::of(wait)?;
        // Acquire: the mark that is there.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            match read(word) {
                Word::Free(0) => {}
                // The caller has one wait at a time.
                Word::One(last) if last.is_of_same_thread(mark) || last.is_over() => {}
                _ => return None,
            }
            // Release: pairs with the Acquire of whoever reads the mark.
            match self.exchange(word, one(mark), Ordering::Release) {
                Ok(()) => return Some(mark),
                Err(now) => word = now,
            }
        }
    }

    /// Whether a wait that was [alone](Core::wait_alone) and has been ended by another
    /// thread got its permit: else the semaphore was closed.
    #[inline(always)]
    pub(super) fn has_granted(&self, mark: Mark) -> bool {
        // Relaxed: whoever closed it did so before.
        match read(self.word.load(Ordering::Relaxed)) {
            Word::Queued => self.has_granted_before_closing(mark),
            _ => true,
        }
    }

    #[cold]
    fn has_granted_before_closing(&self, mark: Mark) -> bool {
        self.state.lock().refused != Some(mark)
    }

    /// Enlists a node whose wait has begun, unless the permits are there now.
    pub(super) fn enlist(&self, node: &Node<Request>) -> Enlisted {
        let mut state = self.queue_up();
        let taken = state.try_take(node.data.permits);
        if taken == Err(TryAcquireError::NoPermits) {
            // SAFETY: the waiter blocks until it is popped, or withdraws.
            unsafe { state.waiting.push(node) };
        }
        self.settle(&mut state);
        match taken {
            Ok(()) => Enlisted::Taken,
            Err(TryAcquireError::Closed) => Enlisted::Closed,
            Err(TryAcquireError::NoPermits) => Enlisted::Waits,
        }
    }

    /// Takes back a node whose wait has ended otherwise.
    pub(super) fn withdraw(&self, node: &Node<Request>) {
        let mut state = self.queue_up();
        // SAFETY: if it is linked, then in this queue.
        if unsafe { state.waiting.remove(node) } {
            // Smaller requests behind this one may fit now.
            grant(&mut state);
        }
        self.settle(&mut state);
    }

    /// Gives permits.
    #[inline]
    pub(super) fn give(&self, permits: usize) -> Result<(), ReleaseError> {
        // Acquire: the mark.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let there = match read(word) {
                Word::Free(there) => there,
                Word::One(mark) if permits == 1 && self.limit > 0 => {
                    // The wake releases what the waiter acquires.
                    if mark.key().is_some_and(|key| key.fire(Outcome::Woken)) {
                        return Ok(());
                    }
                    // Nobody waits.
                    0
                }
                _ => return self.give_locked(permits),
            };
            let more = there
                .checked_add(permits)
                .filter(|more| *more <= self.limit);
            // Release: pairs with the Acquire of the P's.
            match self.exchange(word, free(more.ok_or(ReleaseError)?), Ordering::Release) {
                Ok(()) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    #[cold]
    fn give_locked(&self, permits: usize) -> Result<(), ReleaseError> {
        let mut state = self.queue_up();
        let more = state.permits.checked_add(permits);
        let more = more.filter(|more| *more <= self.limit).ok_or(ReleaseError);
        if let Ok(more) = more {
            state.permits = more;
            grant(&mut state);
        }
        self.settle(&mut state);
        more.map(drop)
    }

    /// Takes away up to so many permits that are there; says how many.
    pub(super) fn forget(&self, permits: usize) -> usize {
        let mut state = self.queue_up();
        let forgotten = state.permits.min(permits);
        state.permits -= forgotten;
        self.settle(&mut state);
        forgotten
    }

    pub(super) fn close(&self) {
        let mut state = self.queue_up();
        state.closed = true;
        if let Some(first) = state.first.take()
            && first.key().is_some_and(|key| state.wake(key))
        {
            state.refused = Some(first);
        }
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(node) = unsafe { state.waiting.pop() } {
            state.wake(node.key());
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match read(self.word.load(Ordering::Relaxed)) {
            Word::Queued => self.state.lock().closed,
            _ => false,
        }
    }

    pub(super) fn available(&self) -> usize {
        loop {
            match read(self.word.load(Ordering::Relaxed)) {
                Word::Free(there) => return there,
                Word::One(_) => return 0,
                Word::Queued => {}
            }
            let state = self.state.lock();
            // It may have been left before we had the lock.
            if let Word::Queued = read(self.word.load(Ordering::Relaxed)) {
                return state.permits;
            }
        }
    }

    /// Takes the lock and makes the word `QUEUED`.
    fn queue_up(&self) -> Locked<'_, State> {
        let mut state = self.state.lock();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let before = read(word);
            if let Word::Queued = before {
                return state;
            }
            // Acquire: the permits, or the mark.
            match self.exchange(word, QUEUED, Ordering::Acquire) {
                Ok(()) => {
                    (state.permits, state.first) = match before {
                        Word::One(mark) => (0, Some(mark)),
                        Word::Free(there) => (there, None),
                        Word::Queued => unreachable!("it was left before"),
                    };
                    return state;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Leaves `QUEUED`, if it is needed no longer. Under the lock.
    fn settle(&self, state: &mut Locked<'_, State>) {
        if state.waiting.is_empty() && !state.closed {
            let word = match state.first {
                Some(mark) => one(mark),
                None => free(state.permits),
            };
            // Release: what happened under the lock, and the mark; pairs with the Acquire
            // of the P's, and of whoever reads the mark.
            self.word.store(word, Ordering::Release);
        }
    }

    #[inline(always)]
    fn exchange(&self, word: u64, next: u64, success: Ordering) -> Result<(), u64> {
        // Acquire: the mark that is there instead.
        self.word
            .compare_exchange(word, next, success, Ordering::Acquire)
            .map(drop)
    }
}

impl State {
    fn try_take(&mut self, permits: usize) -> Result<(), TryAcquireError> {
        if self.closed {
            return Err(TryAcquireError::Closed);
        }
        let nobody_waits = self.first.is_none() && self.waiting.is_empty();
        if permits > 0 && (self.permits < permits || !nobody_waits) {
            return Err(TryAcquireError::NoPermits);
        }
        self.permits -= permits;
        Ok(())
    }
}

/// Restores the invariant: hands permits to waiters, first in first out.
fn grant(state: &mut Locked<'_, State>) {
    if state.permits > 0
        && let Some(first) = state.first.take()
        && first.key().is_some_and(|key| state.wake(key))
    {
        state.permits -= 1;
    }
    while let Some(front) = state.waiting.front() {
        let wanted = front.data.permits;
        if wanted > state.permits {
            return;
        }
        // SAFETY: we hold the lock and forget the node once woken.
        let Some(node) = (unsafe { state.waiting.pop() }) else {
            return;
        };
        node.data.granted.set(true);
        if state.wake(node.key()) {
            state.permits -= wanted;
        }
        // Else it timed out or was cancelled: the permits go to the next.
    }
}
