//! Channels that know what happened before what: each message carries the stamp of
//! its sending, by a clock of [`lisle_clock`], and a receive merges it.
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::clock::{Clock, Vector};
//! use lisle::channel::stamped;
//!
//! let (mut alice, mut bob) = (Vector::new(0), Vector::new(1));
//! let (sender, receiver) = stamped::unbounded();
//! sender.send(&mut alice, "hello").unwrap();
//! let hello = receiver.recv(&mut bob).unwrap();
//!
//! let answer = bob.stamped("who is there?");
//! assert!(hello.happened_before(&answer));
//! ```
//!
//! *Where clocks are.* A process is sequential, so its clock is a plain value, lent to
//! each operation: no lock, no atomic, and the compiler sees to it that its events are
//! one after the other. A process of several threads shares its clock: [`Shared`].
//! Both are [`Site`]s, where events happen.
//!
//! *Ends.* A stamped end is an ordinary one that carries [`Stamped`] messages, and
//! dereferences to it. So `len`, `iter`, async forms and [`select!`](crate::select!)
//! are those of every channel; only the stamping is left to the caller then:
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! # use lisle::clock::{Clock, Vector};
//! # use lisle::channel::{select, stamped};
//! # let (mut alice, mut bob) = (Vector::new(0), Vector::new(1));
//! # let (asks, asked) = stamped::unbounded::<u32, Vector>();
//! # let (answers, answered) = stamped::unbounded::<u32, Vector>();
//! # asks.send(&mut alice, 7).unwrap();
//! select! {
//!     recv(asked) -> question => bob.receive(&question.unwrap().stamp),
//!     // Evaluated only if the send is chosen: so the stamp is of that moment.
//!     send(answers, bob.stamped(42)) -> sent => sent.unwrap(),
//! }
//! ```
//!
//! In the same way every other carrier has stamps: a oneshot, a broadcast, a socket
//! carries `clock.stamped(message)`, and its receiver calls `clock.receive(&stamp)`.
//! Channels without stamps pay nothing.
//!
//! *Invariants*:
//! * the stamp of an event after a receive is greater than the message's;
//! * on one channel, the messages of one process are in the order of their stamps,
//!   also if several of its threads send. For this, a shared clock is held from the
//!   stamping until the message has its place in the channel;
//! * a shared clock is never held while a thread waits on a channel: a send that has
//!   to wait first asks for its place, without a stamp, and then fills it;
//! * a send that fails or is cancelled was no event.
//!
//! *Rejected*: clocks inside the ends, behind a lock; every message would pay two
//! locked instructions more at each end, and a process has many ends but one clock.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lisle_clock::{Clock, Stamped};

