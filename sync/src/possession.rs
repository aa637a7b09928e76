//! `Possession`: the protected state of monitors, regions and serializers, possessed
//! by one thread at a time and handed from thread to thread.
//!
//! | bit | meaning |
//! |---|---|
//! | `HELD` | somebody possesses the state |
//! | `QUEUED` | somebody stands in the line, so whoever leaves must look there |
//!
//! The [`Line`] says who may be next, in which order: that is all in which the
//! mechanisms differ. Whoever stands in it may have a *guard*, a condition over the
//! state; without one it may be next at any time.
//!
//! *Protocol*. Entering and leaving are an exchange each, if nobody is in the way.
//! Otherwise a thread enlists under the line's lock and blocks. Whoever leaves, while
//! it still possesses the state, goes through the line and hands the state to the first
//! whose guard is true; `HELD` stays set meanwhile. To wake is to hand over: a woken
//! waiter possesses the state, and its guard is true, because nobody has been inside
//! since it was examined.
//!
//! *Guards are users' code*, so they are examined with the lock released, by the thread
//! that possesses the state. The node under examination is marked; a waiter that gives
//! up meanwhile waits until the examination is over, and the examiner unlinks it. So
//! the guard, on the waiter's stack, stays in place, and the examiner's position in the
//! line, too; and who has given up is not examined again before it runs. A panic of a
//! guard is caught and goes on in the waiter that it belongs to, which is woken for it,
//! or finds it when it has given up. What the guard panicked with is the user's, so it is
//! dropped by that waiter only, and not before it has what it unwinds with.
//!
//! *No lost wake-up*. (1) A newcomer sets `QUEUED` under the lock in a
//! read-modify-write that finds `HELD`. If that is before the holder's fast exit, the
//! exit fails and takes the lock; if after, the newcomer finds the state free.
//! (2) A possessor that waits enlists in the same stay under the lock in which it hands
//! over or sets the state free, and `QUEUED` is set with that. (3) *While the state is
//! free, no guard in the line is true*: every leaver that finds `QUEUED` has examined
//! all, and what changes the state possesses it. A waiter that gives up may uncover another
//! one; where a line hides some behind others, who gives up takes the state, or enlists for
//! it, in the same stay under the lock, and leaves it like everybody.
//!
//! *No bypass*: a newcomer gets a free state only if nobody in the line could have it.
//!
//! *Ordering*: entering (Acquire) pairs with leaving (Release), on the word; a
//! hand-over goes through the waiter's wait word.
//!
//! *Rejected*: waking each waiter to let it examine its own guard: a switch or two for
//! each guard that is false; barging, as the mutex allows it: fewer switches under
//! contention, but neither Hoare's signal nor a guard holds until its thread runs.

use core::any::Any;
use core::cell::Cell as Slot;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use lisle_lwp::shim::{AtomicU32, Cell, Ordering};
use lisle_runtime::cancel;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Caller, Locked, Node, Outcome, Reason, Wait, WaitKey, Waiters};

use crate::poison::{Panicking, Poison};

const HELD: u32 = 1;
const QUEUED: u32 = 2;

/// A guard on its waiter's stack, without its type.
pub(crate) struct Guard<V> {
    guard: *const (),
    call: unsafe fn(*const (), &V) -> bool,
}

impl<V> Clone for Guard<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Guard<V> {}

impl<V> Guard<V> {
    /// Whoever uses it keeps `guard` in place. `Send`: others will call it.
    pub(crate) fn new<G: Fn(&V) -> bool + Send>(guard: &G) -> Guard<V> {
        /// # Safety
        /// `guard` points to a `G`.
        unsafe fn call<V, G: Fn(&V) -> bool>(guard: *const (), value: &V) -> bool {
            // SAFETY: passed on.
            unsafe { (*guard.cast::<G>())(value) }
        }
        Guard {
            guard: core::ptr::from_ref(guard).cast(),
            call: call::<V, G>,
        }
    }
}

/// A waiter's part of its node.
pub(crate) struct Request<V> {
    /// In which queue of the line. Under the lock.
    pub(crate) place: Slot<usize>,
    /// The place in a queue that is ordered: the least is first.
    pub(crate) rank: u64,
    /// The line's own. Under the lock.
    pub(crate) stamp: Slot<u64>,
    guard: Option<Guard<V>>,
    /// Its guard is being examined. Under the lock.
    examined: Slot<bool>,
    /// Its owner has given up, and waits for the end of the examination. Under the lock.
    leaving: Slot<Option<WaitKey>>,
    /// With what its guard panicked.
    panic: Slot<Option<Box<dyn Any + Send>>>,
}

