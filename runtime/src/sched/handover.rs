//! Hand-over: an LWP leaves the kernel thread that carries it, and a thread
//! goes on there without an LWP.
//!
//! ```text
//!   kernel thread k:   thread U ───────── U, without an LWP ──── U waits ──► idle ──► spare
//!                          │  offered                               │
//!   spare s:               └► takes the LWP ──► next thread ──► …   └► ready again, on some LWP
//! ```
//!
//! Two reasons. A light thread has to wait while it unwinds: the panic count
//! belongs to the kernel thread, so it must not move before the unwinding is
//! over, and waits right there ([`detach`]). Or somebody has seen that the
//! thread blocks in the kernel, or computes on and on, and has offered its LWP
//! ([`watch`](crate::watch)); the thread finds out at its next entry.
//!
//! The thread left behind runs *off the LWP* until its next wait, yield or end.
//! Then it leaves its kernel thread for good ([`leave`]), becomes ready like any
//! other, and the kernel thread becomes a spare, or ends.
//!
//! If the system refuses another kernel thread, the LWP waits with the thread.

use lisle_lwp::arch;
use lisle_lwp::checkers;
use lisle_lwp::current;
use lisle_lwp::shim::Ordering;

use super::lwp::{Lwp, may_run};
use super::stand::reap_elsewhere;
use super::switch::{
    AFTER, END_DONOR, EXIT, HOLD, PARK, PREEMPTED, arrive, change_pointer, enter, inject, running,
    settle_time, stay_put,
};
use crate::runtime::Shared;
use crate::tcb::Tcb;
use crate::watch::{Kind, stay};

/// Gives the running thread's LWP to another kernel thread; the thread goes on
/// without one. Returns whether it does.
pub(crate) fn detach(me: &'static Tcb) -> bool {
    let Some(lwp) = me.own_lwp() else { return true };
    let Ok(spare) = lwp.shared().spare() else {
        return false;
    };
    let Some(lwp) = enter(me) else { return true };
    let why = Kind::Blocked as u8;
    lwp.offered_for.store(why, Ordering::Relaxed);
    if lwp.timed {
        settle_time(me, lwp);
    }
    if lwp.shared().accounts_cpu {
        // SAFETY: the caller runs as `me`.
        stay::reset(unsafe { me.carrier() });
    }
    lwp.given_by.set(me.id.load(Ordering::Relaxed));
    // From here on the LWP is not ours.
    me.lwp.store(core::ptr::null_mut(), Ordering::Relaxed);
    if me.is_light() {
        current::set_carried(core::ptr::null());
    }
    // SAFETY: the caller runs as `me`.
    lwp.owner.release(unsafe { &me.carrier().own.holder });
    me.inside.store(0, Ordering::Relaxed);
    spare.go(lwp);
    true
}

/// Leaves the kernel thread on which `me` runs without an LWP; returns when
/// `me` is resumed, on an LWP.
pub(super) fn leave(me: &'static Tcb, after: usize) {
    // SAFETY: the carrier's idle context is suspended in its run loop since it
    // switched to `me` or a predecessor, and only we can resume it. Our own
    // context is published by it, after it has been saved.
    unsafe {
        stay_put(me);
        let carrier = me.carrier();
        let to = carrier.context.with(|context| *context);
        let arg = me as *const Tcb as usize | after;
        back_to(carrier, me);
        let arg = me
            .context
            .with_mut(|context| arch::switch(context, to, arg));
        arrive(me, arg);
    }
}

/// As [`leave`], for a thread that has ended.
pub(super) fn leave_for_ever(me: &'static Tcb, after: usize) -> ! {
    stay_put(me);
    // SAFETY: as in `leave`; the thread's context is not needed again.
    unsafe { go_back(me.carrier(), me, after) }
}

/// Goes back to the idle context of the kernel thread on which `me` runs without an LWP.
///
/// # Safety
/// As `leave`; what runs as `me` here is not needed again.
pub(super) unsafe fn go_back(carrier: &'static Tcb, me: &'static Tcb, after: usize) -> ! {
    // SAFETY: passed on.
    unsafe {
        let to = carrier.context.with(|context| *context);
        back_to(carrier, me);
        arch::switch_final(to, me as *const Tcb as usize | after)
    }
}