use super::{
    RecvError, RecvTimeoutError, Select, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use crate::Mutex;

/// A message as a channel for clocks of type `C` carries it.
pub type Message<T, C> = Stamped<T, <C as Clock>::Stamp>;

/// The sending end of a stamped channel. See the [module](self). It goes where its
/// messages may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// use lisle::clock::Lamport;
/// fn sent<T: Send>(_: T) {}
/// sent(lisle::channel::stamped::unbounded::<std::rc::Rc<u8>, Lamport>().0);
/// ```
pub struct Sender<T, C: Clock> {
    plain: super::Sender<Message<T, C>>,
}

/// The receiving end of a stamped channel. See the [module](self). It goes where its
/// messages may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// use lisle::clock::Lamport;
/// fn sent<T: Send>(_: T) {}
/// sent(lisle::channel::stamped::unbounded::<std::rc::Rc<u8>, Lamport>().1);
/// ```
pub struct Receiver<T, C: Clock> {
    plain: super::Receiver<Message<T, C>>,
}

/// As [`channel::unbounded`](super::unbounded), with stamps.
pub fn unbounded<T, C: Clock>() -> (Sender<T, C>, Receiver<T, C>) {
    stamped(super::unbounded())
}

/// As [`channel::bounded`](super::bounded), with stamps; with 0, a rendezvous.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::clock::{Lamport, LamportStamp};
/// use lisle::channel::stamped;
/// let mut process = Lamport::new(3);
/// let (sender, receiver) = stamped::bounded(1);
/// sender.try_send(&mut process, 'a').unwrap();
/// assert!(sender.try_send(&mut process, 'b').is_err());
/// assert_eq!(process.time(), 1); // a send that fails is no event
/// assert_eq!(receiver.recv(&mut process).unwrap().stamp.time, 1);
/// ```
pub fn bounded<T, C: Clock>(capacity: usize) -> (Sender<T, C>, Receiver<T, C>) {
    stamped(super::bounded(capacity))
}

/// The ends of a plain channel of stamped messages.
type Plain<M> = (super::Sender<M>, super::Receiver<M>);

fn stamped<T, C: Clock>(
    (sender, receiver): Plain<Message<T, C>>,
) -> (Sender<T, C>, Receiver<T, C>) {
    (Sender { plain: sender }, Receiver { plain: receiver })
}

impl<T, C: Clock> Sender<T, C> {
    /// Stamps a message and sends it, as [`Sender::send`](super::Sender::send).
    ///
    /// # Errors
    /// If there is no receiver; the message is in the error.
    #[inline(always)]
    pub fn send(&self, site: impl Site<Clock = C>, message: T) -> Result<(), SendError<T>> {
        site.send(&self.plain, message, None)
            .map_err(|error| match error {
                SendTimeoutError::Disconnected(m) | SendTimeoutError::Timeout(m) => SendError(m),
            })
    }

    /// As [`Sender::send`], if that needs no waiting for the channel.
    ///
    /// # Errors
    /// If there is no room or no receiver; the message is in the error.
    #[inline(always)]
    pub fn try_send(&self, site: impl Site<Clock = C>, message: T) -> Result<(), TrySendError<T>> {
        site.with(|clock| try_send(clock, &self.plain, message))
    }

    /// As [`Sender::send`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up or there is no receiver; the message is in the error.
    pub fn send_timeout(
        &self,
        site: impl Site<Clock = C>,
        message: T,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<T>> {
        site.send(&self.plain, message, super::ends::deadline_after(timeout))
    }

    /// As [`Sender::send`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Sender::send_timeout`].
    pub fn send_deadline(
        &self,
        site: impl Site<Clock = C>,
        message: T,
        deadline: Instant,
    ) -> Result<(), SendTimeoutError<T>> {
        site.send(&self.plain, message, Some(deadline))
    }
}

impl<T, C: Clock> Receiver<T, C> {
    /// Receives a message and merges its stamp, as
    /// [`Receiver::recv`](super::Receiver::recv).
    ///
    /// # Errors
    /// If nothing is buffered and there is no sender.
    #[inline(always)]
    pub fn recv(&self, site: impl Site<Clock = C>) -> Result<Message<T, C>, RecvError> {
        receive(site, self.plain.recv())
    }

    /// As [`Receiver::recv`], if there is a message.
    ///
    /// # Errors
    /// If there is none, with or without senders left.
    #[inline(always)]
    pub fn try_recv(&self, site: impl Site<Clock = C>) -> Result<Message<T, C>, TryRecvError> {
        receive(site, self.plain.try_recv())
    }

    /// As [`Receiver::recv`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up, or as [`Receiver::recv`].
    pub fn recv_timeout(
        &self,
        site: impl Site<Clock = C>,
        timeout: Duration,
    ) -> Result<Message<T, C>, RecvTimeoutError> {
        receive(site, self.plain.recv_timeout(timeout))
    }

    /// As [`Receiver::recv`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn recv_deadline(
        &self,
        site: impl Site<Clock = C>,
        deadline: Instant,
    ) -> Result<Message<T, C>, RecvTimeoutError> {
        receive(site, self.plain.recv_deadline(deadline))
    }
}

#[inline(always)]
fn receive<T, S: Site, E>(
    site: S,
    received: Result<Message<T, S::Clock>, E>,
) -> Result<Message<T, S::Clock>, E> {
    let message = received?;
    site.with(|clock| clock.receive(&message.stamp));
    Ok(message)
}

/// Stamps and sends, or neither.
#[inline(always)]
fn try_send<T, C: Clock>(
    clock: &mut C,
    sender: &super::Sender<Message<T, C>>,
    message: T,
) -> Result<(), TrySendError<T>> {
    let sent = sender.try_send(clock.stamped(message));
    sent.map_err(|error| without_event(clock, error))
}

/// The send that ticked last failed, so it was no event.
fn without_event<T, C: Clock>(
    clock: &mut C,
    error: TrySendError<Message<T, C>>,
) -> TrySendError<T> {
    clock.retract();
    match error {
        TrySendError::Full(sealed) => TrySendError::Full(sealed.message),
        TrySendError::Disconnected(sealed) => TrySendError::Disconnected(sealed.message),
    }
}

/// Where events happen: a process's clock, or a reference to one that several threads
/// share. Implemented for `&mut C` and `&Shared<C>`.
pub trait Site: sealed::Site {}

impl<S: sealed::Site> Site for S {}

mod sealed {
    use super::*;

    /// What the ends need of a [`Site`](super::Site).
    pub trait Site: Sized {
        /// Its clock.
        type Clock: Clock;

        /// Runs a part of an event while nobody else uses the clock.
        fn with<R>(self, part: impl FnOnce(&mut Self::Clock) -> R) -> R;

        /// Stamps and sends, waiting until the deadline; if that fails, it was no
        /// event.
        fn send<T>(
            self,
            sender: &super::super::Sender<Message<T, Self::Clock>>,
            message: T,
            deadline: Option<Instant>,
        ) -> Result<(), SendTimeoutError<T>>;
    }
}

impl<C: Clock> sealed::Site for &mut C {
    type Clock = C;

    #[inline(always)]
    fn with<R>(self, part: impl FnOnce(&mut C) -> R) -> R {
        part(self)
    }

    #[inline(always)]
    fn send<T>(
        self,
        sender: &super::Sender<Message<T, C>>,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        let attempt = Attempt(self);
        let sealed = attempt.0.stamped(message);
        let sent = match deadline {
            None => (sender.send(sealed)).map_err(|e| SendTimeoutError::Disconnected(e.0)),
            Some(deadline) => sender.send_deadline(sealed, deadline),
        };
        match sent {
            Ok(()) => {
                std::mem::forget(attempt);
                Ok(())
            }
            Err(SendTimeoutError::Timeout(m)) => Err(SendTimeoutError::Timeout(m.message)),
            Err(SendTimeoutError::Disconnected(m)) => {
                Err(SendTimeoutError::Disconnected(m.message))
            }
        }
    }
}

/// Takes its tick back, unless forgotten: the send failed, or was cancelled.
struct Attempt<'a, C: Clock>(&'a mut C);

