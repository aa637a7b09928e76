//! The protocol of semaphores: a word, and a queue for when more than one waits.
//!
//! | word | meaning |
//! |---|---|
//! | `FREE`, number | so many permits are there, nobody waits |
//! | `ONE`, pointer | none is there; one thread waits for one, and this is its node |
//! | `QUEUED` | permits, waiters and whether it is closed stand in the locked state |
//!
//! *Why*. Two threads that take turns, the most frequent use, need one exchange of the
//! word to wait and one to wake, and no lock.
//!
//! *Protocol*. `FREE` and `ONE` are left by exchanges that anybody makes; `QUEUED` is
//! entered and left under the lock, and while it lasts everything happens there: it
//! begins when there is more to say than the word can hold, and ends when nobody waits
//! and the semaphore is open. Whoever leaves `ONE` for `QUEUED` puts the node that the
//! word named into the queue.
//!
//! *Fairness*: a thread in `ONE` was first, so it is first in the queue. Permits that
//! the first waiter can use are never left lying: in `ONE` there are none, and in
//! `QUEUED` the first wants more than there are, whenever the lock is free.
//!
//! *Nodes stay valid*. A V that takes a node out of `ONE` owns it until it has read the
//! key and set `released`; a waiter whose wait ended otherwise, and which finds itself
//! neither in the word nor in the queue, waits for that. It can be waiting only for a V
//! between two instructions, so it spins.
//!
//! *No permit is lost*: a V whose waiter's wait had ended otherwise gives the permit
//! again, to the next.
//!
//! *Ordering*: taking (Acquire) pairs with giving (Release) on the word; a node is
//! published by the exchange to `ONE` (Release) and taken out by one that acquires.

use core::cell::Cell;
use core::ptr;

use lisle_lwp::shim::{AtomicBool, AtomicPtr, Ordering, spin_loop};
use lisle_runtime::thread;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Locked, Node, Outcome, Waiters};

use super::{ReleaseError, TryAcquireError};

const ONE: usize = 1;
const QUEUED: usize = 2;
const TAG: usize = 3;
const SHIFT: u32 = 2;

/// What a waiter wants, and whether it got it.
#[derive(Debug)]
pub(super) struct Request {
    permits: usize,
    pub(super) granted: Cell<bool>,
    /// Whoever took the node out is done with it.
    released: AtomicBool,
}

impl Request {
    #[inline]
    pub(super) fn new(permits: usize) -> Request {
        Request {
            permits,
            granted: Cell::new(false),
            released: AtomicBool::new(false),
        }
    }
}

#[derive(Debug)]
struct State {
    permits: usize,
    closed: bool,
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
    One(*const Node<Request>),
    Queued,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Core {
    word: AtomicPtr<()>,
    limit: usize,
    state: Waiters<State>,
}

// SAFETY: the word points to nodes that stay in place while it does, and which go
// from thread to thread as the module documentation says.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

fn free(permits: usize) -> *mut () {
    ptr::without_provenance_mut(permits << SHIFT)
}

fn one(node: &Node<Request>) -> *mut () {
    let node = ptr::from_ref(node).cast_mut().cast::<()>();
    node.map_addr(|address| address | ONE)
}

fn queued() -> *mut () {
    ptr::without_provenance_mut(QUEUED)
}

#[inline(always)]
fn read(word: *mut ()) -> Word {
    match word.addr() & TAG {
        ONE => Word::One(word.map_addr(|address| address & !TAG).cast()),
        QUEUED => Word::Queued,
        _ => Word::Free(word.addr() >> SHIFT),
    }
}

impl Core {
    lisle_lwp::const_unless_loom! {
        /// So many permits, and never more than the limit.
        pub(super) fn new(permits: usize, limit: usize) -> Core {
            let state = State { permits: 0, closed: false, waiting: Queue::new() };
            Core {
                word: AtomicPtr::new(ptr::without_provenance_mut(permits << SHIFT)),
                limit,
                state: Waiters::new(state),
            }
        }
    }

    /// Takes permits if they are there and nobody waits.
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

    /// Enlists a node whose wait has begun, unless the permits are there now.
    #[inline]
    pub(super) fn enlist(&self, node: &Node<Request>) -> Enlisted {
        let word = free(0);
        // Release: the node; pairs with the Acquire of whoever takes it out.
        if node.data.permits == 1 && self.exchange(word, one(node), Ordering::Release).is_ok() {
            return Enlisted::Waits;
        }
        self.enlist_locked(node)
    }

