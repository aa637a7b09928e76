//! What a program can see of upcalls: a handler, counters, and the last ones.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::shim::{AtomicU64, Ordering};
use parking_lot::Mutex;

use crate::thread::ThreadId;

/// What happened to a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// An LWP begins to run on a kernel thread of its own.
    Added = 0,
    /// A thread blocks in the kernel; its LWP goes on without it.
    Blocked = 1,
    /// A thread computed for its time slice while others waited; its LWP goes on
    /// without it, and the kernel shares the CPU between the two.
    Preempted = 2,
    /// A thread that was left behind is back, and ready.
    Unblocked = 3,
}

impl Kind {
    pub(crate) fn of(number: u8) -> Kind {
        match number {
            0 => Kind::Added,
            1 => Kind::Blocked,
            2 => Kind::Preempted,
            _ => Kind::Unblocked,
        }
    }
}

/// One upcall.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// To which LWP, by its number; `None` for a thread that has none.
    pub lwp: Option<usize>,
    /// Which thread it was about.
    pub thread: Option<ThreadId>,
    /// When it was noticed.
    pub at: Instant,
}

/// A program's own view of upcalls; give it to
/// [`Builder::upcall_handler`](crate::Builder::upcall_handler).
///
/// The methods are called by kernel threads of the runtime, by several at the
/// same time, in the place of threads that could run meanwhile: they should be
/// short, and must not call what waits. A panic ends the call and nothing else:
/// the panic hook reports it.
pub trait Handler: Send + Sync {
    /// An LWP begins to run.
    fn added(&self, _event: &Event) {}
    /// A thread blocks, and its LWP goes on without it.
    fn blocked(&self, _event: &Event) {}
    /// A thread computed for its time slice, and its LWP goes on without it.
    fn preempted(&self, _event: &Event) {}
    /// A thread that was left behind is back.
    fn unblocked(&self, _event: &Event) {}
}

/// How often each upcall was made; these only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// [`Kind::Added`].
    pub added: u64,
    /// [`Kind::Blocked`].
    pub blocked: u64,
    /// [`Kind::Preempted`].
    pub preempted: u64,
    /// [`Kind::Unblocked`].
    pub unblocked: u64,
}

impl Counters {
    /// Threads that run or block without an LWP at this moment.
    pub fn without_lwp(&self) -> u64 {
        (self.blocked + self.preempted).saturating_sub(self.unblocked)
    }
}

/// How many events are kept.
const KEPT: usize = 256;

/// The upcalls of a runtime.
pub(crate) struct Log {
    counts: [AtomicU64; 4],
    last: Mutex<VecDeque<Event>>,
    handler: Option<Arc<dyn Handler>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(handler: Option<Arc<dyn Handler>>) -> Log {
        Log {
            counts: Default::default(),
            last: Mutex::new(VecDeque::with_capacity(KEPT)),
            handler,
        }
    }

    /// Counts, keeps and tells an upcall. In the idle context only.
    pub(crate) fn note(&self, kind: Kind, lwp: Option<usize>, thread: u64) {
        // Release: pairs with nothing but observers; a count that is seen comes
        // with what it counts.
        self.counts[kind as usize].fetch_add(1, Ordering::Release);
        if crate::trace::is_on() {
            crate::trace::upcall(kind, lwp, thread);
        }
        let event = Event {
            kind,
            lwp,
            thread: ThreadId::new(thread),
            at: Instant::now(),
        };
        if let Some(handler) = &self.handler {
            let tell = AssertUnwindSafe(|| match kind {
                Kind::Added => handler.added(&event),
                Kind::Blocked => handler.blocked(&event),
                Kind::Preempted => handler.preempted(&event),
                Kind::Unblocked => handler.unblocked(&event),
            });
            // The kernel thread carries an LWP on, whatever a program's code does.
            let _ = catch_unwind(tell);
        }
        let mut last = self.last.lock();
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(event);
    }

    pub(crate) fn counters(&self) -> Counters {
        let [added, blocked, preempted, unblocked] = self
            .counts
            .each_ref()
            .map(|count| count.load(Ordering::Acquire));
        Counters {
            added,
            blocked,
            preempted,
            unblocked,
        }
    }

    /// The last upcalls, oldest first.
    pub(crate) fn last(&self) -> Vec<Event> {
        self.last.lock().iter().cloned().collect()
    }
}
