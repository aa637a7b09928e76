//! Sentinels: one kernel thread per CPU that runs when the CPU has nothing else
//! to do, because its policy is `SCHED_IDLE`.
//!
//! A sentinel that is ready to run while a user thread uses its CPU begins to
//! run at the moment that thread blocks. It then looks which LWP's kernel thread
//! is blocked, and offers that LWP. A sentinel whose CPU simply has little to do
//! finds nothing, and dozes for longer and longer times; from time to time it
//! must be ready to run, in case a thread has come to its CPU.
//!
//! It takes no lock, allocates nothing and starts no kernel thread: whatever it
//! held while a CPU is busy it would hold for long.

use std::time::Duration;

use lisle_lwp::shim::Ordering;
use lisle_lwp::sys::{self, KernelState};

use super::{Kind, REST, RUN, offer, tell_if_low};
use crate::runtime::Shared;
use crate::sched::lwp::Lwp;

/// Looks in vain before it dozes: while there was something to find lately, and later.
/// Looks of all idle CPUs count against a quota of the process's.
const LOOKS: (u32, u32) = (20, 2);
/// How long it dozes, at first and at most.
const DOZE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

/// A sentinel's body.
pub(super) fn run(shared: &Shared, cpu: usize) {
    if sys::become_idle_on(cpu).is_err() {
        // Without the policy it would take the CPU from others.
        return;
    }
    super::leave_signals_to_others();
    let watch = &shared.watch;
    watch.posted.fetch_add(1, Ordering::Relaxed);
    let (mut in_vain, mut doze) = (0, DOZE.0);
    while !shared.is_stopping() {
        if watch.sentinels.load(Ordering::Relaxed) == REST {
            let _ = sys::futex_wait(&watch.sentinels, REST, None);
            continue;
        }
        sys::sched_yield();
        let mut found = false;
        for lwp in shared.lwps() {
            found |= look(shared, lwp);
        }
        if found {
            (in_vain, doze) = (0, DOZE.0);
        } else {
            in_vain += 1;
        }
        let looks = if doze == DOZE.0 { LOOKS.0 } else { LOOKS.1 };
        if in_vain >= looks {
            in_vain = 0;
            // A nap from which the end of the runtime wakes it.
            let _ = sys::futex_wait(&watch.sentinels, RUN, Some(doze));
            doze = (doze * 2).min(DOZE.1);
        }
    }
    watch.posted.fetch_sub(1, Ordering::Relaxed);
}

/// Offers the LWP if its thread blocks. Returns whether it did.
fn look(shared: &Shared, lwp: &Lwp) -> bool {
    let Some(carrier) = lwp.carrier() else {
        return false;
    };
    let holder = &carrier.own.holder;
    if holder.is_inside() || !lwp.owner.is_held_by(holder) {
        return false;
    }
    let switches = lwp.counters.switches.load(Ordering::Relaxed);
    if lwp.owner.is_offered() {
        // It said so itself, or an offer found no spare.
        return give(shared, lwp);
    }
    let tid = carrier.own.tid.load(Ordering::Relaxed);
    if !matches!(sys::kernel_state_of(tid), Ok(KernelState::Blocked)) {
        return false;
    }
    // Only if it is still the same thread: the look took a while.
    lwp.counters.switches.load(Ordering::Relaxed) == switches
        && !holder.is_inside()
        && give(shared, lwp)
}

fn give(shared: &Shared, lwp: &Lwp) -> bool {
    let comes = offer(shared, lwp, Kind::Blocked);
    tell_if_low(shared);
    comes
}
