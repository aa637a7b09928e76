//! The owner word: which kernel thread holds an LWP, and whether that thread
//! is inside the runtime.
//!
//! Every race about an LWP changing kernel threads is settled here and nowhere
//! else. Two words, written by different sides:
//!
//! * [`Holder::inside`], one per kernel thread and written by it alone: set on
//!   every entry to the runtime, cleared on every exit. While it is set, the
//!   queues of the LWP that the kernel thread holds are in motion and nobody
//!   else may touch them.
//! * the owner word, one per LWP: the holder's id, a state, and a count:
//!
//! | state | meaning | who leaves it, and how |
//! |---|---|---|
//! | `FREE` | no kernel thread carries the LWP, or `k` has given it away | a kernel thread: [`OwnerWord::claim`] |
//! | `HELD(k)` | kernel thread `k` carries it | `k`, inside: [`OwnerWord::release`]; anybody: [`OwnerWord::offer`] |
//! | `OFFERED(k)` | `k` seems blocked: others may take it | `k`: inside [`OwnerWord::enter`]; a taker: [`OwnerWord::take`] |
//! | `RETIRED` | the runtime does without the LWP: nobody may carry it | who adds it again: [`OwnerWord::revive`] |
//!
//! A holder retires the LWP, from inside, in the place of a release
//! ([`OwnerWord::retire`]). So a kernel thread that comes late, for an offer that
//! has gone, cannot carry what is retired, and whoever revives the LWP need not
//! ask who else is on the way: one of those who come claims it.
//!
//! *Taken* is `HELD` by another kernel thread: the returning `k` sees a word
//! that is not its own and knows that the LWP went on without it. *In runtime*
//! is `HELD` with the holder inside.
//!
//! ```text
//!   holder k, entering                    taker
//!   1. inside = true                      1. the word is OFFERED(k, n)
//!   2. fence (compiler's)                 2. fence (membarrier: in all threads)
//!   3. word = HELD(k, n)? inside.         3. k inside? give up: k will see the offer
//!      OFFERED(k, n) → HELD(k, n+1)?      4. OFFERED(k, n) → HELD(me, n+1)
//!      inside. Else: out; it is gone.
//! ```
//!
//! *One of the two wins.* Either fence is first. If the holder's is, the taker's
//! step 3 sees it inside. If the taker's is, the holder's step 3 sees the offer
//! (which was made before), and both exchange the same value: one succeeds. The
//! count makes sure that the offer which the taker exchanges is the one that it
//! looked at: without it, the holder could come back, be offered again while
//! inside, and lose the LWP there.
//!
//! *The fences.* Entries happen every few nanoseconds and takes hardly ever, so
//! the taker's side pays for both: `membarrier` makes every other kernel thread
//! run a fence. Where the kernel refuses it, [`require_fences`] makes entries
//! run their own.

use crate::shim::{AtomicBool, AtomicU64, Ordering, compiler_fence, fence};

/// What a kernel thread that holds nothing expects: no word is like that while it is held.
const NOTHING: u64 = u64::MAX;
/// The state of an offer; the count begins above it.
const OFFERED: u64 = 1;
const COUNT: u64 = 2;
/// The id stands above the count: 28 bits.
const ID_SHIFT: u32 = 36;
/// In place of a holder's id: see the table. (The id of [`NOTHING`] is another.)
const RETIRED: u64 = (1 << (u64::BITS - ID_SHIFT)) - 2;

/// Whether entries run a full fence of their own.
#[cfg(not(lisle_loom))]
static FENCES: AtomicBool = AtomicBool::new(false);

/// From now on every entry runs a full fence: for kernels without membarrier.
/// Call it before the first LWP starts.
#[cfg(not(lisle_loom))]
pub fn require_fences() {
    // Relaxed: kernel threads that are to see it are started later.
    FENCES.store(true, Ordering::Relaxed);
}

