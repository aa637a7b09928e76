//! What checkers of memory want to be told of. Nothing is done unless this is built for one.

/// Nothing that lies on this part of a stack is needed any more: who ran there has left without
/// returning from its functions, so that AddressSanitizer still guards their variables.
///
/// # Safety
/// The memory is a stack's, and nobody runs there.
#[inline(always)]
pub unsafe fn abandoned(low: *mut u8, high: *mut u8) {
    #[cfg(lisle_asan)]
    {
        unsafe extern "C" {
            fn __asan_unpoison_memory_region(address: *mut u8, size: usize);
        }
        // SAFETY: changes only what the sanitizer knows of memory that the caller has.
        unsafe { __asan_unpoison_memory_region(low, high as usize - low as usize) };
    }
    let _ = (low, high);
}
