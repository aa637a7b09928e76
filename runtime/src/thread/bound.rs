//! Threads with a kernel thread of their own.

use std::io;
use std::sync::Arc;

use lisle_lwp::current;
use lisle_lwp::shim::Ordering;
use lisle_lwp::sys::{self, Call};

use super::builder::Builder;
use super::handle::JoinHandle;
use super::packet;
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
    let body = move || run(block, f, scope);
    // SAFETY: passed on.
    let spawned = sys::guarded(Call::Clone, || unsafe {
        kernel_thread.spawn_unchecked(body)
    });
    if let Err(error) = spawned {
        pool::release(block, None);
        return Err(error);
    }
    // SAFETY: thread and handle share the block's reference.
    Ok(unsafe { JoinHandle::new(block) })
}

/// Lets go of the thread's share of its block, after its result has been published.
///
/// # Safety
/// Called once, by the thread, which does not touch it from here on.
pub(super) unsafe fn let_go(block: &'static Tcb) {
    if block.join.exited() {
        pool::release(block, None);
    }
}

/// The body of a bound thread's kernel thread.
fn run<F: FnOnce() -> T, T>(block: &'static Tcb, f: F, scope: Option<Arc<Gate>>) {
    block.own.is_the_callers();
    current::set(core::ptr::from_ref(block).cast());
    // SAFETY: the result's place is empty; the thread touches nothing of the block after it has let go.
    unsafe {
        packet::run_here(block, f);
        packet::publish::<T>(block, scope);
        let_go(block);
    }
    current::set(core::ptr::null());
}
