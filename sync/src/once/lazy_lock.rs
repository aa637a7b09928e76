//! `LazyLock`: a value that is made when it is first looked at, with std's names and
//! behaviour.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};

use lisle_lwp::shim::Cell;
use lisle_runtime::cancel;

use super::Once;

/// A value that is made when it is first looked at, as `std::sync::LazyLock`.
///
/// *Poison*: if the initializer panics, all later looks panic. *Cancellation*: the
/// initializer is shielded from cancels, because it can run only once.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::LazyLock;
/// static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| "a b c".split(' ').collect());
/// assert_eq!(WORDS.len(), 3);
/// ```
///
/// It is shared between threads if its value can be, and the initializer can go from one
/// to another:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::LazyLock::new(|| std::cell::Cell::new(0)));
/// ```
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let stays = std::rc::Rc::new(0);
/// shared(&lisle::sync::LazyLock::new(move || *stays));
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    /// `Value` if and only if `once` is complete.
    state: Cell<State<T, F>>,
}

enum State<T, F> {
    Initializer(F),
    Running,
    Value(T),
}

// SAFETY: value and initializer go from thread to thread with the lock.
unsafe impl<T: Send, F: Send> Send for LazyLock<T, F> {}
// SAFETY: all threads share the value; the initializer is taken by one of them.
unsafe impl<T: Send + Sync, F: Send> Sync for LazyLock<T, F> {}

impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    lisle_lwp::const_unless_loom! {
        /// A value that this initializer will make.
        pub fn new(f: F) -> LazyLock<T, F> {
            LazyLock { once: Once::new(), state: Cell::new(State::Initializer(f)) }
        }
    }

    /// The value; makes it first, if it has not been made. What dereferencing does.
    ///
    /// # Panics
    /// If the initializer panics, or has panicked.
    #[inline]
    pub fn force(this: &LazyLock<T, F>) -> &T {
        if !this.once.is_completed() {
            this.make();
        }
        LazyLock::get(this).expect("it has been made")
    }

    /// As [`LazyLock::force`], for who has it alone.
    ///
    /// # Panics
    /// As [`LazyLock::force`].
    pub fn force_mut(this: &mut LazyLock<T, F>) -> &mut T {
        LazyLock::force(this);
        LazyLock::get_mut(this).expect("it has been made")
    }

    #[cold]
    fn make(&self) {
        self.once.call_once(|| {
            let replace = |new| {
                self.state.with_mut(|state| {
                    // SAFETY: nobody reads before it is complete, nobody else runs
                    // this.
                    unsafe { core::mem::replace(&mut *state, new) }
                })
            };
            if let State::Initializer(f) = replace(State::Running) {
                replace(State::Value(cancel::shield(f)));
            }
        });
    }
}

impl<T, F> LazyLock<T, F> {
    /// The value, if it has been made.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::LazyLock;
    /// let lazy = LazyLock::new(|| 7);
    /// assert_eq!(LazyLock::get(&lazy), None);
    /// assert_eq!(*lazy, 7);
    /// assert_eq!(LazyLock::get(&lazy), Some(&7));
    /// ```
    pub fn get(this: &LazyLock<T, F>) -> Option<&T> {
        if !this.once.is_completed() {
            return None;
        }
        // SAFETY: it is complete: nobody writes any more.
        this.state.with(|state| match unsafe { &*state } {
            State::Value(value) => Some(value),
            _ => None,
        })
    }

    /// As [`LazyLock::get`], for who has it alone.
    pub fn get_mut(this: &mut LazyLock<T, F>) -> Option<&mut T> {
        // SAFETY: nobody else has it.
        this.state.with_mut(|state| match unsafe { &mut *state } {
            State::Value(value) => Some(value),
            _ => None,
        })
    }
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        LazyLock::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    fn deref_mut(&mut self) -> &mut T {
        LazyLock::force_mut(self)
    }
}

/// A value that has been made.
impl<T, F> From<T> for LazyLock<T, F> {
    fn from(value: T) -> Self {
        let once = Once::new();
        once.call_once(|| {});
        LazyLock {
            once,
            state: Cell::new(State::Value(value)),
        }
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        LazyLock::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("LazyLock");
        match LazyLock::get(self) {
            Some(value) => shown.field(value),
            None => shown.field(&format_args!("<uninit>")),
        };
        shown.finish()
    }
}
