//! The lives of a control block: each begins, is referred to, and ends.
//!
//! ```text
//!         publish            retain, try_retain            release: the last one
//!   0 ───────────────► 1 ────────────────────────► n ────────────────────────────► 0
//!   free: whoever took     a thread, or what is         its number is forgotten, and
//!   it fills it in         left of one                  it goes back to the pool
//! ```
//!
//! *Invariant*: a block without references belongs to the pool, or to whoever took it from
//! there: nobody else gets a reference, and so nobody else reads what is not atomic in it.
//! What is filled in comes before the first reference; what is done with any reference comes
//! before the next life.
//!
//! *Whoever has no reference* and looks round ([`pool::visit`](crate::pool), or a pointer to
//! what runs on a kernel thread) gets one with [`Tcb::try_retain`] to the life that there is
//! then, complete, or none. Whether that is the one it means it asks the block when it has
//! the reference: numbers never come again, and none changes while there is a reference.

use core::ptr;

use lisle_lwp::shim::Ordering;

use crate::hold::RUNNABLE;
use crate::tcb::{Kind, Tcb};

/// What distinguishes a new thread.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    pub(crate) priority: u8,
    pub(crate) name: Option<Box<str>>,
    pub(crate) id: u64,
    pub(crate) parent: u64,
}

impl Tcb {
    /// Fills in a free block, with one reference. The caller owns it; the name of the thread that
    /// used it before is freed here, so this is not for use inside the runtime.
    pub(crate) fn publish(&self, identity: Identity) {
        debug_assert_eq!(self.refs.load(Ordering::Relaxed), 0);
        // SAFETY: without references the block is ours alone.
        self.name.with_mut(|name| unsafe { *name = identity.name });
        self.kind.store(identity.kind as u8, Ordering::Relaxed);
        self.priority.store(identity.priority, Ordering::Relaxed);
        self.random.store(0, Ordering::Relaxed);
        self.boost.store(0, Ordering::Relaxed);
        self.suspension.store(RUNNABLE, Ordering::Relaxed);
        self.shields.store(0, Ordering::Relaxed);
        crate::cancel::caught(self);
        self.switches.store(0, Ordering::Relaxed);
        self.cpu_ns.store(0, Ordering::Relaxed);
        self.accounts_cpu.store(0, Ordering::Relaxed);
        self.terminated.store(0, Ordering::Relaxed);
        self.reason.store(ptr::null_mut(), Ordering::Relaxed);
        self.parent.store(identity.parent, Ordering::Relaxed);
        self.slice_ns.store(0, Ordering::Relaxed);
        self.limit_ns.store(0, Ordering::Relaxed);
        self.inside.store(0, Ordering::Relaxed);
        self.steady.store(0, Ordering::Relaxed);
        self.was_left.store(0, Ordering::Relaxed);
        self.thread_pointer.store(0, Ordering::Relaxed);
        self.is_on_no_runtime();
        self.wait.reset();
        self.join.reset();
        self.id.store(identity.id, Ordering::Relaxed);
        // Release: what was filled in; pairs with the Acquire in `try_retain`.
        self.refs.store(1, Ordering::Release);
    }

    /// The part of [`Tcb::publish`] about what is not in models.
    #[cfg(not(lisle_loom))]
    #[inline(always)]
    fn is_on_no_runtime(&self) {
        // SAFETY: without references the block is ours alone.
        debug_assert!(self.locals.with(|locals| unsafe { (*locals).is_empty() }));
        let generation = crate::fork::generation();
        self.generation.store(generation, Ordering::Relaxed);
        self.lwp.store(ptr::null_mut(), Ordering::Relaxed);
        self.shared.store(ptr::null_mut(), Ordering::Relaxed);
        self.jobs.reset();
    }

    #[cfg(lisle_loom)]
    fn is_on_no_runtime(&self) {}

    /// One more reference; the caller has one already.
    pub(crate) fn retain(&self) {
        // Relaxed: what is to be seen is seen through the caller's.
        self.refs.fetch_add(1, Ordering::Relaxed);
    }

    /// A reference, unless the block is free.
    pub(crate) fn try_retain(&self) -> bool {
        let mut refs = self.refs.load(Ordering::Relaxed);
        while refs != 0 {
            // Acquire: pairs with the Release in `publish`, which filled the
            // block in.
            let more = self.refs.compare_exchange_weak(
                refs,
                refs + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match more {
                Ok(_) => return true,
                Err(now) => refs = now,
            }
        }
        false
    }

    /// Drops one reference. Returns whether it was the last one: then the block is the
    /// caller's, to be given back to the pool. Allocates and frees nothing.
    #[inline]
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        // AcqRel: the last one sees what all others did to the block; pairs with itself.
        let last = self.refs.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.id.store(0, Ordering::Relaxed);
        }
        last
    }
}
