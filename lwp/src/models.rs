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
use crate::owner::{HolderId, OwnerWord};
use crate::shim::{AtomicU32, Ordering};
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

fn holders() -> (HolderId, HolderId) {
    (HolderId::new(1).unwrap(), HolderId::new(2).unwrap())
}

/// One at a time, each with the data of the one before.
#[test]
fn claim_against_release() {
    let seen = outcomes(ALL, || {
        let (a, b) = holders();
        let lwp = Guarded::new(OwnerWord::new());
        let other = lwp.clone();
        let carry = |lwp: &Guarded<OwnerWord>, me| {
            let held = lwp.word.claim(me);
            if held {
                lwp.add_one();
                assert!(lwp.word.release(me));
            }
            u32::from(held)
        };
        let thread = spawn(move || carry(&other, a));
        let mine = carry(&lwp, b);
        let carried = mine + thread.join().unwrap();
        assert!(lwp.word.claim(a), "free again");
        assert_eq!(lwp.get(), carried);
        carried
    });
    assert_eq!(Vec::from_iter(seen), [1, 2]);
}

/// The holder that comes back and the one who takes over: one of them goes on
/// with the LWP, and knows.
#[test]
fn reclaim_against_take() {
    let seen = outcomes(ALL, || {
        let (a, b) = holders();
        let lwp = Guarded::new(OwnerWord::new());
        assert!(lwp.word.claim(a));
        let other = lwp.clone();
        let taker = spawn(move || {
            let taken = other.word.take(a, b);
            if taken {
                other.add_one();
            }
            taken
        });
        lwp.add_one();
        assert!(lwp.word.offer(a));
        let back = lwp.word.reclaim(a);
        if back {
            lwp.add_one();
        }
        assert_eq!(lwp.word.is_held_by(a), back);
        let taken = taker.join().unwrap();
        assert!(back != taken, "exactly one goes on");
        assert!(lwp.word.is_held_by(if taken { b } else { a }));
        assert_eq!(lwp.get(), 2);
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// Two who would both take what is offered.
#[test]
fn take_against_take() {
    let seen = outcomes(ALL, || {
        let (a, b) = holders();
        let c = HolderId::new(3).unwrap();
        let lwp = Guarded::new(OwnerWord::new());
        assert!(lwp.word.claim(a));
        let takers = [b, c].map(|me| {
            let lwp = lwp.clone();
            spawn(move || {
                let taken = lwp.word.take(a, me);
                if taken {
                    lwp.add_one();
                }
                taken
            })
        });
        lwp.add_one();
        assert!(lwp.word.offer(a));
        let taken = takers.map(|t| t.join().unwrap());
        assert!(taken != [true, true]);
        taken
    });
    assert_eq!(seen.len(), 3);
}

/// The data travels with the word, passed or inherited, to whoever moves the
/// word next.
#[test]
fn successor_against_predecessor() {
    let give: [fn(&OwnerWord); 2] = [
        |word| assert!(word.pass(holders().0, holders().1)),
        |word| word.inherit(holders().1),
    ];
    for give in give {
        let seen = outcomes(ALL, move || {
            let (a, b) = holders();
            let lwp = Guarded::new(OwnerWord::new());
            assert!(lwp.word.claim(a));
            let other = lwp.clone();
            let next = spawn(move || {
                let mine = other.word.release(b);
                if mine {
                    assert_eq!(other.get(), 1);
                }
                mine
            });
            lwp.add_one();
            give(&lwp.word);
            next.join().unwrap()
        });
        assert_eq!(seen.len(), 2);
    }
}
