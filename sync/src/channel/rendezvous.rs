//! Ada's rendezvous: entry calls and `accept`.
//!
//! A client *calls an entry* with an argument and is suspended until the server
//! has accepted the call and executed its body; the body's result is the call's.
//! (J. Ichbiah and others, "Rationale for the design of the Ada programming
//! language", 1979; C. A. R. Hoare, "Communicating sequential processes", 1978.)
//!
//! | Ada | here |
//! |---|---|
//! | `entry E (…)` | [`entry`] makes the two ends |
//! | `T.E (…)` | [`Entry::call`] |
//! | timed, conditional entry call | [`Entry::call_timeout`], [`Entry::try_call`] |
//! | `accept E (…) do … end` | [`Acceptor::accept`] |
//! | `select … when G => accept … or … end select` | [`Accept`] |
//! | `else`, `or delay`, `or terminate` | [`Accept::or_else`], [`Accept::or_delay`], [`Accept::or_terminate`] |
//!
//! Calls of one entry are accepted first come, first served. A call that ends
//! early, by a timeout or a cancel, before it is accepted leaves no trace; once it
//! is accepted, it is seen to its end. If the body panics, the panic goes on in the
//! server, and the caller gets [`CallError::Panicked`].
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::channel::rendezvous::entry;
//! let (square, squares) = entry();
//! let server = std::thread::spawn(move || while squares.accept(|n: u32| n * n).is_ok() {});
//! assert_eq!(square.call(7), Ok(49));
//! drop(square);
//! server.join().unwrap();
//! ```

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use lisle_runtime::cancel::{self, Cancelled};

use super::ends::deadline_after;
use super::select::{Select, SelectedOperation};
use super::{Receiver, SendTimeoutError, Sender, TryRecvError, TrySendError, oneshot};

/// A call on its way: the argument, and where the result goes.
struct Call<A, R> {
    argument: A,
    result: oneshot::Sender<Ended<R>>,
}

/// How a body ended.
enum Ended<R> {
    Returned(R),
    Panicked(String),
    Cancelled,
}

/// The callers' end of an entry; see the [module](self). It can be cloned. It goes where
/// arguments and results may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>(_: T) {}
/// sent(lisle::channel::rendezvous::entry::<std::rc::Rc<u8>, ()>().0);
/// ```
pub struct Entry<A, R> {
    calls: Sender<Call<A, R>>,
}

/// The server's end of an entry; see the [module](self). It goes where arguments and
/// results may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>(_: T) {}
/// sent(lisle::channel::rendezvous::entry::<(), std::rc::Rc<u8>>().1);
/// ```
pub struct Acceptor<A, R> {
    calls: Receiver<Call<A, R>>,
}

/// An entry whose calls have an argument of type `A` and a result of type `R`.
pub fn entry<A, R>() -> (Entry<A, R>, Acceptor<A, R>) {
    let (sender, receiver) = super::bounded(0);
    (Entry { calls: sender }, Acceptor { calls: receiver })
}

/// Why an entry call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError<A> {
    /// There is no server; the argument is handed back.
    Closed(A),
    /// The call was not accepted in time; the argument is handed back.
    Timeout(A),
    /// The body panicked, with this message.
    Panicked(String),
    /// The server was cancelled, or went, while it executed the body.
    Cancelled,
}

impl<A> fmt::Display for CallError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Closed(_) => f.write_str("the entry has no server"),
            CallError::Timeout(_) => f.write_str("the call was not accepted in time"),
            CallError::Panicked(message) => write!(f, "the accepted body panicked: {message}"),
            CallError::Cancelled => f.write_str("the server was cancelled in the accepted body"),
        }
    }
}

impl<A: fmt::Debug> std::error::Error for CallError<A> {}

/// Why no call was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptError {
    /// No caller waits.
    Empty,
    /// No caller came in time.
    Timeout,
    /// There is nobody left who could call.
    Closed,
    /// Every guard of a selective accept was false, and there was no `else`,
    /// `delay` or `terminate`. (Ada's `Program_Error`.)
    AllClosed,
    /// A selective accept has more than one of `else`, `delay` and `terminate`.
    Conflict,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcceptError::Empty => "no caller waits",
            AcceptError::Timeout => "no caller came in time",
            AcceptError::Closed => "nobody is left who could call",
            AcceptError::AllClosed => "every guard is false and there is no other alternative",
            AcceptError::Conflict => "else, delay and terminate exclude each other",
        })
    }
}

