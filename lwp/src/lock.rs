//! `RawLock`: the lock of the runtime's own data.
//!
//! It may be taken where nothing else may: inside the runtime, on a user
//! thread's stack, under a user thread's thread pointer. It allocates nothing,
//! touches no thread-local and never parks a user thread; a contender spins
//! briefly and then sleeps in the kernel. Critical sections are a few dozen
//! instructions and never contain user code.
//!
//! The word is a table (Drepper, "Futexes are tricky", mutex 3):
//!
//! | value | meaning |
//! |---|---|
//! | 0 `FREE` | nobody holds it |
//! | 1 `HELD` | held, nobody sleeps |
//! | 2 `CONTENDED` | held, somebody may sleep: the holder must wake one |
//!
//! *Invariant*: a thread sleeps only while the word is `CONTENDED`, and whoever
//! changes `CONTENDED` to `FREE` wakes one. A woken thread takes the lock as
//! `CONTENDED`, because it cannot know whether others still sleep.
//!
//! *Ordering*: the acquiring exchange (Acquire) pairs with the releasing one
//! (Release), both on this word.
//!
//! *Rejected*: parking_lot's mutex registers a record per thread in a
//! thread-local; a ticket lock convoys when the kernel preempts a holder.

use crate::shim::{Cell, Futex, Ordering, spin_loop};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// How often a contender looks before it sleeps. Loom explores schedules by
/// itself, so looking once is enough there.
const SPINS: u32 = if cfg!(lisle_loom) { 0 } else { 8 };

/// The bare lock word, without data.
#[derive(Debug)]
pub struct LockWord(Futex);

impl LockWord {
    const_unless_loom! {
        /// A free lock.
        pub fn new() -> LockWord {
            LockWord(Futex::new(FREE))
        }
    }

    /// Takes the lock, waiting in the kernel if need be.
    #[inline]
    pub fn lock(&self) {
        // Acquire: pairs with the Release in `unlock`.
        let taken = self
            .0
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            self.lock_slow();
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> bool {
        // Acquire: pairs with the Release in `unlock`.
        self.0
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    #[allow(clippy::reversed_empty_ranges)] // no spins in models
    fn lock_slow(&self) {
        for round in 0..SPINS {
            for _ in 0..1 << round {
                spin_loop();
            }
            if self.0.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
        }
        // Acquire: pairs with the Release in `unlock`.
        while self.0.swap(CONTENDED, Ordering::Acquire) != FREE {
            self.0.wait(CONTENDED, None);
        }
    }

    /// Releases the lock. The caller holds it.
    #[inline]
    pub fn unlock(&self) {
        // Release: pairs with the Acquire in `lock` and `lock_slow`.
        if self.0.swap(FREE, Ordering::Release) == CONTENDED {
            self.0.wake_one();
        }
    }
}

impl Default for LockWord {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(lisle_loom))]
type Word = LockWord;

/// In models of what stands above, the lock is loom's own mutex: the futex
/// protocol has a model of its own and would only multiply their states.
#[cfg(lisle_loom)]
mod stub {
    #[derive(Debug)]
    pub(super) struct Word {
        gate: loom::sync::Mutex<bool>,
        free: loom::sync::Condvar,
    }

    impl Word {
        pub(super) fn new() -> Self {
            Word {
                gate: loom::sync::Mutex::new(false),
                free: loom::sync::Condvar::new(),
            }
        }

        pub(super) fn lock(&self) {
            let mut held = self.gate.lock().unwrap();
            while *held {
                held = self.free.wait(held).unwrap();
            }
            *held = true;
        }

        pub(super) fn try_lock(&self) -> bool {
            !std::mem::replace(&mut *self.gate.lock().unwrap(), true)
        }

        pub(super) fn unlock(&self) {
            *self.gate.lock().unwrap() = false;
            self.free.notify_one();
        }
    }
}
#[cfg(lisle_loom)]
use stub::Word;

/// Data guarded by a [`LockWord`]. See the module documentation for where it
/// may be used.
#[derive(Debug)]
pub struct RawLock<T> {
    word: Word,
    data: Cell<T>,
}

// SAFETY: the lock hands out the data to one thread at a time.
unsafe impl<T: Send> Send for RawLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for RawLock<T> {}

impl<T> RawLock<T> {
    const_unless_loom! {
        /// A free lock around `data`.
        pub fn new(data: T) -> RawLock<T> {
            RawLock { word: Word::new(), data: Cell::new(data) }
        }
    }

    /// Takes the lock.
    #[inline]
    pub fn lock(&self) -> RawGuard<'_, T> {
        self.word.lock();
        RawGuard { lock: self }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<RawGuard<'_, T>> {
        self.word.try_lock().then(|| RawGuard { lock: self })
    }

    /// Takes the lock without a guard, for holders that cannot keep one (over
    /// a fork). Pair with [`RawLock::unlock_raw`].
    pub fn lock_raw(&self) {
        self.word.lock();
    }

    /// Releases what [`RawLock::lock_raw`] took.
    ///
    /// # Safety
    /// The caller holds the lock, and no guard of it is alive.
    pub unsafe fn unlock_raw(&self) {
        self.word.unlock();
    }

    /// The data, for a caller that owns the lock outright.
    pub fn into_inner(self) -> T {
        self.data.into_inner()
    }
}

/// Access to the data of a [`RawLock`]; dropping it releases the lock.
#[derive(Debug)]
pub struct RawGuard<'a, T> {
    lock: &'a RawLock<T>,
}

impl<T> core::ops::Deref for RawGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's existence means that this thread holds the lock.
        self.lock.data.with(|data| unsafe { &*data })
    }
}

impl<T> core::ops::DerefMut for RawGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        self.lock.data.with_mut(|data| unsafe { &mut *data })
    }
}

impl<T> Drop for RawGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.word.unlock();
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;

    #[test]
    fn exclusion_under_contention() {
        let lock = RawLock::new(0u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        *lock.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), 80_000);
    }

    #[test]
    fn try_lock_refuses_while_held() {
        let lock = RawLock::new(());
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert!(lock.try_lock().is_some());
    }
}
