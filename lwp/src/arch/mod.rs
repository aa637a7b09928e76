//! The context switch: one file per architecture behind the same six names.
//!
//! ```text
//! init(top, entry, data) -> Context          write the first frame below `top`
//! switch(&mut mine, to, arg) -> usize        save me, resume `to`; returns what my resumer passed
//! switch_final(to, arg) -> !                 resume `to`, never come back
//! prefetch(address)                          pull the line that will be needed soon
//! registers(&context) -> Registers           where it will go on, for unwinders
//! Context                                    a saved stack pointer
//! ```
//!
//! # Protocol
//! A [`Context`] is a *one-shot right to resume*. `switch` consumes the one it is given and fills
//! the one it saves into; resuming a context twice, or before the kernel thread that saves it has
//! left it, is undefined behaviour. Hence the rule of the layers above: publish a context only from
//! the stack that replaced it.
//!
//! # What is not saved, on any architecture
//! Floating-point control (MXCSR, x87 control word; FPCR, FPSR), the signal mask, the alternate
//! signal stack, the thread pointer, the rseq registration, the hardware shadow stack (x86 SHSTK,
//! Arm GCS: must be off), segment selectors, protection keys, and everything else that belongs to
//! the kernel thread. Code that changes one of these restores it before it can block.
//!
//! # Backends
//! [`native`] is the assembly of this target. With `--cfg lisle_model`, or under Miri, `model`
//! stands in its place: every context is a kernel thread and a switch passes a baton, so that
//! checkers that cannot see assembly can run the layers above.

use core::fmt;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", miri)))]
compile_error!("lisle runs on x86_64 and aarch64");

#[cfg(not(miri))]
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
pub mod native;

#[cfg(any(lisle_model, miri))]
pub mod model;

#[cfg(any(lisle_model, miri))]
pub use model::{init, prefetch, registers, switch, switch_final};
#[cfg(not(any(lisle_model, miri)))]
pub use native::{init, prefetch, registers, switch, switch_final};

#[cfg(test)]
mod tests;

/// A counter that rises at a constant rate, fast to read; its unit is up to the machine. On machines
/// with several processors it may differ a little between them.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 processor has the instruction; the kernel allows it.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        let ticks;
        // SAFETY: reads a register that the kernel lets programs read.
        unsafe {
            core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags));
        }
        ticks
    }
    #[cfg(miri)]
    return 0;
}

/// The function a new context starts in.
///
/// `arg` is what the first [`switch`] to the context passed, `data` what [`init`] was given. It
/// runs on the new stack and never returns; a panic that leaves it aborts the process, so it
/// catches what the code it runs may throw.
pub type Entry = unsafe extern "C" fn(arg: usize, data: *mut ()) -> !;

/// A suspended flow of control: the stack pointer under which everything else was saved.
///
/// Copying one copies the right to resume, of which only one copy may ever be used.
#[repr(transparent)]
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Context(usize);

impl Context {
    /// No context. Resuming it is undefined behaviour.
    pub const EMPTY: Context = Context(0);

    /// Whether this is [`Context::EMPTY`].
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The saved stack pointer (in the model: the address of the baton); 0 if empty.
    #[inline]
    pub const fn address(self) -> usize {
        self.0
    }
}

/// Where a suspended context will go on: what an unwinder begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// The program counter, in the function that called [`switch`], or, of a
    /// context that has never run, in the code that calls its entry.
    pub pc: usize,
    /// The stack pointer that this function had when it called.
    pub sp: usize,
    /// The frame pointer.
    pub fp: usize,
}

/// Where a saved context has what, in bytes from its address; for debuggers, too.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct SavedAt {
    /// The program counter.
    pub pc: usize,
    /// The frame pointer.
    pub fp: usize,
    /// rbx, or x19.
    pub base: usize,
    /// What is pushed altogether: what lies above it is the caller's.
    pub size: usize,
}

/// # Safety
/// `of` points to a frame of this shape, which stays as it is meanwhile.
#[cfg_attr(any(lisle_model, miri), allow(dead_code))]
unsafe fn read_registers(of: Context, at: &SavedAt) -> Registers {
    // SAFETY: the caller's promise.
    let read = |offset: usize| unsafe { ((of.0 + offset) as *const usize).read() };
    Registers {
        pc: read(at.pc),
        sp: of.0 + at.size,
        fp: read(at.fp),
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({:#x})", self.0)
    }
}
