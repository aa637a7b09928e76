//! Threads with a kernel thread of their own.

use std::io;
use std::sync::Arc;

use lisle_lwp::current;
use lisle_lwp::shim::Ordering;
use lisle_lwp::sys::{self, Call};

use super::builder::Builder;
use super::handle::{Home, JoinHandle};
use super::packet::{self, Slot};
use crate::current::me;
use crate::gate::Gate;
use crate::pool;
use crate::tcb::{Kind, Tcb};

/// Spawns a bound thread.
///
/// # Safety
/// As [`Builder::launch`].
pub(super) unsafe fn spawn<F, T>(
    settings: &Builder,
    name: Option<Box<str>>,
    f: F,
    scope: Option<Arc<Gate>>,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    crate::fork::install();
    let mut kernel_thread = std::thread::Builder::new();
    if let Some(name) = &name {
        kernel_thread = kernel_thread.name(name.to_string());
    }
    if let Some(bytes) = settings.stack_size {
        kernel_thread = kernel_thread.stack_size(bytes);
    }
    let block = pool::take_shared().ok_or(io::ErrorKind::OutOfMemory)?;
    let parent = me().id.load(Ordering::Relaxed);
    let id = pool::next_id();
    block.publish(settings.identity(Kind::Kernel, name, id, parent));
    if crate::trace::is_on() {
        crate::trace::spawned(id, block.name());
    }
    let slot = new_slot();
    let owned = SendSlot(slot);
    let body = move || run(block, owned, f, scope);
    // SAFETY: passed on.
    let spawned = sys::guarded(Call::Clone, || unsafe {
        kernel_thread.spawn_unchecked(body)
    });
    if let Err(error) = spawned {
        pool::release(block, None);
        // SAFETY: nobody else has it.
        drop(unsafe { Box::from_raw(slot) });
        return Err(error);
    }
    // SAFETY: thread and handle share the block's reference.
    Ok(unsafe { JoinHandle::new(block, slot, Home::Heap) })
}

/// A slot that does not lie on a thread's stack.
#[allow(clippy::disallowed_types)]
pub(super) fn new_slot<T>() -> *mut Slot<T> {
    Box::into_raw(Box::new(Slot::new(core::mem::MaybeUninit::uninit())))
}

/// Drops the thread's share of slot and block, after its result has been
/// published.
///
/// # Safety
/// Called once, by the thread, which touches neither from here on.
pub(super) unsafe fn let_go<T>(block: &'static Tcb, slot: *mut Slot<T>) {
    if block.join.exited() {
        // SAFETY: the last of thread and handle to leave frees the slot. Its
        // result has been dropped or taken.
        drop(unsafe { Box::from_raw(slot) });
        pool::release(block, None);
    }
}

struct SendSlot<T>(*mut Slot<T>);

// SAFETY: the slot is handed to the one thread that writes it; `T` is `Send`.
unsafe impl<T: Send> Send for SendSlot<T> {}

/// The body of a bound thread's kernel thread.
fn run<F: FnOnce() -> T, T>(
    block: &'static Tcb,
    slot: SendSlot<T>,
    f: F,
    scope: Option<Arc<Gate>>,
) {
    block.own.is_the_callers();
    current::set(core::ptr::from_ref(block).cast());
    let body = core::mem::ManuallyDrop::new(f);
    let body = (&raw const body).cast::<F>();
    // SAFETY: the body is moved out here only; the slot lives until thread and
    // handle have left it, and is not touched afterwards.
    unsafe {
        packet::run(block, body, scope, &*slot.0);
        let_go(block, slot.0);
    }
    current::set(core::ptr::null());
}
