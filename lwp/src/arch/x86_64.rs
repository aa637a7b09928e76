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
use crate::shim::{AtomicU8, Ordering};

/// Where a saved context has what.
pub const SAVED: super::SavedAt = super::SavedAt {
    pc: 0,
    fp: 16,
    base: 8,
    size: 24,
};

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
            "mov rsp, rdx",
            "pop rax",
            "jmp rax",
            in("rdi") arg,
            in("rdx") to.0,
            options(noreturn),
        );
    }
}

/// Has the line at this address fetched, translation included. A hint: any value is harmless.
#[inline(always)]
pub fn prefetch(address: usize) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch never faults, and SSE is part of x86_64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address as *const i8) };
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

// The thread pointer, and bodies --------------------------------------------------------------------

/// The thread pointer of the calling flow: the FS base.
#[inline(always)]
pub fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: by the ABI of thread-local storage the first word of the thread control block holds
    // its own address. Neither `pure` nor `nomem`: another flow may run here after a switch.
    unsafe {
        asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly))
    };
    pointer
}

/// Whether the FS base can be written without a system call: 0 unknown, 1 no, 2 yes.
static WRITES_BASE: AtomicU8 = AtomicU8::new(0);

/// Makes `pointer` the thread pointer of the calling kernel thread: 24 to 32 ns by WRFSBASE, some
/// 200 by a system call where processor or kernel lack it.
///
/// # Safety
/// `pointer` is the thread pointer of a live thread control block whose flow runs here next, and on
/// no other kernel thread. Nothing between here and that flow uses a thread-local.
#[inline(always)]
pub unsafe fn set_thread_pointer(pointer: usize) {
    if WRITES_BASE.load(Ordering::Relaxed) == 2 {
        // SAFETY: the kernel said that the instruction works; the rest is the caller's promise.
        unsafe { asm!("wrfsbase {}", in(reg) pointer, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: passed on.
        unsafe { set_thread_pointer_slow(pointer) };
    }
}

#[cold]
#[inline(never)]
unsafe fn set_thread_pointer_slow(pointer: usize) {
    if WRITES_BASE.load(Ordering::Relaxed) == 0 {
        const HWCAP2_FSGSBASE: libc::c_ulong = 1 << 1;
        // SAFETY: no preconditions; reads what the kernel passed to the process.
        let offered = unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE != 0;
        WRITES_BASE.store(1 + u8::from(offered), Ordering::Relaxed);
    }
    const ARCH_SET_FS: usize = 0x1002;
    // Not libc's `syscall`: on failure it would write `errno`, a thread-local.
    // SAFETY: the kernel sets the base and clobbers what is declared.
    unsafe {
        asm!(
            "syscall",
            inout("rax") libc::SYS_arch_prctl => _,
            in("rdi") ARCH_SET_FS,
            in("rsi") pointer,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
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
            "lea rax, [rip + 2f]",
            "push rbp",
            "push rbx",
            "push rax",
            "mov [rsi], rsp",
            "xor edi, edi",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            "pop rbx",
            "pop rbp",
            exit = const libc::SYS_exit,
            inout("rsi") save => _,
            out("rdi") _,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("sysv64"),
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
    // jump, like any resumer; the parent goes on behind the label.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "pop rax",
            "jmp rax",
            "2:",
            inout("rax") libc::SYS_clone as isize => returned,
            in("rdi") flags,
            in("rsi") to.0,
            in("rdx") parent_tid,
            in("r10") clear_tid,
            in("r8") thread_pointer,
            out("rcx") _,
            out("r11") _,
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
                concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
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
pub const RSEQ_SIGNATURE: usize = 0x5305_3053;
