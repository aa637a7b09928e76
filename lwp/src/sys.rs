//! The system calls of the workspace that can fail in a way that matters go through here, so that a
//! test can make each of them fail. The others stand in `ci/calls.txt`, with reasons: whoever makes a
//! new one puts it here or there (`ci/lint.sh`).
//!
//! Two shapes: thin wrappers over libc for the calls the runtime makes itself, and [`guarded`]
//! around the calls it makes through other crates (starting a kernel thread, a poller, sockets).
//! Both ask the `fault` layer first, under the *call site* (`#[track_caller]`): one place in the
//! source is one thing that can fail. Without the feature `faults` the question compiles to
//! nothing.
//!
//! Errors are plain `io::Error`s made from `errno`; making one does not allocate. No wrapper
//! retries: EINTR is the caller's to judge.

mod call;
#[cfg(any(test, feature = "faults"))]
pub mod fault;
mod memory;
mod signal;
mod thread;

pub use call::Call;
pub use memory::{
    Advice, copy_own_memory, madvise, mincore, mmap_reserve, mprotect_none, munmap, page_size,
    thread_stack_min,
};
pub use signal::{
    kernel_can_read, min_sig_stack, set_signal_mask, sigaction, sigaltstack, signal_mask, tgkill,
};
pub use thread::{
    KernelCall, KernelState, allowed_cpus, bears_a_signal, become_idle_on, call_name,
    configured_cpus, cpu_time_of, hurry, kernel_call_of, kernel_state_of, may_choose_policy,
    set_thread_name,
};

use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;
use core::time::Duration;
use std::io;

use crate::shim::AtomicU32;

/// Asks the fault layer whether the caller's call site is to fail.
#[cfg(any(test, feature = "faults"))]
#[inline]
#[track_caller]
fn check(call: Call) -> io::Result<()> {
    fault::check(call)
}

#[cfg(not(any(test, feature = "faults")))]
#[inline(always)]
fn check(_call: Call) -> io::Result<()> {
    Ok(())
}

/// Makes a system call through another crate, unless the fault layer says that this call site
/// fails.
///
/// # Errors
/// The injected error, or that of `f`.
///
/// ```
/// use lisle_lwp::sys::{Call, guarded};
/// let spawned = guarded(Call::Clone, || std::thread::Builder::new().spawn(|| 7))?;
/// assert_eq!(spawned.join().unwrap(), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
#[track_caller]
pub fn guarded<T>(call: Call, f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    check(call)?;
    f()
}

/// The -1 convention.
#[inline]
fn result(returned: c_long) -> io::Result<c_long> {
    if returned == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

// Futexes ----------------------------------------------------------------------------------------

/// Sleeps while `*word == expected`, for at most `timeout` (measured on the monotonic clock).
///
/// # Errors
/// EAGAIN if the word differed, ETIMEDOUT, EINTR. `Ok` may be spurious.
#[track_caller]
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> io::Result<()> {
    check(Call::FutexWait)?;
    let limit = timeout.map(timespec);
    let limit = limit
        .as_ref()
        .map_or(core::ptr::null(), core::ptr::from_ref);
    unnoticed(|| {
        // SAFETY: the word outlives the call, the limit is null or a valid time.
        let returned = unsafe {
            libc::syscall(
                libc::SYS_futex,
                core::ptr::from_ref(word),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                limit,
            )
        };
        result(returned).map(drop)
    })
}

/// Makes a system call that may well fail, in the middle of something that does not: whoever runs
/// here keeps their `errno`.
fn unnoticed<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // SAFETY: the calling thread's own word, whose thread does not change meanwhile.
    unsafe {
        let place = libc::__errno_location();
        let before = *place;
        let result = call();
        *place = before;
        result
    }
}

