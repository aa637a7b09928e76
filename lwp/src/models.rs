//! Models of the words in this crate, for loom: [`LockWord`], [`Sleeper`],
//! [`OwnerWord`].
//!
//! Each test is named for the race it looks at. What a word guards is a loom
//! cell: two threads that both think it is theirs are reported as a race, and
//! so is an ordering that is too weak to carry the data along. A wake-up that
//! is lost is reported as a deadlock.
//!
//! *Not modelled*: `OwnerWord::enter` and `leave` against a taker from outside.
//! Their fence is a compiler fence, which loom does not have.
#![allow(clippy::disallowed_types)]

use std::sync::Arc;
use std::time::Duration;

use loom::thread::spawn;

use crate::explore::{ALL, Data, model, outcomes};
use crate::lock::LockWord;
use crate::owner::{Holder, HolderId, OwnerWord};
use crate::shim::{AtomicU32, Ordering, fence};
use crate::sleep::Sleeper;

/// A word and what it guards.
#[derive(Debug)]
struct Guarded<W> {
    word: W,
    data: Data,
}

impl<W> Guarded<W> {
    fn new(word: W) -> Arc<Self> {
        let data = Data::new();
        Arc::new(Guarded { word, data })
    }

    fn add_one(&self) {
        self.data.add_one();
    }

    fn get(&self) -> u32 {
        self.data.get()
    }
}

fn lock_and_add(lock: &Guarded<LockWord>) {
    lock.word.lock();
    lock.add_one();
    lock.word.unlock();
}

#[test]
fn lock_against_unlock() {
    model(ALL, || {
        let lock = Guarded::new(LockWord::new());
        let other = lock.clone();
        let thread = spawn(move || {
            lock_and_add(&other);
            lock_and_add(&other);
        });
        lock_and_add(&lock);
        thread.join().unwrap();
        lock.word.lock();
        assert_eq!(lock.get(), 3);
    });
}

/// The one who is woken does not know that another still sleeps.
#[test]
fn woken_locker_wakes_the_next() {
    model(Some(5), || {
        let lock = Guarded::new(LockWord::new());
        let threads = [lock.clone(), lock.clone()].map(|lock| spawn(move || lock_and_add(&lock)));
        lock_and_add(&lock);
        threads.into_iter().for_each(|t| t.join().unwrap());
        lock.word.lock();
        assert_eq!(lock.get(), 3);
    });
}

#[test]
fn try_lock_against_unlock() {
    let seen = outcomes(ALL, || {
        let lock = Guarded::new(LockWord::new());
        let other = lock.clone();
        let thread = spawn(move || lock_and_add(&other));
        let taken = lock.word.try_lock();
        let mut before = None;
        if taken {
            before = Some(lock.get());
            lock.add_one();
            lock.word.unlock();
        }
        thread.join().unwrap();
        assert_eq!(lock.get(), 1 + u32::from(taken));
        before
    });
    assert_eq!(Vec::from_iter(seen), [None, Some(0), Some(1)]);
}

#[test]
fn wake_against_sleep() {
    model(ALL, || {
        let bed = Guarded::new(Sleeper::new());
        let waker = bed.clone();
        let thread = spawn(move || {
            waker.add_one();
            waker.word.wake();
        });
        assert!(bed.word.sleep(None));
        assert_eq!(bed.get(), 1);
        thread.join().unwrap();
        assert!(!bed.word.sleep(Some(Duration::ZERO)), "one wake, one token");
    });
}

/// The token comes before the sleep, during it or after it: it is never lost.
#[test]
fn wake_against_timeout() {
    let seen = outcomes(ALL, || {
        let bed = Guarded::new(Sleeper::new());
        let waker = bed.clone();
        let thread = spawn(move || {
            waker.add_one();
            waker.word.wake();
        });
        let first = bed.word.sleep(Some(Duration::ZERO));
        if !first {
            assert!(bed.word.sleep(None));
        }
        assert_eq!(bed.get(), 1);
        thread.join().unwrap();
        first
    });
    assert_eq!(seen.len(), 2);
}

