//! The context switch for checkers: every context is a kernel thread, a switch passes a baton.
//!
//! ```text
//!   switch(&mut mine, to, arg)                 the kernel thread of `to`
//!     mine = address of my baton                 asleep on its baton
//!     put arg on `to`'s baton, notify   ------>  wakes, returns arg (or calls entry)
//!     sleep on my baton
//! ```
//!
//! Exactly one of the kernel threads tied together this way runs at a time; passing the baton
//! (Release, Acquire) orders everything one did before the switch before everything the other does
//! after it, as program order does in the native backend.
//!
//! # What differs from the native backends
//! - Each context has a kernel thread of its own, made by [`init`], and therefore thread-locals, an
//!   `errno`, a signal mask and a thread id of its own. The memory below `top` is not used.
//! - A kernel thread ends when its context calls [`switch_final`], thread-local destructors
//!   included. A context that is never resumed stays asleep until the process ends. Miri, which
//!   cannot run the jump described below, leaves every context asleep: give it
//!   `-Zmiri-ignore-leaks`.
//! - `init` panics if the system refuses a kernel thread: the native one cannot fail, so callers
//!   have no error path.
//!
//! # How a kernel thread ends
//! `switch_final` is called in the middle of frames that will never be returned to, and `entry` has
//! an ABI that must not be unwound through. So the base of the kernel thread runs `entry` by a
//! *native* switch to a frame a little lower on the same stack, and `switch_final` switches
//! natively back to the base, which returns through the standard library.
//!
//! # Rejected
//! A raw `exit` system call (skips destructors, unknown to ThreadSanitizer); `pthread_exit`
//! (unwinds through `entry`); std's mutex and condition variable as the baton (ThreadSanitizer does
//! not see the lock that an uninstrumented std takes).

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a context of this backend is a kernel thread, so what belongs to kernel threads is right here"
)]

use std::cell::Cell;

use super::{Context, Entry};
use crate::shim::{AtomicU32, AtomicUsize, Ordering};
use crate::sys;

/// Where the kernel thread of a suspended context sleeps. It is that thread's own.
struct Baton {
    arg: AtomicUsize,
    /// 0, then 1 once and for all.
    passed: AtomicU32,
}

impl Baton {
    fn new() -> Self {
        Baton {
            arg: AtomicUsize::new(0),
            passed: AtomicU32::new(0),
        }
    }

    fn context(this: *const Baton) -> Context {
        Context(this.expose_provenance())
    }

    /// # Safety
    /// `to` came from `context` of a baton that nobody has passed yet.
    unsafe fn pass(to: Context, arg: usize) {
        let baton = std::ptr::with_exposed_provenance::<Baton>(to.0);
        // SAFETY: the baton lives until its owner sees it passed.
        let passed = unsafe { &raw const (*baton).passed };
        // SAFETY: as above.
        let before = unsafe {
            (*baton).arg.store(arg, Ordering::Relaxed);
            // Hands everything done so far to the owner; pairs with the Acquire in `wait`.
            (*passed).swap(1, Ordering::Release)
        };
        assert_eq!(before, 0, "context resumed twice");
        // The baton may be gone by now; its address is only a key. The kernel always does it.
        let _ = sys::futex_wake(passed, 1);
    }

    fn wait(&self) -> usize {
        // Pairs with the Release in `pass`.
        while self.passed.load(Ordering::Acquire) == 0 {
            // Any error, and any early return, means: look again.
            let _ = sys::futex_wait(&self.passed, 0, None);
        }
        self.arg.load(Ordering::Relaxed)
    }
}

/// What the kernel thread of a new context is to do, and where it waits until it may.
struct Start {
    baton: Baton,
    entry: Entry,
    data: *mut (),
}

/// The same, when it may.
struct Job {
    entry: Entry,
    data: *mut (),
    arg: usize,
}

