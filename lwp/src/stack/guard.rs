//! The guard page at the low end of every stack.
//!
//! Two ways to make it, decided once per process:
//!
//! | way | where | price |
//! |---|---|---|
//! | guard region (`MADV_GUARD_INSTALL`) | Linux 6.13, if it *works* | 1 to 2 µs, no mapping |
//! | `mprotect(PROT_NONE)` | everywhere | 6 µs and two mappings, of which a process has `vm.max_map_count` |
//!
//! An emulator may accept the advice and install nothing, so the first use makes one and lets the
//! kernel try to read through it, and beside it: no fault is taken, no handler is needed.
//!
//! The guard is one page of whatever size the system has. Rust's code probes every page of a large
//! frame, so it cannot step over one; C code built without stack-clash protection can, if a frame
//! is larger than a page.
//!
//! # Budget
//! Guards by `mprotect` stop at a budget that leaves the program an eighth of all mappings, and no
//! less than 4,096 of them.

use std::io;

use super::StackError;
use crate::shim::{AtomicU8, AtomicUsize, Ordering};
use crate::sys::{self, Advice, Call};

/// Bytes of a guard.
#[inline]
pub(super) fn size() -> usize {
    sys::page_size()
}

/// How a guard was made.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// By advice.
    Region,
    /// By protection: counted in a [`Budget`].
    Protected,
}

/// How many stacks may be guarded by `mprotect`.
#[derive(Debug)]
pub(super) struct Budget {
    /// 0: not yet asked of the system.
    limit: AtomicUsize,
    spent: AtomicUsize,
}

/// The budget of all pools but those that tests make.
pub(super) static SYSTEM: Budget = Budget::new(0);

impl Budget {
    pub(super) const fn new(limit: usize) -> Budget {
        Budget {
            limit: AtomicUsize::new(limit),
            spent: AtomicUsize::new(0),
        }
    }

    fn limit(&self) -> io::Result<usize> {
        let known = self.limit.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(known);
        }
        let limit = stacks_within(max_map_count()?);
        self.limit.store(limit, Ordering::Relaxed);
        Ok(limit)
    }

    /// Takes one guard out of the budget.
    fn spend(&self) -> io::Result<()> {
        let limit = self.limit()?;
        let spend = |spent| (spent < limit).then_some(spent + 1);
        // Relaxed: a counter, it guards no data.
        self.spent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .map(drop)
            .map_err(|_| StackError::GuardsExhausted { stacks: limit }.into())
    }

    /// Puts guards back.
    pub(super) fn refund(&self, guards: usize) {
        self.spent.fetch_sub(guards, Ordering::Relaxed);
    }
}

/// How many stacks the mapping limit allows: two mappings each, after the reserve for the rest of
/// the program.
fn stacks_within(mappings: usize) -> usize {
    let reserve = (mappings / 8).max(4096).min(mappings / 2);
    ((mappings - reserve) / 2).max(1)
}

fn max_map_count() -> io::Result<usize> {
    const LINUX_DEFAULT: usize = 65_530;
    let path = "/proc/sys/vm/max_map_count";
    match sys::guarded(Call::Open, || std::fs::read_to_string(path)) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(LINUX_DEFAULT)),
        // Without /proc the default is the best guess; a lack of descriptors passes, and is an
        // error now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LINUX_DEFAULT),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(LINUX_DEFAULT),
        Err(error) => Err(error),
    }
}

/// Guards the page at `base`. `own` forces protection, counted in that budget.
///
/// # Safety
/// The page belongs to the caller, and nothing uses it.
pub(super) unsafe fn install(base: *mut u8, own: Option<&Budget>) -> io::Result<Guard> {
    if own.is_none() && regions_work()? {
        // SAFETY: by contract.
        match unsafe { sys::madvise(base, size(), Advice::GuardInstall) } {
            Ok(()) => return Ok(Guard::Region),
            // Before Linux 6.15, locked memory (mlockall) takes no guard regions.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(error),
        }
    }
    let budget = own.unwrap_or(&SYSTEM);
    budget.spend()?;
    // SAFETY: by contract.
    unsafe { sys::mprotect_none(base, size()) }.inspect_err(|_| budget.refund(1))?;
    Ok(Guard::Protected)
}

/// Whether guard regions work here: tried once, then remembered.
pub(super) fn regions_work() -> io::Result<bool> {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static VERDICT: AtomicU8 = AtomicU8::new(UNKNOWN);
    match VERDICT.load(Ordering::Relaxed) {
        UNKNOWN => {
            // Threads that race here all come to the same verdict. An error is no verdict.
            let works = try_a_region()?;
            VERDICT.store(if works { YES } else { NO }, Ordering::Relaxed);
            Ok(works)
        }
        verdict => Ok(verdict == YES),
    }
}

fn try_a_region() -> io::Result<bool> {
    if cfg!(miri) {
        return Ok(true);
    }
    let len = 2 * size();
    let base = sys::mmap_reserve(len)?;
    // SAFETY: the mapping is two pages, ours alone, and zero.
    unsafe {
        let works = match sys::madvise(base, size(), Advice::GuardInstall) {
            Ok(()) => guard_shows(base),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
            Err(error) => Err(error),
        };
        sys::munmap(base, len)?;
        works
    }
}

/// Whether the kernel cannot read the page at `base` but can read the next one.
fn guard_shows(base: *mut u8) -> io::Result<bool> {
    let readable = |place: *mut u8| sys::kernel_can_read(place.cast());
    Ok(!readable(base)? && readable(base.wrapping_add(size()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_leaves_a_reserve() {
        assert_eq!(stacks_within(65_530), (65_530 - 8191) / 2);
        assert_eq!(stacks_within(16_000), (16_000 - 4096) / 2);
        assert_eq!(stacks_within(1_000), 250);
        assert_eq!(stacks_within(0), 1);
    }

    #[test]
    fn a_budget_is_spent_and_refunded() {
        let budget = Budget::new(2);
        budget.spend().unwrap();
        budget.spend().unwrap();
        let error = budget.spend().unwrap_err();
        let exhausted = StackError::GuardsExhausted { stacks: 2 };
        assert_eq!(StackError::of(&error), Some(exhausted));
        budget.refund(1);
        budget.spend().unwrap();
        assert_eq!(budget.spent.load(Ordering::Relaxed), 2);
    }

    /// The trial must tell a guard from none, whatever this kernel supports.
    #[test]
    fn the_trial_sees_what_is_there() {
        let len = 2 * size();
        let base = sys::mmap_reserve(len).unwrap();
        // SAFETY: the mapping is two zeroed pages of this test.
        unsafe {
            assert!(!guard_shows(base).unwrap());
            sys::mprotect_none(base, size()).unwrap();
            assert!(guard_shows(base).unwrap());
            sys::munmap(base, len).unwrap();
        }
    }
}
