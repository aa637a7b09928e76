//! The lot: where threads wait for a word of memory, by its address.
//!
//! After WebKit's `ParkingLot` (F. Pizlo, 2015) and `parking_lot_core`. A
//! primitive that keeps its waiters here needs a single word of its own: its
//! queue exists only while somebody waits, in the bucket that the address hashes
//! to.
//!
//! ```text
//!  bucket ──► first waiter for A ──► first waiter for B ──► …      next_queue
//!                   │ next                 │ next
//!                   ▼                      ▼
//!             second for A           second for B   ◄── `last` of the first
//! ```
//!
//! *Protocol*, for the word at an address. Waiter: [`lock`] the address, look at
//! the word, say in it that somebody waits, enqueue, unlock, block. Waker: change
//! the word; if it says that somebody waits, lock the address, take waiters from
//! the queue and [`Locked::wake`](super::Locked::wake) them. A waiter whose wait
//! ended otherwise locks the address and removes its node, unless a waker has.
//! What the word says about waiters changes only under the address's lock; so
//! *no wake-up is lost*: either the waiter's look comes after the waker's change,
//! or the waker reads the word after the waiter has written it, and finds the
//! waiter because it must take the lock.
//!
//! *Invariants*, under a bucket's lock: each address has at most one queue; only
//! the first waiter of a queue is linked by `next_queue`, and its `last` names
//! the last one. Nodes stay in place while they are linked.
//!
//! *Cost*: a bucket is searched queue by queue, not waiter by waiter: a thousand
//! threads that wait for one word delay nobody who uses another.
//!
//! *Rejected*: a queue head inside the word: eight bytes instead of four, and
//! none of its bits left for counting; growing the table as parking_lot does:
//! that allocates, and replaces locks under their holders.

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ptr;

use super::list::{Locked, Waiters};
use super::{Wait, WaitKey};

/// A thread that waits in the lot, on that thread's stack.
#[derive(Debug)]
pub struct Waiter {
    key: WaitKey,
    address: usize,
    linked: Cell<bool>,
    next: Cell<*const Waiter>,
    prev: Cell<*const Waiter>,
    /// Of a queue's first waiter only.
    last: Cell<*const Waiter>,
    /// Of a queue's first waiter only: the first one for another address.
    next_queue: Cell<*const Waiter>,
    /// The primitive's own: what it waits for. Fixed while it is linked.
    pub tag: usize,
    _pinned: PhantomPinned,
}

impl Waiter {
    /// A node for a wait that has begun, for the word at this address.
    pub fn new(wait: &Wait, address: usize, tag: usize) -> Waiter {
        Waiter {
            key: wait.key(),
            address,
            linked: Cell::new(false),
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            last: Cell::new(ptr::null()),
            next_queue: Cell::new(ptr::null()),
            tag,
            _pinned: PhantomPinned,
        }
    }

    /// The waiter's key.
    pub fn key(&self) -> WaitKey {
        self.key
    }
}

/// The queues of all addresses that share a lock.
#[derive(Debug)]
pub struct Bucket {
    first: *const Waiter,
}

// SAFETY: the nodes it links stay in place until they are unlinked under the
// bucket's lock.
unsafe impl Send for Bucket {}

/// How many buckets there are, as a power of two.
#[cfg(not(lisle_loom))]
const BITS: u32 = 8;

/// A bucket to a cache line: neighbours do not disturb each other.
#[cfg(not(lisle_loom))]
#[repr(align(64))]
struct Line(Waiters<Bucket>);

#[cfg(not(lisle_loom))]
static TABLE: [Line; 1 << BITS] =
    [const { Line(Waiters::new(Bucket { first: ptr::null() })) }; 1 << BITS];

// In models all addresses share one bucket.
#[cfg(lisle_loom)]
loom::lazy_static! {
    static ref TABLE: Waiters<Bucket> = Waiters::new(Bucket { first: ptr::null() });
}

#[cfg(not(lisle_loom))]
fn bucket(address: usize) -> &'static Waiters<Bucket> {
    // Fibonacci hashing: the upper bits of the product depend on all bits. Addresses
    // within one aligned word share a bucket, so a word may have several queues.
    let hash = (address as u64 >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    &TABLE[(hash >> (u64::BITS - BITS)) as usize].0
}

#[cfg(lisle_loom)]
fn bucket(_: usize) -> &'static Waiters<Bucket> {
    &TABLE
}

/// Takes the lock of the address. No user code, allocation or wait until it is
/// released.
pub fn lock(address: usize) -> Locked<'static, Bucket> {
    bucket(address).lock()
}

