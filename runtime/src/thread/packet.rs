//! What a spawn leaves on the new thread's stack: the closure, and room for its
//! result.
//!
//! ```text
//!  top of the stack
//!  ┌──────────────────────────────┐
//!  │ body: F, moved out at start  │ Packet<F, T>, repr(C)
//!  │ scope, if it has one         │
//!  │ result: thread::Result<T>    │ ◄── the handle's pointer
//!  ├──────────────────────────────┤
//!  │ first frame, then the stack  │
//! ```
//!
//! The result lies there until thread *and* handle are done with it: see
//! [`join`](crate::join). A thread that takes its donor with it
//! ([`fresh`](super::fresh)) has its result elsewhere.

// Not the shim's: stacks are not in models.
#[allow(clippy::disallowed_types)]
use core::cell::UnsafeCell;
use core::mem::{ManuallyDrop, MaybeUninit};
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{io, thread};

use lisle_lwp::arch::{self, Context};
use lisle_lwp::checkers;
use lisle_lwp::shim::Ordering;

use crate::cancel::Cancelled;
use crate::footing::Footing;
use crate::gate::Gate;
use crate::sched::{arrive, exit, running};
use crate::tcb::Tcb;
use crate::thread::local;

/// Room for a result.
#[allow(clippy::disallowed_types)]
pub(super) type Slot<T> = UnsafeCell<MaybeUninit<thread::Result<T>>>;

#[repr(C)]
struct Packet<F, T> {
    result: Slot<T>,
    scope: Option<Arc<Gate>>,
    body: ManuallyDrop<F>,
}

/// The part of a stack that closure and result may take: unoptimized code copies them
/// several times.
const SHARE: usize = 12;

/// How large a stack is to be, for this closure and result to take no more of it than they may;
/// 0 for any that there is.
pub(super) const fn wants<F, T>() -> usize {
    let layout = Layout::new::<Packet<F, T>>();
    // Guard and colour are not to be used.
    match (layout.size() + layout.align()) * (SHARE + 1) {
        small if small < 32 << 10 => 0,
        size => size + (16 << 10),
    }
}

/// Puts a closure on a stack and makes the context that runs it.
///
/// # Errors
/// If closure and result would take more than a twelfth of the stack.
pub(super) fn place<F, T>(
    footing: &Footing,
    body: F,
    scope: Option<Arc<Gate>>,
) -> io::Result<(Context, *mut Slot<T>)>
where
    F: FnOnce() -> T,
{
    let layout = Layout::new::<Packet<F, T>>();
    let packet = room(footing, layout)?.cast::<Packet<F, T>>();
    // SAFETY: room of this layout, ours; what lies below `packet` is free for the
    // first frame.
    unsafe {
        (&raw mut (*packet).body).write(ManuallyDrop::new(body));
        (&raw mut (*packet).scope).write(scope);
        let context = arch::init(packet.cast(), start::<F, T>, packet.cast());
        Ok((context, (&raw mut (*packet).result)))
    }
}

/// Room at the top of a stack that is ours, 16-aligned at least.
///
/// # Errors
/// As for [`place`].
pub(super) fn room(footing: &Footing, layout: Layout) -> io::Result<*mut u8> {
    let size = layout.size() + layout.align();
    if size > footing.size() / SHARE {
        let why = format!(
            "a closure and result of {size} bytes would take more than a twelfth of a stack of \
             {} bytes: box them, or ask for a larger stack",
            footing.size()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let low = footing.top().wrapping_sub(footing.size());
    // SAFETY: the caller's own stack, on which nobody stands.
    unsafe { checkers::abandoned(low, footing.top()) };
    let below = footing.top() as usize - layout.size();
    Ok(footing.top().with_addr(below & !(layout.align() - 1) & !15))
}

/// Takes back what [`place`] put on a stack: drops the closure.
///
/// # Safety
/// The slot comes from `place`, with these types, and the thread never ran.
pub(super) unsafe fn unplace<F: FnOnce() -> T, T>(slot: *mut Slot<T>) {
    let packet = slot.cast::<Packet<F, T>>();
    // SAFETY: `result` is the packet's first field; the rest is still there.
    unsafe {
        ManuallyDrop::drop(&mut (*packet).body);
        (&raw mut (*packet).scope).drop_in_place();
    }
}

/// The first function of a thread.
unsafe extern "C" fn start<F: FnOnce() -> T, T>(arg: usize, data: *mut ()) -> ! {
    let me = running().expect("whoever switched here has said to whom");
    // SAFETY: `arg` is what the first switch passed; `data` is what `place`
    // wrote, and the body is taken once.
    let (body, scope, result) = unsafe {
        arrive(me, arg);
        let packet = data.cast::<Packet<F, T>>();
        (
            (&raw const (*packet).body).cast::<F>(),
            (&raw const (*packet).scope).read(),
            &(*packet).result,
        )
    };
    // SAFETY: as above; the slot outlives the thread's use of it.
    unsafe { run(me, body, scope, result) };
    end_forked_child(me);
    exit(me)
}

/// In a forked child the process has no other thread: it ends with this one, as
/// with the last thread of any process.
pub(super) fn end_forked_child(me: &'static Tcb) {
    if !me.is_user() {
        // SAFETY: plain libc exit.
        unsafe { libc::exit(0) }
    }
}

/// Runs a thread's body to its end and publishes the result.
///
/// # Safety
/// As [`run_body`].
pub(super) unsafe fn run<F: FnOnce() -> T, T>(
    me: &'static Tcb,
    body: *const F,
    scope: Option<Arc<Gate>>,
    result: &Slot<T>,
) {
    // SAFETY: passed on; the result is written then.
    unsafe {
        run_body(me, body, result);
        publish(me, scope, result);
    }
}

/// Runs a thread's body to its end and leaves the result in the slot. The body
/// is moved out of its place only to be called: unoptimized code would copy it
/// at every step on the way.
///
/// # Safety
/// The body is there, and is not used again.
pub(super) unsafe fn run_body<F: FnOnce() -> T, T>(
    me: &'static Tcb,
    body: *const F,
    result: &Slot<T>,
) {
    // SAFETY: by contract.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { body.read() }()));
    crate::cancel::caught(me);
    or_abort(LOCAL_PANICKED, || local::destroy_all(me));
    // SAFETY: nobody reads the slot before `finish`, nobody else writes it.
    unsafe { (*result.get()).write(outcome) };
}

/// Tells who waits for the result that it is there.
///
/// # Safety
/// It is.
pub(super) unsafe fn publish<T>(me: &'static Tcb, scope: Option<Arc<Gate>>, result: &Slot<T>) {
    if crate::trace::is_on() {
        crate::trace::exited();
    }
    me.terminated.store(1, Ordering::Relaxed);
    let mut panicked = false;
    if me.join.finish() {
        // SAFETY: by contract; the handle is gone and will not read it.
        let outcome = unsafe { (*result.get()).assume_init_read() };
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