// SAFETY: the guard can be called from other threads (`Guard::new`); the rest is
// touched under the line's lock, or by the waiter when its wait is over.
unsafe impl<V> Send for Request<V> {}

impl<V> Request<V> {
    /// For this place, without a guard.
    pub(crate) fn new(place: usize) -> Request<V> {
        Request {
            place: Slot::new(place),
            rank: 0,
            stamp: Slot::new(0),
            guard: None,
            examined: Slot::new(false),
            leaving: Slot::new(None),
            panic: Slot::new(None),
        }
    }

    pub(crate) fn guarded(mut self, guard: Guard<V>) -> Request<V> {
        self.guard = Some(guard);
        self
    }

    pub(crate) fn ranked(mut self, rank: u64) -> Request<V> {
        self.rank = rank;
        self
    }

    /// Whether its guard has panicked. Under the lock: drops nothing.
    fn has_panicked(&self) -> bool {
        let panic = self.panic.take();
        let has = panic.is_some();
        self.panic.set(panic);
        has
    }
}

/// A node of a line.
pub(crate) type Waiting<V> = Node<Request<V>>;

/// Enlists a node behind all of its rank and of lesser ones.
///
/// # Safety
/// As [`Queue::push`].
pub(crate) unsafe fn push_by_rank<V>(queue: &mut Queue<Request<V>>, node: &Waiting<V>) {
    let rank = node.data.rank;
    // Most have no rank: then it is enough to look at the last.
    let is_last = queue.back().is_none_or(|last| last.data.rank <= rank);
    // SAFETY: passed on; what is found is linked here.
    unsafe {
        let later = match is_last {
            true => None,
            false => queue.find(|other| other.data.rank > rank),
        };
        match later {
            Some(later) => queue.insert_before(node, later),
            None => queue.push(node),
        }
    }
}

/// Who stands where, and who may be next.
pub(crate) trait Line<V> {
    /// Where a thread stands that had possessed the state and must have it again.
    const AGAIN: usize;

    /// Enlists a node at its place.
    ///
    /// # Safety
    /// The node stays in place until it is removed.
    unsafe fn push(&mut self, node: &Waiting<V>);

    /// Unlinks a node from its place, if it is linked.
    ///
    /// # Safety
    /// If it is linked, then in this line.
    unsafe fn remove(&mut self, node: &Waiting<V>) -> bool;

    /// Who is to be examined after `last`, or first. Good until that one's wait is
    /// resolved.
    ///
    /// # Safety
    /// `last` is linked in this line; the caller holds the lock, or has marked it.
    unsafe fn candidate<'n>(&self, last: Option<&Waiting<V>>) -> Option<&'n Waiting<V>>;

    /// Whether there is any candidate.
    fn is_awaited(&self) -> bool;
}

/// How entering ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// The state was free: the guard has not been examined.
    Free,
    /// It was handed over, the guard being true.
    Granted,
    /// Neither; for this reason.
    Not(Outcome),
}

/// A place where threads stand, and one lock around it.
pub(crate) type LineOf<'a, L> = Locked<'a, L>;

/// See the module documentation.
pub(crate) struct Possession<V, L> {
    word: AtomicU32,
    poison: Poison,
    line: Waiters<L>,
    reason: &'static Reason,
    value: Cell<V>,
}

// SAFETY: the state is reached by one thread at a time.
unsafe impl<V: Send, L: Send> Send for Possession<V, L> {}
// SAFETY: as above.
unsafe impl<V: Send, L: Send> Sync for Possession<V, L> {}

/// Releases when dropped; a panic meanwhile poisons nothing.
pub(crate) struct Hold<'a, V, L: Line<V>>(pub(crate) &'a Possession<V, L>);

