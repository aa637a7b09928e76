//! Every receiver gets every message, with tokio's names and semantics.
//!
//! The channel keeps the last `capacity` messages. A receiver that is more behind
//! misses the oldest, and its next receive says how many
//! ([`RecvError::Lagged`]). A send never waits. A receiver gets what is sent after
//! it subscribed. A message is dropped when the last receiver has taken it; the
//! last one gets the message itself, the others clones.
//!
//! `recv` blocks the calling thread, `recv_async` the calling task (tokio's is called
//! `recv`). Receivers clone a message at the same time, not one after the other: so a
//! message must be `Sync` to be sent to another thread, as with tokio's it need not.
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::channel::broadcast;
//! let (sender, mut first) = broadcast::channel(16);
//! let mut second = sender.subscribe();
//! assert_eq!(sender.send("all"), Ok(2));
//! assert_eq!(first.recv(), Ok("all"));
//! assert_eq!(second.recv(), Ok("all"));
//! drop(sender);
//! assert_eq!(first.recv(), Err(broadcast::RecvError::Closed));
//! ```

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::wait::Reason;

use super::ends::deadline_after;
use super::signal::Signal;
pub use crossbeam_channel::SendError;

static RECEIVING: Reason = Reason::new("receive on broadcast");
static CLOSING: Reason = Reason::new("close of broadcast");

/// A message, and how many receivers have yet to take it.
struct Kept<T> {
    message: Arc<T>,
    missing: usize,
}

struct State<T> {
    /// Never grows: it was made as large as it may become.
    kept: VecDeque<Kept<T>>,
    capacity: usize,
    /// The number of the first message in `kept`.
    first: u64,
    senders: usize,
    weak_senders: usize,
    receivers: usize,
}

impl<T> State<T> {
    /// The number that the next message will have.
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Forgets the oldest message; to be dropped outside the lock.
    fn forget_first(&mut self) -> Option<Kept<T>> {
        let kept = self.kept.pop_front()?;
        self.first += 1;
        Some(kept)
    }

    /// Forgets the oldest message if nobody misses it any more. Receivers take
    /// messages in order, so no later one can be done with before.
    fn forget_if_taken(&mut self) -> Option<Kept<T>> {
        let taken = self.kept.front().is_some_and(|kept| kept.missing == 0);
        if taken { self.forget_first() } else { None }
    }

    /// What a receiver gets that wants the message `next`.
    fn take(&mut self, next: &mut u64) -> Option<Result<Arc<T>, RecvError>> {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Some(Err(RecvError::Lagged(missed)));
        }
        let Some(kept) = self.kept.get_mut((*next - self.first) as usize) else {
            return (self.senders == 0).then_some(Err(RecvError::Closed));
        };
        let is_first = *next == self.first;
        *next += 1;
        kept.missing -= 1;
        // Those before it may be done with and still be there: then a receiver that leaves is
        // about to forget them, and this one.
        let message = match kept.missing {
            0 if is_first => self.forget_first().map(|kept| kept.message),
            _ => Some(kept.message.clone()),
        };
        message.map(Ok)
    }
}

type Shared<T> = Arc<Signal<State<T>>>;

/// The sending end; see the [module](self). It can be cloned.
///
/// It goes where its messages may be shared, because receivers clone them at once:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let (sender, _receiver) = lisle::channel::broadcast::channel(1);
/// std::thread::spawn(move || sender.send(std::cell::Cell::new(0)));
/// ```
pub struct Sender<T> {
    shared: Shared<T>,
}

/// A handle that becomes a sender while there is one; see [`Sender::downgrade`].
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// let (sender, mut receiver) = lisle::channel::broadcast::channel(1);
/// let weak = sender.downgrade();
/// weak.upgrade().expect("there is a sender").send(1).unwrap();
/// drop(sender);
/// assert!(weak.upgrade().is_none());
/// assert_eq!(receiver.recv(), Ok(1));
/// assert!(receiver.recv().is_err());
/// ```
pub struct WeakSender<T> {
    shared: Shared<T>,
}

/// A receiving end with a place of its own in the stream of messages; see the
/// [module](self). It goes where its messages may be shared:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// use std::cell::Cell;
/// let (_sender, mut receiver) = lisle::channel::broadcast::channel::<Cell<u8>>(1);
/// std::thread::spawn(move || receiver.recv());
/// ```
pub struct Receiver<T> {
    shared: Shared<T>,
    next: u64,
}

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvError {
    /// Every message has been received and there is no sender.
    Closed,
    /// So many messages were missed; the next receive gets the oldest one kept.
    Lagged(u64),
}

