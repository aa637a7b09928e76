//! A wait in few bits: a [`WaitKey`] for words that say more besides.
//!
//! ```text
//!  61 .. 40              39 .. 0
//!  the block's number    the epoch's lower bits
//! ```
//!
//! Control blocks live for ever, so that whoever reads a mark, however old, may follow it
//! to the block, whose wait word says whether that wait still lasts. Nothing of the
//! waiting thread's own is looked at before that is known.
//!
//! *How long a mark is good.* The epoch counts a block's waits. A mark that is kept while
//! its block waits 2^40 times more, which takes hours of nothing else, names the wait that
//! is then the last one as well, so that to fire its key would end that. Who claims or keeps
//! a wait says what it is for, and gets no other.

use core::num::NonZeroU64;

use lisle_lwp::shim::Ordering;

use super::{Wait, WaitKey};
#[cfg(lisle_loom)]
use crate::model::{NUMBER_BITS, block};
#[cfg(not(lisle_loom))]
use crate::pool::{NUMBER_BITS, block};
use crate::tcb::Tcb;

const EPOCH_BITS: u32 = 40;
const EPOCH: u64 = (1 << EPOCH_BITS) - 1;

/// See the module documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(NonZeroU64);

impl Mark {
    /// How many bits a mark has.
    pub const BITS: u32 = EPOCH_BITS + NUMBER_BITS;

    /// The mark of a wait. `None`: there are so many threads that this one has none.
    #[inline(always)]
    pub fn of(wait: &Wait) -> Option<Mark> {
        // Relaxed: the block is the caller's own.
        let number = wait.thread.number.load(Ordering::Relaxed);
        if number == 0 {
            return None;
        }
        Mark::from_bits(u64::from(number) << EPOCH_BITS | wait.epoch() & EPOCH)
    }

    /// As a number below 2 to the [`Mark::BITS`], and not zero.
    #[inline(always)]
    pub fn bits(self) -> u64 {
        self.0.get()
    }

    /// The mark of that number.
    #[inline(always)]
    pub fn from_bits(bits: u64) -> Option<Mark> {
        NonZeroU64::new(bits).map(Mark)
    }

    /// Whether both are of waits of one thread, or of threads that have had one control
    /// block.
    #[inline(always)]
    pub fn is_of_same_thread(self, other: Mark) -> bool {
        self.bits() >> EPOCH_BITS == other.bits() >> EPOCH_BITS
    }

    /// The key of the wait. `None`: it is over. Who calls this has read the mark by a load
    /// that acquires what the thread released that has left it.
    #[inline(always)]
    pub fn key(self) -> Option<WaitKey> {
        let thread = self.thread()?;
        let epoch = thread
            .wait
            .recent(|epoch| epoch & EPOCH == self.bits() & EPOCH)?;
        Some(WaitKey { thread, epoch })
    }

    /// Whether the wait is over. As for [`Mark::key`].
    #[inline]
    pub fn is_over(self) -> bool {
        self.key()
            .is_none_or(|key| key.thread.wait.is_over(key.epoch))
    }

    /// Ends the wait, if the thread is parked in it, it is one for `detail` and others may
    /// [claim](super::Caller::begin_claimable) it.
    #[inline(always)]
    pub(super) fn claim(self, detail: usize) -> Option<(&'static Tcb, u64)> {
        let thread = self.thread()?;
        // Relaxed: said before the wait was committed, and not changed while it lasts.
        let suits = || thread.reason_detail.load(Ordering::Relaxed) == detail;
        let epoch = thread.wait.claim(|epoch| self.means(epoch), suits)?;
        Some((thread, epoch))
    }

    /// From now on nobody claims the wait; what it was begun with. `None`: it is over, or none
    /// for `detail` that may be [claimed](super::Caller::begin_claimable).
    pub fn keep(self, detail: usize) -> Option<*const ()> {
        let thread = self.thread()?;
        let mut place = core::ptr::null_mut();
        // Relaxed: as in `claim`.
        let look = || {
            place = thread.place.load(Ordering::Relaxed);
            thread.reason_detail.load(Ordering::Relaxed) == detail
        };
        let kept = thread.wait.keep(|epoch| self.means(epoch), look);
        kept.then_some(place.cast_const())
    }

    #[inline(always)]
    fn means(self, epoch: u64) -> bool {
        epoch & EPOCH == self.bits() & EPOCH
    }

    #[inline(always)]
    fn thread(self) -> Option<&'static Tcb> {
        #[allow(clippy::cast_possible_truncation)] // so many bits it has
        block((self.bits() >> EPOCH_BITS) as u32)
    }
}
