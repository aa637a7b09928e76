//! What checkers of memory want to be told of. Nothing is done unless this is built for one
//! (`--cfg lisle_asan`, `--cfg lisle_valgrind`).
//!
//! AddressSanitizer keeps, for each thread of libc, where its stack lies, and marks the surroundings
//! of the variables on it. A full thread is a thread of libc with one stack for life, so that nothing
//! need be said about switches to it. A light thread stands on a stack that the thread of libc which
//! runs it has for a while only: whoever arrives there says so.
//!
//! Valgrind's memcheck takes each change of the stack pointer for a stack that grows or shrinks,
//! unless the new value lies in another stack that it knows. So it is told of each stack once: of a
//! light thread's when that is first made ready, of a kernel thread's while that carries an LWP,
//! because there the switches to light threads begin and end. What it is told stands in
//! instructions that do nothing elsewhere, so that a program built for it runs without it, too.
//!
//! It has one current stack for the whole process. If two kernel threads run on stacks that it
//! knows, it takes the first step of each turn for a switch, and may then report writes to what it
//! missed of a frame. So a program that it checks has one LWP, and the stack of the process's first
//! thread, which it knows of itself, is taken from it.

#[cfg(lisle_asan)]
mod asan {
    use core::ffi::c_void;
    use core::ptr;

    unsafe extern "C" {
        fn __asan_unpoison_memory_region(address: *const c_void, size: usize);
        fn __sanitizer_start_switch_fiber(
            fake: *mut *mut c_void,
            bottom: *const c_void,
            size: usize,
        );
        fn __sanitizer_finish_switch_fiber(
            fake: *mut c_void,
            bottom: *mut *const c_void,
            size: *mut usize,
        );
        /// Declared as if it returned: before a call that does not, the sanitizer clears the stacks
        /// of the caller, and in a signal handler asks libc for them in a way that full threads
        /// refuse.
        pub(super) fn abort();
    }

    /// # Safety
    /// As `abandoned`.
    pub(super) unsafe fn unpoison(low: *mut u8, high: *mut u8) {
        // SAFETY: changes only what the sanitizer knows of memory that the caller has.
        unsafe { __asan_unpoison_memory_region(low.cast(), high as usize - low as usize) };
    }

    pub(super) fn stand_on(low: *const u8, size: usize) {
        // SAFETY: the first call notes the bounds, the second makes them the thread's. Neither keeps
        // a second stack for variables: that is switched off (ci/sanitizers.sh).
        unsafe {
            __sanitizer_start_switch_fiber(ptr::null_mut(), low.cast(), size);
            __sanitizer_finish_switch_fiber(ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        }
    }

    pub(super) fn stand_on_own() {
        let (low, size) = super::own_stack();
        stand_on(low, size);
    }
}

#[cfg(lisle_valgrind)]
mod valgrind {
    /// From valgrind's public headers.
    const STACK_REGISTER: usize = 0x1501;
    const STACK_DEREGISTER: usize = 0x1502;
    const MAKE_MEM_UNDEFINED: usize = (b'M' as usize) << 24 | (b'C' as usize) << 16 | 1;

    /// What valgrind answers, or zero without it.
    #[cfg(target_arch = "x86_64")]
    fn request(number: usize, first: usize, second: usize) -> usize {
        let words = [number, first, second, 0, 0, 0];
        let mut answer = 0;
        // SAFETY: the processor turns rdi by 128 bits in all and exchanges rbx with itself; valgrind,
        // which knows the sequence, reads the six words and changes rdx alone. Without `nomem`: the
        // words are read, and what is said of other memory is said at this place in the program.
        unsafe {
            core::arch::asm!(
                "rol rdi, 3",
                "rol rdi, 13",
                "rol rdi, 61",
                "rol rdi, 51",
                "xchg rbx, rbx",
                in("rax") words.as_ptr(),
                inout("rdx") answer,
                options(nostack),
            );
        }
        answer
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn request(_: usize, _: usize, _: usize) -> usize {
        0
    }

    /// Returns the number by which it is taken back.
    pub(super) fn register(low: *const u8, high: *const u8) -> usize {
        // The highest byte counts, not the one after.
        request(STACK_REGISTER, low as usize, high as usize - 1)
    }

    pub(super) fn deregister(stack: usize) {
        request(STACK_DEREGISTER, stack, 0);
    }

    pub(super) fn make_undefined(low: *mut u8, high: *mut u8) {
        request(
            MAKE_MEM_UNDEFINED,
            low as usize,
            high as usize - low as usize,
        );
    }
}

/// Where the running kernel thread's own stack begins, and its size: zero if libc does not know it.
#[cfg(any(lisle_asan, lisle_valgrind))]
fn own_stack() -> (*const u8, usize) {
    let (mut low, mut size) = (core::ptr::null_mut(), 0);
    let mut attributes = core::mem::MaybeUninit::uninit();
    // SAFETY: initialised by the first call if it succeeds, and destroyed by the last.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 {
            libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
    }
    (low.cast(), size)
}

/// A stack from which the running kernel thread switches to others is known as long as this lives.
#[derive(Debug)]
#[must_use = "the stack is known as long as this lives"]
pub struct Known {
    #[cfg(lisle_valgrind)]
    number: usize,
}

/// From its own stack the running kernel thread will switch to others.
#[inline(always)]
pub fn know_own_stack() -> Known {
    #[cfg(lisle_valgrind)]
    let number = {
        // That of the process's first thread has this number, and nobody switches from there.
        valgrind::deregister(0);
        let (low, size) = own_stack();
        assert_ne!(size, 0, "libc knows the stacks that it made");
        valgrind::register(low, low.wrapping_add(size))
    };
    Known {
        #[cfg(lisle_valgrind)]
        number,
    }
}

#[cfg(lisle_valgrind)]
impl Drop for Known {
    fn drop(&mut self) {
        valgrind::deregister(self.number);
    }
}

/// A stack for user threads has been made ready for the first time. It stays known: the pool of the
/// process unmaps none.
#[inline(always)]
pub fn made(low: *const u8, high: *const u8) {
    #[cfg(lisle_valgrind)]
    valgrind::register(low, high);
    let _ = (low, high);
}

/// Nothing that lies on this part of a stack is needed any more: who ran there has left without
/// returning from its functions, so that AddressSanitizer still guards their variables, and memcheck
/// what lay below them.
///
/// # Safety
/// The memory is a stack's, and nobody runs there.
#[inline(always)]
pub unsafe fn abandoned(low: *mut u8, high: *mut u8) {
    #[cfg(lisle_asan)]
    // SAFETY: passed on.
    unsafe {
        asan::unpoison(low, high);
    }
    #[cfg(lisle_valgrind)]
    valgrind::make_undefined(low, high);
    let _ = (low, high);
}

/// The caller has just arrived on this stack, which is not the running kernel thread's own, under
/// that kernel thread's thread pointer.
#[inline(always)]
pub fn standing_on(low: *const u8, high: *const u8) {
    #[cfg(lisle_asan)]
    asan::stand_on(low, high as usize - low as usize);
    let _ = (low, high);
}

/// The caller is back on the running kernel thread's own stack.
#[inline(always)]
pub fn standing_on_own() {
    #[cfg(lisle_asan)]
    asan::stand_on_own();
}

/// Ends the process, from a signal handler on any thread's alternate stack.
#[inline(always)]
pub fn abort_in_handler() {
    #[cfg(lisle_asan)]
    // SAFETY: async-signal-safe.
    unsafe {
        asan::abort();
    }
    #[cfg(not(lisle_asan))]
    // SAFETY: as above.
    unsafe {
        libc::abort()
    }
}
