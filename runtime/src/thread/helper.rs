//! Helpers: full threads that an idle LWP makes, to run jobs that others have
//! noted (see [`jobs`](crate::jobs)).
//!
//! A helper has no handle. Its block has one reference, which the thread shares
//! with whoever joins it, as a spawned thread does with its handle: the second of
//! the two to let go gives it back ([`join`](crate::join)).

use core::ptr;
use std::io;

use lisle_lwp::shim::Ordering;

use super::launch::New;
use super::packet;
use crate::footing::Footing;
use crate::jobs::thief::wait_for;
use crate::life::Identity;
use crate::pool;
use crate::sched::lwp::Lwp;
use crate::sched::policy::DEFAULT_PRIORITY;
use crate::tcb::{Kind, Tcb};
use crate::{donors, sched};

/// A full thread that nobody has seen yet.
#[derive(Debug)]
#[must_use = "it is to be launched or discarded"]
pub(crate) struct Helper(&'static Tcb);

impl Helper {
    /// Makes a thread of the LWP's runtime that will call `body`.
    ///
    /// # Errors
    /// If the system refuses memory or a kernel thread.
    ///
    /// # Safety
    /// The caller is the LWP's owner, in its idle context.
    pub(crate) unsafe fn make(lwp: &Lwp, body: fn()) -> io::Result<Helper> {
        let class = lwp.shared().stack_size;
        // SAFETY: owner only; no other reference is alive.
        let (block, donor) = unsafe {
            (
                (*lwp.blocks.get()).take_cached(),
                (*lwp.donors.get()).take(class),
            )
        };
        let donor = match donor.or_else(|| donors::take(class)) {
            Some(donor) => donor,
            None => donors::make(class).inspect_err(|_| {
                if let Some(block) = block {
                    pool::give_back(block);
                }
            })?,
        };
        let Some(block) = block.or_else(pool::take_shared) else {
            donors::give(donor);
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        // SAFETY: taken from among the free ones.
        let new = unsafe { New::on(block, Footing::Donor(donor)) };
        // SAFETY: nobody has seen the thread yet.
        if let Err(error) = unsafe { packet::put::<fn(), ()>(&new, body, None) } {
            new.give_back();
            return Err(error);
        }
        let identity = Identity {
            kind: Kind::Full,
            priority: DEFAULT_PRIORITY,
            name: None,
            id: lwp.next_id(),
            parent: 0,
        };
        block.publish(identity);
        let start = packet::start::<fn(), ()>;
        Ok(Helper(new.begin(lwp.shared(), start, ptr::null_mut())))
    }

    pub(crate) fn block(&self) -> &'static Tcb {
        self.0
    }

    /// Begins the thread's life, as a child of `parent`, which waits for it. It
    /// is ready, and in no queue.
    ///
    /// # Safety
    /// As for [`Helper::make`], on the same LWP.
    pub(crate) unsafe fn launch(self, lwp: &Lwp, parent: &Tcb) -> &'static Tcb {
        let Helper(block) = self;
        let inherit = parent.priority.load(Ordering::Relaxed);
        block.priority.store(inherit, Ordering::Relaxed);
        let id = parent.id.load(Ordering::Relaxed);
        block.parent.store(id, Ordering::Relaxed);
        lwp.counters.threads.count_spawned();
        block
    }

    /// There is nothing to do for it.
    pub(crate) fn discard(self) {
        // SAFETY: nobody has seen it, and a function pointer needs no drop.
        unsafe { sched::free(self.0) };
    }
}

/// Waits for the end of a helper: see [`wait_for`].
///
/// # Safety
/// The helper has been launched, and is joined once.
pub(crate) unsafe fn join(helper: &'static Tcb) {
    wait_for(helper);
    if helper.join.release() {
        // SAFETY: the last of thread and joiner to leave.
        unsafe { sched::free(helper) };
    }
}
