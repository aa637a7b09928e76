//! A channel for one message, with tokio's names.
//!
//! The sender is used up by sending, so a send never waits. The receiver is a
//! future, too.
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::channel::oneshot;
//! let (sender, receiver) = oneshot::channel();
//! let thread = std::thread::spawn(move || receiver.recv());
//! sender.send(42).unwrap();
//! assert_eq!(thread.join().unwrap(), Ok(42));
//! ```

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::wait::Reason;

use super::ends::deadline_after;
use super::signal::{Place, Signal};
pub use crossbeam_channel::{RecvError, RecvTimeoutError, TryRecvError};

static RECEIVING: Reason = Reason::new("receive on oneshot");
static CLOSING: Reason = Reason::new("close of oneshot");

struct State<T> {
    message: Option<T>,
    /// The sender has sent or is gone.
    sent: bool,
    /// The receiver wants no message any more.
    closed: bool,
}

impl<T> State<T> {
    fn found(&mut self) -> Option<Result<T, RecvError>> {
        match self.message.take() {
            Some(message) => Some(Ok(message)),
            None => (self.sent || self.closed).then_some(Err(RecvError)),
        }
    }
}

/// The sending end; see the [module](self).
pub struct Sender<T> {
    shared: Arc<Signal<State<T>>>,
}

/// The receiving end; see the [module](self). Awaiting it receives the message.
pub struct Receiver<T> {
    shared: Arc<Signal<State<T>>>,
    /// Boxed, so that the receiver can be moved while it waits.
    place: Option<Pin<Box<Place>>>,
}

/// A channel for one message.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Signal::new(State {
        message: None,
        sent: false,
        closed: false,
    }));
    let sender = Sender {
        shared: shared.clone(),
    };
    let place = None;
    (sender, Receiver { shared, place })
}

impl<T> Sender<T> {
    /// Sends the message. Never waits.
    ///
    /// # Errors
    /// The message, if the receiver is gone or closed.
    pub fn send(self, message: T) -> Result<(), T> {
        self.shared.change(|state| {
            if state.closed {
                return Err(message);
            }
            state.message = Some(message);
            state.sent = true;
            Ok(())
        })
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.shared.look(|state| state.closed)
    }

    /// Waits until the receiver is gone or closed. A cancellation point.
    pub fn closed(&mut self) {
        let closed = |state: &mut State<T>| state.closed.then_some(());
        let _ = self.shared.wait(&CLOSING, None, closed);
    }

    /// As [`Sender::closed`], for async tasks.
    pub async fn closed_async(&mut self) {
        self.shared.until(|state| state.closed.then_some(())).await;
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.change(|state| state.sent = true);
    }
}

impl<T> Receiver<T> {
    /// Receives the message, waiting for it. A cancellation point.
    ///
    /// # Errors
    /// If the sender is gone without having sent.
    pub fn recv(self) -> Result<T, RecvError> {
        self.shared
            .wait(&RECEIVING, None, State::found)
            .unwrap_or(Err(RecvError))
    }

    /// [`Receiver::recv`] under tokio's name.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn blocking_recv(self) -> Result<T, RecvError> {
        self.recv()
    }

    /// Receives the message, waiting at most this long.
    ///
    /// # Errors
    /// If the time is up, or as [`Receiver::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(deadline_after(timeout))
    }

    /// Receives the message, waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match self.shared.wait(&RECEIVING, deadline, State::found) {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(RecvError)) => Err(RecvTimeoutError::Disconnected),
            Err(_) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Receives the message if it is there.
    ///
    /// # Errors
    /// If it is not there yet, or will not come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.shared.look(State::found) {
            Some(Ok(message)) => Ok(message),
            Some(Err(RecvError)) => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Whether the message is not there.
    pub fn is_empty(&self) -> bool {
        self.shared.look(|state| state.message.is_none())
    }

    /// Prevents a later send. What has been sent can still be received.
    pub fn close(&mut self) {
        self.shared.change(|state| state.closed = true);
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let place = this.place.get_or_insert_with(|| Box::pin(Place::new()));
        // SAFETY: nothing is moved out of the place.
        let place = unsafe { place.as_mut().get_unchecked_mut() };
        // SAFETY: the place is boxed, and dropping the receiver leaves the list.
        unsafe { this.shared.poll(place, context, State::found) }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Some(place) = &mut self.place {
            // SAFETY: nothing is moved out of the place.
            self.shared
                .leave(unsafe { place.as_mut().get_unchecked_mut() });
        }
        let message = self.shared.change(|state| {
            state.closed = true;
            state.message.take()
        });
        drop(message);
    }
}

impl<T> Unpin for Receiver<T> {}

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