/// Whether entries run a fence, so that a taker needs only one of its own.
#[inline(always)]
pub fn has_fences() -> bool {
    #[cfg(not(lisle_loom))]
    return FENCES.load(Ordering::Relaxed);
    #[cfg(lisle_loom)]
    true
}

/// The count of a word, and what it looks like without a holder.
fn free(word: u64) -> u64 {
    word & ((1 << ID_SHIFT) - 1) & !OFFERED
}

fn is_free(word: u64) -> bool {
    word >> ID_SHIFT == 0
}

fn is_retired(word: u64) -> bool {
    word >> ID_SHIFT == RETIRED
}

/// The same word with the next count.
fn counted(word: u64) -> u64 {
    (word >> ID_SHIFT << ID_SHIFT) | free(free(word) + COUNT)
}

/// What a kernel thread that carries LWPs says of itself.
#[derive(Debug)]
pub struct Holder {
    inside: AtomicBool,
    /// The owner word of the LWP it holds, as it left it; its own use.
    held: AtomicU64,
}

impl Holder {
    const_unless_loom! {
        /// Of a kernel thread that holds nothing.
        pub fn new() -> Holder {
            Holder { inside: AtomicBool::new(false), held: AtomicU64::new(NOTHING) }
        }
    }

    /// Leaves the runtime.
    #[inline(always)]
    pub fn leave(&self) {
        debug_assert!(self.is_inside(), "runtime left twice");
        // Release: all that was done to the LWP; pairs with the Acquire in
        // `take`.
        self.inside.store(false, Ordering::Release);
    }

    /// Whether the kernel thread is inside the runtime. Exact only for itself.
    #[inline(always)]
    pub fn is_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed)
    }

    fn id(&self) -> u64 {
        // Relaxed: the taker's fence follows, so that who sees that it holds an
        // LWP sees it inside, or out again; pairs with the Release in `hold`.
        self.held.load(Ordering::Relaxed) >> ID_SHIFT
    }
}

impl Default for Holder {
    fn default() -> Self {
        Self::new()
    }
}

/// Names a kernel thread in an owner word; unique among those that carry LWPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderId(u32);

impl HolderId {
    /// The id for a number from 1 to 2^28 - 3.
    pub fn new(number: u32) -> Option<HolderId> {
        (number != 0 && u64::from(number) < RETIRED).then_some(HolderId(number))
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct OwnerWord(AtomicU64);

impl OwnerWord {
    const_unless_loom! {
        /// An LWP that no kernel thread carries yet.
        pub fn new() -> OwnerWord {
            OwnerWord(AtomicU64::new(0))
        }
    }

    /// The calling kernel thread, outside the runtime, enters it. `false`: the
    /// LWP has gone on without it. Entries do not nest.
    #[inline(always)]
    pub fn enter(&self, me: &Holder) -> bool {
        self.enter_at_once(me) || self.enter_after_all(me)
    }

    /// As [`OwnerWord::enter`], if nobody has touched the word since the holder left. `false`:
    /// [`OwnerWord::enter_after_all`] goes on from here.
    #[inline(always)]
    pub fn enter_at_once(&self, me: &Holder) -> bool {
        debug_assert!(!me.is_inside(), "runtime entered twice");
        me.inside.store(true, Ordering::Relaxed);
        if has_fences() {
            fence(Ordering::SeqCst);
        } else {
            // The taker's membarrier makes it a full one: see the module.
            compiler_fence(Ordering::SeqCst);
        }
        // Relaxed: what was done to the LWP before was done by this kernel thread.
        self.0.load(Ordering::Relaxed) == me.held.load(Ordering::Relaxed)
    }

    /// Goes on where [`OwnerWord::enter_at_once`] has failed.
    #[cold]
    #[inline(never)]
    pub fn enter_after_all(&self, me: &Holder) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        let held = me.held.load(Ordering::Relaxed);
        let again = counted(held);
        // Relaxed: as in `enter`; on success nothing is passed on.
        if word == held | OFFERED
            && self
                .0
                .compare_exchange(word, again, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            me.held.store(again, Ordering::Relaxed);
            return true;
        }
        // Nothing of the LWP was touched.
        me.inside.store(false, Ordering::Relaxed);
        false
    }

    /// `FREE → HELD(me)`; the kernel thread is inside then.
    #[must_use]
    pub fn claim(&self, me: &Holder, id: HolderId) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        is_free(word) && self.hold(word, me, id)
    }

