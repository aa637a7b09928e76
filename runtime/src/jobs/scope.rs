//! `Scope`: a thread's list of noted jobs, and `join` on it.

use core::cell::Cell;
use core::ptr;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use lisle_lwp::shim::{AtomicU32, Ordering};

use super::job::{Header, Job, Link, OFFERED, Offered};
use super::offers::Offer;
use super::pace::Pace;
use crate::current::me;
use crate::runtime::{self, Shared};
use crate::sched::Entry;
use crate::thread::helper;
use crate::{cancel, fork};

/// What a thread watches before it knows better: it has to look closer.
static UNKNOWN: AtomicU32 = AtomicU32::new(1);
/// What a thread watches that nobody could help.
static NOBODY: AtomicU32 = AtomicU32::new(0);

/// The calling thread, as [`Scope::join`] wants to know it: see [`scope`].
///
/// A scope cannot leave its thread:
///
/// ```compile_fail,E0277
/// # use lisle_runtime as lisle;
/// lisle::jobs::scope(|s| {
///     std::thread::scope(|threads| threads.spawn(|| s.join(|_| (), |_| ())).join())
/// });
/// ```
//
// Part of a control block. Only the thread itself touches it, but for `task`.
#[repr(C)]
pub struct Scope {
    /// The youngest noted job, or `end`.
    tail: Cell<*const Link>,
    /// The oldest one's elder: its `next` is the oldest, if there is any.
    end: Link,
    /// Not zero if an LWP of the runtime is idle, or if that is to be found out.
    watch: Cell<*const AtomicU32>,
    /// The runtime to which the thread offers jobs.
    helpers: Cell<*const Shared>,
    pace: Pace,
    /// The job for which the thread, a helper, was made. Written by the LWP that
    /// made it.
    task: Cell<*const Header>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl Scope {
    pub(crate) const fn blank() -> Scope {
        Scope {
            tail: Cell::new(ptr::null()),
            end: Link::new(ptr::null()),
            watch: Cell::new(ptr::null()),
            helpers: Cell::new(ptr::null()),
            pace: Pace::new(),
            task: Cell::new(ptr::null()),
        }
    }

    /// Prepares for the next thread. The caller owns the control block, which
    /// stays where it is.
    pub(crate) fn reset(&self) {
        self.tail.set(&raw const self.end);
        self.forget_helpers();
    }

    /// The thread's runtime is not what it was.
    pub(crate) fn forget_helpers(&self) {
        self.watch.set(&raw const UNKNOWN);
    }

    /// Whether no job is noted.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        ptr::eq(self.tail.get(), &raw const self.end)
    }