/// Why there is no message now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRecvError {
    /// Every message so far has been received.
    Empty,
    /// As [`RecvError::Closed`].
    Closed,
    /// As [`RecvError::Lagged`].
    Lagged(u64),
}

/// Why there is no message in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// The deadline passed first.
    Timeout,
    /// As [`RecvError::Closed`].
    Closed,
    /// As [`RecvError::Lagged`].
    Lagged(u64),
}

const CLOSED: &str = "the channel is closed";

fn lagged(f: &mut fmt::Formatter<'_>, missed: u64) -> fmt::Result {
    write!(f, "the receiver was too slow and missed {missed} messages")
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RecvError::Closed => f.write_str(CLOSED),
            RecvError::Lagged(missed) => lagged(f, missed),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TryRecvError::Empty => f.write_str("the channel is empty"),
            TryRecvError::Closed => f.write_str(CLOSED),
            TryRecvError::Lagged(missed) => lagged(f, missed),
        }
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RecvTimeoutError::Timeout => f.write_str("no message before the deadline"),
            RecvTimeoutError::Closed => f.write_str(CLOSED),
            RecvTimeoutError::Lagged(missed) => lagged(f, missed),
        }
    }
}

impl std::error::Error for RecvError {}
impl std::error::Error for TryRecvError {}
impl std::error::Error for RecvTimeoutError {}

