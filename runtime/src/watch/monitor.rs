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
    let tick = shared.watch.slice.unwrap_or(TICKS.1) / 2;
    let tick = tick.clamp(TICKS.0, TICKS.1);
    let mut seen = vec![Seen::default(); shared.lwps.len()];
    let mut idle_looks = 0;
    let mut posted = shared.watch.source != Source::Auto;
    let mut counted = None;
    while !shared.is_stopping() {
        let all_sleep = shared.all_sleep();
        idle_looks = if all_sleep { idle_looks + 1 } else { 0 };
        if idle_looks >= IDLE_LOOKS {
            sleep(shared);
            idle_looks = 0;
            continue;
        }
        if !all_sleep && !core::mem::replace(&mut posted, true) {
            super::post_sentinels(shared);
        }
        shared.watch.call_sentinels(!all_sleep);
        shared.keep_spares(SPARES);
        let now = Instant::now();
        if counted.is_none_or(|counted| now - counted >= COUNT_PROCESSORS) {
            counted = Some(now);
            follow_processors(shared);
        }
        shared.watch.monitor.sleep(Some(tick));
        for (lwp, seen) in shared.lwps().iter().zip(&mut seen) {
            look(shared, lwp, seen);
        }
    }
}

/// As many LWPs as the system gives processors.
fn follow_processors(shared: &Shared) {
    let Some(count) = shared.watch.processors_now() else {
        return;
    };
    let count = count.min(shared.lwps.len());
    if count != shared.roster.wanted() {
        // If the system refuses a kernel thread, the next look tries again.
        let _ = shared.resize(count);
        if let Some(fixed) = shared.watch.fixed() {
            // The program has said otherwise meanwhile.
            let _ = shared.resize(fixed);
        }
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

fn look(shared: &Shared, lwp: &Lwp, seen: &mut Seen) {
    let Some(carrier) = lwp.carrier() else { return };
    let holder = &carrier.own.holder;
    if holder.is_inside() || !lwp.owner.is_held_by(holder) {
        *seen = Seen::default();
        return;
    }
    let tid = carrier.own.tid.load(Ordering::Relaxed);
    let switches = lwp.counters.switches.load(Ordering::Relaxed);
    if lwp.owner.is_offered() {
        // Nobody was there to take it, or whoever came found the holder back.
        return send(shared, lwp, Kind::Blocked);
    }
    if seen.tid != tid || seen.switches != switches {
        let cpu = sys::cpu_time_of(tid).unwrap_or_default();
        *seen = Seen { switches, tid, cpu };
        return;
    }
    // The same thread as at the last look.
    let used = || {
        let cpu = sys::cpu_time_of(tid).unwrap_or_default();
        cpu.saturating_sub(seen.cpu)
    };
    match sys::kernel_state_of(tid) {
        Ok(KernelState::Blocked) => send(shared, lwp, Kind::Blocked),
        // It cannot be looked at: no `/proc`, or no descriptor left. One that
        // has not run at all blocks, or waits for the processor as would its
        // successor.
        Err(_) if used().is_zero() => send(shared, lwp, Kind::Blocked),
        _ => {
            let Some(slice) = shared.watch.slice else {
                return;
            };
            let used = used();
            let pressing = has_other_work(shared, lwp) || !shared.roster.wants(lwp.index);
            let patience = if pressing { 1 } else { PATIENCE };
            if used >= slice * patience {
                send(shared, lwp, Kind::Preempted);
            }
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

fn send(shared: &Shared, lwp: &Lwp, why: Kind) {
    if !offer(shared, lwp, why) {
        // Refused: the LWP stays offered, and the next look tries again.
        if let Ok(spare) = shared.start_kernel_thread() {
            spare.go(lwp);
        }
    }
}
