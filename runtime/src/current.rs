//! The calling flow's control block, made on first use for kernel threads.

use core::ptr;

use lisle_lwp::current;

use crate::tcb::{Kind, Tcb};
#[cfg(not(lisle_loom))]
use crate::{life::Identity, pool};

/// The calling thread's control block.
///
/// Nothing in the caller may keep an address of a thread-local over a wait; the
/// block itself is fine: it belongs to the thread, wherever that runs.
#[inline(always)]
pub(crate) fn me() -> &'static Tcb {
    // SAFETY: the word holds null or a control block, and those live for ever.
    match unsafe { current::get().cast::<Tcb>().as_ref() } {
        Some(me) => me,
        None => attach(Kind::Kernel),
    }
}

/// Gives a kernel thread that has none its control block.
#[cold]
#[cfg(not(lisle_loom))]
pub(crate) fn attach(kind: Kind) -> &'static Tcb {
    debug_assert!(current::get().is_null(), "it has one");
    let Some(block) = pool::take_shared() else {
        std::alloc::handle_alloc_error(core::alloc::Layout::new::<Tcb>())
    };
    let name = kernel_thread_name();
    let identity = Identity {
        kind,
        priority: crate::sched::policy::DEFAULT_PRIORITY,
        name,
        id: pool::next_id(),
        parent: 0,
    };
    block.publish(identity);
    block.own.is_the_callers();
    current::set(ptr::from_ref(block).cast());
    // Without a destructor to come, the block stays with the ended thread.
    let _ = current::at_exit(detach);
    block
}

/// The name that std gave the calling kernel thread.
#[cfg(not(lisle_loom))]
#[allow(clippy::disallowed_methods)]
fn kernel_thread_name() -> Option<Box<str>> {
    std::thread::current().name().map(Box::from)
}

/// Gives the control block of an ending kernel thread back.
#[cfg(not(lisle_loom))]
fn detach(block: *const ()) {
    // SAFETY: `attach` set it.
    if let Some(block) = unsafe { block.cast::<Tcb>().as_ref() }
        && block.kind() == Kind::Kernel
    {
        crate::thread::local::destroy_all(block);
        current::set(ptr::null());
        block
            .terminated
            .store(1, lisle_lwp::shim::Ordering::Relaxed);
        pool::release(block, None);
    }
}

#[cfg(lisle_loom)]
fn attach(_: Kind) -> &'static Tcb {
    let block = crate::model::new_block();
    current::set(ptr::from_ref(block).cast());
    block
}
