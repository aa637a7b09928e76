//! The wait word: what settles every race about a thread's waiting.
//!
//! A wait can end in several ways at once (a waker, a deadline, a cancel, an
//! unpark) while the thread is still on its way to sleep. All of them meet in
//! one atomic word of the control block; exactly one wins.
//!
//! ```text
//!  63      62     61 .. 8   7     6          5            4       3       2 .. 0
//!  CANCEL  TOKEN  epoch     KEPT  CLAIMABLE  CANCELLABLE  TOKENS  SLEEPS  phase
//! ```
//!
//! | phase | meaning |
//! |---|---|
//! | `RUNNING` | has never waited |
//! | `PARKED` | whoever resolves it must make it ready: its context is saved; or it `SLEEPS`, and must be woken |
//! | `WOKEN`, `TOOK`, `TIMED_OUT`, `CANCELLED`, `ABANDONED` | how the last wait ended; running again |
//!
//! The epoch counts waits, so a [`WaitKey`](super::WaitKey) kept too long
//! resolves nothing: it can be fired at any time by anybody. `CANCEL` and
//! `TOKEN` are set by others at any time and survive every transition; `CANCEL`
//! for ever, `TOKEN` until a wait that takes tokens finds it. `CANCELLABLE` and
//! `TOKENS` say what else may end the wait in which the thread is parked. `SLEEPS`
//! says that it waits on its kernel thread's sleeper, not in the scheduler: the word
//! alone tells the resolver which of the two to serve, whatever becomes of the thread
//! by the time it does. `CLAIMABLE` says that who finds the thread parked may end the wait
//! in order to do something to it while it stands still, and make it ready then. Others
//! may put an end to that without ending the wait; if the thread is on its way, by `KEPT`,
//! which `commit` obeys.
//!
//! *Protocol*. Waiter: `arm`, publish the key, look at the condition once more,
//! leave the stack; then, from the destination's stack, `commit`. Resolver:
//! make the condition true, find the key, `resolve`.
//!
//! *A wait begins without a word to anybody*: `arm` notes, for the thread itself and
//! whoever commits for it, what the word is to be when it is parked. The key names the
//! epoch after that which the word has then. So there are three cases for who resolves an
//! epoch:
//!
//! | the word's epoch | the wait | `resolve` |
//! |---|---|---|
//! | the one before | has begun | makes it this one, over: the thread finds it so |
//! | this one, `PARKED` | is waited out | makes it over and the thread ready |
//! | any other, or over | is over | does nothing |
//!
//! No key of an epoch is there before the wait has begun, and no wait begins while the
//! one before has not ended: `arm` ends one that was forgotten. So "the one before" means
//! what it says.
//!
//! *No wake-up is lost*: `commit` and `resolve` are read-modify-writes of one
//! word, so one is first. If `resolve` is, `commit` fails and the committer
//! makes the thread ready. If `commit` is, `resolve` finds `PARKED` and does. Cancels
//! and tokens that come before `commit` are left in the word, where it finds them.
//! *No thread runs twice*: only one transition leaves `PARKED` per epoch, and it alone
//! says who makes the thread ready.
//!
//! *Ordering*: `resolve`, `post_token` and `request_cancel` release what
//! happened before them (what whoever claims a wait does after that is released by making
//! the thread ready); `outcome` and `arm` (for a token) acquire it, through `commit`
//! if that came between, which is a read-modify-write. `commit` releases the saved
//! context; the resolver that makes the thread ready acquires it.

use lisle_lwp::shim::{AtomicU64, Ordering};