/// Takes all locks, so that a forked child finds the lot whole.
#[cfg(not(lisle_loom))]
pub(crate) fn lock_for_fork() {
    TABLE.iter().for_each(|line| line.0.lock_raw());
}

/// Releases what [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread called that, in this process or in the parent.
#[cfg(not(lisle_loom))]
pub(crate) unsafe fn unlock_after_fork() {
    for line in &TABLE {
        // SAFETY: passed on.
        unsafe { line.0.unlock_raw() };
    }
}

impl Bucket {
    /// The first waiter for the address.
    pub fn first(&self, address: usize) -> Option<&Waiter> {
        // SAFETY: a linked node stays in place.
        unsafe { self.find(address).0.as_ref() }
    }

    /// The waiter behind this one, which is linked here.
    pub fn next<'b>(&'b self, waiter: &Waiter) -> Option<&'b Waiter> {
        debug_assert!(waiter.linked.get());
        // SAFETY: a linked node stays in place.
        unsafe { waiter.next.get().as_ref() }
    }

    /// Whether this wait is that of a waiter for this address, or for another one in
    /// the same word.
    #[cfg(not(lisle_loom))]
    pub(crate) fn knows(&self, key: WaitKey, address: usize) -> bool {
        let mut queue = self.first;
        // SAFETY: linked nodes stay in place, and so do their neighbours.
        while let Some(first) = unsafe { queue.as_ref() } {
            let mut at = Some(first);
            while let Some(waiter) = at {
                if waiter.key.is(key) {
                    return waiter.address >> 3 == address >> 3;
                }
                at = self.next(waiter);
            }
            queue = first.next_queue.get();
        }
        false
    }

    /// Whether somebody waits for the address.
    pub fn is_awaited(&self, address: usize) -> bool {
        self.first(address).is_some()
    }

    /// Puts a waiter behind all others for its address.
    ///
    /// # Safety
    /// The bucket is that of the waiter's address; the node stays in place,
    /// unmoved, until it has been unlinked: by [`Bucket::pop`], or by the waiter
    /// through [`Bucket::remove`].
    pub unsafe fn push_back(&mut self, waiter: &Waiter) {
        // SAFETY: a linked node stays in place.
        let Some(first) = (unsafe { self.find(waiter.address).0.as_ref() }) else {
            return self.begin_queue(waiter);
        };
        waiter.linked.set(true);
        let last = first.last.replace(waiter);
        waiter.prev.set(last);
        waiter.next.set(ptr::null());
        // SAFETY: as above.
        unsafe { (*last).next.set(waiter) };
    }

    /// Puts a waiter before all others for its address.
    ///
    /// # Safety
    /// As [`Bucket::push_back`].
    pub unsafe fn push_front(&mut self, waiter: &Waiter) {
        let (first, before) = self.find(waiter.address);
        // SAFETY: a linked node stays in place.
        let Some(second) = (unsafe { first.as_ref() }) else {
            return self.begin_queue(waiter);
        };
        waiter.linked.set(true);
        waiter.prev.set(ptr::null());
        waiter.next.set(second);
        second.prev.set(waiter);
        waiter.last.set(second.last.get());
        waiter.next_queue.set(second.next_queue.get());
        self.relink(before, waiter);
    }

    /// Unlinks the first waiter for the address. The reference is good until
    /// that waiter's wait is resolved.
    ///
    /// # Safety
    /// The bucket is that of the address; the caller holds its lock for as long
    /// as it uses the node, and forgets it once it has woken it.
    pub unsafe fn pop<'n>(&mut self, address: usize) -> Option<&'n Waiter> {
        // SAFETY: a linked node stays in place; it is linked here.
        unsafe {
            let first = self.find(address).0.as_ref()?;
            self.remove(first);
            Some(first)
        }
    }

    /// Unlinks a waiter if it is still linked. Returns whether it was.
    ///
    /// # Safety
    /// The bucket is that of the waiter's address.
    pub unsafe fn remove(&mut self, waiter: &Waiter) -> bool {
        if !waiter.linked.replace(false) {
            return false;
        }
        let (first, before) = self.find(waiter.address);
        let (prev, next) = (waiter.prev.get(), waiter.next.get());
        // SAFETY: neighbours of a linked node are linked, so in place; so is
        // the first of its queue.
        unsafe {
            match (prev.as_ref(), next.as_ref()) {
                (None, None) => self.relink(before, waiter.next_queue.get()),
                (None, Some(next)) => {
                    next.prev.set(ptr::null());
                    next.last.set(waiter.last.get());
                    next.next_queue.set(waiter.next_queue.get());
                    self.relink(before, next);
                }
                (Some(prev), None) => {
                    prev.next.set(ptr::null());
                    (*first).last.set(prev);
                }
                (Some(prev), Some(next)) => {
                    prev.next.set(next);
                    next.prev.set(prev);
                }
            }
        }
        true
    }

    /// Makes a waiter the only one for its address.
    fn begin_queue(&mut self, waiter: &Waiter) {
        waiter.linked.set(true);
        waiter.prev.set(ptr::null());
        waiter.next.set(ptr::null());
        waiter.last.set(waiter);
        waiter.next_queue.set(self.first);
        self.first = waiter;
    }

    /// The first waiter for the address, and the first of the queue before it.
    fn find(&self, address: usize) -> (*const Waiter, *const Waiter) {
        let (mut first, mut before) = (self.first, ptr::null());
        // SAFETY: a linked node stays in place.
        while let Some(waiter) = unsafe { first.as_ref() } {
            if waiter.address == address {
                break;
            }
            before = first;
            first = waiter.next_queue.get();
        }
        (first, before)
    }

    /// Makes `queue` follow the queue that begins with `before`.
    fn relink(&mut self, before: *const Waiter, queue: *const Waiter) {
        // SAFETY: a linked node stays in place.
        match unsafe { before.as_ref() } {
            Some(before) => before.next_queue.set(queue),
            None => self.first = queue,
        }
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;
    use crate::wait::{self, Reason};

    static REASON: Reason = Reason::new("test");

    /// A node of a wait that is over, for an address.
    fn waiter(address: usize, tag: usize) -> Waiter {
        let wait = wait::begin(&REASON, 0, false).unwrap();
        let waiter = Waiter::new(&wait, address, tag);
        let _ = wait.abandon();
        waiter
    }

    fn tags(bucket: &Bucket, address: usize) -> Vec<usize> {
        let first = bucket.first(address);
        let all = std::iter::successors(first, |waiter| bucket.next(waiter));
        all.map(|waiter| waiter.tag).collect()
    }

    /// Three addresses, in a bucket of their own.
    #[test]
    fn queues_of_one_bucket_do_not_mix() {
        let mut bucket = Bucket { first: ptr::null() };
        let nodes: Vec<_> = (0..9).map(|n| waiter(n % 3 * 8, n)).collect();
        // SAFETY: the nodes outlive the bucket and are not moved.
        unsafe {
            nodes.iter().for_each(|node| bucket.push_back(node));
            assert_eq!(tags(&bucket, 0), [0, 3, 6]);
            assert_eq!(tags(&bucket, 8), [1, 4, 7]);
            assert_eq!(tags(&bucket, 16), [2, 5, 8]);
            // First, middle, last, and one that is gone.
            assert!(bucket.remove(&nodes[1]) && !bucket.remove(&nodes[1]));
            assert!(bucket.remove(&nodes[3]) && bucket.remove(&nodes[8]));
            assert_eq!(tags(&bucket, 0), [0, 6]);
            assert_eq!(tags(&bucket, 8), [4, 7]);
            assert_eq!(tags(&bucket, 16), [2, 5]);
            bucket.push_back(&nodes[8]);
            bucket.push_front(&nodes[3]);
            bucket.push_front(&nodes[1]);
            assert_eq!(tags(&bucket, 0), [3, 0, 6]);
            assert_eq!(tags(&bucket, 8), [1, 4, 7]);
            assert_eq!(tags(&bucket, 16), [2, 5, 8]);
            for address in [8, 0, 16] {
                for _ in 0..3 {
                    assert_eq!(bucket.pop(address).map(|node| node.address), Some(address));
                }
                assert!(!bucket.is_awaited(address) && bucket.pop(address).is_none());
            }
        }
        assert!(bucket.first.is_null());
    }

    #[test]
    fn the_front_of_an_empty_queue_is_its_back() {
        let mut bucket = Bucket { first: ptr::null() };
        let nodes = [waiter(8, 0), waiter(8, 1)];
        // SAFETY: as above.
        unsafe {
            bucket.push_front(&nodes[0]);
            bucket.push_back(&nodes[1]);
            assert_eq!(tags(&bucket, 8), [0, 1]);
            assert_eq!(bucket.pop(8).map(|node| node.tag), Some(0));
            assert_eq!(bucket.pop(8).map(|node| node.tag), Some(1));
        }
        assert!(bucket.first.is_null());
    }
}
