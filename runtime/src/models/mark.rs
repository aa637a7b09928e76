//! Marks: whoever reads one in a word finds the wait that it names, or that it is over.

use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::explore::{ALL, Data, Turns, model, outcomes};
use lisle_lwp::shim::{AtomicU64, Ordering};
use loom::thread::spawn;

use crate::model::thread::current;
use crate::wait::{self, Caller, Mark, Outcome, Reason, Stay, Wait};

static REASON: Reason = Reason::new("model");

/// Waits until a deadline, which loom lets pass when it likes, and leaves its mark first.
fn wait_marked(word: &AtomicU64) -> Outcome {
    let wait = wait::begin(&REASON, 0, false).expect("it cannot be cancelled");
    let mark = Mark::of(&wait).expect("a model has few threads");
    // Release: pairs with the Acquire of who reads the mark.
    word.store(mark.bits(), Ordering::Release);
    let outcome = wait.block(Some(Instant::now()));
    assert!(mark.is_over());
    outcome
}

/// A wait that is not the thread's first one is ended by whoever finds its mark, once.
#[test]
fn found_by_its_mark() {
    let seen = outcomes(Some(3), || {
        let (word, turns) = (Arc::new(AtomicU64::new(0)), Turns::new());
        let (its_word, its_turns) = (word.clone(), turns.clone());
        let other = spawn(move || {
            its_turns.take();
            let mark = Mark::from_bits(its_word.load(Ordering::Acquire))?;
            let was_over = mark.is_over();
            let ended = fire(mark);
            assert!(!(was_over && ended));
            // Whatever ended it, it is over now.
            assert!(mark.is_over());
            Some(ended)
        });
        let first = wait_marked(&AtomicU64::new(0));
        assert_eq!(first, Outcome::TimedOut);
        turns.take();
        let outcome = wait_marked(&word);
        let ended = other.join().unwrap();
        assert_eq!(outcome == Outcome::Woken, ended == Some(true));
        ended
    });
    assert_eq!(Vec::from_iter(seen), [None, Some(false), Some(true)]);
}

/// Marks tell waits and threads apart.
#[test]
fn marks_differ() {
    let seen = outcomes(Some(1), || {
        let mark = || {
            let wait = wait::begin(&REASON, 0, false).expect("it cannot be cancelled");
            let mark = Mark::of(&wait).expect("a model has few threads");
            let _ = wait.abandon();
            mark
        };
        let [one, next] = [mark(), mark()];
        let others = spawn(mark).join().unwrap();
        assert!(one != next && one.is_of_same_thread(next));
        assert!(one.is_over() && next.is_over() && others.is_over());
        one.is_of_same_thread(others)
    });
    assert_eq!(Vec::from_iter(seen), [false]);
}

/// What the claimable waits here are for.
const THIS: usize = 7;

/// A wait that others may claim; nobody can have cancelled it yet.
fn begin_claimable() -> (Wait, Mark) {
    let place = core::ptr::without_provenance(THIS);
    let wait = Caller::new()
        .begin_claimable(&REASON, THIS, place)
        .expect("it is not cancelled");
    let mark = Mark::of(&wait).expect("a model has few threads");
    (wait, mark)
}

/// Claims the wait and does something to the thread, which must stand still.
fn claim(mark: Mark, stack: &Data) -> bool {
    let stay = Stay::of_leaf();
    assert!(stay.claim(mark, THIS + 1).is_none());
    let claimed = stay.claim(mark, THIS);
    if let Some(claimed) = &claimed {
        assert_eq!(claimed.place().addr(), THIS);
        stack.add_one();
    }
    claimed.is_some()
}

fn fire(mark: Mark) -> bool {
    mark.key().is_some_and(|key| key.fire(Outcome::Woken))
}

/// Makes the wait one that nobody claims, does something to the thread, and ends its wait.
fn keep(mark: Mark, stack: &Data) -> bool {
    let Some(place) = mark.keep(THIS) else {
        return false;
    };
    assert_eq!(place.addr(), THIS);
    stack.add_one();
    fire(mark)
}

