//! What a fork leaves behind.
//!
//! In a forked child only the forking thread exists. It becomes a plain kernel
//! thread there, whatever it was; the old runtimes are dead, handles to their
//! threads give errors, and the default runtime starts anew when it is wanted.
//! Every control block carries the generation of the process that made it.
//!
//! The locks of the pools and of the lot are taken over the fork, so that the
//! child finds them whole. What the program's own primitives guard is as it is after any fork of
//! a multithreaded program.

use std::sync::Once;

use lisle_lwp::shim::{AtomicPtr, AtomicU32, Ordering};

use crate::io::slot;
use crate::sched::{Steady, running};
use crate::tcb::Kind;
use crate::wait::{inherit, lot};
use crate::{donors, pool, trace};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between this process and the one that started.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Registers the handlers, once per process image.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handlers do only what is allowed around a fork: take and
        // release the runtime's own locks and write the runtime's own words.
        // A refusal (no memory) leaves forks as they are in other programs.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

extern "C" fn before() {
    // Until the locks are released again.
    core::mem::forget(Steady::new());
    crate::runtime::lock_for_fork();
    lot::lock_for_fork();
    inherit::lock_for_fork();
    pool::lock_for_fork();
    slot::lock_for_fork();
    donors::lock_for_fork();
    trace::lock_for_fork();
    lisle_lwp::stack::StackPool::global().lock_for_fork();
    lisle_lwp::donor::before_fork();
}

extern "C" fn in_parent() {
    // SAFETY: `before` took them on this thread.
    unsafe {
        lisle_lwp::stack::StackPool::global().unlock_after_fork();
        trace::unlock_after_fork();
        donors::unlock_after_fork();
        slot::unlock_after_fork();
        pool::unlock_after_fork();
        inherit::unlock_after_fork();
        lot::unlock_after_fork();
        crate::runtime::unlock_after_fork();
    }
    Steady::end();
}

extern "C" fn in_child() {
    in_parent();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    lisle_lwp::current::set_carried(core::ptr::null());
    lisle_lwp::donor::after_fork_in_child();
    donors::forget();
    trace::forget();
    #[cfg(feature = "backtrace")]
    crate::debug::forget();
    if let Some(me) = running() {
        me.kind.store(Kind::Kernel as u8, Ordering::Relaxed);
        me.lwp.store(core::ptr::null_mut(), Ordering::Relaxed);
        me.thread_pointer.store(0, Ordering::Relaxed);
        me.shared.store(core::ptr::null_mut(), Ordering::Relaxed);
        me.generation.store(generation(), Ordering::Relaxed);
        me.own
            .tid
            .store(lisle_lwp::sys::gettid() as u32, Ordering::Relaxed);
        me.jobs.forget_helpers();
    }
    crate::runtime::forget_all();
}

/// A pointer that is null again in a forked child. For the default runtime.
pub(crate) type Forgettable<T> = AtomicPtr<T>;