    /// The step with which a kernel thread gets hold of the LWP.
    fn hold(&self, from: u64, me: &Holder, id: HolderId) -> bool {
        let mine = u64::from(id.0) << ID_SHIFT | free(counted(from));
        // Acquire: the LWP's fields travel with the word; pairs with the Release
        // in `release`, and with that in `Holder::leave` through `take`.
        let held = self
            .0
            .compare_exchange(from, mine, Ordering::Acquire, Ordering::Relaxed);
        if held.is_ok() {
            me.inside.store(true, Ordering::Relaxed);
            // Last: nobody takes from a holder whose id is another than the
            // word's. Release: pairs with the taker's fence after `id`.
            me.held.store(mine, Ordering::Release);
        }
        held.is_ok()
    }

    /// `HELD(me) → FREE`, from inside: the runtime stops, or the holder gives
    /// the LWP away for good.
    pub fn release(&self, me: &Holder) {
        self.give_away(me, 0);
    }

    /// `HELD(me) → RETIRED`, from inside.
    pub fn retire(&self, me: &Holder) {
        self.give_away(me, RETIRED);
    }

    fn give_away(&self, me: &Holder, to: u64) {
        debug_assert!(me.is_inside());
        let held = me.held.load(Ordering::Relaxed);
        me.held.store(NOTHING, Ordering::Relaxed);
        // Release: the LWP's fields; pairs with the Acquire in `hold`. A store
        // that overwrites an offer is right: nobody takes from one who is inside.
        self.0.swap(to << ID_SHIFT | free(held), Ordering::Release);
        me.inside.store(false, Ordering::Relaxed);
    }

