//! `Waiters`: the wait list that every primitive shares.
//!
//! A first-in, first-out list of waiting threads together with the state that
//! they wait for, behind one [`RawLock`]. The nodes live on the waiting
//! threads' stacks, so waiting allocates nothing.
//!
//! *Protocol*. Waiter: under the lock, look at the state; if it must wait,
//! [`begin`](super::begin), enqueue its node, unlock, block. Waker: under the
//! lock, change the state, take nodes from the front and [`Locked::wake`] them
//! until one wake succeeds. A waiter whose wait ended otherwise (deadline,
//! cancel) takes the lock and removes its node, unless a waker has.
//!
//! *No wake-up is lost*: state and list change under one lock, so a waiter
//! either sees the new state or is in the list when it changes. A wake that
//! comes too late for its waiter fails and goes to the next: that is how a
//! wake consumed by a cancelled or timed-out waiter is passed on.
//!
//! *Nodes stay valid*: a node is unlinked under the lock before its wait is
//! resolved, and a waiter does not leave its frame before its node is unlinked.
//! After a successful wake nobody touches the node again.
//!
//! Threads are made ready after the lock is released. A user thread counts as
//! inside the runtime while it holds the lock, so the entry rule holds there.

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ptr;

use lisle_lwp::lock::{RawGuard, RawLock};

use super::{Caller, Outcome, Wait, WaitKey};
use crate::Entry;
use crate::sched::queue::ReadyList;

/// A waiting thread in a list, on that thread's stack. `T` is what the
/// primitive keeps with each waiter (a number of permits, a message slot).
#[derive(Debug)]
pub struct Node<T> {
    key: Option<WaitKey>,
    linked: Cell<bool>,
    next: Cell<*const Node<T>>,
    prev: Cell<*const Node<T>>,
    /// The primitive's own; touched under the list's lock, by who has claimed
    /// the waiter's wait, or by the waiter when its wait is over.
    pub data: T,
    _pinned: PhantomPinned,
}

impl<T> Node<T> {
    /// A node for a wait that has begun.
    #[inline]
    pub fn new(wait: &Wait, data: T) -> Node<T> {
        Self::with_key(Some(wait.key()), data)
    }

    /// A node for something that waits without being a thread: `data` says how
    /// to reach it.
    pub fn without_thread(data: T) -> Node<T> {
        Self::with_key(None, data)
    }

    #[inline(always)]
    fn with_key(key: Option<WaitKey>, data: T) -> Node<T> {
        Node {
            key,
            linked: Cell::new(false),
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            data,
            _pinned: PhantomPinned,
        }
    }

    /// The waiter's key.
    ///
    /// # Panics
    /// If the waiter is no thread.
    #[inline]
    pub fn key(&self) -> WaitKey {
        self.key.expect("the waiter is a thread")
    }

    /// The waiter's key, if it is a thread.
    pub fn thread_key(&self) -> Option<WaitKey> {
        self.key
    }

    /// Whether it belongs to this wait.
    pub fn is_of(&self, key: WaitKey) -> bool {
        self.key.is_some_and(|own| own.is(key))
    }

    /// Whether it is in a queue. Exact under the lock that guards the queue.
    pub fn is_linked(&self) -> bool {
        self.linked.get()
    }
}

/// The linked nodes of one queue. A primitive may have several under one lock.
#[derive(Debug)]
pub struct Queue<T> {
    head: *const Node<T>,
    tail: *const Node<T>,
}

