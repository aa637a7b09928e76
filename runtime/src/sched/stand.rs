//! What a user thread stands on: where it comes from, and where it goes.
//!
//! ```text
//!   spawn: a promise, or a donor ──► first switch: a stack (`begin`) ──► runs
//!   last switch ──► kept by the LWP that arrives next (`reap`), or by the pools (`reap_elsewhere`)
//! ```
//!
//! *Invariants*: the context of a light thread is empty until it begins, so that who is about to switch to it sees
//! that it has no stack. Until then it has a promise of the pool, and that is kept without a system call. What a thread stood on goes when it has left it, whether or not its handle has; its
//! control block when both have ([`join`](crate::join)).

use core::ptr;

use lisle_lwp::arch::{self, Context, Entry};
use lisle_lwp::stack::{Stack, StackCache, StackSize};

use super::lwp::Lwp;
use super::switch;
use crate::footing::Footing;
use crate::pool;
use crate::tcb::Tcb;

/// Gives a thread that is about to begin the stack that it was promised, with a context on it.
///
/// # Safety
/// The caller owns the LWP, inside the runtime, and has the thread.
#[inline(never)]
pub(super) unsafe fn begin(thread: &Tcb, lwp: &Lwp) {
    // SAFETY: by contract nobody else touches the LWP's stacks.
    let stacks = unsafe { &mut *lwp.stacks.get() };
    let (class, first) = promised(thread);
    match stacks.take_own_promised(class) {
        // SAFETY: passed on.
        Some(stack) => unsafe { begin_on(thread, stack, first) },
        // SAFETY: passed on.
        None => unsafe { begin_elsewhere(thread, stacks, class, first) },
    }
}

/// As [`begin`], with a stack from the pool.
///
/// # Safety
/// As there.
#[cold]
#[inline(never)]
unsafe fn begin_elsewhere(thread: &Tcb, stacks: &mut StackCache, class: StackSize, first: Entry) {
    // SAFETY: passed on.
    unsafe { begin_on(thread, stacks.take_promised(class), first) };
}

/// What a thread has been promised that has not begun.
#[inline(always)]
fn promised(thread: &Tcb) -> (StackSize, Entry) {
    // SAFETY: nobody else touches the footing of a thread that is about to begin.
    thread.footing.with(|footing| match unsafe { &*footing } {
        Some(Footing::Promise(class, first)) => (*class, *first),
        _ => unreachable!("who has no stack has been promised one"),
    })
}

/// # Safety
/// As for [`begin`]; the thread has a promise.
#[inline(always)]
unsafe fn begin_on(thread: &Tcb, stack: Stack, first: Entry) {
    // SAFETY: the stack is ours; nobody else touches footing and context, and a promise has nothing to drop.
    unsafe {
        let context = arch::init(stack.top(), first, ptr::null_mut());
        thread.context.with_mut(|saved| *saved = context);
        let standing = Some(Footing::Stack(stack));
        thread.footing.with_mut(|footing| footing.write(standing));
    }
}

/// An ended thread has left its stack for ever: that is the next one's. Its block is, too, if its handle has left.
///
/// # Safety
/// As it says; the caller is `lwp`'s owner inside the runtime.
pub(super) unsafe fn reap(lwp: &Lwp, ended: &'static Tcb) {
    // SAFETY: passed on.
    unsafe { keep_footing(lwp, ended) };
    if ended.join.exited() {
        // SAFETY: owner only, no other reference to the cache is alive.
        pool::release(ended, Some(unsafe { &mut *lwp.blocks.get() }));
    }
}

/// As [`reap`], for a thread that ended off its LWP.
pub(super) fn reap_elsewhere(ended: &'static Tcb) {
    // SAFETY: the thread has left it for ever.
    unsafe { give_footing_back(ended) };
    if ended.join.exited() {
        pool::release(ended, None);
    }
}

/// Frees the control block of a thread, and what the thread stands on if it never began.
///
/// # Safety
/// Thread and handle have both left, the caller as the second; or nobody has seen the thread.
pub(crate) unsafe fn free(ended: &'static Tcb) {
    let entry = switch::Entry::new();
    match entry.lwp() {
        // SAFETY: passed on; owner inside the runtime, no other reference to the cache is alive.
        Some(lwp) => unsafe {
            keep_footing(lwp, ended);
            pool::release(ended, Some(&mut *lwp.blocks.get()));
        },
        None => {
            // SAFETY: passed on.
            unsafe { give_footing_back(ended) };
            pool::release(ended, None);
        }
    }
}

/// Keeps what a thread stood on for the next ones of this LWP.
///
/// # Safety
/// Nobody stands on it any more; the caller is `lwp`'s owner inside the runtime.
unsafe fn keep_footing(lwp: &Lwp, of: &Tcb) {
    // SAFETY: passed on; no other reference to the caches is alive.
    unsafe {
        match take_footing(of) {
            None => {}
            Some(Footing::Stack(stack)) => (*lwp.stacks.get()).give(stack),
            Some(Footing::Promise(class, _)) => (*lwp.stacks.get()).forget_promise(class),
            Some(Footing::Donor(donor)) => lwp.keep_donor(donor),
        }
    }
}

/// As [`keep_footing`], where there is no LWP.
///
/// # Safety
/// Nobody stands on it any more.
unsafe fn give_footing_back(of: &Tcb) {
    // SAFETY: passed on.
    if let Some(footing) = unsafe { take_footing(of) } {
        footing.give_back();
    }
}

/// # Safety
/// Nobody stands on it any more.
unsafe fn take_footing(of: &Tcb) -> Option<Footing> {
    // SAFETY: by contract.
    unsafe {
        of.context.with_mut(|context| *context = Context::EMPTY);
        of.footing.with_mut(|footing| (*footing).take())
    }
}
