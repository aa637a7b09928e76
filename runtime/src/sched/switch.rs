//! Switching: how a thread leaves its LWP and the next one gets it.
//!
//! A thread that yields, waits or ends switches straight to the next one; only
//! when the LWP has nothing of its own, or a round is over, does it switch to
//! the LWP's idle context ([`idle`](super::idle)).
//!
//! **The entry rule.** The scheduler runs on user threads' stacks, under user
//! threads' thread pointers, and can be what a preempted thread waits for. So
//! between `owner.enter()` and `owner.leave()` nothing allocates, frees, drops a
//! user's value, takes a lock that a user thread may hold, or touches a
//! thread-local. The idle context is exempt: it has the kernel thread's own
//! stack and thread pointer, and it alone steals, polls and sleeps. Every test
//! runs under an allocator that aborts when the rule is broken
//! ([`in_runtime`]).
//!
//! **Publish from the destination.** What follows a switch is done by whoever
//! is switched to ([`arrive`]): only then is the context that was left saved, so
//! that nobody can resume it before. A yielding thread alone is queued before
//! the switch, in the private queue, which nobody else can see.
//!
//! **Off the LWP.** An LWP can leave a kernel thread whose user thread blocks or
//! computes on, at any moment that the user thread is outside the runtime
//! ([`handover`]). Therefore every entry ([`enter`]) asks the owner word whether
//! the LWP is still there. A user thread whose LWP is gone runs on without one,
//! `lwp` null, until it next waits or yields; a light thread that unwinds stays
//! longer, because the panic count is the kernel thread's.

use core::marker::PhantomData;
use core::ptr;

use lisle_lwp::arch::{self, Context};
use lisle_lwp::current;
use lisle_lwp::shim::{Ordering, compiler_fence};

use super::handover;
use super::lwp::{Lwp, count};
use super::stand::{begin, reap};
#[cfg(lisle_asan)]
use crate::footing::Footing;
use crate::hold::{RUNNABLE, SUSPEND_ASKED};
use crate::runtime::Shared;
use crate::tcb::{Kind, Tcb};
use crate::trace;
use crate::watch::Source;

/// What the destination of a switch does about the thread that was left; the
/// low bits of its (aligned) address.
pub(super) const NOTHING: usize = 0;
/// Commit its wait, or make it ready if the wait is over already.
pub(super) const PARK: usize = 1;
/// It has ended: keep its stack for the next one, and its block if its handle has left it.
pub(super) const EXIT: usize = 2;
/// Hold it back until it is resumed.
pub(super) const HOLD: usize = 3;
/// Make it ready.
pub(super) const REQUEUE: usize = 4;
/// Its closure has ended and its donor is to end, too: see [`ending`](super::ending).
pub(super) const END_DONOR: usize = 5;
/// A signal handler has taken it off its kernel thread: see
/// [`preempt`](super::preempt). Only idle contexts are switched to so.
pub(super) const PREEMPTED: usize = 6;
pub(super) const AFTER: usize = 7;

/// The running flow's control block, if it has one.
#[inline(always)]
pub(crate) fn running() -> Option<&'static Tcb> {
    // SAFETY: the word holds null or a control block, and those live for ever.
    unsafe { current::get().cast::<Tcb>().as_ref() }
}

impl Tcb {
    /// The LWP that runs it. A hint for everybody but the holder of the LWP
    /// inside the runtime: see [`enter`].
    #[inline(always)]
    pub(crate) fn own_lwp(&self) -> Option<&'static Lwp> {
        // SAFETY: LWPs outlive the threads they run.
        unsafe { self.lwp.load(Ordering::Relaxed).as_ref() }
    }

    /// The idle context of the kernel thread on which the thread runs; itself
    /// for an idle context.
    ///
    /// # Safety
    /// The calling flow is that thread, and it runs on a kernel thread that
    /// carries an LWP or did when it switched to the thread.
    #[inline(always)]
    pub(super) unsafe fn carrier(&self) -> &'static Tcb {
        // SAFETY: set by whoever switched to the thread; control blocks live for
        // ever.
        unsafe { &*self.carrier.load(Ordering::Relaxed) }
    }
}