    #[cold]
    fn enlist_locked(&self, node: &Node<Request>) -> Enlisted {
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

    /// Takes back a node whose wait has ended otherwise. When this returns, nobody
    /// will touch it.
    #[cold]
    pub(super) fn withdraw(&self, node: &Node<Request>) {
        // Relaxed: nothing is passed on. Strong: it must not fail for nothing.
        let alone =
            self.word
                .compare_exchange(one(node), free(0), Ordering::Relaxed, Ordering::Relaxed);
        if alone.is_ok() {
            return;
        }
        let mut state = self.queue_up();
        // SAFETY: if it is linked, then in this queue.
        if unsafe { state.waiting.remove(node) } {
            // Smaller requests behind this one may fit now.
            grant(&mut state);
            self.settle(&mut state);
            return;
        }
        self.settle(&mut state);
        drop(state);
        // Acquire: pairs with the Release of whoever took the node out.
        for spins in 0_u32.. {
            if node.data.released.load(Ordering::Acquire) {
                return;
            }
            if spins < 100 && !cfg!(lisle_loom) {
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }

    /// Gives permits.
    #[inline]
    pub(super) fn give(&self, permits: usize) -> Result<(), ReleaseError> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            match read(word) {
                Word::Free(there) => {
                    let more = there
                        .checked_add(permits)
                        .filter(|more| *more <= self.limit);
                    // Release: pairs with the Acquire of the P's.
                    match self.exchange(word, free(more.ok_or(ReleaseError)?), Ordering::Release) {
                        Ok(()) => return Ok(()),
                        Err(now) => word = now,
                    }
                }
                Word::One(node) if permits == 1 && self.limit > 0 => {
                    // Acquire: the node, published by the exchange to `ONE`. The wake
                    // releases what the waiter acquires.
                    match self.exchange(word, free(0), Ordering::Acquire) {
                        // SAFETY: the exchange made the node ours.
                        Ok(()) if hand_over(unsafe { &*node }) => return Ok(()),
                        // Its wait had ended otherwise.
                        Ok(()) => word = self.word.load(Ordering::Relaxed),
                        Err(now) => word = now,
                    }
                }
                _ => return self.give_locked(permits),
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
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(node) = unsafe { state.waiting.pop() } {
            node.data.released.store(true, Ordering::Relaxed);
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
            // Acquire: the permits, or the node.
            match self.exchange(word, queued(), Ordering::Acquire) {
                Ok(()) => {
                    state.permits = match before {
                        Word::Free(there) => there,
                        _ => 0,
                    };
                    if let Word::One(node) = before {
                        // SAFETY: its waiter blocks until it is popped, or
                        // withdraws.
                        unsafe { state.waiting.push(&*node) };
                    }
                    return state;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Leaves `QUEUED`, if it is needed no longer. Under the lock.
    fn settle(&self, state: &mut Locked<'_, State>) {
        if state.waiting.is_empty() && !state.closed {
            // Release: what happened under the lock; pairs with the Acquire of the
            // P's.
            self.word.store(free(state.permits), Ordering::Release);
        }
    }

    #[inline(always)]
    fn exchange(&self, word: *mut (), next: *mut (), success: Ordering) -> Result<(), *mut ()> {
        self.word
            .compare_exchange(word, next, success, Ordering::Relaxed)
            .map(drop)
    }
}

/// Gives a permit to the waiter whose node has been taken out of the word. `false` if
/// its wait had ended otherwise.
#[inline]
fn hand_over(node: &Node<Request>) -> bool {
    let key = node.key();
    node.data.granted.set(true);
    // Release: we are done with the node; pairs with the Acquire in `withdraw`.
    node.data.released.store(true, Ordering::Release);
    key.fire(Outcome::Woken)
}

impl State {
    fn try_take(&mut self, permits: usize) -> Result<(), TryAcquireError> {
        if self.closed {
            Err(TryAcquireError::Closed)
        } else if self.permits < permits || !self.waiting.is_empty() {
            Err(TryAcquireError::NoPermits)
        } else {
            self.permits -= permits;
            Ok(())
        }
    }
}

/// Restores the invariant: hands permits to waiters, first in first out.
fn grant(state: &mut Locked<'_, State>) {
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
        // Relaxed: the waiter looks after it has had the lock.
        node.data.released.store(true, Ordering::Relaxed);
        if state.wake(node.key()) {
            state.permits -= wanted;
        }
        // Else it timed out or was cancelled: the permits go to the next.
    }
}
