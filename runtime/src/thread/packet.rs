//! What a spawn leaves on the new thread's stack: the closure, and room for its
//! result.
//!
//! ```text
//!  top of the stack
//!  ┌──────────────────────────────┐
//!  │ body: F, moved out at start  │ Packet<F, T>, repr(C)
//!  │ result: thread::Result<T>    │ ◄── the handle's pointer
//!  ├──────────────────────────────┤
//!  │ first frame, then the stack  │
//! ```
//!
//! The result lies there until thread *and* handle are done with it: see
//! [`join`](crate::join).

// Not the shim's: stacks are not in models.
#[allow(clippy::disallowed_types)]
use core::cell::UnsafeCell;
use core::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{io, thread};

use lisle_lwp::arch::{self, Context};
use lisle_lwp::shim::Ordering;
use lisle_lwp::stack::Stack;

use crate::sched::{arrive, exit, running};
use crate::tcb::Tcb;
use crate::thread::local;

/// Room for a result.
#[allow(clippy::disallowed_types)]
pub(super) type Slot<T> = UnsafeCell<MaybeUninit<thread::Result<T>>>;

#[repr(C)]
struct Packet<F, T> {
    result: Slot<T>,
    body: ManuallyDrop<F>,
}

/// Puts a closure on a stack and makes the context that runs it.
///
/// # Errors
/// If closure and result would take more than a twelfth of the stack: unoptimized
/// code copies them several times.
pub(super) fn place<F, T>(stack: &Stack, body: F) -> io::Result<(Context, *mut Slot<T>)>
where
    F: FnOnce() -> T,
{
    let size = size_of::<Packet<F, T>>() + align_of::<Packet<F, T>>();
    if size > stack.size() / 12 {
        let why = format!(
            "a closure and result of {size} bytes would take more than a twelfth of a stack of \
             {} bytes: box them, or ask for a larger stack",
            stack.size()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let below = stack.top() as usize - size_of::<Packet<F, T>>();
    let aligned = below & !(align_of::<Packet<F, T>>() - 1) & !15;
    let packet = stack.top().with_addr(aligned).cast::<Packet<F, T>>();
    // SAFETY: the place is in the upper part of a stack that is ours, aligned;
    // what lies below `packet` is free for the first frame.
    unsafe {
        (&raw mut (*packet).body).write(ManuallyDrop::new(body));
        let context = arch::init(packet.cast(), start::<F, T>, packet.cast());
        Ok((context, (&raw mut (*packet).result)))
    }
}

/// Takes back what [`place`] put on a stack: drops the closure.
///
/// # Safety
/// The slot comes from `place`, with these types, and the thread never ran.
pub(super) unsafe fn unplace<F: FnOnce() -> T, T>(slot: *mut Slot<T>) {
    let packet = slot.cast::<Packet<F, T>>();
    // SAFETY: `result` is the packet's first field; the body is still there.
    unsafe { ManuallyDrop::drop(&mut (*packet).body) };
}

/// The first function of every light thread.
unsafe extern "C" fn start<F: FnOnce() -> T, T>(arg: usize, data: *mut ()) -> ! {
    let me = running().expect("whoever switched here has said to whom");
    // SAFETY: `arg` is what the first switch passed; `data` is what `place`
    // wrote, and the body is taken once.
    let (body, result) = unsafe {
        arrive(me, arg);
        let packet = data.cast::<Packet<F, T>>();
        (
            ManuallyDrop::take(&mut (*packet).body),
            &raw const (*packet).result,
        )
    };
    // SAFETY: the slot outlives the thread's use of it.
    run(me, body, unsafe { &*result });
    if !me.is_user() {
        // In a forked child the process has no other thread: it ends with this
        // one, as with the last thread of any process.
        // SAFETY: plain libc exit.
        unsafe { libc::exit(0) }
    }
    exit(me)
}

/// Runs a thread's body to its end and publishes the result.
pub(super) fn run<F: FnOnce() -> T, T>(me: &'static Tcb, body: F, result: &Slot<T>) {
    let outcome = catch_unwind(AssertUnwindSafe(body));
    or_abort(LOCAL_PANICKED, || local::destroy_all(me));
    // SAFETY: nobody reads the slot before `finish`, nobody else writes it.
    unsafe { (*result.get()).write(outcome) };
    me.terminated.store(1, Ordering::Relaxed);
    if me.join.finish() {
        // SAFETY: written above; the handle is gone and will not read it.
        let outcome = unsafe { (*result.get()).assume_init_read() };
        or_abort("a detached thread's result panicked on drop", || {
            drop(outcome);
        });
    }
    // The joiner's waker and the result may have used locals again.
    or_abort(LOCAL_PANICKED, || local::destroy_all(me));
}

const LOCAL_PANICKED: &str = "a destructor of a user thread's local panicked";

/// Where std aborts, so does lisle: nobody is left who could be told.
fn or_abort(what: &str, f: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(f)).is_err() {
        lisle_lwp::sys::write_stderr(b"fatal runtime error: ");
        lisle_lwp::sys::write_stderr(what.as_bytes());
        lisle_lwp::sys::write_stderr(b", aborting\n");
        std::process::abort();
    }
}
