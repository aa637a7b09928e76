//! Full threads that take their donor with them.
//!
//! ```text
//!   closure ──► result in its slot ──► leaves the LWP ──► kernel thread again:
//!   destructors of thread-locals ──► finale: the result is published, the joiner told
//! ```
//!
//! The result cannot lie on the stack, which libc uses again at the end; and it
//! is published by the thread's last act, as std's `join` waits for the kernel
//! thread.
//!
//! *Invariant*: until its last act the thread counts among its runtime's, which
//! its destructors may use: to spawn, say. So a runtime does not end before them.

use core::alloc::Layout;
use core::mem::ManuallyDrop;
use std::io;
use std::sync::Arc;

use lisle_lwp::arch;
use lisle_lwp::donor::Finale;
use lisle_lwp::shim::Ordering;

use super::bound;
use super::builder::Builder;
use super::handle::{Home, JoinHandle};
use super::launch::{New, class, submit, with_runtime};
use super::packet::{self, Slot};
use crate::footing::Footing;
use crate::gate::Gate;
use crate::sched::{arrive, exit_with_donor, running};
use crate::tcb::{Kind, Tcb};
use crate::{donors, pool};

/// What the thread finds on its stack.
#[repr(C)]
struct Packet<F, T> {
    ending: *mut Ending<T>,
    body: ManuallyDrop<F>,
}

/// What its last act needs.
struct Ending<T> {
    scope: Option<Arc<Gate>>,
    slot: *mut Slot<T>,
}

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
        let slot = bound::new_slot();
        let ending = Box::into_raw(Box::new(Ending { scope, slot }));
        let undo = || {
            // SAFETY: nobody else has seen either.
            unsafe {
                drop(Box::from_raw(ending));
                drop(Box::from_raw(slot));
            }
        };
        donor.set_finale(Some(Finale {
            current: core::ptr::from_ref(block).cast(),
            run: finale::<T>,
            data: ending.cast(),
        }));
        let mut new = New {
            block,
            footing: Footing::Donor(donor),
        };
        let packet = match packet::room(&new.footing, Layout::new::<Packet<F, T>>()) {
            Ok(room) => room.cast::<Packet<F, T>>(),
            Err(error) => {
                undo();
                new.footing.clear_finale();
                new.give_back();
                return Err(error);
            }
        };
        // SAFETY: room of this layout on a stack that is ours.
        let context = unsafe {
            packet.write(Packet {
                ending,
                body: ManuallyDrop::new(f),
            });
            arch::init(packet.cast(), start::<F, T>, packet.cast())
        };
        let parent = me.id.load(Ordering::Relaxed);
        let id = pool::next_id();
        block.publish(settings.identity(Kind::Full, name, id, parent));
        settings.limit(block);
        let block = new.begin(shared, context);
        if let Err(error) = submit(settings, shared, me, block) {
            // SAFETY: nobody has seen the thread, and its body has not begun.
            unsafe {
                ManuallyDrop::drop(&mut (*packet).body);
                undo();
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
        Ok(unsafe { JoinHandle::new(block, slot, Home::Heap) })
    });
    crate::sched::end_of_slice();
    result
}

/// The first function of such a thread.
unsafe extern "C" fn start<F: FnOnce() -> T, T>(arg: usize, data: *mut ()) -> ! {
    let me = running().expect("whoever switched here has said to whom");
    // SAFETY: `arg` is what the first switch passed; `data` is what `spawn`
    // wrote, and the body is taken once.
    let (body, ending) = unsafe {
        arrive(me, arg);
        let packet = data.cast::<Packet<F, T>>();
        ((&raw const (*packet).body).cast::<F>(), (*packet).ending)
    };
    // SAFETY: as above; slot and ending live until the finale.
    unsafe { packet::run_body(me, body, &*(*ending).slot) };
    if !me.is_user() {
        // SAFETY: there will be no other finale in a forked child.
        unsafe { finale::<T>(core::ptr::from_ref(me).cast(), ending.cast()) };
        packet::end_forked_child(me);
    }
    exit_with_donor(me)
}

/// The last act, on the thread itself, when its thread-locals are gone.
///
/// # Safety
/// By the contract of [`Finale`], with what `spawn` put into it.
unsafe fn finale<T>(block: *const (), ending: *mut ()) {
    // SAFETY: control blocks live for ever; the box is taken once; the result is
    // written, and the thread touches nothing of it afterwards.
    unsafe {
        let block: &'static Tcb = &*block.cast::<Tcb>();
        // The block may be somebody else's in a moment. In a forked child it has no
        // runtime.
        let shared = block.shared.load(Ordering::Relaxed);
        let Ending { scope, slot } = *Box::from_raw(ending.cast::<Ending<T>>());
        packet::publish(block, scope, &*slot);
        bound::let_go(block, slot);
        // From here on the runtime may be gone.
        if let Some(shared) = shared.as_ref() {
            shared.census.count_ended();
        }
    }
}