/// Enters the runtime as `me`, the running user thread, which is outside it.
/// `None`: it runs without an LWP.
#[inline(always)]
pub(super) fn enter(me: &Tcb) -> Option<&'static Lwp> {
    stay_put(me);
    match me.own_lwp() {
        Some(lwp) if enter_on(me, lwp) => Some(lwp),
        Some(_) => None,
        None => {
            me.inside.store(0, Ordering::Relaxed);
            None
        }
    }
}

/// From here on no signal handler takes `me`, the running thread, off its kernel
/// thread: what is read from now on of LWP and kernel thread stays true.
#[inline(always)]
pub(super) fn stay_put(me: &Tcb) {
    me.inside.store(1, Ordering::Relaxed);
    // The handler runs on this kernel thread: only the compiler could mix the
    // order up.
    compiler_fence(Ordering::SeqCst);
}

/// As [`enter`], with the LWP that runs `me`, which [stays put](stay_put).
#[inline(always)]
fn enter_on(me: &Tcb, lwp: &Lwp) -> bool {
    // SAFETY: the caller runs as `me`.
    lwp.owner.enter(unsafe { &me.carrier().own.holder }) || has_lost_its_lwp(me)
}

/// Notes that the LWP has gone on without the running thread.
#[cold]
fn has_lost_its_lwp(me: &Tcb) -> bool {
    me.lwp.store(ptr::null_mut(), Ordering::Relaxed);
    if me.is_light() {
        current::set_carried(ptr::null());
    }
    me.inside.store(0, Ordering::Relaxed);
    false
}

/// Leaves the runtime as `me`, the running user thread.
#[inline(always)]
pub(super) fn leave(me: &Tcb) {
    // SAFETY: the caller runs as `me`.
    unsafe { me.carrier() }.own.holder.leave();
    // After it, for the handler on this kernel thread.
    compiler_fence(Ordering::SeqCst);
    me.inside.store(0, Ordering::Relaxed);
}

/// Whether the running user thread is inside the runtime.
#[inline(always)]
fn is_inside(me: &Tcb) -> bool {
    me.inside.load(Ordering::Relaxed) != 0
}

/// Whether the calling flow is a user thread inside the runtime, where the
/// entry rule holds. For the allocator of tests; allocates nothing.
pub fn in_runtime() -> bool {
    running().is_some_and(|me| me.is_user() && is_inside(me))
}

/// Calls `f`, inside the runtime, with the running flow and the LWP that it owns;
/// `None` for what is not there.
#[inline]
pub(crate) fn on_lwp<R>(f: impl FnOnce(Option<&'static Tcb>, Option<&'static Lwp>) -> R) -> R {
    let Some(me) = running() else {
        return f(None, None);
    };
    if me.kind() == Kind::Idle || me.is_user() && is_inside(me) {
        return f(Some(me), me.own_lwp());
    }
    let entry = Entry::of(me);
    f(Some(me), entry.lwp())
}

/// A stay inside the runtime, for code that holds one of the runtime's locks.
/// On anything but a user thread with an LWP it does nothing. Must not be kept
/// over a wait.
#[derive(Debug)]
pub(crate) struct Entry(Option<(&'static Tcb, &'static Lwp)>, PhantomData<*mut ()>);

impl Entry {
    /// Enters the runtime as the running thread `me`, unless it is inside
    /// already or runs without an LWP.
    #[inline(always)]
    pub(crate) fn of(me: &'static Tcb) -> Entry {
        let outside = me.is_user() && !is_inside(me);
        let lwp = if outside { enter(me) } else { None };
        Entry(lwp.map(|lwp| (me, lwp)), PhantomData)
    }

