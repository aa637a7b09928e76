//! Address space and pages.

use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;
use std::io;

use super::{Call, check, result};
use crate::shim::{AtomicUsize, Ordering};

/// Reserves `len` bytes of private, zeroed, readable and writable address space for stacks, without
/// commitment.
///
/// # Errors
/// ENOMEM when address space, the mapping count or a resource limit is exhausted.
#[track_caller]
pub fn mmap_reserve(len: usize) -> io::Result<*mut u8> {
    check(Call::Mmap)?;
    let mut flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    if !cfg!(miri) {
        flags |= libc::MAP_NORESERVE | libc::MAP_STACK;
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that
    // exists.
    let base = unsafe { libc::mmap(core::ptr::null_mut(), len, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(base.cast())
}

/// Unmaps pages.
///
/// # Errors
/// ENOMEM when unmapping would split a mapping and the mapping count is exhausted.
///
/// # Safety
/// The range is a mapping, or pages of one, that the caller owns, and nothing uses it any more.
#[track_caller]
pub unsafe fn munmap(base: *mut u8, len: usize) -> io::Result<()> {
    check(Call::Munmap)?;
    // SAFETY: the caller owns the range.
    result(c_long::from(unsafe { libc::munmap(base.cast(), len) })).map(drop)
}

/// Makes pages inaccessible. Costs up to two mappings.
///
/// # Errors
/// ENOMEM when the mapping count is exhausted.
///
/// # Safety
/// The caller owns the pages, and nothing accesses them any more.
#[track_caller]
pub unsafe fn mprotect_none(base: *mut u8, len: usize) -> io::Result<()> {
    check(Call::Mprotect)?;
    // SAFETY: the caller owns the range.
    result(c_long::from(unsafe {
        libc::mprotect(base.cast(), len, libc::PROT_NONE)
    }))
    .map(drop)
}

/// Advice for [`madvise`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Drop the contents now; the next access reads zero.
    DontNeed,
    /// The contents may be dropped when memory is short.
    Free,
    /// Never back the range by huge pages.
    NoHugePage,
    /// Make the pages fault without splitting the mapping (Linux 6.13).
    GuardInstall,
}

impl Advice {
    const fn number(self) -> c_int {
        match self {
            Advice::DontNeed => libc::MADV_DONTNEED,
            Advice::Free => libc::MADV_FREE,
            Advice::NoHugePage => libc::MADV_NOHUGEPAGE,
            Advice::GuardInstall => 102,
        }
    }
}

/// Gives the kernel advice about pages.
///
/// # Errors
/// EINVAL where the kernel does not know the advice, ENOMEM or EAGAIN where it lacks memory to
/// follow it.
///
/// # Safety
/// The caller owns the pages and can do without what the advice takes away.
#[track_caller]
pub unsafe fn madvise(base: *mut u8, len: usize, advice: Advice) -> io::Result<()> {
    check(Call::Madvise)?;
    if cfg!(miri) {
        // Miri has no pages, and a stack no contents that matter to it.
        return Ok(());
    }
    // SAFETY: the caller owns the range and accepts the consequences.
    result(c_long::from(unsafe {
        libc::madvise(base.cast(), len, advice.number())
    }))
    .map(drop)
}

/// Sets bit 0 of `resident[i]` if page `i` of the range is resident.
///
/// # Errors
/// ENOMEM if part of the range is not mapped, EAGAIN if the kernel lacks memory.
///
/// # Panics
/// If `base` is not at a page boundary.
#[track_caller]
pub fn mincore(base: *const u8, resident: &mut [u8]) -> io::Result<()> {
    assert!((base as usize).is_multiple_of(page_size()));
    check(Call::Mincore)?;
    let len = resident.len() * page_size();
    // SAFETY: the kernel reads no memory at `base`, and writes one byte for each page.
    let returned = unsafe { libc::mincore(base.cast_mut().cast(), len, resident.as_mut_ptr()) };
    result(c_long::from(returned)).map(drop)
}

/// The system's page size in bytes, a power of two.
#[inline]
pub fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    constant(&SIZE, libc::_SC_PAGESIZE)
}

/// The smallest stack in bytes, without a guard, that libc takes for a thread.
#[inline]
pub fn thread_stack_min() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    // musl's takes any; this is its constant.
    const FLOOR: usize = 2048;
    constant(&SIZE, libc::_SC_THREAD_STACK_MIN).max(FLOOR)
}

/// Asks libc once; 0 says that it does not tell.
#[inline]
fn constant(known: &AtomicUsize, name: libc::c_int) -> usize {
    match known.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: sysconf has no preconditions.
            let size = unsafe { libc::sysconf(name) }.max(0) as usize;
            known.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// Copies words of this process's own memory, from `from` on, as far as it can be read. Returns how many. Async-signal-safe,
/// and never made to fail: to get less is what callers expect.
pub fn copy_own_memory(from: usize, into: &mut [MaybeUninit<usize>]) -> usize {
    // The kernel copies whole parts only: so each is within one page.
    const PAGE: usize = 4096;
    const PARTS: usize = 32;
    let len = size_of_val(into);
    let mut parts = [libc::iovec {
        iov_base: core::ptr::null_mut(),
        iov_len: 0,
    }; PARTS];
    let (mut used, mut at) = (0, 0);
    while used < PARTS && at < len {
        let begin = from + at;
        let part = (PAGE - begin % PAGE).min(len - at);
        parts[used] = libc::iovec {
            iov_base: begin as *mut _,
            iov_len: part,
        };
        (used, at) = (used + 1, at + part);
    }
    let whole = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: at,
    };
    // SAFETY: the kernel writes to the buffer, and reads what it can.
    let copied = unsafe {
        let me = libc::getpid();
        libc::syscall(
            libc::SYS_process_vm_readv,
            me,
            &raw const whole,
            1usize,
            parts.as_ptr(),
            used,
            0usize,
        )
    };
    usize::try_from(copied).unwrap_or(0) / size_of::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_size_is_the_systems() {
        assert!(page_size().is_power_of_two() && page_size() >= 4096);
    }

    #[test]
    fn a_mapping_is_zeroed_advised_and_resident() {
        let (page, len) = (page_size(), 4 * page_size());
        let base = mmap_reserve(len).unwrap();
        // SAFETY: the mapping is ours and 4 pages long.
        unsafe {
            base.add(page).write(7);
            let mut resident = [0; 4];
            mincore(base, &mut resident).unwrap();
            assert_eq!(resident.map(|byte| byte & 1), [0, 1, 0, 0]);
            madvise(base, len, Advice::DontNeed).unwrap();
            assert_eq!(base.add(page).read(), 0);
            mprotect_none(base, page).unwrap();
            munmap(base, len).unwrap();
        }
    }
}
