//! The idle context: what an LWP does when it has no thread of its own to run.
//!
//! It runs on the kernel thread's own stack and under its own thread pointer,
//! so here, and only here, foreign locks, allocation and thread-locals are
//! allowed: stealing, polling for readiness, expiring deadlines, sleeping.
//!
//! ```text
//!   run own threads ──nothing left──► search ──nothing──► sleep
//!        ▲   │ every 128th switch       │ found            │ woken, event, deadline
//!        │   └──► round ──┐             │                  │
//!        └────────────────┴─────────────┴──────────────────┘
//! ```
//!
//! Idle LWPs spin for some microseconds before they sleep, because a wake-up
//! across processors costs hundreds of spawns; but who is woken and finds nothing
//! sleeps again soon. Of the sleepers one waits in the
//! poller, until the earliest deadline of all LWPs; the others on their own
//! words. While some LWP is busy the poller's sleeper looks round every
//! [`LOOK_ROUND`], so that nothing hides for long behind a thread that never
//! calls the runtime.
//!
//! In an idle process the poller's sleeper gets up after a second and after another one, to look which stacks
//! and donors nobody has needed since, and gives those back, a few at a time, as long as all sleep
//! ([`Carrier::trim`]). Then it sleeps without any period.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use lisle_lwp::arch;
use lisle_lwp::checkers;
use lisle_lwp::current;
use lisle_lwp::shim::{Ordering, fence, spin_loop};
use lisle_lwp::stack::{StackPool, overflow};
use lisle_lwp::{donor, owner};

use super::lwp::{Lwp, count, may_run};
use super::sleepers::Bed;
use super::switch::{AFTER, NOTHING, PREEMPTED, depart, follow_up};
use super::timers::NEVER;
use super::{ending, handover, preempt};
use crate::donors;
use crate::jobs;
use crate::runtime::Shared;
use crate::spares::Order;
use crate::tcb::Tcb;
use crate::watch::{Kind, stay};

/// Looks before an idle LWP sleeps, and pauses between two looks.
const LOOKS: u32 = 40;
const PAUSES: u32 = 32;
/// Looks of an LWP that has slept and found nothing for which it was woken, or whose work comes
/// from the poller, in which another one is.
const FEW_LOOKS: u32 = 4;
/// A busy LWP polls for readiness no more often than this.
const POLL_EVERY: u64 = 20_000;
/// How often a sleeping poller looks round while other LWPs are busy.
const LOOK_ROUND: Duration = Duration::from_millis(10);
/// After how much idleness warm stacks are given back to the kernel: first those that were not
/// needed before that either, and after as much again the others.
const TRIM_AFTER: Duration = Duration::from_secs(1);
/// How many at a time, which takes less than a millisecond, and when the next.
const TRIM_MOST: usize = 128;
const TRIM_AGAIN: Duration = Duration::from_millis(1);

/// After so many refused barriers a kernel thread naps before the next.
const PATIENCE: u32 = 10;

/// A kernel thread that carries an LWP.
struct Carrier<'a> {
    shared: &'a Shared,
    lwp: &'a Lwp,
    idle: &'static Tcb,
    last_poll: u64,
    /// When a thread was last taken off this kernel thread by a signal handler.
    last_preempted: u64,
    /// How often it is still to look for what can be given back.
    looks: u8,
    /// After how much idleness it does, or goes on giving back.
    trim_after: Option<Duration>,
    /// Whether readiness ended its last sleep in the poller. Then it goes back
    /// there without spinning: the next work will come from there, too, and who
    /// sends it may want the processor.
    served_by_poller: bool,
    /// The system refused a thread for a job that is offered.
    refused: bool,
}

