//! What a fork leaves of the kernel thread that ran the forking full thread.
//!
//! In the child libc takes the stacks of all threads but the calling one for free, and uses them
//! again: that of the carrying kernel thread, too. The kernel, however, has copied the carrier's
//! registration for restartable sequences, whose area lies on that stack: it would write into what
//! another thread has there by then, or kill the child when the stack is gone. So the child ends the
//! registration, as donors do.

use super::{host, setxid};
use crate::arch::native;
use crate::shim::{AtomicUsize, Ordering};

/// The carrier's thread pointer during a fork; 0 if the caller runs under its own.
static CARRIER: AtomicUsize = AtomicUsize::new(0);

/// To be called on the forking thread before a fork, under a lock that lasts until after it.
pub fn before_fork() {
    let carrier = setxid::own_pointer().filter(|own| *own != native::thread_pointer());
    // Relaxed: read by this thread, or by its copy.
    CARRIER.store(carrier.unwrap_or(0), Ordering::Relaxed);
}

/// To be called in the child, which makes no use of the parent's carriers.
pub fn after_fork_in_child() {
    setxid::forget_carriers();
    let carrier = CARRIER.load(Ordering::Relaxed);
    if carrier != 0 {
        // SAFETY: the child's copy of the control block that the kernel thread had, which nobody has
        // used again yet.
        unsafe { host::unregister_rseq(carrier) };
    }
}
