//! Signal actions, stacks and masks.

use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;
use std::io;

use super::{Call, check, result};

/// Reads and, if `new` is given, sets the alternate signal stack of the calling kernel thread.
///
/// # Errors
/// ENOMEM if it is too small, EPERM if the current one is in use.
///
/// # Safety
/// The memory of the new stack is writable and stays so as long as it is set.
#[track_caller]
pub unsafe fn sigaltstack(new: Option<&libc::stack_t>) -> io::Result<libc::stack_t> {
    check(Call::Sigaltstack)?;
    let mut old = MaybeUninit::uninit();
    let new = new.map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: both pointers are null or valid; the caller vouches for the memory.
    result(c_long::from(unsafe {
        libc::sigaltstack(new, old.as_mut_ptr())
    }))?;
    // SAFETY: filled in by the successful call.
    Ok(unsafe { old.assume_init() })
}

/// Reads and, if `new` is given, sets what `signal` does.
///
/// # Errors
/// EINVAL for a signal that does not exist or cannot be handled.
///
/// # Safety
/// The new handler is async-signal-safe and right for whatever it may interrupt.
#[track_caller]
pub unsafe fn sigaction(
    signal: c_int,
    new: Option<&libc::sigaction>,
) -> io::Result<libc::sigaction> {
    check(Call::Sigaction)?;
    let mut old = MaybeUninit::uninit();
    let new = new.map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: both pointers are null or valid; the caller vouches for the handler.
    result(c_long::from(unsafe {
        libc::sigaction(signal, new, old.as_mut_ptr())
    }))?;
    // SAFETY: filled in by the successful call.
    Ok(unsafe { old.assume_init() })
}

/// Sends a signal to one kernel thread of this process. Touches `errno` only if it fails.
///
/// # Errors
/// ESRCH if there is none with this id, EINVAL if there is no such signal, EAGAIN if too many signals wait.
#[track_caller]
pub fn tgkill(tid: i32, signal: c_int) -> io::Result<()> {
    check(Call::Kill)?;
    // SAFETY: takes no pointers.
    let returned = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
    result(returned).map(drop)
}

/// The calling kernel thread's mask of blocked signals, bit n - 1 for signal n.
pub fn signal_mask() -> u64 {
    change_signal_mask(None)
}

/// Sets the calling kernel thread's mask. Not a call that can be made to fail: no value is refused.
pub fn set_signal_mask(mask: u64) {
    change_signal_mask(Some(mask));
}

/// Not libc's functions, which keep some signals out of it.
fn change_signal_mask(new: Option<u64>) -> u64 {
    let mut old = 0u64;
    let new = new.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: null or a set of the kernel's size, and room for one.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            new,
            &raw mut old,
            8usize,
        );
    }
    old
}

/// Bytes the kernel needs to deliver a signal on this processor (`AT_MINSIGSTKSZ`): the frame
/// alone, no handler.
pub fn min_sig_stack() -> usize {
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: getauxval has no preconditions; 0 means unknown.
    let told = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
    told.max(libc::MINSIGSTKSZ)
}

/// Whether the kernel can read the word at `place`, tried without touching it from here: asks to
/// sleep there for no time at all.
///
/// # Errors
/// Only injected ones.
#[track_caller]
pub fn kernel_can_read(place: *const u32) -> io::Result<bool> {
    check(Call::Probe)?;
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: an address that cannot be read is an error, not a fault. Not through libc, which has
    // no such function.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_futex,
            place.addr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            1,
            &raw const at_once,
        )
    };
    match result(returned).map_err(|error| error.raw_os_error()) {
        Err(Some(libc::EFAULT)) => Ok(false),
        // It holds something else, or the time was up, or a signal came.
        Ok(_) | Err(Some(libc::EAGAIN | libc::ETIMEDOUT | libc::EINTR)) => Ok(true),
        Err(error) => Err(io::Error::from_raw_os_error(error.unwrap_or(libc::EIO))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_stack_must_hold_a_frame() {
        assert!(min_sig_stack() >= 2048);
    }
}