/// The body of a kernel thread that carries LWPs: the one of its first order,
/// and, as a spare, those of others.
pub(crate) fn serve(shared: &Shared, first: Receiver<Option<usize>>) {
    // Dropped last: the overflow report needs it while threads run.
    let _alternate = overflow::ensure_alt_stack();
    let registered = donor::register_carrier();
    let idle = crate::current::attach(crate::tcb::Kind::Idle);
    let own = &idle.own;
    // SAFETY: this kernel thread's own, which nobody else reads before it
    // carries an LWP.
    own.slot.with_mut(|slot| unsafe { *slot = current::slot() });
    own.pointer
        .store(registered.thread_pointer(), Ordering::Relaxed);
    own.tid
        .store(lisle_lwp::sys::gettid() as u32, Ordering::Relaxed);
    own.mask.store(shared.mask, Ordering::Relaxed);
    lisle_lwp::sys::set_signal_mask(shared.mask);
    let _listed = Listed::new(shared, idle);
    let mut next = match first.recv() {
        Ok(Some(index)) => Some(Order::Carry(&shared.lwps[index])),
        Ok(None) => shared.spares.join(idle),
        Err(_) => None,
    };
    while let Some(order) = next {
        let Order::Carry(lwp) = order else {
            handover::rescue(shared, idle);
            next = shared.spares.join(idle);
            continue;
        };
        next = match carry(shared, lwp, idle) {
            Carried::UntilTheStop => return,
            Carried::NoMore => shared.spares.join(idle),
            Carried::Again => {
                // While it was counted out, all seemed to sleep.
                shared.watch.look_out();
                lwp.coming.count_in();
                Some(Order::Carry(lwp))
            }
        };
    }
}

/// A kernel thread in the runtime's list, until it ends.
struct Listed<'a> {
    shared: &'a Shared,
    idle: &'static Tcb,
}

impl<'a> Listed<'a> {
    /// Until it is in the list, its kind tells that it is none of the program's.
    fn new(shared: &'a Shared, idle: &'static Tcb) -> Listed<'a> {
        shared.carriers.lock().push(idle);
        idle.kind
            .store(crate::tcb::Kind::Kernel as u8, Ordering::Relaxed);
        Listed { shared, idle }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut carriers = self.shared.carriers.lock();
        carriers.retain(|carrier| !core::ptr::eq(*carrier, self.idle));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// The runtime stops.
    UntilTheStop,
    /// The LWP goes on without this kernel thread, never went with it, or has
    /// retired.
    NoMore,
    /// It has retired, and is wanted after all.
    Again,
}

/// Why a kernel thread carries its LWP no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The runtime stops.
    Stop,
    /// The LWP has gone on without it.
    Lost,
    /// The LWP is not wanted, and has nothing left.
    Retired,
}

/// Carries an LWP as long as it stays with this kernel thread.
fn carry(shared: &Shared, lwp: &Lwp, idle: &'static Tcb) -> Carried {
    let Some(before) = get_hold_of(shared, lwp, idle) else {
        return Carried::NoMore;
    };
    let me = core::ptr::from_ref(idle).cast_mut();
    idle.kind
        .store(crate::tcb::Kind::Idle as u8, Ordering::Relaxed);
    idle.lwp
        .store(core::ptr::from_ref(lwp).cast_mut(), Ordering::Relaxed);
    idle.carrier.store(me, Ordering::Relaxed);
    // Release: what `serve` set; pairs with the Acquire in `Lwp::carrier`.
    lwp.carrier.store(me, Ordering::Release);
    current::set_carried(core::ptr::from_ref(lwp).cast());
    if shared.accounts_cpu {
        stay::reset(idle);
    }
    note_upcall(shared, lwp, before);
    lwp.since.set(shared.clock.now());
    let mut carrier = Carrier {
        shared,
        lwp,
        idle,
        last_poll: 0,
        last_preempted: 0,
        looks: 0,
        trim_after: None,
        served_by_poller: false,
        refused: false,
    };
    let end = {
        let _known = checkers::know_own_stack();
        carrier.run()
    };
    current::set_carried(core::ptr::null());
    let carried = match end {
        End::Stop => {
            // Idle for ever: so those who watch for idle LWPs see that it has ended.
            shared.sleepers.start_search();
            // SAFETY: this kernel thread owns the LWP.
            unsafe { give_back(lwp) };
            lwp.owner.release(&idle.own.holder);
            Carried::UntilTheStop
        }
        // SAFETY: as above.
        End::Retired if unsafe { retire(shared, lwp, idle) } => Carried::Again,
        End::Retired | End::Lost => Carried::NoMore,
    };
    idle.lwp.store(core::ptr::null_mut(), Ordering::Relaxed);
    idle.kind
        .store(crate::tcb::Kind::Kernel as u8, Ordering::Relaxed);
    carried
}

