//! Channels, with crossbeam-channel's API, macros and error types.
//!
//! * [`unbounded`]: asynchronous. A send never waits; the buffer grows.
//! * [`bounded`]: a send waits while the buffer is full. `bounded(0)` is the
//!   rendezvous: a send waits until its message is taken.
//! * [`after`], [`at`], [`tick`], [`never`](fn@never): receivers that nobody sends to.
//! * [`select!`], [`select_biased!`], [`Select`]: several operations at once.
//! * [`Sender::send_async`], [`Receiver::recv_async`]: for async tasks.
//! * [`oneshot`], [`mpsc`], [`broadcast`], [`watch`], [`duplex`]: other shapes.
//! * [`rendezvous`]: Ada's entry calls and `accept`.
//! * [`stamped`]: channels whose messages carry the stamps of logical clocks.
//!
//! Both ends can be cloned and shared, between user threads, kernel threads and
//! both mixed. When all senders are gone, what is buffered is still received;
//! when all receivers are gone, sends fail and hand the message back. Waiting
//! sends and receives are cancellation points; a cancelled receive loses no
//! message, a cancelled send drops its own. If dropping a buffered message panics,
//! the others are dropped all the same (crossbeam-channel leaks them).
//!
//! ```
//! # use lisle_sync::__facade as lisle;
//! use lisle::channel;
//! let (sender, receiver) = channel::unbounded();
//! std::thread::spawn(move || (1..=3).for_each(|n| sender.send(n).unwrap()));
//! assert_eq!(receiver.iter().sum::<i32>(), 6);
//! ```

mod alarm;
pub mod broadcast;
mod buffer;
mod complete;
mod core;
pub mod duplex;
mod ends;
mod future;
mod iter;
mod lone;
#[doc(hidden)]
pub mod macros;
pub mod mpsc;
pub mod oneshot;
mod operand;
pub mod rendezvous;
mod select;
mod selecting;
mod signal;
pub mod stamped;
mod tally;
mod ticket;
mod timer;
mod wait;
pub mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::ends::{Receiver, Sender};
pub use self::future::{RecvFuture, SendFuture};
pub use self::iter::{IntoIter, Iter, TryIter};
pub use self::select::{Select, SelectedOperation};
pub use crossbeam_channel::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};

pub use crate::{select, select_biased};

use self::ends::Source;
use self::timer::Timer;

/// A channel without a bound: sends never wait.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// let (sender, receiver) = lisle::channel::unbounded();
/// (0..1000).for_each(|n| sender.send(n).unwrap());
/// assert_eq!(receiver.len(), 1000);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends::pair(None)
}

/// A channel that buffers at most `capacity` messages; with 0, a rendezvous.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// let (sender, receiver) = lisle::channel::bounded(1);
/// sender.send(1).unwrap();
/// assert!(sender.try_send(2).is_err());
/// assert_eq!(receiver.recv(), Ok(1));
///
/// let (sender, receiver) = lisle::channel::bounded(0);
/// let thread = std::thread::spawn(move || sender.send("met"));
/// assert_eq!(receiver.recv(), Ok("met"));
/// thread.join().unwrap().unwrap();
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends::pair(Some(capacity))
}

fn timer(due: Option<Instant>, period: Option<Duration>) -> Receiver<Instant> {
    let source = match due {
        Some(_) => Source::Timer(Arc::new(Timer::new(due, period))),
        // Beyond the clock.
        None => Source::Never,
    };
    Receiver { source }
}

/// A receiver that gets one message after this time: the instant when that was.
/// It is never disconnected.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use std::time::Duration;
/// use lisle::channel::{after, select, unbounded};
/// let (_sender, receiver) = unbounded::<u8>();
/// select! {
///     recv(receiver) -> _ => unreachable!(),
///     recv(after(Duration::from_millis(1))) -> _ => println!("the time is up"),
/// }
/// ```
pub fn after(time: Duration) -> Receiver<Instant> {
    timer(ends::deadline_after(time), None)
}

/// A receiver that gets one message at this instant. It is never disconnected.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// let now = lisle::time::now();
/// let receiver = lisle::channel::at(now);
/// assert_eq!(receiver.recv(), Ok(now));
/// assert!(receiver.try_recv().is_err());
/// ```
pub fn at(instant: Instant) -> Receiver<Instant> {
    timer(Some(instant), None)
}

/// A receiver that gets a message at each interval, as long as the one before
/// has been received: it holds one at most. The first comes after one interval.
/// It is never disconnected.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use std::time::Duration;
/// let ticks = lisle::channel::tick(Duration::from_millis(1));
/// let [first, second] = [(); 2].map(|()| ticks.recv().unwrap());
/// assert!(second >= first + Duration::from_millis(1));
/// ```
pub fn tick(interval: Duration) -> Receiver<Instant> {
    timer(ends::deadline_after(interval), Some(interval))
}

/// A receiver that never gets anything and is never disconnected.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::channel::{TryRecvError, never};
/// assert_eq!(never::<u8>().try_recv(), Err(TryRecvError::Empty));
/// ```
pub const fn never<T>() -> Receiver<T> {
    Receiver {
        source: Source::Never,
    }
}