/// Starts the kernel thread of a new context; the first switch to it calls `entry(arg, data)`.
///
/// # Panics
/// If the system refuses a kernel thread.
///
/// # Safety
/// As for the native `init`; `top` is not used.
#[must_use]
pub unsafe fn init(_top: *mut u8, entry: Entry, data: *mut ()) -> Context {
    let start = Box::into_raw(Box::new(Start {
        baton: Baton::new(),
        entry,
        data,
    }));
    // SAFETY: it lives until the baton is passed.
    let context = Baton::context(unsafe { &raw const (*start).baton });
    let address = start.expose_provenance();
    let body = move || {
        let start = std::ptr::with_exposed_provenance_mut::<Start>(address);
        // SAFETY: made above and used by this thread alone, but for passing the baton; `pass` is
        // done with it when `wait` returns.
        let (arg, start) = unsafe { ((*start).baton.wait(), Box::from_raw(start)) };
        let job = Job {
            entry: start.entry,
            data: start.data,
            arg,
        };
        drop(start);
        run(job);
    };
    std::thread::Builder::new()
        .name("lisle-model-context".into())
        .spawn(body)
        .expect("the model needs a kernel thread for each context");
    context
}

/// Passes the baton to `to` and sleeps until somebody passes one back; returns the `arg` they
/// passed.
///
/// # Safety
/// As for the native `switch`.
#[inline(never)]
pub unsafe fn switch(save: *mut Context, to: Context, arg: usize) -> usize {
    let mine = Baton::new();
    // SAFETY: `save` is writable and `to` is suspended, by contract.
    unsafe {
        save.write(Baton::context(&raw const mine));
        Baton::pass(to, arg);
    }
    mine.wait()
}

/// Passes the baton to `to` and ends the kernel thread of the running context.
///
/// On a kernel thread that [`init`] did not make (the caller's own), it sleeps for ever instead.
///
/// # Safety
/// As for the native `switch_final`.
pub unsafe fn switch_final(to: Context, arg: usize) -> ! {
    // SAFETY: `to` is suspended, by contract.
    unsafe { Baton::pass(to, arg) };
    leave()
}

/// A context is a kernel thread here: its registers are nowhere to be read.
///
/// # Safety
/// None is needed; the native ones ask for more.
pub unsafe fn registers(_of: Context) -> super::Registers {
    super::Registers {
        pc: 0,
        sp: 0,
        fp: 0,
    }
}

/// Models have no caches.
#[inline(always)]
pub fn prefetch(_address: usize) {}

thread_local! {
    /// The native context at the base of a kernel thread made by `init`, while its `entry` runs.
    static BASE: Cell<Context> = const { Cell::new(Context::EMPTY) };
}

#[cfg(not(miri))]
#[inline(never)]
fn run(mut job: Job) {
    use super::native;

    /// More than the rest of this function's frame and of the switch; less than a guard page, so
    /// that no page is skipped.
    const CLEARANCE: usize = 2048;

    unsafe extern "C" fn bridge(base: usize, job: *mut ()) -> ! {
        // SAFETY: the switch below passes both; the base and its job outlive this context.
        let (job, base) = unsafe { (&*job.cast::<Job>(), *(base as *const Context)) };
        BASE.set(base);
        // SAFETY: `init`'s contract.
        unsafe { (job.entry)(job.arg, job.data) }
    }

    let mut base = Context::EMPTY;
    let here = (&raw mut base).cast::<u8>();
    let top = here.wrapping_sub(CLEARANCE + here as usize % 16);
    // SAFETY: the stack below this frame is free and stays so while the base is suspended; nothing
    // between the frame and `top` is used by the switch, which needs 32 bytes below the stack
    // pointer. `leave` resumes the base once.
    unsafe {
        let ctx = native::init(top, bridge, (&raw mut job).cast());
        native::switch(&raw mut base, ctx, &raw const base as usize);
    }
}

#[cfg(not(miri))]
fn leave() -> ! {
    let base = BASE.replace(Context::EMPTY);
    if base.is_empty() {
        sleep_for_ever();
    }
    // SAFETY: `bridge` stored the context of the base of this very kernel thread, and taking it
    // made this the only use.
    unsafe { super::native::switch_final(base, 0) }
}

#[cfg(miri)]
fn run(job: Job) {
    // SAFETY: `init`'s contract.
    unsafe { (job.entry)(job.arg, job.data) }
}

#[cfg(miri)]
fn leave() -> ! {
    let _ = BASE.get();
    sleep_for_ever()
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}