/// Gives back what the LWP keeps at hand.
///
/// # Safety
/// The caller is the LWP's owner, in the idle context.
unsafe fn give_back(lwp: &Lwp) {
    // SAFETY: passed on; no other reference is alive.
    unsafe {
        let _ = ending::end_donors(lwp);
        donors::spill(&mut *lwp.donors.get(), 0);
        (*lwp.stacks.get()).flush();
        (*lwp.blocks.get()).flush(0);
    }
}

/// Retires the LWP: see [`roster`](super::roster). Returns whether it is wanted
/// after all.
///
/// # Safety
/// As [`give_back`]; the LWP has no donors to end.
unsafe fn retire(shared: &Shared, lwp: &Lwp, idle: &Tcb) -> bool {
    // First: a handler may make threads ready, which are then this LWP's.
    shared.watch.log.note(Kind::Retired, Some(lwp.index), 0);
    // SAFETY: passed on.
    let any = unsafe {
        give_back(lwp);
        lwp.hand_over_all(&shared.injector)
    };
    lwp.counters.queued.store(0, Ordering::Relaxed);
    // Whoever carries it next does not take it from anybody.
    lwp.carrier.store(core::ptr::null_mut(), Ordering::Release);
    let again = shared.roster.leave(lwp.index, &lwp.owner, &idle.own.holder);
    if any {
        shared.announce();
    }
    if again {
        // The poller's sleeper may have counted without it.
        shared.reactor.end_long_sleep();
    }
    again
}

/// Claims an LWP that no kernel thread carries, or takes one that is offered;
/// then this kernel thread is inside the runtime. `None`: its holder has taken the offer
/// back, or somebody else was faster.
fn get_hold_of(shared: &Shared, lwp: &Lwp, idle: &'static Tcb) -> Option<Before> {
    let outside = |holder: &Tcb| !holder.own.holder.is_inside();
    lwp.coming.arrive(
        || try_to_get_hold_of(shared, lwp, idle),
        || lwp.owner.is_offered() && lwp.carrier().is_some_and(outside) && !shared.is_stopping(),
    )
}

/// Looks once, but as often as it takes to find out.
fn try_to_get_hold_of(shared: &Shared, lwp: &Lwp, idle: &'static Tcb) -> Option<Before> {
    let me = &idle.own.holder;
    let id = shared.holder_id();
    let mut tries = 0;
    while !lwp.owner.claim(me, id) {
        let holder = lwp.carrier()?;
        let mut left = Left::default();
        // Between the two looks at the word: if both find the same offer, the thread that is
        // seen has been outside the runtime all the time, and is the one that is left.
        let look = || {
            let at = shared.accounts_cpu.then(|| {
                stay::begin(holder);
                shared.clock.now()
            });
            let fenced = barrier();
            if fenced {
                // Behind the fence, because the holder's stores are seen there.
                left = Left::on(holder, at);
            }
            fenced
        };
        if lwp.owner.take(&holder.own.holder, me, id, look) {
            return Some(Before::Left(left));
        }
        left.release();
        // A holder that is inside has come back. What is left is a barrier that
        // was refused.
        let back = !lwp.owner.is_offered() || holder.own.holder.is_inside();
        if back || shared.is_stopping() {
            return None;
        }
        tries += 1;
        if tries < PATIENCE {
            lisle_lwp::sys::sched_yield();
        } else {
            crate::runtime::nap(Duration::from_micros(500));
        }
    }
    Some(match lwp.given_by.replace(0) {
        0 => Before::Nobody,
        thread => Before::Gave(thread),
    })
}

/// From whom a kernel thread has an LWP.
enum Before {
    /// Nobody carried it.
    Nobody,
    /// The thread with this number gave it away.
    Gave(u64),
    /// It was taken from a thread, which was left behind.
    Left(Left),
}