impl<V, L: Line<V>> Drop for Hold<'_, V, L> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<V, L: Line<V>> Possession<V, L> {
    lisle_lwp::const_unless_loom! {
        /// A free state. The reason is what its waiters are said to wait for.
        pub(crate) fn new(value: V, line: L, reason: &'static Reason) -> Possession<V, L> {
            Possession {
                word: AtomicU32::new(0),
                poison: Poison::new(),
                line: Waiters::new(line),
                reason,
                value: Cell::new(value),
            }
        }
    }

    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    pub(crate) fn into_inner(self) -> V {
        self.value.into_inner()
    }

    pub(crate) fn get_mut(&mut self) -> &mut V {
        // SAFETY: `&mut self`.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// The state.
    ///
    /// # Safety
    /// The calling thread possesses it, and nobody has a unique reference.
    #[inline(always)]
    pub(crate) unsafe fn value(&self) -> &V {
        // SAFETY: passed on.
        self.value.with(|value| unsafe { &*value })
    }

    /// The state.
    ///
    /// # Safety
    /// The calling thread possesses it, and nobody else has a reference.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn value_mut(&self) -> &mut V {
        // SAFETY: passed on.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Takes the state if it is free.
    #[inline(always)]
    pub(crate) fn try_take(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        // `QUEUED` may change meanwhile: that is no reason to fail.
        while word & HELD == 0 {
            // Acquire: pairs with the Release of the leavers.
            match self.word.compare_exchange(
                word,
                word | HELD,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes the state, waiting for it.
    #[inline]
    pub(crate) fn take(
        &self,
        request: Request<V>,
        deadline: Option<Instant>,
        cancellable: bool,
    ) -> Entered {
        if self.try_take() {
            return Entered::Free;
        }
        self.take_slow(request, deadline, cancellable)
    }

    #[cold]
    fn take_slow(
        &self,
        request: Request<V>,
        deadline: Option<Instant>,
        cancellable: bool,
    ) -> Entered {
        let caller = Caller::new();
        let Ok(wait) = caller.begin(self.reason, self.address(), cancellable) else {
            return Entered::Not(Outcome::Cancelled);
        };
        let node = Node::new(&wait, request);
        let mut line = self.line.lock_as(&caller);
        let enlisted = self.enlist(&mut line, &node);
        drop(line);
        if !enlisted {
            let _ = wait.abandon();
            return Entered::Free;
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            self.withdraw(&node);
        }
        if let Some(panic) = node.data.panic.take() {
            if outcome == Outcome::Woken {
                self.release();
            }
            resume_unwind(panic);
        }
        match outcome {
            Outcome::Woken => Entered::Granted,
            _ => Entered::Not(outcome),
        }
    }

    /// Enlists who comes, unless the state is free: then takes it and returns `false`.
    fn enlist(&self, line: &mut LineOf<'_, L>, node: &Waiting<V>) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let free = word & HELD == 0;
            let next = if free { word | HELD } else { word | QUEUED };
            // Acquire: pairs with the Release of the leavers.
            match self
                .word
                .compare_exchange(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) if free => return false,
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        // SAFETY: the waiter blocks until it is unlinked, or withdraws.
        unsafe { line.push(node) };
        true
    }

    /// Gives the state up.
    #[inline]
    pub(crate) fn release(&self) {
        // Release: pairs with the Acquire of those who take it.
        let alone = self
            .word
            .compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed);
        if alone.is_err() {
            self.release_slow();
        }
    }

    #[cold]
    fn release_slow(&self) {
        let mut line = self.line.lock();
        loop {
            let chosen;
            (line, chosen) = self.choose(line);
            if self.grant(&mut line, chosen, false) {
                return;
            }
        }
    }

    /// Leaves as a guard says, which may see a panic.
    #[inline]
    pub(crate) fn leave(&self, entered: Panicking) {
        self.poison.leave(entered);
        self.release();
    }

    /// The first in the line whose guard is true, still linked. The caller possesses
    /// the state. If it is poisoned, whoever is first gets to know that.
    fn choose<'a>(&'a self, mut line: LineOf<'a, L>) -> (LineOf<'a, L>, Option<&'a Waiting<V>>) {
        // SAFETY: we hold the lock.
        let mut at = unsafe { line.candidate(None) };
        while let Some(node) = at {
            // One whose guard has panicked is next: its panic must not be overwritten.
            let is_open = || !self.poison.get() && !node.data.has_panicked();
            let Some(guard) = node.data.guard.filter(|_| is_open()) else {
                break;
            };
            node.data.examined.set(true);
            drop(line);
            let verdict = self.examine(guard);
            let eligible = !matches!(verdict, Ok(false));
            line = self.line.lock();
            node.data.examined.set(false);
            // Its owner drops what its guard panicked with, not we: we hold the lock.
            node.data.panic.set(verdict.err());
            let leaving = node.data.leaving.take();
            if eligible && leaving.is_none() {
                break;
            }
            // SAFETY: we hold the lock; a marked node is linked, and it was until now.
            at = unsafe { line.candidate(Some(node)) };
            if let Some(owner) = leaving {
                // We unlink it: somebody might examine it again before its owner runs.
                // SAFETY: we hold the lock, and it is linked here.
                unsafe { line.remove(node) };
                line.wake(owner);
                // It may have hidden one that the state is for.
                // SAFETY: we hold the lock.
                at = unsafe { line.candidate(None) };
            }
        }
        (line, at)
    }

    /// Whether a waiter's guard is true. A cancel of the examiner's is none of its.
    fn examine(&self, guard: Guard<V>) -> Result<bool, Box<dyn Any + Send>> {
        // SAFETY: the caller possesses the state; the node is marked, so that the guard
        // stays in place.
        let call = || unsafe { (guard.call)(guard.guard, self.value()) };
        catch_unwind(AssertUnwindSafe(|| cancel::shield(call)))
    }

    /// Hands the state to the chosen one, or sets it free; `stays`: the caller is about
    /// to enlist. `false` if the chosen one had given up: it is unlinked.
    fn grant(&self, line: &mut LineOf<'_, L>, chosen: Option<&Waiting<V>>, stays: bool) -> bool {
        if let Some(node) = chosen {
            // SAFETY: we hold the lock, and it was chosen from this line.
            unsafe { line.remove(node) };
        }
        let queued = if stays || line.is_awaited() {
            QUEUED
        } else {
            0
        };
        match chosen {
            Some(node) => {
                self.word.store(HELD | queued, Ordering::Relaxed);
                line.wake(node.key())
            }
            None => {
                // Release: pairs with the Acquire of those who take it.
                self.word.store(queued, Ordering::Release);
                true
            }
        }
    }

    /// A waiter's wait has ended otherwise. When this returns, nobody will touch its
    /// node.
    #[cold]
    fn withdraw(&self, node: &Waiting<V>) {
        let line = self.unlink(&Caller::new(), node);
        if !line.is_awaited() {
            // Relaxed: says nothing about the state.
            self.word.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }

    /// As [`Possession::withdraw`], and takes the state, waiting for it: in one step, so
    /// that no newcomer comes before one that the node has hidden.
    #[cold]
    fn withdraw_to_take(&self, node: &Waiting<V>) {
        let caller = Caller::new();
        let mut line = self.unlink(&caller, node);
        let wait = self.begin_shielded(&caller);
        let again = Node::new(&wait, Request::new(L::AGAIN));
        let enlisted = self.enlist(&mut line, &again);
        drop(line);
        if enlisted {
            let outcome = wait.block(None);
            debug_assert_eq!(outcome, Outcome::Woken);
        } else {
            let _ = wait.abandon();
        }
    }

    /// Unlinks a node, when nobody examines it.
    fn unlink(&self, caller: &Caller, node: &Waiting<V>) -> LineOf<'_, L> {
        let mut line = self.line.lock_as(caller);
        if node.data.examined.get() {
            let wait = self.begin_shielded(caller);
            node.data.leaving.set(Some(wait.key()));
            drop(line);
            let _ = wait.block(None);
            line = self.line.lock();
        }
        // Not if it was examined, or woken in vain.
        // SAFETY: pushed to this line.
        unsafe { line.remove(node) };
        line
    }

    /// Begins a wait that is not cancellable.
    fn begin_shielded(&self, caller: &Caller) -> Wait {
        match caller.begin(self.reason, self.address(), false) {
            Ok(wait) => wait,
            Err(_) => unreachable!("the wait is not cancellable"),
        }
    }

    /// Gives the state up, and waits to have it again as the request says, until the
    /// deadline. The caller possesses the state before and after, also if its guard
    /// panics.
    pub(crate) fn wait(&self, request: Request<V>, deadline: Option<Instant>) -> Outcome {
        self.wait_moved(request, deadline).0
    }

    /// As [`Possession::wait`]; says also at which place the caller stood in the end.
    pub(crate) fn wait_moved(
        &self,
        request: Request<V>,
        deadline: Option<Instant>,
    ) -> (Outcome, usize) {
        let place = request.place.get();
        match self.stand(request, deadline, Self::withdraw_to_take) {
            Stood::Granted => (Outcome::Woken, place),
            Stood::NotAtAll => (Outcome::Cancelled, place),
            Stood::Panicked(panic) | Stood::InVain(.., Some(panic)) => resume_unwind(panic),
            Stood::InVain(outcome, place, None) => (outcome, place),
        }
    }

    /// As [`Possession::wait`], but the caller does not possess the state if it waited
    /// in vain.
    pub(crate) fn wait_outside(&self, request: Request<V>, deadline: Option<Instant>) -> Outcome {
        match self.stand(request, deadline, Self::withdraw) {
            Stood::Granted => Outcome::Woken,
            Stood::Panicked(panic) => {
                self.release();
                resume_unwind(panic)
            }
            Stood::InVain(.., Some(panic)) => resume_unwind(panic),
            Stood::InVain(outcome, _, None) => outcome,
            Stood::NotAtAll => {
                self.release();
                Outcome::Cancelled
            }
        }
    }

    /// Gives the state up and waits as the request says; `withdraw` is for one whose
    /// wait has ended otherwise.
    #[inline]
    fn stand(
        &self,
        request: Request<V>,
        deadline: Option<Instant>,
        withdraw: fn(&Self, &Waiting<V>),
    ) -> Stood {
        let caller = Caller::new();
        let mut line = self.line.lock_as(&caller);
        // The guards are examined before the wait begins: they might wait themselves.
        let wait = loop {
            let chosen;
            (line, chosen) = self.choose(line);
            let Ok(wait) = caller.begin(self.reason, self.address(), true) else {
                return Stood::NotAtAll;
            };
            if self.grant(&mut line, chosen, true) {
                break wait;
            }
            let _ = wait.abandon();
        };
        let node = Node::new(&wait, request);
        // SAFETY: the waiter blocks until it is unlinked, or withdraws.
        unsafe { line.push(&node) };
        drop(line);
        match wait.block(deadline) {
            Outcome::Woken => match node.data.panic.take() {
                None => Stood::Granted,
                Some(panic) => Stood::Panicked(panic),
            },
            outcome => {
                withdraw(self, &node);
                // The panic goes out with us: to drop it here might unwind.
                Stood::InVain(outcome, node.data.place.get(), node.data.panic.take())
            }
        }
    }

    /// Hands the state to a waiter, which `pick` chooses under the lock and which need
    /// not be a candidate; waits as the request says to have it again. `false` if there
    /// is none: the caller still possesses the state.
    pub(crate) fn hand_to<'n>(
        &self,
        request: Request<V>,
        mut pick: impl FnMut(&L) -> Option<&'n Waiting<V>>,
    ) -> bool
    where
        V: 'n,
    {
        let caller = Caller::new();
        let mut line = self.line.lock_as(&caller);
        let wait = loop {
            let Some(chosen) = pick(&line) else {
                return false;
            };
            let wait = self.begin_shielded(&caller);
            if self.grant(&mut line, Some(chosen), true) {
                break wait;
            }
            let _ = wait.abandon();
        };
        let node = Node::new(&wait, request);
        // SAFETY: the waiter blocks, without a deadline, until it is unlinked.
        unsafe { line.push(&node) };
        drop(line);
        let outcome = wait.block(None);
        debug_assert_eq!(outcome, Outcome::Woken);
        true
    }

    /// Changes the line, the caller possessing the state.
    #[cold]
    pub(crate) fn rearrange<R>(&self, change: impl FnOnce(&mut L) -> R) -> R {
        let mut line = self.line.lock();
        let result = change(&mut line);
        if line.is_awaited() {
            // Relaxed: the possessor's own note for its exit.
            self.word.fetch_or(QUEUED, Ordering::Relaxed);
        }
        result
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// How standing in the line ended.
enum Stood {
    Granted,
    /// The state was got again, because the guard panicked.
    Panicked(Box<dyn Any + Send>),
    /// The state was given up, and the thread has withdrawn; where it stood in the end,
    /// and with what its guard had panicked.
    InVain(Outcome, usize, Option<Box<dyn Any + Send>>),
    /// The thread was cancelled before; it has not given up the state.
    NotAtAll,
}

/// Ends a wait in which the state was got again: delivers a cancel, which unwinds with
/// the state possessed.
#[inline]
pub(crate) fn ended(outcome: Outcome) -> bool {
    if outcome == Outcome::Cancelled {
        cancel::deliver();
    }
    outcome == Outcome::Woken
}

/// Entering something that a panic has left in between.
#[cold]
#[track_caller]
pub(crate) fn poisoned(what: &str) -> ! {
    panic!("{what} is poisoned: a thread panicked inside")
}
