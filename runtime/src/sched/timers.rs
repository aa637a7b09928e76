//! Deadlines of waiting threads: one pairing heap per LWP.
//!
//! The nodes live on the waiting threads' stacks, so setting a deadline
//! allocates nothing; all is O(log n) amortized, and inserting mostly two
//! comparisons. (Fredman, Sedgewick, Sleator, Tarjan: "The pairing heap", 1986.)
//!
//! *Nothing is put off to the first expiry.* In the heap as published the deadlines
//! set since the last expiry are all children of the root, and the next one has to
//! look at each of them: with 100,000 sleepers a tenth of a second, under the lock.
//! Here a new child is paired with its neighbour if that was paired no more often,
//! and so on, as in the carry of a binary counter; and what was below a
//! deadline that is removed takes its place. So hardly any deadline has many children
//! (the tests say how many at most, whatever is done).
//!
//! A lock guards each heap, because a thread may be resumed on another LWP than
//! the one where it set its deadline, and an idle LWP expires the deadlines of a
//! busy one.
//!
//! *Invariant*: a node is linked only between `insert` and the first of
//! `remove` and expiry, both under the heap's lock; its owner calls `remove`
//! before the node's frame goes. Expiry copies the key out and resolves it
//! after the lock: a key may be fired late. What others read or write of a node
//! stands in cells that models watch.

use core::marker::PhantomPinned;
use core::ptr;

use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicBool, AtomicU64, Ordering, PlainCell};

use crate::wait::{Outcome, WaitKey};

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// A deadline in a heap, on its owner's stack.
#[derive(Debug)]
pub(crate) struct Timer {
    deadline: PlainCell<u64>,
    /// Breaks ties in order of insertion, so that a seed repeats itself.
    order: PlainCell<u64>,
    key: PlainCell<WaitKey>,
    /// Whether the node is linked; changed under the heap's lock.
    linked: AtomicBool,
    child: PlainCell<*const Timer>,
    /// The next sibling.
    next: PlainCell<*const Timer>,
    /// The previous sibling, or the parent of a first child.
    prev: PlainCell<*const Timer>,
    /// How often it was paired, in a way: one more than the highest rank that it was given.
    rank: PlainCell<u32>,
    _pinned: PhantomPinned,
}

impl Timer {
    pub(crate) fn new(deadline: u64, key: WaitKey) -> Timer {
        Timer {
            deadline: PlainCell::new(deadline),
            order: PlainCell::new(0),
            key: PlainCell::new(key),
            linked: AtomicBool::new(false),
            child: PlainCell::new(ptr::null()),
            next: PlainCell::new(ptr::null()),
            prev: PlainCell::new(ptr::null()),
            rank: PlainCell::new(0),
            _pinned: PhantomPinned,
        }
    }

    /// In models: what becomes of its place when its owner's frame has gone.
    #[cfg(all(test, lisle_loom))]
    pub(crate) fn scribble(&self) {
        let nowhere = ptr::without_provenance(usize::MAX);
        self.deadline.set(0);
        self.order.set(0);
        self.key.set(self.key.get());
        for link in [&self.child, &self.next, &self.prev] {
            link.set(nowhere);
        }
        self.rank.set(0);
    }

    fn before(&self, other: &Timer) -> bool {
        (self.deadline.get(), self.order.get()) < (other.deadline.get(), other.order.get())
    }
}

#[derive(Debug)]
struct Heap {
    root: *const Timer,
    inserted: u64,
    len: usize,
}

// SAFETY: the nodes it links stay in place until unlinked under the lock.
unsafe impl Send for Heap {}

/// Makes the later of two roots the first child of the earlier.
///
/// # Safety
/// Both are roots of disjoint heaps, or null, and stay in place.
unsafe fn meld(a: *const Timer, b: *const Timer) -> *const Timer {
    // SAFETY: the caller's promise.
    let (Some(x), Some(y)) = (unsafe { a.as_ref() }, unsafe { b.as_ref() }) else {
        return if a.is_null() { b } else { a };
    };
    let (top, low) = if y.before(x) { (y, x) } else { (x, y) };
    let rank = low.rank.get().saturating_add(1);
    top.rank.set(top.rank.get().max(rank));
    // SAFETY: a linked child stays in place.
    unsafe { put_first(top, low, top.child.get()) };
    top.next.set(ptr::null());
    top.prev.set(ptr::null());
    top
}

