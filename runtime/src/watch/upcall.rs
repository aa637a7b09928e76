//! What a program can see of upcalls: a handler, counters, and the last ones.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::shim::{AtomicU64, Ordering};
use parking_lot::Mutex;

use super::KernelThreads;
use crate::sched::Steady;
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
    /// An LWP has left: it is not wanted, and what it had to do is done by others.
    Retired = 4,
    /// A thread has used more CPU time than its
    /// [limit](crate::thread::Builder::cpu_limit). Told once per thread; what
    /// follows from it is up to the program.
    OverLimit = 5,
}

impl Kind {
    pub(crate) fn of(number: u8) -> Kind {
        match number {
            0 => Kind::Added,
            1 => Kind::Blocked,
            2 => Kind::Preempted,
            3 => Kind::Unblocked,
            4 => Kind::Retired,
            _ => Kind::OverLimit,
        }
    }
}

/// One upcall.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// To which LWP, by its number; for a thread that is back, the one that went
    /// on without it. `None` for a thread that gave it away itself, or has passed its limit
    /// without an LWP.
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
/// short, and must not call what waits. Signals are blocked there in part or, on the kernel
/// thread that tells [`refused`](Handler::refused), altogether. A panic ends the call and nothing else:
/// the panic hook reports it.
///
/// That a thread was left and that it is back are told by two kernel threads:
/// who is back at once may be told before it is told that it was left. The
/// [`Counters`] agree as soon as both have counted.
pub trait Handler: Send + Sync {
    /// An LWP begins to run.
    fn added(&self, _event: &Event) {}
    /// A thread blocks, and its LWP goes on without it.
    fn blocked(&self, _event: &Event) {}
    /// A thread computed for its time slice, and its LWP goes on without it.
    fn preempted(&self, _event: &Event) {}
    /// A thread that was left behind is back.
    fn unblocked(&self, _event: &Event) {}
    /// An LWP has left.
    fn retired(&self, _event: &Event) {}
    /// The system has refused another kernel thread, and some LWP waits with its
    /// thread: which threads wait for what. Told by a kernel thread of its own, once until the
    /// system gives one again.
    fn refused(&self, _threads: &KernelThreads) {}
    /// A thread has used more CPU time than its limit. If it has done so without an LWP, a kernel
    /// thread of the runtime's own tells, which waits as long as the call takes.
    fn over_limit(&self, _event: &Event) {}
}

/// Calls a program's code where nothing may unwind.
pub(crate) fn guarded(tell: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(tell)) {
        // What it panicked with is the program's code, too: dropping it might panic again.
        core::mem::forget(payload);
    }
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
    /// [`Kind::Retired`].
    pub retired: u64,
    /// [`Kind::OverLimit`].
    pub over_limit: u64,
    /// How many preempted or rescued threads made way in a signal handler. Such a
    /// thread is ready again at once and keeps no kernel thread.
    pub switched: u64,
    /// Threads that had been preempted so, were not served for long, and went on
    /// on a kernel thread without an LWP.
    pub rescued: u64,
}

impl Counters {
    /// Threads that run or block without an LWP at this moment.
    pub fn without_lwp(&self) -> u64 {
        (self.blocked + self.preempted + self.rescued)
            .saturating_sub(self.unblocked + self.switched)
    }
}

/// How many events of an LWP are kept.
const KEPT: usize = 64;

/// The upcalls of an LWP.
#[derive(Debug, Default)]
struct OfLwp {
    counts: [AtomicU64; 6],
    switched: AtomicU64,
    rescued: AtomicU64,
    last: Mutex<VecDeque<Event>>,
}

/// The upcalls of a runtime.
pub(crate) struct Log {
    /// One for each LWP, and one for what concerns none.
    lwps: Box<[OfLwp]>,
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
    pub(crate) fn new(lwps: usize, handler: Option<Arc<dyn Handler>>) -> Log {
        let lwps: Box<[OfLwp]> = (0..=lwps).map(|_| OfLwp::default()).collect();
        // Of no LWP: kernel threads on which others rely wait for whoever holds its lock, so nobody
        // allocates there.
        if let Some(none) = lwps.last() {
            none.last.lock().reserve_exact(KEPT);
        }
        Log { lwps, handler }
    }

