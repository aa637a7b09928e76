//! Scoped threads: `std::thread::scope`, on user threads.
//!
//! *Invariant*: a scope's [`Gate`] counts its threads. One leaves it when its
//! closure has ended and nobody but a handle can still reach the result; the
//! scope ends when all have left, also while it unwinds. What the threads borrow
//! therefore outlives them.

use core::marker::PhantomData;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::{fmt, io};

use super::{Builder, JoinHandle, Thread};
use crate::gate::Gate;

/// A scope to spawn threads in: see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    gate: Arc<Gate>,
    /// Invariant in both, as std's: `'scope` must not shrink to let a thread
    /// borrow what ends with it.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("inside", &self.gate.inside())
            .finish_non_exhaustive()
    }
}

/// Creates a scope in which threads may borrow from the caller, as
/// `std::thread::scope`. All threads spawned in it have ended when it returns,
/// or goes on to unwind.
///
/// The wait for them is not a cancellation point: what they borrow must stay.
/// To end them, cancel them.
///
/// # Panics
/// If a thread panicked whose handle was not joined; one that was cancelled does
/// not count.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::thread;
///
/// let mut words = vec!["in", "order"];
/// let (first, rest) = words.split_at_mut(1);
/// thread::scope(|s| {
///     s.spawn(|| first[0] = "all");
///     s.spawn(|| rest[0] = "changed");
/// });
/// assert_eq!(words, ["all", "changed"]);
/// ```
///
/// Nothing that belongs to the scope gets out of it, and what its threads borrow
/// is made before it:
///
/// ```compile_fail,E0521
/// # use lisle_runtime as lisle;
/// let mut kept = None;
/// lisle::thread::scope(|s| kept = Some(s.spawn(|| ())));
/// ```
/// ```compile_fail,E0373
/// # use lisle_runtime as lisle;
/// lisle::thread::scope(|s| {
///     let inside = 5;
///     s.spawn(|| println!("{inside}"));
/// });
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        gate: Arc::new(Gate::new()),
        _scope: PhantomData,
        _env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.gate.wait();
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.gate.saw_panic() => {
            panic!("a scoped thread panicked")
        }
        Ok(result) => result,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a thread in the scope, as `std::thread::Scope::spawn`.
    ///
    /// # Panics
    /// If the system refuses memory or a kernel thread; use
    /// [`Builder::spawn_scoped`] to handle that.
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let spawned = Builder::new().spawn_scoped(self, f);
        spawned.expect("failed to spawn thread")
    }
}

impl Builder {
    /// Spawns a thread in a scope, with these settings.
    ///
    /// # Errors
    /// As for [`Builder::spawn`].
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let gate = &scope.gate;
        gate.enter();
        // SAFETY: the scope ends only when the thread has left its gate, hence
        // before what the thread borrows.
        match unsafe { self.launch(f, Some(gate.clone())) } {
            Ok(handle) => Ok(ScopedJoinHandle {
                handle: Some(handle),
                gate: gate.clone(),
                _scope: PhantomData,
            }),
            Err(error) => {
                gate.leave(false);
                Err(error)
            }
        }
    }
}

/// The right to a scoped thread's result, as `std::thread::ScopedJoinHandle`.
pub struct ScopedJoinHandle<'scope, T> {
    /// `None` once joined.
    handle: Option<JoinHandle<T>>,
    gate: Arc<Gate>,
    _scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle")
            .field("thread", self.thread())
            .finish_non_exhaustive()
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    fn handle(&self) -> &JoinHandle<T> {
        let handle = self.handle.as_ref();
        handle.expect("a handle that was joined is gone")
    }

    /// The thread.
    pub fn thread(&self) -> &Thread {
        self.handle().thread()
    }

    /// Whether the thread has ended: then `join` returns at once.
    pub fn is_finished(&self) -> bool {
        self.handle().is_finished()
    }

    /// Waits for the thread's end. A cancellation point: if the caller is
    /// cancelled, the scope still waits for the thread.
    ///
    /// # Errors
    /// As for [`JoinHandle::join`].
    pub fn join(mut self) -> Result<T, Box<dyn Any + Send + 'static>> {
        let handle = self.handle.take();
        handle.expect("a handle that was joined is gone").join()
    }
}

impl<T> Drop for ScopedJoinHandle<'_, T> {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else {
            return;
        };
        if handle.discard() {
            self.gate.note_panic();
        }
    }
}
