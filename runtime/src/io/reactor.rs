//! The reactor: one poller per runtime, used by idle contexts only.
//!
//! A descriptor is registered once, edge-triggered, for both directions; the
//! event key is the address of its [`Slot`]. Slots are
//! type-stable like control blocks, so an event that was fetched before its
//! descriptor was closed at worst wakes the slot's next user once too often.
//!
//! At most one kernel thread is in the poller, the holder of `events`. The one
//! that sleeps there waits for the earliest deadline too. A thread that sets an
//! earlier one afterwards notifies it:
//!
//! | sleeper | setter of a deadline |
//! |---|---|
//! | 1. says until when it sleeps (`until`) | 1. links the deadline |
//! | 2. `SeqCst` fence | 2. `SeqCst` fence |
//! | 3. looks at the deadlines again | 3. earlier than `until`? notify |
//!
//! Of the two fences one is first, so either the sleeper sees the deadline or
//! its setter sees `until`.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use lisle_lwp::shim::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use lisle_lwp::sys::{self, Call};
use parking_lot::Mutex;
use polling::{Event, Events, PollMode, Poller};

use super::source::Slot;
use crate::clock::Clock;
use crate::sched::timers::NEVER;

/// `until` while nobody sleeps in the poller: no deadline is earlier.
const AWAKE: u64 = 0;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Reactor {
    poller: Poller,
    /// The buffer for events; whoever holds it may poll.
    events: Mutex<Events>,
    until: AtomicU64,
    sources: AtomicUsize,
    /// Whether somebody sleeps in the poller without a period.
    long_sleep: AtomicBool,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Reactor> {
        Ok(Reactor {
            poller: sys::guarded(Call::Create, Poller::new)?,
            events: Mutex::new(Events::new()),
            until: AtomicU64::new(AWAKE),
            sources: AtomicUsize::new(0),
            long_sleep: AtomicBool::new(false),
        })
    }

    /// Registers a descriptor for ever-after edge-triggered events.
    ///
    /// # Safety
    /// It is removed by [`Reactor::remove`] before it is closed.
    pub(crate) unsafe fn add(&self, fd: RawFd, slot: &'static Slot) -> io::Result<()> {
        let event = Event::all(slot.key());
        sys::guarded(Call::Register, || {
            // SAFETY: the caller's promise.
            unsafe { self.poller.add_with_mode(fd, event, PollMode::Edge) }
        })?;
        self.sources.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets a descriptor, which is still open.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // It was added, and is open: the kernel has no reason to refuse.
        let _ = self.poller.delete(fd);
        self.sources.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn has_sources(&self) -> bool {
        self.sources.load(Ordering::Relaxed) > 0
    }

    /// Gets the kernel thread that sleeps in the poller out of it.
    pub(crate) fn notify(&self) {
        // A full notification counter means that one is pending already.
        let _ = self.poller.notify();
    }

    /// Makes the threads ready whose descriptors are, without waiting. Returns
    /// whether there were any; `false` too if somebody else is in the poller.
    pub(crate) fn poll(&self) -> bool {
        match self.events.try_lock() {
            Some(mut events) => self.fetch(&mut events, Some(Duration::ZERO)),
            None => false,
        }
    }

    /// Gets the poller's sleeper up if it sleeps without a period: the process
    /// is not idle any more.
    pub(crate) fn end_long_sleep(&self) {
        if self.long_sleep.load(Ordering::Relaxed) && self.long_sleep.swap(false, Ordering::Relaxed)
        {
            self.notify();
        }
    }

    /// Waits for readiness, a notification, the earliest deadline, or `pause`,
    /// unless the caller has been woken meanwhile (`wanted`). Returns whether
    /// descriptors became ready.
    pub(crate) fn wait(
        &self,
        pause: Option<Duration>,
        earliest: impl Fn() -> u64,
        clock: &Clock,
        wanted: impl FnOnce() -> bool,
    ) -> bool {
        let mut events = self.events.lock();
        if !wanted() {
            // The notification may have been taken by who held the lock before.
            return false;
        }
        let mut until = earliest();
        loop {
            self.until.store(until, Ordering::Relaxed);
            // Pairs with the fence in `deadline_set`.
            fence(Ordering::SeqCst);
            let now_earliest = earliest();
            if now_earliest >= until {
                break;
            }
            until = now_earliest;
        }
        let left =
            (until != NEVER).then(|| Duration::from_nanos(until.saturating_sub(clock.now())));
        let timeout = match (left, pause) {
            (Some(left), Some(pause)) => Some(left.min(pause)),
            (left, pause) => left.or(pause),
        };
        let long = pause.is_none_or(|pause| pause >= Duration::from_secs(1));
        self.long_sleep.store(long, Ordering::Relaxed);
        let any = self.fetch(&mut events, timeout);
        self.long_sleep.store(false, Ordering::Relaxed);
        self.until.store(AWAKE, Ordering::Relaxed);
        any
    }

    /// A deadline was linked on some LWP: the poller must not sleep over it.
    pub(crate) fn deadline_set(&self, deadline: u64) {
        // Pairs with the fence in `wait`.
        fence(Ordering::SeqCst);
        if deadline < self.until.load(Ordering::Relaxed) {
            self.notify();
        }
    }

    fn fetch(&self, events: &mut Events, timeout: Option<Duration>) -> bool {
        events.clear();
        let fetched = sys::guarded(Call::Wait, || self.poller.wait(events, timeout));
        // An interrupted or refused wait found nothing; the caller comes again.
        if fetched.is_err() {
            return false;
        }
        let mut any = false;
        for event in events.iter() {
            // SAFETY: keys come from `add`, and slots live for ever.
            let slot = unsafe { Slot::from_key(event.key) };
            slot.fire(event.readable, event.writable);
            any = true;
        }
        any
    }
}
