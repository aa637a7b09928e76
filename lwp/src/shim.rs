//! The one place that names `std`'s or loom's atomics, cells and locks.
//!
//! Everything else in the workspace imports them from here, so that the very
//! code that ships also runs inside `loom::model` when the workspace is built
//! with `--cfg lisle_loom`. (A private cfg, because a bare `loom` cfg would
//! also change how dependencies are compiled.)
//!
//! What loom cannot see: it treats `SeqCst` accesses as `AcqRel` (only
//! `fence(SeqCst)` is sequentially consistent), has no spurious futex
//! wake-ups, and no load buffering. Where a proof needs a total order, the code
//! therefore uses a `SeqCst` *fence*, which loom models faithfully.
#![allow(clippy::disallowed_types)]

#[cfg(not(lisle_loom))]
mod imp {
    pub use core::hint::spin_loop;
    use core::sync::atomic as real;
    pub use real::{Ordering, compiler_fence, fence};

    // Aliases rather than re-exports: the lint that keeps the real names out of
    // all other files sees through a re-export.
    /// See [`core::sync::atomic::AtomicBool`].
    pub type AtomicBool = real::AtomicBool;
    /// See [`core::sync::atomic::AtomicU8`].
    pub type AtomicU8 = real::AtomicU8;
    /// See [`core::sync::atomic::AtomicI32`].
    pub type AtomicI32 = real::AtomicI32;
    /// See [`core::sync::atomic::AtomicU32`].
    pub type AtomicU32 = real::AtomicU32;
    /// See [`core::sync::atomic::AtomicU64`].
    pub type AtomicU64 = real::AtomicU64;
    /// See [`core::sync::atomic::AtomicUsize`].
    pub type AtomicUsize = real::AtomicUsize;
    /// See [`core::sync::atomic::AtomicPtr`].
    pub type AtomicPtr<T> = real::AtomicPtr<T>;

    /// See [`core::cell::Cell`].
    pub type PlainCell<T> = core::cell::Cell<T>;

    /// An `UnsafeCell` with loom's access methods.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct Cell<T: ?Sized>(core::cell::UnsafeCell<T>);

    impl<T> Cell<T> {
        /// Wraps a value.
        pub const fn new(value: T) -> Self {
            Cell(core::cell::UnsafeCell::new(value))
        }

        /// Unwraps the value.
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }

    impl<T: ?Sized> Cell<T> {
        /// Calls `f` with a pointer for reading.
        #[inline(always)]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer for writing.
        #[inline(always)]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// A 32-bit word on which kernel threads can sleep.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct Futex(AtomicU32);

    impl Futex {
        /// A word holding `value`.
        pub const fn new(value: u32) -> Self {
            Futex(AtomicU32::new(value))
        }

        /// Sleeps while the word holds `expected`, at most `timeout`.
        /// Returns `false` if the time was up. May return spuriously.
        pub fn wait(&self, expected: u32, timeout: Option<core::time::Duration>) -> bool {
            match crate::sys::futex_wait(&self.0, expected, timeout) {
                Ok(()) => true,
                Err(error) => error.raw_os_error() != Some(libc::ETIMEDOUT),
            }
        }

        /// Wakes at most one sleeper.
        pub fn wake_one(&self) {
            // A wake can only fail for a bad address, and the word is ours.
            let _ = crate::sys::futex_wake(&self.0, 1);
        }
    }

    impl core::ops::Deref for Futex {
        type Target = AtomicU32;
        fn deref(&self) -> &AtomicU32 {
            &self.0
        }
    }
}

#[cfg(lisle_loom)]
mod imp {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{
        AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        fence,
    };

    /// Loom has no compiler fences: nothing is reordered within its threads.
    pub fn compiler_fence(_: Ordering) {}

    /// A loom cell: concurrent access is reported as a race.
    #[derive(Debug, Default)]
    pub struct Cell<T: ?Sized>(loom::cell::UnsafeCell<T>);

    impl<T> Cell<T> {
        /// Wraps a value.
        pub fn new(value: T) -> Self {
            Cell(loom::cell::UnsafeCell::new(value))
        }

        /// Unwraps the value.
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }

    impl<T: ?Sized> Cell<T> {
        /// Calls `f` with a pointer for reading.
        #[track_caller]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            self.0.with(f)
        }

        /// Calls `f` with a pointer for writing.
        #[track_caller]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            self.0.with_mut(f)
        }
    }

    /// A [`core::cell::Cell`], for data that is shared under a lock: concurrent access is
    /// reported as a race.
    pub type PlainCell<T> = loom::cell::Cell<T>;

    /// The futex contract on a loom mutex and condition variable.
    #[derive(Debug)]
    pub struct Futex {
        word: AtomicU32,
        gate: loom::sync::Mutex<()>,
        queue: loom::sync::Condvar,
    }

    impl Futex {
        /// A word holding `value`.
        pub fn new(value: u32) -> Self {
            Futex {
                word: AtomicU32::new(value),
                gate: loom::sync::Mutex::new(()),
                queue: loom::sync::Condvar::new(),
            }
        }

        /// Sleeps while the word holds `expected`. Loom has no time: a timeout
        /// is taken at once, so that both outcomes are explored by the caller.
        pub fn wait(&self, expected: u32, timeout: Option<core::time::Duration>) -> bool {
            let gate = self.gate.lock().unwrap();
            if self.word.load(Ordering::Relaxed) != expected {
                return true;
            }
            if timeout.is_some() {
                return false;
            }
            drop(self.queue.wait(gate).unwrap());
            true
        }

        /// Wakes at most one sleeper.
        pub fn wake_one(&self) {
            let gate = self.gate.lock().unwrap();
            self.queue.notify_one();
            drop(gate);
        }
    }

    impl core::ops::Deref for Futex {
        type Target = AtomicU32;
        fn deref(&self) -> &AtomicU32 {
            &self.word
        }
    }
}

pub use imp::*;

/// Defines a function that is `const` except under loom, whose atomics cannot
/// be made in constants.
#[macro_export]
#[doc(hidden)]
macro_rules! const_unless_loom {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident ( $($arg:ident : $ty:ty),* $(,)? ) -> $ret:ty $body:block)*) => {
        $(
            #[cfg(not(lisle_loom))]
            $(#[$meta])* $vis const fn $name($($arg: $ty),*) -> $ret $body
            #[cfg(lisle_loom)]
            $(#[$meta])* $vis fn $name($($arg: $ty),*) -> $ret $body
        )*
    };
}
