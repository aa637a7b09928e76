//! The stock of spares: one kernel thread that starts others.
//!
//! Starting a kernel thread takes locks of libc and of the allocator, and a
//! preempted thread may hold these until the monitor preempts another one. So the
//! monitor starts none; it wakes the stock. While the stock waits for such a
//! lock, whatever needs no new kernel thread goes on: slices end by signals, and
//! there are spares at hand. It does what else the monitor must not: it follows the
//! number of processors, posts sentinels, charges threads without an LWP for what they use, and
//! tells of their limits and that the system refuses.

use lisle_lwp::shim::Ordering;

use super::{Kind, RUN, Source, offer};
use crate::runtime::Shared;
use crate::sched::lwp::Lwp;

/// Spares that should wait at any time.
const SPARES: usize = 2;

/// Whether there are fewer than should be.
pub(super) fn is_low(shared: &Shared) -> bool {
    let (waiting, most) = shared.spares.load();
    waiting < SPARES.min(most)
}

/// The stock's body.
pub(super) fn run(shared: &Shared) {
    super::leave_signals_to_others();
    let mut posted = Vec::new();
    while !shared.is_stopping() {
        // As the monitor last saw, which wakes us; by now they may sleep again.
        let awake = !shared.all_sleep() || shared.watch.sentinels.load(Ordering::Relaxed) == RUN;
        // First what somebody waits for.
        shared.lwps().iter().for_each(|lwp| serve(shared, lwp));
        shared.keep_spares(SPARES);
        if shared.accounts_cpu {
            super::stay::look(shared);
        }
        let count = &shared.watch.count_processors;
        if awake && count.swap(false, Ordering::Relaxed) {
            super::processors::follow(shared);
            if shared.watch.source == Source::Sentinels {
                super::post_sentinels(shared, &mut posted);
            }
        }
        shared.watch.stock.sleep(None);
    }
}

/// Completes an offer for which there was no spare.
fn serve(shared: &Shared, lwp: &Lwp) {
    let outside = |holder: &crate::tcb::Tcb| !holder.own.holder.is_inside();
    if !lwp.owner.is_offered() || !lwp.carrier().is_some_and(outside) {
        return;
    }
    let why = Kind::of(lwp.offered_for.load(Ordering::Relaxed));
    if offer(shared, lwp, why) {
        return;
    }
    match shared.start_kernel_thread() {
        Ok(spare) => spare.go(lwp),
        // The LWP stays offered, and the monitor's next look tries again.
        Err(_) => {
            if !shared.watch.is_refused.swap(true, Ordering::Relaxed) {
                let watch = &shared.watch;
                watch.log.tell_refused(|| super::bounds::look(shared));
            }
        }
    }
}
