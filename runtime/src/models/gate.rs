//! The end of a thread scope: what its threads borrow is used again only after all of them
//! have left, and the last one is not missed.

use std::sync::Arc;

use lisle_lwp::explore::{Data, Turns, outcomes};
use loom::thread::{JoinHandle, spawn};

use crate::current::me;
use crate::gate::Gate;
use crate::model::thread::current;
use crate::wait::{self, Reason};

static REASON: Reason = Reason::new("model");

/// A scope, and what each of its threads borrows.
struct Scope {
    gate: Gate,
    borrowed: [Data; 2],
    turns: Turns,
}

impl Scope {
    fn new() -> Arc<Scope> {
        Arc::new(Scope {
            gate: Gate::new(),
            borrowed: [Data::new(), Data::new()],
            turns: Turns::new(),
        })
    }

    /// As `Scope::spawn`. `body` is what the thread does before it uses what it borrows for the last time.
    fn spawn(
        self: &Arc<Self>,
        number: usize,
        body: impl FnOnce(&Arc<Scope>) + 'static,
    ) -> JoinHandle<()> {
        self.gate.enter();
        let scope = self.clone();
        spawn(move || {
            body(&scope);
            scope.borrowed[number].add_one();
            scope.turns.take();
            // The second one panics.
            scope.gate.leave(number == 1);
        })
    }

    /// The scope's end. Returns whether it began to wait.
    fn end(&self) -> bool {
        self.turns.take();
        self.gate.wait();
        assert_eq!(self.gate.inside(), 0);
        me().reason().is_some()
    }

    /// Each of so many threads has used what it borrowed, and none does any longer.
    fn check(&self, threads: usize) {
        for borrowed in &self.borrowed[..threads] {
            borrowed.add_one();
            assert_eq!(borrowed.get(), 2);
        }
        assert_eq!(self.gate.saw_panic(), threads > 1);
        // Nobody will wake the end of the scope out of what it waits for next.
        let next = wait::begin(&REASON, 0, false).expect("it cannot be cancelled");
        assert_eq!(next.abandon(), None);
    }
}

/// The thread leaves before the end looks, between its two looks, or when it waits.
#[test]
fn leave_against_wait() {
    let seen = outcomes(Some(6), || {
        let scope = Scope::new();
        let thread = scope.spawn(0, |_| ());
        let waited = scope.end();
        scope.check(1);
        thread.join().unwrap();
        waited
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// Two leave: what the first one did is seen, too, though only the last one tells.
#[test]
fn leave_against_leave() {
    let seen = outcomes(Some(3), || {
        let scope = Scope::new();
        let threads = [0, 1].map(|number| scope.spawn(number, |_| ()));
        let waited = scope.end();
        scope.check(2);
        threads.into_iter().for_each(|t| t.join().unwrap());
        waited
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// A thread lets another one in, and leaves before it or after it.
#[test]
fn enter_against_wait() {
    let seen = outcomes(Some(3), || {
        let scope = Scope::new();
        let parent = scope.spawn(0, |scope| drop(scope.spawn(1, |_| ())));
        let waited = scope.end();
        scope.check(2);
        parent.join().unwrap();
        waited
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// A cancel does not end the wait, and is not lost.
#[test]
fn cancel_against_leave() {
    let seen = outcomes(Some(3), || {
        let scope = Scope::new();
        let thread = scope.spawn(0, |_| ());
        let cancelled = current();
        let canceller = spawn(move || cancelled.cancel());
        let waited = scope.end();
        scope.check(1);
        thread.join().unwrap();
        canceller.join().unwrap();
        assert!(wait::begin(&REASON, 0, true).is_err());
        waited
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}
