//! What an idle LWP does with an offered job.

use std::io;

use super::Scope;
use crate::sched::lwp::Lwp;
use crate::tcb::Tcb;
use crate::thread::helper::Helper;

/// A full thread that will run the first of the offered jobs, ready and in no
/// queue; `None` if there is no job any more.
///
/// # Errors
/// If the system refuses memory or a kernel thread: the job is still offered.
///
/// # Safety
/// The caller is the LWP's owner, in its idle context.
pub(crate) unsafe fn start(lwp: &Lwp) -> io::Result<Option<&'static Tcb>> {
    let shared = lwp.shared();
    // First, so that nobody is let down who relies on the job being taken.
    // SAFETY: passed on.
    let helper = unsafe { Helper::make(lwp, Scope::run_task) }?;
    let Some(offer) = shared.offers.take(helper.block()) else {
        helper.discard();
        return Ok(None);
    };
    // SAFETY: nobody runs the helper yet. The offer, and with it its owner, stay
    // until the helper has ended.
    unsafe {
        helper.block().jobs.assign(offer, shared);
        Ok(Some(helper.launch(lwp, offer.owner)))
    }
}