    /// As [`Entry::of`], for whatever flow is running.
    #[inline]
    pub(crate) fn new() -> Entry {
        match running() {
            Some(me) => Entry::of(me),
            None => Entry::nowhere(),
        }
    }

    /// Of a flow that has no LWP to enter the runtime on.
    #[inline(always)]
    pub(crate) fn nowhere() -> Entry {
        Entry(None, PhantomData)
    }

    /// The LWP on which this entered the runtime.
    #[inline(always)]
    pub(crate) fn lwp(&self) -> Option<&'static Lwp> {
        self.0.map(|(_, lwp)| lwp)
    }

    /// As [`make_ready`].
    #[inline]
    pub(crate) fn make_ready(&self, thread: &'static Tcb) {
        match self.0 {
            Some((_, lwp)) if ptr::eq(lwp.shared, thread.shared.load(Ordering::Relaxed)) => {
                // SAFETY: a user thread entered the runtime on this LWP.
                unsafe { lwp.push_next(thread) };
            }
            _ => make_ready(thread),
        }
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        if let Some((me, _)) = self.0 {
            leave(me);
        }
    }
}

/// A switch that has been prepared: the caller is inside the runtime, its LWP
/// belongs to the next thread already, and all that is left is to save the
/// caller's context and resume the next one's.
///
/// Preparing and arriving are calls, but the switch itself is inlined into the
/// outermost frame there is, often the user's: a `ret` that pairs with a `call`
/// made by another thread is predicted wrongly and costs several times what the
/// switch does, once per frame.
#[derive(Clone, Copy)]
pub(crate) struct Departure {
    /// The thread that leaves, and what its successor does about it.
    arg: usize,
    /// Where to; empty if the thread is not to leave.
    to: Context,
}

impl Departure {
    const STAY: Departure = Departure {
        arg: 0,
        to: Context::EMPTY,
    };

    /// Leaves; returns when somebody resumes the thread, outside the runtime.
    #[inline(always)]
    pub(crate) fn go(self) {
        if self.to.is_empty() {
            return;
        }
        // SAFETY: the address of the running thread's control block.
        let me: &'static Tcb = unsafe { &*((self.arg & !AFTER) as *const Tcb) };
        // SAFETY: prepared; the context saved here is published by whoever
        // arrives, after it has been saved.
        let arg = unsafe {
            me.context
                .with_mut(|context| arch::switch(context, self.to, self.arg))
        };
        // SAFETY: this is what the resumer passed.
        unsafe { arrive(me, arg) };
    }
}

/// Lets other ready threads run before this one goes on.
#[inline(always)]
pub(crate) fn yield_now() {
    prepare_yield().go();
}

/// Never inlined, so that the address of the thread-local it reads cannot be
/// kept over the switch.
#[inline(never)]
fn prepare_yield() -> Departure {
    // First, while no register holds anything. Inlined, because this function
    // neither switches nor is inlined itself.
    if std::thread::panicking() {
        return prepare_yield_slow();
    }
    // SAFETY: a kernel thread that carries an LWP carries it until it says
    // otherwise, and what runs on it is the current flow: a user thread, or the
    // idle context, which never yields.
    let Some(lwp) = (unsafe { current::carried().cast::<Lwp>().as_ref() }) else {
        return prepare_yield_slow();
    };
    // SAFETY: as above; control blocks live for ever.
    let me: &'static Tcb = unsafe { &*current::get_inlined().cast::<Tcb>() };
    // A light thread, because a full one's second word is null: what runs here
    // cannot change under our hands.
    me.inside.store(1, Ordering::Relaxed);
    if !enter_on(me, lwp) {
        return prepare_yield_slow();
    }
    // SAFETY: we are the owner inside the runtime, and leave our stack before
    // we leave the runtime.
    unsafe {
        // A suspension asked of `me` is seen when `me` is picked next.
        if lwp.is_plain()
            && !lwp.tick()
            && let Some(next) = lwp.give_way_fast(me)
        {
            let departure = Departure {
                arg: ptr::from_ref(me) as usize | NOTHING,
                to: hand_to(me, lwp, next),
            };
            if trace::is_on() {
                return recorded_yield(lwp, next, departure);
            }
            return departure;
        }
    }
    leave(me);
    prepare_yield_slow()
}