const CANCEL: u64 = 1 << 63;
const TOKEN: u64 = 1 << 62;
const STICKY: u64 = CANCEL | TOKEN;
const EPOCH_SHIFT: u32 = 8;
const BELOW_EPOCH: u64 = (1 << EPOCH_SHIFT) - 1;
/// What may end a wait, so far below what does.
const CANCELLABLE: u64 = CANCEL >> STICKY_SHIFT;
const TOKENS: u64 = TOKEN >> STICKY_SHIFT;
const STICKY_SHIFT: u32 = 58;
const SLEEPS: u64 = 1 << 3;
const CLAIMABLE: u64 = 1 << 6;
const KEPT: u64 = 1 << 7;
const PHASE: u64 = 7;

const TOOK: u64 = 1;
const PARKED: u64 = 2;
const WOKEN: u64 = 3;
const TIMED_OUT: u64 = 4;
const CANCELLED: u64 = 5;
const ABANDONED: u64 = 6;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Outcome {
    /// What was waited for happened.
    Woken = WOKEN,
    /// The deadline passed first.
    TimedOut = TIMED_OUT,
    /// The thread was cancelled first.
    Cancelled = CANCELLED,
    /// The waiter itself found the condition true and did not wait.
    Abandoned = ABANDONED,
}

/// What besides a resolver may end a wait, and where it is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest(u64);

impl Interest {
    /// Resolvers only; in the scheduler.
    pub const PLAIN: Interest = Interest(0);
    /// A cancel ends it.
    pub const CANCELLABLE: Interest = Interest(CANCELLABLE);
    /// A token (unpark) ends it.
    pub const TOKENS: Interest = Interest(TOKENS);
    /// The thread waits on its sleeper.
    pub const SLEEPS: Interest = Interest(SLEEPS);
    /// Whoever knows of the wait may claim it. Not for one that sleeps.
    pub const CLAIMABLE: Interest = Interest(CLAIMABLE);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// This, or nothing.
    #[must_use]
    #[inline(always)]
    pub fn when(self, condition: bool) -> Interest {
        Interest(self.0 * u64::from(condition))
    }
}

/// What [`WaitWord::arm`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Armed {
    /// The wait is armed under this epoch.
    Waiting(u64),
    /// A token was there and has been taken; nothing is armed.
    TookToken,
    /// The thread is cancelled; nothing is armed.
    Cancelled,
}

/// What the caller of a resolving transition has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Resolution {
    /// The thread was parked: make it ready. Nobody else will.
    MakeReady,
    /// The thread waits on its sleeper: wake that. It may go on without, so
    /// the thread must not be touched otherwise.
    WakeSleeper,
    /// The thread had not left its stack yet and will see it by itself.
    Noticed,
    /// That wait is over, or ended by somebody else: nothing happened.
    Stale,
}

/// See the module documentation.
#[derive(Debug)]
#[repr(C)] // a debugger reads the first: see `debug/layout.rs`
pub struct WaitWord {
    word: AtomicU64,
    /// What the word is to be, but for what survives or has been kept from being claimed, when
    /// the wait that began last is parked. Written by the thread itself.
    begun: AtomicU64,
}

impl WaitWord {
    lisle_lwp::const_unless_loom! {
        /// A thread that has never waited.
        pub fn new() -> WaitWord {
            WaitWord { word: AtomicU64::new(0), begun: AtomicU64::new(0) }
        }
    }

    /// Begins a wait. Only the thread itself may call it.
    #[inline(always)]
    pub fn arm(&self, interest: Interest) -> Armed {
        let word = self.word.load(Ordering::Relaxed);
        match found(word, interest.0) {
            0 => {}
            TOKENS => {
                self.take_token();
                return Armed::TookToken;
            }
            _ => return Armed::Cancelled,
        }
        let last = self.begun.load(Ordering::Relaxed);
        if !is_same_epoch(word, last) {
            self.forget(last);
        }
        let begun = next_epoch(last) | interest.0 | PARKED;
        // Release: what the thread has said of the wait; pairs with the Acquire in `keep`.
        self.begun.store(begun, Ordering::Release);
        Armed::Waiting(epoch_of(begun))
    }

