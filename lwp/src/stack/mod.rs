//! Guarded stacks, cut from slabs, reused while warm.
//!
//! ```text
//!   slab: one mapping                                        a stack of 2^n × 64 KiB
//!   +--------+---------+---------+-- … --+---------+         +-------+------------------------+--------+
//!   | header | stack 0 | stack 1 |       | stack n |         | guard | usable, grows downward | colour |
//!   +--------+---------+---------+-- … --+---------+         +-------+------------------------+--------+
//!                                                            base    limit()              top()      end
//!
//!      LWP's StackCache            StackPool, per class
//!   stacks and promises <----->  warm list (last in, first out)  <---trim--->  cold: bits in the slab headers
//!                       halves                                                  never touched, or given back
//! ```
//!
//! - **Warm** stacks have been used; their list nodes lie in their own top bytes, in the line the
//!   next user touches first.
//! - **Cold** stacks have no memory behind them and must not be touched just to be linked: they are
//!   bits in a header.
//!
//! # Invariants
//! - A stack is in exactly one place: one owner's [`Stack`], one cache, the warm list, a header
//!   bit, or `trim`'s hands.
//! - *Promises*: of warm and cold stacks there are never fewer than are promised. So whoever takes one without a promise
//!   leaves those alone, and so does `trim`, also if they are warm; and a promise is kept without a system call.
//!   What a cache keeps is promised to nobody.
//! - A stack is handed out only with its guard in place. Guards are never removed before the slab
//!   is.
//! - Nothing here calls the allocator: slab headers lie in the slabs. (Two exceptions, both outside
//!   all locks of the classes: reading the mapping limit once, and an error that holds a
//!   [`StackError`].) The pool's `take` and `promise` may make system calls; `give` and `take_promised` make none (but
//!   for the pool's lock), nor does a cache, and so may be called inside the runtime.
//! - The lock of a class is never held over a system call that maps, advises or protects.
//!
//! # Colour
//! [`Stack::top`] lies a multiple of 64 bytes, below 1 KiB, under the end of the stack, different
//! for neighbours. Otherwise the hot lines of all suspended threads would fall into the same few
//! sets of the first-level cache (2.8 instead of 6.6 ns for a switch between 10 contexts).
//!
//! # Policy for memory
//! An LWP that goes idle calls [`StackCache::flush`]; whoever is idle for long
//! [looks](StackPool::look_for_idle) once in a while which stacks nobody has needed since the look
//! before, and gives their memory back, [some at a time](StackPool::trim_idle).
//!
//! # Rejected
//! One mapping per stack (8.5 to 11 µs, and the mapping limit ends it at 32,753); `MADV_FREE` in
//! place of `MADV_DONTNEED` (no cheaper, and the memory still counts as used); giving memory back
//! on every `give` (4 µs, and 4 more to touch it again).

use core::fmt;
use core::ptr::NonNull;
use std::io;

use crate::checkers;
use crate::sys;

mod cache;
mod guard;
mod link;
pub mod overflow;
mod pool;
mod slab;

pub use cache::StackCache;
pub use pool::{StackCounters, StackPool};

use slab::Slab;

/// How many size classes there are.
pub(crate) const CLASSES: usize = 11;
/// The binary logarithm of the smallest class.
const MIN_SHIFT: u32 = 16;
/// Stacks of this many consecutive addresses differ in colour.
const COLOURS: usize = 16;
/// Distance between colours: a cache line.
const COLOUR_STEP: usize = 64;

/// A size class of stacks: a power of two from 64 KiB to 64 MiB of reserved address space, guard
/// page included.
///
/// Only pages that were touched take memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackSize(u8);

impl StackSize {
    /// 64 KiB: for masses of threads. (With pages above 16 KiB a stack of this class gets four
    /// pages.)
    pub const SMALL: StackSize = StackSize(0);
    /// 256 KiB.
    pub const DEFAULT: StackSize = StackSize(2);
    /// 64 MiB.
    pub const MAX: StackSize = StackSize(CLASSES as u8 - 1);

    /// The smallest class of at least `bytes`; the smallest of all for 0.
    ///
    /// # Errors
    /// [`StackError::TooLarge`] above 64 MiB.
    ///
    /// ```
    /// use lisle_lwp::stack::StackSize;
    /// assert_eq!(StackSize::new(0)?.bytes(), 64 << 10);
    /// assert_eq!(StackSize::new(65_537)?.bytes(), 128 << 10);
    /// assert!(StackSize::new(65 << 20).is_err());
    /// # Ok::<(), lisle_lwp::stack::StackError>(())
    /// ```
    pub const fn new(bytes: usize) -> Result<StackSize, StackError> {
        let mut class = 0;
        while class < CLASSES as u8 {
            if bytes <= StackSize(class).bytes() {
                return Ok(StackSize(class));
            }
            class += 1;
        }
        Err(StackError::TooLarge { bytes })
    }

    /// Bytes of address space of a stack of this class.
    pub const fn bytes(self) -> usize {
        1 << (MIN_SHIFT + self.0 as u32)
    }

    /// This class, or the smallest one that holds four pages.
    pub fn fitting(self) -> StackSize {
        self.max(StackSize::new(4 * sys::page_size()).unwrap_or(StackSize::MAX))
    }