/// A call at the very end, so that the common path saves no registers for it.
///
/// # Safety
/// The caller owns the LWP, inside the runtime.
#[cold]
#[inline(never)]
unsafe fn recorded_yield(lwp: &Lwp, next: &Tcb, departure: Departure) -> Departure {
    // SAFETY: passed on.
    unsafe { trace::yielded(lwp, next) };
    departure
}

/// All that is not common. Its own look at the thread keeps the registers of the
/// common path free.
#[cold]
#[inline(never)]
fn prepare_yield_slow() -> Departure {
    let me = running();
    let Some(user) = me.filter(|me| me.is_user()) else {
        return yield_elsewhere(me);
    };
    if user.is_light() && crate::cancel::is_unwinding() {
        return yield_unwinding(user);
    }
    match enter(user) {
        // SAFETY: as in `prepare_yield`.
        Some(lwp) => unsafe { yield_on(user, lwp) },
        None => yield_elsewhere(me),
    }
}

/// The panic count belongs to the kernel thread: the LWP goes on without the
/// thread, which must not move.
#[cold]
fn yield_unwinding(me: &'static Tcb) -> Departure {
    let _ = handover::detach(me);
    yield_elsewhere(Some(me))
}

#[cold]
fn yield_elsewhere(me: Option<&'static Tcb>) -> Departure {
    match me {
        // Off its LWP; but while a light one unwinds it must not move.
        Some(me) if me.is_user() && !(me.is_light() && crate::cancel::is_unwinding()) => {
            handover::leave(me, REQUEUE);
        }
        me => {
            lisle_lwp::sys::sched_yield();
            if let Some(me) = me.filter(|me| !me.is_user()) {
                hold_kernel_thread(me);
            }
        }
    }
    Departure::STAY
}

/// Keeps a suspended thread that has a kernel thread of its own from running.
fn hold_kernel_thread(me: &'static Tcb) {
    if me.suspension.load(Ordering::Relaxed) != RUNNABLE && me.hold() {
        // `resume` makes the thread ready, which wakes the sleeper.
        while me.suspension.load(Ordering::Acquire) != RUNNABLE {
            me.sleeper.sleep(None);
        }
    }
}

/// # Safety
/// As for [`prepare`].
unsafe fn yield_on(me: &'static Tcb, lwp: &Lwp) -> Departure {
    let round_is_over = lwp.tick();
    // SAFETY: passed on; we leave our stack before we leave the runtime.
    unsafe {
        if me.suspension.load(Ordering::Relaxed) != RUNNABLE {
            let next = if round_is_over { None } else { lwp.pick() };
            return prepare(me, lwp, next.unwrap_or(me.carrier()), HOLD);
        }
        if lwp.is_open() {
            // Thieves would see `me` at once: its successor queues it.
            let next = match round_is_over {
                true => Some(me.carrier()),
                false => lwp.pick(),
            };
            if let Some(next) = next {
                return prepare(me, lwp, next, REQUEUE);
            }
        } else if round_is_over {
            lwp.ready().push(me);
            return prepare(me, lwp, me.carrier(), NOTHING);
        } else if let Some(next) = lwp.give_way(me) {
            return prepare(me, lwp, next, NOTHING);
        }
        leave(me);
        Departure::STAY
    }
}

