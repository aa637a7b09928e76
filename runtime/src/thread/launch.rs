//! Putting a new thread on an LWP.

use core::ptr;
use std::io;
use std::sync::Arc;

use lisle_lwp::arch::{self, Context, Entry as First};
use lisle_lwp::checkers;
use lisle_lwp::shim::Ordering;
use lisle_lwp::stack::{StackPool, StackSize};

use super::builder::Builder;
use super::handle::JoinHandle;
use super::packet;
use crate::current::me;
use crate::footing::Footing;
use crate::gate::Gate;
use crate::runtime::{self, Shared};
use crate::sched::lwp::Lwp;
use crate::sched::{Entry, Steady, inject};
use crate::tcb::{Kind, Tcb};
use crate::{donors, pool, trace};

/// Spawns a light or a pooled full thread.
///
/// # Safety
/// As [`Builder::launch`]; for a light thread also the promise of
/// [`Builder::spawn_light`].
pub(super) unsafe fn spawn<F, T>(
    settings: &Builder,
    kind: Kind,
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
        let class = class(settings, shared, packet::wants::<F, T>())?;
        let (new, id) = New::take(class, shared, me, kind, packet::start::<F, T>)?;
        // SAFETY: nobody has seen the thread yet.
        if let Err(error) = unsafe { packet::put::<F, T>(&new, f, scope) } {
            new.give_back();
            return Err(error);
        }
        let parent = me.id.load(Ordering::Relaxed);
        new.block()
            .publish(settings.identity(kind, name, id, parent));
        settings.limit(new.block());
        let block = new.begin(shared, packet::start::<F, T>, ptr::null_mut());
        if let Err(error) = submit(settings, shared, me, block) {
            // SAFETY: nobody has seen the thread, and its body has not begun.
            unsafe {
                packet::take_back::<F>(&block.room);
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

/// Calls `f` with the runtime that the settings name, else the calling thread's
/// own, else the default one; and with the calling thread.
pub(super) fn with_runtime<R>(
    settings: &Builder,
    f: impl FnOnce(&Shared, &'static Tcb) -> io::Result<R>,
) -> io::Result<R> {
    let me = me();
    // Pools are locked on the way.
    let _steady = Steady::new();
    let default;
    // SAFETY: a runtime outlives its threads.
    let own = || unsafe { me.shared.load(Ordering::Relaxed).as_ref() };
    let shared = match &settings.runtime {
        Some(runtime) => runtime.shared(),
        None => match own() {
            Some(shared) => shared,
            None => {
                default = runtime::current()?;
                &*default
            }
        },
    };
    if shared.is_stopping() || shared.generation != crate::fork::generation() {
        return Err(stopped());
    }
    f(shared, me)
}

/// The control block of a new user thread, with what that will stand on. Nobody else has seen it.
pub(super) struct New(&'static Tcb);

impl New {
    /// Puts what a thread will stand on into its block.
    ///
    /// # Safety
    /// Nobody else has the block.
    #[inline(always)]
    pub(super) unsafe fn on(block: &'static Tcb, footing: Footing) -> New {
        // SAFETY: by contract; a free block has none, so that there is nothing to drop.
        block
            .footing
            .with_mut(|place| unsafe { place.write(Some(footing)) });
        New(block)
    }

    /// The control block.
    #[inline(always)]
    pub(super) fn block(&self) -> &'static Tcb {
        self.0
    }

    /// What is there to stand on.
    #[inline(always)]
    pub(super) fn footing<R>(&self, f: impl FnOnce(&mut Footing) -> R) -> R {
        // SAFETY: nobody else has seen the block.
        let footing = self
            .0
            .footing
            .with_mut(|footing| unsafe { (*footing).as_mut() });
        f(footing.expect("put there by `on`"))
    }

    /// A control block, something to stand on, and a number: from what the LWP
    /// has at hand if it has.
    fn take(
        class: StackSize,
        shared: &Shared,
        me: &'static Tcb,
        kind: Kind,
        first: First,
    ) -> io::Result<(New, u64)> {
        let promise = Footing::Promise(class, first);
        let entry = Entry::of(me);
        let (block, footing, id) = match entry.lwp().filter(|lwp| is_of(lwp, shared)) {
            Some(lwp) => {
                // SAFETY: owner inside the runtime; no other reference is alive.
                unsafe {
                    let block = (*lwp.blocks.get()).take_cached();
                    let footing = match kind {
                        Kind::Full => (*lwp.donors.get()).take(class).map(Footing::Donor),
                        _ => (*lwp.stacks.get()).promise(class).then_some(promise),
                    };
                    (block, footing, lwp.next_id())
                }
            }
            None => (None, None, pool::next_id()),
        };
        drop(entry);
        let footing = match (footing, kind) {
            (Some(footing), _) => Ok(footing),
            (None, Kind::Full) => match donors::take(class) {
                Some(donor) => Ok(Footing::Donor(donor)),
                None => donors::make(class).map(Footing::Donor),
            },
            (None, _) => StackPool::global()
                .promise(class)
                .or_else(|error| match promise_own(me, class) {
                    true => Ok(()),
                    false => Err(error),
                })
                .map(|()| Footing::Promise(class, first)),
        };
        match (block.or_else(pool::take_shared), footing) {
            // SAFETY: taken from among the free ones.
            (Some(block), Ok(footing)) => Ok((unsafe { New::on(block, footing) }, id)),
            (block, footing) => {
                if let Some(block) = block {
                    pool::give_back(block);
                }
                footing?.give_back();
                Err(io::ErrorKind::OutOfMemory.into())
            }
        }
    }

    pub(super) fn give_back(self) {
        // SAFETY: nobody else has seen the block.
        let footing = self
            .0
            .footing
            .with_mut(|footing| unsafe { (*footing).take() });
        footing.expect("put there by `on`").give_back();
        pool::give_back(self.0);
    }

    /// Completes a block that has been published, and that nobody else has seen: its first function is `first`, which
    /// is passed `data` if it does not wait for a stack.
    pub(super) fn begin(self, shared: &Shared, first: First, data: *mut ()) -> &'static Tcb {
        let block = self.0;
        block
            .shared
            .store(ptr::from_ref(shared).cast_mut(), Ordering::Relaxed);
        let accounts = u8::from(shared.accounts_cpu);
        block.accounts_cpu.store(accounts, Ordering::Relaxed);
        let context = self.footing(|footing| match footing {
            Footing::Donor(donor) => {
                block
                    .thread_pointer
                    .store(donor.thread_pointer(), Ordering::Relaxed);
                let top = donor.top();
                // SAFETY: nothing runs on the donor, so its word and its stack are ours to write.
                unsafe {
                    (*donor.slot()).set(ptr::from_ref(block).cast());
                    checkers::abandoned(top.wrapping_sub(donor.size()), top);
                    arch::init(top, first, data)
                }
            }
            _ => Context::EMPTY,
        });
        // SAFETY: nobody has seen the block yet.
        block.context.with_mut(|saved| unsafe { *saved = context });
        block
    }
}

/// A promise of a stack that the LWP has at hand, when no other can be had.
#[cold]
fn promise_own(me: &'static Tcb, class: StackSize) -> bool {
    let entry = Entry::of(me);
    // SAFETY: owner inside the runtime; no other reference is alive.
    entry
        .lwp()
        .is_some_and(|lwp| unsafe { (*lwp.stacks.get()).promise_own(class) })
}

/// The stack that the settings ask for, else the runtime's; that may be too small for what the thread
/// begins with, `wants` bytes: then a larger one.
#[inline]
pub(super) fn class(settings: &Builder, shared: &Shared, wants: usize) -> io::Result<StackSize> {
    match settings.stack_size {
        Some(bytes) => Ok(StackSize::new(bytes)?.fitting()),
        None if wants == 0 => Ok(shared.stack_size),
        None => Ok(shared.stack_size.max(StackSize::new(wants)?.fitting())),
    }
}

/// Makes a new thread ready, for the first time.
///
/// # Errors
/// If the runtime stops meanwhile: then nobody has seen the thread.
pub(super) fn submit(
    settings: &Builder,
    shared: &Shared,
    me: &'static Tcb,
    block: &'static Tcb,
) -> io::Result<()> {
    if trace::is_on() {
        trace::spawned(block.id.load(Ordering::Relaxed), block.name());
    }
    let entry = Entry::of(me);
    if let Some(lwp) = entry.lwp().filter(|lwp| is_of(lwp, shared)) {
        lwp.counters.threads.count_spawned();
        // SAFETY: owner inside the runtime; the thread is ready.
        unsafe {
            match settings.depth_first {
                true => lwp.push_ahead(block),
                false => lwp.push(block),
            }
        }
        return Ok(());
    }
    drop(entry);
    if !shared.census.admit() {
        return Err(stopped());
    }
    inject(block);
    Ok(())
}

pub(super) fn stopped() -> io::Error {
    io::Error::other("the runtime has been shut down")
}

/// Whether the LWP is one of the runtime's.
fn is_of(lwp: &Lwp, shared: &Shared) -> bool {
    core::ptr::eq(lwp.shared, shared)
}