    /// Takes the token that is there. Nobody else takes it.
    #[cold]
    fn take_token(&self) {
        // Acquire: pairs with the Release in `post_token`.
        self.word.fetch_and(!TOKEN, Ordering::Acquire);
    }

    /// Ends a wait that its thread has begun and forgotten: its key must not end another.
    #[cold]
    fn forget(&self, begun: u64) {
        let _ = self.resolve(epoch_of(begun), Outcome::Abandoned);
    }

    /// The thread's context is saved. Returns `false` if the wait was resolved
    /// before, or a cancel or token was there for it: then the caller makes the thread
    /// ready. Called on behalf of the thread, from the stack that replaced it.
    #[must_use]
    #[inline]
    pub fn commit(&self) -> bool {
        self.commit_at_once() || self.commit_after_all()
    }

    /// As [`WaitWord::commit`], in the common case: nothing has happened since the wait began.
    /// `false`: [`WaitWord::commit_after_all`] goes on from here.
    #[must_use]
    #[inline(always)]
    pub fn commit_at_once(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        let word = self.word.load(Ordering::Relaxed);
        // Release: as below.
        word & (STICKY | KEPT) == 0
            && !is_same_epoch(word, begun)
            && self
                .word
                .compare_exchange(word, begun, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// Goes on where [`WaitWord::commit_at_once`] has failed.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn commit_after_all(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if is_same_epoch(word, begun) {
                return false;
            }
            let begun = match word & KEPT {
                0 => begun,
                _ => begun & !CLAIMABLE,
            };
            let next = match found(word, begun) {
                0 => word & STICKY | begun,
                TOKENS => word & CANCEL | begun & !PHASE | TOOK,
                _ => word & STICKY | begun & !PHASE | CANCELLED,
            };
            // Release: the saved context; pairs with the Acquire in `settle`.
            match self
                .word
                .compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return is_parked(next),
                Err(now) => word = now,
            }
        }
    }

    /// Ends the wait of this epoch, if it still lasts.
    #[inline]
    pub fn resolve(&self, epoch: u64, outcome: Outcome) -> Resolution {
        let over = epoch << EPOCH_SHIFT | outcome as u64;
        let (resolution, _) = self.settle(|word| {
            let lasts = if is_same_epoch(word, over) {
                is_parked(word)
            } else {
                is_same_epoch(next_epoch(word), over)
            };
            lasts.then_some(word & STICKY | over)
        });
        resolution
    }

    /// Ends the wait whose epoch satisfies `is_meant`, if it is claimable and the thread parked:
    /// the thread stands still until the caller makes it ready. Of a wait of that epoch it is
    /// asked whether it `suits` before. Says which wait that was.
    #[inline(always)]
    pub fn claim(
        &self,
        is_meant: impl Fn(u64) -> bool,
        suits: impl FnOnce() -> bool,
    ) -> Option<u64> {
        // Acquire: what the thread said of this wait before; pairs with the Release in `commit`.
        let word = self.word.load(Ordering::Acquire);
        let epoch = epoch_of(word);
        let claimed = word & (PHASE | CLAIMABLE) == PARKED | CLAIMABLE
            && is_meant(epoch)
            && suits()
            && self
                .word
                // Acquire: also of who pins the thread; pairs with the Release in `is_parked`. Not
                // Release: who is told is told by whoever makes the thread ready.
                .compare_exchange(
                    word,
                    word & !BELOW_EPOCH | WOKEN,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok();
        claimed.then_some(epoch)
    }

    /// Makes the claimable wait whose epoch satisfies `is_meant` one that nobody claims. Of a
    /// wait of that epoch it is asked whether it `suits` before. `false`: it does not, or is
    /// over.
    pub fn keep(&self, is_meant: impl Fn(u64) -> bool, mut suits: impl FnMut() -> bool) -> bool {
        // Acquire, here and below: what the thread said of the wait; pairs with the Releases in
        // `commit` and `arm`.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let kept = if is_meant(epoch_of(word)) {
                if word & (PHASE | CLAIMABLE) != PARKED | CLAIMABLE {
                    return false;
                }
                word & !CLAIMABLE
            } else {
                let (begun, next) = (self.begun.load(Ordering::Acquire), next_epoch(word));
                if !is_meant(epoch_of(next))
                    || !is_same_epoch(begun, next)
                    || begun & CLAIMABLE == 0
                {
                    return false;
                }
                word | KEPT
            };
            if !suits() {
                return false;
            }
            // Release: not before we have looked.
            match self
                .word
                .compare_exchange_weak(word, kept, Ordering::Release, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Ends a wait that takes tokens, or leaves a token for the next one. Says which
    /// wait it ended: by the time the caller could ask, the next may have begun.
    pub fn post_token(&self) -> (Resolution, u64) {
        self.settle(|word| {
            let takes = is_parked(word) && word & TOKENS != 0;
            // Even a second token is written: it must release again.
            Some(if takes {
                word & !PHASE | WOKEN
            } else {
                word | TOKEN
            })
        })
    }

    /// Marks the thread cancelled and ends a cancellable wait. Says which, as
    /// [`WaitWord::post_token`] does.
    pub fn request_cancel(&self) -> (Resolution, u64) {
        self.settle(|word| {
            let ends = is_parked(word) && word & CANCELLABLE != 0;
            Some(
                CANCEL
                    | if ends {
                        word & !PHASE | CANCELLED
                    } else {
                        word
                    },
            )
        })
    }

    #[inline(always)]
    fn settle(&self, step: impl Fn(u64) -> Option<u64>) -> (Resolution, u64) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let Some(next) = step(word) else {
                return (Resolution::Stale, epoch_of(word));
            };
            // Release: what happened before; pairs with the Acquire in `outcome`
            // and `take_token`. Acquire: the context released by `commit`.
            let resolution = match self.word.compare_exchange_weak(
                word,
                next,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) if is_parked(word) && !is_parked(next) => match word & SLEEPS {
                    0 => Resolution::MakeReady,
                    _ => Resolution::WakeSleeper,
                },
                Ok(_) if !is_same_epoch(word, next) => Resolution::Noticed,
                Ok(_) => Resolution::Stale,
                Err(now) => {
                    word = now;
                    continue;
                }
            };
            return (resolution, epoch_of(word));
        }
    }

    /// How the wait that began last ended; `None` while it lasts. Only the thread itself may
    /// call it, or who has made it ready.
    #[inline]
    pub fn outcome(&self) -> Option<Outcome> {
        // Acquire: pairs with the Release in `settle`.
        let word = self.word.load(Ordering::Acquire);
        if !is_same_epoch(word, self.begun.load(Ordering::Relaxed)) {
            return None;
        }
        // By far the most frequent, and a jump through a table costs as much as all else here.
        if word & PHASE == WOKEN {
            return Some(Outcome::Woken);
        }
        match word & PHASE {
            TOOK => Some(Outcome::Woken),
            TIMED_OUT => Some(Outcome::TimedOut),
            CANCELLED => Some(Outcome::Cancelled),
            ABANDONED => Some(Outcome::Abandoned),
            _ => None,
        }
    }

    /// Whether the last wait ended with a token that was there before the thread was parked.
    pub fn took_token(&self) -> bool {
        self.word.load(Ordering::Relaxed) & PHASE == TOOK
    }

    /// Whether a cancel was requested.
    pub fn is_cancelled(&self) -> bool {
        // Acquire: pairs with the Release in `settle`.
        self.word.load(Ordering::Acquire) & CANCEL != 0
    }

    /// The epoch that satisfies `is_meant`: that of the word, or that of the wait that may have
    /// begun since.
    #[inline(always)]
    pub fn recent(&self, is_meant: impl Fn(u64) -> bool) -> Option<u64> {
        let word = self.word.load(Ordering::Relaxed);
        let (last, next) = (epoch_of(word), epoch_of(next_epoch(word)));
        if is_meant(last) {
            Some(last)
        } else {
            is_meant(next).then_some(next)
        }
    }

    /// Whether the wait of this epoch is over. Who asks knows of what the thread did before
    /// that wait.
    pub fn is_over(&self, epoch: u64) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let it = epoch << EPOCH_SHIFT;
        let has_begun = is_same_epoch(next_epoch(word), it);
        let is_waited_out = is_same_epoch(word, it) && is_parked(word);
        !has_begun && !is_waited_out
    }

    /// Which wait it is that began last. Exact only for the thread itself.
    #[inline(always)]
    pub fn epoch(&self) -> u64 {
        epoch_of(self.begun.load(Ordering::Relaxed))
    }

    /// Whether the wait that began last is waited on the thread's sleeper: a kernel thread's, or
    /// that of a light thread that unwinds (the panic count belongs to the kernel thread).
    /// Exact only for the thread itself.
    #[inline(always)]
    pub fn sleeps(&self) -> bool {
        self.begun.load(Ordering::Relaxed) & SLEEPS != 0
    }

    /// Whether the thread is parked in the scheduler. If so, its saved context is
    /// seen, and whoever makes the thread ready later sees what the caller did
    /// before.
    pub fn is_parked(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while is_parked(word) && word & SLEEPS == 0 {
            // A write, so that it has a place among those of the resolvers. Release:
            // pairs with the Acquire in `settle`. Acquire: the context; pairs with
            // the Release in `commit`.
            match self
                .word
                .compare_exchange_weak(word, word, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Which wait it is in which the thread has stopped, if it has.
    pub fn parked_epoch(&self) -> Option<u64> {
        // Acquire: what the thread said of this wait before; pairs with the Release
        // in `commit`.
        let word = self.word.load(Ordering::Acquire);
        is_parked(word).then_some(epoch_of(word))
    }

    /// Whether a wait has begun that lasts, as far as a bystander can tell.
    #[cfg(all(feature = "backtrace", not(lisle_loom)))]
    pub fn has_begun(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        is_parked(word) || !is_same_epoch(word, self.begun.load(Ordering::Relaxed))
    }

    /// Whether the thread waits and has said so, as far as a bystander can tell: not while it
    /// is on its way.
    pub fn is_waiting(&self) -> bool {
        is_parked(self.word.load(Ordering::Relaxed))
    }

    /// Forgets cancel and token, for the next thread in this control block. The
    /// epoch goes on, so that old keys stay stale. The caller owns the block.
    pub fn reset(&self) {
        self.word
            .store(self.epoch() << EPOCH_SHIFT, Ordering::Relaxed);
    }
}

impl Default for WaitWord {
    fn default() -> Self {
        Self::new()
    }
}

fn is_parked(word: u64) -> bool {
    word & PHASE == PARKED
}

/// What of what may end a wait is there.
#[inline(always)]
fn found(word: u64, interest: u64) -> u64 {
    word >> STICKY_SHIFT & interest & (CANCELLABLE | TOKENS)
}

#[inline(always)]
fn is_same_epoch(one: u64, other: u64) -> bool {
    (one ^ other) & !STICKY & !BELOW_EPOCH == 0
}

/// The epoch after that of this word, where it stands in a word.
#[inline(always)]
fn next_epoch(word: u64) -> u64 {
    (word | BELOW_EPOCH).wrapping_add(1) & !STICKY
}

fn epoch_of(word: u64) -> u64 {
    (word & !STICKY) >> EPOCH_SHIFT
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;

    const PLAIN: Interest = Interest::PLAIN;
    const PARK: Interest = Interest::CANCELLABLE.and(Interest::TOKENS);

    fn arm(word: &WaitWord, interest: Interest) -> u64 {
        match word.arm(interest) {
            Armed::Waiting(epoch) => epoch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn resolved_before_commit_is_noticed() {
        let word = WaitWord::new();
        let epoch = arm(&word, PLAIN);
        assert_eq!(word.resolve(epoch, Outcome::Woken), Resolution::Noticed);
        assert!(!word.commit());
        assert_eq!(word.outcome(), Some(Outcome::Woken));
    }

    #[test]
    fn resolved_after_commit_must_be_made_ready_once() {
        let word = WaitWord::new();
        let epoch = arm(&word, PLAIN);
        assert!(word.commit());
        assert_eq!(word.outcome(), None);
        assert_eq!(
            word.resolve(epoch, Outcome::TimedOut),
            Resolution::MakeReady
        );
        assert_eq!(word.resolve(epoch, Outcome::Woken), Resolution::Stale);
        assert_eq!(word.outcome(), Some(Outcome::TimedOut));
    }

    #[test]
    fn old_keys_are_stale() {
        let word = WaitWord::new();
        let old = arm(&word, PLAIN);
        assert_eq!(word.resolve(old, Outcome::Abandoned), Resolution::Noticed);
        let new = arm(&word, PLAIN);
        assert!(word.commit());
        assert_eq!(word.resolve(old, Outcome::Woken), Resolution::Stale);
        assert_eq!(word.resolve(new, Outcome::Woken), Resolution::MakeReady);
    }

    #[test]
    fn keys_of_forgotten_waits_are_stale() {
        let word = WaitWord::new();
        let forgotten = arm(&word, PLAIN);
        let next = arm(&word, PLAIN);
        assert_eq!(word.resolve(forgotten, Outcome::Woken), Resolution::Stale);
        assert_eq!(word.outcome(), None);
        assert_eq!(word.resolve(next, Outcome::Woken), Resolution::Noticed);
        let forgotten = arm(&word, PLAIN);
        // The block is another thread's.
        word.reset();
        let next = arm(&word, PLAIN);
        assert_eq!(word.resolve(forgotten, Outcome::Woken), Resolution::Stale);
        assert!(word.commit());
        assert_eq!(word.resolve(next, Outcome::Woken), Resolution::MakeReady);
    }

    #[test]
    fn epochs_begin_anew() {
        let word = WaitWord::new();
        let last = epoch_of(u64::MAX);
        word.begun.store(last << EPOCH_SHIFT, Ordering::Relaxed);
        word.reset();
        let first = arm(&word, PLAIN);
        assert_eq!(first, 0);
        assert_eq!(word.resolve(first, Outcome::Woken), Resolution::Noticed);
        assert_eq!(word.outcome(), Some(Outcome::Woken));
        assert_eq!(word.resolve(last, Outcome::Woken), Resolution::Stale);
    }

    #[test]
    fn what_comes_before_commit_is_found_by_it() {
        let word = WaitWord::new();
        let epoch = arm(&word, PARK);
        assert_eq!(word.post_token().0, Resolution::Stale);
        assert!(!word.commit());
        assert_eq!(word.outcome(), Some(Outcome::Woken));
        assert!(word.took_token());
        assert_eq!(word.resolve(epoch, Outcome::Woken), Resolution::Stale);
        let _ = arm(&word, PARK);
        assert_eq!(word.request_cancel().0, Resolution::Stale);
        assert_eq!(word.post_token().0, Resolution::Stale);
        assert!(!word.commit());
        assert_eq!(word.outcome(), Some(Outcome::Cancelled));
        // The token is still there.
        assert_eq!(word.arm(Interest::TOKENS), Armed::TookToken);
    }

    #[test]
    fn tokens_end_only_waits_that_take_them() {
        let word = WaitWord::new();
        let epoch = arm(&word, PLAIN);
        assert!(word.commit());
        assert_eq!(word.post_token().0, Resolution::Stale);
        assert_eq!(word.resolve(epoch, Outcome::Woken), Resolution::MakeReady);
        assert_eq!(word.arm(PARK), Armed::TookToken);
        let epoch = arm(&word, PARK);
        assert!(word.commit());
        assert_eq!(word.post_token(), (Resolution::MakeReady, epoch));
        // The token was spent on the wait.
        let _ = arm(&word, PARK);
    }

    #[test]
    fn a_claim_needs_a_parked_thread() {
        let word = WaitWord::new();
        let epoch = arm(&word, Interest::CLAIMABLE);
        let claim = || word.claim(|other| other == epoch, || true);
        assert_eq!(claim(), None);
        assert!(word.commit());
        assert_eq!(word.claim(|other| other == epoch + 1, || true), None);
        assert_eq!(word.claim(|other| other == epoch, || false), None);
        assert_eq!((claim(), claim()), (Some(epoch), None));
        assert_eq!(word.outcome(), Some(Outcome::Woken));
        assert!(arm(&word, PLAIN) != epoch && word.commit());
        assert_eq!(word.claim(|_| true, || true), None);
    }

    /// Whether the thread is on its way or parked; and only that wait of its.
    #[test]
    fn what_is_kept_cannot_be_claimed() {
        for on_its_way in [true, false] {
            let word = WaitWord::new();
            let epoch = arm(&word, Interest::CLAIMABLE);
            let keep = |epoch, suits| word.keep(|other| other == epoch, || suits);
            assert!(on_its_way || word.commit());
            assert!(!keep(epoch + 1, true) && !keep(epoch, false) && keep(epoch, true));
            assert!(!on_its_way || word.commit());
            assert_eq!(word.claim(|_| true, || true), None);
            assert!(!keep(epoch, true));
            assert_eq!(word.resolve(epoch, Outcome::Woken), Resolution::MakeReady);
            let next = arm(&word, Interest::CLAIMABLE);
            assert!(word.commit());
            assert_eq!(word.claim(|_| true, || true), Some(next));
        }
    }

    /// Ended, abandoned or cancelled before the thread has left: the next wait is as any other.
    #[test]
    fn nothing_is_kept_beyond_its_wait() {
        for how in 0..3 {
            let word = WaitWord::new();
            let epoch = arm(&word, Interest::CLAIMABLE.and(Interest::CANCELLABLE));
            assert!(word.keep(|other| other == epoch, || true));
            match how {
                0 => assert_eq!(word.resolve(epoch, Outcome::Woken), Resolution::Noticed),
                1 => assert_eq!(word.resolve(epoch, Outcome::Abandoned), Resolution::Noticed),
                _ => assert_eq!(word.request_cancel().0, Resolution::Stale),
            }
            assert!(!word.commit());
            let next = arm(&word, Interest::CLAIMABLE);
            assert!(word.commit());
            assert_eq!(word.claim(|_| true, || true), Some(next));
        }
    }

    #[test]
    fn waits_that_cannot_be_claimed_cannot_be_kept() {
        let word = WaitWord::new();
        let _ = arm(&word, PLAIN);
        assert!(!word.keep(|_| true, || true));
        assert!(word.commit());
        assert!(!word.keep(|_| true, || true));
    }

    #[test]
    fn cancel_is_sticky_and_spares_uncancellable_waits() {
        let word = WaitWord::new();
        let epoch = arm(&word, PLAIN);
        assert!(word.commit());
        assert_eq!(word.request_cancel().0, Resolution::Stale);
        assert_eq!(word.outcome(), None);
        assert_eq!(word.resolve(epoch, Outcome::Woken), Resolution::MakeReady);
        assert_eq!(word.arm(PARK), Armed::Cancelled);
        assert!(word.is_cancelled());
        word.reset();
        let epoch = arm(&word, PARK);
        assert!(word.commit());
        assert_eq!(word.request_cancel(), (Resolution::MakeReady, epoch));
        assert_eq!(word.outcome(), Some(Outcome::Cancelled));
    }
}
