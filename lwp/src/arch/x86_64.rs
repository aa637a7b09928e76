//! The context switch on x86_64 (System V).
//!
//! ```text
//!     a suspended context                     a new context
//!   |      caller's frame     |             |                         | <- top (16-aligned)
//!   +-------------------------+             +-------------------------+
//!   |          rbp            | +16         |          data           | +16
//!   |          rbx            | +8          |          entry          | +8
//!   |  where to resume (rip)  | <- Context  |     rip = `start`       | <- Context
//!   +-------------------------+             +-------------------------+
//! ```
//!
//! Whoever resumes a context pops the top word and jumps to it with `rdi` = the argument; the rest
//! of the frame is the business of the code found there. rbx and rbp are pushed by hand because
//! LLVM reserves them and asm cannot clobber them; every other register is declared clobbered, so
//! the compiler saves exactly what is live at that one place.
//!
//! Not saved: see [`arch`](crate::arch). Here that means MXCSR, the x87 control word, FS and GS
//! base, PKRU and the shadow stack pointer. There are no landing pads for indirect branch tracking,
//! which Linux does not offer to programs on x86_64. The direction flag is clear on both sides, as
//! the ABI demands at any call.
//!
//! Rejected: a naked function that pops six registers and returns (7.0 ns: the return predictor
//! expects the caller's address; 2.2 ns with a jump in its place); saving the floating-point
//! control words too (5 to 10 ns). This one: 1.1 ns.

use core::arch::{asm, naked_asm};
use core::mem::size_of;

use super::{Context, Entry};

/// What `init` writes and `start` pops; the order of the fields is the order of the addresses.
#[repr(C)]
struct FirstFrame {
    /// Popped by the switch, like any context's first word.
    resume: unsafe extern "C" fn(),
    /// Popped by `start`, which calls it.
    entry: Entry,
    /// Popped by `start`: the second argument of `entry`.
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
        resume: start,
        entry,
        data,
    };
    // SAFETY: the caller owns the memory below `top`; 24 below a 16-aligned address is 8-aligned.
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
    // change is declared as clobbered or is restored from our own frame at `2:`; without `nostack`
    // the compiler keeps no red zone here, and without `nomem` it keeps no memory in registers
    // across.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "push rbp",
            "push rbx",
            "push rax",
            "mov [rsi], rsp",
            "mov rsp, rdx",
            "pop rax",
            "jmp rax",
            "2:",
            "pop rbx",
            "pop rbp",
            inout("rdi") arg => received,
            inout("rsi") save => _,
            inout("rdx") to.0 => _,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    received
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
            "mov rsp, rdx",
            "pop rax",
            "jmp rax",
            in("rdi") arg,
            in("rdx") to.0,
            options(noreturn),
        );
    }
}

/// Prefetches the line of the stack that a switch to `ctx` reads first. A hint: any value is
/// harmless.
#[inline(always)]
pub fn prefetch(ctx: Context) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch never faults, and SSE is part of x86_64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(ctx.0 as *const i8) };
}

/// Where a new context is resumed: rsp points at `FirstFrame::entry`, rdi holds the argument.
///
/// It ends every backtrace: its return address and the frame pointer of its caller are declared not
/// to exist.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "pop rax",
        "pop rsi",
        "xor ebp, ebp",
        "call rax",
        "ud2",
        ".cfi_endproc",
    )
}
