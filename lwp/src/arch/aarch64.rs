//! The context switch on aarch64 (AAPCS64).
//!
//! ```text
//!     a suspended context                     a new context
//!   |      caller's frame     |             |                         | <- top (16-aligned)
//!   +-------------------------+             +-------------------------+
//!   |        (padding)        | +24         |          data           | +24
//!   |          x19            | +16         |          entry          | +16
//!   |  where to resume (pc)   | +8          |       pc = `start`      | +8
//!   |          x29            | <- Context  |        x29 = 0          | <- Context
//!   +-------------------------+             +-------------------------+
//! ```
//!
//! The first two words have the shape of a frame record. Whoever resumes a context loads both and
//! branches with `x0` = the argument; the rest of the frame is the business of the code found
//! there. x19 and x29 are stored by hand because LLVM reserves them and asm cannot clobber them;
//! every other register is declared clobbered, so the compiler saves exactly what is live at that
//! one place. x18, the platform register, is never written.
//!
//! Branch target identification: the branch goes through x17, and both places it can reach begin
//! with a landing pad (`bti`, written as its hint number, a no-op where there is no BTI). Pointer
//! authentication: the saved pc is not signed; the return addresses of compiled code are signed
//! with the stack pointer, which a switch preserves.
//!
//! Not saved: see [`arch`](crate::arch). Here that means FPCR, FPSR, TPIDR_EL0, x18, the guarded
//! control stack pointer and SME state (streaming mode and ZA must be off, as at any call of an
//! ordinary function).

use core::arch::{asm, naked_asm};
use core::mem::size_of;

use super::{Context, Entry};

/// Where a saved context has what.
pub const SAVED: super::SavedAt = super::SavedAt {
    pc: 8,
    fp: 0,
    base: 16,
    size: 32,
};

/// What `init` writes and `start` loads; the order of the fields is the order of the addresses.
#[repr(C)]
struct FirstFrame {
    /// Loaded into x29 by the switch: no caller, so chains of frame records end here.
    frame_pointer: usize,
    /// Branched to by the switch.
    resume: unsafe extern "C" fn(),
    /// Loaded by `start`, which calls it.
    entry: Entry,
    /// Loaded by `start`: the second argument of `entry`.
    data: *mut (),
}

/// Writes the first frame of a new context below `top`: the first switch to it calls `entry(arg,
/// data)`.
///
/// # Safety
/// `top` is 16-aligned and is the upper end of writable memory that nobody else uses until the
/// context has ended, large enough for whatever `entry` does.
#[must_use]
pub unsafe fn init(top: *mut u8, entry: Entry, data: *mut ()) -> Context {
    debug_assert!(
        (top as usize).is_multiple_of(16),
        "stack top not 16-aligned"
    );
    let frame = top
        .wrapping_sub(size_of::<FirstFrame>())
        .cast::<FirstFrame>();
    let first = FirstFrame {
        frame_pointer: 0,
        resume: start,
        entry,
        data,
    };
    // SAFETY: the caller owns the memory below `top`, and 32 below a 16-aligned address is
    // 16-aligned.
    unsafe { frame.write(first) };
    Context(frame as usize)
}

/// Saves the running context to `*save` and resumes `to`, which receives `arg`. Returns, when
/// somebody resumes the saved context, the `arg` they passed.
///
/// # Safety
/// `save` is writable. `to` is suspended, nobody else resumes it, and the stack under it is intact.
/// `*save` is written before `to` runs, and must not be resumed by another kernel thread before
/// `to` runs.
#[inline(always)]
pub unsafe fn switch(save: *mut Context, to: Context, arg: usize) -> usize {
    let received;
    // SAFETY: by contract `to` points to a frame of the shape above. Everything the code there may
    // change is declared as clobbered (the ABI's list holds x0 to x17, x30, all vector registers,
    // and x18 where it is an ordinary register) or is restored from our own frame at `2:`; without
    // `nostack` nothing lives below sp, and without `nomem` the compiler keeps no memory in
    // registers across.
    unsafe {
        asm!(
            "adr x17, 2f",
            "stp x29, x17, [sp, #-32]!",
            "str x19, [sp, #16]",
            "mov x16, sp",
            "str x16, [x1]",
            "mov sp, x2",
            "ldp x29, x17, [sp]",
            "br x17",
            "2:",
            "hint #36", // bti j
            "ldr x19, [sp, #16]",
            "add sp, sp, #32",
            inout("x0") arg => received,
            inout("x1") save => _,
            inout("x2") to.0 => _,
            out("x20") _,
            out("x21") _,
            out("x22") _,
            out("x23") _,
            out("x24") _,
            out("x25") _,
            out("x26") _,
            out("x27") _,
            out("x28") _,
            clobber_abi("C"),
        );
    }
    received
}

/// What a saved context says of the registers with which it will go on: see
/// [`Registers`](super::Registers).
///
/// # Safety
/// The context is suspended, and stays so for the duration of the call.
pub unsafe fn registers(of: Context) -> super::Registers {
    // SAFETY: by contract `of` points to a frame of the shape above.
    unsafe { super::read_registers(of, &SAVED) }
}

