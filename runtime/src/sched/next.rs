//! The next slot of an LWP: room for one thread that the running one has made ready, and that thieves may
//! take.
//!
//! The owner alone puts threads there, so what it sees there it has put there itself, and finds it there
//! again or not at all: only thieves take in between. An exchange decides who gets it, the owner or one of
//! them. An LWP without neighbours has no thieves, and needs none.

use core::ptr;

use lisle_lwp::shim::{AtomicPtr, Ordering};

use crate::tcb::Tcb;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct NextSlot {
    thread: AtomicPtr<Tcb>,
}

impl NextSlot {
    /// Without a thread.
    pub(crate) fn new() -> NextSlot {
        NextSlot {
            thread: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Puts a thread there; returns the one that was there. Owner only.
    #[inline(always)]
    pub(crate) fn put(&self, thread: &'static Tcb) -> Option<&'static Tcb> {
        let thread = ptr::from_ref(thread).cast_mut();
        if self.thread.load(Ordering::Relaxed).is_null() {
            // Release: the thread's context; pairs with the Acquire in `take`.
            self.fill(thread, Ordering::Release);
            return None;
        }
        // Release: as above. What it displaces is the owner's own.
        let displaced = self.thread.swap(thread, Ordering::Release);
        // SAFETY: blocks live for ever; the swap made the displaced one ours.
        unsafe { displaced.as_ref() }
    }

    /// A store into the empty slot. A thief that has seen an earlier thread there may exchange nothing for
    /// nothing meanwhile; whichever is first, the thread stays or is taken, because exchanges and stores
    /// of one word have one order. Loom knows that of exchanges only.
    #[inline(always)]
    fn fill(&self, thread: *mut Tcb, ordering: Ordering) {
        #[cfg(not(lisle_loom))]
        self.thread.store(thread, ordering);
        #[cfg(lisle_loom)]
        let _ = self.thread.swap(thread, ordering);
    }

    /// Takes the thread that is there.
    #[inline]
    pub(crate) fn take(&self) -> Option<&'static Tcb> {
        if self.thread.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Acquire: pairs with the Releases in `put`.
        let thread = self.thread.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: blocks live for ever; the swap made this one ours.
        unsafe { thread.as_ref() }
    }

    /// The thread that is there, for the owner; a thief may take it at any time.
    #[inline(always)]
    pub(crate) fn look(&self) -> Option<&'static Tcb> {
        // Relaxed: only the owner puts threads there.
        // SAFETY: blocks live for ever.
        unsafe { self.thread.load(Ordering::Relaxed).as_ref() }
    }

    /// Takes the thread at which the owner has [looked](NextSlot::look). `false`: a thief was first.
    /// `alone`: there are no thieves.
    #[inline(always)]
    pub(crate) fn take_seen(&self, thread: &'static Tcb, alone: bool) -> bool {
        let (thread, nobody) = (ptr::from_ref(thread).cast_mut(), ptr::null_mut());
        if alone {
            self.thread.store(nobody, Ordering::Relaxed);
            return true;
        }
        // Relaxed, both: what is taken is the owner's own, and a thief wants nothing from it.
        let relaxed = Ordering::Relaxed;
        let taken = self
            .thread
            .compare_exchange(thread, nobody, relaxed, relaxed);
        taken.is_ok()
    }

    /// Whether a thread is there. A hint for all but the owner.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        !self.thread.load(Ordering::Relaxed).is_null()
    }
}
