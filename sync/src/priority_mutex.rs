//! `PriorityMutex`: a mutex whose holder inherits the priority of who waits for it.
//!
//! | word | meaning |
//! |---|---|
//! | 0 | free |
//! | holder | held by this thread, nobody waits |
//! | holder + `AWAITED` | held, and the graph has waiters for it |
//!
//! *Protocol*. Locking a free mutex and unlocking one that nobody waits for is one
//! exchange each. Everything else happens under the lock of the graph of
//! [`inherit`]: a waiter sets `AWAITED`, enters the graph
//! and so lends its priority; an unlock that finds `AWAITED` hands the mutex to the most
//! urgent waiter, which inherits from those that are left.
//!
//! *No lost wake-up*: setting `AWAITED` and unlocking are exchanges of one word; if
//! the unlock is first, the waiter sees the mutex free and takes it; if not, the unlock
//! sees `AWAITED` and finds the waiter under the graph's lock.
//!
//! *Ordering*: taking (Acquire) pairs with releasing (Release) on the word, and a
//! waiter's look at the holder (Acquire) with the holder's taking (Release); on a
//! hand-over the graph's lock and the wake carry the data over.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use lisle_lwp::shim::{AtomicUsize, Cell, Ordering};
use lisle_runtime::wait::inherit::{self, Contended, Graph, Holder, Pending};
use lisle_runtime::wait::{self, Locked, Outcome, Reason};
use lisle_runtime::{cancel, time};

use crate::poison::{Panicking, Poison};

const AWAITED: usize = 1;

static REASON: Reason = Reason::new("priority mutex");

/// A [`Mutex`](crate::Mutex) with priority inheritance: as long as more urgent threads
/// wait for it, its holder runs with the priority of the most urgent of them, also
/// through a chain of such mutexes. For runtimes under
/// [`Priority`](lisle_runtime::sched::policy::PolicyKind::Priority): without it, a
/// thread of middling priority that computes on keeps an urgent one waiting for a
/// lesser one that never gets to run.
///
/// *Fairness*: an unlock hands the mutex to the most urgent waiter, first come first
/// served among equals; nobody comes in between. *Poison* and *cancellation*: as for
/// `Mutex`. The priorities of kernel threads are the kernel's: they neither inherit
/// nor lend more than the default priority.
///
/// Threads share it if the value can go from thread to thread:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::PriorityMutex::new(std::rc::Rc::new(0)));
/// ```
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::PriorityMutex;
/// static COUNT: PriorityMutex<u32> = PriorityMutex::new(0);
/// *COUNT.lock().unwrap() += 1;
/// assert_eq!(*COUNT.lock().unwrap(), 1);
/// ```
pub struct PriorityMutex<T: ?Sized> {
    word: AtomicUsize,
    contended: Contended,
    poison: Poison,
    value: Cell<T>,
}

// SAFETY: the value is reached by one thread at a time.
unsafe impl<T: ?Sized + Send> Send for PriorityMutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for PriorityMutex<T> {}

// A panic inside poisons, so nobody meets a broken value unwarned.
impl<T: ?Sized> UnwindSafe for PriorityMutex<T> {}
impl<T: ?Sized> RefUnwindSafe for PriorityMutex<T> {}

impl<T> PriorityMutex<T> {
    lisle_lwp::const_unless_loom! {
        /// A free mutex around a value.
        pub fn new(value: T) -> PriorityMutex<T> {
            PriorityMutex {
                word: AtomicUsize::new(0),
                contended: Contended::new(),
                poison: Poison::new(),
                value: Cell::new(value),
            }
        }
    }

    /// The value.
    ///
    /// # Errors
    /// If the mutex is poisoned; the value is in the error.
    pub fn into_inner(self) -> LockResult<T> {
        let PriorityMutex { poison, value, .. } = self;
        poison.wrap(value.into_inner())
    }
}

