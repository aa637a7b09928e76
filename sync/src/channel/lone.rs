//! A receiver that waits alone: it comes and is reached without the lock.
//!
//! *Why*. Two threads that send to each other in turn are the most frequent use: each of
//! their receives finds nothing, and each of their messages one receiver that waits for it.
//! One exchange of a word to wait, and one to be reached, are all that this needs.
//!
//! | word | meaning |
//! |---|---|
//! | `BUSY` | whoever comes takes the lock |
//! | a [mark](Mark) | the channel is at rest: the way in is shut, nothing is there to be received, nobody waits in a list and both sides are there. As long as the wait lasts that the mark names, its thread waits to receive |
//!
//! *Protocol*. The word is set to a mark under the lock, by a receiver that has found the
//! channel at rest ([`Lone::wait`]). Then
//!
//! | who | does what |
//! |---|---|
//! | a sender ([`Lone::hand_over`]) | claims the wait: puts its message into the place of the thread, which stands still, and makes it ready. The mark stays |
//! | a receiver ([`Lone::replace`]) | writes its mark over that of a wait that is over |
//! | whoever takes the lock ([`Lone::enlist`]) | sets `BUSY`, and puts the thread into the list, as if it had joined that |
//!
//! So whoever has the lock finds `BUSY`, and all waiting receivers in the list. A receiver
//! that is on its way cannot be claimed yet: its sender takes the lock.
//!
//! *Nodes stay valid*. The wait of a node that is put into the list can no longer be claimed
//! ([`Mark::keep`]), so that the thread goes on only as any other in the list: reached under
//! the lock, or after having taken it.
//!
//! *Ordering*: a mark is published by a Release, node and place with it, and read by loads
//! and exchanges that acquire.

use lisle_lwp::shim::{AtomicU64, Ordering};
use lisle_runtime::wait::{Locked, Mark, Stay};

use super::core::State;
use super::ticket::Waiting;

const BUSY: u64 = 0;

/// See the module documentation.
pub(super) struct Lone(AtomicU64);

impl Lone {
    pub(super) fn new() -> Lone {
        Lone(AtomicU64::new(BUSY))
    }

    /// Whether the channel is at rest. A hint.
    #[inline(always)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.0.load(Ordering::Relaxed) != BUSY
    }

    /// A receiver waits, alone. The caller has the lock, has found the channel at rest, and
    /// waits for what [`Lone::hand_over`] brings.
    #[inline]
    pub(super) fn wait(&self, mark: Mark) {
        // Release: pairs with the Acquires of those who read the mark.
        self.0.store(mark.bits(), Ordering::Release);
    }

    /// As [`Lone::wait`], without the lock. `false`: the lock is to be taken.
    #[inline]
    pub(super) fn replace(&self, mark: Mark) -> bool {
        // Acquire: the mark that is there.
        let word = self.0.load(Ordering::Acquire);
        let is_free = Mark::from_bits(word)
            // Threads with one control block have one wait at a time.
            .is_some_and(|last| last.is_of_same_thread(mark) || last.is_over());
        // Release: as in `wait`.
        is_free
            && self
                .0
                .compare_exchange(word, mark.bits(), Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// Gives the message to the receiver that waits alone on the channel of this address.
    /// `false`, and it stays, if there is none that can be reached so. Inlined only into
    /// [leaves](Stay::of_leaf).
    #[inline(always)]
    pub(super) fn hand_over<T>(&self, address: usize, message: &mut Option<T>) -> bool {
        // Acquire: the mark.
        let Some(mark) = Mark::from_bits(self.0.load(Ordering::Acquire)) else {
            return false;
        };
        let stay = Stay::of_leaf();
        let Some(claimed) = stay.claim(mark, address) else {
            return false;
        };
        // SAFETY: who begins a claimable wait for a channel does so with its node, whose mark
        // we have; and it stands still.
        let waiting = unsafe { &*claimed.place().cast::<Waiting>() };
        // SAFETY: the ticket is direct, of this channel, and its thread's slot empty.
        unsafe { waiting.data.swap(message) };
        true
    }

    /// The caller takes the lock of the channel of this address: puts the receiver that waits
    /// alone into the list, which is empty otherwise.
    #[inline(always)]
    pub(super) fn enlist<T>(&self, address: usize, state: &mut Locked<'_, State<T>>) {
        // Relaxed: marks are first written under the lock.
        if self.is_at_rest() {
            self.enlist_marked(address, state);
        }
    }

    #[inline(never)]
    fn enlist_marked<T>(&self, address: usize, state: &mut Locked<'_, State<T>>) {
        // Acquire: the mark.
        let word = self.0.swap(BUSY, Ordering::Acquire);
        if let Some(place) = Mark::from_bits(word).and_then(|mark| mark.keep(address)) {
            // SAFETY: as in `hand_over`; and it cannot be claimed any more, so that it leaves
            // the list before its frame goes.
            unsafe { state.receivers.push(&*place.cast::<Waiting>()) };
        }
    }
}