/// Leaves the running context for ever and resumes `to`, which receives `arg`.
///
/// # Safety
/// As for [`switch`]. Nothing on the stack that is left is dropped; `to` may reuse its memory at
/// once.
#[inline(always)]
pub unsafe fn switch_final(to: Context, arg: usize) -> ! {
    // SAFETY: as in `switch`; nothing of the context left behind is needed again.
    unsafe {
        asm!(
            "mov sp, x2",
            "ldp x29, x17, [sp]",
            "br x17",
            in("x0") arg,
            in("x2") to.0,
            options(noreturn),
        );
    }
}

/// Has the line at this address fetched, translation included. A hint: any value is harmless.
#[inline(always)]
pub fn prefetch(address: usize) {
    // SAFETY: a prefetch never faults and changes nothing that the program can see.
    unsafe {
        asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

/// Where a new context is resumed: sp points at its `FirstFrame`, x0 holds the argument, x29 is 0.
///
/// It ends every backtrace: its return address is declared not to exist.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "hint #38", // bti jc
        "ldp x9, x1, [sp, #16]",
        "add sp, sp, #32",
        "mov x30, xzr",
        "blr x9",
        "brk #1",
        ".cfi_endproc",
    )
}

// The thread pointer, and bodies --------------------------------------------------------------------

/// The thread pointer of the calling flow: TPIDR_EL0.
#[inline(always)]
pub fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register. Neither `pure` nor `nomem`: another flow may run here after a switch.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, readonly))
    };
    pointer
}

/// Makes `pointer` the thread pointer of the calling kernel thread.
///
/// # Safety
/// `pointer` is the thread pointer of a live thread control block whose flow runs here next, and on
/// no other kernel thread. Nothing between here and that flow uses a thread-local.
#[inline(always)]
pub unsafe fn set_thread_pointer(pointer: usize) {
    // SAFETY: by the caller's promise.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) pointer, options(nostack, preserves_flags)) };
}

/// Saves the running context to `*save` and ends the calling kernel thread, without a word to libc
/// and without touching the stack again. Returns on whatever kernel thread resumes the context.
///
/// # Safety
/// `save` is writable. The context must not be resumed before the kernel thread is gone.
#[inline(always)]
pub unsafe fn leave_body(save: *mut Context) {
    // SAFETY: as in `switch`. After the store nothing uses the stack; `exit` does not return.
    unsafe {
        asm!(
            "adr x17, 2f",
            "stp x29, x17, [sp, #-32]!",
            "str x19, [sp, #16]",
            "mov x16, sp",
            "str x16, [x1]",
            "mov x0, xzr",
            "mov x8, #{exit}",
            "svc #0",
            "brk #1",
            "2:",
            "hint #36", // bti j
            "ldr x19, [sp, #16]",
            "add sp, sp, #32",
            exit = const libc::SYS_exit,
            out("x0") _,
            inout("x1") save => _,
            out("x20") _,
            out("x21") _,
            out("x22") _,
            out("x23") _,
            out("x24") _,
            out("x25") _,
            out("x26") _,
            out("x27") _,
            out("x28") _,
            clobber_abi("C"),
        );
    }
}

/// Starts a kernel thread that resumes `to` with this thread pointer. Returns its id, or the error
/// number, negative.
///
/// # Safety
/// As for [`switch`]'s `to`; `thread_pointer` is the one of that flow; the addresses are what the
/// flags want there, valid for as long as the kernel uses them.
#[inline(never)]
pub unsafe fn new_body(
    to: Context,
    flags: usize,
    thread_pointer: usize,
    parent_tid: *mut i32,
    clear_tid: *mut i32,
) -> isize {
    let returned;
    // SAFETY: the child begins with the stack pointer at the saved frame and leaves at once by the
    // branch, like any resumer; the parent goes on behind the label.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "ldp x29, x17, [sp]",
            "br x17",
            "2:",
            in("x8") libc::SYS_clone,
            inout("x0") flags as isize => returned,
            in("x1") to.0,
            in("x2") parent_tid,
            in("x3") thread_pointer,
            in("x4") clear_tid,
            out("x17") _,
        );
    }
    returned
}

/// The address of libc's variable, or null if this libc has none. For `__rseq_offset` and
/// `__rseq_size`, which static and old libcs lack, so that they are looked for weakly.
macro_rules! weak_variable {
    ($name:literal) => {{
        let address: *const u8;
        // SAFETY: loads an address that the linker wrote, zero if there is no such symbol.
        unsafe {
            asm!(
                concat!(".weak ", $name),
                concat!("adrp {0}, :got:", $name),
                concat!("ldr {0}, [{0}, :got_lo12:", $name, "]"),
                out(reg) address,
                options(nostack, preserves_flags, pure, readonly),
            );
        }
        address
    }};
}

/// `__rseq_offset` and `__rseq_size`, if libc has them.
pub fn rseq_variables() -> (*const isize, *const u32) {
    (
        weak_variable!("__rseq_offset").cast(),
        weak_variable!("__rseq_size").cast(),
    )
}

/// The signature that libc registers restartable sequences with.
pub const RSEQ_SIGNATURE: usize = 0xd428_bc00;