/// Prepares to leave the stack until the armed wait of `me`, the running
/// thread, is resolved.
#[inline(never)]
pub(crate) fn prepare_park(me: &'static Tcb) -> Departure {
    // First, while no register holds anything: what two threads do that take turns.
    stay_put(me);
    if let Some(lwp) = me.own_lwp()
        && lwp.is_simple()
        && me.jobs.is_empty()
        && !trace::is_on()
    {
        // SAFETY: the caller runs as `me`.
        if !lwp.owner.enter_at_once(unsafe { &me.carrier().own.holder }) {
            return prepare_park_offered(me, lwp);
        }
        // SAFETY: we are the owner inside the runtime, and leave our stack before we leave the
        // runtime.
        unsafe {
            if !lwp.is_last_of_round()
                && let Some(next) = lwp.pick_fast()
            {
                lwp.tick();
                return Departure {
                    arg: ptr::from_ref(me) as usize | PARK,
                    to: hand_to(me, lwp, next),
                };
            }
            return prepare_park_on(me, lwp);
        }
    }
    me.inside.store(0, Ordering::Relaxed);
    prepare_park_slow(me)
}

/// Somebody has offered the LWP: takes it back, if it is still there.
#[cold]
#[inline(never)]
fn prepare_park_offered(me: &'static Tcb, lwp: &'static Lwp) -> Departure {
    // SAFETY: the caller runs as `me`.
    let holder = unsafe { &me.carrier().own.holder };
    if lwp.owner.enter_after_all(holder) || has_lost_its_lwp(me) {
        // SAFETY: as in `prepare_park`.
        return unsafe { prepare_park_on(me, lwp) };
    }
    prepare_park_slow(me)
}

/// All that is not common.
#[cold]
#[inline(never)]
fn prepare_park_slow(me: &'static Tcb) -> Departure {
    me.jobs.before_wait();
    let Some(lwp) = enter(me) else {
        if trace::is_on() {
            trace::parked(me);
        }
        handover::leave(me, PARK);
        return Departure::STAY;
    };
    // SAFETY: as in `prepare_yield`.
    unsafe { prepare_park_on(me, lwp) }
}

/// # Safety
/// As for [`prepare`].
#[inline(never)]
unsafe fn prepare_park_on(me: &'static Tcb, lwp: &Lwp) -> Departure {
    // SAFETY: passed on; we leave our stack before we leave the runtime.
    unsafe {
        let next = if lwp.tick() { None } else { lwp.pick() };
        prepare(me, lwp, next.unwrap_or(me.carrier()), PARK)
    }
}

/// Ends the running thread. Its result has been published.
pub(crate) fn exit(me: &'static Tcb) -> ! {
    exit_to(me, EXIT)
}

/// Ends the running thread with its donor, which will publish the result when
/// its thread-local destructors have run.
pub(crate) fn exit_with_donor(me: &'static Tcb) -> ! {
    exit_to(me, END_DONOR)
}

fn exit_to(me: &'static Tcb, after: usize) -> ! {
    let Some(lwp) = enter(me) else {
        handover::leave_for_ever(me, after)
    };
    // One that ends with its donor has not ended: its finale counts it.
    if after == EXIT {
        lwp.counters.threads.count_ended();
    }
    // SAFETY: as in `yield_on`; the thread never comes back, so its context
    // need not be saved.
    unsafe {
        // Ends count as switches: a chain of short threads must not put off
        // the end of a round.
        let next = if lwp.tick() { None } else { lwp.pick() };
        let to = depart(me, lwp, next.unwrap_or(me.carrier()), after);
        arch::switch_final(to, me as *const Tcb as usize | after)
    }
}

/// Hands the LWP from `me` to `next`; returns the context to switch to. `after`: why.
#[inline(always)]
pub(super) unsafe fn depart(me: &Tcb, lwp: &Lwp, next: &'static Tcb, after: usize) -> Context {
    if lwp.timed {
        settle_time(me, lwp);
    }
    // SAFETY: passed on; the caller owns the LWP.
    unsafe {
        let to = hand_to(me, lwp, next);
        if trace::is_on() {
            match after {
                PARK => trace::parked_and_switched(lwp, me, next),
                _ => trace::switched(lwp, next),
            }
        }
        to
    }
}

