//! A thread says that it is going to block.

use crate::sched;

/// Runs `f`, which may block in the kernel, and lets other threads use the LWP
/// meanwhile: for calls that lisle does not know. Without it the call is noticed,
/// too, but later.
///
/// Costs a few nanoseconds if nobody takes the LWP. If somebody has, the thread
/// waits for an LWP when `f` has returned, and may go on on another kernel
/// thread; under [`spawn_light`]'s contract this is a call that waits. Not a
/// cancellation point. On a plain kernel thread it just calls `f`.
///
/// The announcement lasts until `f` returns or calls into lisle, if only by a
/// nested `blocking`; what blocks after that is noticed as if nothing had been
/// said.
///
/// ```
/// # use lisle_runtime as lisle;
/// let text = lisle::blocking(|| std::fs::read_to_string("Cargo.toml"))?;
/// assert!(text.contains("[package]"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`spawn_light`]: crate::thread::Builder::spawn_light
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    /// Comes back also if `f` unwinds.
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            sched::come_back();
        }
    }
    sched::offer_own_lwp();
    let _back = Back;
    f()
}
