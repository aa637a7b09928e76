//! `std::sync::mpsc`, name for name and error for error, on lisle's channels:
//! a user thread that waits lets others run.
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::channel::mpsc;
//! let (sender, receiver) = mpsc::sync_channel(1);
//! std::thread::spawn(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
//! assert_eq!(receiver.iter().sum::<i32>(), 6);
//! ```

use core::fmt;
use core::marker::PhantomData;
use std::time::Duration;

pub use std::sync::mpsc::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};

/// The sending end of an asynchronous channel, as `std::sync::mpsc::Sender`.
pub struct Sender<T> {
    inner: super::Sender<T>,
}

/// The sending end of a bounded channel, as `std::sync::mpsc::SyncSender`.
pub struct SyncSender<T> {
    inner: super::Sender<T>,
}

/// The one receiving end, as `std::sync::mpsc::Receiver`: it can be sent to
/// another thread and not be shared.
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn shared<T: Sync>(_: T) {}
/// shared(lisle::channel::mpsc::channel::<u8>().1);
/// ```
pub struct Receiver<T> {
    inner: super::Receiver<T>,
    _not_sync: PhantomData<core::cell::Cell<()>>,
}

fn receiver<T>(inner: super::Receiver<T>) -> Receiver<T> {
    Receiver {
        inner,
        _not_sync: PhantomData,
    }
}

/// An asynchronous channel: a send never waits.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, inner) = super::unbounded();
    (Sender { inner: sender }, receiver(inner))
}

/// A bounded channel; with 0, a rendezvous.
pub fn sync_channel<T>(bound: usize) -> (SyncSender<T>, Receiver<T>) {
    let (sender, inner) = super::bounded(bound);
    (SyncSender { inner: sender }, receiver(inner))
}

impl<T> Sender<T> {
    /// Sends a message. Never waits.
    ///
    /// # Errors
    /// If the receiver is gone; the message is in the error.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.inner.send(message).map_err(|error| SendError(error.0))
    }
}

impl<T> SyncSender<T> {
    /// Sends a message, waiting for room. A cancellation point if it waits.
    ///
    /// # Errors
    /// If the receiver is gone; the message is in the error.
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.inner.send(message).map_err(|error| SendError(error.0))
    }

    /// Sends a message if there is room.
    ///
    /// # Errors
    /// If there is none or the receiver is gone; the message is in the error.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.inner.try_send(message).map_err(|error| match error {
            super::TrySendError::Full(message) => TrySendError::Full(message),
            super::TrySendError::Disconnected(message) => TrySendError::Disconnected(message),
        })
    }
}

impl<T> Receiver<T> {
    /// Receives a message, waiting for one. A cancellation point if it waits.
    ///
    /// # Errors
    /// If nothing is buffered and there is no sender.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.inner.recv().map_err(|_| RecvError)
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// If there is none, with or without senders left.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inner.try_recv().map_err(|error| match error {
            super::TryRecvError::Empty => TryRecvError::Empty,
            super::TryRecvError::Disconnected => TryRecvError::Disconnected,
        })
    }

    /// Receives a message, waiting at most this long.
    ///
    /// # Errors
    /// If the time is up, or as [`Receiver::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.inner
            .recv_timeout(timeout)
            .map_err(|error| match error {
                super::RecvTimeoutError::Timeout => RecvTimeoutError::Timeout,
                super::RecvTimeoutError::Disconnected => RecvTimeoutError::Disconnected,
            })
    }

    /// The messages, waiting for each, until there is no sender left.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The messages that are there.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

/// See [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// See [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// Iteration over a receiver of its own.
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let inner = self.inner.clone();
        Sender { inner }
    }
}

impl<T> Clone for SyncSender<T> {
    fn clone(&self) -> Self {
        let inner = self.inner.clone();
        SyncSender { inner }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SyncSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncSender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl<T> std::panic::RefUnwindSafe for Receiver<T> {}
