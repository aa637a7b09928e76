//! Full threads that take their donor with them.
//!
//! ```text
//!   closure ──► result in its room ──► leaves the LWP ──► kernel thread again:
//!   destructors of thread-locals ──► finale: the result is published, the joiner told
//! ```
//!
//! The result is published by the thread's last act, as std's `join` waits for the
//! kernel thread.
//!
//! *Invariant*: until its last act the thread counts among its runtime's, which
//! its destructors may use: to spawn, say. So a runtime does not end before them.

use core::ptr;
use std::io;
use std::sync::Arc;

use lisle_lwp::donor::Finale;
use lisle_lwp::shim::Ordering;

use super::bound;
use super::builder::Builder;
use super::handle::JoinHandle;
use super::launch::{New, class, submit, with_runtime};
use super::packet;
use crate::footing::Footing;
use crate::gate::Gate;
use crate::sched::{arrive, exit_with_donor, running};
use crate::tcb::{Kind, Tcb};
use crate::{donors, pool};

/// Spawns a full thread on a new donor.
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
    let result = with_runtime(settings, |shared, me| {
        settings.check_limit(shared)?;
        let mut donor = donors::make(class(settings, shared, packet::wants::<F, T>())?)?;
        let Some(block) = pool::take_shared() else {
            donors::give(donor);
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        let scope: *mut () = scope.map_or(ptr::null(), Arc::into_raw).cast_mut().cast();
        donor.set_finale(Some(Finale {
            current: ptr::from_ref(block).cast(),
            run: finale::<T>,
            data: scope,
        }));
        // SAFETY: taken from among the free ones.
        let new = unsafe { New::on(block, Footing::Donor(donor)) };
        // SAFETY: nobody has seen the thread yet; the scope is taken back once.
        unsafe {
            if let Err(error) = packet::put::<F, T>(&new, f, None) {
                drop(scope_of(scope));
                new.footing(Footing::clear_finale);
                new.give_back();
                return Err(error);
            }
        }
        let parent = me.id.load(Ordering::Relaxed);
        let id = pool::next_id();
        block.publish(settings.identity(Kind::Full, name, id, parent));
        settings.limit(block);
        let block = new.begin(shared, start::<F, T>, scope);
        if let Err(error) = submit(settings, shared, me, block) {
            // SAFETY: nobody has seen the thread, and its body has not begun.
            unsafe {
                packet::take_back::<F>(&block.room);
                drop(scope_of(scope));
                block.footing.with_mut(|footing| {
                    if let Some(footing) = &mut *footing {
                        footing.clear_finale();
                    }
                });
                crate::sched::free(block);
            }
            return Err(error);
        }
        // SAFETY: thread and handle share the block's reference.
        Ok(unsafe { JoinHandle::new(block) })
    });
    crate::sched::end_of_slice();
    result
}

/// The first function of such a thread.
unsafe extern "C" fn start<F: FnOnce() -> T, T>(arg: usize, scope: *mut ()) -> ! {
    let me = running().expect("whoever switched here has said to whom");
    // SAFETY: `arg` is what the first switch passed; the body was put there by `spawn`.
    unsafe {
        arrive(me, arg);
        let _ = packet::run::<F, T>(me);
    }
    if !me.is_user() {
        // SAFETY: there will be no other finale in a forked child.
        unsafe { finale::<T>(ptr::from_ref(me).cast(), scope) };
        packet::end_forked_child(me);
    }
    exit_with_donor(me)
}

/// The last act, on the thread itself, when its thread-locals are gone.
///
/// # Safety
/// By the contract of [`Finale`], with what `spawn` put into it.
unsafe fn finale<T>(block: *const (), scope: *mut ()) {
    // SAFETY: control blocks live for ever; the scope is taken once; the result is
    // there, and the thread touches nothing of it afterwards.
    unsafe {
        let block: &'static Tcb = &*block.cast::<Tcb>();
        // The block may be somebody else's in a moment. In a forked child it has no
        // runtime.
        let shared = block.shared.load(Ordering::Relaxed);
        packet::publish::<T>(block, scope_of(scope));
        bound::let_go(block);
        // From here on the runtime may be gone.
        if let Some(shared) = shared.as_ref() {
            shared.census.count_ended();
        }
    }
}

/// # Safety
/// It is what `spawn` made of a scope, once.
unsafe fn scope_of(data: *mut ()) -> Option<Arc<Gate>> {
    let gate = data.cast_const().cast::<Gate>();
    // SAFETY: by contract.
    (!gate.is_null()).then(|| unsafe { Arc::from_raw(gate) })
}