/// As [`depart`], without a look at the clock.
#[inline(always)]
unsafe fn hand_to(me: &Tcb, lwp: &Lwp, next: &'static Tcb) -> Context {
    // SAFETY: `next` is ready or idle and belongs to this LWP now.
    let is_new = next.context.with(|context| unsafe { *context }).is_empty();
    if is_new {
        // Before the thread pointer changes, for it takes a lock.
        // SAFETY: passed on; only who has not begun has an empty one.
        unsafe { begin(next, lwp) };
    }
    // SAFETY: the caller runs as `me`.
    let carrier = unsafe { me.carrier() };
    me.lwp.store(ptr::null_mut(), Ordering::Relaxed);
    next.lwp
        .store(ptr::from_ref(lwp).cast_mut(), Ordering::Relaxed);
    next.carrier
        .store(ptr::from_ref(carrier).cast_mut(), Ordering::Relaxed);
    carrier
        .own
        .runs
        .store(ptr::from_ref(next).cast_mut(), Ordering::Relaxed);
    count(&next.switches, 1);
    // SAFETY: the slot is that of this kernel thread.
    carrier
        .own
        .slot
        .with(|slot| unsafe { (**slot).set(ptr::from_ref(next).cast()) });
    let pointers = (
        me.thread_pointer.load(Ordering::Relaxed),
        next.thread_pointer.load(Ordering::Relaxed),
    );
    if pointers != (0, 0) {
        // SAFETY: from here to the switch nothing uses a thread-local, and the
        // flow that is switched to is the pointer's owner.
        unsafe { change_pointer(carrier, pointers.1) };
    }
    // SAFETY: as above.
    next.context.with(|context| unsafe { *context })
}

/// Makes `pointer`, or the kernel thread's own if it is 0, the thread pointer.
///
/// *Whose thread pointer is set when*: while a full thread runs, its own; while
/// a light thread or the idle context runs, the kernel thread's. So switching
/// among light threads writes nothing, and everything else once.
///
/// # Safety
/// The caller runs on the carrier's kernel thread and is about to switch to the
/// pointer's owner, without touching a thread-local in between.
#[inline(never)]
pub(super) unsafe fn change_pointer(carrier: &Tcb, pointer: usize) {
    let pointer = if pointer == 0 {
        carrier.own.pointer.load(Ordering::Relaxed)
    } else {
        pointer
    };
    // SAFETY: passed on.
    unsafe { arch::native::set_thread_pointer(pointer) };
}

/// Charges the time since the last switch to the thread that leaves.
#[cold]
pub(super) fn settle_time(me: &Tcb, lwp: &Lwp) {
    let now = lwp.shared().clock.now();
    if me.charge(now.saturating_sub(lwp.since.replace(now))) {
        // The idle context tells: here nobody can.
        let [last, _] = lwp.over_limit.get();
        lwp.over_limit.set([me.id.load(Ordering::Relaxed), last]);
        lwp.end_round_soon();
    }
}

/// Prepares a switch from `me` to `next`.
///
/// # Safety
/// The caller runs as `me` on `lwp`, inside the runtime; `next` is ready and in
/// no queue, or the LWP's idle context.
#[inline(always)]
unsafe fn prepare(me: &'static Tcb, lwp: &Lwp, next: &'static Tcb, after: usize) -> Departure {
    // SAFETY: passed on.
    let to = unsafe { depart(me, lwp, next, after) };
    Departure {
        arg: me as *const Tcb as usize | after,
        to,
    }
}