impl std::error::Error for AcceptError {}

impl<A, R> Entry<A, R> {
    /// Calls the entry; returns what the body returned. A cancellation point
    /// until the call is accepted.
    ///
    /// # Errors
    /// If there is no server, or the body ended otherwise.
    pub fn call(&self, argument: A) -> Result<R, CallError<A>> {
        self.call_until(argument, None)
    }

    /// Calls the entry if it is accepted within this time (Ada's timed entry
    /// call). The body may take longer.
    ///
    /// # Errors
    /// If it was not accepted in time, or as [`Entry::call`].
    pub fn call_timeout(&self, argument: A, timeout: Duration) -> Result<R, CallError<A>> {
        self.call_until(argument, deadline_after(timeout))
    }

    /// As [`Entry::call_timeout`], until a deadline.
    ///
    /// # Errors
    /// As [`Entry::call_timeout`].
    pub fn call_deadline(&self, argument: A, deadline: Instant) -> Result<R, CallError<A>> {
        self.call_until(argument, Some(deadline))
    }

    /// Calls the entry if the server waits for it (Ada's conditional entry
    /// call).
    ///
    /// # Errors
    /// [`CallError::Timeout`] if it does not; or as [`Entry::call`].
    pub fn try_call(&self, argument: A) -> Result<R, CallError<A>> {
        let (result, ended) = oneshot::channel();
        match self.calls.try_send(Call { argument, result }) {
            Ok(()) => finish(ended),
            Err(TrySendError::Full(call)) => Err(CallError::Timeout(call.argument)),
            Err(TrySendError::Disconnected(call)) => Err(CallError::Closed(call.argument)),
        }
    }

    fn call_until(&self, argument: A, deadline: Option<Instant>) -> Result<R, CallError<A>> {
        let (result, ended) = oneshot::channel();
        let call = Call { argument, result };
        let sent = match deadline {
            Some(deadline) => self.calls.send_deadline(call, deadline),
            None => self.calls.send(call).map_err(SendTimeoutError::from),
        };
        match sent {
            Ok(()) => finish(ended),
            Err(SendTimeoutError::Timeout(call)) => Err(CallError::Timeout(call.argument)),
            Err(SendTimeoutError::Disconnected(call)) => Err(CallError::Closed(call.argument)),
        }
    }
}

/// Waits for the end of an accepted call. Not cancellable, as an abort is
/// deferred in Ada: the server may work with what the caller lent it.
fn finish<A, R>(ended: oneshot::Receiver<Ended<R>>) -> Result<R, CallError<A>> {
    match cancel::shield(|| ended.recv()) {
        Ok(Ended::Returned(result)) => Ok(result),
        Ok(Ended::Panicked(message)) => Err(CallError::Panicked(message)),
        Ok(Ended::Cancelled) | Err(_) => Err(CallError::Cancelled),
    }
}

impl<A, R> Call<A, R> {
    /// Executes the body; its end reaches both.
    fn execute(self, body: impl FnOnce(A) -> R) {
        let Call { argument, result } = self;
        match catch_unwind(AssertUnwindSafe(|| body(argument))) {
            // A caller that is gone does not want to know.
            Ok(returned) => _ = result.send(Ended::Returned(returned)),
            Err(payload) => {
                let ended = match payload.is::<Cancelled>() {
                    true => Ended::Cancelled,
                    false => Ended::Panicked(message(&*payload)),
                };
                let _ = result.send(ended);
                resume_unwind(payload)
            }
        }
    }
}

/// The message of a panic.
fn message(payload: &(dyn std::any::Any + Send)) -> String {
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => match payload.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => "a panic without a message".to_owned(),
        },
    }
}

