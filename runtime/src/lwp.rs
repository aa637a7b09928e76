//! Looking at LWPs from outside.

use lisle_lwp::shim::{AtomicU64, Ordering};

use crate::runtime::Shared;

/// A look at one LWP. Counters only rise; they are read one after the other.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LwpInfo {
    /// Its number in its runtime, from 0.
    pub id: usize,
    /// The kernel's id of the kernel thread that carries it, if one does.
    pub kernel_thread: Option<i32>,
    /// Ready threads waiting for it.
    pub queued: usize,
    /// Switches between threads.
    pub switches: u64,
    /// Threads spawned by threads that it ran.
    pub spawned: u64,
    /// Threads that ended on it.
    pub ended: u64,
    /// Times it stole from another LWP.
    pub steals: u64,
    /// Times another LWP stole from it.
    pub stolen_from: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Times it polled for readiness without sleeping.
    pub polls: u64,
    /// Deadlines set on it that have not come.
    pub deadlines: usize,
    /// How often it was offered to other kernel threads and its thread came back
    /// in time.
    pub taken_back: u64,
    /// How often it was added, retired, and went on without a thread.
    pub upcalls: crate::watch::Counters,
}

/// The LWPs of the calling thread's runtime: its own, or the default one (which
/// is started if need be) for a plain kernel thread.
///
/// # Errors
/// As for [`Runtime::default_runtime`](crate::Runtime::default_runtime).
pub fn list() -> std::io::Result<Vec<LwpInfo>> {
    Ok(of(&*crate::runtime::current()?))
}

pub(crate) fn of(shared: &Shared) -> Vec<LwpInfo> {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let look = |lwp: &crate::sched::lwp::Lwp| {
        let upcalls = shared.watch.log.counters_of(lwp.index);
        LwpInfo {
            id: lwp.index,
            kernel_thread: lwp
                .carrier()
                .map(|carrier| carrier.own.tid.load(Ordering::Relaxed) as i32),
            queued: lwp.load(),
            switches: read(&lwp.counters.switches),
            spawned: lwp.counters.threads.spawned(),
            ended: lwp.counters.threads.ended(),
            steals: read(&lwp.counters.steals),
            stolen_from: read(&lwp.counters.stolen_from),
            sleeps: read(&lwp.counters.sleeps),
            polls: read(&lwp.counters.polls),
            deadlines: lwp.timers.len(),
            taken_back: {
                let taken = upcalls.added + upcalls.blocked + upcalls.preempted;
                lwp.owner.times_held().saturating_sub(taken)
            },
            upcalls,
        }
    };
    let there = |lwp: &&crate::sched::lwp::Lwp| !lwp.owner.is_retired();
    shared.lwps().iter().filter(there).map(look).collect()
}
