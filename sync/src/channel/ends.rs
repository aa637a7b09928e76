//! `Sender` and `Receiver`: the two ends, over every flavour.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::time;

use super::core::Core;
use super::iter::{Iter, TryIter};
use super::timer::Timer;
use super::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};

/// The sending end of a channel. It goes where its messages may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let (sender, _receiver) = lisle::channel::unbounded();
/// std::thread::spawn(move || sender.send(std::rc::Rc::new(0)));
/// ```
pub struct Sender<T> {
    pub(super) core: Arc<Core<T>>,
}

/// The receiving end of a channel. It goes where its messages may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let (_sender, receiver) = lisle::channel::unbounded::<std::rc::Rc<u8>>();
/// std::thread::spawn(move || receiver.recv());
/// ```
pub struct Receiver<T> {
    pub(super) source: Source<T>,
}

/// Where a receiver's messages come from.
pub(super) enum Source<T> {
    Channel(Arc<Core<T>>),
    /// Made by [`after`](super::after), [`at`](super::at) or
    /// [`tick`](super::tick).
    Timer(Arc<Timer<T>>),
    /// Made by [`never`](super::never).
    Never,
}

// SAFETY: messages are moved through the end, by value; nothing of them can be
// reached through a reference to it.
unsafe impl<T: Send> Send for Sender<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Sender<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Receiver<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Receiver<T> {}

pub(super) fn pair<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    let core = Arc::new(Core::new(capacity));
    let source = Source::Channel(core.clone());
    (Sender { core }, Receiver { source })
}

/// The instant after this time; `None` if the clock does not reach so far.
pub(super) fn deadline_after(timeout: Duration) -> Option<Instant> {
    time::now().checked_add(timeout)
}

impl<T> Sender<T> {
    /// Sends a message, waiting for room, or in a rendezvous for a receiver. A
    /// cancellation point if it waits; a cancelled send drops its message.
    /// Waiting senders are served first come, first served.
    ///
    /// # Errors
    /// If there is no receiver; the message is in the error.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// let (sender, receiver) = lisle::channel::unbounded();
    /// sender.send(1).unwrap();
    /// drop(receiver);
    /// assert_eq!(sender.send(2).unwrap_err().into_inner(), 2);
    /// ```
    #[inline(always)]
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
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::channel::{TrySendError, bounded};
    /// let (sender, _receiver) = bounded(1);
    /// assert_eq!(sender.try_send(1), Ok(()));
    /// assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    /// ```
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.core.try_send(message)
    }

    /// Sends a message, waiting at most this long. A timeout that the clock
    /// cannot reach is none.
    ///
    /// # Errors
    /// If the time is up or there is no receiver; the message is in the error.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::channel::{SendTimeoutError, bounded};
    /// let (sender, _receiver) = bounded(0);
    /// let late = sender.send_timeout(1, std::time::Duration::from_millis(1));
    /// assert_eq!(late, Err(SendTimeoutError::Timeout(1)));
    /// ```
    #[inline(always)]
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.core.send(message, deadline_after(timeout))
    }

    /// Sends a message, waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Sender::send_timeout`].
    #[inline(always)]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.core.send(message, Some(deadline))
    }

    /// How many messages are buffered.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether none is buffered. A rendezvous is empty, unless a message was promised
    /// to a select or a task that has given it up.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room. A rendezvous always is full.
    pub fn is_full(&self) -> bool {
        self.core.is_full()
    }

    /// How many messages can be buffered; `None` if unbounded.
    pub fn capacity(&self) -> Option<usize> {
        self.core.capacity()
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl<T> Receiver<T> {
    /// Receives a message, waiting for one. A cancellation point if it waits; a
    /// cancelled receive loses no message. Waiting receivers are served first
    /// come, first served.
    ///
    /// # Errors
    /// If nothing is buffered and there is no sender.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::channel::{RecvError, unbounded};
    /// let (sender, receiver) = unbounded();
    /// sender.send(1).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.recv(), Ok(1));
    /// assert_eq!(receiver.recv(), Err(RecvError));
    /// ```
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        let received = match &self.source {
            Source::Channel(core) => core.recv(None),
            other => other.recv_timed(None),
        };
        received.map_err(|_| RecvError)
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// If there is none, with or without senders left.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::channel::{TryRecvError, unbounded};
    /// let (sender, receiver) = unbounded::<u8>();
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match &self.source {
            Source::Channel(core) => core.try_recv(),
            Source::Timer(timer) => timer.try_recv().ok_or(TryRecvError::Empty),
            Source::Never => Err(TryRecvError::Empty),
        }
    }

    /// Receives a message, waiting at most this long. A timeout that the clock
    /// cannot reach is none.
    ///
    /// # Errors
    /// If the time is up, or as [`Receiver::recv`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::channel::{RecvTimeoutError, unbounded};
    /// let (_sender, receiver) = unbounded::<u8>();
    /// let late = receiver.recv_timeout(std::time::Duration::from_millis(1));
    /// assert_eq!(late, Err(RecvTimeoutError::Timeout));
    /// ```
    #[inline(always)]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(deadline_after(timeout))
    }

    /// Receives a message, waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    #[inline(always)]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    #[inline(always)]
    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match &self.source {
            Source::Channel(core) => core.recv(deadline),
            other => other.recv_timed(deadline),
        }
    }

    /// How many messages are buffered.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Channel(core) => core.len(),
            Source::Timer(timer) => usize::from(timer.is_due()),
            Source::Never => 0,
        }
    }

    /// Whether none is buffered. A rendezvous is empty, unless a message was promised
    /// to a select or a task that has given it up.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room. A rendezvous always is full.
    pub fn is_full(&self) -> bool {
        match &self.source {
            Source::Channel(core) => core.is_full(),
            Source::Timer(timer) => timer.is_due(),
            Source::Never => true,
        }
    }

    /// How many messages can be buffered; `None` if unbounded.
    pub fn capacity(&self) -> Option<usize> {
        match &self.source {
            Source::Channel(core) => core.capacity(),
            Source::Timer(_) => Some(1),
            Source::Never => Some(0),
        }
    }

    /// The messages, waiting for each, until there is no sender left.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// let (sender, receiver) = lisle::channel::unbounded();
    /// (1..=3).for_each(|n| sender.send(n).unwrap());
    /// drop(sender);
    /// assert_eq!(receiver.iter().sum::<i32>(), 6);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// The messages that are there.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.source, &other.source) {
            (Source::Channel(a), Source::Channel(b)) => Arc::ptr_eq(a, b),
            (Source::Timer(a), Source::Timer(b)) => Arc::ptr_eq(a, b),
            (Source::Never, Source::Never) => true,
            _ => false,
        }
    }
}

impl<T> Source<T> {
    #[cold]
    #[inline(never)]
    fn recv_timed(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match self {
            Source::Timer(timer) => timer.recv(deadline),
            _ => super::timer::wait_for_nothing(deadline),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.core.sender_joined();
        Sender {
            core: self.core.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.core.sender_left();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let source = match &self.source {
            Source::Channel(core) => {
                core.receiver_joined();
                Source::Channel(core.clone())
            }
            Source::Timer(timer) => Source::Timer(timer.clone()),
            Source::Never => Source::Never,
        };
        Receiver { source }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Source::Channel(core) = &self.source {
            core.receiver_left();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}

impl<T> std::panic::UnwindSafe for Sender<T> {}
impl<T> std::panic::RefUnwindSafe for Sender<T> {}
impl<T> std::panic::UnwindSafe for Receiver<T> {}
impl<T> std::panic::RefUnwindSafe for Receiver<T> {}
