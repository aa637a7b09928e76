//! Deadlocks: cycles of threads, and programs in which nobody can wake anybody.
//!
//! *Cycle*: each thread waits, without a deadline, for the next one and no other:
//! it joins that one, or that one holds the lock. Such a cycle is a deadlock
//! whatever the rest of the program does.
//!
//! *Standstill*: every thread that lisle knows waits for something that only threads
//! do. It may be no deadlock all the same: a kernel thread that has never called
//! lisle is not known, and could be the one that is waited for.
//!
//! Both are reported only if two looks agree in the numbers of all waits concerned:
//! see the [module above](super).

use std::fmt;
use std::sync::Arc;

use super::dump::{Caller, Dump, Holder, Room, ThreadDump, elsewhere, holder};
use super::looks::{Look, Looks};
use crate::runtime::Shared;
use crate::thread::{State, ThreadInfo};
use crate::wait::Ends;

/// Threads that wait and that nothing wakes: see [`deadlock()`]. Its `Display` is
/// a report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Deadlock {
    /// The threads of a cycle, each of which waits for the next, the last for the
    /// first; empty if the program stands still without one that is known.
    pub cycle: Vec<Holder>,
    /// All that wait so, with their backtraces: those of the cycle, or, if the whole
    /// program stands still, all threads.
    pub threads: Vec<ThreadDump>,
    /// Whether every thread that lisle knows waits.
    pub standstill: bool,
}

/// Looks for threads that wait and that nothing wakes.
///
/// There are two kinds. A *cycle*: each of its threads waits, without a deadline,
/// for the next one, which it joins, or which holds the lock. Who holds a
/// [`PriorityMutex`] is known always; who holds a `Mutex`, or an `RwLock` for
/// writing, in programs built with the feature `deadlock_detection`. Only a cancel
/// ends such a cycle.
///
/// A *standstill*: every thread that lisle knows in this process waits, without a
/// deadline, for something that threads do: for locks, messages, joins, tokens;
/// and none for a descriptor, a future, or a helper. Suspended threads count as
/// waiting; the caller does not count. Not so if a kernel thread that
/// has called lisle, and has not ended, does anything else than wait in lisle:
/// it might wake somebody. Kernel threads that have *never* called lisle are not known; a
/// program in which these wake others, from a signal handler for instance, should not
/// ask for standstills.
///
/// The answer is about a moment during the call. `None` says that there was no such
/// thing that could be seen for sure; a deadlock does not go away, so ask again.
///
/// [`PriorityMutex`]: https://docs.rs/lisle/latest/lisle/sync/struct.PriorityMutex.html
pub fn deadlock() -> Option<Deadlock> {
    let me = Caller::new();
    elsewhere(&|room| look(&me, room))
}

/// As [`deadlock()`], on a stack that is large enough, or not.
pub(super) fn look(me: &Caller, room: Room) -> Option<Deadlock> {
    let before = Looks::take();
    if cycles(&before).is_empty() && !stands_still(&before, me) {
        return None;
    }
    let now = Looks::take();
    let standstill = stands_still(&now, me) && is_same(&before, &now, me);
    let unchanged = |id: &u64| before.find(*id).map(wait_of) == now.find(*id).map(wait_of);
    let cycle = cycles(&now)
        .into_iter()
        .find(|cycle| cycle.iter().all(unchanged))
        .unwrap_or_default();
    if !standstill && cycle.is_empty() {
        return None;
    }
    let concerned = |look: &Look| standstill && !me.is(look) || cycle.contains(&look.id());
    let threads = Dump::of(&now, me, room, concerned).threads;
    Some(Deadlock {
        cycle: cycle.iter().filter_map(|id| holder(&now, *id)).collect(),
        threads,
        standstill,
    })
}

/// What must not have changed from one look to the next.
fn wait_of(look: &Look) -> (u64, Option<u64>, Option<u64>) {
    (look.id(), look.epoch, look.holder)
}

fn is_same(before: &Looks, now: &Looks, me: &Caller) -> bool {
    let waits = |looks: &Looks| {
        let others = looks.threads.iter().filter(|look| !me.is(look));
        others.map(wait_of).collect::<Vec<_>>()
    };
    waits(before) == waits(now)
}