/// Two wakes may become one token, but the later one's data is there.
#[test]
fn wake_against_wake() {
    model(Some(4), || {
        let bed = Guarded::new(Sleeper::new());
        let started = Arc::new(AtomicU32::new(0));
        let wakers = [(); 2].map(|()| {
            let (bed, started) = (bed.clone(), started.clone());
            spawn(move || {
                started.fetch_add(1, Ordering::Relaxed);
                bed.word.wake();
            })
        });
        // Sleeping until both are seen would last for ever if a wake that finds
        // a token did not release again.
        while started.load(Ordering::Relaxed) < 2 {
            assert!(bed.word.sleep(None));
        }
        wakers.into_iter().for_each(|t| t.join().unwrap());
    });
}

fn id(number: u32) -> HolderId {
    HolderId::new(number).unwrap()
}

/// An LWP, and the kernel threads that want it.
#[derive(Debug)]
struct Processor {
    word: OwnerWord,
    data: Data,
    holders: [Holder; 3],
}

impl Processor {
    fn free() -> Self {
        Processor {
            word: OwnerWord::new(),
            data: Data::new(),
            holders: [Holder::new(), Holder::new(), Holder::new()],
        }
    }

    /// Held by the first kernel thread, which is outside the runtime.
    fn held() -> Arc<Self> {
        let new = Processor::free();
        assert!(new.word.claim(&new.holders[0], id(1)));
        new.holders[0].leave();
        Arc::new(new)
    }

    /// Enters, does something, leaves.
    fn visit(&self, who: usize) -> bool {
        let me = &self.holders[who];
        let entered = self.word.enter(me);
        if entered {
            self.data.add_one();
            me.leave();
        }
        entered
    }

    /// Takes the LWP from the first kernel thread, does something, leaves.
    fn take(&self, who: usize) -> bool {
        self.take_from(0, who)
    }

    /// As [`Processor::take`], from any.
    fn take_from(&self, from: usize, who: usize) -> bool {
        let (holder, me) = (&self.holders[from], &self.holders[who]);
        let barrier = || {
            fence(Ordering::SeqCst);
            true
        };
        let taken = self.word.take(holder, me, id(who as u32 + 1), barrier);
        if taken {
            self.data.add_one();
            me.leave();
        }
        taken
    }
}

#[test]
fn claim_against_release() {
    let seen = outcomes(ALL, || {
        let lwp = Arc::new(Processor::free());
        let other = lwp.clone();
        let carry = |lwp: &Processor, who: usize| {
            let me = &lwp.holders[who];
            let held = lwp.word.claim(me, id(who as u32 + 1));
            if held {
                lwp.data.add_one();
                lwp.word.release(me);
            }
            u32::from(held)
        };
        let thread = spawn(move || carry(&other, 0));
        let mine = carry(&lwp, 1);
        let carried = mine + thread.join().unwrap();
        assert!(lwp.word.claim(&lwp.holders[2], id(3)), "free again");
        assert_eq!(lwp.data.get(), carried);
        carried
    });
    assert_eq!(Vec::from_iter(seen), [1, 2]);
}

