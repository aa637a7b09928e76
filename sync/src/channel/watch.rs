//! One value that changes, and many who want to know the latest, with tokio's
//! names and semantics.
//!
//! A receiver sees the latest value; values in between may be missed. Looking at
//! the value ([`Receiver::borrow`]) holds a read lock, so hold it shortly: while
//! anybody looks, senders wait, and while a sender waits, nobody else begins to
//! look. Waiting for that lock is no cancellation point; waiting for a change is.
//!
//! `changed` blocks the calling thread, `changed_async` the calling task.
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::channel::watch;
//! let (sender, mut receiver) = watch::channel(0);
//! let thread = std::thread::spawn(move || {
//!     receiver.wait_for(|value| *value == 3).map(|value| *value)
//! });
//! (1..=3).for_each(|value| sender.send(value).unwrap());
//! assert_eq!(thread.join().unwrap(), Ok(3));
//! ```
#![allow(clippy::disallowed_types)] // the value's lock is the signal, which models see

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::cancel;
use lisle_runtime::wait::Reason;

use super::ends::deadline_after;
use super::signal::{Signal, TimedOut};
pub use crossbeam_channel::{RecvError, RecvTimeoutError, SendError};

static LOOKING: Reason = Reason::new("read of watched value");
static CHANGING: Reason = Reason::new("write of watched value");
static WATCHING: Reason = Reason::new("change of watched value");
static CLOSING: Reason = Reason::new("close of watch");

struct State {
    /// Counts changes.
    version: u64,
    senders: usize,
    receivers: usize,
    // --- the lock of the value ---
    readers: usize,
    writing: bool,
    writers_waiting: usize,
}

struct Shared<T> {
    signal: Signal<State>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached under its lock only: by many who read, or by one
// who writes.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

/// Leave to write the value; given back when dropped.
struct Writing<'a, T>(&'a Shared<T>);

impl<T> Shared<T> {
    fn read(&self) -> Ref<'_, T> {
        let version = cancel::shield(|| {
            self.signal.wait(&LOOKING, None, |state| {
                let may = !state.writing && state.writers_waiting == 0;
                may.then(|| {
                    state.readers += 1;
                    state.version
                })
            })
        });
        Ref {
            shared: self,
            version: version.unwrap_or_default(),
            has_changed: false,
        }
    }

    fn write(&self) -> Writing<'_, T> {
        let mut counted = false;
        let written = cancel::shield(|| {
            self.signal.wait(&CHANGING, None, |state| {
                let may = !state.writing && state.readers == 0;
                if may {
                    state.writing = true;
                    state.writers_waiting -= usize::from(counted);
                } else if !counted {
                    state.writers_waiting += 1;
                    counted = true;
                }
                may.then_some(())
            })
        });
        debug_assert_eq!(written, Ok(()), "there is no deadline");
        Writing(self)
    }
}

impl<T> Writing<'_, T> {
    fn value(&mut self) -> &mut T {
        // SAFETY: nobody else reads or writes until this is dropped.
        unsafe { &mut *self.0.value.get() }
    }

    /// Tells everybody that the value is another.
    fn publish(self) {
        self.0.signal.look(|state| state.version += 1);
    }
}

impl<T> Drop for Writing<'_, T> {
    fn drop(&mut self) {
        self.0.signal.change(|state| state.writing = false);
    }
}

/// A look at the value, which does not change meanwhile. Nothing of the value gets out
/// of it:
///
/// ```compile_fail,E0505
/// # use lisle_sync::__facade as lisle;
/// let (sender, _receiver) = lisle::channel::watch::channel(0);
/// let look = sender.borrow();
/// let value: &u8 = &look;
/// drop(look);
/// assert_eq!(*value, 0);
/// ```
pub struct Ref<'a, T> {
    shared: &'a Shared<T>,
    version: u64,
    has_changed: bool,
}

