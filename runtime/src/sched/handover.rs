//! Hand-over: an LWP leaves the kernel thread that carries it, and a thread
//! goes on there without an LWP.
//!
//! It happens when a light thread has to wait while it unwinds. The panic count
//! belongs to the kernel thread, so the thread must not move before the
//! unwinding is over: it waits right there, on its kernel thread, like any
//! kernel thread; and because the LWP must not wait with it, a new kernel
//! thread takes the LWP over with its whole run queue.
//!
//! The thread left behind runs *off the LWP* until its next wait, yield or end.
//! Then it leaves its kernel thread for good ([`leave`]), becomes ready like any
//! other, and the kernel thread ends.
//!
//! If the system refuses another kernel thread, the LWP waits with the thread.

use lisle_lwp::arch;
use lisle_lwp::current;
use lisle_lwp::shim::Ordering;

use super::lwp::hold;
use super::switch::{AFTER, EXIT, HOLD, PARK, arrive, inject, reap_elsewhere, running};
use crate::tcb::Tcb;

/// Gives the running thread's LWP to a new kernel thread; the thread goes on
/// without one. Returns whether it did.
pub(crate) fn detach(me: &'static Tcb) -> bool {
    let Some(lwp) = me.own_lwp() else { return true };
    let idle = lwp.idle();
    let Ok(successor) = lwp.shared().start_carrier(lwp.index) else {
        return false;
    };
    // From here on the LWP is not ours: nothing of it may be touched.
    me.lwp.store(core::ptr::null_mut(), Ordering::Relaxed);
    me.carrier
        .store(core::ptr::from_ref(idle).cast_mut(), Ordering::Relaxed);
    current::set_carried(core::ptr::null());
    successor.go();
    true
}

/// Leaves the kernel thread on which `me` runs without an LWP; returns when
/// `me` is resumed, on an LWP.
pub(super) fn leave(me: &'static Tcb, after: usize) {
    let carrier = carrier_of(me);
    // SAFETY: the carrier's idle context is suspended in its run loop since it
    // switched to `me` or a predecessor, and only we can resume it. Our own
    // context is published by it, after it has been saved.
    unsafe {
        current::set(core::ptr::from_ref(carrier).cast());
        let to = carrier.context.with(|context| *context);
        let arg = me as *const Tcb as usize | after;
        let arg = me
            .context
            .with_mut(|context| arch::switch(context, to, arg));
        arrive(me, arg);
    }
}

/// As [`leave`], for a thread that has ended.
pub(super) fn leave_for_ever(me: &'static Tcb) -> ! {
    let carrier = carrier_of(me);
    // SAFETY: as in `leave`; the thread's context is not needed again.
    unsafe {
        current::set(core::ptr::from_ref(carrier).cast());
        let to = carrier.context.with(|context| *context);
        arch::switch_final(to, me as *const Tcb as usize | EXIT)
    }
}

fn carrier_of(me: &'static Tcb) -> &'static Tcb {
    // SAFETY: set by `detach`; control blocks live for ever.
    let carrier = unsafe { me.carrier.load(Ordering::Relaxed).as_ref() };
    carrier.expect("a thread off its LWP has a carrier")
}

/// What follows a switch back to a carrier that has lost its LWP.
///
/// # Safety
/// `arg` is what the switch passed.
pub(super) unsafe fn follow_up(arg: usize) {
    debug_assert!(running().is_some_and(|me| !me.is_user()));
    // SAFETY: the address of a control block, and those live for ever.
    let left: &'static Tcb = unsafe { &*((arg & !AFTER) as *const Tcb) };
    let ready = match arg & AFTER {
        PARK => !left.wait.commit(),
        EXIT => {
            // SAFETY: a runtime outlives its threads.
            let shared = unsafe { &*left.shared.load(Ordering::Relaxed) };
            shared.ended_elsewhere.fetch_add(1, Ordering::Relaxed);
            reap_elsewhere(left);
            false
        }
        HOLD => !hold(left),
        _ => true,
    };
    if ready {
        inject(left);
    }
}
