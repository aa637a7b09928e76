//! What a thread begins with and what it leaves: both lie in the [room](super::room) of its control block.
//!
//! ```text
//!   spawn ──► Packet: scope, closure ──► taken when the thread begins
//!             result ──► told to who waits for it ──► taken by the handle, or dropped by the thread
//! ```
//!
//! The result stays there until thread *and* handle are done with it: see [`join`](crate::join). So a thread's stack
//! can be somebody else's as soon as the thread has left it.

use core::mem::ManuallyDrop;
use std::alloc::{Layout, handle_alloc_error};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{io, thread};

use lisle_lwp::shim::Ordering;

use super::launch::New;
use super::room::Room;
use crate::cancel::Cancelled;
use crate::gate::Gate;
use crate::sched::{arrive, exit, running};
use crate::tcb::Tcb;
use crate::thread::local;

struct Packet<F> {
    scope: Option<Arc<Gate>>,
    body: F,
}

/// The part of a stack that closure and result may take: unoptimized code copies them
/// several times.
const SHARE: usize = 12;

/// How much closure and result take.
const fn size<F, T>() -> usize {
    let (body, result) = (Layout::new::<F>(), Layout::new::<thread::Result<T>>());
    body.size() + body.align() + result.size() + result.align()
}

/// How large a stack is to be, for this closure and result to take no more of it than they may;
/// 0 for any that there is.
pub(super) const fn wants<F, T>() -> usize {
    // Guard and colour are not to be used.
    match size::<F, T>() * (SHARE + 1) {
        small if small < 32 << 10 => 0,
        size => size + (16 << 10),
    }
}

/// Puts into the room what a thread begins with.
///
/// # Errors
/// If closure and result would take more than a twelfth of what the thread stands on, or there is no memory.
///
/// # Safety
/// Nobody else has seen the thread.
#[inline]
pub(super) unsafe fn put<F, T>(new: &New, body: F, scope: Option<Arc<Gate>>) -> io::Result<()> {
    let stack = new.footing(|footing| footing.size());
    if size::<F, T>() > stack / SHARE {
        return Err(too_large(size::<F, T>(), stack));
    }
    // SAFETY: by contract. Both are written in place: unoptimized code copies what it passes on.
    unsafe {
        let packet = new.block().room.make::<Packet<F>>();
        if packet.is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        (&raw mut (*packet).scope).write(scope);
        (&raw mut (*packet).body).write(body);
    }
    Ok(())
}

#[cold]
fn too_large(size: usize, stack: usize) -> io::Error {
    let why = format!(
        "a closure and result of {size} bytes would take more than a twelfth of a stack of {stack} bytes: box them, \
         or ask for a larger stack"
    );
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Takes back what [`put`] has put there, and drops it.
///
/// # Safety
/// The thread has not begun and never will.
pub(super) unsafe fn take_back<F>(room: &Room) {
    // SAFETY: by contract.
    unsafe {
        let packet = room.place::<Packet<F>>();
        packet.drop_in_place();
        Room::clear(packet);
    }
}

/// The first function of a thread.
///
/// # Safety
/// As [`run`]; `arg` is what the first switch passes.
pub(super) unsafe extern "C" fn start<F: FnOnce() -> T, T>(arg: usize, _: *mut ()) -> ! {
    let me = running().expect("whoever switched here has said to whom");
    // SAFETY: passed on; the result is there then.
    unsafe {
        arrive(me, arg);
        let scope = run::<F, T>(me);
        publish::<T>(me, scope);
    }
    end_forked_child(me);
    exit(me)
}

/// Runs what a thread begins with and leaves the result in the room; returns the scope.
///
/// # Safety
/// The caller runs as `me`, for which such a closure [was put there](put).
pub(super) unsafe fn run<F: FnOnce() -> T, T>(me: &'static Tcb) -> Option<Arc<Gate>> {
    // SAFETY: by contract. Scope and body are moved out of their place, the body only to be called; a result is put there
    // when nothing else is.
    unsafe {
        let packet = me.room.place::<Packet<F>>();
        let scope = (&raw const (*packet).scope).read();
        let outcome = call(me, &raw const (*packet).body);
        Room::clear(packet);
        leave(me, outcome);
        scope
    }
}

/// In a forked child the process has no other thread: it ends with this one, as
/// with the last thread of any process.
pub(super) fn end_forked_child(me: &'static Tcb) {
    if !me.is_user() {
        // SAFETY: plain libc exit.
        unsafe { libc::exit(0) }
    }
}

/// Runs a thread's body to its end and leaves the result in the room, for a thread whose kernel thread has the body.
///
/// # Safety
/// The caller runs as `me`, whose room is empty.
pub(super) unsafe fn run_here<F: FnOnce() -> T, T>(me: &'static Tcb, body: F) {
    let body = ManuallyDrop::new(body);
    // SAFETY: moved out here only; the rest by contract.
    unsafe {
        let outcome = call(me, (&raw const body).cast::<F>());
        leave(me, outcome);
    }
}

/// Leaves the result in the room.
///
/// # Safety
/// The caller runs as `me`, whose room is empty.
unsafe fn leave<T>(me: &Tcb, outcome: thread::Result<T>) {
    // SAFETY: by contract.
    unsafe {
        let place = me.room.make::<thread::Result<T>>();
        if place.is_null() {
            handle_alloc_error(Layout::new::<thread::Result<T>>());
        }
        place.write(outcome);
    }
}

/// Runs a thread's body to its end. It is moved out of its place only to be called: unoptimized code would copy it at
/// every step on the way.
///
/// # Safety
/// The body is there, and is not used again.
unsafe fn call<F: FnOnce() -> T, T>(me: &'static Tcb, body: *const F) -> thread::Result<T> {
    // SAFETY: by contract.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { body.read() }()));
    crate::cancel::caught(me);
    or_abort(LOCAL_PANICKED, || local::destroy_all(me));
    outcome
}

/// Tells who waits for the result that it is there.
///
/// # Safety
/// It is.
pub(super) unsafe fn publish<T>(me: &'static Tcb, scope: Option<Arc<Gate>>) {
    if crate::trace::is_on() {
        crate::trace::exited();
    }
    me.terminated.store(1, Ordering::Relaxed);
    let mut panicked = false;
    if me.join.finish() {
        // SAFETY: by contract; the handle is gone and will not read it.
        let outcome = unsafe { me.room.take::<thread::Result<T>>() };
        panicked = is_panic(&outcome);
        or_abort("a detached thread's result panicked on drop", || {
            drop(outcome);
        });
    }
    if let Some(scope) = scope {
        scope.leave(panicked);
    }
    // The joiner's waker and the result may have used locals again.
    or_abort(LOCAL_PANICKED, || local::destroy_all(me));
}

/// Whether a thread ended with a panic, rather than a cancel.
pub(super) fn is_panic<T>(outcome: &thread::Result<T>) -> bool {
    matches!(outcome, Err(payload) if !payload.is::<Cancelled>())
}

const LOCAL_PANICKED: &str = "a destructor of a user thread's local panicked";

/// Where std aborts, so does lisle: nobody is left who could be told.
fn or_abort(what: &str, f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // Dropping it might panic again.
        core::mem::forget(payload);
        lisle_lwp::sys::write_stderr(b"fatal runtime error: ");
        lisle_lwp::sys::write_stderr(what.as_bytes());
        lisle_lwp::sys::write_stderr(b", aborting\n");
        std::process::abort();
    }
}
