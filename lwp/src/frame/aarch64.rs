//! Signal frames on aarch64: `siginfo`, then the kernel's `ucontext`, whose end is a list of records; the
//! vector state is one of them. What does not fit there follows after the frame, and a record points to it.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr;

use super::{Interrupted, NO_CHANGE};

/// Offsets in the kernel's `struct ucontext`.
const STACK_FLAGS: usize = 24;
const MASK: usize = 40;
const FP: usize = 416;
const LR: usize = 424;
const SP: usize = 432;
const PC: usize = 440;
const RECORDS: usize = 464;
/// Its size, and how much of it is records.
const SIZE: usize = RECORDS + RECORDS_SIZE;
const RECORDS_SIZE: usize = 4096;

const EXTRA: u32 = 0x4558_5401;

/// Nothing that is known uses memory below the stack pointer; but signal handlers have always left some.
const RED_ZONE: usize = 128;

unsafe fn word(context: *mut c_void, offset: usize) -> u64 {
    // SAFETY: inside what the kernel wrote.
    unsafe { context.byte_add(offset).cast::<u64>().read() }
}

pub(super) unsafe fn stack_pointer(context: *mut c_void) -> usize {
    // SAFETY: passed on.
    unsafe { word(context, SP) as usize }
}

pub(super) unsafe fn registers(context: *mut c_void) -> Interrupted {
    // SAFETY: passed on.
    let read = |offset| unsafe { word(context, offset) as usize };
    Interrupted {
        pc: read(PC),
        sp: read(SP),
        fp: read(FP),
        lr: read(LR),
    }
}

pub(super) unsafe fn mask(context: *mut c_void) -> u64 {
    // SAFETY: passed on.
    unsafe { word(context, MASK) }
}

/// The offset of the record that points to more records, if there is one.
unsafe fn extra(context: *mut c_void) -> Option<usize> {
    let mut at = RECORDS;
    while at + 8 <= SIZE {
        // SAFETY: inside what the kernel wrote; records are 16-aligned.
        let [magic, size] = unsafe { context.byte_add(at).cast::<[u32; 2]>().read() };
        match (magic, size) {
            (EXTRA, _) => return Some(at),
            (0, _) | (_, 0) => return None,
            _ => at += size as usize,
        }
    }
    None
}

/// Where the frame begins, and its length with all records.
unsafe fn extent(info: *mut libc::siginfo_t, context: *mut c_void) -> (*mut u8, usize) {
    let start = info.cast::<u8>();
    // SAFETY: passed on.
    let end = unsafe {
        match extra(context) {
            Some(at) => (word(context, at + 8) + (word(context, at + 16) & 0xffff_ffff)) as usize,
            None => context as usize + SIZE,
        }
    };
    (start, end - start as usize)
}

pub(super) unsafe fn size(info: *mut libc::siginfo_t, context: *mut c_void) -> usize {
    // SAFETY: passed on.
    let (_, len) = unsafe { extent(info, context) };
    RED_ZONE + len + 16
}

pub(super) unsafe fn copy(info: *mut libc::siginfo_t, context: *mut c_void) -> *mut u8 {
    // SAFETY: the frame is the kernel's; what lies below the interrupted stack pointer is free, by contract.
    unsafe {
        let (start, len) = extent(info, context);
        let place = ((stack_pointer(context) - RED_ZONE - len) & !15) as *mut u8;
        ptr::copy_nonoverlapping(start, place, len);
        let moved = place.byte_add(context as usize - start as usize);
        moved.byte_add(STACK_FLAGS).cast::<i32>().write(NO_CHANGE);
        if let Some(at) = extra(context) {
            // The kernel insists that they follow the frame.
            let data = word(context, at + 8) - start as u64 + place as u64;
            moved.byte_add(at + 8).cast::<u64>().write(data);
        }
        place
    }
}

pub(super) unsafe fn resume(saved: *mut u8) -> ! {
    // SAFETY: the kernel takes the frame from the stack pointer, where a handler's return would have left it.
    unsafe {
        asm!(
            "mov sp, {saved}",
            "svc #0",
            "brk #1",
            saved = in(reg) saved,
            in("x8") libc::SYS_rt_sigreturn,
            options(noreturn),
        );
    }
}

pub(super) fn reset_float_control() {
    // SAFETY: what a program starts with.
    unsafe { asm!("msr fpcr, xzr", options(nomem, nostack, preserves_flags)) };
}
