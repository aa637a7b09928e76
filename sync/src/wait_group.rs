//! `WaitGroup`: waiting for others to be done, with crossbeam's names and behaviour.
//!
//! *Protocol*. The members are counted under the lock; the last one to leave takes
//! all waiters out of the queue. A waiter has left before it waits.

use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_runtime::time;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Locked, Reason, Waiters};

use crate::queue::{Awaited, Waited, wait_in, wake_all};

static REASON: Reason = Reason::new("wait group");

/// Lets threads wait until all members of a group are gone, as
/// `crossbeam::sync::WaitGroup`: each clone is a member, dropping it leaves.
///
/// *Cancellation*: waiting is a cancellation point; a cancelled waiter has left.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::sync::WaitGroup;
/// let group = WaitGroup::new();
/// for _ in 0..4 {
///     let member = group.clone();
///     std::thread::spawn(move || drop(member));
/// }
/// group.wait();
/// ```
pub struct WaitGroup {
    state: Arc<Waiters<Members>>,
}

// No panic leaves it between two states.
impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

#[derive(Debug)]
struct Members {
    count: usize,
    queue: Queue<()>,
}

impl Awaited for Members {
    fn queue(&mut self) -> &mut Queue<()> {
        &mut self.queue
    }

    fn enter(members: &mut Locked<'_, Self>) -> bool {
        members.count == 0
    }
}

impl WaitGroup {
    /// A new group, and its only member.
    pub fn new() -> WaitGroup {
        let members = Members {
            count: 1,
            queue: Queue::new(),
        };
        WaitGroup {
            state: Arc::new(Waiters::new(members)),
        }
    }

    /// Leaves the group and waits until all others have. A cancellation point.
    pub fn wait(self) {
        let state = self.leave();
        wait_in(&state, &REASON, None);
    }

    /// As [`WaitGroup::wait`], if all others have left.
    ///
    /// # Errors
    /// If not; the error is the member.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// # use lisle::sync::WaitGroup;
    /// let group = WaitGroup::new();
    /// let other = group.clone();
    /// let group = group.try_wait().unwrap_err();
    /// drop(other);
    /// assert!(group.try_wait().is_ok());
    /// ```
    pub fn try_wait(self) -> Result<(), WaitGroup> {
        // The only member stays the only one: who has left cannot make another.
        if self.state.lock().count == 1 {
            Ok(())
        } else {
            Err(self)
        }
    }

    /// As [`WaitGroup::wait`], at most this long. A cancellation point.
    ///
    /// # Errors
    /// If the time is up; the error is a member again.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// # use std::time::Duration;
    /// # use lisle::sync::WaitGroup;
    /// let group = WaitGroup::new();
    /// let other = group.clone();
    /// let group = group.wait_timeout(Duration::from_millis(1)).unwrap_err();
    /// drop(other);
    /// assert!(group.wait_timeout(Duration::MAX).is_ok());
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<(), WaitGroup> {
        self.wait_until(time::now().checked_add(timeout))
    }

    /// As [`WaitGroup::wait_timeout`], until the deadline.
    ///
    /// # Errors
    /// If the time is up; the error is a member again.
    pub fn wait_deadline(self, deadline: Instant) -> Result<(), WaitGroup> {
        self.wait_until(Some(deadline))
    }

    fn wait_until(self, deadline: Option<Instant>) -> Result<(), WaitGroup> {
        let state = self.leave();
        match wait_in(&state, &REASON, deadline) {
            Waited::TimedOut => {
                state.lock().count += 1;
                Err(WaitGroup { state })
            }
            _ => Ok(()),
        }
    }

    fn leave(self) -> Arc<Waiters<Members>> {
        // Dropping `self` leaves.
        self.state.clone()
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        self.state.lock().count += 1;
        WaitGroup {
            state: self.state.clone(),
        }
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        let mut members = self.state.lock();
        members.count -= 1;
        if members.count == 0 {
            wake_all(&mut members);
        }
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.state.lock().count;
        f.debug_struct("WaitGroup")
            .field("members", &members)
            .finish_non_exhaustive()
    }
}