/// A channel that keeps the last `capacity` messages, rounded up to a power of
/// two as tokio does.
///
/// # Panics
/// If the capacity is 0 or cannot be rounded up, or if there is no memory.
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(capacity);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// As [`channel`], without a receiver yet.
    ///
    /// # Panics
    /// As [`channel`].
    pub fn new(capacity: usize) -> Sender<T> {
        assert!(capacity > 0, "broadcast channel capacity cannot be zero");
        let capacity = capacity
            .checked_next_power_of_two()
            .expect("broadcast channel capacity cannot be rounded up");
        let state = State {
            kept: VecDeque::with_capacity(capacity),
            capacity,
            first: 0,
            senders: 1,
            weak_senders: 0,
            receivers: 0,
        };
        Sender {
            shared: Arc::new(Signal::new(state)),
        }
    }

    /// Sends a message to everybody who has subscribed; returns how many. Never
    /// waits; the oldest message makes room.
    ///
    /// # Errors
    /// If nobody has; the message is in the error.
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        let message = Arc::new(message);
        let mut ours = Some(message);
        let (receivers, _dropped_outside) = self.shared.change(|state| {
            if state.receivers == 0 {
                return (0, None);
            }
            let oldest = match state.kept.len() == state.capacity {
                true => state.forget_first(),
                false => None,
            };
            let missing = state.receivers;
            if let Some(message) = ours.take() {
                state.kept.push_back(Kept { message, missing });
            }
            (missing, oldest)
        });
        match ours.and_then(Arc::into_inner) {
            None => Ok(receivers),
            Some(message) => Err(SendError(message)),
        }
    }

    /// A receiver of everything that is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        subscribe(&self.shared)
    }

    /// How many messages are kept.
    pub fn len(&self) -> usize {
        self.shared.look(|state| state.kept.len())
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.shared.look(|state| state.receivers)
    }

    /// How many senders there are.
    pub fn strong_count(&self) -> usize {
        self.shared.look(|state| state.senders)
    }

    /// How many weak senders there are.
    pub fn weak_count(&self) -> usize {
        self.shared.look(|state| state.weak_senders)
    }

    /// A handle that does not keep the channel open.
    pub fn downgrade(&self) -> WeakSender<T> {
        weak(&self.shared)
    }

    /// Waits until there is no receiver. A cancellation point.
    pub fn closed(&self) {
        let closed = |state: &mut State<T>| (state.receivers == 0).then_some(());
        let _ = self.shared.wait(&CLOSING, None, closed);
    }

    /// As [`Sender::closed`], for async tasks.
    pub async fn closed_async(&self) {
        let closed = |state: &mut State<T>| (state.receivers == 0).then_some(());
        self.shared.until(closed).await;
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

fn weak<T>(shared: &Shared<T>) -> WeakSender<T> {
    shared.look(|state| state.weak_senders += 1);
    WeakSender {
        shared: shared.clone(),
    }
}

impl<T> WeakSender<T> {
    /// A sender, unless the last one is gone: then the channel is closed for good.
    pub fn upgrade(&self) -> Option<Sender<T>> {
        let is_open = self.shared.look(|state| {
            let is_open = state.senders > 0;
            state.senders += usize::from(is_open);
            is_open
        });
        is_open.then(|| Sender {
            shared: self.shared.clone(),
        })
    }

    /// How many senders there are.
    pub fn strong_count(&self) -> usize {
        self.shared.look(|state| state.senders)
    }

    /// How many weak senders there are.
    pub fn weak_count(&self) -> usize {
        self.shared.look(|state| state.weak_senders)
    }
}

fn subscribe<T>(shared: &Shared<T>) -> Receiver<T> {
    let next = shared.look(|state| {
        state.receivers += 1;
        state.end()
    });
    Receiver {
        shared: shared.clone(),
        next,
    }
}

fn unwrap<T: Clone>(message: Arc<T>) -> T {
    // Outside the lock: cloning is user code.
    Arc::try_unwrap(message).unwrap_or_else(|shared| (*shared).clone())
}

impl<T> Receiver<T> {
    /// How many messages have been sent and not received, those included that are
    /// missed: more than the capacity says that the next receive tells of them.
    pub fn len(&self) -> usize {
        let behind = self.shared.look(|state| state.end() - self.next);
        usize::try_from(behind).unwrap_or(usize::MAX)
    }

    /// Whether everything sent has been received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no sender. What was sent can still be received.
    pub fn is_closed(&self) -> bool {
        self.sender_strong_count() == 0
    }

    /// How many senders there are.
    pub fn sender_strong_count(&self) -> usize {
        self.shared.look(|state| state.senders)
    }

    /// How many weak senders there are.
    pub fn sender_weak_count(&self) -> usize {
        self.shared.look(|state| state.weak_senders)
    }

    /// A receiver of everything that is sent from now on.
    pub fn resubscribe(&self) -> Receiver<T> {
        subscribe(&self.shared)
    }

    /// Whether both belong to one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T: Clone> Receiver<T> {
    /// Receives the next message, waiting for it. A cancellation point.
    ///
    /// # Errors
    /// If messages were missed, or there is no sender.
    pub fn recv(&mut self) -> Result<T, RecvError> {
        let next = &mut self.next;
        let taken = self.shared.wait(&RECEIVING, None, |state| state.take(next));
        taken.unwrap_or(Err(RecvError::Closed)).map(unwrap)
    }

    /// [`Receiver::recv`] under tokio's name.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn blocking_recv(&mut self) -> Result<T, RecvError> {
        self.recv()
    }

    /// As [`Receiver::recv`], for async tasks. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub async fn recv_async(&mut self) -> Result<T, RecvError> {
        let next = &mut self.next;
        let taken = self.shared.until(|state| state.take(next)).await;
        taken.map(unwrap)
    }

    /// As [`Receiver::recv`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up, or as [`Receiver::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(deadline_after(timeout))
    }

    /// As [`Receiver::recv`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let next = &mut self.next;
        match self
            .shared
            .wait(&RECEIVING, deadline, |state| state.take(next))
        {
            Ok(Ok(message)) => Ok(unwrap(message)),
            Ok(Err(RecvError::Closed)) => Err(RecvTimeoutError::Closed),
            Ok(Err(RecvError::Lagged(missed))) => Err(RecvTimeoutError::Lagged(missed)),
            Err(_) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Receives the next message if it is there.
    ///
    /// # Errors
    /// If it is not, or as [`Receiver::recv`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let next = &mut self.next;
        match self.shared.look(|state| state.take(next)) {
            Some(Ok(message)) => Ok(unwrap(message)),
            Some(Err(RecvError::Closed)) => Err(TryRecvError::Closed),
            Some(Err(RecvError::Lagged(missed))) => Err(TryRecvError::Lagged(missed)),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.look(|state| state.senders += 1);
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        weak(&self.shared)
    }
}

impl<T> Drop for WeakSender<T> {
    fn drop(&mut self) {
        self.shared.look(|state| state.weak_senders -= 1);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.change(|state| state.senders -= 1);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.receivers -= 1;
            let skip = self.next.saturating_sub(state.first) as usize;
            for kept in state.kept.iter_mut().skip(skip) {
                kept.missing -= 1;
            }
        });
        // One by one, because dropping a message is user code.
        while let Some(kept) = self.shared.look(State::forget_if_taken) {
            drop(kept);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("broadcast::Sender")
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("broadcast::WeakSender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("broadcast::Receiver")
    }
}

impl<T> std::panic::UnwindSafe for WeakSender<T> {}
impl<T> std::panic::RefUnwindSafe for WeakSender<T> {}
impl<T> std::panic::UnwindSafe for Sender<T> {}
impl<T> std::panic::RefUnwindSafe for Sender<T> {}
impl<T> std::panic::UnwindSafe for Receiver<T> {}
impl<T> std::panic::RefUnwindSafe for Receiver<T> {}
