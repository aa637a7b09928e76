//! A receiver that waits alone: reached without the lock.
//!
//! *Why*. Two threads that send to each other in turn are the most frequent use, and each
//! of their messages finds one receiver that waits for it. An exchange of one word is all
//! that its sender needs.
//!
//! *Protocol*. A blocked thread that joins an empty list of receivers does not join it: its
//! node goes into the word ([`Lone::wait`], under the channel's lock, where the invariants
//! of [`core`](super::core) are seen to). There whoever takes it out by an exchange has it:
//!
//! | who | what becomes of the node |
//! |---|---|
//! | a sender, without the lock ([`Lone::hand_over`]) | gets the message, and is woken |
//! | whoever takes the lock ([`Lone::enlist`]) | goes into the list, as if it had joined that |
//!
//! So whoever has the lock finds all waiting receivers in the list, but for one that a sender
//! has taken: that one counts as reached. No order is upset: nothing was buffered when it began
//! to wait, and what others have sent since is as new as this sender's message. If its wait had
//! ended otherwise, others may have sent meanwhile, and it looks again before it says that
//! nothing came.
//!
//! *Nodes stay valid*. A sender that has taken a node out owns it until it has woken its
//! receiver or, if the wait had ended otherwise, has taken its message back and said
//! [`LET_GO`]. A receiver whose wait ended otherwise and which finds itself in no list looks
//! for that ([`Lone::leave`]). It can be waiting only for a sender between a few
//! instructions, inside the runtime, where it is not preempted: so it spins, and lets others
//! run if the kernel has stopped that sender.
//!
//! *Ordering*: the node is published by `wait` (Release) and taken out by an exchange
//! that acquires. An exchange that fails writes nothing, so that what is written to the
//! word is in the order of the waits.

use core::ptr;

use lisle_lwp::shim::{AtomicPtr, Ordering, spin_loop};
use lisle_runtime::thread;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{Caller, Outcome};

use super::ticket::{ALONE, LET_GO, LISTED, Ticket, Waiting};

/// See the module documentation.
pub(super) struct Lone(AtomicPtr<Waiting>);

impl Lone {
    pub(super) fn new() -> Lone {
        Lone(AtomicPtr::new(ptr::null_mut()))
    }

    /// A thread waits, alone.
    ///
    /// # Safety
    /// The caller has the lock, and no receiver waits. The node's ticket is direct, its
    /// waiter a thread; it stays where it is until it is woken or has [left](Lone::leave).
    #[inline]
    pub(super) unsafe fn wait(&self, waiting: &Waiting) {
        // Relaxed: published by what follows.
        waiting.data.standing.store(ALONE, Ordering::Relaxed);
        // Release: the node; pairs with the Acquire in `take`.
        self.0
            .store(ptr::from_ref(waiting).cast_mut(), Ordering::Release);
    }

    /// Whether nobody waits alone. Exact under the lock.
    #[inline(always)]
    fn is_nobody(&self) -> bool {
        // Relaxed: who must find it has the lock. (Who comes without may look again under it.)
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes the node out. The reference is good until that waiter is woken or let go.
    #[inline]
    fn take<'n>(&self) -> Option<&'n Waiting> {
        // Relaxed: as in `is_nobody`.
        let waiting = self.0.load(Ordering::Relaxed);
        if waiting.is_null() {
            return None;
        }
        // Acquire: the node; pairs with the Release in `wait`.
        let taken = self.0.compare_exchange(
            waiting,
            ptr::null_mut(),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        // SAFETY: the exchange made it ours, and it stays in place.
        taken.ok().and_then(|waiting| unsafe { waiting.as_ref() })
    }

    /// Gives the message to the receiver that waits alone. `false`, and it stays, if there
    /// is none, or its wait had ended otherwise.
    #[inline]
    pub(super) fn hand_over<T>(&self, caller: &Caller, message: &mut Option<T>) -> bool {
        if self.is_nobody() {
            return false;
        }
        let stay = caller.stay();
        let Some(waiting) = self.take() else {
            return false;
        };
        let key = waiting.key();
        // SAFETY: the node is ours, its waiter's empty slot with it; it does not look before
        // it is woken.
        unsafe { waiting.data.swap(message) };
        if stay.fire(key, Outcome::Woken) {
            return true;
        }
        // SAFETY: as above; it cannot leave before we let it go.
        unsafe { waiting.data.swap(message) };
        // Release: we are done with it; pairs with the Acquire in `leave`.
        waiting.data.standing.store(LET_GO, Ordering::Release);
        false
    }

    /// Puts the receiver that waits alone into the list, which is empty otherwise.
    ///
    /// # Safety
    /// The caller has the lock that guards the list.
    #[inline(always)]
    pub(super) unsafe fn enlist(&self, list: &mut Queue<Ticket>) {
        if let Some(waiting) = self.take() {
            // Relaxed: its waiter looks after it has had the lock.
            waiting.data.standing.store(LISTED, Ordering::Relaxed);
            // SAFETY: the waiter's promise in `wait`.
            unsafe { list.push(waiting) };
        }
    }

    /// Returns when nobody has the node any more. Its wait has ended otherwise, and it is in
    /// no list. `true`: a sender had taken it.
    #[cold]
    pub(super) fn leave(waiting: &Waiting) -> bool {
        let mut spins = 0;
        loop {
            // Acquire: pairs with the Release in `hand_over`.
            match waiting.data.standing.load(Ordering::Acquire) {
                ALONE if spins < 100 && !cfg!(lisle_loom) => {
                    spins += 1;
                    spin_loop();
                }
                ALONE => thread::yield_now(),
                standing => return standing == LET_GO,
            }
        }
    }
}