/// Does what follows a switch, as the user thread that was switched to.
///
/// # Safety
/// `arg` is what the last switch to `me` passed.
#[inline(always)]
pub(crate) unsafe fn arrive(me: &'static Tcb, arg: usize) {
    #[cfg(lisle_asan)]
    stand(me);
    // SAFETY: set by `depart`, which switched to us on that LWP.
    let lwp = unsafe { &*me.lwp.load(Ordering::Relaxed) };
    if arg & AFTER != NOTHING {
        // SAFETY: passed on; we are the owner inside the runtime.
        unsafe { follow_up(lwp, arg) };
    }
    leave(me);
}

/// Tells the checker of memory on which stack a light thread has arrived.
#[cfg(lisle_asan)]
fn stand(me: &Tcb) {
    // SAFETY: nobody touches the footing of a thread that runs.
    me.footing.with(|footing| match unsafe { &*footing } {
        Some(Footing::Stack(stack)) => {
            lisle_lwp::checkers::standing_on(stack.limit(), stack.end());
        }
        _ => {}
    });
}

/// Does what follows a switch about the thread that was left.
///
/// # Safety
/// As for [`arrive`]; the caller owns the LWP, inside the runtime.
#[inline(never)]
pub(super) unsafe fn follow_up(lwp: &Lwp, arg: usize) {
    // SAFETY: the address of a control block, and those live for ever.
    let left: &'static Tcb = unsafe { &*((arg & !AFTER) as *const Tcb) };
    // First, while no register holds anything, what threads that take turns do.
    if arg & AFTER != PARK || !left.wait.commit_at_once() {
        // SAFETY: passed on.
        unsafe { follow_up_otherwise(lwp, left, arg & AFTER) };
    }
}

/// All that is not common.
///
/// # Safety
/// As for [`arrive`]; the wait of a parked thread could not be committed at once.
#[inline(never)]
unsafe fn follow_up_otherwise(lwp: &Lwp, left: &'static Tcb, after: usize) {
    let requeue = match after {
        PARK => !left.wait.commit_after_all(),
        EXIT => {
            // SAFETY: passed on.
            unsafe { reap(lwp, left) };
            false
        }
        HOLD => !left.hold(),
        END_DONOR => {
            // SAFETY: passed on.
            unsafe { super::ending::note(lwp, left) };
            false
        }
        _ => true,
    };
    if requeue {
        // SAFETY: its context is saved and nobody else has it.
        unsafe { lwp.push(left) };
    }
}

/// Makes a thread ready whose wait the caller has resolved, or whose hold it
/// has ended.
///
/// Never inlined, because it touches a thread-local itself.
#[inline(never)]
pub(crate) fn make_ready(thread: &'static Tcb) {
    debug_assert!(thread.is_user());
    // SAFETY: the word holds null or a control block, and those live for ever.
    let me = unsafe { current::get_inlined().cast::<Tcb>().as_ref() };
    if let Some(me) = me
        && me.is_user()
        && !is_inside(me)
        && let Some(lwp) = enter(me)
    {
        let own = ptr::eq(lwp.shared, thread.shared.load(Ordering::Relaxed));
        if own {
            // SAFETY: this kernel thread owns the LWP inside the runtime.
            unsafe { lwp.push_next(thread) };
        }
        leave(me);
        if own {
            return;
        }
    }
    make_ready_otherwise(me, thread);
}

/// From inside the runtime, from an idle context, or for another runtime.
#[cold]
#[inline(never)]
fn make_ready_otherwise(me: Option<&'static Tcb>, thread: &'static Tcb) {
    let inside = me.filter(|me| me.kind() == Kind::Idle || me.is_user() && is_inside(me));
    let lwp = inside.and_then(Tcb::own_lwp);
    match lwp.filter(|lwp| ptr::eq(lwp.shared, thread.shared.load(Ordering::Relaxed))) {
        // SAFETY: this kernel thread owns the LWP inside the runtime, and so it stays.
        Some(lwp) if inside.is_some_and(Tcb::is_user) => unsafe { lwp.push_next(thread) },
        // SAFETY: as above.
        Some(lwp) => unsafe { lwp.push(thread) },
        None => inject(thread),
    }
}