    /// `RETIRED → FREE`: somebody is going to carry the LWP. `false`: it was not
    /// retired, or another did this.
    #[must_use]
    pub fn revive(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        is_retired(word)
            // Relaxed: touches no field of the LWP, and a read-modify-write carries
            // the Release of `give_away` on to the Acquire in `hold`.
            && self
                .0
                .compare_exchange(word, free(word), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// `FREE → RETIRED`: nobody is coming to carry the LWP. `false`: somebody
    /// carries it.
    pub fn withdraw(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        let retired = RETIRED << ID_SHIFT | word;
        is_free(word)
            // Relaxed: as in `revive`.
            && self
                .0
                .compare_exchange(word, retired, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether it is retired. A hint.
    pub fn is_retired(&self) -> bool {
        is_retired(self.0.load(Ordering::Relaxed))
    }

    /// `HELD(k) → OFFERED(k)`, whoever `k` is: the LWP may be taken. Takes no
    /// lock and allocates nothing. `false`: it is free or offered already.
    pub fn offer(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        !is_free(word)
            && !is_retired(word)
            && word & OFFERED == 0
            // Release: the offer itself, for the fence of a taker who has seen it;
            // pairs with the Acquire in `take`.
            && self
                .0
                .compare_exchange(word, word | OFFERED, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// As [`OwnerWord::offer`], by the holder itself, which is inside and leaves
    /// the runtime with it. Unless it is taken, the next entry takes it back.
    pub fn offer_and_leave(&self, me: &Holder) {
        debug_assert!(me.is_inside());
        let held = me.held.load(Ordering::Relaxed);
        // If it fails, somebody else has made the same offer: the holder is
        // inside, so nobody has taken it. Relaxed: the Release is in `leave`.
        let _ = self
            .0
            .compare_exchange(held, held | OFFERED, Ordering::Relaxed, Ordering::Relaxed);
        me.leave();
    }

    /// How often somebody got hold of the LWP, or took back an offer of it.
    pub fn times_held(&self) -> u64 {
        free(self.0.load(Ordering::Relaxed)) / COUNT
    }

    /// Whether it is offered. A hint.
    pub fn is_offered(&self) -> bool {
        self.0.load(Ordering::Relaxed) & OFFERED != 0
    }

    /// Whether this kernel thread holds the LWP, offered or not. Exact only
    /// if it says no, or inside.
    pub fn is_held_by(&self, holder: &Holder) -> bool {
        self.0.load(Ordering::Relaxed) >> ID_SHIFT == holder.id()
    }

    /// `OFFERED(holder) → HELD(me)`: the LWP goes on without its holder, and the
    /// calling kernel thread is inside. `false`: it is not offered, or `holder`
    /// is inside or back or not the one.
    ///
    /// `barrier` is a full fence in this kernel thread and, unless
    /// [`has_fences`], in all others that may be the holder; if it fails, so
    /// does the take.
    #[must_use]
    pub fn take(
        &self,
        holder: &Holder,
        me: &Holder,
        id: HolderId,
        barrier: impl FnOnce() -> bool,
    ) -> bool {
        // Acquire: the offer happens before this thread's fence, and so before an
        // entry whose fence comes later; pairs with the Release in `offer`.
        let word = self.0.load(Ordering::Acquire);
        if word & OFFERED == 0 || word >> ID_SHIFT != holder.id() || !barrier() {
            return false;
        }
        // Acquire: all that the holder did to the LWP; pairs with the Release in
        // `leave`.
        if holder.inside.load(Ordering::Acquire) {
            return false;
        }
        self.hold(word, me, id)
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

    fn id(number: u32) -> HolderId {
        HolderId::new(number).unwrap()
    }

    #[test]
    fn transitions_are_the_table() {
        let (a, b) = (Holder::new(), Holder::new());
        let word = OwnerWord::new();
        assert!(!word.offer() && !word.take(&a, &b, id(2), || true));
        assert!(word.claim(&a, id(1)) && !word.claim(&b, id(2)));
        assert!(word.is_held_by(&a) && a.is_inside());
        // Inside, it can be offered but not taken.
        assert!(word.offer() && !word.offer() && !word.take(&a, &b, id(2), || true));
        a.leave();
        assert!(word.enter(&a), "it takes the offer back");
        assert!(!word.is_offered() && word.times_held() == 2);
        word.offer_and_leave(&a);
        assert!(!word.take(&a, &b, id(2), || false), "no barrier, no take");
        assert!(word.take(&a, &b, id(2), || true));
        assert!(b.is_inside() && word.is_held_by(&b));
        assert!(!word.enter(&a) && !a.is_inside());
        b.leave();
        assert!(word.enter(&b));
        word.release(&b);
        assert!(word.claim(&a, id(1)));
        word.retire(&a);
        assert!(word.is_retired() && !word.offer() && !word.claim(&b, id(2)));
        assert!(!word.is_held_by(&a) && !word.take(&a, &b, id(2), || true));
        assert!(word.revive() && !word.revive() && word.withdraw() && word.revive());
        assert!(word.claim(&b, id(2)) && !word.withdraw());
    }

    #[test]
    fn counts_wrap_and_leave_the_id_alone() {
        let last = 7 << ID_SHIFT | ((1 << ID_SHIFT) - COUNT);
        assert_eq!(counted(last), 7 << ID_SHIFT);
        assert_eq!(counted(last | OFFERED), 7 << ID_SHIFT);
        assert!(is_free(free(last)));
        assert_eq!(counted(7 << ID_SHIFT | OFFERED), 7 << ID_SHIFT | COUNT);
    }

    #[test]
    fn ids_have_28_bits() {
        assert!(HolderId::new(0).is_none() && HolderId::new((1 << 28) - 2).is_none());
        assert!(HolderId::new((1 << 28) - 3).is_some());
    }
}
