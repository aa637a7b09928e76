//! The reactor: one poller per runtime, used by idle contexts only.
//!
//! A descriptor is registered once, edge-triggered, for both directions; the
//! event key is the address of its [`Slot`]; key 0 is the notifier, an event
//! descriptor that is never read, because every write to it makes an edge. So a
//! look at the poller costs one system call.
//!
//! At most one kernel thread is in the poller, the holder of `events`. The one
//! that sleeps there waits for the earliest deadline too; how others find that it
//! sleeps too long is told in [`slumber`](super::slumber).
//!
//! *Rejected*: the `polling` crate. It sets a timer descriptor, re-arms it, reads
//! its notifier and re-arms that at every look: five system calls in place of
//! one, which is more than serving a small HTTP request takes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use lisle_lwp::shim::{AtomicUsize, Ordering};
use lisle_lwp::sys::{self, Call};
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::slot::{Happened, Slot};
use super::slumber::Slumber;
use crate::clock::Clock;
use crate::sched::timers::NEVER;

/// How many events one look fetches.
const BATCH_SIZE: usize = 1024;

/// The notifier's key. No slot is there.
const NOTIFIER: usize = 0;

/// The events of one look.
struct Batch(Vec<Event>);

// SAFETY: what looks like pointers are keys, plain numbers to the kernel.
unsafe impl Send for Batch {}

impl core::fmt::Debug for Batch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Batch").field(&self.0.len()).finish()
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Reactor {
    poller: OwnedFd,
    notifier: OwnedFd,
    /// The buffer for events; whoever holds it may poll.
    events: Mutex<Batch>,
    slumber: Slumber,
    sources: AtomicUsize,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Reactor> {
        let poller = sys::guarded(Call::Create, || Ok(epoll::create(CreateFlags::CLOEXEC)?))?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let notifier = sys::guarded(Call::Create, || Ok(eventfd(0, flags)?))?;
        let key = EventData::new_u64(NOTIFIER as u64);
        let edges = EventFlags::IN | EventFlags::ET;
        sys::guarded(Call::Register, || {
            Ok(epoll::add(&poller, &notifier, key, edges)?)
        })?;
        Ok(Reactor {
            poller,
            notifier,
            events: Mutex::new(Batch(Vec::with_capacity(BATCH_SIZE))),
            slumber: Slumber::new(),
            sources: AtomicUsize::new(0),
        })
    }

    /// Registers a descriptor for ever-after edge-triggered events.
    ///
    /// # Safety
    /// It is removed by [`Reactor::remove`] before it is closed.
    pub(crate) unsafe fn add(&self, fd: RawFd, slot: &'static Slot) -> io::Result<()> {
        // SAFETY: the caller's promise.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let key = EventData::new_u64(slot.key() as u64);
        let all =
            EventFlags::IN | EventFlags::OUT | EventFlags::PRI | EventFlags::RDHUP | EventFlags::ET;
        sys::guarded(Call::Register, || {
            Ok(epoll::add(&self.poller, fd, key, all)?)
        })?;
        self.sources.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets a descriptor, which is still open.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // It was added, and is open: the kernel has no reason to refuse.
        let _ = epoll::delete(&self.poller, fd);
        self.sources.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn has_sources(&self) -> bool {
        self.sources.load(Ordering::Relaxed) > 0
    }

    /// Gets the kernel thread that sleeps in the poller out of it.
    pub(crate) fn notify(&self) {
        // The counter is full after 2^64 notifications.
        let _ = rustix::io::write(&self.notifier, &1_u64.to_ne_bytes());
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
    /// is not idle any more, as others can see already.
    pub(crate) fn end_long_sleep(&self) {
        if self.slumber.end_if_long() {
            self.notify();
        }
    }

    /// Waits for readiness, a notification, the earliest deadline, or a pause,
    /// unless the caller has been woken meanwhile (`wanted`). Returns whether
    /// descriptors became ready.
    pub(crate) fn wait(
        &self,
        pause: impl FnOnce() -> Option<Duration>,
        earliest: impl Fn() -> u64,
        clock: &Clock,
        wanted: impl FnOnce() -> bool,
    ) -> bool {
        let mut events = self.events.lock();
        if !wanted() {
            // The notification may have been taken by who held the lock before.
            return false;
        }
        let (until, pause) = self.slumber.begin(earliest, pause);
        let left =
            (until != NEVER).then(|| Duration::from_nanos(until.saturating_sub(clock.now())));
        let timeout = match (left, pause) {
            (Some(left), Some(pause)) => Some(left.min(pause)),
            (left, pause) => left.or(pause),
        };
        let any = self.fetch(&mut events, timeout);
        self.slumber.end();
        any
    }

    /// A deadline was linked on some LWP: the poller must not sleep over it.
    pub(crate) fn deadline_set(&self, deadline: u64) {
        if self.slumber.is_too_long_for(deadline) {
            self.notify();
        }
    }

    fn fetch(&self, Batch(events): &mut Batch, timeout: Option<Duration>) -> bool {
        events.clear();
        // Too long to be said is as good as endless.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let fetched = sys::guarded(Call::Wait, || {
            Ok(epoll::wait(
                &self.poller,
                spare_capacity(events),
                timeout.as_ref(),
            )?)
        });
        // An interrupted or refused wait found nothing; the caller comes again.
        if fetched.is_err() {
            return false;
        }
        let mut any = false;
        for event in events.iter() {
            let key = event.data.u64() as usize;
            if key != NOTIFIER {
                // SAFETY: keys come from `add`, and slots live for ever.
                let slot = unsafe { Slot::from_key(key) };
                slot.fire(happened(event.flags));
                any = true;
            }
        }
        any
    }
}

/// What the kernel's flags mean. Errors and hang-ups end every wait: the
/// operation then says what is the matter.
fn happened(flags: EventFlags) -> Happened {
    let over = flags.intersects(EventFlags::HUP | EventFlags::ERR);
    let unusual = over || flags.intersects(EventFlags::RDHUP | EventFlags::PRI);
    Happened {
        readable: unusual || flags.contains(EventFlags::IN),
        writable: over || flags.contains(EventFlags::OUT),
        unusual,
    }
}
