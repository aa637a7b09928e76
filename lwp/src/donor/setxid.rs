//! Changing credentials while full threads run.
//!
//! `setuid` and its relatives must change every kernel thread of the process. glibc sends each of
//! them signal 33; the handler makes the system call and then marks, in *its thread's* control
//! block, which it finds through the thread pointer, that it has done so. If the kernel thread runs
//! a full thread at that moment, the mark goes to the wrong block, and the caller of `setuid` sends
//! its signal for ever. So the handler is wrapped: it runs under the kernel thread's own thread
//! pointer, which is found by the kernel's thread id, because in the middle of a switch nothing else
//! can be trusted.
//!
//! musl does it otherwise: it sends a signal to every thread it knows, donors included, finds that
//! one does not exist, and gives up: `setuid` fails with EAGAIN and changes nothing.

use core::ffi::{c_int, c_void};
use std::sync::Once;

use crate::arch::native;
use crate::shim::{AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use crate::sys;

/// A kernel thread that runs full threads, for as long as this value lives; it belongs on that
/// kernel thread.
#[derive(Debug)]
#[must_use = "dropping it takes the kernel thread off the register"]
pub struct Carrier {
    entry: &'static Entry,
    /// Of this kernel thread alone.
    _not_send: core::marker::PhantomData<*mut ()>,
}

/// A place in the register; made when needed, never freed, because a handler may be reading it.
#[derive(Debug)]
struct Entry {
    /// 0: free.
    tid: AtomicI32,
    pointer: AtomicUsize,
    next: AtomicPtr<Entry>,
}

static REGISTER: AtomicPtr<Entry> = AtomicPtr::new(core::ptr::null_mut());

fn entries() -> impl Iterator<Item = &'static Entry> {
    // Acquire: pairs with the Release in `register_carrier`.
    let at = |place: &AtomicPtr<Entry>| unsafe {
        // SAFETY: entries are never freed.
        place.load(Ordering::Acquire).as_ref()
    };
    core::iter::successors(at(&REGISTER), move |entry| at(&entry.next))
}

/// Registers the calling kernel thread, which runs under its own thread pointer now.
pub fn register_carrier() -> Carrier {
    let tid = sys::gettid();
    let free = entries().find(|entry| {
        // -1 keeps others off while the pointer is written. Acquire: pairs with the Release of
        // whoever freed the entry.
        let take = entry
            .tid
            .compare_exchange(0, -1, Ordering::Acquire, Ordering::Relaxed);
        take.is_ok()
    });
    let entry = free.unwrap_or_else(|| {
        let entry: &'static Entry = Box::leak(Box::new(Entry {
            tid: AtomicI32::new(-1),
            pointer: AtomicUsize::new(0),
            next: AtomicPtr::new(core::ptr::null_mut()),
        }));
        let mut head = REGISTER.load(Ordering::Relaxed);
        loop {
            entry.next.store(head, Ordering::Relaxed);
            let new = core::ptr::from_ref(entry).cast_mut();
            // Release: publishes the entry; pairs with the Acquire in `entries`.
            match REGISTER.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break entry,
                Err(seen) => head = seen,
            }
        }
    });
    entry
        .pointer
        .store(native::thread_pointer(), Ordering::Relaxed);
    // Release: the pointer; read by this kernel thread only, in a handler.
    entry.tid.store(tid, Ordering::Release);
    Carrier {
        entry,
        _not_send: core::marker::PhantomData,
    }
}

/// The thread pointer of the calling kernel thread, if it is on the register.
pub(super) fn own_pointer() -> Option<usize> {
    let tid = sys::gettid();
    let own = entries().find(|entry| entry.tid.load(Ordering::Relaxed) == tid);
    own.map(|entry| entry.pointer.load(Ordering::Relaxed))
}

/// In a forked child: its kernel threads may get the ids of the parent's.
pub(super) fn forget_carriers() {
    entries().for_each(|entry| entry.tid.store(0, Ordering::Relaxed));
}

impl Carrier {
    /// The kernel thread's own thread pointer.
    pub fn thread_pointer(&self) -> usize {
        self.entry.pointer.load(Ordering::Relaxed)
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the next who takes the entry.
        self.entry.tid.store(0, Ordering::Release);
    }
}

/// libc's signal for this purpose: glibc's, or musl's.
pub(super) const SIGSETXID: c_int = if cfg!(target_env = "musl") { 34 } else { 33 };

/// What the kernel keeps for a signal; libc's own function refuses this one.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct KernelAction {
    handler: usize,
    flags: usize,
    #[cfg(target_arch = "x86_64")]
    restorer: usize,
    mask: u64,
}

/// glibc's handler; 0 until it is wrapped.
static WRAPPED: AtomicUsize = AtomicUsize::new(0);

/// Wraps glibc's handler, if this is glibc, it has set one, and it is not wrapped yet.
pub(super) fn wrap() {
    static ONCE: Once = Once::new();
    if !cfg!(target_env = "gnu") {
        return;
    }
    ONCE.call_once(|| {
        // SAFETY: all zeroes is an action.
        let mut action: KernelAction = unsafe { core::mem::zeroed() };
        // SAFETY: the kernel fills in its own structure, or reads it.
        let call = |new: *const KernelAction, old: *mut KernelAction| unsafe {
            libc::syscall(libc::SYS_rt_sigaction, SIGSETXID, new, old, 8usize)
        };
        if call(core::ptr::null(), &mut action) != 0 || action.handler <= libc::SIG_IGN {
            return;
        }
        // Before the wrapper can run.
        WRAPPED.store(action.handler, Ordering::SeqCst);
        action.handler = under_own_pointer as *const () as usize;
        call(&action, core::ptr::null_mut());
    });
}

/// Calls glibc's handler under the kernel thread's own thread pointer. Async-signal-safe: touches no
/// thread-local before the pointer is right and none after.
unsafe extern "C" fn under_own_pointer(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    type Handler = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    // SAFETY: stored by `wrap` before this handler was set.
    let handler: Handler = unsafe { core::mem::transmute(WRAPPED.load(Ordering::Relaxed)) };
    // Cannot fail, so it writes no `errno`.
    let running = native::thread_pointer();
    let own = own_pointer().unwrap_or(running);
    // SAFETY: the kernel thread's own pointer, for the time of the handler, on which no full thread
    // can come in between: the handler does not wait in the runtime.
    unsafe {
        if own != running {
            native::set_thread_pointer(own);
        }
        handler(signal, info, context);
        if own != running {
            native::set_thread_pointer(running);
        }
    }
}