    /// Runs both closures, perhaps in parallel, and returns their results: see
    /// [`join`](fn@super::join), which has the same semantics. The closures get the scope of
    /// the thread that runs them.
    ///
    /// ```
    /// # use lisle_runtime as lisle;
    /// use lisle::jobs::{self, Scope};
    ///
    /// fn fib(s: &Scope, n: u32) -> u64 {
    ///     if n < 2 {
    ///         return n.into();
    ///     }
    ///     let (a, b) = s.join(|s| fib(s, n - 1), |s| fib(s, n - 2));
    ///     a + b
    /// }
    /// assert_eq!(jobs::scope(|s| fib(s, 20)), 6765);
    /// ```
    #[inline]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&Scope) -> RA + Send,
        B: FnOnce(&Scope) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        let job = Job::new(b, self.tail.get());
        let link = job.header().cast::<Link>();
        // SAFETY: the youngest job, or the list's end, is in place.
        unsafe { (*self.tail.get()).next.set(link) };
        self.tail.set(link);
        self.look_round();
        let ra = catch_unwind(AssertUnwindSafe(|| a(self)));
        // SAFETY: ours.
        let prev = unsafe { (*link).prev.get() };
        match ra {
            Ok(ra) if !ptr::eq(prev, OFFERED) => {
                // All younger jobs are gone, so it is the youngest.
                self.tail.set(prev);
                self.look_round();
                // SAFETY: it was noted until now, so nobody else has taken it.
                let b = unsafe { job.closure() };
                (ra, b(self))
            }
            ra => self.settle(ra, &job),
        }
    }

    /// The rest of a join whose first closure has panicked, or whose job has
    /// been offered.
    #[cold]
    #[inline(never)]
    fn settle<B, RA, RB>(&self, ra: thread::Result<RA>, job: &Job<B, RB>) -> (RA, RB)
    where
        B: FnOnce(&Scope) -> RB + Send,
        RB: Send,
    {
        // SAFETY: the job is in place, its owner the calling thread.
        let rb = match unsafe { self.take_back(job.header()) } {
            Ok(()) => {
                // SAFETY: nobody else will.
                let b = unsafe { job.closure() };
                catch_unwind(AssertUnwindSafe(|| b(self)))
            }
            Err(Gone::Ran) => {
                // SAFETY: the helper has ended.
                unsafe { job.result() }
            }
            Err(Gone::Forked) => Err(Box::new(crate::thread::ForkedError) as _),
        };
        // What is not returned is dropped while unwinding.
        match (ra, rb) {
            (Ok(ra), Ok(rb)) => (ra, rb),
            (Err(payload), _rb) => cancel::resume_unwind(payload),
            (Ok(_ra), Err(payload)) => cancel::resume_unwind(payload),
        }
    }

    /// Makes sure that nobody else will run a job: takes it off the list, or
    /// withdraws its offer, or waits until it has run.
    ///
    /// # Safety
    /// The job is in place, and its owner the calling thread, on which all
    /// younger jobs are gone.
    unsafe fn take_back(&self, job: *const Header) -> Result<(), Gone> {
        // SAFETY: passed on.
        unsafe {
            let prev = (*job).link.prev.get();
            if !ptr::eq(prev, OFFERED) {
                self.tail.set(prev);
                return Ok(());
            }
            let Offered { offer, to } = (*job).offered();
            let to = &**to;
            if to.generation != fork::generation() {
                // Its runtime stayed behind, perhaps in the middle of taking it.
                return match offer.thief_before_fork() {
                    None => Ok(()),
                    Some(_) => Err(Gone::Forked),
                };
            }
            let thief = {
                let _entry = Entry::new();
                to.offers.withdraw(offer)
            };
            match thief {
                None => Ok(()),
                Some(thief) => {
                    helper::join(thief);
                    Err(Gone::Ran)
                }
            }
        }
    }

    /// Offers a job if an LWP is idle.
    #[inline(always)]
    fn look_round(&self) {
        // SAFETY: a static word, or one of a runtime that outlives its use here:
        // see `find_helpers`.
        if unsafe { (*self.watch.get()).load(Ordering::Relaxed) } != 0 {
            self.share();
        }
    }

    /// Offers the oldest job if there is one, somebody to run it, and it is time.
    #[cold]
    #[inline(never)]
    fn share(&self) {
        if self.is_empty() {
            return;
        }
        let Some(helpers) = self.helpers() else {
            return;
        };
        if !self.pace.is_patient() {
            return;
        }
        let (searching, asleep) = helpers.sleepers.idle();
        if helpers.offers.len() >= searching + asleep {
            return;
        }
        if self.pace.pay(helpers.clock.now(), searching > 0) {
            self.offer_oldest(helpers);
            helpers.announce();
        }
    }

    /// The thread is about to wait: offers all noted jobs.
    #[inline(always)]
    pub(crate) fn before_wait(&self) {
        if !self.is_empty() {
            self.offer_all();
        }
    }

    #[cold]
    #[inline(never)]
    fn offer_all(&self) {
        let Some(helpers) = self.helpers() else {
            return;
        };
        while !self.is_empty() {
            self.offer_oldest(helpers);
        }
        helpers.announce();
    }

    /// Offers the oldest of the noted jobs. There is one.
    fn offer_oldest(&self, helpers: &Shared) {
        let oldest = self.end.next.get();
        let job = oldest.cast::<Header>();
        // SAFETY: a noted job is in place, and so are its neighbours; the link is
        // its first part, and the pointer good for all of it. It will be
        // withdrawn from the same runtime.
        unsafe {
            if ptr::eq(oldest, self.tail.get()) {
                self.tail.set(&raw const self.end);
            } else {
                let next = (*oldest).next.get();
                self.end.next.set(next);
                (*next).prev.set(&raw const self.end);
            }
            let offer = (*job).set_offered(Offered {
                offer: Offer::new(job.cast(), me(), self.pace.paid()),
                to: helpers,
            });
            let _entry = Entry::new();
            helpers.offers.push(offer);
        }
    }

    /// The runtime whose LWPs may help.
    fn helpers(&self) -> Option<&Shared> {
        if ptr::eq(self.watch.get(), &raw const UNKNOWN) {
            return self.find_helpers();
        }
        // SAFETY: see `find_helpers`.
        let helpers = unsafe { self.helpers.get().as_ref() }?;
        if helpers.is_stopping() {
            return self.find_helpers();
        }
        Some(helpers)
    }

    /// A user thread's runtime outlives it. A kernel thread offers to the default
    /// runtime, and that is never freed.
    fn find_helpers(&self) -> Option<&Shared> {
        // SAFETY: as the document says.
        let own = unsafe { me().shared.load(Ordering::Relaxed).as_ref() };
        let found = match own {
            Some(own) => Some(ptr::from_ref(own)),
            None => runtime::current()
                .ok()
                .map(|shared| ptr::from_ref(&*shared)),
        };
        // SAFETY: as above.
        let found = found.map(|shared| unsafe { &*shared });
        let found = found.filter(|shared| !shared.is_stopping());
        let found = found.filter(|_| crate::thread::full_threads().is_ok());
        match found {
            Some(shared) => self.set_helpers(shared, 0),
            None => {
                self.helpers.set(ptr::null());
                self.watch.set(&raw const NOBODY);
            }
        }
        found
    }

    fn set_helpers(&self, shared: &Shared, pace: u64) {
        self.helpers.set(shared);
        self.watch.set(shared.sleepers.watch());
        self.pace.begin(pace);
    }

    /// Makes the thread, a helper of this runtime, run a job that was offered.
    ///
    /// # Safety
    /// The thread has not begun, and has been named in the offer.
    pub(super) unsafe fn assign(&self, offer: &Offer, shared: &Shared) {
        self.set_helpers(shared, offer.pace);
        self.task.set(offer.job.cast());
    }

    /// The body of a helper.
    pub(super) fn run_task() {
        let scope = &me().jobs;
        let job = scope.task.replace(ptr::null());
        // SAFETY: the helper was made for a job that it has taken.
        unsafe { Header::run(job, scope) };
    }
}

/// Why a job is not its owner's any more.
enum Gone {
    /// A helper has run it.
    Ran,
    /// A helper has it that exists only in the process that forked this one.
    Forked,
}

/// Gives the calling thread's [`Scope`] to a closure: [`Scope::join`] need not
/// look for the calling thread, which makes it cheaper than
/// [`join`](fn@super::join).
#[inline]
pub fn scope<R>(f: impl FnOnce(&Scope) -> R) -> R {
    f(&me().jobs)
}
