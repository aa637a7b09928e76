//! Full threads whose donors end with them.
//!
//! A thread that asked for a donor of its own ([`Builder::fresh`]) takes the
//! donor with it: its thread-local destructors run as at the end of any thread,
//! on a kernel thread, and only then is it joined. The kernel thread is made by
//! the idle context, because that takes a system call.
//!
//! If the system refuses the kernel thread, the thread stays in the list and is
//! tried again in the next round.
//!
//! [`Builder::fresh`]: crate::thread::Builder::fresh

use core::ptr;
use std::time::Duration;

use lisle_lwp::shim::Ordering;

use super::lwp::Lwp;
use super::queue::ReadyList;
use crate::donors;
use crate::footing::Footing;
use crate::tcb::{Kind, Tcb};

/// Notes a thread that has left its donor's stack for ever.
///
/// # Safety
/// The caller is the LWP's owner inside the runtime.
pub(super) unsafe fn note(lwp: &Lwp, ended: &'static Tcb) {
    // SAFETY: owner only; no other reference is alive.
    unsafe { (*lwp.ending.get()).push_back(ended) };
    lwp.end_round_soon();
}

/// Ends the donors of all threads that were noted. Returns whether some are
/// left, because the system refuses kernel threads.
///
/// # Safety
/// The caller is the LWP's owner, in the idle context.
pub(super) unsafe fn end_donors(lwp: &Lwp) -> bool {
    // SAFETY: owner only; no other reference is alive while it is processed.
    let noted = unsafe { &mut *lwp.ending.get() };
    let mut refused = ReadyList::new();
    while let Some(ended) = noted.pop_front() {
        // SAFETY: the thread has left its stack; nobody else touches it.
        if !unsafe { end_donor(ended) } {
            refused.push_back(ended);
        }
    }
    let left = !refused.is_empty();
    *noted = refused;
    left
}

/// Ends the donor of a thread that ended off its LWP, however long it takes.
///
/// # Safety
/// The thread has left its donor's stack for ever; called in an idle context.
pub(super) unsafe fn end_donor_now(ended: &'static Tcb) {
    // SAFETY: passed on.
    while !unsafe { end_donor(ended) } {
        crate::runtime::nap(Duration::from_millis(1));
    }
}

/// Returns whether the system allowed it.
///
/// # Safety
/// As [`end_donor_now`].
unsafe fn end_donor(ended: &'static Tcb) -> bool {
    // SAFETY: nobody else touches it.
    let footing = ended
        .footing
        .with_mut(|footing| unsafe { (*footing).take() });
    let Some(Footing::Donor(donor)) = footing else {
        unreachable!("only full threads end with their donors")
    };
    // From here on it is a kernel thread like any other.
    ended.lwp.store(ptr::null_mut(), Ordering::Relaxed);
    ended.kind.store(Kind::Kernel as u8, Ordering::Relaxed);
    let refused = donors::end(donor).err();
    let done = refused.is_none();
    if let Some(donor) = refused {
        ended.kind.store(Kind::Full as u8, Ordering::Relaxed);
        // SAFETY: as above.
        ended
            .footing
            .with_mut(|footing| unsafe { *footing = Some(Footing::Donor(donor)) });
    }
    done
}
