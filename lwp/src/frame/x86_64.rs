//! Signal frames on x86_64: the kernel's `ucontext`, with a pointer to the vector state.
//!
//! The state is in the form of XSAVE, 64-aligned, with a header in its reserved bytes that tells its length;
//! without the header it is what FXSAVE writes. Shadow stacks must be off.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr;

use super::{Interrupted, NO_CHANGE};

/// The kernel's `struct ucontext`. (libc's type is larger than what the kernel writes.)
#[repr(C)]
#[derive(Clone, Copy)]
struct Context {
    flags: u64,
    link: usize,
    stack: libc::stack_t,
    /// General registers, then the rest of `struct sigcontext`.
    registers: [u64; 32],
    mask: u64,
}

const RBP: usize = 10;
const RSP: usize = 15;
const RIP: usize = 16;
const VECTOR_STATE: usize = 23;

/// What the compiler may use below the stack pointer.
const RED_ZONE: usize = 128;

pub(super) unsafe fn stack_pointer(context: *mut c_void) -> usize {
    // SAFETY: what the kernel wrote.
    unsafe { (*context.cast::<Context>()).registers[RSP] as usize }
}

pub(super) unsafe fn registers(context: *mut c_void) -> Interrupted {
    // SAFETY: what the kernel wrote.
    let registers = unsafe { (*context.cast::<Context>()).registers };
    Interrupted {
        pc: registers[RIP] as usize,
        sp: registers[RSP] as usize,
        fp: registers[RBP] as usize,
        lr: 0,
    }
}

pub(super) unsafe fn mask(context: *mut c_void) -> u64 {
    // SAFETY: what the kernel wrote.
    unsafe { (*context.cast::<Context>()).mask }
}

/// The vector state and its length.
unsafe fn vector_state(context: *mut c_void) -> (*const u8, usize) {
    /// Where FXSAVE leaves room for software.
    const HEADER: usize = 464;
    const MAGIC: u32 = 0x4650_5853;
    const LEGACY: usize = 512;
    // SAFETY: what the kernel wrote; the legacy area is always whole.
    unsafe {
        let state = (*context.cast::<Context>()).registers[VECTOR_STATE] as usize as *const u8;
        if state.is_null() {
            return (state, 0);
        }
        let header = state.add(HEADER).cast::<u32>();
        match header.read() {
            MAGIC => (state, header.add(1).read() as usize),
            _ => (state, LEGACY),
        }
    }
}

pub(super) unsafe fn size(_: *mut libc::siginfo_t, context: *mut c_void) -> usize {
    // SAFETY: passed on.
    let (_, len) = unsafe { vector_state(context) };
    RED_ZONE + len + 64 + size_of::<Context>() + 16
}

pub(super) unsafe fn copy(_: *mut libc::siginfo_t, context: *mut c_void) -> *mut u8 {
    // SAFETY: the frame is the kernel's; what lies below the interrupted stack pointer is free, by contract.
    unsafe {
        let (state, len) = vector_state(context);
        let below = stack_pointer(context) - RED_ZONE - len;
        let state_copy = (below & !63) as *mut u8;
        ptr::copy_nonoverlapping(state, state_copy, len);
        let mut copy = *context.cast::<Context>();
        copy.stack.ss_flags = NO_CHANGE;
        if len > 0 {
            copy.registers[VECTOR_STATE] = state_copy as u64;
        }
        let place = ((state_copy as usize - size_of::<Context>()) & !15) as *mut Context;
        place.write(copy);
        place.cast()
    }
}

pub(super) unsafe fn resume(saved: *mut u8) -> ! {
    // SAFETY: the kernel takes the context from the stack pointer, where a handler's return would have left
    // it.
    unsafe {
        asm!(
            "mov rsp, {saved}",
            "syscall",
            "ud2",
            saved = in(reg) saved,
            in("eax") libc::SYS_rt_sigreturn as i32,
            options(noreturn),
        );
    }
}

pub(super) fn reset_float_control() {
    const MXCSR: u32 = 0x1f80;
    const CONTROL_WORD: u16 = 0x37f;
    // SAFETY: what the ABI says a program starts with.
    unsafe {
        asm!(
            "ldmxcsr [{}]",
            "fldcw [{}]",
            in(reg) &MXCSR,
            in(reg) &CONTROL_WORD,
            options(nostack, preserves_flags, readonly),
        );
    }
}
