//! Priority inheritance: who holds what more urgent threads wait for.
//!
//! L. Sha, R. Rajkumar, J. P. Lehoczky, "Priority inheritance protocols", 1990. While a
//! thread holds a mutex that more urgent threads wait for, it runs with the priority
//! of the most urgent of them; if it waits for another such mutex itself, so does that
//! one's holder, and so on along the chain.
//!
//! ```text
//!  graph ──► contended mutex ──► contended mutex ──► …       one lock for all
//!              │ holder             │ holder
//!              │ first              └─► …
//!              └─► most urgent waiter ──► next ──► …
//! ```
//!
//! *Invariants*, whenever the graph's lock is free: it links exactly the mutexes that
//! somebody waits for; the waiters of each are in order of their priorities, first come
//! first served among equals; and each holder's boost is the highest priority among the
//! first waiters of what it holds, or zero.
//!
//! *Termination*: along a chain a boost is passed on only where it changes something,
//! and towards the maximum of those in the chain: so even a cycle, which is a deadlock
//! of the program, is walked a bounded number of times.
//!
//! *Cost*: only contended mutexes with inheritance come here. Each step looks through
//! all of them, and through their waiters: a handful, where priorities are used.
//! *Rejected*: lists per thread, which would save the search and cost every control
//! block two pointers.

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ptr;

use lisle_lwp::shim::Ordering;

use super::list::{Locked, Waiters};
use super::{Wait, WaitKey};
use crate::tcb::Tcb;

/// A thread as the holder of a mutex. Control blocks live for ever, so it may be kept
/// although the thread has ended.
#[derive(Debug, Clone, Copy)]
pub struct Holder(&'static Tcb);

impl Holder {
    /// The calling thread.
    #[inline]
    pub fn current() -> Holder {
        Holder(crate::current::me())
    }

    /// A number that is no other thread's, even and not zero.
    #[inline]
    pub fn to_number(self) -> usize {
        ptr::from_ref(self.0).expose_provenance()
    }

    /// The number of the thread, as observers see it.
    #[inline]
    pub fn id(self) -> u64 {
        self.0.id.load(Ordering::Relaxed)
    }

    /// The thread with this number.
    ///
    /// # Safety
    /// [`Holder::to_number`] made it.
    pub unsafe fn from_number(number: usize) -> Holder {
        // SAFETY: the caller's promise.
        Holder(unsafe { &*ptr::with_exposed_provenance(number) })
    }

    fn is(self, other: Holder) -> bool {
        ptr::eq(self.0, other.0)
    }
}

/// What the graph knows of a mutex. Its fields are the graph's.
#[derive(Debug)]
pub struct Contended {
    holder: Cell<*const Tcb>,
    first: Cell<*const Pending>,
    next: Cell<*const Contended>,
}

// SAFETY: touched under the graph's lock only.
unsafe impl Send for Contended {}
// SAFETY: as above.
unsafe impl Sync for Contended {}

impl Default for Contended {
    fn default() -> Self {
        Self::new()
    }
}

impl Contended {
    /// A mutex that nobody waits for.
    pub const fn new() -> Contended {
        Contended {
            holder: Cell::new(ptr::null()),
            first: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
        }
    }
}

/// A thread that waits for a mutex, on that thread's stack.
#[derive(Debug)]
pub struct Pending {
    key: WaitKey,
    linked: Cell<bool>,
    next: Cell<*const Pending>,
    _pinned: PhantomPinned,
}

impl Pending {
    /// A node for a wait that has begun.
    pub fn new(wait: &Wait) -> Pending {
        Pending {
            key: wait.key(),
            linked: Cell::new(false),
            next: Cell::new(ptr::null()),
            _pinned: PhantomPinned,
        }
    }

    /// The waiter's key.
    pub fn key(&self) -> WaitKey {
        self.key
    }

    /// The waiter, as the holder that it may become.
    pub fn holder(&self) -> Holder {
        Holder(self.key.block())
    }

    fn priority(&self) -> u8 {
        self.key.block().effective_priority()
    }
}

/// All mutexes with inheritance that somebody waits for.
#[derive(Debug)]
pub struct Graph {
    first: *const Contended,
}

// SAFETY: what it links stays in place until it is unlinked under the graph's lock.
unsafe impl Send for Graph {}

#[cfg(not(lisle_loom))]
static GRAPH: Waiters<Graph> = Waiters::new(Graph { first: ptr::null() });

#[cfg(lisle_loom)]
loom::lazy_static! {
    static ref GRAPH: Waiters<Graph> = Waiters::new(Graph { first: ptr::null() });
}

/// Takes the graph's lock. No user code, allocation or wait until it is released.
pub fn lock() -> Locked<'static, Graph> {
    GRAPH.lock()
}

