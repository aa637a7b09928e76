//! Marks: whoever reads one in a word finds the wait that it names, or that it is over.

use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::explore::{Turns, outcomes};
use lisle_lwp::shim::{AtomicU64, Ordering};
use loom::thread::spawn;

use crate::wait::{self, Mark, Outcome, Reason};

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
            let ended = mark.key().is_some_and(|key| key.fire(Outcome::Woken));
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
