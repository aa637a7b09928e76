//! Handing over: an LWP that is offered is carried on, by whoever comes already or by one who
//! is sent. Owner word and count are the real ones.

use std::sync::Arc;

use lisle_lwp::explore::{Data, Turns, outcomes};
use lisle_lwp::owner::{Holder, HolderId, OwnerWord};
use lisle_lwp::shim::{AtomicUsize, Ordering, fence};
use loom::thread::{spawn, yield_now};

use crate::sched::coming::Coming;

/// An LWP, and kernel threads by their numbers. The first one holds it at first.
struct Lwp {
    word: OwnerWord,
    coming: Coming,
    /// Who carries it, or did last.
    carrier: AtomicUsize,
    /// What only the holder touches.
    own: Data,
    holders: [Holder; 4],
    turns: Turns,
}

impl Lwp {
    /// Its holder is inside; so many kernel threads come for an offer that may be gone.
    fn new(coming: usize) -> Arc<Lwp> {
        let lwp = Lwp {
            word: OwnerWord::new(),
            coming: Coming::new(),
            carrier: AtomicUsize::new(0),
            own: Data::new(),
            holders: [(); 4].map(|()| Holder::new()),
            turns: Turns::new(),
        };
        assert!(lwp.word.claim(&lwp.holders[0], id(0)));
        (0..coming).for_each(|_| lwp.coming.count_in());
        Arc::new(lwp)
    }

    /// As `try_to_get_hold_of` in the idle context. The new holder has something to do, and
    /// leaves the runtime.
    fn attempt(&self, who: usize) -> Option<()> {
        self.turns.take();
        let me = &self.holders[who];
        let before = &self.holders[self.carrier.load(Ordering::Acquire)];
        let barrier = || {
            fence(Ordering::SeqCst);
            true
        };
        if !self.word.take(before, me, id(who), barrier) {
            yield_now();
            return None;
        }
        self.own.add_one();
        self.carrier.store(who, Ordering::Release);
        me.leave();
        Some(())
    }

    fn is_more(&self) -> bool {
        self.turns.take();
        let carrier = self.carrier.load(Ordering::Acquire);
        self.word.is_offered() && !self.holders[carrier].is_inside()
    }

    /// A kernel thread that is counted. Returns whether it has carried the LWP.
    fn arrive(&self, who: usize) -> bool {
        let attempt = || self.attempt(who);
        self.coming.arrive(attempt, || self.is_more()).is_some()
    }

    /// What follows an offer. The caller plays the one who is sent, too. Returns whether
    /// somebody was.
    fn send(&self, who: usize) -> bool {
        self.turns.take();
        let sent = !self.coming.is_any();
        if sent {
            self.coming.count_in();
            self.arrive(who);
        }
        sent
    }

    /// The holder, inside, is about to block.
    fn offer_own(&self, holder: usize, other: usize) -> bool {
        self.turns.take();
        self.word.offer_and_leave(&self.holders[holder]);
        self.send(other)
    }

    /// Enters, does something, leaves.
    fn visit(&self, who: usize) -> bool {
        let me = &self.holders[who];
        let entered = self.word.enter(me);
        if entered {
            self.own.add_one();
            me.leave();
        }
        entered
    }

    /// Who carries it in the end.
    fn holder(&self) -> usize {
        let held = |who: &usize| self.word.is_held_by(&self.holders[*who]);
        (0..4).find(held).expect("somebody holds it")
    }
}

fn id(who: usize) -> HolderId {
    HolderId::new(who as u32 + 1).unwrap()
}

/// The thread itself says that it blocks, and nobody else looks.
#[test]
fn own_offer_against_giving_up() {
    let seen = outcomes(Some(4), || {
        let lwp = Lwp::new(1);
        let other = lwp.clone();
        let comes = spawn(move || other.arrive(1));
        let sent = lwp.offer_own(0, 2);
        let came = comes.join().unwrap();
        assert!(!lwp.word.is_offered(), "offered, and nobody comes");
        assert!(lwp.holder() != 0 && came == (lwp.holder() == 1));
        (sent, came)
    });
    // Another is sent, too late or in time; or nobody is.
    assert_eq!(
        Vec::from_iter(seen),
        [(false, true), (true, false), (true, true)]
    );
}

/// Somebody else sees that the thread blocks.
#[test]
fn offer_against_giving_up() {
    let seen = outcomes(Some(4), || {
        let lwp = Lwp::new(1);
        lwp.holders[0].leave();
        let other = lwp.clone();
        let comes = spawn(move || other.arrive(1));
        lwp.turns.take();
        assert!(lwp.word.offer());
        let sent = lwp.send(2);
        let came = comes.join().unwrap();
        assert!(!lwp.word.is_offered(), "offered, and nobody comes");
        assert!(lwp.holder() != 0 && came == (lwp.holder() == 1));
        (sent, came)
    });
    assert_eq!(
        Vec::from_iter(seen),
        [(false, true), (true, false), (true, true)]
    );
}

/// The thread comes back meanwhile: only then may all others give up.
#[test]
fn return_against_giving_up() {
    let seen = outcomes(Some(2), || {
        let lwp = Lwp::new(1);
        lwp.holders[0].leave();
        let (other, returns) = (lwp.clone(), lwp.clone());
        let comes = spawn(move || other.arrive(1));
        let returns = spawn(move || {
            returns.turns.take();
            returns.visit(0)
        });
        lwp.turns.take();
        assert!(lwp.word.offer());
        lwp.send(2);
        comes.join().unwrap();
        let back = returns.join().unwrap();
        let left = lwp.holder() != 0;
        assert!(back || left, "it is away, and nobody comes");
        assert_eq!(lwp.visit(0), !left);
        (back, left)
    });
    assert_eq!(
        Vec::from_iter(seen),
        [(false, true), (true, false), (true, true)]
    );
}

/// Two come for one offer. Who gets the LWP blocks at once, and relies on the other only
/// if that one has not given up.
#[test]
fn next_offer_against_giving_up() {
    let seen = outcomes(Some(3), || {
        let lwp = Lwp::new(2);
        lwp.word.offer_and_leave(&lwp.holders[0]);
        let first = lwp.clone();
        let first = spawn(move || {
            let got = first.arrive(1);
            // It may have lost it already only if somebody has offered it.
            got.then(|| {
                assert!(first.word.enter(&first.holders[1]));
                first.offer_own(1, 3)
            })
        });
        let second = lwp.arrive(2);
        let first = first.join().unwrap();
        assert!(!lwp.word.is_offered(), "offered, and nobody comes");
        let last = lwp.holder();
        assert!(last == 2 && second || last == 3 && first == Some(true));
        (first, last)
    });
    // Only the second got it; or after the first, which relied on it or sent another, perhaps
    // too late.
    let all = [(None, 2), (Some(false), 2), (Some(true), 2)];
    assert!(all.iter().all(|way| seen.contains(way)), "{seen:?}");
}