/// Takes the lock, so that a forked child finds the graph whole.
#[cfg(not(lisle_loom))]
pub(crate) fn lock_for_fork() {
    GRAPH.lock_raw();
}

/// Releases what [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread called that, in this process or in the parent.
#[cfg(not(lisle_loom))]
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: passed on.
    unsafe { GRAPH.unlock_raw() };
}

impl Graph {
    /// A waiter for the mutex, which that holder has. The holder inherits.
    ///
    /// # Safety
    /// Mutex and node stay in place, unmoved, until the node has been unlinked: by
    /// [`Graph::pop`], or by the waiter through [`Graph::remove`].
    pub unsafe fn push(&mut self, mutex: &Contended, holder: Holder, waiter: &Pending) {
        mutex.holder.set(holder.0);
        if mutex.first.get().is_null() {
            mutex.next.set(self.first);
            self.first = mutex;
        }
        waiter.linked.set(true);
        insert(mutex, waiter);
        self.settle(holder);
    }

    /// The number of the thread that holds what this wait is for, if it is a wait for
    /// one of these mutexes.
    #[cfg(not(lisle_loom))]
    pub(crate) fn holder_for(&self, key: WaitKey) -> Option<u64> {
        let mut mutex = self.first;
        // SAFETY: what is linked stays in place, and control blocks live for ever.
        unsafe {
            while let Some(contended) = mutex.as_ref() {
                let mut waiter = contended.first.get();
                while let Some(pending) = waiter.as_ref() {
                    if pending.key.is(key) {
                        let holder = contended.holder.get().as_ref()?;
                        return Some(holder.id.load(Ordering::Relaxed));
                    }
                    waiter = pending.next.get();
                }
                mutex = contended.next.get();
            }
        }
        None
    }

    /// Unlinks the most urgent waiter. The mutex has no holder then, until
    /// [`Graph::hold`]. The reference is good until that waiter's wait is resolved.
    ///
    /// # Safety
    /// The caller holds the graph's lock for as long as it uses the node, and forgets
    /// it once it has woken it.
    pub unsafe fn pop<'n>(&mut self, mutex: &Contended) -> Option<&'n Pending> {
        // SAFETY: a linked node stays in place.
        let first = unsafe { mutex.first.get().as_ref() }?;
        self.unlink(mutex, first);
        Some(first)
    }

    /// Unlinks a waiter if it is still linked. Returns whether it was.
    pub fn remove(&mut self, mutex: &Contended, waiter: &Pending) -> bool {
        let linked = waiter.linked.get();
        if linked {
            self.unlink(mutex, waiter);
            // SAFETY: set by `push` or `hold`, from a control block.
            self.settle(Holder(unsafe { &*mutex.holder.get() }));
        }
        linked
    }

    /// Whether somebody waits for the mutex.
    pub fn is_awaited(&self, mutex: &Contended) -> bool {
        !mutex.first.get().is_null()
    }

    /// The mutex has gone from one holder to another, who inherits what is left.
    pub fn hold(&mut self, mutex: &Contended, from: Holder, to: Option<Holder>) {
        mutex
            .holder
            .set(to.map_or(ptr::null(), |to| ptr::from_ref(to.0)));
        self.settle(from);
        if let Some(to) = to {
            self.settle(to);
        }
    }

