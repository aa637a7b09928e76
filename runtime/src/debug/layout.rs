//! What a debugger must know to find the threads of a stopped process, or of a core
//! dump: where control blocks lie and what is where in them.
//!
//! `tools/gdb/lisle.py` reads the static [`LISLE_DEBUG`] by its name, so it needs the
//! program's symbols but no description of its types. Numbers are added at the end;
//! whatever else changes counts [`VERSION`] up.

use core::mem::offset_of;
use core::ptr;

use lisle_lwp::arch::{SavedAt, native};
use lisle_lwp::shim::{AtomicPtr, AtomicUsize, Ordering};

use crate::pool::CHUNK;
use crate::tcb::{Own, Tcb};
use crate::wait::Reason;

const VERSION: usize = 2;

/// See the module documentation. Offsets are in bytes.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Layout {
    version: usize,
    /// The list of chunks, of which each is an address and a length, and how many
    /// there are.
    chunks: AtomicPtr<&'static [Tcb]>,
    count: AtomicUsize,
    /// A chunk, in control blocks; a control block, in bytes.
    chunk: usize,
    block: usize,
    id: usize,
    refs: usize,
    kind: usize,
    terminated: usize,
    /// The word of which the lowest three bits are 2 for a thread that is parked.
    wait: usize,
    /// The saved stack pointer.
    context: usize,
    /// An address and a length; no name if the address is null.
    name: usize,
    /// An address, null for none; where in that the name is.
    reason: usize,
    reason_name: usize,
    detail: usize,
    switches: usize,
    lwp: usize,
    carrier: usize,
    /// In the control block of a kernel thread: the kernel's id of it.
    tid: usize,
    /// In that of one that carries LWPs: its thread pointer; 0 in others.
    pointer: usize,
    saved: SavedAt,
}

/// See the module documentation.
#[used]
#[unsafe(no_mangle)]
pub(crate) static LISLE_DEBUG: Layout = Layout {
    version: VERSION,
    chunks: AtomicPtr::new(ptr::null_mut()),
    count: AtomicUsize::new(0),
    chunk: CHUNK,
    block: size_of::<Tcb>(),
    id: offset_of!(Tcb, id),
    refs: offset_of!(Tcb, refs),
    kind: offset_of!(Tcb, kind),
    terminated: offset_of!(Tcb, terminated),
    wait: offset_of!(Tcb, wait),
    context: offset_of!(Tcb, context),
    name: offset_of!(Tcb, name),
    reason: offset_of!(Tcb, reason),
    reason_name: Reason::NAME_AT,
    detail: offset_of!(Tcb, reason_detail),
    switches: offset_of!(Tcb, switches),
    lwp: offset_of!(Tcb, lwp),
    carrier: offset_of!(Tcb, carrier),
    tid: offset_of!(Tcb, own) + offset_of!(Own, tid),
    pointer: offset_of!(Tcb, own) + offset_of!(Own, pointer),
    saved: native::SAVED,
};

/// The list of chunks has changed. Called under the lock of the pool; a debugger
/// looks while everything stands still.
pub(crate) fn publish(chunks: &[&'static [Tcb]]) {
    let first = chunks.as_ptr().cast_mut();
    LISLE_DEBUG.chunks.store(first, Ordering::Relaxed);
    LISLE_DEBUG.count.store(chunks.len(), Ordering::Relaxed);
}