impl<C: Clock> Drop for Attempt<'_, C> {
    fn drop(&mut self) {
        self.0.retract();
    }
}

/// The clock of a process of several threads. Clones share it.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::clock::{Clock, Lamport};
/// use lisle::channel::stamped::{self, Shared};
///
/// let process = Shared::new(Lamport::new(0));
/// let (sender, receiver) = stamped::unbounded();
/// let threads = [1, 2].map(|n| {
///     let (process, sender) = (process.clone(), sender.clone());
///     std::thread::spawn(move || sender.send(&process, n).unwrap())
/// });
/// threads.map(|thread| thread.join().unwrap());
/// let mut other = Lamport::new(1);
/// let [first, second] = [(); 2].map(|()| receiver.recv(&mut other).unwrap());
/// assert!(first.stamp < second.stamp);
/// ```
///
/// Locking its clock is no cancellation point.
#[derive(Debug)]
pub struct Shared<C> {
    clock: Arc<Mutex<C>>,
}

impl<C: Clock> Shared<C> {
    /// Shares a clock.
    pub fn new(clock: C) -> Shared<C> {
        Shared {
            clock: Arc::new(Mutex::new(clock)),
        }
    }

    /// An event: see [`Clock::tick`].
    pub fn tick(&self) {
        self.with(C::tick);
    }

    /// An event, and its stamp: see [`Clock::stamp`].
    pub fn stamp(&self) -> C::Stamp {
        self.with(C::stamp)
    }

    /// An event, and the message with its stamp: see [`Clock::stamped`]. If the
    /// message is then sent, other threads' messages may come before it.
    pub fn stamped<T>(&self, message: T) -> Message<T, C> {
        self.with(|clock| clock.stamped(message))
    }

    /// The receipt of a message: see [`Clock::receive`].
    pub fn receive(&self, sent: &C::Stamp) {
        self.with(|clock| clock.receive(sent));
    }

    /// The stamp of the latest event.
    pub fn now(&self) -> C::Stamp {
        self.with(|clock| clock.now())
    }

    /// Runs a function on the clock, while no other thread uses it.
    pub fn with<R>(&self, function: impl FnOnce(&mut C) -> R) -> R {
        // A clock is whole after each step, whatever panicked in between.
        function(&mut self.clock.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<C: Clock> sealed::Site for &Shared<C> {
    type Clock = C;

    fn with<R>(self, part: impl FnOnce(&mut C) -> R) -> R {
        Shared::with(self, part)
    }

    fn send<T>(
        self,
        sender: &super::Sender<Message<T, C>>,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        let mut message = match self.with(|clock| try_send(clock, sender, message)) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(m)) => return Err(SendTimeoutError::Disconnected(m)),
            Err(TrySendError::Full(message)) => message,
        };
        loop {
            let mut select = Select::new_biased();
            select.send(sender);
            let place = match deadline {
                None => select.select(),
                Some(deadline) => match select.select_deadline(deadline) {
                    Ok(place) => place,
                    Err(_) => return Err(SendTimeoutError::Timeout(message)),
                },
            };
            // Filling a place waits for nobody, also if it has gone since.
            let filled = self.with(|clock| {
                let filled = place.try_send(sender, clock.stamped(message));
                filled.map_err(|error| without_event(clock, error))
            });
            message = match filled {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(m)) => {
                    return Err(SendTimeoutError::Disconnected(m));
                }
                Err(TrySendError::Full(message)) => message,
            };
        }
    }
}

impl<C> Clone for Shared<C> {
    fn clone(&self) -> Self {
        Shared {
            clock: self.clock.clone(),
        }
    }
}

impl<T, C: Clock> Deref for Sender<T, C> {
    type Target = super::Sender<Message<T, C>>;
    fn deref(&self) -> &Self::Target {
        &self.plain
    }
}

impl<T, C: Clock> Deref for Receiver<T, C> {
    type Target = super::Receiver<Message<T, C>>;
    fn deref(&self) -> &Self::Target {
        &self.plain
    }
}

impl<T, C: Clock> Clone for Sender<T, C> {
    fn clone(&self) -> Self {
        let plain = self.plain.clone();
        Sender { plain }
    }
}

impl<T, C: Clock> Clone for Receiver<T, C> {
    fn clone(&self) -> Self {
        let plain = self.plain.clone();
        Receiver { plain }
    }
}

impl<T, C: Clock> fmt::Debug for Sender<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}

impl<T, C: Clock> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}