// SAFETY: the nodes it links stay in place until unlinked under the lock that
// guards the queue; `T` travels between threads through them.
unsafe impl<T: Send> Send for Queue<T> {}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Queue<T> {
    /// An empty queue.
    pub const fn new() -> Queue<T> {
        Queue {
            head: ptr::null(),
            tail: ptr::null(),
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// The first waiter.
    pub fn front(&self) -> Option<&Node<T>> {
        // SAFETY: a linked node stays in place.
        unsafe { self.head.as_ref() }
    }

    /// The last waiter.
    pub fn back(&self) -> Option<&Node<T>> {
        // SAFETY: a linked node stays in place.
        unsafe { self.tail.as_ref() }
    }

    /// Appends a waiter.
    ///
    /// # Safety
    /// The node stays in place, unmoved, until it has been unlinked: by
    /// [`Queue::pop`], or by the waiter through [`Queue::remove`].
    pub unsafe fn push(&mut self, node: &Node<T>) {
        debug_assert!(!node.linked.get());
        node.linked.set(true);
        node.next.set(ptr::null());
        node.prev.set(self.tail);
        // SAFETY: a linked node stays in place.
        match unsafe { self.tail.as_ref() } {
            Some(tail) => tail.next.set(node),
            None => self.head = node,
        }
        self.tail = node;
    }

    /// Puts a waiter before one that is linked here.
    ///
    /// # Safety
    /// As [`Queue::push`]; `at` is linked in this queue.
    pub unsafe fn insert_before(&mut self, node: &Node<T>, at: &Node<T>) {
        debug_assert!(!node.linked.get() && at.linked.get());
        node.linked.set(true);
        node.next.set(at);
        node.prev.set(at.prev.replace(node));
        // SAFETY: the neighbour of a linked node is linked, so in place.
        match unsafe { node.prev.get().as_ref() } {
            Some(prev) => prev.next.set(node),
            None => self.head = node,
        }
    }

    /// The waiter behind this one. The reference is good until that waiter's wait is
    /// resolved.
    ///
    /// # Safety
    /// The node is linked in this queue; else as [`Queue::pop`].
    pub unsafe fn next<'n>(&self, node: &Node<T>) -> Option<&'n Node<T>> {
        debug_assert!(node.linked.get());
        // SAFETY: the neighbour of a linked node is linked, so in place.
        unsafe { node.next.get().as_ref() }
    }

    /// Unlinks the first waiter. The reference is good until that waiter's wait
    /// is resolved.
    ///
    /// # Safety
    /// The caller holds the lock that guards the queue for as long as it uses
    /// the node, and forgets it once it has woken it.
    pub unsafe fn pop<'n>(&mut self) -> Option<&'n Node<T>> {
        // SAFETY: a linked node stays in place; it is linked here.
        unsafe {
            let node = self.head.as_ref()?;
            self.unlink(node);
            Some(node)
        }
    }

    /// The first waiter that satisfies the predicate, left in place. The
    /// reference is good until that waiter's wait is resolved.
    ///
    /// # Safety
    /// As [`Queue::pop`].
    pub unsafe fn find<'n>(&self, mut wanted: impl FnMut(&Node<T>) -> bool) -> Option<&'n Node<T>> {
        let mut at = self.head;
        // SAFETY: linked nodes stay in place, and so do their neighbours.
        while let Some(node) = unsafe { at.as_ref() } {
            if wanted(node) {
                return Some(node);
            }
            at = node.next.get();
        }
        None
    }

    /// Unlinks a waiter if it is still linked. Returns whether it was.
    ///
    /// # Safety
    /// If the node is linked, it is linked in this queue.
    pub unsafe fn remove(&mut self, node: &Node<T>) -> bool {
        let linked = node.linked.get();
        if linked {
            // SAFETY: the caller's promise.
            unsafe { self.unlink(node) };
        }
        linked
    }

    unsafe fn unlink(&mut self, node: &Node<T>) {
        let (prev, next) = (node.prev.get(), node.next.get());
        // SAFETY: neighbours of a linked node are linked, so in place.
        unsafe {
            match prev.as_ref() {
                Some(prev) => prev.next.set(next),
                None => self.head = next,
            }
            match next.as_ref() {
                Some(next) => next.prev.set(prev),
                None => self.tail = prev,
            }
        }
        node.linked.set(false);
    }
}

/// A primitive's state and queues behind one lock. See the module
/// documentation.
#[derive(Debug)]
pub struct Waiters<S> {
    inner: RawLock<S>,
}

impl<S> Waiters<S> {
    lisle_lwp::const_unless_loom! {
        /// A free lock around the state, which holds the queues.
        pub fn new(state: S) -> Waiters<S> {
            Waiters { inner: RawLock::new(state) }
        }
    }

    /// Takes the lock. No user code, allocation or wait until it is released.
    #[inline]
    pub fn lock(&self) -> Locked<'_, S> {
        self.lock_in(Entry::new())
    }

    /// As [`Waiters::lock`], for a thread that knows already who it is.
    #[inline(always)]
    pub fn lock_as(&self, caller: &Caller) -> Locked<'_, S> {
        self.lock_in(caller.enter())
    }

    #[inline(always)]
    fn lock_in(&self, entry: Entry) -> Locked<'_, S> {
        Locked {
            guard: Some(self.inner.lock()),
            ready: ReadyList::new(),
            entry,
        }
    }

    /// Takes the lock without a guard, over a fork.
    #[cfg(not(lisle_loom))]
    pub(super) fn lock_raw(&self) {
        self.inner.lock_raw();
    }

    /// Releases what [`Waiters::lock_raw`] took.
    ///
    /// # Safety
    /// The caller holds the lock, and no guard of it is alive.
    #[cfg(not(lisle_loom))]
    pub(super) unsafe fn unlock_raw(&self) {
        // SAFETY: passed on.
        unsafe { self.inner.unlock_raw() };
    }
}

/// Holds the lock of a [`Waiters`]; releasing it makes the woken threads ready.
#[derive(Debug)]
pub struct Locked<'a, S> {
    guard: Option<RawGuard<'a, S>>,
    ready: ReadyList,
    // Left last: the threads are made ready inside the runtime.
    entry: Entry,
}

impl<S> Locked<'_, S> {
    /// Ends a waiter's wait; it becomes ready when the lock is released.
    /// Returns `false` if its wait had ended otherwise: then nothing reached it.
    pub fn wake(&mut self, key: WaitKey) -> bool {
        key.fire_into(Outcome::Woken, &mut self.ready)
    }
}

impl<S> core::ops::Deref for Locked<'_, S> {
    type Target = S;
    #[inline]
    fn deref(&self) -> &S {
        self.guard.as_ref().expect("held until dropped")
    }
}

impl<S> core::ops::DerefMut for Locked<'_, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        self.guard.as_mut().expect("held until dropped")
    }
}

impl<S> Drop for Locked<'_, S> {
    #[inline]
    fn drop(&mut self) {
        self.guard = None;
        while let Some(thread) = self.ready.pop_front() {
            self.entry.make_ready(thread);
        }
    }
}
