//! Cancellation, as POSIX has it.
//!
//! [`Thread::cancel`](crate::thread::Thread::cancel) asks a thread to end. The
//! request is delivered at the thread's next call that may wait indefinitely
//! (receive, P, condition wait, sleep, I/O, join, park; not `lock`), by
//! unwinding with the payload [`Cancelled`], which prints nothing and which
//! `join` reports. It is masked while the thread unwinds and inside [`shield`].
//! The request is sticky: a thread that catches the unwinding is cancelled again
//! at its next such call. Loops that never wait use [`checkpoint`] or
//! [`is_cancelled`]. Under `panic = "abort"` nothing is delivered; only those
//! two see the request.
//!
//! Cancelling is not panicking: it poisons no primitive of lisle's. A
//! `std::sync::Mutex` whose guard it unwinds through is poisoned, because std
//! cannot tell the difference. Who catches the payload and wants to pass it on uses
//! [`resume_unwind`]: std's function would make a panic of it.

use core::fmt;

#[cfg(not(lisle_loom))]
use lisle_lwp::shim::AtomicUsize;
use lisle_lwp::shim::Ordering;

use crate::current::me;
use crate::tcb::Tcb;

/// The payload with which a cancelled thread unwinds.
///
/// `join` returns it as the error of a cancelled thread:
/// `payload.is::<Cancelled>()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread was cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// Whether the calling thread has been cancelled, shielded or not.
pub fn is_cancelled() -> bool {
    me().wait.is_cancelled()
}

/// A point at which a cancel is delivered, for loops that never wait.
///
/// # Panics
/// Unwinds with [`Cancelled`] if the calling thread is cancelled and neither
/// shielded nor unwinding already.
pub fn checkpoint() {
    let me = me();
    if me.wait.is_cancelled() && is_deliverable(me) {
        deliver();
    }
}

/// Runs `f` with cancellation masked: calls in it that wait are not interrupted.
/// Shields nest. A cancel that came meanwhile is delivered at the first such
/// call after the outermost shield.
pub fn shield<R>(f: impl FnOnce() -> R) -> R {
    struct Raised(&'static Tcb);
    impl Drop for Raised {
        fn drop(&mut self) {
            self.0.shields.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let me = me();
    me.shields.fetch_add(1, Ordering::Relaxed);
    let _raised = Raised(me);
    f()
}

/// Unwinds the calling thread with [`Cancelled`]. For primitives, after they
/// have cleaned up a wait that ended with a cancel.
#[cold]
pub fn deliver() -> ! {
    resume_unwind(Box::new(Cancelled))
}

/// As `std::panic::resume_unwind`; if the payload is [`Cancelled`], that is a
/// cancel and poisons nothing. For who has caught a payload, or joined with one.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::{cancel, thread};
/// let thread = thread::spawn(|| {
///     let waits = || thread::park();
///     std::panic::catch_unwind(waits).unwrap_or_else(|payload| {
///         // Whatever must be done whichever way it ended.
///         cancel::resume_unwind(payload)
///     });
/// });
/// thread.thread().cancel();
/// assert!(thread.join().unwrap_err().is::<cancel::Cancelled>());
/// ```
#[cold]
pub fn resume_unwind(payload: Box<dyn core::any::Any + Send>) -> ! {
    mark(me(), payload.is::<Cancelled>());
    std::panic::resume_unwind(payload)
}

/// How many threads unwind because of a cancel, or have caught that and not come by
/// here since. Relaxed: a thread's own mark counts before it looks.
#[cfg(not(lisle_loom))]
static MARKED: AtomicUsize = AtomicUsize::new(0);

/// Marks the calling thread as one that is unwound by a cancel, or not.
fn mark(me: &Tcb, cancelling: bool) {
    let before = me.cancelling.load(Ordering::Relaxed) != 0;
    me.cancelling.store(u8::from(cancelling), Ordering::Relaxed);
    #[cfg(not(lisle_loom))]
    if before != cancelling {
        let change = if cancelling { 1 } else { usize::MAX };
        MARKED.fetch_add(change, Ordering::Relaxed);
    }
    #[cfg(lisle_loom)]
    if before != cancelling {
        crate::model::has_cancels();
    }
}

/// The thread does not unwind: whoever caught an earlier delivery has stopped it.
#[inline]
pub(crate) fn caught(me: &Tcb) {
    if me.cancelling.load(Ordering::Relaxed) != 0 {
        mark(me, false);
    }
}

/// Whether the calling thread unwinds because of a panic, rather than a cancel.
/// For primitives that poison.
///
/// Inlined: std looks at a count of the whole process first, and at the
/// thread-local only if that is not zero, in a function that it never inlines. As
/// here.
#[inline]
pub fn panicking() -> bool {
    if std::thread::panicking() {
        #[cfg(lisle_loom)]
        if crate::model::is_cancelled() {
            return false;
        }
        return !is_cancelling();
    }
    #[cfg(not(lisle_loom))]
    if MARKED.load(Ordering::Relaxed) != 0 {
        forget();
    }
    false
}

/// A panic from here on is one.
#[cfg(not(lisle_loom))]
#[cold]
#[inline(never)]
fn forget() {
    caught(me());
}

#[cold]
fn is_cancelling() -> bool {
    me().cancelling.load(Ordering::Relaxed) != 0
}

/// Whether a cancel would be delivered to the calling thread `me` now.
pub(crate) fn is_deliverable(me: &Tcb) -> bool {
    !is_unwinding() && is_deliverable_to(me)
}

/// As [`is_deliverable`], for a thread that does not unwind.
#[inline]
pub(crate) fn is_deliverable_to(me: &Tcb) -> bool {
    caught(me);
    cfg!(panic = "unwind") && me.shields.load(Ordering::Relaxed) == 0
}

/// Whether the calling thread unwinds. Never inlined: the panic count is a
/// thread-local.
#[inline(never)]
pub(crate) fn is_unwinding() -> bool {
    unwinds()
}

/// As [`is_unwinding`], inlined.
#[inline(always)]
pub(crate) fn unwinds() -> bool {
    #[cfg(lisle_loom)]
    if crate::model::is_cancelled() {
        return std::thread::panicking() && is_cancelling();
    }
    std::thread::panicking()
}