/// Who claims a wait has the thread, and so has who keeps it from being claimed; never both,
/// and the thread goes on after them.
#[test]
fn claim_against_keep() {
    let seen = outcomes(Some(3), || {
        let (wait, mark) = begin_claimable();
        let (stack, turns) = (Data::new(), Turns::new());
        let [its, others] = [stack.clone(), stack.clone()];
        let its_turns = turns.clone();
        let claimer = spawn(move || claim(mark, &its));
        let keeper = spawn(move || {
            its_turns.take();
            keep(mark, &others)
        });
        // It may be kept before it is committed.
        turns.take();
        assert_eq!(wait.block(None), Outcome::Woken);
        let touched = stack.get();
        let (claimed, kept) = (claimer.join().unwrap(), keeper.join().unwrap());
        assert!(claimed != kept);
        (claimed, touched)
    });
    assert_eq!(Vec::from_iter(seen), [(false, 1), (true, 1)]);
}

/// A claim against what else may end the wait.
#[test]
fn claim_against_cancel_and_deadline() {
    let seen = outcomes(Some(3), || {
        let (wait, mark) = begin_claimable();
        let (stack, me) = (Data::new(), current());
        let its = stack.clone();
        let claimer = spawn(move || claim(mark, &its));
        let canceller = spawn(move || me.cancel());
        let outcome = wait.block(Some(Instant::now()));
        // Nobody touches the thread that has gone on.
        stack.add_one();
        canceller.join().unwrap();
        assert_eq!(claimer.join().unwrap(), outcome == Outcome::Woken);
        outcome as u64
    });
    assert_eq!(seen.len(), 3);
}

/// Who claims a wait knows of what the thread did before, and the thread of what that did.
#[test]
fn claim_orders() {
    model(ALL, || {
        let (wait, mark) = begin_claimable();
        let stack = Data::new();
        let its = stack.clone();
        let claimer = spawn(move || {
            if !claim(mark, &its) {
                assert!(fire(mark));
            }
        });
        stack.add_one();
        assert_eq!(wait.block(None), Outcome::Woken);
        stack.add_one();
        claimer.join().unwrap();
    });
}

/// What the wait before was for.
const OTHER: usize = 9;

/// A mark of a wait of 2^40 waits ago: that of the wait which the calling thread begins next.
/// What that is for stands behind its wait word only.
fn old_mark() -> Mark {
    let place = core::ptr::without_provenance(OTHER);
    let wait = Caller::new()
        .begin_claimable(&REASON, OTHER, place)
        .expect("it is not cancelled");
    let mark = Mark::of(&wait).expect("a model has few threads");
    let _ = wait.abandon();
    Mark::from_bits(mark.bits() + 1).expect("it is not zero")
}

/// Whoever has an old mark claims no wait that is for something else by now, and knows of
/// the one that it claims.
#[test]
fn claim_by_an_old_mark() {
    let seen = outcomes(Some(2), || {
        let (old, stack) = (old_mark(), Data::new());
        let its = stack.clone();
        let claimer = spawn(move || {
            assert!(Stay::of_leaf().claim(old, OTHER).is_none());
            claim(old, &its)
        });
        stack.add_one();
        let (wait, mark) = begin_claimable();
        assert_eq!(mark, old);
        let outcome = wait.block(Some(Instant::now()));
        stack.add_one();
        let claimed = claimer.join().unwrap();
        assert_eq!(claimed, outcome == Outcome::Woken);
        claimed
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// As above, for who keeps a wait: whether the thread is parked or on its way.
#[test]
fn keep_by_an_old_mark() {
    let seen = outcomes(Some(2), || {
        let (old, stack, turns) = (old_mark(), Data::new(), Turns::new());
        let (its, its_turns) = (stack.clone(), turns.clone());
        let keeper = spawn(move || {
            its_turns.take();
            assert!(old.keep(OTHER).is_none());
            let place = old.keep(THIS)?;
            Some((place.addr(), its.get()))
        });
        stack.add_one();
        let (wait, mark) = begin_claimable();
        assert_eq!(mark, old);
        turns.take();
        assert_eq!(wait.block(Some(Instant::now())), Outcome::TimedOut);
        keeper.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [None, Some((THIS, 1))]);
}
