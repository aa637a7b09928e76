//! Priority inheritance: whoever comes, gives up or is handed a mutex, each holder has the
//! priority of the most urgent thread that waits for it, and nobody keeps it longer.

use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::explore::{Data, outcomes};
use lisle_lwp::shim::{Cell, Ordering};
use loom::thread::spawn;

use crate::current::me;
use crate::wait::inherit::{self, Contended, Holder, Pending};
use crate::wait::{self, Outcome, Reason};

static REASON: Reason = Reason::new("model");

/// A mutex as the graph sees it; who holds it is told under the graph's lock.
struct Mutex {
    contended: Contended,
    holder: Cell<Option<Holder>>,
    data: Data,
}

// SAFETY: loom reports it if the holder is touched by two at a time.
unsafe impl Send for Mutex {}
// SAFETY: as above.
unsafe impl Sync for Mutex {}

impl Mutex {
    fn new() -> Arc<Mutex> {
        Arc::new(Mutex {
            contended: Contended::new(),
            holder: Cell::new(None),
            data: Data::new(),
        })
    }

    fn set_holder(&self, holder: Option<Holder>) {
        // SAFETY: under the graph's lock; loom reports it otherwise.
        self.holder.with_mut(|it| unsafe { *it = holder });
    }

    /// Takes it, waiting until the deadline. Returns whether it was in time.
    fn lock(&self, deadline: Option<Instant>) -> bool {
        let wait = wait::begin(&REASON, 0, false).expect("it cannot be cancelled");
        let waiter = Pending::new(&wait);
        {
            let mut graph = inherit::lock();
            // SAFETY: as in `set_holder`.
            let Some(holder) = self.holder.with(|it| unsafe { *it }) else {
                self.set_holder(Some(waiter.holder()));
                drop(graph);
                let _ = wait.abandon();
                return true;
            };
            // SAFETY: the waiter blocks until it is popped, or removes itself.
            unsafe { graph.push(&self.contended, holder, &waiter) };
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            inherit::lock().remove(&self.contended, &waiter);
        }
        outcome == Outcome::Woken
    }

    /// Hands it to the most urgent waiter.
    fn unlock(&self) {
        self.data.add_one();
        let mut graph = inherit::lock();
        let next = loop {
            // SAFETY: under the lock; forgotten once woken.
            let Some(first) = (unsafe { graph.pop(&self.contended) }) else {
                break None;
            };
            let holder = first.holder();
            if graph.wake(first.key()) {
                break Some(holder);
            }
        };
        self.set_holder(next);
        graph.hold(&self.contended, Holder::current(), next);
    }
}

/// The calling thread has this priority from now on.
fn be(priority: u8) {
    me().priority.store(priority, Ordering::Relaxed);
}

/// What the calling thread has inherited, and which of the mutexes are waited for.
fn inherited<const N: usize>(mutexes: [&Mutex; N]) -> (u8, [bool; N]) {
    let graph = inherit::lock();
    let boost = me().boost.load(Ordering::Relaxed);
    (
        boost,
        mutexes.map(|mutex| graph.is_awaited(&mutex.contended)),
    )
}

/// The calling thread holds nothing.
fn assert_nothing_left() {
    assert_eq!(inherited([]).0, 0);
}

/// Whoever holds the mutex inherits from who waits, as long as that waits.
#[test]
fn unlock_against_timeout() {
    let seen = outcomes(Some(2), || {
        let mutex = Mutex::new();
        assert!(mutex.lock(None));
        let [patient, hasty] = [mutex.clone(), mutex.clone()];
        let patient = spawn(move || {
            be(3);
            assert!(patient.lock(None));
            let (boost, [awaited]) = inherited([&patient]);
            assert_eq!(boost, if awaited { 7 } else { 0 });
            patient.unlock();
            assert_nothing_left();
        });
        let hasty = spawn(move || {
            be(7);
            let taken = hasty.lock(Some(Instant::now()));
            if taken {
                let (boost, [awaited]) = inherited([&hasty]);
                assert_eq!(boost, if awaited { 3 } else { 0 });
                hasty.unlock();
            }
            assert_nothing_left();
            u32::from(taken)
        });
        let (boost, [awaited]) = inherited([&mutex]);
        assert_eq!(awaited, boost > 0);
        mutex.unlock();
        assert_nothing_left();
        patient.join().unwrap();
        let taken = hasty.join().unwrap();
        assert_eq!(mutex.data.get(), 2 + taken);
        boost
    });
    assert_eq!(Vec::from_iter(seen), [0, 3, 7]);
}

/// The holder of a mutex inherits from whoever waits for one who waits for it, also if that
/// comes or goes later.
#[test]
fn chain_against_timeout() {
    let seen = outcomes(Some(2), || {
        let [first, second] = [Mutex::new(), Mutex::new()];
        assert!(first.lock(None));
        let [its_first, its_second] = [first.clone(), second.clone()];
        let between = spawn(move || {
            be(3);
            assert!(its_second.lock(None));
            assert!(its_first.lock(None));
            let (boost, [awaited, also]) = inherited([&its_second, &its_first]);
            assert_eq!(boost, if awaited { 7 } else { 0 });
            assert!(!also);
            its_first.unlock();
            its_second.unlock();
            assert_nothing_left();
        });
        let hasty = second.clone();
        let hasty = spawn(move || {
            be(7);
            if hasty.lock(Some(Instant::now())) {
                hasty.unlock();
            }
            assert_nothing_left();
        });
        let (boost, awaited) = inherited([&first, &second]);
        let expected = match awaited {
            [false, _] => 0,
            [true, false] => 3,
            [true, true] => 7,
        };
        assert_eq!(boost, expected);
        first.unlock();
        assert_nothing_left();
        between.join().unwrap();
        hasty.join().unwrap();
        boost
    });
    assert_eq!(Vec::from_iter(seen), [0, 3, 7]);
}