    /// The same for a stack that libc is to take for a thread.
    pub(crate) fn fitting_libc(self) -> StackSize {
        let least = sys::thread_stack_min() + sys::page_size();
        let class = StackSize::new(least).unwrap_or(StackSize::MAX);
        self.fitting().max(class)
    }

    /// Bytes of such a stack that can be used: without guard and colour.
    pub fn usable(self) -> usize {
        self.bytes() - guard::size() - COLOURS * COLOUR_STEP
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Default for StackSize {
    fn default() -> Self {
        StackSize::DEFAULT
    }
}

/// Why a stack cannot be had, where the operating system's error number would not say it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackError {
    /// More than the largest class was asked for.
    TooLarge {
        /// What was asked for.
        bytes: usize,
    },
    /// Guards take mappings on this kernel, and the share of the process's mappings set aside for
    /// them is used up.
    GuardsExhausted {
        /// How many stacks can be guarded.
        stacks: usize,
    },
}

impl StackError {
    /// The `StackError` inside an error of [`StackPool::take`], if it is one.
    pub fn of(error: &io::Error) -> Option<StackError> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StackError::TooLarge { bytes } => {
                let max = StackSize::MAX.bytes();
                write!(f, "a stack of {bytes} bytes is above the maximum of {max}")
            }
            StackError::GuardsExhausted { stacks } => write!(
                f,
                "{stacks} stacks have guard pages, as many as vm.max_map_count allows on a kernel without \
                 guard regions: raise that limit (sysctl -w vm.max_map_count=…), use Linux 6.13 or later, \
                 or run fewer threads at a time"
            ),
        }
    }
}

impl core::error::Error for StackError {}

impl From<StackError> for io::Error {
    fn from(error: StackError) -> io::Error {
        let kind = match error {
            StackError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            StackError::GuardsExhausted { .. } => io::ErrorKind::OutOfMemory,
        };
        io::Error::new(kind, error)
    }
}

/// A stack and the right to use it. Comes from, and should go back to, a [`StackPool`] or its
/// cache; one that is dropped instead stays reserved.
#[derive(Debug)]
#[must_use = "a stack that is dropped is lost to its pool"]
pub struct Stack {
    /// The low end, guard included.
    base: NonNull<u8>,
    slab: NonNull<Slab>,
    class: StackSize,
}

// SAFETY: a stack is memory with one owner; its slab is touched under the lock of the pool only.
unsafe impl Send for Stack {}
// SAFETY: through a shared reference one only computes addresses.
unsafe impl Sync for Stack {}

impl Stack {
    /// Where the first frame goes: 64-aligned, up to 1 KiB below the end (see the module on
    /// colours). What lies between it and [`Stack::end`] belongs to the owner as well.
    #[inline]
    pub fn top(&self) -> *mut u8 {
        let colour =
            (self.base.as_ptr() as usize >> (MIN_SHIFT + u32::from(self.class.0))) % COLOURS;
        self.end().wrapping_sub(colour * COLOUR_STEP)
    }

    /// One past the highest byte.
    #[inline]
    pub fn end(&self) -> *mut u8 {
        self.base.as_ptr().wrapping_add(self.class.bytes())
    }

    /// The lowest usable byte; right below it lies the guard page.
    #[inline]
    pub fn limit(&self) -> *mut u8 {
        self.base.as_ptr().wrapping_add(guard::size())
    }

    /// Usable bytes: from [`Stack::limit`] to [`Stack::top`].
    #[inline]
    pub fn size(&self) -> usize {
        self.top() as usize - self.limit() as usize
    }

    /// Its size class.
    #[inline]
    pub fn class(&self) -> StackSize {
        self.class
    }

    /// Whether the address lies in the usable part.
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        (self.limit() as usize..self.end() as usize).contains(&address)
    }

    /// Nobody stands on it any more.
    #[inline(always)]
    fn abandon(&self) {
        // SAFETY: the caller gives the stack away.
        unsafe { checkers::abandoned(self.limit(), self.end()) };
    }

    /// A number above all ids of kernel threads that no other stack has or had, and that fits where
    /// futexes keep their owner: what libc takes for the id of a thread on this stack.
    #[inline]
    pub fn thread_number(&self) -> u32 {
        // SAFETY: headers are never unmapped; what is read is immutable.
        unsafe { self.slab.as_ref() }.number_of(self.base)
    }

    /// How deep the stack has been used, in bytes from its end down to the lowest page that was
    /// ever touched since the kernel last gave it out: by this owner or by those before it. Counts
    /// whole pages; pages that are swapped out are not seen. Costs a system call per 2 MiB.
    ///
    /// # Errors
    /// EAGAIN if the kernel lacks memory.
    pub fn high_water(&self) -> io::Result<usize> {
        let (page, end) = (sys::page_size(), self.end());
        let mut pages = [0u8; 512];
        let mut at = self.limit();
        while at < end {
            let count = ((end as usize - at as usize) / page).min(pages.len());
            sys::mincore(at, &mut pages[..count])?;
            if let Some(first) = pages[..count].iter().position(|byte| byte & 1 != 0) {
                return Ok(end as usize - at as usize - first * page);
            }
            at = at.wrapping_add(count * page);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