impl<T> Ref<'_, T> {
    /// Whether the receiver that looks had not seen this value before.
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: nobody writes while somebody reads.
        unsafe { &*self.shared.value.get() }
    }
}

impl<T> Drop for Ref<'_, T> {
    fn drop(&mut self) {
        let awaited = self.shared.signal.look(|state| {
            state.readers -= 1;
            state.readers == 0 && state.writers_waiting > 0
        });
        if awaited {
            self.shared.signal.change(|_| ());
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The end that changes the value; see the [module](self). It can be cloned.
///
/// It goes where the value may be shared, because receivers look at it at once:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let (sender, _receiver) = lisle::channel::watch::channel(std::cell::Cell::new(0));
/// std::thread::spawn(move || sender.send_modify(|value| value.set(1)));
/// ```
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// An end that looks at the value and remembers what it has seen; see the
/// [module](self). It can be cloned. It goes where the value may be shared:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let (_sender, receiver) = lisle::channel::watch::channel(std::cell::Cell::new(0));
/// std::thread::spawn(move || receiver.borrow().set(1));
/// ```
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// A value to be watched. The receiver counts the first one as seen.
pub fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(init);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// As [`channel`], without a receiver yet.
    pub fn new(init: T) -> Sender<T> {
        let signal = Signal::new(State {
            version: 0,
            senders: 1,
            receivers: 0,
            readers: 0,
            writing: false,
            writers_waiting: 0,
        });
        let value = UnsafeCell::new(init);
        Sender {
            shared: Arc::new(Shared { signal, value }),
        }
    }

    /// Changes the value.
    ///
    /// # Errors
    /// If there is no receiver: then the value stays, and the new one is in the
    /// error.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        drop(self.send_replace(value));
        Ok(())
    }

    /// Changes the value, receivers or not; returns the old one.
    pub fn send_replace(&self, value: T) -> T {
        let mut writing = self.shared.write();
        let old = core::mem::replace(writing.value(), value);
        writing.publish();
        old
    }

    /// Changes the value in place. If `modify` panics, the value stays as it
    /// left it, and receivers are not told.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// As [`Sender::send_modify`], telling receivers only if `modify` returns
    /// `true`. Returns that.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let mut writing = self.shared.write();
        let modified = modify(writing.value());
        if modified {
            writing.publish();
        }
        modified
    }

    /// Looks at the value.
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.read()
    }

    /// A receiver that counts the present value as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.signal.look(|state| {
            state.receivers += 1;
            state.version
        });
        Receiver {
            shared: self.shared.clone(),
            seen,
        }
    }

    /// Whether there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until there is no receiver. A cancellation point.
    pub fn closed(&self) {
        let closed = |state: &mut State| (state.receivers == 0).then_some(());
        let _ = self.shared.signal.wait(&CLOSING, None, closed);
    }

    /// As [`Sender::closed`], for async tasks.
    pub async fn closed_async(&self) {
        let closed = |state: &mut State| (state.receivers == 0).then_some(());
        self.shared.signal.until(closed).await;
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.shared.signal.look(|state| state.receivers)
    }

    /// How many senders there are.
    pub fn sender_count(&self) -> usize {
        self.shared.signal.look(|state| state.senders)
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

/// What a receiver finds that has seen this version.
fn changed(state: &State, seen: &mut u64) -> Option<Result<(), RecvError>> {
    if state.version != *seen {
        *seen = state.version;
        return Some(Ok(()));
    }
    (state.senders == 0).then_some(Err(RecvError))
}

fn wait_for_change<T>(shared: &Shared<T>, seen: &mut u64) -> Result<(), RecvError> {
    let found = shared
        .signal
        .wait(&WATCHING, None, |state| changed(state, seen));
    found.unwrap_or(Err(RecvError))
}

/// Looks at the value, counts it as seen, and goes on looking if it is wanted.
fn look_for<'a, T>(
    shared: &'a Shared<T>,
    seen: &mut u64,
    wanted: &mut impl FnMut(&T) -> bool,
) -> Option<Ref<'a, T>> {
    let mut value = shared.read();
    value.has_changed = value.version != *seen;
    *seen = value.version;
    wanted(&value).then_some(value)
}