/// Makes a thread ready from outside its runtime's LWPs.
pub(crate) fn inject(thread: &'static Tcb) {
    // SAFETY: a runtime outlives its threads (it is leaked with survivors).
    let shared = unsafe { &*thread.shared.load(Ordering::Relaxed) };
    // Once pushed, the thread may run and end, and its runtime with it.
    let _keep = shared.keep();
    shared.injector.push(thread);
    shared.announce();
}

/// Gives way if the running thread's slice is over. Called where the thread has
/// just made another one ready, outside the runtime.
#[inline(always)]
pub(crate) fn end_of_slice() {
    let Some(me) = running().filter(|me| me.is_user()) else {
        return;
    };
    match me.own_lwp() {
        Some(lwp) if lwp.timed => end_of_slice_on(me),
        Some(_) => {}
        // It came back from blocking: a full thread may go on on an LWP here, a
        // light one where it waits.
        None if !me.is_light() => yield_now(),
        None => {}
    }
}

#[cold]
fn end_of_slice_on(me: &'static Tcb) {
    let over = {
        let entry = Entry::of(me);
        let Some(lwp) = entry.lwp() else { return };
        let shared = lwp.shared();
        match &shared.slice {
            Some(slice) => {
                slice.as_nanos() <= u128::from(shared.clock.now().saturating_sub(lwp.since.get()))
            }
            None => shared.choose_to_give_way(),
        }
    };
    if over {
        yield_now();
    }
}

/// Offers the running thread's LWP to whoever wants it, outside the runtime: the
/// thread is going to block.
pub(crate) fn offer_own_lwp() {
    let Some(me) = running().filter(|me| me.is_user()) else {
        return;
    };
    if is_inside(me) {
        return;
    }
    if let Some(lwp) = enter(me) {
        let why = crate::watch::Kind::Blocked as u8;
        lwp.offered_for.store(why, Ordering::Relaxed);
        // Who blocked last time is believed to do so again, and those who are ready
        // need not wait until somebody notices. A wrong guess costs a wake-up.
        // SAFETY: inside.
        let presses = me.was_left.load(Ordering::Relaxed) != 0 && unsafe { lwp.has_work() };
        // SAFETY: the caller runs as `me`.
        lwp.owner
            .offer_and_leave(unsafe { &me.carrier().own.holder });
        me.inside.store(0, Ordering::Relaxed);
        let shared = lwp.shared();
        if shared.clock.is_virtual() {
            return;
        }
        if shared.watch.source == Source::Off {
            // Nobody else looks.
            send_a_spare(shared, lwp);
        } else if presses {
            crate::watch::send_if_one_waits(shared, lwp);
        }
    }
}

#[cold]
#[inline(never)]
fn send_a_spare(shared: &Shared, lwp: &Lwp) {
    if !lwp.coming.is_any()
        && let Ok(spare) = shared.spare()
    {
        spare.go(lwp);
    }
}

/// The running thread has blocked and is back: if its LWP has gone on without
/// it, waits for one.
pub(crate) fn come_back() {
    let Some(me) = running().filter(|me| me.is_user()) else {
        return;
    };
    // Takes an offer back.
    drop(Entry::of(me));
    let was_left = me.own_lwp().is_none();
    me.was_left.store(u8::from(was_left), Ordering::Relaxed);
    if was_left {
        yield_now();
    }
}

/// Asks for a suspension, or ends one: see `Thread::suspend`.
pub(crate) fn resume(thread: &'static Tcb) {
    let_go(thread, SUSPEND_ASKED);
}

/// Ends one reason for holding the thread.
pub(crate) fn let_go(thread: &'static Tcb, why: u8) {
    if thread.let_go(why) {
        if thread.is_user() {
            make_ready(thread);
        } else {
            thread.sleeper.wake();
        }
    }
}