/// An offer meets a kernel thread that has just claimed the LWP and is still inside:
/// nobody takes it before it has left.
#[test]
fn claim_against_take() {
    let seen = outcomes(ALL, || {
        let lwp = Arc::new(Processor::free());
        let other = lwp.clone();
        let taker = spawn(move || other.word.offer() && other.take(1));
        let me = &lwp.holders[0];
        assert!(lwp.word.claim(me, id(1)));
        lwp.data.add_one();
        me.leave();
        let taken = taker.join().unwrap();
        assert_eq!(lwp.visit(0), !taken);
        assert_eq!(lwp.data.get(), 2);
        taken
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// The holder that comes back and the one who takes over: one of them goes on
/// with the LWP, and knows.
#[test]
fn entry_against_take() {
    let seen = outcomes(ALL, || {
        let lwp = Processor::held();
        let other = lwp.clone();
        let taker = spawn(move || {
            other.word.offer();
            other.take(1)
        });
        let visits = [lwp.visit(0), lwp.visit(0)];
        let taken = taker.join().unwrap();
        assert!(visits[0] || !visits[1], "once gone, it stays gone");
        assert!(taken || visits[1], "nobody has it");
        assert!(lwp.word.is_held_by(&lwp.holders[usize::from(taken)]));
        // Whoever has it can go on; the other cannot.
        assert_eq!(lwp.visit(0), !taken);
        assert_eq!(lwp.visit(1), taken);
        let entries = u32::from(visits[0]) + u32::from(visits[1]);
        assert_eq!(lwp.data.get(), entries + u32::from(taken) + 1);
        (visits, taken)
    });
    // Gone before the first, the second, or no visit; or the taker gave up.
    assert!(seen.len() >= 4, "{seen:?}");
}

/// The holder offers the LWP itself and comes back, again and again, while
/// others offer, too: an old offer is not a new one.
#[test]
fn old_offer_against_take() {
    let seen = outcomes(Some(4), || {
        let lwp = Processor::held();
        let (offerer, taker) = (lwp.clone(), lwp.clone());
        let taker = spawn(move || taker.take(1));
        let offerer = spawn(move || offerer.word.offer());
        let me = &lwp.holders[0];
        let mut mine = lwp.word.enter(me);
        if mine {
            lwp.data.add_one();
            lwp.word.offer_and_leave(me);
            mine = lwp.visit(0);
        }
        let taken = taker.join().unwrap();
        offerer.join().unwrap();
        assert!(!(mine && taken) || lwp.word.is_held_by(&lwp.holders[1]));
        assert_eq!(lwp.visit(0), !taken);
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// Two who would both take what is offered.
#[test]
fn take_against_take() {
    let seen = outcomes(Some(4), || {
        let lwp = Processor::held();
        let takers = [1, 2].map(|who| {
            let lwp = lwp.clone();
            spawn(move || lwp.take(who))
        });
        assert!(lwp.word.enter(&lwp.holders[0]));
        lwp.data.add_one();
        lwp.word.offer_and_leave(&lwp.holders[0]);
        let taken = takers.map(|t| t.join().unwrap());
        assert!(taken != [true, true]);
        taken
    });
    assert_eq!(seen.len(), 3);
}

/// A holder that has lost the LWP becomes a spare and wants it back, from a
/// holder that comes back itself.
#[test]
fn loser_against_returning_holder() {
    let seen = outcomes(Some(3), || {
        let lwp = Processor::held();
        assert!(lwp.word.offer());
        let other = lwp.clone();
        let second = spawn(move || {
            let taken = other.take(1);
            if taken {
                other.word.offer();
            }
            (taken, taken && other.visit(1))
        });
        let kept = lwp.visit(0);
        let again = !kept && lwp.take_from(1, 0);
        let (taken, back) = second.join().unwrap();
        assert!(kept != taken, "one of the two has it");
        assert!(!again || taken);
        assert_eq!(lwp.visit(0), kept || again);
        assert_eq!(lwp.visit(1), taken && !again);
        (kept, again, back)
    });
    // Taken, and its new holder came back first; taken and taken back; kept. (Who comes
    // back ends the offer, so it is not taken after that.)
    let all = [
        (false, false, true),
        (false, true, false),
        (true, false, false),
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

/// One who would take the LWP from a holder that has lost it meanwhile, while the
/// next holder is inside.
#[test]
fn take_from_the_last_holder() {
    let seen = outcomes(Some(3), || {
        let lwp = Processor::held();
        assert!(lwp.word.offer());
        let (second, offerer) = (lwp.clone(), lwp.clone());
        let second = spawn(move || second.take(1));
        let offerer = spawn(move || offerer.word.offer());
        let mine = lwp.take_from(0, 2);
        let theirs = second.join().unwrap();
        offerer.join().unwrap();
        assert!(mine != theirs, "one of the two takes it");
        assert!(!lwp.visit(0));
        assert_eq!(lwp.visit(1), theirs);
        assert_eq!(lwp.visit(2), mine);
        mine
    });
    assert_eq!(seen.len(), 2);
}

/// The runtime stops: the holder gives the LWP back for good while somebody
/// would take it. Whoever comes then may claim it.
#[test]
fn stop_against_take() {
    let seen = outcomes(Some(4), || {
        let lwp = Processor::held();
        let other = lwp.clone();
        let taker = spawn(move || {
            other.word.offer();
            let taken = other.take(1);
            let claimed = !taken && other.word.claim(&other.holders[1], id(2));
            if claimed {
                other.data.add_one();
                other.holders[1].leave();
            }
            (taken, claimed)
        });
        let me = &lwp.holders[0];
        let stopped = lwp.word.enter(me);
        if stopped {
            lwp.data.add_one();
            lwp.word.release(me);
        }
        let (taken, claimed) = taker.join().unwrap();
        assert!(stopped != taken, "one of the two has had it");
        assert!(!claimed || stopped);
        assert_eq!(lwp.word.is_held_by(&lwp.holders[1]), taken || claimed);
        assert!(!lwp.visit(0));
        (taken, claimed)
    });
    assert_eq!(seen.len(), 3);
}

/// A kernel thread that comes late cannot carry an LWP that has been retired; of two
/// who revive it one does.
#[test]
fn retire_against_claim_and_revive() {
    let seen = outcomes(Some(4), || {
        let lwp = Processor::held();
        let (late, other) = (lwp.clone(), lwp.clone());
        let late = spawn(move || late.word.claim(&late.holders[1], id(2)));
        let reviver = spawn(move || other.word.revive());
        let me = &lwp.holders[0];
        assert!(lwp.word.enter(me));
        lwp.data.add_one();
        lwp.word.retire(me);
        let mine = lwp.word.revive();
        let theirs = reviver.join().unwrap();
        let claimed = late.join().unwrap();
        assert!(mine != theirs, "one of the two revives it");
        assert!(claimed || lwp.word.claim(&lwp.holders[2], id(3)));
        assert_eq!(
            lwp.word.times_held(),
            2,
            "somebody carried what was retired"
        );
        (theirs, claimed)
    });
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// The run queue of an LWP as its protocol has it: the holder alone adds, and holder and
/// thieves take from the front. (The real one is crossbeam's, which has its own proof.)
#[derive(Debug)]
struct RunQueue {
    front: AtomicU32,
    back: AtomicU32,
    /// What only holders touch.
    own: Data,
    /// How often each thread ran.
    threads: [Data; 3],
}

impl RunQueue {
    fn new() -> Self {
        RunQueue {
            front: AtomicU32::new(0),
            back: AtomicU32::new(0),
            own: Data::new(),
            threads: [Data::new(), Data::new(), Data::new()],
        }
    }

    /// By the holder.
    fn push(&self) {
        self.own.add_one();
        let back = self.back.load(Ordering::Relaxed);
        self.back.store(back + 1, Ordering::Release);
    }

    /// By anybody: takes a thread and runs it. Returns whether there was one.
    fn run_one(&self) -> bool {
        let front = self.front.load(Ordering::Acquire);
        let found = front < self.back.load(Ordering::Acquire)
            && self
                .front
                .compare_exchange(front, front + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
        if found {
            self.threads[front as usize].add_one();
        }
        found
    }
}

/// The holder comes back and makes a thread ready while a thief steals and somebody takes
/// the LWP over: every thread that is ready runs once, whoever has the LWP in the end.
#[test]
fn thief_against_take_and_return() {
    let seen = outcomes(Some(3), || {
        let lwp = Processor::held();
        let queue = Arc::new(RunQueue::new());
        assert!(lwp.word.enter(&lwp.holders[0]));
        queue.push();
        lwp.word.offer_and_leave(&lwp.holders[0]);
        let theirs = queue.clone();
        let thief = spawn(move || theirs.run_one());
        let (other, theirs) = (lwp.clone(), queue.clone());
        let taker = spawn(move || {
            let barrier = || {
                fence(Ordering::SeqCst);
                true
            };
            let me = &other.holders[1];
            let taken = other.word.take(&other.holders[0], me, id(2), barrier);
            if taken {
                theirs.push();
                theirs.run_one();
                me.leave();
            }
            taken
        });
        let mine = lwp.word.enter(&lwp.holders[0]);
        if mine {
            queue.push();
            queue.run_one();
            lwp.holders[0].leave();
        }
        let (stolen, taken) = (thief.join().unwrap(), taker.join().unwrap());
        let last = usize::from(taken);
        assert!(lwp.word.enter(&lwp.holders[last]), "nobody has it");
        queue.own.add_one();
        while queue.run_one() {}
        let ran: Vec<_> = queue.threads.iter().map(Data::get).collect();
        let ready = 1 + usize::from(mine) + usize::from(taken);
        assert_eq!(ran, [[1, 1, 0], [1, 1, 1]][ready - 2]);
        (stolen, mine, taken)
    });
    // Stolen or not; the LWP kept, taken, or taken after the holder was back.
    assert!(seen.len() >= 4, "{seen:?}");
}
