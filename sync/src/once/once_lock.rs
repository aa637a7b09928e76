//! `OnceLock`: a value that is written once, with std's names and behaviour.

use core::fmt;
use core::mem::MaybeUninit;
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use lisle_lwp::shim::Cell;

use super::Once;

/// A value that is written once, as `std::sync::OnceLock`.
///
/// *Cancellation*: [`OnceLock::wait`] is a cancellation point; an initializer that
/// panics or is cancelled leaves the value unwritten, for the next one.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::OnceLock;
/// static NAME: OnceLock<String> = OnceLock::new();
/// assert_eq!(NAME.get(), None);
/// assert_eq!(NAME.get_or_init(|| "Ada".into()), "Ada");
/// assert_eq!(NAME.set("Grace".into()), Err("Grace".into()));
/// ```
///
/// It is shared between threads if its value can be, and can go from one to another:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::OnceLock::<std::cell::Cell<u8>>::new());
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// Written if and only if `once` is complete.
    value: Cell<MaybeUninit<T>>,
}

// SAFETY: the value goes from thread to thread with the lock.
unsafe impl<T: Send> Send for OnceLock<T> {}
// SAFETY: all threads share the value, which one of them has made.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    lisle_lwp::const_unless_loom! {
        /// Nothing yet.
        pub fn new() -> OnceLock<T> {
            OnceLock { once: Once::new(), value: Cell::new(MaybeUninit::uninit()) }
        }
    }

    /// The value, if it has been written.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: it is complete, so the value is written, for ever.
        self.once.is_completed().then(|| unsafe { self.written() })
    }

    /// The value, if it has been written.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if !self.once.is_completed() {
            return None;
        }
        self.value.with_mut(|value| {
            // SAFETY: as in `get`, and `&mut self` makes the access unique.
            Some(unsafe { (*value).assume_init_mut() })
        })
    }

    /// Waits until somebody has written the value. A cancellation point.
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        // SAFETY: as in `get`.
        unsafe { self.written() }
    }

    /// As [`OnceLock::wait`], at most this long. A cancellation point.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<&T> {
        self.wait_until(lisle_runtime::time::now().checked_add(timeout))
    }

    /// As [`OnceLock::wait`], at most until the deadline. A cancellation point.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<&T> {
        self.wait_until(Some(deadline))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Option<&T> {
        self.once.wait_until(true, deadline);
        self.get()
    }

    /// Writes the value, if it has not been written.
    ///
    /// # Errors
    /// If it has been; the new value is the error.
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        match value {
            None => Ok(()),
            Some(value) => Err(value),
        }
    }

    /// The value; writes it first, if it has not been written. Others that come
    /// meanwhile wait.
    ///
    /// # Panics
    /// If the closure panics: then the value stays unwritten.
    #[inline]
    pub fn get_or_init<F: FnOnce() -> T>(&self, f: F) -> &T {
        self.once.call_once_force(|_| {
            let new = f();
            // SAFETY: nobody reads before it is complete, nobody else runs this.
            self.value.with_mut(|value| unsafe { (*value).write(new) });
        });
        // SAFETY: as in `get`.
        unsafe { self.written() }
    }

    /// The value, if it has been written.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out, if it has been written: then it can be written again.
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_completed() {
            return None;
        }
        self.once = Once::new();
        // SAFETY: it was complete, so the value is written; now it counts as
        // unwritten.
        Some(
            self.value
                .with_mut(|value| unsafe { (*value).assume_init_read() }),
        )
    }

    /// # Safety
    /// It is complete.
    #[inline]
    unsafe fn written(&self) -> &T {
        // SAFETY: passed on.
        self.value
            .with(|value| unsafe { (*value).assume_init_ref() })
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        OnceLock::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let lock = OnceLock::new();
        lock.get_or_init(|| value);
        lock
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get()
            .cloned()
            .map_or_else(OnceLock::new, OnceLock::from)
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => shown.field(value),
            None => shown.field(&format_args!("<uninit>")),
        };
        shown.finish()
    }
}