    fn unlink(&mut self, mutex: &Contended, waiter: &Pending) {
        withdraw(mutex, waiter);
        waiter.linked.set(false);
        if !mutex.first.get().is_null() {
            return;
        }
        let mut link = ptr::null::<Contended>();
        for other in self.mutexes() {
            if ptr::eq(other, mutex) {
                break;
            }
            link = other;
        }
        // SAFETY: a linked mutex stays in place.
        match unsafe { link.as_ref() } {
            Some(before) => before.next.set(mutex.next.get()),
            None => self.first = mutex.next.get(),
        }
    }

    /// Gives the thread the boost that is its due, and whoever it waits for in turn.
    fn settle(&mut self, mut thread: Holder) {
        loop {
            let due = self.due(thread);
            if thread.0.boost.load(Ordering::Relaxed) == due {
                return;
            }
            let before = thread.0.effective_priority();
            thread.0.set_boost(due);
            if thread.0.effective_priority() == before {
                return;
            }
            let Some(holder) = self.queue_again(thread) else {
                return;
            };
            thread = holder;
        }
    }

    /// The thread's priority has changed: if it waits, its place in the queue may be
    /// another now. Returns who holds what it waits for.
    fn queue_again(&self, thread: Holder) -> Option<Holder> {
        let (mutex, waiter) = self.waits(thread)?;
        withdraw(mutex, waiter);
        insert(mutex, waiter);
        // SAFETY: set by `push` or `hold`, from a control block, or null while a mutex is
        // between two holders.
        unsafe { mutex.holder.get().as_ref() }.map(Holder)
    }

    /// Gives a thread another priority of its own, and whoever it waits for what is due.
    pub(crate) fn set_priority(&mut self, thread: &'static Tcb, priority: u8) {
        thread.priority.store(priority, Ordering::Relaxed);
        if let Some(holder) = self.queue_again(Holder(thread)) {
            self.settle(holder);
        }
    }

    /// The priority of the most urgent thread that waits for this one.
    fn due(&self, thread: Holder) -> u8 {
        let held = self.mutexes();
        let held = held.filter(|mutex| ptr::eq(mutex.holder.get(), thread.0));
        let first = held.filter_map(|mutex| waiters(mutex).next());
        first.map(Pending::priority).max().unwrap_or(0)
    }

    /// What the thread waits for.
    fn waits(&self, thread: Holder) -> Option<(&Contended, &Pending)> {
        self.mutexes().find_map(|mutex| {
            let waiter = waiters(mutex).find(|waiter| waiter.holder().is(thread))?;
            Some((mutex, waiter))
        })
    }

    fn mutexes(&self) -> impl Iterator<Item = &Contended> {
        // SAFETY: linked mutexes stay in place.
        let first = unsafe { self.first.as_ref() };
        // SAFETY: as above.
        std::iter::successors(first, |mutex| unsafe { mutex.next.get().as_ref() })
    }
}

fn waiters(mutex: &Contended) -> impl Iterator<Item = &Pending> {
    // SAFETY: linked nodes stay in place.
    let first = unsafe { mutex.first.get().as_ref() };
    // SAFETY: as above.
    std::iter::successors(first, |waiter| unsafe { waiter.next.get().as_ref() })
}

/// Puts the waiter behind all that are as urgent or more.
fn insert(mutex: &Contended, waiter: &Pending) {
    let priority = waiter.priority();
    let before = waiters(mutex).take_while(|other| other.priority() >= priority);
    let link = before.last().map_or(&mutex.first, |before| &before.next);
    waiter.next.set(link.replace(waiter));
}

fn withdraw(mutex: &Contended, waiter: &Pending) {
    let before = waiters(mutex).take_while(|other| !ptr::eq(*other, waiter));
    let link = before.last().map_or(&mutex.first, |before| &before.next);
    link.set(waiter.next.get());
}
