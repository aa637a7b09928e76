//! `Barrier`: threads wait for each other, with std's names and behaviour.
//!
//! *Protocol*. Everybody counts itself in under the lock. The last one of a round
//! sets the count back, takes all others out of the queue and wakes them: so the
//! queue holds waiters of one round only, and the barrier can be used again at once.
//!
//! *Giving up*. A waiter that is cancelled or whose time is up is counted out, if its
//! round has not been completed with it: then that many others are still awaited.

use core::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

use lisle_runtime::time;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Locked, Reason, Waiters};

use crate::queue::{Awaited, Waited, wait_in, wake_all};

static REASON: Reason = Reason::new("barrier");

/// Lets a number of threads wait for each other, again and again, as
/// `std::sync::Barrier`.
///
/// *Cancellation*: waiting is a cancellation point. A thread that gives up, by a
/// cancel or a timeout, does not count: the others go on waiting for their number.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::Barrier;
/// static BARRIER: Barrier = Barrier::new(3);
///
/// let threads = [(); 3].map(|()| std::thread::spawn(|| BARRIER.wait().is_leader()));
/// let leaders = threads.map(|thread| thread.join().unwrap());
/// assert_eq!(leaders.iter().filter(|leads| **leads).count(), 1);
/// ```
#[derive(Debug)]
pub struct Barrier {
    state: Waiters<Round>,
}

// No panic leaves it between two states.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

#[derive(Debug)]
struct Round {
    size: usize,
    waiting: usize,
    queue: Queue<()>,
}

impl Awaited for Round {
    fn queue(&mut self) -> &mut Queue<()> {
        &mut self.queue
    }

    fn enter(round: &mut Locked<'_, Self>) -> bool {
        let last = round.waiting + 1 >= round.size;
        if last {
            round.waiting = 0;
            wake_all(round);
        } else {
            round.waiting += 1;
        }
        last
    }

    fn leave(&mut self) {
        self.waiting -= 1;
    }
}

/// What [`Barrier::wait`] returns: whether the calling thread is its round's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether the calling thread is the one, of all in its round, that was told so.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    lisle_lwp::const_unless_loom! {
        /// A barrier for this many threads. One for none or one holds up nobody.
        pub fn new(n: usize) -> Barrier {
            let round = Round { size: n, waiting: 0, queue: Queue::new() };
            Barrier { state: Waiters::new(round) }
        }
    }

    /// Waits until as many threads wait as the barrier is for. A cancellation point.
    #[inline]
    pub fn wait(&self) -> BarrierWaitResult {
        match self.wait_until(None) {
            Some(result) => result,
            None => unreachable!("no deadline"),
        }
    }

    /// As [`Barrier::wait`], if the calling thread is the only one that is still awaited:
    /// then it is the leader. `None` otherwise: then it does not count.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::sync::Barrier;
    /// assert!(Barrier::new(1).try_wait().unwrap().is_leader());
    /// assert!(Barrier::new(2).try_wait().is_none());
    /// ```
    pub fn try_wait(&self) -> Option<BarrierWaitResult> {
        let mut round = self.state.lock();
        let last = Round::enter(&mut round);
        if !last {
            round.leave();
        }
        last.then_some(BarrierWaitResult(true))
    }

    /// As [`Barrier::wait`], at most this long; `None` if the time is up: then the
    /// thread does not count. A cancellation point.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// let barrier = lisle::sync::Barrier::new(2);
    /// assert!(barrier.wait_timeout(std::time::Duration::from_millis(1)).is_none());
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Option<BarrierWaitResult> {
        self.wait_until(time::now().checked_add(timeout))
    }

    /// As [`Barrier::wait_timeout`], until the deadline.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<BarrierWaitResult> {
        self.wait_until(Some(deadline))
    }

    #[inline]
    fn wait_until(&self, deadline: Option<Instant>) -> Option<BarrierWaitResult> {
        match wait_in(&self.state, &REASON, deadline) {
            Waited::AtOnce => Some(BarrierWaitResult(true)),
            Waited::Woken => Some(BarrierWaitResult(false)),
            Waited::TimedOut => None,
        }
    }
}
