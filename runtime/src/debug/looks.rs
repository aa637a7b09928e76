//! Looks at control blocks: what every thread does, in plain values.

use std::sync::Arc;
use std::time::Duration;

use lisle_lwp::shim::Ordering;

use crate::runtime::{self, Shared};
use crate::sched::lwp::Lwp;
use crate::tcb::{Kind, Tcb};
use crate::thread::{State, Thread, ThreadInfo};
use crate::wait::{Ends, WaitKey, inherit, lot};
use crate::{clock, fork, pool};

/// All runtimes, and all threads that have not ended.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) runtimes: Vec<Arc<Shared>>,
    pub(super) threads: Vec<Look>,
}

/// One thread.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) block: &'static Tcb,
    pub(super) info: ThreadInfo,
    /// Which wait it is in, if its stack stands still.
    pub(super) epoch: Option<u64>,
    /// What it waits for, if it waits.
    pub(super) ends: Option<Ends>,
    /// The number of the thread whose doing ends the wait, and no other's.
    pub(super) holder: Option<u64>,
    /// When the wait ends by itself, in nanoseconds.
    pub(super) until: Option<u64>,
    /// Which of the runtimes it belongs to.
    pub(super) runtime: Option<usize>,
    /// Keeps the control block.
    _thread: Thread,
}

impl Looks {
    pub(super) fn take() -> Looks {
        let runtimes: Vec<_> = runtime::all()
            .into_iter()
            .filter(|shared| shared.generation == fork::generation())
            .collect();
        let mut blocks: Vec<(&'static Tcb, Thread)> = Vec::new();
        // References first: what is asked of the blocks takes other locks.
        pool::visit(|block| {
            // A new carrier changes its kind when it is in the list of carriers.
            if block.kind() != Kind::Idle {
                blocks.push((block, Thread::of(block)));
            }
        });
        // After the threads: so that a new carrier is not taken for one of them.
        let carriers: Vec<&Tcb> = runtimes
            .iter()
            .flat_map(|shared| shared.all_carriers())
            .collect();
        let threads = blocks
            .into_iter()
            .filter(|(block, _)| is_shown(block, &carriers))
            .map(|(block, thread)| Look::of(block, thread, &runtimes))
            .collect();
        let mut looks = Looks { runtimes, threads };
        looks.threads.sort_by_key(|look| look.info.id);
        looks
    }

    /// The LWP that runs the thread.
    pub(super) fn lwp_of(&self, look: &Look) -> Option<&Lwp> {
        let carrier = look.block.carrier.load(Ordering::Relaxed).cast_const();
        let carries = |lwp: &&Lwp| {
            let holder = lwp.carrier().filter(|own| core::ptr::eq(*own, carrier));
            holder.is_some_and(|own| lwp.owner.is_held_by(&own.own.holder))
        };
        // An LWP that has gone on without the thread is still in its control block,
        // until the thread finds out.
        let runs = look.info.state == State::Running && look.block.is_user();
        let mut all = self.runtimes.iter().flat_map(|shared| shared.lwps());
        all.find(carries).filter(|_| runs)
    }

    pub(super) fn find(&self, id: u64) -> Option<&Look> {
        let wanted = |look: &Look| look.info.id.as_u64().get().cmp(&id);
        let index = self.threads.binary_search_by(wanted).ok()?;
        Some(&self.threads[index])
    }
}

/// Whether it is a thread of the program, in this process, that has not ended.
fn is_shown(block: &Tcb, carriers: &[&Tcb]) -> bool {
    block.generation.load(Ordering::Relaxed) == fork::generation()
        && block.terminated.load(Ordering::Relaxed) == 0
        && block.kind() != Kind::Idle
        && (block.is_user()
            || !carriers
                .iter()
                .any(|carrier| core::ptr::eq(*carrier, block)))
}

impl Look {
    fn of(block: &'static Tcb, thread: Thread, runtimes: &[Arc<Shared>]) -> Look {
        let epoch = block.wait.parked_epoch();
        let info = ThreadInfo::of(block);
        let reason = block.reason().filter(|_| epoch.is_some());
        let belongs = block.shared.load(Ordering::Relaxed).cast_const();
        Look {
            block,
            info,
            epoch,
            ends: reason.map(|(reason, _)| reason.ends()),
            holder: epoch.and_then(|epoch| holder_of(WaitKey::of(block, epoch))),
            until: epoch.and_then(|epoch| block.until(epoch)),
            runtime: runtimes
                .iter()
                .position(|shared| core::ptr::eq(Arc::as_ptr(shared), belongs)),
            _thread: thread,
        }
    }

    /// How long until the wait ends by itself.
    pub(super) fn left(&self, runtimes: &[Arc<Shared>]) -> Option<Duration> {
        let now = match self.runtime {
            Some(runtime) => runtimes[runtime].clock.now(),
            None => clock::nanos(std::time::Instant::now()),
        };
        Some(Duration::from_nanos(self.until?.saturating_sub(now)))
    }

    pub(super) fn id(&self) -> u64 {
        self.info.id.as_u64().get()
    }
}

/// Who alone can end this wait: the holder of a lock, the thread that is joined.
fn holder_of(key: WaitKey) -> Option<u64> {
    let (reason, detail) = key.block().reason()?;
    match reason.ends() {
        Ends::Holder(holder) => {
            let bucket = lot::lock(detail);
            // The lock is there while somebody waits for it, and this waiter cannot
            // leave while we have the lot's lock.
            let holder = bucket
                .knows(key, detail)
                // SAFETY: as it says.
                .then(|| unsafe { holder(detail) });
            drop(bucket);
            holder.filter(|id| *id != 0)
        }
        Ends::Thread => Some(detail as u64),
        Ends::Threads => inherit::lock().holder_for(key).filter(|id| *id != 0),
        Ends::Outside | Ends::Server => None,
    }
}
