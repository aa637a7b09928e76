//! CPU time that threads use without an LWP.
//!
//! What a thread uses on an LWP is charged at each switch. Beside the LWPs the clock of its kernel
//! thread says it: [`Own::cpu_when_left`] is up to where that has been charged to the thread that
//! runs there. Four move it on: whoever is about to take the LWP ([`begin`]), the stock from time
//! to time ([`look`]), the thread that is back ([`end`]), and the kernel thread itself when it
//! begins with an LWP, when its thread gives that away, and when it rescues a thread ([`reset`]).
//!
//! *What lies between the old and the new time is charged once, to the thread that used it.* The
//! stock exchanges the word that it read before it looked who runs there; if the thread has come
//! back since, it is another word. (A taker that comes too late may move it on between: what was
//! used in that moment is charged to nobody.)
//!
//! [`Own::cpu_when_left`]: crate::tcb::Own

use core::ptr;
use std::io;
use std::time::Duration;

use lisle_lwp::shim::{AtomicU64, Ordering, fence};
use lisle_lwp::sys;

use super::Kind;
use crate::pool;
use crate::runtime::Shared;
use crate::sched::lwp::Lwp;
use crate::tcb::Tcb;

/// A clock's time in nanoseconds; if it cannot be read, one before which nothing is charged.
fn nanoseconds(time: io::Result<Duration>) -> u64 {
    time.map_or(u64::MAX, |time| time.as_nanos() as u64)
}

/// What the kernel thread uses from here on is used without an LWP, if the caller takes that:
/// nobody has come back since it looked at the offer, or the take fails.
pub(crate) fn begin(carrier: &Tcb) {
    let charged = &carrier.own.cpu_when_left;
    // Acquire: pairs with the Release of whoever came back; the clock is looked at later.
    let before = charged.load(Ordering::Acquire);
    let now = nanoseconds(sys::cpu_time_of(carrier.own.tid.load(Ordering::Relaxed)));
    // Release: pairs with the Acquire of the stock and of `end`. Fails if another taker was first,
    // whose time is as good.
    let _ = charged.compare_exchange(before, now, Ordering::Release, Ordering::Relaxed);
}

/// The thread has left this carrier, the calling kernel thread. Returns what is still to be
/// charged to it.
pub(crate) fn end(carrier: &Tcb) -> u64 {
    let now = nanoseconds(sys::thread_cpu_time());
    let left = carrier.own.cpu_when_left.swap(now, Ordering::AcqRel);
    if now == u64::MAX {
        0
    } else {
        now.saturating_sub(left)
    }
}

/// What this carrier, the calling kernel thread, has used so far is charged, or nobody's.
pub(crate) fn reset(carrier: &Tcb) {
    end(carrier);
}

/// Charges the threads without an LWP, and tells of those that have passed their limit. Runs the
/// program's handler.
pub(super) fn look(shared: &Shared) {
    for carrier in shared.all_carriers() {
        // SAFETY: null or a control block, and those live for ever.
        let thread = unsafe { carrier.own.runs.load(Ordering::Relaxed).as_ref() };
        // A reference keeps the block the thread's.
        let Some(thread) = thread.filter(|thread| thread.is_user() && thread.try_retain()) else {
            continue;
        };
        if thread.charge(take_stock(shared, carrier, thread)) {
            let id = thread.id.load(Ordering::Relaxed);
            shared.watch.log.note(Kind::OverLimit, None, id);
        }
        let _entry = crate::Entry::new();
        pool::release(thread, None);
    }
}

/// What is to be charged to the thread, if it is away on this carrier.
fn take_stock(shared: &Shared, carrier: &Tcb, thread: &Tcb) -> u64 {
    let charged: &AtomicU64 = &carrier.own.cpu_when_left;
    // Acquire: who runs there is looked at later.
    let before = charged.load(Ordering::Acquire);
    if !is_away(shared, carrier, thread) {
        return 0;
    }
    let now = nanoseconds(sys::cpu_time_of(carrier.own.tid.load(Ordering::Relaxed)));
    if now == u64::MAX || now <= before {
        return 0;
    }
    // Release: the looks come earlier; pairs with the Acquire in `end`.
    let ours = charged.compare_exchange(before, now, Ordering::Release, Ordering::Relaxed);
    ours.map_or(0, |_| now - before)
}

/// Whether the thread runs on this carrier without an LWP.
fn is_away(shared: &Shared, carrier: &Tcb, thread: &Tcb) -> bool {
    let holds = |lwp: &Lwp| lwp.owner.is_held_by(&carrier.own.holder);
    if shared.lwps().iter().any(holds) {
        return false;
    }
    // Acquire: a kernel thread that gives an LWP away, with Release, runs its idle context.
    fence(Ordering::Acquire);
    ptr::eq(carrier.own.runs.load(Ordering::Relaxed), thread)
}
