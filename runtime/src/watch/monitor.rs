//! The monitor: one kernel thread that looks at the LWPs once in a tick, and half as
//! often while all of them sleep.
//!
//! An LWP that has switched since the last look is well. One that has not is
//! looked at more closely: does its kernel thread block in the kernel? Has it
//! used the processor for a whole slice, while others wait? (Used, not waited
//! for: on a busy machine a kernel thread may not have run at all.)
//!
//! It also completes offers for which there was no spare. *It allocates nothing
//! and takes no lock of foreign code*: their holder may be a preempted thread, which
//! goes on only if the monitor does. See [`stock`](super::stock).

use std::time::{Duration, Instant};

use lisle_lwp::shim::Ordering;
use lisle_lwp::sys::{self, KernelState};

use super::{Kind, Watch, offer};
use crate::runtime::Shared;
use crate::sched::lwp::Lwp;
use crate::sched::preempt::{self, Asked};
use crate::tcb::{Kind as ThreadKind, Tcb};

/// A tick: half a slice, but at least and at most so long.
const TICKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));
/// The pause instead if the last look found a blocked thread.
const SOON: Duration = Duration::from_micros(100);
/// After so many looks at an idle runtime the monitor sleeps.
const IDLE_LOOKS: u32 = 5;
/// An LWP that has no other work is preempted only after so many slices.
const PATIENCE: u32 = 10;

/// After so long without progress something unusual is done.
const LONG: Duration = Duration::from_millis(50);

/// While all LWPs sleep: how often the stock charges threads that may compute without one.
const CHARGE_AWAY: Duration = Duration::from_millis(100);

/// How often the stock looks at the number of processors.
const COUNT_PROCESSORS: Duration = Duration::from_secs(1);

/// What the last look at an LWP saw.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    switches: u64,
    tid: u32,
    /// Processor time of the kernel thread when it was first seen so.
    cpu: Duration,
    /// Since when it has been offered in vain.
    offered: Option<Instant>,
    /// What it had used when a signal was sent.
    asked: Duration,
}

/// The monitor's body.
pub(super) fn run(shared: &Shared) {
    sys::hurry();
    super::leave_signals_to_others();
    let tick = shared.watch.slice.unwrap_or(TICKS.1) / 2;
    let tick = tick.clamp(TICKS.0, TICKS.1);
    let mut seen = vec![Seen::default(); shared.lwps.len()];
    let mut idle_looks = 0;
    let mut counted: Option<Instant> = None;
    let mut charged = Instant::now();
    let mut pause = tick;
    let mut rescue = Rescue::default();
    while !shared.is_stopping() {
        let all_sleep = shared.all_sleep();
        let away = must_charge(shared);
        idle_looks = if all_sleep {
            (idle_looks + 1).min(IDLE_LOOKS + 1)
        } else {
            0
        };
        if idle_looks > IDLE_LOOKS {
            sleep(shared);
            continue;
        }
        let now = Instant::now();
        let count = counted.is_none_or(|counted| now - counted >= COUNT_PROCESSORS);
        shared.watch.call_sentinels(!all_sleep);
        if !all_sleep && count {
            counted = Some(now);
            shared.watch.count_processors.store(true, Ordering::Relaxed);
            shared.watch.stock.wake();
        } else if away && now - charged >= tick {
            charged = now;
            shared.watch.stock.wake();
        } else if super::stock::is_low(shared) {
            shared.watch.stock.wake();
        }
        // Nobody computes: who begins to is seen a look later.
        let pause_now = if all_sleep { pause * 2 } else { pause };
        shared.watch.monitor.pause(pause_now);
        shared.watch.looks.fetch_add(1, Ordering::Relaxed);
        let mut any = false;
        for (lwp, seen) in shared.lwps().iter().zip(&mut seen) {
            any |= look(shared, lwp, seen);
        }
        rescue.look(shared);
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

/// Whether there are threads without an LWP to be charged for what they use.
fn must_charge(shared: &Shared) -> bool {
    shared.accounts_cpu && shared.watch.log.counters().without_lwp() > 0
}

/// Sleeps until an LWP gets up, or the next time to charge threads without one.
fn sleep(shared: &Shared) {
    let watch: &Watch = &shared.watch;
    watch.call_sentinels(false);
    watch.monitor.rest(
        || shared.all_sleep() && !shared.is_stopping(),
        // Behind the fence: who was left was counted before the LWP slept again.
        || must_charge(shared).then_some(CHARGE_AWAY),
    );
    // The LWP may sleep again already.
    if must_charge(shared) || super::stock::is_low(shared) {
        watch.stock.wake();
    }
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
        let now = Instant::now();
        if now - *seen.offered.get_or_insert(now) >= LONG {
            seen.offered = None;
            wake_up(shared, carrier, switches);
            // Who was sent, or whoever was about to send somebody, may be held up for as
            // long as the processor is busy. One too many gives up.
            if super::send(shared, lwp) {
                return true;
            }
        }
        return send(shared, lwp, Kind::Blocked);
    }
    seen.offered = None;
    let used = || sys::cpu_time_of(tid).unwrap_or_default();
    let same = seen.tid == tid && seen.switches == switches;
    if !same {
        let cpu = used();
        *seen = Seen {
            switches,
            tid,
            cpu,
            offered: None,
            asked: Duration::ZERO,
        };
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
            let Some(slice) = slice_of(shared, carrier) else {
                return false;
            };
            let pressing = has_other_work(shared, lwp) || !shared.roster.wants(lwp.index);
            let patience = if pressing { 1 } else { PATIENCE };
            let used = used().saturating_sub(seen.cpu);
            if used >= slice.saturating_mul(patience) && !ask(shared, carrier, seen, used, slice) {
                send(shared, lwp, Kind::Preempted);
            }
            false
        }
    }
}

