//! `Parker`: a token for one waiter, with crossbeam's names and behaviour.
//!
//! *Protocol*. Token and waiter change under one lock. An unpark wakes the waiter,
//! or leaves the token if nobody waits or the waiter's wait has ended otherwise; a
//! park takes the token, or waits.

use core::fmt;
use core::marker::PhantomData;
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::time;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Locked, Reason, Waiters};

use crate::queue::{Awaited, Waited, wait_in};

static REASON: Reason = Reason::new("parker");

/// The end that waits, as `crossbeam::sync::Parker`. Unlike
/// [`thread::park`](lisle_runtime::thread::park), nobody else can take its token.
///
/// *Cancellation*: parking is a cancellation point; a token that came first stays.
/// The token is taken by one thread at a time:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: &T) {}
/// shared(&lisle::sync::Parker::new());
/// ```
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Parker;
/// let parker = Parker::new();
/// let unparker = parker.unparker().clone();
/// std::thread::spawn(move || unparker.unpark());
/// parker.park();
/// ```
pub struct Parker {
    unparker: Unparker,
    _not_sync: PhantomData<core::cell::Cell<()>>,
}

/// The end that gives the token, as `crossbeam::sync::Unparker`.
#[derive(Clone)]
pub struct Unparker {
    state: Arc<Waiters<Token>>,
}

// No panic leaves them between two states.
impl UnwindSafe for Parker {}
impl RefUnwindSafe for Parker {}
impl UnwindSafe for Unparker {}
impl RefUnwindSafe for Unparker {}

#[derive(Debug)]
struct Token {
    given: bool,
    queue: Queue<()>,
}

impl Awaited for Token {
    fn queue(&mut self) -> &mut Queue<()> {
        &mut self.queue
    }

    fn enter(token: &mut Locked<'_, Self>) -> bool {
        core::mem::take(&mut token.given)
    }
}

impl Parker {
    /// A parker without a token.
    pub fn new() -> Parker {
        let token = Token {
            given: false,
            queue: Queue::new(),
        };
        Parker {
            unparker: Unparker {
                state: Arc::new(Waiters::new(token)),
            },
            _not_sync: PhantomData,
        }
    }

    /// Waits for the token and takes it. A cancellation point.
    pub fn park(&self) {
        self.park_until(None);
    }

    /// Takes the token if it is there; returns whether it was.
    pub fn try_park(&self) -> bool {
        Token::enter(&mut self.unparker.state.lock())
    }

    /// As [`Parker::park`], at most this long. A cancellation point.
    pub fn park_timeout(&self, timeout: Duration) {
        self.park_until(time::now().checked_add(timeout));
    }

    /// As [`Parker::park`], at most until the deadline. A cancellation point.
    pub fn park_deadline(&self, deadline: Instant) {
        self.park_until(Some(deadline));
    }

    pub(crate) fn park_until(&self, deadline: Option<Instant>) -> Waited {
        wait_in(&self.unparker.state, &REASON, deadline)
    }

    /// The end that gives the token.
    pub fn unparker(&self) -> &Unparker {
        &self.unparker
    }

    /// The parker as a pointer, for foreign code.
    pub fn into_raw(this: Parker) -> *const () {
        Unparker::into_raw(this.unparker)
    }

    /// The parker that was made into this pointer.
    ///
    /// # Safety
    /// The pointer comes from [`Parker::into_raw`], which it undoes once.
    pub unsafe fn from_raw(ptr: *const ()) -> Parker {
        Parker {
            // SAFETY: passed on: a parker's pointer is that of its unparker.
            unparker: unsafe { Unparker::from_raw(ptr) },
            _not_sync: PhantomData,
        }
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl Unparker {
    /// Gives the token: wakes the parker's thread, or lets its next park return at
    /// once. A token that is there already stays one.
    pub fn unpark(&self) {
        let mut token = self.state.lock();
        // SAFETY: we hold the lock and forget the node once woken.
        let waiter = unsafe { token.queue.pop() };
        if !waiter.is_some_and(|waiter| token.wake(waiter.key())) {
            token.given = true;
        }
    }

    /// The unparker as a pointer, for foreign code.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// # use lisle::sync::{Parker, Unparker};
    /// let parker = Parker::new();
    /// let raw = Unparker::into_raw(parker.unparker().clone());
    /// // SAFETY: the pointer comes from `into_raw`, and is used once.
    /// unsafe { Unparker::from_raw(raw) }.unpark();
    /// parker.park();
    /// ```
    pub fn into_raw(this: Unparker) -> *const () {
        Arc::into_raw(this.state).cast()
    }

    /// The unparker that was made into this pointer.
    ///
    /// # Safety
    /// The pointer comes from [`Unparker::into_raw`], which it undoes once.
    pub unsafe fn from_raw(ptr: *const ()) -> Unparker {
        Unparker {
            // SAFETY: the caller's promise.
            state: unsafe { Arc::from_raw(ptr.cast()) },
        }
    }
}

impl fmt::Debug for Parker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Unparker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparker").finish_non_exhaustive()
    }
}