impl<T: ?Sized> PriorityMutex<T> {
    /// Takes the mutex, waiting for it. Not a cancellation point.
    ///
    /// # Errors
    /// If it is poisoned; it is held all the same, by the guard in the error.
    #[inline]
    pub fn lock(&self) -> LockResult<PriorityMutexGuard<'_, T>> {
        if !self.take() {
            self.acquire_slow(None, false);
        }
        self.guard()
    }

    /// Takes the mutex if it is free.
    ///
    /// # Errors
    /// `WouldBlock` if it is held; `Poisoned` as for [`PriorityMutex::lock`].
    pub fn try_lock(&self) -> TryLockResult<PriorityMutexGuard<'_, T>> {
        self.tried(self.take())
    }

    /// Takes the mutex, waiting at most this long. Not a cancellation point.
    ///
    /// # Errors
    /// `WouldBlock` if the time is up; `Poisoned` as for [`PriorityMutex::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> TryLockResult<PriorityMutexGuard<'_, T>> {
        self.lock_until(time::now().checked_add(timeout))
    }

    /// As [`PriorityMutex::lock_timeout`], until the deadline.
    ///
    /// # Errors
    /// As [`PriorityMutex::lock_timeout`].
    pub fn lock_deadline(&self, deadline: Instant) -> TryLockResult<PriorityMutexGuard<'_, T>> {
        self.lock_until(Some(deadline))
    }

    /// As [`PriorityMutex::lock`], and a cancellation point if it waits.
    ///
    /// # Errors
    /// As [`PriorityMutex::lock`].
    pub fn lock_cancellable(&self) -> LockResult<PriorityMutexGuard<'_, T>> {
        if !self.take() && self.acquire_slow(None, true) != Outcome::Woken {
            cancel::deliver();
        }
        self.guard()
    }

    /// Whether a thread panicked while it held the mutex.
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Declares the value whole again.
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// The value, without locking: the borrow shows that nobody holds it.
    ///
    /// # Errors
    /// If the mutex is poisoned; the value is in the error.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        // SAFETY: `&mut self`.
        let value = self.value.with_mut(|value| unsafe { &mut *value });
        self.poison.wrap(value)
    }

    fn lock_until(&self, deadline: Option<Instant>) -> TryLockResult<PriorityMutexGuard<'_, T>> {
        self.tried(self.take() || self.acquire_slow(deadline, false) == Outcome::Woken)
    }

    fn tried(&self, held: bool) -> TryLockResult<PriorityMutexGuard<'_, T>> {
        if held {
            Ok(self.guard()?)
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    /// The caller holds it.
    #[inline]
    fn guard(&self) -> LockResult<PriorityMutexGuard<'_, T>> {
        self.poison.wrap(PriorityMutexGuard {
            mutex: self,
            entered: self.poison.enter(),
            _not_send: PhantomData,
        })
    }

    #[inline]
    fn take(&self) -> bool {
        let me = Holder::current().to_number();
        // Acquire: pairs with the Release of the unlocks. Release: the holder's
        // control block; pairs with the Acquire in `enlist`.
        self.word
            .compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, deadline: Option<Instant>, cancellable: bool) -> Outcome {
        let detail = core::ptr::from_ref(&self.word).addr();
        let Ok(wait) = wait::begin(&REASON, detail, cancellable) else {
            return Outcome::Cancelled;
        };
        let waiter = Pending::new(&wait);
        if self.enlist(&waiter) {
            let _ = wait.abandon();
            return Outcome::Woken;
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            let mut graph = inherit::lock();
            graph.remove(&self.contended, &waiter);
            if !graph.is_awaited(&self.contended) {
                // Under the lock, so nobody can have set it since.
                self.word.fetch_and(!AWAITED, Ordering::Relaxed);
            }
        }
        outcome
    }

    /// Enters the graph, or takes the mutex if it is free: `true`.
    fn enlist(&self, waiter: &Pending) -> bool {
        let mut graph = inherit::lock();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let next = match word {
                0 => waiter.holder().to_number(),
                held => held | AWAITED,
            };
            // Acquire: as in `take`, if it is free; else the holder's control block. No
            // Release: only who holds the graph's lock looks at what is written here.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(0) => return true,
                Ok(held) => {
                    // SAFETY: `take` and `unlock_slow` write holders' numbers only.
                    let holder = unsafe { Holder::from_number(held & !AWAITED) };
                    // SAFETY: the waiter blocks until it is popped, or removes
                    // itself; the mutex is borrowed meanwhile.
                    unsafe { graph.push(&self.contended, holder, waiter) };
                    return false;
                }
                Err(now) => word = now,
            }
        }
    }

    #[inline]
    fn unlock(&self) {
        let me = Holder::current();
        // Release: pairs with the Acquire in `take`.
        let freed =
            self.word
                .compare_exchange(me.to_number(), 0, Ordering::Release, Ordering::Relaxed);
        if freed.is_err() {
            self.unlock_slow(me);
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self, me: Holder) {
        let mut graph = inherit::lock();
        let next = self.wake_first(&mut graph);
        let mut word = next.map_or(0, Holder::to_number);
        if graph.is_awaited(&self.contended) {
            word |= AWAITED;
        }
        // Release: pairs with the Acquire in `take`. Nobody else changes the word
        // while it is held but under the graph's lock.
        self.word.store(word, Ordering::Release);
        graph.hold(&self.contended, me, next);
    }

    fn wake_first(&self, graph: &mut Locked<'_, Graph>) -> Option<Holder> {
        loop {
            // SAFETY: we hold the lock and forget the node once woken.
            let first = unsafe { graph.pop(&self.contended) }?;
            let holder = first.holder();
            if graph.wake(first.key()) {
                return Some(holder);
            }
            // It timed out or was cancelled: the mutex goes to the next.
        }
    }
}

impl<T: Default> Default for PriorityMutex<T> {
    fn default() -> Self {
        PriorityMutex::new(T::default())
    }
}

impl<T> From<T> for PriorityMutex<T> {
    fn from(value: T) -> Self {
        PriorityMutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for PriorityMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PriorityMutex");
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

/// Access to a [`PriorityMutex`]'s value; dropping it unlocks. It stays with its
/// thread, which has the priority, and does not outlive the mutex:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let mutex = lisle::sync::PriorityMutex::new(0);
/// let guard = mutex.lock().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
///
/// ```compile_fail,E0597
/// # use lisle_sync::__facade as lisle;
/// let guard = {
///     let mutex = lisle::sync::PriorityMutex::new(0);
///     mutex.lock().unwrap()
/// };
/// ```
///
/// Threads share it if they can share the value:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// let mutex = lisle::sync::PriorityMutex::new(std::cell::Cell::new(0));
/// shared(&mutex.lock().unwrap());
/// ```
#[must_use = "an unused guard unlocks at once"]
pub struct PriorityMutexGuard<'a, T: ?Sized> {
    mutex: &'a PriorityMutex<T>,
    entered: Panicking,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: `&PriorityMutexGuard` gives `&T`.
unsafe impl<T: ?Sized + Sync> Sync for PriorityMutexGuard<'_, T> {}

impl<T: ?Sized> Deref for PriorityMutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the mutex.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for PriorityMutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for PriorityMutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.poison.leave(self.entered);
        self.mutex.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for PriorityMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for PriorityMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
