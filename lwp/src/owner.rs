//! The owner word: which kernel thread holds an LWP, and whether that thread
//! is inside the runtime.
//!
//! Every race about an LWP changing kernel threads is settled here and nowhere
//! else. Two words, written by different sides:
//!
//! * `inside`, written only by the holder: set on every entry to the runtime,
//!   cleared on every exit. While it is set, the LWP's queues are in motion and
//!   nobody else may touch them.
//! * `owner`, the holder's id and a state:
//!
//! | state | meaning | who leaves it, and how |
//! |---|---|---|
//! | `FREE` | no kernel thread carries the LWP | a kernel thread: [`OwnerWord::claim`] |
//! | `HELD(k)` | kernel thread `k` carries it | `k`: [`OwnerWord::pass`], [`OwnerWord::release`]; a taker: [`OwnerWord::offer`] |
//! | `OFFERED(k)` | `k` seems blocked: others may take it | `k`: [`OwnerWord::reclaim`]; a taker: [`OwnerWord::take`] |
//!
//! *Taken* is `HELD` by another kernel thread: the returning `k` sees a word
//! that no longer names it and knows that the LWP went on without it.
//!
//! Protocol of the two sides (Dekker's, made asymmetric because entries happen
//! every few nanoseconds and takes hardly ever):
//!
//! 1. holder: `inside = true`; fence; `owner` still `HELD(me)`? else leave.
//! 2. taker: `owner: OFFERED(k) → HELD(me)`; fence; `inside` still false?
//!
//! Today only the LWP's own kernel thread takes or passes the word, from inside
//! the runtime, so the holder's fence is a compiler fence. A taker from outside
//! needs the full fence on its own side (`membarrier`), or, where the kernel
//! refuses that, one on both.

use crate::shim::{AtomicBool, AtomicU64, Ordering, compiler_fence};

const FREE: u64 = 0;
const OFFERED: u64 = 1;
const SHIFT: u32 = 1;

/// Names a kernel thread in an owner word. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderId(core::num::NonZeroU32);

impl HolderId {
    /// The id for a non-zero number, unique among kernel threads that carry
    /// LWPs.
    pub fn new(id: u32) -> Option<HolderId> {
        core::num::NonZeroU32::new(id).map(HolderId)
    }

    fn held(self) -> u64 {
        u64::from(self.0.get()) << SHIFT
    }

    fn offered(self) -> u64 {
        self.held() | OFFERED
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct OwnerWord {
    inside: AtomicBool,
    owner: AtomicU64,
}

impl OwnerWord {
    const_unless_loom! {
        /// An LWP that no kernel thread carries yet.
        pub fn new() -> OwnerWord {
            OwnerWord { inside: AtomicBool::new(false), owner: AtomicU64::new(FREE) }
        }
    }

    /// The holder enters the runtime. Entries nest no deeper than one.
    #[inline(always)]
    pub fn enter(&self) {
        debug_assert!(
            !self.inside.load(Ordering::Relaxed),
            "runtime entered twice"
        );
        self.inside.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// The holder leaves the runtime.
    #[inline(always)]
    pub fn leave(&self) {
        debug_assert!(self.inside.load(Ordering::Relaxed), "runtime left twice");
        compiler_fence(Ordering::SeqCst);
        self.inside.store(false, Ordering::Relaxed);
    }

    /// Whether the holder is inside the runtime. Exact only for the holder.
    #[inline]
    pub fn is_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed)
    }

    /// `FREE → HELD(me)`.
    #[must_use]
    pub fn claim(&self, me: HolderId) -> bool {
        self.step(FREE, me.held())
    }

    /// `HELD(me) → FREE`: the kernel thread ends or becomes a spare.
    #[must_use]
    pub fn release(&self, me: HolderId) -> bool {
        self.step(me.held(), FREE)
    }

    /// `HELD(me) → HELD(next)`: the holder gives the LWP away by itself.
    #[must_use]
    pub fn pass(&self, me: HolderId, next: HolderId) -> bool {
        self.step(me.held(), next.held())
    }

    /// `HELD(holder) → OFFERED(holder)`: somebody saw the holder blocked.
    #[must_use]
    pub fn offer(&self, holder: HolderId) -> bool {
        self.step(holder.held(), holder.offered())
    }

    /// `OFFERED(me) → HELD(me)`: the holder came back in time.
    #[must_use]
    pub fn reclaim(&self, me: HolderId) -> bool {
        self.step(me.offered(), me.held())
    }

    /// `OFFERED(holder) → HELD(me)`: the LWP goes on without its holder.
    #[must_use]
    pub fn take(&self, holder: HolderId, me: HolderId) -> bool {
        self.step(holder.offered(), me.held())
    }

    /// The word names `next`, whoever it named before: `FREE` or the calling
    /// kernel thread, which makes its own successor from inside.
    pub fn inherit(&self, next: HolderId) {
        // Release: the LWP's fields; pairs with the Acquire of the successor's
        // start (the channel on which it waits for the word to go).
        self.owner.store(next.held(), Ordering::Release);
    }

    /// Whether `me` holds the LWP, offered or not.
    #[inline]
    pub fn is_held_by(&self, me: HolderId) -> bool {
        self.owner.load(Ordering::Relaxed) | OFFERED == me.offered()
    }

    fn step(&self, from: u64, to: u64) -> bool {
        // AcqRel: the LWP's fields travel with the word. Release pairs with the
        // Acquire of the next holder's step, in this function.
        self.owner
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl Default for OwnerWord {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;

    #[test]
    fn transitions_are_the_table() {
        let (a, b) = (HolderId::new(1).unwrap(), HolderId::new(2).unwrap());
        let word = OwnerWord::new();
        assert!(!word.offer(a) && !word.reclaim(a) && !word.take(a, b) && !word.pass(a, b));
        assert!(word.claim(a) && !word.claim(b));
        assert!(word.is_held_by(a) && !word.is_held_by(b));
        assert!(!word.take(a, b) && !word.reclaim(a));
        assert!(word.offer(a) && !word.offer(a) && word.is_held_by(a));
        assert!(word.reclaim(a) && word.offer(a) && word.take(a, b));
        assert!(!word.reclaim(a) && word.is_held_by(b) && !word.is_held_by(a));
        assert!(word.pass(b, a) && word.release(a) && word.claim(b));
    }
}