/// Makes `child` the first child of `parent`, before `siblings`.
///
/// # Safety
/// The siblings are null or stay in place.
unsafe fn put_first(parent: &Timer, child: &Timer, siblings: *const Timer) {
    child.next.set(siblings);
    child.prev.set(parent);
    // SAFETY: the caller's promise.
    if let Some(next) = unsafe { siblings.as_ref() } {
        next.prev.set(child);
    }
    parent.child.set(child);
}

/// Pairs the first two children as long as the second has no higher rank.
///
/// # Safety
/// Its children stay in place.
unsafe fn carry(parent: &Timer) {
    // SAFETY: the caller's promise.
    unsafe {
        while let Some(first) = parent.child.get().as_ref()
            && let Some(second) = first.next.get().as_ref()
            && first.rank.get() >= second.rank.get()
        {
            let rest = second.next.get();
            let pair = &*meld(first, second);
            put_first(parent, pair, rest);
        }
    }
}

/// Melds a list of siblings into one heap, in two passes.
///
/// # Safety
/// `first` heads a list of siblings without a parent, or is null.
unsafe fn meld_siblings(first: *const Timer) -> *const Timer {
    let mut pairs: *const Timer = ptr::null();
    let mut rest = first;
    // First pass: meld neighbours, chain the results through `next`, reversed.
    // SAFETY: linked nodes stay in place; each is unlinked before it is melded.
    unsafe {
        while let Some(a) = rest.as_ref() {
            let second = a.next.get();
            rest = second.as_ref().map_or(ptr::null(), |b| b.next.get());
            for node in [Some(a), second.as_ref()].into_iter().flatten() {
                node.next.set(ptr::null());
                node.prev.set(ptr::null());
            }
            let pair = meld(a, second);
            carry(&*pair);
            (*pair).next.set(pairs);
            pairs = pair;
        }
        // Second pass: meld all into one.
        let mut root: *const Timer = ptr::null();
        while let Some(pair) = pairs.as_ref() {
            pairs = pair.next.get();
            pair.next.set(ptr::null());
            root = meld(root, pair);
            carry(&*root);
        }
        root
    }
}

impl Heap {
    /// # Safety
    /// The node is unlinked and stays in place until it is unlinked again.
    unsafe fn insert(&mut self, node: &Timer) {
        node.order.set(self.inserted);
        self.inserted += 1;
        for link in [&node.child, &node.next, &node.prev] {
            link.set(ptr::null());
        }
        node.rank.set(0);
        node.linked.store(true, Ordering::Relaxed);
        self.len += 1;
        // SAFETY: the caller's promise; the root is linked, so in place, and so are its
        // children.
        unsafe {
            self.root = meld(self.root, node);
            carry(&*self.root);
        }
    }

    /// # Safety
    /// The node is linked in this heap.
    unsafe fn unlink(&mut self, node: &Timer) {
        // SAFETY: neighbours and children of a linked node are linked, so in place.
        unsafe {
            let below = meld_siblings(node.child.get());
            let Some(prev) = node.prev.get().as_ref() else {
                self.root = below;
                return self.forget(node);
            };
            // What was below it takes its place: all of that is later than its parent, too.
            let next = node.next.get();
            let heir = below.as_ref().map_or(next, |heir| {
                heir.next.set(next);
                if let Some(next) = next.as_ref() {
                    next.prev.set(heir);
                }
                below
            });
            if let Some(heir) = heir.as_ref() {
                heir.prev.set(prev);
            }
            let first_child = ptr::eq(prev.child.get(), node);
            let link = if first_child { &prev.child } else { &prev.next };
            link.set(heir);
        }
        self.forget(node);
    }

    /// The node is linked no longer.
    fn forget(&mut self, node: &Timer) {
        self.len -= 1;
        // Release: pairs with the Acquire in `Timers::remove`.
        node.linked.store(false, Ordering::Release);
    }

    fn earliest(&self) -> u64 {
        // SAFETY: the root is linked, so in place.
        unsafe { self.root.as_ref() }.map_or(NEVER, |root| root.deadline.get())
    }
}

