//! `Mutex`: mutual exclusion with std's names and behaviour.
//!
//! | word | meaning |
//! |---|---|
//! | 0 | free |
//! | `LOCKED` | held, nobody waits |
//! | `LOCKED + WAITERS` | held, somebody waits or is about to |
//!
//! *Protocol*. Locking a free mutex and unlocking one without waiters is one
//! read-modify-write each. A waiter enters the list and sets `WAITERS` under
//! the list's lock; an unlocker that sees `WAITERS` takes that lock and hands
//! the mutex to the first waiter: the word stays `LOCKED`, so nobody can come
//! in between.
//!
//! *No lost wake-up*: setting `WAITERS` and unlocking are read-modify-writes of
//! one word. If the unlock is first, the waiter sees the mutex free and takes
//! it; if not, the unlocker sees `WAITERS`, and finds the waiter in the list
//! because it was put there under the lock that the unlocker takes.
//!
//! *Fairness*: first in, first out; a thread that waits is overtaken by nobody.
//! Not a cancellation point. Recursive locking deadlocks, as std's may.
//!
//! *Ordering*: acquiring exchanges (Acquire) pair with releasing ones (Release)
//! on the word; on hand-off, the list's lock and the wake carry the data over.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use lisle_lwp::shim::{AtomicBool, AtomicU32, Cell, Ordering};
use lisle_runtime::cancel;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{self, Node, Outcome, Reason, Waiters};

const LOCKED: u32 = 1;
const WAITERS: u32 = 2;

static REASON: Reason = Reason::new("mutex");

/// Mutual exclusion around a value. See the module documentation.
///
/// A panic while the mutex is held poisons it, as std's; a cancel does not.
/// Unlike std's, it holds sized values only: loom's cells are sized.
/// Threads share it if the value can go from thread to thread:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle_sync::Mutex::new(std::rc::Rc::new(0)));
/// ```
///
/// ```
/// use lisle_sync::Mutex;
/// static COUNT: Mutex<u32> = Mutex::new(0);
/// *COUNT.lock().unwrap() += 1;
/// assert_eq!(*COUNT.lock().unwrap(), 1);
/// ```
pub struct Mutex<T> {
    word: AtomicU32,
    poisoned: AtomicBool,
    waiters: Waiters<Queue<()>>,
    value: Cell<T>,
}

// SAFETY: the value is reached by one thread at a time.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Mutex<T> {}

// A panic inside poisons, so nobody meets a broken value unwarned.
impl<T> UnwindSafe for Mutex<T> {}
impl<T> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    lisle_lwp::const_unless_loom! {
        /// A free mutex around a value.
        pub fn new(value: T) -> Mutex<T> {
            Mutex {
                word: AtomicU32::new(0),
                poisoned: AtomicBool::new(false),
                waiters: Waiters::new(Queue::new()),
                value: Cell::new(value),
            }
        }
    }

    /// The value.
    ///
    /// # Errors
    /// If the mutex is poisoned; the value is in the error.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.is_poisoned();
        let value = self.value.into_inner();
        if poisoned {
            Err(PoisonError::new(value))
        } else {
            Ok(value)
        }
    }
}

impl<T> Mutex<T> {
    /// Takes the mutex, waiting for it. Not a cancellation point.
    ///
    /// # Errors
    /// If it is poisoned; it is held all the same, by the guard in the error.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        if !self.take() {
            self.lock_slow();
        }
        self.guard()
    }

    /// Takes the mutex if it is free.
    ///
    /// # Errors
    /// `WouldBlock` if it is held, `Poisoned` as for [`Mutex::lock`].
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.take() {
            self.guard().map_err(TryLockError::Poisoned)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// Whether a thread panicked while it held the mutex.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    /// Declares the value whole again.
    pub fn clear_poison(&self) {
        self.poisoned.store(false, Ordering::Relaxed);
    }

    /// The value, without locking: the borrow shows that nobody holds it.
    ///
    /// # Errors
    /// If the mutex is poisoned; the value is in the error.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.is_poisoned();
        // SAFETY: `&mut self`.
        let value = self.value.with_mut(|value| unsafe { &mut *value });
        if poisoned {
            Err(PoisonError::new(value))
        } else {
            Ok(value)
        }
    }

    #[inline]
    fn take(&self) -> bool {
        // Acquire: pairs with the Release in `unlock`.
        self.word
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    fn guard(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = MutexGuard {
            mutex: self,
            panicking: cancel::panicking(),
            _not_send: PhantomData,
        };
        if self.is_poisoned() {
            Err(PoisonError::new(guard))
        } else {
            Ok(guard)
        }
    }

    #[cold]
    fn lock_slow(&self) {
        let detail = core::ptr::from_ref(&self.word) as usize;
        let wait = wait::begin(&REASON, detail, false).expect("not cancellable");
        let node = Node::new(&wait, ());
        {
            let mut waiters = self.waiters.lock();
            // Acquire: as in `take`, if the mutex turns out to be free.
            let before = self.word.fetch_or(LOCKED | WAITERS, Ordering::Acquire);
            if before & LOCKED == 0 {
                // Ours. Whoever waits has set `WAITERS` before.
                if waiters.is_empty() {
                    self.word.fetch_and(!WAITERS, Ordering::Relaxed);
                }
                drop(waiters);
                let _ = wait.abandon();
                return;
            }
            // SAFETY: popped by the unlocker that wakes us; nothing else can.
            unsafe { waiters.push(&node) };
        }
        let outcome = wait.block(None);
        debug_assert_eq!(outcome, Outcome::Woken);
    }

    /// Releases the mutex. The caller holds it.
    #[inline]
    pub(crate) fn unlock(&self) {
        // Release: pairs with the Acquire in `take`.
        let freed = self
            .word
            .compare_exchange(LOCKED, 0, Ordering::Release, Ordering::Relaxed);
        if freed.is_err() {
            self.unlock_slow();
        }
    }

    #[cold]
    fn unlock_slow(&self) {
        let mut waiters = self.waiters.lock();
        // SAFETY: we hold the lock and forget the node once woken.
        let first = unsafe { waiters.pop() };
        if waiters.is_empty() {
            // Under the lock, so no waiter can have set it since.
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
        match first {
            Some(first) => {
                let woken = waiters.wake(first.key());
                debug_assert!(woken, "a wait for a mutex ends in no other way");
            }
            // Release: pairs with the Acquire in `take`.
            None => self.word.store(0, Ordering::Release),
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => shown.field("data", &&*guard),
            Err(TryLockError::Poisoned(error)) => shown.field("data", &&**error.get_ref()),
            Err(TryLockError::WouldBlock) => shown.field("data", &format_args!("<locked>")),
        };
        shown
            .field("poisoned", &self.is_poisoned())
            .finish_non_exhaustive()
    }
}

/// Access to a mutex's value; dropping it unlocks. It stays with its thread:
///
/// ```compile_fail,E0277
/// let mutex = lisle_sync::Mutex::new(0);
/// let guard = mutex.lock().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "an unused guard unlocks at once"]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// Whether the thread was unwinding when it took the mutex.
    panicking: bool,
    /// As std's, the guard stays with its thread.
    _not_send: PhantomData<*const ()>,
}

// SAFETY: `&MutexGuard` gives `&T`.
unsafe impl<T: Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T> MutexGuard<'a, T> {
    pub(crate) fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the mutex.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if !self.panicking && cancel::panicking() {
            self.mutex.poisoned.store(true, Ordering::Relaxed);
        }
        self.mutex.unlock();
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
