//! `Once`: something that happens once, with std's names and behaviour.
//!
//! | state | meaning |
//! |---|---|
//! | `INCOMPLETE` | nobody has begun, or a cancel undid the beginning |
//! | `POISONED` | whoever began has panicked |
//! | `RUNNING` | somebody is at it |
//! | `COMPLETE` | done; the last state |
//! | `+ AWAITED` | somebody waits in the lot for the state to change |
//!
//! *Protocol*. Who changes `INCOMPLETE` (or `POISONED`, if it does not mind) to
//! `RUNNING` does it; all others wait. A waiter sets `AWAITED` and enqueues under the
//! lot's lock. Whoever is done swaps in the next state and, if it swapped out
//! `AWAITED`, wakes all. *No lost wake-up*: setting `AWAITED` and swapping are
//! read-modify-writes of one word, so either the waiter sees the end, or the end
//! sees the waiter, which is in the lot when the lot's lock is free.
//!
//! *Ordering*: the ending swap (Release) pairs with every look (Acquire).

pub(crate) mod lazy_lock;
pub(crate) mod once_lock;

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use lisle_lwp::shim::{AtomicU32, Ordering};
use lisle_runtime::wait::lot::{self, Waiter};
use lisle_runtime::wait::{self, Outcome, Reason};
use lisle_runtime::{cancel, time};

const INCOMPLETE: u32 = 0;
const POISONED: u32 = 1;
const RUNNING: u32 = 2;
const COMPLETE: u32 = 3;
const AWAITED: u32 = 4;

static REASON: Reason = Reason::new("once");

/// Something that happens once, as `std::sync::Once`.
///
/// *Poison*: if the closure panics, later calls panic, but for the `force` forms. If
/// it is cancelled, it is as if it had never been called. *Cancellation*: the calls
/// are no cancellation points; [`Once::wait`] is. *Recursion*: a closure that calls
/// its own `Once` waits for ever. *Size*: four bytes.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Once;
/// static START: Once = Once::new();
/// START.call_once(|| println!("once"));
/// START.call_once(|| unreachable!());
/// assert!(START.is_completed());
/// ```
pub struct Once {
    word: AtomicU32,
}

impl UnwindSafe for Once {}
impl RefUnwindSafe for Once {}

/// What a closure of [`Once::call_once_force`] is told.
#[derive(Debug)]
pub struct OnceState {
    poisoned: bool,
}

impl OnceState {
    /// Whether an earlier closure panicked.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }
}

impl Once {
    lisle_lwp::const_unless_loom! {
        /// Something that has not happened yet.
        pub fn new() -> Once {
            Once { word: AtomicU32::new(INCOMPLETE) }
        }
    }