/// What the kernel thread was last switched to.
fn running_on(carrier: &Tcb) -> Option<&'static Tcb> {
    // SAFETY: null or a control block, and those live for ever.
    unsafe { carrier.own.runs.load(Ordering::Relaxed).as_ref() }
}

/// How long the thread that runs there may compute.
fn slice_of(shared: &Shared, carrier: &Tcb) -> Option<Duration> {
    let own = running_on(carrier).map_or(0, |thread| thread.slice_ns.load(Ordering::Relaxed));
    match own {
        0 => shared.watch.slice,
        u64::MAX => None,
        own => Some(Duration::from_nanos(own)),
    }
}

/// Makes the thread give way by a signal, if that is the better answer: as many
/// threads as there are LWPs may keep a kernel thread to themselves, because the
/// kernel shares processors more finely than slices do. Returns whether it is
/// being done; if not, the LWP is to leave.
fn ask(shared: &Shared, carrier: &Tcb, seen: &mut Seen, used: Duration, slice: Duration) -> bool {
    let Some(signal) = shared.watch.signal else {
        return false;
    };
    let full = running_on(carrier).is_some_and(|thread| thread.kind() == ThreadKind::Full);
    let few = shared.watch.log.counters().without_lwp() < shared.roster.wanted() as u64;
    // It costs less to see on an LWP what it uses.
    let limited = running_on(carrier).is_some_and(|thread| thread.limit_ns() != 0);
    if !full || (few && !limited) {
        return false;
    }
    match preempt::asked(carrier, seen.switches) {
        Asked::Refused => false,
        // It comes as soon as the thread runs, unless that blocks it.
        Asked::OnItsWay => used < seen.asked + slice,
        Asked::No => {
            seen.asked = used;
            preempt::ask(carrier, seen.switches, signal).is_ok()
        }
    }
}

/// No kernel thread comes for an LWP whose thread blocks: the system refuses one,
/// or whoever starts them waits for a lock that a preempted thread holds. A
/// signal makes way for the other threads: the thread will wait again when it is
/// its turn.
fn wake_up(shared: &Shared, carrier: &Tcb, switches: u64) {
    let full = running_on(carrier).is_some_and(|thread| thread.kind() == ThreadKind::Full);
    if full && let Some(signal) = shared.watch.signal {
        let _ = preempt::ask(carrier, switches, signal);
    }
}

/// What is done if nobody can serve the preempted threads, be it that all LWPs'
/// idle contexts wait for a lock that one of these holds.
///
/// A spare runs one of them, without an LWP. There is one: see
/// [`preempt`](crate::sched). It may be another than the holder of that lock,
/// and wait for it, too; then, if there is no further spare, a signal makes it give
/// way to the next. So the holder's turn comes, and no kernel thread need be started.
#[derive(Debug, Default)]
struct Rescue {
    /// Since when nobody has served them.
    since: Option<Instant>,
    /// How many had been served then.
    taken: usize,
    /// Which spare runs one.
    by: Option<&'static Tcb>,
}

impl Rescue {
    /// Acts when all LWPs have been blocked at every look for long. (One that runs
    /// will serve them; one that sleeps would have been told.)
    fn look(&mut self, shared: &Shared) {
        let (waiting, taken) = shared.preempted.counts();
        let blocked = |lwp: &Lwp| {
            let carrier = lwp.carrier();
            let tid = carrier.map(|carrier| carrier.own.tid.load(Ordering::Relaxed));
            tid.is_none_or(|tid| !matches!(sys::kernel_state_of(tid), Ok(KernelState::Running)))
        };
        if waiting == 0 || taken != self.taken || !shared.lwps().iter().all(blocked) {
            (self.since, self.taken) = (None, taken);
            return;
        }
        let now = Instant::now();
        if now - *self.since.get_or_insert(now) < LONG {
            return;
        }
        self.since = None;
        match shared.spares.take() {
            Some(spare) => self.by = spare.rescue(),
            None => {
                if let Some((by, signal)) = self.by.zip(shared.watch.signal) {
                    let _ = preempt::ask_rescued(by, signal);
                }
                shared.watch.stock.wake();
            }
        }
    }
}

/// Whether threads wait for the LWP, as far as others can know.
fn has_other_work(shared: &Shared, lwp: &Lwp) -> bool {
    lwp.load() > 0
        || !shared.injector.is_empty()
        || !shared.preempted.is_empty()
        || shared.earliest_deadline() <= shared.clock.now()
        || (shared.reactor.has_sources() && shared.sleepers.asleep() == 0)
}

/// Offers the LWP and sends a kernel thread. Returns whether one comes at once.
fn send(shared: &Shared, lwp: &Lwp, why: Kind) -> bool {
    let comes = offer(shared, lwp, why);
    if !comes {
        // The LWP stays offered; the stock starts a kernel thread.
        shared.watch.stock.wake();
    }
    comes
}