/// A thread that is left behind.
#[derive(Default)]
struct Left {
    id: u64,
    /// Itself, with a reference, if it is to be charged.
    thread: Option<&'static Tcb>,
    /// When, by the runtime's clock.
    at: u64,
}

impl Left {
    /// The thread that runs on that kernel thread, to be charged up to that time.
    fn on(carrier: &Tcb, at: Option<u64>) -> Left {
        // SAFETY: null or a control block, and those live for ever.
        let thread = unsafe { carrier.own.runs.load(Ordering::Relaxed).as_ref() };
        let charged = |thread: &&Tcb| at.is_some() && thread.is_user() && thread.try_retain();
        Left {
            id: thread.map_or(0, |thread| thread.id.load(Ordering::Relaxed)),
            thread: thread.filter(charged),
            at: at.unwrap_or(0),
        }
    }

    /// It is not left, or has been charged.
    fn release(self) {
        if let Some(thread) = self.thread {
            crate::pool::release(thread, None);
        }
    }
}

/// Tells how this kernel thread came to carry the LWP.
fn note_upcall(shared: &Shared, lwp: &Lwp, before: Before) {
    let log = &shared.watch.log;
    let index = Some(lwp.index);
    let thread = match before {
        Before::Nobody => return log.note(Kind::Added, index, 0),
        Before::Gave(thread) => thread,
        Before::Left(left) => {
            let id = left.id;
            // Blocked or not: it was on the LWP so long.
            let ran = left.at.saturating_sub(lwp.since.get());
            if left.thread.is_some_and(|thread| thread.charge(ran)) {
                log.note(Kind::OverLimit, index, id);
            }
            left.release();
            id
        }
    };
    let why = Kind::of(lwp.offered_for.load(Ordering::Relaxed));
    log.note(why, index, thread);
}

/// A full fence, here and in every kernel thread that may be inside the runtime.
pub(crate) fn barrier() -> bool {
    fence(Ordering::SeqCst);
    owner::has_fences() || lisle_lwp::sys::membarrier().is_ok()
}

