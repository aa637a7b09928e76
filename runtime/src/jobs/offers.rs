//! Offers: noted jobs that any idle LWP of a runtime may take.
//!
//! A first-in, first-out list behind one lock. An offer is part of a job, hence
//! on the stack of the thread that noted it, its *owner*; so offering allocates
//! nothing.
//!
//! *Protocol.*
//!
//! | owner | LWP |
//! |---|---|
//! | 1. [`Offers::push`]: link the offer, under the lock | 1. makes a thread ready to run a job |
//! | 2. announce: wake an LWP if none searches | 2. [`Offers::take`]: unlink the first offer and name the thread in it, under the lock |
//! | 3. [`Offers::withdraw`]: if no thread is named, unlink the offer, under the lock | 3. runs the thread, which runs the job and ends |
//! | 4. run the job, or join the thread named | |
//!
//! *A job runs once*: `take` and `withdraw` hold the lock, so one is first, and
//! the other sees what it did. *An offer stays in place while it is linked*: its
//! owner leaves its frame only after 4. *No offer is overlooked*: an offer is
//! visible work in the sense of [`sleepers`](crate::sched::sleepers): `push` is
//! step 1 of a submitter, [`Offers::is_empty`] part of step 3 of an LWP going to
//! sleep. An LWP that cannot make a thread leaves the offer where it is, and the
//! owner withdraws it sooner or later.
//!
//! *Ordering*: all is under the lock, but for the count, a hint, whose order
//! towards a sleeper comes from the fences in `sleepers`.
//!
//! *Rejected*: claiming by a compare-and-swap in the job. Since it lies on a
//! stack it must be unlinked in any case before its owner goes on, and the
//! unlinking needs the lock; both are rare.

use core::ptr;

use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicUsize, Cell, Ordering};

use crate::tcb::Tcb;

/// A job that is offered; see the module documentation.
#[derive(Debug)]
pub(crate) struct Offer {
    // --- immutable ---
    /// The job, as its owner's code knows it.
    pub(crate) job: *const (),
    /// The thread that noted the job.
    pub(crate) owner: &'static Tcb,
    /// What the thread that takes the job inherits of its owner's
    /// [`Pace`](super::pace::Pace).
    pub(crate) pace: u64,
    // --- under the lock ---
    prev: Cell<*const Offer>,
    next: Cell<*const Offer>,
    /// Who took it; `None` while it is linked.
    thief: Cell<Option<&'static Tcb>>,
}

impl Offer {
    pub(crate) fn new(job: *const (), owner: &'static Tcb, pace: u64) -> Offer {
        Offer {
            job,
            owner,
            pace,
            prev: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            thief: Cell::new(None),
        }
    }

    /// Who took it, as far as a forked child can tell.
    ///
    /// # Safety
    /// Nobody else touches it: the caller is the only thread of its process.
    pub(crate) unsafe fn thief_before_fork(&self) -> Option<&'static Tcb> {
        // SAFETY: the caller's promise.
        self.thief.with(|thief| unsafe { *thief })
    }
}

#[derive(Debug)]
struct List {
    head: *const Offer,
    tail: *const Offer,
}

// SAFETY: the offers it links stay in place until they are unlinked, under the
// lock around the list.
unsafe impl Send for List {}

/// The offers of a runtime. See the module documentation.
#[derive(Debug)]
pub(crate) struct Offers {
    list: RawLock<List>,
    /// How many are linked; written under the lock.
    len: AtomicUsize,
}

impl Offers {
    pub(crate) fn new() -> Offers {
        Offers {
            list: RawLock::new(List {
                head: ptr::null(),
                tail: ptr::null(),
            }),
            len: AtomicUsize::new(0),
        }
    }

    /// How many there are. A hint.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there are none. A hint, but for an LWP between the fence in
    /// `fall_asleep` and its sleep, which an earlier submitter's offer does not
    /// escape.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Links an offer behind the others. The caller announces it.
    ///
    /// # Safety
    /// It is in no list and stays in place until [`Offers::withdraw`] has said
    /// what became of it.
    pub(crate) unsafe fn push(&self, offer: &Offer) {
        let mut list = self.list.lock();
        // SAFETY: under the lock, and what is linked stays in place.
        unsafe {
            offer.prev.with_mut(|prev| *prev = list.tail);
            match list.tail.as_ref() {
                Some(tail) => tail.next.with_mut(|next| *next = offer),
                None => list.head = offer,
            }
        }
        list.tail = offer;
        self.count(self.len() + 1);
    }

    /// Takes the first offer for the thread `thief`. It stays in place until
    /// that thread has ended.
    pub(crate) fn take<'o>(&self, thief: &'static Tcb) -> Option<&'o Offer> {
        let mut list = self.list.lock();
        // SAFETY: under the lock; what is linked stays in place, and what has
        // been taken until its thief's end.
        unsafe {
            let offer = list.head.as_ref()?;
            self.unlink(&mut list, offer);
            offer.thief.with_mut(|to| *to = Some(thief));
            Some(offer)
        }
    }

    /// Takes an offer back. `Some`: too late, this thread has taken it.
    ///
    /// # Safety
    /// It was pushed here, and has not been withdrawn.
    pub(crate) unsafe fn withdraw(&self, offer: &Offer) -> Option<&'static Tcb> {
        let mut list = self.list.lock();
        // SAFETY: under the lock; what is linked stays in place.
        unsafe {
            let thief = offer.thief.with(|thief| *thief);
            if thief.is_none() {
                self.unlink(&mut list, offer);
            }
            thief
        }
    }

    /// # Safety
    /// It is linked here.
    unsafe fn unlink(&self, list: &mut List, offer: &Offer) {
        // SAFETY: the lock is held; neighbours of what is linked are linked, so
        // they are in place.
        unsafe {
            let (prev, next) = (offer.prev.with(|p| *p), offer.next.with(|n| *n));
            match prev.as_ref() {
                Some(prev) => prev.next.with_mut(|to| *to = next),
                None => list.head = next,
            }
            match next.as_ref() {
                Some(next) => next.prev.with_mut(|to| *to = prev),
                None => list.tail = prev,
            }
        }
        self.count(self.len() - 1);
    }

    fn count(&self, len: usize) {
        self.len.store(len, Ordering::Relaxed);
    }
}