impl<T> Receiver<T> {
    /// Looks at the value, without counting it as seen.
    pub fn borrow(&self) -> Ref<'_, T> {
        let mut value = self.shared.read();
        value.has_changed = value.version != self.seen;
        value
    }

    /// Looks at the value and counts it as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let mut value = self.shared.read();
        value.has_changed = value.version != self.seen;
        self.seen = value.version;
        value
    }

    /// Whether there is a value that has not been seen.
    ///
    /// # Errors
    /// If there is no sender.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        self.shared.signal.look(|state| match state.senders {
            0 => Err(RecvError),
            _ => Ok(state.version != self.seen),
        })
    }

    /// Whether there is no sender.
    pub fn is_closed(&self) -> bool {
        self.shared.signal.look(|state| state.senders == 0)
    }

    /// Counts the present value as not seen.
    pub fn mark_changed(&mut self) {
        self.seen = self.seen.wrapping_sub(1);
    }

    /// Counts the present value as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.signal.look(|state| state.version);
    }

    /// Waits for a value that has not been seen, and counts it as seen. A
    /// cancellation point.
    ///
    /// # Errors
    /// If there is none and no sender.
    pub fn changed(&mut self) -> Result<(), RecvError> {
        wait_for_change(&self.shared, &mut self.seen)
    }

    /// As [`Receiver::changed`], for async tasks. Dropping the future counts
    /// nothing as seen.
    ///
    /// # Errors
    /// As [`Receiver::changed`].
    pub async fn changed_async(&mut self) -> Result<(), RecvError> {
        let seen = &mut self.seen;
        let signal = &self.shared.signal;
        signal.until(|state| changed(state, seen)).await
    }

    /// As [`Receiver::changed`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up, or as [`Receiver::changed`].
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        self.changed_until(deadline_after(timeout))
    }

    /// As [`Receiver::changed`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Receiver::changed_timeout`].
    pub fn changed_deadline(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        self.changed_until(Some(deadline))
    }

    fn changed_until(&mut self, deadline: Option<Instant>) -> Result<(), RecvTimeoutError> {
        let seen = &mut self.seen;
        let signal = &self.shared.signal;
        match signal.wait(&WATCHING, deadline, |state| changed(state, seen)) {
            Ok(found) => found.map_err(|_| RecvTimeoutError::Disconnected),
            Err(TimedOut) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Waits for a value of which `wanted` is true, the present one included,
    /// and counts it as seen. A cancellation point.
    ///
    /// # Errors
    /// If there is no sender and the last value is not wanted.
    pub fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        let mut closed = false;
        loop {
            let found = look_for(&self.shared, &mut self.seen, &mut wanted);
            if let Some(value) = found {
                return Ok(value);
            }
            if closed {
                return Err(RecvError);
            }
            closed = wait_for_change(&self.shared, &mut self.seen).is_err();
        }
    }

    /// As [`Receiver::wait_for`], for async tasks.
    ///
    /// # Errors
    /// As [`Receiver::wait_for`].
    pub async fn wait_for_async(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        let mut closed = false;
        loop {
            let found = look_for(&self.shared, &mut self.seen, &mut wanted);
            if let Some(value) = found {
                return Ok(value);
            }
            if closed {
                return Err(RecvError);
            }
            let seen = &mut self.seen;
            let signal = &self.shared.signal;
            closed = signal.until(|state| changed(state, seen)).await.is_err();
        }
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.signal.look(|state| state.senders += 1);
        let shared = self.shared.clone();
        Sender { shared }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.signal.look(|state| state.receivers += 1);
        Receiver {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.signal.change(|state| state.senders -= 1);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.signal.change(|state| state.receivers -= 1);
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Sender::new(T::default())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("watch::Sender { .. }")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("watch::Receiver { .. }")
    }
}
