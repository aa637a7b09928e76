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

    fn is_closed(&mut self) -> Option<()> {
        self.closed.then_some(())
    }
}

/// What both ends have: the state, and where a task waits for it.
struct End<T> {
    shared: Arc<Signal<State<T>>>,
    /// Boxed, so that the end can be moved while it waits.
    place: Option<Pin<Box<Place>>>,
}

impl<T> End<T> {
    fn poll<R>(
        &mut self,
        context: &Context<'_>,
        found: impl FnOnce(&mut State<T>) -> Option<R>,
    ) -> Poll<R> {
        let place = self.place.get_or_insert_with(|| Box::pin(Place::new()));
        // SAFETY: nothing is moved out of the place.
        let place = unsafe { place.as_mut().get_unchecked_mut() };
        // SAFETY: the place is boxed, and whoever drops the end leaves the list.
        unsafe { self.shared.poll(place, context, found) }
    }

    /// To be called before the end is dropped: what that changes is no news to itself.
    fn leave(&mut self) {
        if let Some(place) = &mut self.place {
            // SAFETY: nothing is moved out of the place.
            self.shared
                .leave(unsafe { place.as_mut().get_unchecked_mut() });
        }
    }
}

/// The sending end; see the [module](self). It goes where its message may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>(_: T) {}
/// sent(lisle::channel::oneshot::channel::<std::rc::Rc<u8>>().0);
/// ```
pub struct Sender<T>(End<T>);

/// The receiving end; see the [module](self). Awaiting it receives the message; to
/// await it again panics. It goes where its message may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>(_: T) {}
/// sent(lisle::channel::oneshot::channel::<std::rc::Rc<u8>>().1);
/// ```
pub struct Receiver<T> {
    end: End<T>,
    terminated: bool,
}

/// A channel for one message.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Signal::new(State {
        message: None,
        sent: false,
        closed: false,
    }));
    let end = |shared| End {
        shared,
        place: None,
    };
    let receiver = Receiver {
        end: end(shared.clone()),
        terminated: false,
    };
    (Sender(end(shared)), receiver)
}

impl<T> Sender<T> {
    /// Sends the message. Never waits.
    ///
    /// # Errors
    /// The message, if the receiver is gone or closed.
    pub fn send(self, message: T) -> Result<(), T> {
        self.0.shared.change(|state| {
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
        self.0.shared.look(|state| state.closed)
    }

    /// Waits until the receiver is gone or closed. A cancellation point.
    pub fn closed(&mut self) {
        let _ = self.0.shared.wait(&CLOSING, None, State::is_closed);
    }

    /// As [`Sender::closed`], for async tasks.
    pub async fn closed_async(&mut self) {
        self.0.shared.until(State::is_closed).await;
    }

    /// As [`Sender::closed_async`], for a future written by hand.
    pub fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context, State::is_closed)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.leave();
        self.0.shared.change(|state| state.sent = true);
    }
}

impl<T> Receiver<T> {
    /// Receives the message, waiting for it. A cancellation point.
    ///
    /// # Errors
    /// If the sender is gone without having sent.
    pub fn recv(self) -> Result<T, RecvError> {
        self.end
            .shared
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
        let found = self.end.shared.wait(&RECEIVING, deadline, State::found);
        self.terminated |= found.is_ok();
        match found {
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
        let found = self.end.shared.look(State::found);
        self.terminated |= found.is_some();
        match found {
            Some(Ok(message)) => Ok(message),
            Some(Err(RecvError)) => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Whether the message is not there.
    pub fn is_empty(&self) -> bool {
        self.end.shared.look(|state| state.message.is_none())
    }

    /// Whether it has received the message, or has said that none will come.
    pub fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// Prevents a later send. What has been sent can still be received.
    pub fn close(&mut self) {
        self.end.shared.change(|state| state.closed = true);
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.terminated, "called after complete");
        let polled = self.end.poll(context, State::found);
        self.terminated = polled.is_ready();
        polled
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.end.leave();
        let message = self.end.shared.change(|state| {
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