/// An LWP's deadlines.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: RawLock<Heap>,
    /// The earliest deadline, for those who do not want the lock.
    earliest: AtomicU64,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        let heap = Heap {
            root: ptr::null(),
            inserted: 0,
            len: 0,
        };
        Timers {
            heap: RawLock::new(heap),
            earliest: AtomicU64::new(NEVER),
        }
    }

    /// Links a deadline. Returns whether it is the earliest now.
    ///
    /// # Safety
    /// The node stays in place until [`Timers::remove`] has returned.
    pub(crate) unsafe fn insert(&self, node: &Timer) -> bool {
        let mut heap = self.heap.lock();
        // SAFETY: passed on.
        unsafe { heap.insert(node) };
        self.earliest.store(heap.earliest(), Ordering::Relaxed);
        ptr::eq(heap.root, node)
    }

    /// Unlinks a deadline, unless it has expired. Afterwards nobody refers to
    /// the node.
    pub(crate) fn remove(&self, node: &Timer) {
        // Acquire: pairs with the Release in `Heap::forget`, whose last access
        // to the node that is.
        if !node.linked.load(Ordering::Acquire) {
            return;
        }
        let mut heap = self.heap.lock();
        if node.linked.load(Ordering::Relaxed) {
            // SAFETY: it is linked, and `insert` linked it here.
            unsafe { heap.unlink(node) };
            self.earliest.store(heap.earliest(), Ordering::Relaxed);
        }
    }

    /// The earliest deadline, or [`NEVER`].
    #[inline]
    pub(crate) fn earliest(&self) -> u64 {
        self.earliest.load(Ordering::Relaxed)
    }

    /// How many deadlines are set.
    pub(crate) fn len(&self) -> usize {
        self.heap.lock().len
    }

    /// Wakes all threads whose deadline has come.
    pub(crate) fn expire(&self, now: u64) {
        while let Some(key) = self.expire_one(now) {
            key.fire(Outcome::TimedOut);
        }
    }

    /// Unlinks one deadline that is due at `now` and returns its key.
    pub(crate) fn expire_one(&self, now: u64) -> Option<WaitKey> {
        if self.earliest() > now {
            return None;
        }
        let mut heap = self.heap.lock();
        // SAFETY: the root is linked, so in place.
        let root = unsafe { heap.root.as_ref() }.filter(|root| root.deadline.get() <= now)?;
        let key = root.key.get();
        // SAFETY: it is linked here.
        unsafe { heap.unlink(root) };
        self.earliest.store(heap.earliest(), Ordering::Relaxed);
        Some(key)
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::tcb::Tcb;

    fn key(epoch: u64) -> WaitKey {
        let block: &'static Tcb = Box::leak(Box::new(Tcb::blank()));
        WaitKey::of(block, epoch)
    }

    #[test]
    fn expires_in_order_and_forgets_the_removed() {
        let mut random = Random::new(3);
        let timers = Timers::new();
        let mut deadlines: Vec<u64> = (0..500).map(|_| random.below(100) as u64).collect();
        let nodes: Vec<Box<Timer>> = deadlines
            .iter()
            .map(|d| Box::new(Timer::new(*d, key(*d))))
            .collect();
        for node in &nodes {
            // SAFETY: boxed, and all are removed or expired below.
            unsafe { timers.insert(node) };
        }
        for index in (0..nodes.len()).rev().filter(|i| i % 3 == 0) {
            timers.remove(&nodes[index]);
            timers.remove(&nodes[index]);
            deadlines.remove(index);
        }
        deadlines.sort_unstable();
        assert_eq!(timers.len(), deadlines.len());
        let due = deadlines.iter().filter(|d| **d <= 50).count();
        let expired: Vec<u64> = std::iter::from_fn(|| timers.expire_one(50))
            .map(|k| k.epoch_number())
            .collect();
        assert_eq!(expired, deadlines[..due]);
        assert_eq!(timers.earliest(), deadlines[due]);
        let rest: Vec<u64> = std::iter::from_fn(|| timers.expire_one(1_000))
            .map(|k| k.epoch_number())
            .collect();
        assert_eq!(rest, deadlines[due..]);
        assert_eq!((timers.len(), timers.earliest()), (0, NEVER));
    }

    /// The most children that any deadline has, of all that are linked.
    fn most_children(timers: &Timers) -> usize {
        let heap = timers.heap.lock();
        let (mut most, mut open) = (0, vec![heap.root]);
        while let Some(at) = open.pop() {
            // SAFETY: linked nodes are in place.
            let first = unsafe { at.as_ref() }.map_or(ptr::null(), |at| at.child.get());
            // SAFETY: as above.
            let next = |at: &*const Timer| unsafe { at.as_ref() }.map(|at| at.next.get());
            let children = core::iter::successors(Some(first), next).filter(|at| !at.is_null());
            let before = open.len();
            open.extend(children);
            most = most.max(open.len() - before);
        }
        most
    }

    fn timer(deadline: u64) -> Box<Timer> {
        Box::new(Timer::new(deadline, key(deadline)))
    }

    fn set(timers: &Timers, deadline: u64) -> Box<Timer> {
        let timer = timer(deadline);
        // SAFETY: boxed, and the tests remove or expire all.
        unsafe { timers.insert(&timer) };
        timer
    }

    /// Whatever the order of the deadlines, no expiry has many siblings to meld.
    #[test]
    fn few_are_next_to_each_other() {
        const COUNT: usize = 4_096;
        let mut random = Random::new(5);
        let orders: [&mut dyn FnMut(usize) -> u64; 3] =
            [&mut |i| i as u64, &mut |i| (COUNT - i) as u64, &mut |_| {
                random.below(COUNT) as u64
            }];
        for deadline in orders {
            let timers = Timers::new();
            let nodes: Vec<_> = (0..COUNT).map(|i| set(&timers, deadline(i))).collect();
            // Its logarithm is 12.
            assert!(most_children(&timers) <= 24);
            nodes.iter().step_by(3).for_each(|node| timers.remove(node));
            let mut expired = 0;
            while timers.expire_one(COUNT as u64).is_some() {
                expired += 1;
                if expired % 100 == 0 {
                    let most = most_children(&timers);
                    assert!(most <= 36, "{most}");
                }
            }
            assert_eq!(timers.len(), 0);
        }
    }

    /// Calls with a timeout that end in time, beside long sleeps.
    #[test]
    fn few_are_next_to_each_other_after_removals() {
        const COUNT: u64 = 1_000;
        let timers = Timers::new();
        let _first = set(&timers, 1);
        let mut long = Vec::new();
        for i in 0..COUNT {
            long.push(set(&timers, 1_000_000 + i));
            timers.remove(&set(&timers, 1_000 + i));
        }
        let most = most_children(&timers);
        assert!(most <= 30, "{most}");
        // Each in turn waits a short time, and then sets its long one anew; something ticks.
        for i in 0..3 * COUNT {
            timers.remove(&set(&timers, 5_000 + i));
            let place = (i % COUNT) as usize;
            timers.remove(&long[place]);
            long[place] = set(&timers, 2_000_000 + i);
            if i % 10 == 0 {
                let _tick = set(&timers, 10 + i);
                assert!(timers.expire_one(10 + i).is_some());
                while timers.expire_one(10 + i).is_some() {}
            }
            if i % 100 == 0 {
                let most = most_children(&timers);
                assert!(most <= 30, "{most}");
            }
        }
        let expired = core::iter::from_fn(|| timers.expire_one(u64::MAX - 1));
        let expired: Vec<u64> = expired.map(|key| key.epoch_number()).collect();
        assert_eq!(expired.len() as u64, COUNT);
        assert!(expired.is_sorted());
    }

    #[test]
    fn equal_deadlines_expire_in_order_of_insertion() {
        let timers = Timers::new();
        let nodes: Vec<Box<Timer>> = (0..9).map(|i| Box::new(Timer::new(5, key(i)))).collect();
        for node in &nodes {
            // SAFETY: boxed, and all expire below.
            unsafe { timers.insert(node) };
        }
        let order: Vec<u64> = std::iter::from_fn(|| timers.expire_one(5))
            .map(|k| k.epoch_number())
            .collect();
        assert_eq!(order, (0..9).collect::<Vec<_>>());
    }
}
