//! Channels, with crossbeam-channel's API and error types.
//!
//! * [`unbounded`]: asynchronous. A send never waits; the buffer grows.
//! * [`bounded`]: a send waits while the buffer is full. `bounded(0)` is the
//!   rendezvous: a send waits until its message is taken.
//!
//! Both ends can be cloned and shared, between user threads, kernel threads and
//! both mixed. When all senders are gone, what is buffered is still received;
//! when all receivers are gone, sends fail and hand the message back. Waiting
//! sends and receives are cancellation points; a cancelled receive loses no
//! message, a cancelled send drops its own.
//!
//! ```
//! use lisle_sync::channel;
//! let (sender, receiver) = channel::unbounded();
//! std::thread::spawn(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
//! assert_eq!(receiver.iter().sum::<i32>(), 6);
//! ```

mod core;
mod iter;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::time;

use self::core::Core;
pub use self::iter::{IntoIter, Iter, TryIter};
pub use crossbeam_channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

/// A channel without a bound: sends never wait.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    pair(Core::new(None))
}

/// A channel that buffers at most `capacity` messages; with 0, a rendezvous.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    pair(Core::new(Some(capacity)))
}

fn pair<T>(core: Core<T>) -> (Sender<T>, Receiver<T>) {
    let core = Arc::new(core);
    (Sender { core: core.clone() }, Receiver { core })
}

/// The sending end of a channel. It goes where its messages may go:
///
/// ```compile_fail,E0277
/// let (sender, _receiver) = lisle_sync::channel::unbounded();
/// std::thread::spawn(move || sender.send(std::rc::Rc::new(0)));
/// ```
pub struct Sender<T> {
    core: Arc<Core<T>>,
}

/// The receiving end of a channel. It goes where its messages may go:
///
/// ```compile_fail,E0277
/// let (_sender, receiver) = lisle_sync::channel::unbounded::<std::rc::Rc<u8>>();
/// std::thread::spawn(move || receiver.recv());
/// ```
pub struct Receiver<T> {
    core: Arc<Core<T>>,
}

impl<T> Sender<T> {
    /// Sends a message, waiting for room, or in a rendezvous for a receiver. A
    /// cancellation point if it waits.
    ///
    /// # Errors
    /// If there is no receiver; the message is in the error.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        match self.core.send(message, None) {
            Ok(()) => Ok(()),
            Err(SendTimeoutError::Disconnected(m) | SendTimeoutError::Timeout(m)) => {
                Err(SendError(m))
            }
        }
    }

    /// Sends a message if that needs no waiting.
    ///
    /// # Errors
    /// If there is no room or no receiver; the message is in the error.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.core.try_send(message)
    }

    /// Sends a message, waiting at most this long.
    ///
    /// # Errors
    /// If the time is up or there is no receiver; the message is in the error.
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.core.send(message, time::now().checked_add(timeout))
    }

    /// Sends a message, waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Sender::send_timeout`].
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.core.send(message, Some(deadline))
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl<T> Receiver<T> {
    /// Receives a message, waiting for one. A cancellation point if it waits.
    ///
    /// # Errors
    /// If nothing is buffered and there is no sender.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.core.recv(None).map_err(|_| RecvError)
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// If there is none, with or without senders left.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.core.try_recv()
    }

    /// Receives a message, waiting at most this long.
    ///
    /// # Errors
    /// If the time is up, or as [`Receiver::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.core.recv(time::now().checked_add(timeout))
    }

    /// Receives a message, waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.core.recv(Some(deadline))
    }

    /// The messages, waiting for each, until there is no sender left.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// The messages that are there.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

/// What both ends have alike.
macro_rules! both_ends {
    ($end:ident, $joined:ident, $left:ident) => {
        impl<T> $end<T> {
            /// How many messages are buffered.
            pub fn len(&self) -> usize {
                self.core.len()
            }

            /// Whether none is buffered. A rendezvous always is.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room. A rendezvous never has any.
            pub fn is_full(&self) -> bool {
                self.capacity()
                    .is_some_and(|capacity| self.len() >= capacity)
            }

            /// How many messages can be buffered; `None` if unbounded.
            pub fn capacity(&self) -> Option<usize> {
                self.core.capacity()
            }
        }

        impl<T> Clone for $end<T> {
            fn clone(&self) -> Self {
                self.core.$joined();
                $end {
                    core: self.core.clone(),
                }
            }
        }

        impl<T> Drop for $end<T> {
            fn drop(&mut self) {
                self.core.$left();
            }
        }

        impl<T> fmt::Debug for $end<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(concat!(stringify!($end), " { .. }"))
            }
        }

        impl<T> std::panic::UnwindSafe for $end<T> {}
        impl<T> std::panic::RefUnwindSafe for $end<T> {}
    };
}

both_ends!(Sender, sender_joined, sender_left);
both_ends!(Receiver, receiver_joined, receiver_left);
