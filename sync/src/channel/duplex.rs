//! Two-way connections.
//!
//! | connection | made by | who may send |
//! |---|---|---|
//! | simplex | [`unbounded`](super::unbounded), [`bounded`](super::bounded) | one side |
//! | full duplex | [`full`] | both sides, at any time |
//! | half duplex | [`half`] | in turn: a request, then its reply |
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::channel::duplex;
//!
//! let (mut client, mut server) = duplex::half();
//! let thread = std::thread::spawn(move || {
//!     while let Ok((n, turn)) = server.recv() {
//!         turn.reply(n * n).unwrap();
//!     }
//! });
//! assert_eq!(client.call(7), Ok(49));
//! drop(client);
//! thread.join().unwrap();
//! ```

use core::fmt;

use super::{Receiver, RecvError, SendError, Sender};

/// One end of a full-duplex connection that sends `S` and receives `R`. Each
/// direction is a channel; both ends are [`Sender`] and [`Receiver`], so they
/// can be selected on.
#[derive(Debug)]
pub struct Duplex<S, R> {
    /// To the other end.
    pub sender: Sender<S>,
    /// From the other end.
    pub receiver: Receiver<R>,
}

/// A full-duplex connection that buffers this many messages in each direction;
/// with `None`, without a bound.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::channel::duplex;
/// let (a, b) = duplex::full(Some(1));
/// a.send(1).unwrap();
/// b.send("one").unwrap();
/// assert_eq!((a.recv(), b.recv()), (Ok("one"), Ok(1)));
/// ```
pub fn full<A, B>(capacity: Option<usize>) -> (Duplex<A, B>, Duplex<B, A>) {
    let (to_b, from_a) = super::ends::pair(capacity);
    let (to_a, from_b) = super::ends::pair(capacity);
    let a = Duplex {
        sender: to_b,
        receiver: from_b,
    };
    let b = Duplex {
        sender: to_a,
        receiver: from_a,
    };
    (a, b)
}

impl<S, R> Duplex<S, R> {
    /// See [`Sender::send`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    #[inline(always)]
    pub fn send(&self, message: S) -> Result<(), SendError<S>> {
        self.sender.send(message)
    }

    /// See [`Receiver::recv`].
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    #[inline(always)]
    pub fn recv(&self) -> Result<R, RecvError> {
        self.receiver.recv()
    }
}

/// The end of a half-duplex connection that asks. It goes where requests and replies may
/// go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>(_: T) {}
/// sent(lisle::channel::duplex::half::<u8, std::rc::Rc<u8>>().0);
/// ```
#[derive(Debug)]
pub struct Requester<Q, A> {
    end: Duplex<Q, Option<A>>,
    /// A request is under way, though the call that made it ended early.
    awaits: bool,
}

/// The end of a half-duplex connection that answers, one request at a time:
///
/// ```compile_fail,E0499
/// # use lisle_sync::__facade as lisle;
/// let (_asks, mut answers) = lisle::channel::duplex::half::<u8, u8>();
/// let (_, first) = answers.recv().unwrap();
/// let (_, second) = answers.recv().unwrap();
/// first.reply(1);
/// ```
#[derive(Debug)]
pub struct Replier<Q, A> {
    end: Duplex<Option<A>, Q>,
}

/// The right, and the duty, to reply. If it is dropped, the requester is told
/// that there is no reply.
#[derive(Debug)]
#[must_use = "the requester waits for the reply"]
pub struct Turn<'a, Q, A> {
    /// Taken once it has replied.
    end: Option<&'a Duplex<Option<A>, Q>>,
}

/// A half-duplex connection: a request of type `Q`, then its reply of type `A`,
/// in turn. Nobody ever waits to send, because at most one message is under way.
pub fn half<Q, A>() -> (Requester<Q, A>, Replier<Q, A>) {
    let (asks, answers) = full(Some(1));
    let requester = Requester {
        end: asks,
        awaits: false,
    };
    (requester, Replier { end: answers })
}

impl<Q, A> Requester<Q, A> {
    /// Sends a request and waits for its reply. A cancellation point. A call
    /// that is cancelled leaves its reply behind; the next call drops it.
    ///
    /// # Errors
    /// If the other end is gone, or drops its turn.
    pub fn call(&mut self, request: Q) -> Result<A, CallError<Q>> {
        if self.awaits {
            let late = self.end.recv();
            self.awaits = false;
            drop(late);
        }
        self.end
            .send(request)
            .map_err(|error| CallError::NotSent(error.0))?;
        self.awaits = true;
        let reply = self.end.recv();
        self.awaits = false;
        reply.ok().flatten().ok_or(CallError::NoReply)
    }
}

impl<Q, A> Replier<Q, A> {
    /// Waits for a request; with it comes the turn to reply. A cancellation
    /// point.
    ///
    /// # Errors
    /// If the requester is gone.
    pub fn recv(&mut self) -> Result<(Q, Turn<'_, Q, A>), RecvError> {
        let request = self.end.recv()?;
        let end = Some(&self.end);
        Ok((request, Turn { end }))
    }
}

impl<Q, A> Turn<'_, Q, A> {
    /// Replies.
    ///
    /// # Errors
    /// If the requester is gone; the reply is in the error.
    pub fn reply(mut self, reply: A) -> Result<(), SendError<A>> {
        let end = self.end.take().expect("not replied yet");
        // The requester has taken the last reply before it asked again.
        end.send(Some(reply)).map_err(|error| {
            let SendError(reply) = error;
            SendError(reply.expect("what was sent"))
        })
    }
}

impl<Q, A> Drop for Turn<'_, Q, A> {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            // There is room for one, and if nobody is left, nobody wonders.
            let _ = end.sender.try_send(None);
        }
    }
}

/// Why a request had no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError<Q> {
    /// The other end was gone before it had the request, which is handed back.
    NotSent(Q),
    /// The other end took the request and went without a reply.
    NoReply,
}

impl<Q> fmt::Display for CallError<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallError::NotSent(_) => "the request was not sent: the other end is gone",
            CallError::NoReply => "the other end went without a reply",
        })
    }
}

impl<Q: fmt::Debug> std::error::Error for CallError<Q> {}