impl<A, R> Acceptor<A, R> {
    /// Waits for a call and executes the body for it. A cancellation point.
    ///
    /// # Errors
    /// If nobody is left who could call.
    ///
    /// # Panics
    /// As the body.
    pub fn accept(&self, body: impl FnOnce(A) -> R) -> Result<(), AcceptError> {
        let call = self.calls.recv().map_err(|_| AcceptError::Closed)?;
        call.execute(body);
        Ok(())
    }

    /// As [`Acceptor::accept`], if a caller waits.
    ///
    /// # Errors
    /// If none does, or as [`Acceptor::accept`].
    pub fn try_accept(&self, body: impl FnOnce(A) -> R) -> Result<(), AcceptError> {
        let call = self.calls.try_recv().map_err(|error| match error {
            TryRecvError::Empty => AcceptError::Empty,
            TryRecvError::Disconnected => AcceptError::Closed,
        })?;
        call.execute(body);
        Ok(())
    }

    /// As [`Acceptor::accept`], waiting at most this long for a caller.
    ///
    /// # Errors
    /// If none comes in time, or as [`Acceptor::accept`].
    pub fn accept_timeout(
        &self,
        timeout: Duration,
        body: impl FnOnce(A) -> R,
    ) -> Result<(), AcceptError> {
        let call = self
            .calls
            .recv_timeout(timeout)
            .map_err(|error| match error {
                super::RecvTimeoutError::Timeout => AcceptError::Timeout,
                super::RecvTimeoutError::Disconnected => AcceptError::Closed,
            })?;
        call.execute(body);
        Ok(())
    }
}

/// What a selective accept does if no call can be accepted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    Wait,
    Else,
    Delay(Option<Instant>),
    Terminate,
}

/// A selective accept: waits for a call of any entry whose guard is true.
///
/// Guards are values, so they are evaluated once, when the alternative is added.
/// Several callers at several entries: a random one is chosen.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::channel::rendezvous::{Accept, Chosen, entry};
///
/// // A bounded buffer as a server.
/// let (put, puts) = entry();
/// let (get, gets) = entry();
/// let server = std::thread::spawn(move || {
///     let mut buffer = std::collections::VecDeque::new();
///     loop {
///         let mut accept = Accept::new();
///         let put = accept.when(buffer.len() < 2, &puts);
///         let get = accept.when(!buffer.is_empty(), &gets);
///         match accept.or_terminate().select().unwrap() {
///             Chosen::Call(call) if call.index() == put => {
///                 call.accept(&puts, |item: u32| buffer.push_back(item));
///             }
///             Chosen::Call(call) => {
///                 assert_eq!(call.index(), get);
///                 call.accept(&gets, |()| buffer.pop_front().unwrap());
///             }
///             _ => break,
///         }
///     }
/// });
/// put.call(1).unwrap();
/// put.call(2).unwrap();
/// assert_eq!((get.call(()), get.call(())), (Ok(1), Ok(2)));
/// drop((put, get));
/// server.join().unwrap();
/// ```
#[derive(Debug)]
pub struct Accept<'a> {
    select: Select<'a>,
    /// How many alternatives there are, closed ones included.
    alternatives: usize,
    /// Of each open one, the index of its alternative.
    open: Vec<usize>,
    /// How many of those have callers, as far as is known.
    live: usize,
    otherwise: Otherwise,
    conflict: bool,
}

/// What a selective accept chose.
#[derive(Debug)]
pub enum Chosen<'a> {
    /// A call, to be accepted with [`ChosenCall::accept`].
    Call(ChosenCall<'a>),
    /// No call could be accepted at once.
    Else,
    /// No call came in time.
    Delay,
    /// Nobody is left who could call an open entry.
    Terminate,
}

/// A call that has been chosen and waits for its body. It stays with the thread that chose
/// it:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>() {}
/// sent::<lisle::channel::rendezvous::ChosenCall>();
/// ```
#[derive(Debug)]
#[must_use = "a chosen call must be accepted"]
pub struct ChosenCall<'a> {
    operation: SelectedOperation<'a>,
    index: usize,
}