impl Carrier<'_> {
    /// Carries the LWP until the runtime stops, or the LWP goes on without this
    /// kernel thread, or is not wanted any more.
    fn run(&mut self) -> End {
        while !self.shared.is_stopping() {
            if self.lwp.timed {
                self.tell_of_limits();
            }
            if !self.shared.roster.wants(self.lwp.index) {
                if !self.end_donors(donors::BATCH) {
                    return End::Retired;
                }
                // The system refuses kernel threads, or there are many.
                crate::runtime::nap(Duration::from_micros(200));
            }
            let next = self
                .take_due()
                // SAFETY: this kernel thread owns the LWP, inside the runtime.
                .or_else(|| unsafe { self.lwp.pick() })
                .or_else(|| self.hunt());
            let Some(next) = next else { continue };
            if !self.switch_to(next) {
                return End::Lost;
            }
            self.round();
        }
        // Threads that are left over never run again.
        End::Stop
    }

    /// Runs threads, beginning with `next`, until the LWP has none or a round is
    /// over. Returns whether this kernel thread still carries the LWP.
    fn switch_to(&mut self, next: &'static Tcb) -> bool {
        count(&self.lwp.counters.switches, 1);
        self.is_needed();
        let idle = self.idle;
        // SAFETY: `next` is ready and in no queue; we run as `idle` on this LWP.
        let arg = unsafe {
            let to = depart(idle, self.lwp, next, NOTHING);
            idle.context
                .with_mut(|context| arch::switch(context, to, idle as *const Tcb as usize))
        };
        checkers::standing_on_own();
        if idle.lwp.load(Ordering::Relaxed).is_null() {
            // First, so that nobody takes the thread for one that is still there.
            let me = core::ptr::from_ref(idle).cast_mut();
            idle.own.runs.store(me, Ordering::Relaxed);
            // SAFETY: `arg` is what the switch passed.
            unsafe { handover::follow_up(Some(self.lwp), arg) };
            return false;
        }
        if arg & AFTER == PREEMPTED {
            // SAFETY: the address of a control block, and those live for ever.
            let left: &'static Tcb = unsafe { &*((arg & !AFTER) as *const Tcb) };
            self.last_preempted = self.shared.clock.now();
            preempt::follow_up(self.shared, self.lwp, idle, left);
        } else if arg & AFTER != NOTHING {
            // SAFETY: as above.
            unsafe { follow_up(self.lwp, arg) };
        }
        true
    }

    /// A preempted thread, if it is time for one: all others together get as much
    /// as those do.
    fn take_due(&self) -> Option<&'static Tcb> {
        let shared = self.shared;
        if shared.preempted.is_empty() {
            return None;
        }
        let slice = shared
            .watch
            .slice
            .map_or(0, |slice| slice.as_nanos() as u64);
        let due = self.last_preempted + slice <= shared.clock.now();
        if due { self.take_preempted() } else { None }
    }

    /// A preempted thread to run at once.
    fn take_preempted(&self) -> Option<&'static Tcb> {
        core::iter::from_fn(|| self.shared.preempted.take()).find(|thread| may_run(thread))
    }

    /// Tells of threads that have passed their limit of CPU time.
    fn tell_of_limits(&self) {
        let lwp = self.lwp;
        let [last, first] = lwp.over_limit.replace([0; 2]);
        for thread in [first, last].into_iter().filter(|&thread| thread != 0) {
            let log = &self.shared.watch.log;
            log.note(Kind::OverLimit, Some(lwp.index), thread);
        }
    }

    /// Ends donors that are to end, `most` at most of those that are merely too many. Returns whether there are more.
    fn end_donors(&self, most: usize) -> bool {
        // SAFETY: owner, in the idle context.
        let mut left = unsafe { ending::end_donors(self.lwp) };
        if donors::excess() > 0 {
            donors::retire_excess(most);
            left |= donors::excess() > 0;
        }
        left
    }

    /// A look at what does not come by itself while threads run.
    fn round(&mut self) {
        let (lwp, shared) = (self.lwp, self.shared);
        let _ = self.end_donors(1);
        let now = shared.clock.now();
        lwp.begin_round(now);
        // SAFETY: owner, inside the runtime.
        unsafe { lwp.publish() };
        self.take_injected();
        lwp.served.store(now, Ordering::Relaxed);
        if let Some(helper) = self.take_job() {
            // So that a job does not wait for ever while no LWP is idle.
            // SAFETY: owner, inside the runtime; the thread is ready.
            unsafe { lwp.enqueue(helper) };
        }
        let is_virtual = shared.clock.is_virtual();
        if !is_virtual && shared.earliest_deadline() <= now {
            self.expire_everywhere(now);
        }
        // Without more to run it will look, or sleep, in the poller next; but
        // not if there is always one more thread from elsewhere.
        let every = if lwp.load() > 0 {
            POLL_EVERY
        } else {
            POLL_EVERY * 10
        };
        if shared.reactor.has_sources()
            && (is_virtual || now.saturating_sub(self.last_poll) >= every)
        {
            self.last_poll = now;
            self.poll_now();
        }
        lwp.share_if_wanted();
    }

    fn take_injected(&self) {
        let lwp = self.lwp;
        let keep = |thread| {
            // SAFETY: owner, inside the runtime; the thread is ready.
            unsafe { lwp.enqueue(thread) };
        };
        self.shared.injector.take_all(keep);
    }

    /// Wakes all threads whose deadline has come, whichever LWP they set it on:
    /// that one may be busy for long.
    fn expire_everywhere(&self, now: u64) {
        self.shared.expire(now);
    }

    fn poll_now(&self) -> bool {
        count(&self.lwp.counters.polls, 1);
        self.shared.reactor.poll()
    }

    /// Searches, and sleeps, until there is a thread to run. `None`: the
    /// runtime stops, or the LWP is not wanted.
    fn hunt(&mut self) -> Option<&'static Tcb> {
        let (lwp, shared) = (self.lwp, self.shared);
        let sleepers = &shared.sleepers;
        sleepers.start_search();
        lwp.hunting.set(true);
        let (mut looks, mut slept) = (0, false);
        let found = loop {
            if !shared.roster.wants(lwp.index) {
                break None;
            }
            let most = match (self.served_by_poller, sleepers.poller_vacant()) {
                (true, true) => 1,
                (true, false) => FEW_LOOKS,
                (false, _) if slept => FEW_LOOKS,
                (false, _) => LOOKS,
            };
            let found = self.look(looks + 1 >= most);
            if found.is_some() || shared.is_stopping() {
                break found;
            }
            looks += 1;
            if looks < most && !shared.clock.is_virtual() {
                (0..PAUSES).for_each(|_| spin_loop());
            } else {
                slept |= self.sleep();
                looks = 0;
            }
        };
        lwp.hunting.set(false);
        shared.watch.look_out();
        let last = sleepers.stop_search();
        if found.is_some() {
            let now = shared.clock.now();
            lwp.since.set(now);
            lwp.begin_round(now);
            // What else was found is for others to take.
            lwp.share_if_wanted();
        }
        if last && !shared.is_stopping() && sleepers.needs_another(|| self.work_left()) {
            shared.announce();
        }
        found
    }

    /// One pass over everything that may have become ready.
    fn look(&mut self, last: bool) -> Option<&'static Tcb> {
        let (lwp, shared) = (self.lwp, self.shared);
        self.take_injected();
        // First what became ready while this LWP slept in the poller.
        // SAFETY: owner, inside the runtime.
        let found = unsafe { lwp.pick() };
        if found.is_some() {
            return found;
        }
        // Sleeping in the poller is looking there, too.
        let sleeps_there = self.served_by_poller && shared.sleepers.poller_vacant();
        if shared.reactor.has_sources() && !sleeps_there {
            self.poll_now();
        }
        // SAFETY: as above.
        unsafe { lwp.pick() }
            .or_else(|| self.expire_idle())
            .or_else(|| self.steal(last))
            .or_else(|| self.take_job())
            .or_else(|| self.take_preempted())
    }

    /// A new thread for a job that is offered.
    fn take_job(&mut self) -> Option<&'static Tcb> {
        if self.shared.offers.is_empty() {
            return None;
        }
        // SAFETY: owner, in the idle context.
        let started = unsafe { jobs::start(self.lwp) };
        self.refused = started.is_err();
        started.ok().flatten()
    }

    /// Expires deadlines when nothing is ready. Virtual time jumps to the next
    /// one for that.
    fn expire_idle(&self) -> Option<&'static Tcb> {
        let shared = self.shared;
        let earliest = shared.earliest_deadline();
        if earliest == NEVER {
            return None;
        }
        shared.clock.advance_to(earliest);
        let now = shared.clock.now();
        if earliest > now {
            return None;
        }
        self.expire_everywhere(now);
        // SAFETY: owner, inside the runtime.
        unsafe { self.lwp.pick() }
    }

    fn steal(&self, last: bool) -> Option<&'static Tcb> {
        let (shared, me) = (self.shared, self.lwp);
        let lwps = shared.lwps();
        let victims = |from: usize| (1..lwps.len()).map(move |i| &lwps[(from + i) % lwps.len()]);
        for victim in victims(me.index) {
            // SAFETY: owner, in the idle context.
            while let Some(thread) = unsafe { me.steal_from(victim) } {
                if may_run(thread) {
                    return Some(thread);
                }
                // It is held back; the rest of the batch is in our window.
                // SAFETY: owner, inside the runtime.
                if let Some(thread) = unsafe { me.pick() } {
                    return Some(thread);
                }
            }
        }
        for victim in victims(me.index) {
            if victim.has_next()
                && victim.lets_wait(shared.clock.now())
                && last
                && let Some(thread) = me.steal_next_from(victim).filter(|t| may_run(t))
            {
                return Some(thread);
            }
        }
        None
    }

    /// Whether others could take work from somewhere: step 3 of going to sleep.
    fn work_left(&self) -> bool {
        // Virtual time jumps to any deadline there is.
        let jumps = || self.shared.clock.is_virtual() && self.shared.earliest_deadline() != NEVER;
        jumps()
            || !self.shared.injector.is_empty()
            || !self.shared.offers.is_empty()
            || !self.shared.preempted.is_empty()
            || self.shared.lwps().iter().any(|lwp| !lwp.stealer.is_empty())
    }

    /// Sleeps, unless there is something to do after all: then `false`.
    fn sleep(&mut self) -> bool {
        let (lwp, shared) = (self.lwp, self.shared);
        // What it keeps at hand, others may need meanwhile.
        // SAFETY: owner, in the idle context; no other reference is alive.
        let own = unsafe { &mut *lwp.donors.get() };
        if !own.is_empty() {
            donors::spill(own, 0);
        }
        if self.end_donors(donors::BATCH) || core::mem::take(&mut self.refused) {
            // The system refuses kernel threads, or there are many: once more,
            // after another look round, at readiness too.
            self.served_by_poller = false;
            crate::runtime::nap(Duration::from_micros(200));
            return false;
        }
        let sleepers = &shared.sleepers;
        lwp.counters.queued.store(0, Ordering::Relaxed);
        // Under virtual time only readiness is worth waiting for.
        let poll = !shared.clock.is_virtual() || shared.reactor.has_sources();
        let bed = sleepers.fall_asleep(lwp.index, poll);
        let leaves = shared.is_stopping() || !shared.roster.wants(lwp.index);
        if leaves || self.work_left() {
            let _ = sleepers.get_up(bed);
            // The poller's sleeper may have taken us for asleep.
            shared.reactor.end_long_sleep();
            // It was not in the poller after all.
            self.served_by_poller = false;
            return false;
        }
        count(&lwp.counters.sleeps, 1);
        match bed {
            Bed::Alone(_) => {
                lwp.sleeper.sleep(None);
            }
            Bed::Poller(_) => self.sleep_in_poller(bed),
        }
        let _ = sleepers.get_up(bed);
        true
    }

    /// Waits for readiness and deadlines on behalf of all LWPs.
    fn sleep_in_poller(&mut self, bed: Bed) {
        let shared = self.shared;
        if !shared.all_sleep() {
            self.is_needed();
        }
        let trim_after = self.trim_after;
        let pause = || match shared.all_sleep() {
            true => trim_after,
            false => Some(LOOK_ROUND),
        };
        let earliest = || match shared.clock.is_virtual() {
            true => NEVER,
            false => shared.earliest_deadline(),
        };
        let still_in_bed = || shared.sleepers.is_in_bed(bed);
        let began = shared.clock.now();
        self.served_by_poller = shared
            .reactor
            .wait(pause, earliest, &shared.clock, still_in_bed);
        self.last_poll = shared.clock.now();
        let slept = Duration::from_nanos(self.last_poll - began);
        if let Some(after) = trim_after
            && slept >= after
            && shared.all_sleep()
        {
            self.trim();
        }
    }

    /// Threads run: what they leave behind is to be looked at twice.
    fn is_needed(&mut self) {
        (self.looks, self.trim_after) = (2, Some(TRIM_AFTER));
    }

    /// Long idle: gives warm stacks back to the kernel.
    fn trim(&mut self) {
        let stacks = StackPool::global();
        if self.trim_after == Some(TRIM_AFTER) {
            // SAFETY: owner, in the idle context.
            unsafe {
                (*self.lwp.stacks.get()).flush();
                donors::spill(&mut *self.lwp.donors.get(), 0);
            }
            // Those whom the system refuses to end are tried again.
            let more = donors::trim();
            self.looks = self.looks.saturating_sub(1).max(u8::from(more));
            stacks.look_for_idle();
        }
        stacks.trim_idle(TRIM_MOST);
        self.trim_after = match (stacks.has_idle(), self.looks) {
            (true, _) => Some(TRIM_AGAIN),
            (false, 1..) => Some(TRIM_AFTER),
            (false, 0) => None,
        };
    }
}
