//! What checkers of memory want to be told of. Nothing is done unless this is built for one
//! (`--cfg lisle_asan`).
//!
//! AddressSanitizer keeps, for each thread of libc, where its stack lies, and marks the surroundings
//! of the variables on it. A full thread is a thread of libc with one stack for life, so that nothing
//! need be said about switches to it. A light thread stands on a stack that the thread of libc which
//! runs it has for a while only: whoever arrives there says so.

#[cfg(lisle_asan)]
mod asan {
    use core::ffi::c_void;
    use core::mem::MaybeUninit;
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
        let (mut low, mut size) = (ptr::null_mut(), 0);
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: initialised by the first call if it succeeds, and destroyed by the last.
        unsafe {
            if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 {
                libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size);
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
            }
        }
        stand_on(low.cast(), size);
    }
}

/// Nothing that lies on this part of a stack is needed any more: who ran there has left without
/// returning from its functions, so that AddressSanitizer still guards their variables.
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