impl Default for Accept<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Accept<'a> {
    /// Without alternatives yet.
    pub fn new() -> Accept<'a> {
        Accept {
            select: Select::new(),
            alternatives: 0,
            open: Vec::new(),
            live: 0,
            otherwise: Otherwise::Wait,
            conflict: false,
        }
    }

    /// Adds an alternative that is always open. Returns its index: the first one
    /// gets 0.
    pub fn or<A, R>(&mut self, acceptor: &'a Acceptor<A, R>) -> usize {
        self.when(true, acceptor)
    }

    /// Adds an alternative that is open if its guard is true. Returns its index:
    /// the first one gets 0.
    pub fn when<A, R>(&mut self, guard: bool, acceptor: &'a Acceptor<A, R>) -> usize {
        let index = self.alternatives;
        self.alternatives += 1;
        if guard {
            self.select.recv(&acceptor.calls);
            self.open.push(index);
            self.live += 1;
        }
        index
    }

    fn otherwise(mut self, otherwise: Otherwise) -> Self {
        match (self.otherwise, otherwise) {
            (Otherwise::Wait, _) => self.otherwise = otherwise,
            // The shorter delay; `None` is beyond the clock.
            (Otherwise::Delay(a), Otherwise::Delay(b)) => {
                self.otherwise = Otherwise::Delay(a.into_iter().chain(b).min());
            }
            _ => self.conflict = true,
        }
        self
    }

    /// If no call can be accepted at once, gives up.
    pub fn or_else(self) -> Self {
        self.otherwise(Otherwise::Else)
    }

    /// If no call comes within this time, gives up. Of several, the shortest
    /// counts.
    pub fn or_delay(self, delay: Duration) -> Self {
        self.otherwise(Otherwise::Delay(deadline_after(delay)))
    }

    /// If nobody is left who could call an open entry, ends.
    pub fn or_terminate(self) -> Self {
        self.otherwise(Otherwise::Terminate)
    }

    /// Waits until one of the alternatives can be taken. A cancellation point.
    ///
    /// # Errors
    /// If every guard was false and there is nothing else, if nobody is left who
    /// could call, or if the alternatives exclude each other.
    pub fn select(mut self) -> Result<Chosen<'a>, AcceptError> {
        if self.conflict {
            return Err(AcceptError::Conflict);
        }
        if self.open.is_empty() && self.otherwise == Otherwise::Wait {
            return Err(AcceptError::AllClosed);
        }
        loop {
            let selected = match self.otherwise {
                Otherwise::Wait if self.live == 0 => return Err(AcceptError::Closed),
                Otherwise::Terminate if self.live == 0 => return Ok(Chosen::Terminate),
                Otherwise::Wait | Otherwise::Terminate => Some(self.select.select()),
                Otherwise::Else => self.select.try_select().ok(),
                Otherwise::Delay(None) if self.live == 0 => {
                    super::timer::sleep_until(None);
                    None
                }
                Otherwise::Delay(None) => Some(self.select.select()),
                Otherwise::Delay(Some(deadline)) => self.select.select_deadline(deadline).ok(),
            };
            let Some(operation) = selected else {
                return Ok(match self.otherwise {
                    Otherwise::Else => Chosen::Else,
                    _ => Chosen::Delay,
                });
            };
            let index = operation.index();
            if operation.is_disconnected() {
                // Nobody will call this one.
                operation.give_up();
                self.select.remove(index);
                self.live -= 1;
                continue;
            }
            let index = self.open[index];
            return Ok(Chosen::Call(ChosenCall { operation, index }));
        }
    }
}

impl ChosenCall<'_> {
    /// The index of the alternative.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Executes the body for the call.
    ///
    /// # Panics
    /// As the body; or if another entry was chosen.
    pub fn accept<A, R>(self, acceptor: &Acceptor<A, R>, body: impl FnOnce(A) -> R) {
        let call = self.operation.recv(&acceptor.calls);
        if let Ok(call) = call {
            call.execute(body);
        }
    }
}

impl<A, R> Clone for Entry<A, R> {
    fn clone(&self) -> Self {
        Entry {
            calls: self.calls.clone(),
        }
    }
}

impl<A, R> fmt::Debug for Entry<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Entry { .. }")
    }
}

impl<A, R> fmt::Debug for Acceptor<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Acceptor { .. }")
    }
}
