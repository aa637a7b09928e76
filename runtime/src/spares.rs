//! Spare kernel threads: those that carry no LWP and wait for one.
//!
//! A hand-over needs a kernel thread at once, in places where no lock may be
//! taken and nothing allocated. So spares stand on a [`Shelf`], in slots of one
//! word: who takes a spare out of its slot owns it, writes its order and wakes it.
//! The slots limit how many are kept; further ones end.

use std::sync::mpsc::SyncSender;

use lisle_lwp::shim::{AtomicUsize, Ordering};

use crate::sched::lwp::Lwp;
use crate::shelf::Shelf;
use crate::tcb::Tcb;

/// A kernel thread that waits for the word which LWP to carry. Dropping it
/// instead ends the kernel thread.
#[derive(Debug)]
pub(crate) struct Spare(Option<From>);

#[derive(Debug)]
enum From {
    /// It waited in a slot.
    Slot(&'static Tcb),
    /// It was started for this purpose; dropping the sender ends it.
    Start(SyncSender<Option<usize>>),
}

impl Spare {
    /// One that was just started and waits for the number of an LWP.
    pub(crate) fn started(send: SyncSender<Option<usize>>) -> Spare {
        Spare(Some(From::Start(send)))
    }

    /// It runs a preempted thread that nobody serves. One that was just started
    /// rests instead. Returns the one that does it.
    pub(crate) fn rescue(mut self) -> Option<&'static Tcb> {
        match self.0.take() {
            Some(From::Slot(spare)) => {
                order(spare, RESCUE);
                Some(spare)
            }
            started => {
                self.0 = started;
                self.rest();
                None
            }
        }
    }

    /// It begins with this LWP.
    pub(crate) fn go(mut self, lwp: &Lwp) {
        lwp.coming.count_in();
        match self.0.take() {
            Some(From::Slot(spare)) => order(spare, core::ptr::from_ref(lwp).cast_mut()),
            Some(From::Start(send)) => drop(send.send(Some(lwp.index))),
            None => {}
        }
    }
}

impl Spare {
    /// It waits in a slot until it is needed.
    pub(crate) fn rest(mut self) {
        if let Some(From::Start(send)) = &self.0 {
            let _ = send.send(None);
            self.0 = None;
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(From::Slot(spare)) = self.0 {
            order(spare, END);
        }
    }
}

/// In place of an LWP: the kernel thread is to end.
const END: *mut Lwp = core::ptr::without_provenance_mut(1);
/// In place of an LWP: it is to run a preempted thread.
const RESCUE: *mut Lwp = core::ptr::without_provenance_mut(2);

/// What a spare is to do.
#[derive(Debug)]
pub(crate) enum Order<'a> {
    /// Carry this LWP.
    Carry(&'a Lwp),
    /// Run a preempted thread, without an LWP.
    Rescue,
}

fn order(spare: &Tcb, lwp: *mut Lwp) {
    // Release: what the spare is to find; pairs with the Acquire in `wait`.
    spare.own.order.store(lwp, Ordering::Release);
    spare.sleeper.wake();
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Spares {
    shelf: Shelf<Tcb>,
}

impl Spares {
    pub(crate) fn new(limit: usize) -> Spares {
        let shelf = Shelf::new(limit);
        Spares { shelf }
    }

    /// A spare, if there is one. Takes no lock, allocates nothing.
    pub(crate) fn take(&self) -> Option<Spare> {
        let spare = self.shelf.take()?;
        Some(Spare(Some(From::Slot(spare))))
    }

    /// As [`Spares::take`], but the last one stays if it is `needed`: see
    /// [`Shelf::take_unless_needed`].
    pub(crate) fn take_unless_needed(&self, needed: impl FnOnce() -> bool) -> Option<Spare> {
        let taken = self.shelf.take_unless_needed(needed)?;
        match taken {
            Ok(spare) => Some(Spare(Some(From::Slot(spare)))),
            Err(homeless) => {
                drop(Spare(Some(From::Slot(homeless))));
                None
            }
        }
    }

    /// Whether none waits. A hint.
    pub(crate) fn is_empty(&self) -> bool {
        self.shelf.is_empty()
    }

    /// See [`Shelf::has_one_for`].
    pub(crate) fn has_one_for(&self, needs: &AtomicUsize) -> bool {
        self.shelf.has_one_for(needs)
    }

    /// How many wait, and how many may. A hint.
    pub(crate) fn load(&self) -> (usize, usize) {
        self.shelf.load()
    }

    /// Makes the calling kernel thread a spare and waits for its order. `None`
    /// if there are enough, or the runtime stops: then it ends.
    pub(crate) fn join(&self, me: &'static Tcb) -> Option<Order<'static>> {
        self.shelf.put(me).then(|| wait(me))?
    }

    /// Ends all spares, now and from now on.
    pub(crate) fn close(&self) {
        self.shelf.close();
        while self.take().is_some() {}
    }
}

/// Waits for an order. `None`: the kernel thread is to end.
fn wait(me: &'static Tcb) -> Option<Order<'static>> {
    loop {
        // Acquire: pairs with the Release in `order`.
        let lwp = me.own.order.swap(core::ptr::null_mut(), Ordering::Acquire);
        match lwp {
            END => return None,
            RESCUE => return Some(Order::Rescue),
            // SAFETY: an LWP of the runtime that this kernel thread keeps alive.
            lwp if !lwp.is_null() => return Some(Order::Carry(unsafe { &*lwp })),
            _ => me.sleeper.sleep(None),
        };
    }
}