/// Wakes at most `count` sleepers of `word`; returns how many. The word need not exist any more: its
/// address is only a key. Not a call that can be made to fail: the kernel always does it, and a
/// wake-up that is lost is no error that anybody could handle.
///
/// # Errors
/// None that the kernel gives for the address of an atomic.
pub fn futex_wake(word: *const AtomicU32, count: u32) -> io::Result<usize> {
    let count = count.min(i32::MAX as u32);
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel does not access the word.
    let returned = unsafe { libc::syscall(libc::SYS_futex, word as usize, operation, count) };
    result(returned).map(|woken| woken as usize)
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        // Not by its name, which is deprecated for musl.
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos() as _,
    }
}

// Kernel threads ---------------------------------------------------------------------------------

const MEMBARRIER_PRIVATE_EXPEDITED: c_int = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

/// Registers the process for [`membarrier`]. Once is enough; more does no harm.
///
/// # Errors
/// ENOSYS, EINVAL or EPERM where the kernel or a sandbox does not offer it.
#[track_caller]
pub fn membarrier_register() -> io::Result<()> {
    check(Call::Membarrier)?;
    // SAFETY: takes no pointers.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_membarrier,
            MEMBARRIER_REGISTER_PRIVATE_EXPEDITED,
            0,
            0,
        )
    };
    result(returned).map(drop)
}

/// Runs a full memory barrier on every other running kernel thread of the process.
///
/// # Errors
/// EPERM without [`membarrier_register`].
#[track_caller]
pub fn membarrier() -> io::Result<()> {
    check(Call::Membarrier)?;
    // SAFETY: takes no pointers.
    let returned =
        unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) };
    result(returned).map(drop)
}

/// The kernel's id of the calling kernel thread, asked anew each time.
#[inline]
pub fn gettid() -> i32 {
    // SAFETY: no preconditions, cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Lets the kernel run another kernel thread on this CPU.
#[inline]
pub fn sched_yield() {
    // SAFETY: no preconditions; it cannot fail on Linux.
    unsafe { libc::sched_yield() };
}

/// CPU time used by the calling kernel thread.
///
/// # Errors
/// Only injected ones.
#[track_caller]
pub fn thread_cpu_time() -> io::Result<Duration> {
    check(Call::Clock)?;
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills in the structure.
    let returned = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, now.as_mut_ptr()) };
    result(c_long::from(returned))?;
    // SAFETY: filled in by the successful call.
    let now = unsafe { now.assume_init() };
    Ok(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
}

// Reports ----------------------------------------------------------------------------------------

/// Writes to standard error whatever it will take. Async-signal-safe; failures are ignored and
/// never injected.
pub fn write_stderr(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: the slice is readable.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(0) | Err(_) => return,
            Ok(written) => rest = &rest[written..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::Ordering;

    #[test]
    fn futex_reports_a_changed_word_and_a_timeout() {
        let word = AtomicU32::new(1);
        let differs = futex_wait(&word, 2, None).unwrap_err();
        assert_eq!(differs.raw_os_error(), Some(libc::EAGAIN));
        let late = futex_wait(&word, 1, Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(late.raw_os_error(), Some(libc::ETIMEDOUT));
        // A time beyond what the kernel can express must not become a negative one.
        let word = AtomicU32::new(0);
        let differs = futex_wait(&word, 1, Some(Duration::MAX)).unwrap_err();
        assert_eq!(differs.raw_os_error(), Some(libc::EAGAIN));
    }

    #[test]
    fn futex_wakes_a_sleeper() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(Ordering::Acquire) == 0 {
                    // Any error means: look again.
                    let _ = futex_wait(&word, 0, None);
                }
            });
            // Pairs with the Acquire in the sleeper.
            word.store(1, Ordering::Release);
            futex_wake(&word, u32::MAX).unwrap();
        });
    }

    #[test]
    fn the_clock_of_a_thread_advances_with_its_work() {
        let before = thread_cpu_time().unwrap();
        let mut n = 0u64;
        while thread_cpu_time().unwrap() == before {
            n = std::hint::black_box(n + 1);
        }
    }
}