/// For whom alone the thread waits, without end.
fn successor(look: &Look) -> Option<u64> {
    let waits = look.epoch.is_some() && look.until.is_none();
    look.holder.filter(|_| waits)
}

/// All cycles. Each thread waits for one other at most, so every walk ends or runs
/// into a cycle.
fn cycles(looks: &Looks) -> Vec<Vec<u64>> {
    let mut found = Vec::new();
    // In which walk a thread was met, counted from 1.
    let mut met = vec![0; looks.threads.len()];
    let index_of = |look: &Look| {
        let wanted = look.info.id;
        let index = looks
            .threads
            .binary_search_by_key(&wanted, |look| look.info.id);
        index.expect("it is one of them")
    };
    for walk in 1..=looks.threads.len() {
        let mut at = Some(&looks.threads[walk - 1]);
        let mut path = Vec::new();
        while let Some(look) = at {
            let met = &mut met[index_of(look)];
            if *met != 0 {
                if *met == walk {
                    let first = path.iter().position(|id| *id == look.id());
                    found.push(path.split_off(first.unwrap_or(0)));
                }
                break;
            }
            *met = walk;
            path.push(look.id());
            at = successor(look).and_then(|next| looks.find(next));
        }
    }
    found
}

/// Whether no thread, but the caller, could do anything.
fn stands_still(looks: &Looks, me: &Caller) -> bool {
    let nothing_else = looks.runtimes.iter().all(|shared| {
        shared.injector.is_empty() && shared.offers.is_empty() && shared.preempted.is_empty()
    });
    let mut others = looks.threads.iter().filter(|look| !me.is(look)).peekable();
    let mut any = false;
    nothing_else
        && others.all(|look| {
            let serves = matches!(look.ends, Some(Ends::Server));
            any |= !serves;
            serves || waits_for_threads(look)
        })
        && any
}

/// What every thread of a runtime waits for, if each waits, without a deadline, for
/// something that threads do. What is the same twice was so in between.
pub(crate) fn waits_within(shared: &Shared) -> Option<Vec<(u64, u64)>> {
    let looks = Looks::take();
    let is_it = |runtime: usize| core::ptr::eq(Arc::as_ptr(&looks.runtimes[runtime]), shared);
    let its = looks
        .threads
        .iter()
        .filter(|look| look.runtime.is_some_and(is_it));
    let waits = its.map(|look| {
        let waits = waits_for_threads(look) && look.info.state != State::Suspended;
        look.epoch.filter(|_| waits).map(|epoch| (look.id(), epoch))
    });
    let waits: Vec<_> = waits.collect::<Option<_>>()?;
    (!waits.is_empty() && shared.injector.is_empty()).then_some(waits)
}

fn waits_for_threads(look: &Look) -> bool {
    if look.info.state == State::Suspended {
        return true;
    }
    let by_threads = !matches!(look.ends, None | Some(Ends::Outside));
    look.epoch.is_some() && look.until.is_none() && by_threads
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.standstill {
            writeln!(
                f,
                "deadlock: all {} threads wait, and nothing that lisle knows of can wake one",
                self.threads.len()
            )?;
        }
        if let Some(first) = self.cycle.first() {
            writeln!(
                f,
                "deadlock: {} threads wait for each other:",
                self.cycle.len()
            )?;
            for (thread, next) in self
                .cycle
                .iter()
                .zip(self.cycle.iter().skip(1).chain([first]))
            {
                match self.info_of(thread) {
                    Some(info) => writeln!(f, "  {info}, for {next}")?,
                    None => writeln!(f, "  {thread} waits for {next}")?,
                }
            }
        }
        writeln!(f)?;
        self.threads
            .iter()
            .try_for_each(|thread| writeln!(f, "{thread}"))
    }
}

impl Deadlock {
    fn info_of(&self, thread: &Holder) -> Option<&ThreadInfo> {
        let infos = self.threads.iter().map(|thread| &thread.info);
        infos.into_iter().find(|info| info.id == thread.id)
    }
}
