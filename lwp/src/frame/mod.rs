//! Signal frames: what the kernel saves of a thread that a signal interrupts, and how to take it away from
//! the kernel thread on which that happened.
//!
//! ```text
//!    alternate stack of the kernel thread        the interrupted thread's own stack
//!   |  …                     |                  |  its frames                     |
//!   |  signal frame          | ── copied ──┐    |---------------------------------| <- interrupted sp
//!   |  the handler           |             │    |  red zone                       |
//!   |  …                     |             └──► |  vector state, if kept apart    |
//!   |                        |                  |  registers, mask                | <- Saved
//!                                               |  room for who resumes it        |
//! ```
//!
//! A handler may leave its alternate stack for ever: the kernel remembers nothing of a handler that runs but
//! where its stack pointer is. So whoever copies the frame to the interrupted thread's own stack can resume
//! the thread from there, on any kernel thread, by the system call with which handlers return
//! ([`Saved::resume`]). It puts back all registers, vector state in whatever form this processor has it,
//! floating-point control and the signal mask.
//!
//! The copy says nothing valid of the alternate stack, and the kernel then leaves the resuming kernel thread's
//! own one as it is: that of the kernel thread that was interrupted must not be installed on two.
//!
//! *Rejected*: a handler on the interrupted stack itself. The kernel has pushed its frame, of 3 to 11 KiB,
//! before anybody can ask whether there is room, and kills the process if there is none.

use core::ffi::c_void;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod native;

/// Not a valid state of an alternate stack.
const NO_CHANGE: i32 = 4;

/// The frame of the signal that is being handled.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    info: *mut libc::siginfo_t,
    context: *mut c_void,
}

impl Frame {
    /// The frame by the arguments of a handler.
    ///
    /// # Safety
    /// They are those that the kernel passed, and the handler runs.
    pub unsafe fn new(info: *mut libc::siginfo_t, context: *mut c_void) -> Frame {
        Frame { info, context }
    }

    /// Whether the signal was sent by this process to this kernel thread.
    pub fn is_directed(&self) -> bool {
        const SI_TKILL: i32 = -6;
        // SAFETY: the kernel filled it in; a directed signal carries the sender.
        unsafe { (*self.info).si_code == SI_TKILL && (*self.info).si_pid() == libc::getpid() }
    }

    /// The interrupted stack pointer.
    pub fn stack_pointer(&self) -> usize {
        // SAFETY: by contract of `new`.
        unsafe { native::stack_pointer(self.context) }
    }

    /// Where the interrupted thread will go on.
    pub fn registers(&self) -> Interrupted {
        // SAFETY: by contract of `new`.
        unsafe { native::registers(self.context) }
    }

    /// The mask of blocked signals that the interrupted thread had, bit n - 1 for signal n.
    pub fn mask(&self) -> u64 {
        // SAFETY: by contract of `new`.
        unsafe { native::mask(self.context) }
    }

    /// How far [`Frame::copy`] reaches below the interrupted stack pointer.
    pub fn size(&self) -> usize {
        // SAFETY: by contract of `new`.
        unsafe { native::size(self.info, self.context) }
    }

    /// Copies the frame to the interrupted thread's own stack.
    ///
    /// # Safety
    /// The [size](Frame::size) below the interrupted stack pointer is free stack of the interrupted thread,
    /// and the handler runs elsewhere.
    pub unsafe fn copy(&self) -> Saved {
        // SAFETY: passed on.
        Saved(unsafe { native::copy(self.info, self.context) })
    }
}

/// What it takes to unwind an interrupted thread's stack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interrupted {
    /// The program counter.
    pub pc: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer.
    pub fp: usize,
    /// Where a function that has called nothing yet returns to, on processors that have a register for
    /// it; else 0.
    pub lr: usize,
}

/// An interrupted thread that can go on.
#[derive(Debug)]
#[must_use = "an interrupted thread that is dropped never goes on"]
pub struct Saved(*mut u8);

impl Saved {
    /// The lowest address of the copy; 16-aligned. Below it the stack is free.
    pub fn address(&self) -> *mut u8 {
        self.0
    }

    /// The one at this address.
    ///
    /// # Safety
    /// It was [taken](Saved::address) from one that has not been resumed and will not be.
    pub unsafe fn at(address: *mut u8) -> Saved {
        Saved(address)
    }

    /// Goes on where the thread was interrupted.
    ///
    /// # Safety
    /// The caller runs on the thread's own stack, below the copy, under its thread pointer; nothing on the
    /// stack in between is needed any more.
    pub unsafe fn resume(self) -> ! {
        // SAFETY: passed on.
        unsafe { native::resume(self.0) }
    }
}

/// Gives the calling kernel thread the floating-point control that new threads have.
pub fn reset_float_control() {
    native::reset_float_control();
}

#[cfg(all(test, not(lisle_model), not(miri)))]
mod tests;
