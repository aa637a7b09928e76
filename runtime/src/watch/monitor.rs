//! The monitor: one kernel thread that looks at the LWPs once in a tick.
//!
//! An LWP that has switched since the last look is well. One that has not is
//! looked at more closely: does its kernel thread block in the kernel? Has it
//! used the processor for a whole slice, while others wait? (Used, not waited
//! for: on a busy machine a kernel thread may not have run at all.)
//!
//! It also keeps spares at hand, and completes offers for which there was none.

use std::time::{Duration, Instant};

use lisle_lwp::shim::{Ordering, fence};
use lisle_lwp::sys::{self, KernelState};

use super::{Kind, Source, Watch, offer};
use crate::runtime::Shared;
use crate::sched::lwp::Lwp;

/// At most so long between two looks, at least so long.
const TICKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));
/// And if the last look found a blocked thread.
const SOON: Duration = Duration::from_micros(100);
/// After so many looks at an idle runtime the monitor sleeps.
const IDLE_LOOKS: u32 = 5;
/// Spares that should wait at any time.
const SPARES: usize = 2;
/// An LWP that seems to have no other work is preempted only after so many
/// slices: what it has is known as of its last round.
const PATIENCE: u32 = 10;

/// How often the number of processors is looked at.
const COUNT_PROCESSORS: Duration = Duration::from_secs(1);

/// What the last look at an LWP saw.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    switches: u64,
    tid: u32,
    /// Processor time of the kernel thread when it was first seen so.
    cpu: Duration,
}

/// The monitor's body.
pub(super) fn run(shared: &Shared) {
    sys::hurry();
    let tick = shared.watch.slice.unwrap_or(TICKS.1) / 2;
    let tick = tick.clamp(TICKS.0, TICKS.1);
    let mut seen = vec![Seen::default(); shared.lwps.len()];
    let mut idle_looks = 0;
    let mut posted = Vec::new();
    let mut counted = None;
    let mut pause = tick;
    while !shared.is_stopping() {
        let all_sleep = shared.all_sleep();
        idle_looks = if all_sleep { idle_looks + 1 } else { 0 };
        if idle_looks >= IDLE_LOOKS {
            sleep(shared);
            idle_looks = 0;
            continue;
        }
        let now = Instant::now();
        if !all_sleep && counted.is_none_or(|counted| now - counted >= COUNT_PROCESSORS) {
            counted = Some(now);
            super::processors::follow(shared);
            if shared.watch.source == Source::Sentinels {
                super::post_sentinels(shared, &mut posted);
            }
        }
        shared.watch.call_sentinels(!all_sleep);
        shared.keep_spares(SPARES);
        shared.watch.monitor.sleep(Some(pause));
        shared.watch.looks.fetch_add(1, Ordering::Relaxed);
        let mut any = false;
        for (lwp, seen) in shared.lwps().iter().zip(&mut seen) {
            any |= look(shared, lwp, seen);
        }
        // Threads that block do so again, soon.
        pause = if any { SOON } else { (pause * 2).min(tick) };
        serve_if_nobody_does(shared);
    }
}

/// Deadlines and readiness, if no LWP has looked at them for a slice: all are kept
/// by threads that compute on, and the system refuses kernel threads, or nobody is
/// to be preempted.
fn serve_if_nobody_does(shared: &Shared) {
    let now = shared.clock.now();
    let served = |lwp: &Lwp| lwp.served.load(Ordering::Relaxed);
    let last = shared.lwps().iter().map(served).max().unwrap_or(0);
    let slice = shared.watch.slice.unwrap_or(TICKS.1).as_nanos() as u64;
    if now.saturating_sub(last) < slice || shared.sleepers.any_idle() {
        return;
    }
    shared.watch.serves.fetch_add(1, Ordering::Relaxed);
    if shared.earliest_deadline() <= now {
        shared.expire(now);
    }
    if shared.reactor.has_sources() {
        shared.reactor.poll();
    }
}

/// Sleeps until an LWP gets up.
fn sleep(shared: &Shared) {
    let watch: &Watch = &shared.watch;
    watch.call_sentinels(false);
    watch.asleep.store(true, Ordering::Relaxed);
    // Pairs with the fence in `Watch::look_out`.
    fence(Ordering::SeqCst);
    if shared.all_sleep() && !shared.is_stopping() {
        watch.monitor.sleep(None);
    }
    watch.asleep.store(false, Ordering::Relaxed);
}

/// Returns whether the LWP goes on without its thread, for which it blocked.
fn look(shared: &Shared, lwp: &Lwp, seen: &mut Seen) -> bool {
    let Some(carrier) = lwp.carrier() else {
        return false;
    };
    let holder = &carrier.own.holder;
    if holder.is_inside() || !lwp.owner.is_held_by(holder) {
        *seen = Seen::default();
        return false;
    }
    let tid = carrier.own.tid.load(Ordering::Relaxed);
    let switches = lwp.counters.switches.load(Ordering::Relaxed);
    if lwp.owner.is_offered() {
        // Nobody was there to take it, or whoever came found the holder back.
        return send(shared, lwp, Kind::Blocked);
    }
    let used = || sys::cpu_time_of(tid).unwrap_or_default();
    let same = seen.tid == tid && seen.switches == switches;
    if !same {
        let cpu = used();
        *seen = Seen { switches, tid, cpu };
    }
    match sys::kernel_state_of(tid) {
        // Only if it is still the same thread: the look took a while.
        Ok(KernelState::Blocked) => {
            lwp.counters.switches.load(Ordering::Relaxed) == switches
                && !holder.is_inside()
                && send(shared, lwp, Kind::Blocked)
        }
        _ if !same => false,
        // It cannot be looked at: no `/proc`, or no descriptor left. One that
        // has not run at all blocks, or waits for the processor as would its
        // successor.
        Err(_) if used() == seen.cpu => send(shared, lwp, Kind::Blocked),
        _ => {
            let Some(slice) = shared.watch.slice else {
                return false;
            };
            let pressing = has_other_work(shared, lwp) || !shared.roster.wants(lwp.index);
            let patience = if pressing { 1 } else { PATIENCE };
            if used().saturating_sub(seen.cpu) >= slice * patience {
                send(shared, lwp, Kind::Preempted);
            }
            false
        }
    }
}

/// Whether threads wait for the LWP, as far as others can know.
fn has_other_work(shared: &Shared, lwp: &Lwp) -> bool {
    lwp.load() > 0
        || !lwp.stealer.is_empty()
        || !shared.injector.is_empty()
        || shared.earliest_deadline() <= shared.clock.now()
        || (shared.reactor.has_sources() && shared.sleepers.asleep() == 0)
}

/// Offers the LWP and sends a kernel thread. Returns whether one comes.
fn send(shared: &Shared, lwp: &Lwp, why: Kind) -> bool {
    if offer(shared, lwp, why) {
        return true;
    }
    match shared.start_kernel_thread() {
        Ok(spare) => {
            shared.watch.is_refused.store(false, Ordering::Relaxed);
            spare.go(lwp);
            true
        }
        // The LWP stays offered, and the next look tries again.
        Err(_) => {
            if !shared.watch.is_refused.swap(true, Ordering::Relaxed) {
                shared
                    .watch
                    .log
                    .tell_refused(|| super::bounds::look(shared));
            }
            false
        }
    }
}