/// Gives the kernel thread back to its idle context.
///
/// # Safety
/// The caller runs as `me` on the carrier's kernel thread, and is about to
/// switch to the carrier without touching a thread-local in between.
#[inline(always)]
unsafe fn back_to(carrier: &'static Tcb, me: &Tcb) {
    // SAFETY: the slot is this kernel thread's; the rest is passed on.
    unsafe {
        carrier
            .own
            .slot
            .with(|slot| (**slot).set(core::ptr::from_ref(carrier).cast()));
        if me.thread_pointer.load(Ordering::Relaxed) != 0 {
            change_pointer(carrier, 0);
        }
    }
}

/// Runs a preempted thread on the calling kernel thread, a spare, without an
/// LWP, until it waits or yields: see [`preempt`](super::preempt).
pub(super) fn rescue(shared: &Shared, idle: &'static Tcb) {
    let Some(thread) = shared.preempted.take().filter(|thread| may_run(thread)) else {
        return;
    };
    let log = &shared.watch.log;
    log.note_rescued();
    let me = core::ptr::from_ref(idle).cast_mut();
    thread.lwp.store(core::ptr::null_mut(), Ordering::Relaxed);
    thread.carrier.store(me, Ordering::Relaxed);
    let own = &idle.own;
    stay::reset(idle);
    let rescued = core::ptr::from_ref(thread).cast_mut();
    own.runs.store(rescued, Ordering::Relaxed);
    own.rescued.store(rescued, Ordering::Relaxed);
    // SAFETY: the thread is ready and ours alone; the slot is this kernel thread's;
    // from the change of the pointer to the switch nothing uses a thread-local.
    // Somebody who leaves this kernel thread comes back here.
    unsafe {
        own.slot
            .with(|slot| (**slot).set(core::ptr::from_ref(thread).cast()));
        let to = thread.context.with(|context| *context);
        change_pointer(idle, thread.thread_pointer.load(Ordering::Relaxed));
        let arg = idle
            .context
            .with_mut(|context| arch::switch(context, to, 0));
        checkers::standing_on_own();
        own.runs.store(me, Ordering::Relaxed);
        own.rescued.store(core::ptr::null_mut(), Ordering::Relaxed);
        follow_up(None, arg);
    }
}

/// What a kernel thread without an LWP does about a thread that made way there in a
/// signal handler. It tells nobody: foreign code may wait for
/// what the thread holds, and this kernel thread may be the last one to serve it.
fn make_way(left: &'static Tcb) {
    if let Some(idle) = running() {
        lisle_lwp::sys::set_signal_mask(idle.own.mask.load(Ordering::Relaxed));
        if left.accounts_cpu.load(Ordering::Relaxed) != 0 {
            // Whether that is over its limit is seen when it is charged again.
            left.cpu_ns.fetch_add(stay::end(idle), Ordering::Relaxed);
        }
    }
    // SAFETY: a runtime outlives its threads.
    let shared = unsafe { &*left.shared.load(Ordering::Relaxed) };
    shared.watch.log.count_switched();
    shared.preempted.push(left);
    shared.announce();
}

/// What follows a switch back to a carrier that has lost this LWP, or had none.
///
/// # Safety
/// `arg` is what the switch passed.
pub(super) unsafe fn follow_up(lost: Option<&Lwp>, arg: usize) {
    debug_assert!(running().is_some_and(|me| !me.is_user()));
    // SAFETY: the address of a control block, and those live for ever.
    let left: &'static Tcb = unsafe { &*((arg & !AFTER) as *const Tcb) };
    if arg & AFTER == PREEMPTED {
        return make_way(left);
    }
    // SAFETY: a runtime outlives its threads.
    let ended = |left: &Tcb| unsafe {
        let shared = &*left.shared.load(Ordering::Relaxed);
        shared.census.count_ended();
    };
    // SAFETY: a runtime outlives its threads.
    let log = unsafe { &(*left.shared.load(Ordering::Relaxed)).watch.log };
    if left.accounts_cpu.load(Ordering::Relaxed) != 0
        && let Some(carrier) = running()
        && left.charge(stay::end(carrier))
    {
        log.note(
            Kind::OverLimit,
            lost.map(|lost| lost.index),
            left.id.load(Ordering::Relaxed),
        );
    }
    // Counted before the thread can be seen elsewhere.
    log.note(
        Kind::Unblocked,
        lost.map(|lost| lost.index),
        left.id.load(Ordering::Relaxed),
    );
    let ready = match arg & AFTER {
        PARK => !left.wait.commit(),
        EXIT => {
            ended(left);
            reap_elsewhere(left);
            false
        }
        END_DONOR => {
            // SAFETY: the idle context, and the thread has left its stack.
            unsafe { super::ending::end_donor_now(left) };
            false
        }
        HOLD => !left.hold(),
        _ => true,
    };
    if ready {
        inject(left);
    }
}
