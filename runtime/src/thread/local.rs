//! `local!`: variables of a user thread.
//!
//! Like `thread_local!`, but keyed by the *lisle* thread: the value follows a
//! light thread from kernel thread to kernel thread, and is destroyed at the
//! end of that thread, on its own stack, before its joiner is told. On a plain
//! kernel thread it is destroyed when that thread ends.
//!
//! The values hang off the control block, in a small vector sorted by key (the
//! address of the static); only the thread itself touches it. Destructors run
//! in the order in which the values were first used, and may use (and so
//! create) other locals: rounds repeat until none is left.

use core::any::Any;
use core::marker::PhantomData;

use crate::current::me;
use crate::tcb::Tcb;

/// A thread's values. Boxed once on first use, so that a control block carries
/// one word.
#[allow(clippy::box_collection)] // one word, not three
#[derive(Debug)]
pub(crate) struct Locals(Option<Box<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    key: usize,
    /// `None` while the value is being made or destroyed.
    value: Option<Box<dyn Any>>,
    destroyed: bool,
}

impl Locals {
    pub(crate) const fn new() -> Locals {
        Locals(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A key of a variable that every thread has its own value of; made by
/// [`local!`](crate::local).
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
    _value: PhantomData<fn() -> T>,
}

impl<T> core::fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// The value is being made or has been destroyed: see [`LocalKey::try_with`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessError;

impl core::fmt::Display for AccessError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the thread's value is being made or has been destroyed")
    }
}

impl std::error::Error for AccessError {}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> LocalKey<T> {
        LocalKey {
            init,
            _value: PhantomData,
        }
    }

    /// Calls `f` with the calling thread's value, making it on first use.
    ///
    /// A reference does not get out of it:
    ///
    /// ```compile_fail,E0521
    /// # use lisle_runtime as lisle;
    /// lisle::local!(static NUMBER: u32 = 1);
    /// let mut kept = None;
    /// NUMBER.with(|number| kept = Some(number));
    /// ```
    ///
    /// # Panics
    /// If the value is being made or has been destroyed.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f)
            .expect("cannot access a user thread's local during or after destruction")
    }

    /// Calls `f` with the calling thread's value, making it on first use.
    ///
    /// # Errors
    /// If the value is being made or has been destroyed.
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let thread = me();
        let key = core::ptr::from_ref(self) as usize;
        let value = match find(thread, key) {
            Some(found) => found?,
            None => {
                edit(thread, |entries| {
                    entries.push(Entry {
                        key,
                        value: None,
                        destroyed: false,
                    });
                });
                let made: Box<dyn Any> = match std::panic::catch_unwind(self.init) {
                    Ok(value) => Box::new(value),
                    Err(payload) => {
                        edit(thread, |entries| entries.retain(|entry| entry.key != key));
                        std::panic::resume_unwind(payload)
                    }
                };
                edit(thread, |entries| {
                    let entry = entries.iter_mut().find(|entry| entry.key == key);
                    entry.expect("just pushed").value = Some(made);
                });
                find(thread, key).ok_or(AccessError)??
            }
        };
        // SAFETY: the box is pinned in the thread's table until the thread
        // ends, only this thread reaches it, and `f` cannot outlive the call.
        let value = unsafe { &*value };
        let value: &T = value.downcast_ref().ok_or(AccessError)?;
        Ok(f(value))
    }
}

/// The value's address, if the thread has an entry.
fn find(thread: &Tcb, key: usize) -> Option<Result<*const dyn Any, AccessError>> {
    thread.locals.with(|locals| {
        // SAFETY: only the thread itself touches its table, and no user code
        // runs while it does.
        let entries = unsafe { &*locals }.0.as_ref()?;
        let entry = entries.iter().find(|entry| entry.key == key)?;
        let address = entry
            .value
            .as_ref()
            .map(|value| core::ptr::from_ref::<dyn Any>(&**value));
        Some(address.ok_or(AccessError))
    })
}

fn edit<R>(thread: &Tcb, f: impl FnOnce(&mut Vec<Entry>) -> R) -> R {
    // SAFETY: as in `find`; `f` is ours and runs no user code.
    thread
        .locals
        .with_mut(|locals| f(unsafe { &mut *locals }.0.get_or_insert_default()))
}

/// Destroys all values of the calling thread `thread`, in the order of their
/// making; values made meanwhile too.
pub(crate) fn destroy_all(thread: &Tcb) {
    // SAFETY: as in `find`.
    if thread.locals.with(|locals| unsafe { &*locals }.0.is_none()) {
        return;
    }
    loop {
        let next = edit(thread, |entries| {
            let entry = entries.iter_mut().find(|entry| !entry.destroyed)?;
            entry.destroyed = true;
            Some(entry.value.take())
        });
        match next {
            Some(value) => drop(value),
            None => break,
        }
    }
    // SAFETY: as in `find`.
    thread
        .locals
        .with_mut(|locals| unsafe { *locals = Locals::new() });
}

/// Declares variables of which every lisle thread has its own value; the syntax
/// is `thread_local!`'s.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::cell::Cell;
/// lisle::local! {
///     static VISITS: Cell<u32> = Cell::new(0);
/// }
/// VISITS.with(|visits| visits.set(visits.get() + 1));
/// assert_eq!(VISITS.with(Cell::get), 1);
/// ```
#[macro_export]
macro_rules! local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident : $ty:ty = const $init:block $(; $($rest:tt)*)?) => {
        $crate::local!($(#[$attr])* $vis static $name: $ty = $init $(; $($rest)*)?);
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident : $ty:ty = $init:expr $(; $($rest:tt)*)?) => {
        $(#[$attr])* $vis static $name: $crate::thread::LocalKey<$ty> =
            $crate::thread::LocalKey::new(|| $init);
        $($crate::local!($($rest)*);)?
    };
}