    /// Calls the closure, unless one has been called; returns when one has, by
    /// whomever.
    ///
    /// # Panics
    /// If the closure panics, or an earlier one has.
    #[inline]
    #[track_caller]
    pub fn call_once<F: FnOnce()>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(false, &mut |_| (f.take().expect("called once"))());
        }
    }

    /// As [`Once::call_once`], also if an earlier closure has panicked.
    ///
    /// # Panics
    /// If the closure panics.
    #[inline]
    #[track_caller]
    pub fn call_once_force<F: FnOnce(&OnceState)>(&self, f: F) {
        if !self.is_completed() {
            let mut f = Some(f);
            self.call(true, &mut |state| (f.take().expect("called once"))(state));
        }
    }

    /// Whether a closure has been called and has returned.
    #[inline]
    pub fn is_completed(&self) -> bool {
        // Acquire: pairs with the Release of `End`.
        self.word.load(Ordering::Acquire) == COMPLETE
    }

    /// Waits until it has happened, by somebody else. A cancellation point.
    ///
    /// # Panics
    /// If a closure has panicked.
    #[track_caller]
    pub fn wait(&self) {
        self.wait_until(false, None);
    }

    /// As [`Once::wait`], through panics of closures. A cancellation point.
    pub fn wait_force(&self) {
        self.wait_until(true, None);
    }

    /// As [`Once::wait`], at most this long; returns whether it has happened. A
    /// cancellation point.
    ///
    /// # Panics
    /// If a closure has panicked.
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(false, time::now().checked_add(timeout))
    }

    /// As [`Once::wait_timeout`], until the deadline.
    ///
    /// # Panics
    /// If a closure has panicked.
    #[track_caller]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.wait_until(false, Some(deadline))
    }

    /// As [`Once::wait_force`], at most this long; returns whether it has happened. A
    /// cancellation point.
    pub fn wait_force_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(true, time::now().checked_add(timeout))
    }

    /// As [`Once::wait_force_timeout`], until the deadline.
    pub fn wait_force_deadline(&self, deadline: Instant) -> bool {
        self.wait_until(true, Some(deadline))
    }

    #[cold]
    #[track_caller]
    fn call(&self, force: bool, f: &mut dyn FnMut(&OnceState)) {
        loop {
            // Acquire: pairs with the Release of `End`.
            let word = self.word.load(Ordering::Acquire);
            match word & !AWAITED {
                COMPLETE => return,
                POISONED if !force => poisoned(),
                RUNNING => {
                    self.await_change(RUNNING, None, false);
                }
                before => {
                    let running = word & AWAITED | RUNNING;
                    // Acquire: what an earlier closure did.
                    let begun = self.word.compare_exchange_weak(
                        word,
                        running,
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    );
                    if begun.is_ok() {
                        return self.run(before == POISONED, f);
                    }
                }
            }
        }
    }

    fn run(&self, poisoned: bool, f: &mut dyn FnMut(&OnceState)) {
        // A cancel that was caught before is not what ends the closure.
        cancel::panicking();
        let mut end = End {
            once: self,
            returned: false,
        };
        f(&OnceState { poisoned });
        end.returned = true;
    }

    #[track_caller]
    fn wait_until(&self, force: bool, deadline: Option<Instant>) -> bool {
        loop {
            // Acquire: pairs with the Release of `End`.
            let state = self.word.load(Ordering::Acquire) & !AWAITED;
            match state {
                COMPLETE => return true,
                POISONED if !force => poisoned(),
                _ => match self.await_change(state, deadline, true) {
                    Outcome::TimedOut => return self.is_completed(),
                    Outcome::Cancelled => cancel::deliver(),
                    _ => {}
                },
            }
        }
    }

    /// Waits until the state has changed from this one, by somebody who is at it or
    /// will be.
    fn await_change(&self, state: u32, deadline: Option<Instant>, cancellable: bool) -> Outcome {
        let Ok(wait) = wait::begin(&REASON, self.address(), cancellable) else {
            return Outcome::Cancelled;
        };
        let waiter = Waiter::new(&wait, self.address(), 0);
        if !self.enqueue(state, &waiter) {
            let _ = wait.abandon();
            return Outcome::Abandoned;
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: pushed to this bucket.
            unsafe { lot::lock(self.address()).remove(&waiter) };
        }
        outcome
    }

    /// Waits in the lot; `false` if the state is another one already.
    fn enqueue(&self, state: u32, waiter: &Waiter) -> bool {
        let mut bucket = lot::lock(self.address());
        let mut word = self.word.load(Ordering::Relaxed);
        while word & !AWAITED == state {
            // Relaxed: the bit says who waits, and guards nothing.
            match self.word.compare_exchange_weak(
                word,
                word | AWAITED,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    // SAFETY: the waiter blocks until it is popped, or removes
                    // itself.
                    unsafe { bucket.push_back(waiter) };
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Ends the run of a closure, also if that unwinds.
struct End<'a> {
    once: &'a Once,
    returned: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let next = if self.returned {
            COMPLETE
        } else if cancel::panicking() {
            POISONED
        } else {
            // A cancel: as if the closure had never been called.
            INCOMPLETE
        };
        let word = &self.once.word;
        // Release: what the closure did; pairs with the Acquire of every look.
        if word.swap(next, Ordering::Release) & AWAITED != 0 {
            let mut bucket = lot::lock(self.once.address());
            // SAFETY: we hold the lock and forget each node once woken.
            while let Some(waiter) = unsafe { bucket.pop(self.once.address()) } {
                bucket.wake(waiter.key());
            }
        }
    }
}

#[cold]
#[track_caller]
fn poisoned() -> ! {
    panic!("Once instance has previously been poisoned")
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}
