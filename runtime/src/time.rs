//! Time for threads: `now`, sleeping, deadlines.

use std::time::Instant;

use lisle_lwp::shim::Ordering;

use crate::cancel;
use crate::clock;
use crate::sched::timers::Timer;
use crate::tcb::Tcb;
use crate::wait::{self, Outcome, Reason, WaitKey};

static SLEEPING: Reason = Reason::new("sleep");

/// Now. On a thread of a seeded runtime, virtual: use it instead of
/// [`Instant::now`] where deadlines are computed.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::time::Duration;
/// let before = lisle::time::now();
/// lisle::thread::sleep(Duration::from_millis(1));
/// assert!(lisle::time::now() >= before + Duration::from_millis(1));
/// ```
pub fn now() -> Instant {
    let own = crate::sched::running().map(|me| me.shared.load(Ordering::Relaxed));
    // SAFETY: a runtime outlives its threads.
    match own.and_then(|shared| unsafe { shared.as_ref() }) {
        Some(shared) => shared.clock.instant(),
        None => Instant::now(),
    }
}

/// Blocks the calling thread until the deadline. A cancellation point.
pub fn sleep_until(deadline: Instant) {
    // Also if the deadline has passed: a loop of short sleeps can be cancelled.
    cancel::checkpoint();
    while now() < deadline {
        let Ok(wait) = wait::begin(&SLEEPING, 0, true) else {
            cancel::deliver()
        };
        if wait.block(Some(deadline)) == Outcome::Cancelled {
            cancel::deliver();
        }
    }
}

/// Runs `body`, in which `thread` waits, with a deadline set that fires `key`.
pub(crate) fn with_timer<R>(
    thread: &'static Tcb,
    deadline: Instant,
    key: WaitKey,
    body: impl FnOnce() -> R,
) -> R {
    // SAFETY: a runtime outlives its threads.
    let shared = unsafe { &*thread.shared.load(Ordering::Relaxed) };
    // SAFETY: LWPs outlive what they run.
    let lwp = unsafe { thread.lwp.load(Ordering::Relaxed).as_ref() };
    // A thread off its LWP sets its deadline on any.
    let timers = &lwp.unwrap_or(&shared.lwps[0]).timers;
    let timer = Timer::new(clock::nanos(deadline), key);
    let due = clock::nanos(deadline);
    thread.set_until(key.epoch_number(), due);
    let earliest = {
        let _entry = crate::Entry::new();
        // SAFETY: removed below, before the frame goes; `body` does not unwind.
        unsafe { timers.insert(&timer) }
    };
    if earliest {
        shared.reactor.deadline_set(due);
    }
    if lwp.is_none() && shared.clock.is_virtual() {
        // The LWP may sleep already, and not in the poller: time jumps to the
        // deadline only if it looks again.
        shared.announce();
    }
    let result = body();
    let _entry = crate::Entry::new();
    timers.remove(&timer);
    result
}
