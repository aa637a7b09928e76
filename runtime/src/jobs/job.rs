//! The job: a closure on the stack of the thread that noted it, until it has run.
//!
//! ```text
//!   noted ──────── runs inline ────────────────────────► gone
//!     │ offered                                            ▲
//!     └──► in the runtime's offers ─── withdrawn, inline ──┤
//!                  │ taken                                 │
//!                  └──► runs on a helper, which is joined ─┘
//! ```
//!
//! Its owner alone decides when it leaves the first state, so on the way of most
//! jobs there is no atomic.

#![allow(clippy::disallowed_types)] // std's UnsafeCell: only the offers are in models

use core::cell::{Cell, UnsafeCell};
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::Scope;
use super::offers::Offer;
use crate::runtime::Shared;

/// A place in a thread's list of noted jobs, or the list's own end.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Link {
    /// The next older; for a job that is not noted any more, [`OFFERED`].
    pub(super) prev: Cell<*const Link>,
    /// The next younger; anything for the youngest.
    pub(super) next: Cell<*const Link>,
}

/// Stands in `prev` of a job that has been offered.
pub(super) const OFFERED: *const Link = ptr::without_provenance(1);

impl Link {
    pub(super) const fn new(prev: *const Link) -> Link {
        Link {
            prev: Cell::new(prev),
            next: Cell::new(ptr::null()),
        }
    }
}

/// What one must know of a job to run it.
#[repr(C)]
pub(super) struct Header {
    pub(super) link: Link,
    run: unsafe fn(*const Header, &Scope),
    /// Written when the job is offered.
    offered: UnsafeCell<MaybeUninit<Offered>>,
}

/// A job's offer, and to whom it went.
pub(super) struct Offered {
    pub(super) offer: Offer,
    pub(super) to: *const Shared,
}

/// A closure and, when it has run on a helper, its result.
#[repr(C)]
pub(super) struct Job<B, R> {
    header: Header,
    body: UnsafeCell<Body<B, R>>,
}

union Body<B, R> {
    closure: ManuallyDrop<B>,
    result: ManuallyDrop<thread::Result<R>>,
}

impl<B, R> Job<B, R>
where
    B: FnOnce(&Scope) -> R + Send,
    R: Send,
{
    /// A job that will be noted behind `prev`. Its closure is never dropped, so
    /// one of the functions below has to take it.
    #[inline(always)]
    pub(super) fn new(closure: B, prev: *const Link) -> Job<B, R> {
        Job {
            header: Header {
                link: Link::new(prev),
                run: Self::run,
                offered: UnsafeCell::new(MaybeUninit::uninit()),
            },
            body: UnsafeCell::new(Body {
                closure: ManuallyDrop::new(closure),
            }),
        }
    }

    /// The job as lists know it. Good for all of it.
    #[inline(always)]
    pub(super) fn header(&self) -> *const Header {
        ptr::from_ref(self).cast()
    }

    /// Takes the closure.
    ///
    /// # Safety
    /// Once, by the owner of a job that nobody else has taken.
    #[inline(always)]
    pub(super) unsafe fn closure(&self) -> B {
        // SAFETY: the closure is there until it is taken, and the owner alone
        // can reach it.
        unsafe { ManuallyDrop::take(&mut (*self.body.get()).closure) }
    }

    /// Takes the result of the helper that ran it.
    ///
    /// # Safety
    /// Once, by the owner, after the helper's end.
    pub(super) unsafe fn result(&self) -> thread::Result<R> {
        // SAFETY: written by `run`, which has ended.
        unsafe { ManuallyDrop::take(&mut (*self.body.get()).result) }
    }

    /// Runs the job on a helper.
    ///
    /// # Safety
    /// The caller has taken the job, whose owner waits for the caller's end.
    unsafe fn run(header: *const Header, scope: &Scope) {
        // SAFETY: `header` made the pointer from the whole job.
        let job = unsafe { &*header.cast::<Self>() };
        // SAFETY: whoever has taken the job alone can reach its body.
        let closure = unsafe { job.closure() };
        let result = catch_unwind(AssertUnwindSafe(|| closure(scope)));
        let result = ManuallyDrop::new(result);
        // SAFETY: as above; the closure is gone.
        unsafe { job.body.get().write(Body { result }) };
    }
}

impl Header {
    /// Marks a job as offered, with its offer.
    ///
    /// # Safety
    /// Once, by the owner, who has taken it off its list.
    pub(super) unsafe fn set_offered(&self, offered: Offered) -> &Offer {
        self.link.prev.set(OFFERED);
        // SAFETY: nobody else knows of the job yet.
        unsafe { &(*self.offered.get()).write(offered).offer }
    }

    /// The offer of a job that has been offered.
    ///
    /// # Safety
    /// It has been.
    pub(super) unsafe fn offered(&self) -> &Offered {
        // SAFETY: written by `set_offered`, and only read since.
        unsafe { (*self.offered.get()).assume_init_ref() }
    }

    /// Runs the job: see [`Job::run`].
    ///
    /// # Safety
    /// As for that.
    pub(super) unsafe fn run(this: *const Header, scope: &Scope) {
        // SAFETY: passed on.
        unsafe { ((*this).run)(this, scope) };
    }
}