    fn of(&self, lwp: Option<usize>) -> &OfLwp {
        let none = self.lwps.len() - 1;
        &self.lwps[lwp.unwrap_or(none).min(none)]
    }

    /// As [`Log::note`], for a thread that made way in a signal handler.
    pub(crate) fn note_switched(&self, lwp: usize, thread: u64) {
        // First: whoever sees it preempted sees that it has no kernel thread.
        self.of(Some(lwp)).switched.fetch_add(1, Ordering::Release);
        self.note(Kind::Preempted, Some(lwp), thread);
    }

    /// A rescued thread made way in a signal handler. Told to nobody: see
    /// [`follow_up`](crate::sched::handover).
    pub(crate) fn count_switched(&self) {
        self.of(None).switched.fetch_add(1, Ordering::Release);
    }

    /// A preempted thread goes on without an LWP.
    pub(crate) fn note_rescued(&self) {
        self.of(None).rescued.fetch_add(1, Ordering::Release);
    }

    /// Counts, keeps and tells an upcall. In the idle context, or by the stock.
    pub(crate) fn note(&self, kind: Kind, lwp: Option<usize>, thread: u64) {
        // Release: pairs with nothing but observers; a count that is seen comes
        // with what it counts.
        let log = self.of(lwp);
        log.counts[kind as usize].fetch_add(1, Ordering::Release);
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
            // The kernel thread carries an LWP on, whatever a program's code does.
            guarded(|| match kind {
                Kind::Added => handler.added(&event),
                Kind::Blocked => handler.blocked(&event),
                Kind::Preempted => handler.preempted(&event),
                Kind::Unblocked => handler.unblocked(&event),
                Kind::Retired => handler.retired(&event),
                Kind::OverLimit => handler.over_limit(&event),
            });
        }
        let mut last = log.last.lock();
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(event);
    }

    /// Of all LWPs.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        // Read first: what happens meanwhile does not make more come back than left.
        // (For a moment more can be counted: who leaves is counted by who takes over.)
        for log in &self.lwps {
            sum.unblocked += log.counters().unblocked;
        }
        for log in &self.lwps {
            let one = log.counters();
            sum.added += one.added;
            sum.blocked += one.blocked;
            sum.preempted += one.preempted;
            sum.retired += one.retired;
            sum.over_limit += one.over_limit;
            sum.switched += one.switched;
            sum.rescued += one.rescued;
        }
        sum
    }

    /// Of one LWP.
    pub(crate) fn counters_of(&self, lwp: usize) -> Counters {
        self.of(Some(lwp)).counters()
    }

    /// The last upcalls of all, oldest first.
    pub(crate) fn last(&self) -> Vec<Event> {
        let mut all: Vec<Event> = self.lwps.iter().flat_map(OfLwp::last).collect();
        all.sort_by_key(|event| event.at);
        all
    }

    /// The last upcalls of an LWP, oldest first.
    pub(crate) fn last_of(&self, lwp: usize) -> Vec<Event> {
        self.of(Some(lwp)).last()
    }

    /// The system refuses another kernel thread.
    pub(crate) fn tell_refused(&self, threads: impl FnOnce() -> KernelThreads) {
        if let Some(handler) = &self.handler {
            guarded(|| handler.refused(&threads()));
        }
    }
}

impl OfLwp {
    fn counters(&self) -> Counters {
        let [added, blocked, preempted, unblocked, retired, over_limit] = self
            .counts
            .each_ref()
            .map(|count| count.load(Ordering::Acquire));
        Counters {
            added,
            blocked,
            preempted,
            unblocked,
            retired,
            over_limit,
            switched: self.switched.load(Ordering::Acquire),
            rescued: self.rescued.load(Ordering::Acquire),
        }
    }

    fn last(&self) -> Vec<Event> {
        let mut last = Vec::with_capacity(KEPT);
        // Idle contexts take this lock: nobody who holds it is taken off its kernel thread, or
        // allocates.
        let _steady = Steady::new();
        last.extend(self.last.lock().iter().cloned());
        last
    }
}
