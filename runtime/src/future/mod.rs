//! Futures on user threads: async crates are usable from blocking code.
//!
//! [`block_on`] polls a future on the calling thread and parks that thread until
//! the future's waker says that polling is worth while. No LWP waits meanwhile,
//! and nothing is polled in between: a future that is pending for long is polled
//! once when it begins and once for each time it is woken. Wakers work from
//! anywhere: user threads, kernel threads that never heard of lisle, the threads
//! of another executor.
//!
//! Futures that need an executor's own reactor or timers (`tokio::net`,
//! `tokio::time`) need that executor; what only waits for other tasks
//! (`tokio::sync`, channels of the futures crate), or does its I/O through traits
//! ([`AsyncStream`]), does not.
//!
//! *Protocol* of the notice that waker and thread share: the waker, under the
//! lock, sets `woken` and wakes the waiter; the thread, under the lock, takes
//! `woken` or enqueues itself. So a wake during or after a poll is never lost,
//! and several make one poll. The thread's park token is not touched.

mod stream;

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

pub use self::stream::AsyncStream;
use crate::cancel;
use crate::wait::list::Queue;
use crate::wait::{self, Node, Outcome, Reason, Waiters};

static FUTURE: Reason = Reason::from_outside("future");

/// The deadline passed before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl core::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the deadline passed before the future was ready")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs a future to its end on the calling thread, whatever kind it is, and
/// returns its output. Blocks that thread only. May be nested.
///
/// A cancellation point: a thread that is cancelled drops the future where it
/// is.
///
/// # Panics
/// If the future does.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::time::Duration;
/// use lisle::{future::block_on, thread};
///
/// // SAFETY: the closure touches no thread-local.
/// let worker = unsafe {
///     thread::Builder::new().spawn_light(|| {
///         thread::sleep(Duration::from_millis(1));
///         7
///     })
/// }?;
/// // A join handle is a future, too.
/// let seven = block_on(async { worker.await.unwrap() });
/// assert_eq!(seven, 7);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn block_on<F: IntoFuture>(future: F) -> F::Output {
    match run(pin!(future.into_future()), None) {
        Some(output) => output,
        None => unreachable!("there was no deadline"),
    }
}

/// As [`block_on`], until the deadline at most; then the future is dropped.
///
/// # Errors
/// [`Elapsed`] once the deadline has passed. The future has been polled at least
/// once.
///
/// # Panics
/// If the future does.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::future;
/// use std::time::{Duration, Instant};
/// use lisle::future::block_on_deadline;
///
/// let soon = Instant::now() + Duration::from_millis(5);
/// assert_eq!(block_on_deadline(future::ready(3), soon), Ok(3));
/// assert!(block_on_deadline(future::pending::<()>(), soon).is_err());
/// ```
pub fn block_on_deadline<F: IntoFuture>(
    future: F,
    deadline: Instant,
) -> Result<F::Output, Elapsed> {
    run(pin!(future.into_future()), Some(deadline)).ok_or(Elapsed)
}

fn run<F: Future>(mut future: Pin<&mut F>, deadline: Option<Instant>) -> Option<F::Output> {
    cancel::checkpoint();
    let notice = Arc::new(Notice::new());
    let waker = Waker::from(notice.clone());
    loop {
        if let Poll::Ready(output) = poll(future.as_mut(), &waker) {
            return Some(output);
        }
        if !notice.wait(deadline) {
            return None;
        }
    }
}

/// Polls once. Never inlined: a future may touch thread-locals, and the function
/// that calls this one waits.
#[inline(never)]
fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// What a waker tells the thread that polls.
#[derive(Debug)]
struct Notice {
    state: Waiters<State>,
}

#[derive(Debug)]
struct State {
    woken: bool,
    waiters: Queue<()>,
}

impl Notice {
    fn new() -> Notice {
        Notice {
            state: Waiters::new(State {
                woken: false,
                waiters: Queue::new(),
            }),
        }
    }

    /// Waits until the future was woken, and takes that; `false`: the deadline
    /// came first.
    #[inline(never)]
    fn wait(&self, deadline: Option<Instant>) -> bool {
        loop {
            let Ok(wait) = wait::begin(&FUTURE, 0, true) else {
                cancel::deliver()
            };
            let node = Node::new(&wait, ());
            let mut state = self.state.lock();
            if std::mem::take(&mut state.woken) {
                drop(state);
                let _ = wait.abandon();
                return true;
            }
            // SAFETY: removed below, before the frame goes, unless popped.
            unsafe { state.waiters.push(&node) };
            drop(state);
            let outcome = wait.block(deadline);
            if outcome != Outcome::Woken {
                // SAFETY: pushed to this queue.
                unsafe { self.state.lock().waiters.remove(&node) };
            }
            match outcome {
                Outcome::TimedOut => return false,
                Outcome::Cancelled => cancel::deliver(),
                Outcome::Woken | Outcome::Abandoned => {}
            }
        }
    }
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.woken = true;
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(node) = unsafe { state.waiters.pop() } {
            state.wake(node.key());
        }
    }
}
