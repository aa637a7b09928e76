//! The wait word and its actors: the thread that arms, whoever commits on its
//! behalf from the next stack, resolvers, cancellers, posters of tokens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use lisle_lwp::explore::{ALL, Data, Turns, model, outcomes};
use lisle_lwp::shim::{AtomicU32, Ordering};
use loom::thread::spawn;

use crate::model::thread::{self, Thread};
use crate::wait::word::{Armed, Interest, Resolution, WaitWord};
use crate::wait::{self, Outcome, Reason};
use crate::{current, trace};

static REASON: Reason = Reason::new("model");

const PLAIN: Interest = Interest::PLAIN;
const SLEEPS: Interest = Interest::SLEEPS;
const CANCELLABLE: Interest = Interest::CANCELLABLE;
const TOKENS: Interest = Interest::TOKENS;
const BOTH: Interest = CANCELLABLE.and(TOKENS);

/// A user thread as its LWPs see it.
struct Parked {
    word: WaitWord,
    /// Its saved registers: written by whoever switches away from it, used by
    /// whoever runs it next.
    context: Data,
    runs: AtomicU32,
    turns: Turns,
}

impl Parked {
    fn new() -> Arc<Parked> {
        Arc::new(Parked {
            word: WaitWord::new(),
            context: Data::new(),
            runs: AtomicU32::new(0),
            turns: Turns::new(),
        })
    }

    fn arm(&self, interest: Interest) -> u64 {
        match self.word().arm(interest) {
            Armed::Waiting(epoch) => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// The word, for one step in any order with the others'.
    fn word(&self) -> &WaitWord {
        self.turns.take();
        &self.word
    }

    /// The thread leaves its stack: what the LWP does from the next one.
    fn leave(&self) {
        self.context.add_one();
        if !self.word().commit() {
            self.run();
        }
    }

    /// What the caller of a resolving transition does.
    fn follow(&self, resolution: Resolution) -> Resolution {
        if matches!(resolution, Resolution::MakeReady | Resolution::WakeSleeper) {
            self.run();
        }
        resolution
    }

    /// The thread was made ready: it is switched to, and finds its wait over.
    fn run(&self) {
        self.context.add_one();
        self.runs.fetch_add(1, Ordering::Relaxed);
        assert!(self.word.outcome().is_some());
    }

    /// All others have gone: the thread ran once.
    fn check(&self) {
        assert_eq!(self.runs.load(Ordering::Relaxed), 1);
        assert_eq!(self.context.get(), 2);
    }
}

#[test]
fn resolve_before_commit() {
    for (interest, after_commit) in [
        (PLAIN, Resolution::MakeReady),
        (SLEEPS, Resolution::WakeSleeper),
    ] {
        let mut seen = resolve_against_commit(interest);
        assert!(seen.remove(&(Resolution::Noticed as u8)));
        assert!(seen.remove(&(after_commit as u8)) && seen.is_empty());
    }
}

fn resolve_against_commit(interest: Interest) -> BTreeSet<u8> {
    outcomes(ALL, move || {
        let (parked, news) = (Parked::new(), Data::new());
        let epoch = parked.arm(interest);
        let (thread, its_news) = (parked.clone(), news.clone());
        let resolver = spawn(move || {
            its_news.add_one();
            thread.follow(thread.word().resolve(epoch, Outcome::Woken)) as u8
        });
        parked.leave();
        if parked.word.outcome() == Some(Outcome::Woken) {
            assert_eq!(news.get(), 1);
        }
        let resolution = resolver.join().unwrap();
        parked.check();
        resolution
    })
}

/// The thread that is made ready runs on the resolver's LWP and sees what the
/// other resolver's winner published, not only the committer's context.
#[test]
fn resolve_against_resolve() {
    let seen = outcomes(Some(5), || {
        let parked = Parked::new();
        let epoch = parked.arm(PLAIN);
        let resolvers = [Outcome::Woken, Outcome::TimedOut].map(|outcome| {
            let parked = parked.clone();
            spawn(move || parked.follow(parked.word().resolve(epoch, outcome)) != Resolution::Stale)
        });
        parked.leave();
        let won = resolvers.map(|t| t.join().unwrap());
        parked.check();
        assert!(won[0] != won[1], "exactly one ends the wait");
        let outcome = parked.word.outcome().unwrap();
        assert_eq!(outcome == Outcome::Woken, won[0]);
        won
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn cancel_against_timeout() {
    let seen = outcomes(Some(5), || {
        let parked = Parked::new();
        let epoch = parked.arm(CANCELLABLE);
        let (a, b) = (parked.clone(), parked.clone());
        let canceller = spawn(move || a.follow(a.word().request_cancel().0) != Resolution::Stale);
        let timer = spawn(move || {
            b.follow(b.word().resolve(epoch, Outcome::TimedOut)) != Resolution::Stale
        });
        parked.leave();
        let (cancelled, timed_out) = (canceller.join().unwrap(), timer.join().unwrap());
        parked.check();
        assert!(!(cancelled && timed_out), "one ends the wait");
        // If neither, the request was there when the thread was parked.
        let outcome = parked.word.outcome().unwrap();
        assert_eq!(outcome == Outcome::TimedOut, timed_out);
        assert_eq!(outcome == Outcome::Cancelled, !timed_out);
        assert_eq!(parked.word().arm(CANCELLABLE), Armed::Cancelled, "sticky");
        (cancelled, timed_out)
    });
    assert_eq!(seen.len(), 3);
}

/// A cancel that comes before the wait, or in it, or to a wait that it must not
/// end; what the canceller did before is seen with it.
#[test]
fn cancel_against_arm() {
    for (interest, ends) in [(CANCELLABLE, true), (PLAIN, false)] {
        let seen = outcomes(ALL, move || {
            let (parked, news) = (Parked::new(), Data::new());
            let (thread, its_news) = (parked.clone(), news.clone());
            let canceller = spawn(move || {
                its_news.add_one();
                thread.follow(thread.word().request_cancel().0)
            });
            let armed = match parked.word().arm(interest) {
                Armed::Cancelled => {
                    assert!(parked.word().is_cancelled());
                    assert_eq!(news.get(), 1);
                    None
                }
                Armed::TookToken => unreachable!(),
                Armed::Waiting(epoch) => {
                    parked.leave();
                    if parked.word.outcome().is_some() {
                        assert_eq!(news.get(), 1);
                    }
                    Some(epoch)
                }
            };
            let resolution = canceller.join().unwrap();
            assert!(parked.word().is_cancelled());
            if let Some(epoch) = armed {
                let outcome = parked.word.outcome();
                let cancelled = ends.then_some(Outcome::Cancelled);
                assert_eq!(
                    outcome, cancelled,
                    "by the canceller, or when it was parked"
                );
                if !ends {
                    let _ = parked.follow(parked.word().resolve(epoch, Outcome::Woken));
                }
                parked.check();
            }
            (armed.is_some(), resolution as u8)
        });
        assert_eq!(seen.len(), if ends { 3 } else { 1 });
    }
}

#[test]
fn cancel_seen_with_what_came_before() {
    let seen = outcomes(ALL, || {
        let (idle, news) = (Parked::new(), Data::new());
        let (thread, its_news) = (idle.clone(), news.clone());
        let canceller = spawn(move || {
            its_news.add_one();
            assert_eq!(thread.word().request_cancel().0, Resolution::Stale);
        });
        let cancelled = idle.word().is_cancelled();
        if cancelled {
            assert_eq!(news.get(), 1);
        }
        canceller.join().unwrap();
        cancelled
    });
    assert_eq!(seen.len(), 2);
}

/// A token ends the wait or stays for the next one, never both, never neither.
#[test]
fn token_against_timeout() {
    let seen = outcomes(Some(5), || {
        let (parked, news) = (Parked::new(), Data::new());
        let epoch = parked.arm(TOKENS);
        let (a, b, its_news) = (parked.clone(), parked.clone(), news.clone());
        let poster = spawn(move || {
            its_news.add_one();
            a.follow(a.word().post_token().0) != Resolution::Stale
        });
        let timer = spawn(move || {
            b.follow(b.word().resolve(epoch, Outcome::TimedOut)) != Resolution::Stale
        });
        parked.leave();
        if parked.word.outcome() == Some(Outcome::Woken) {
            assert_eq!(news.get(), 1);
        }
        let (posted, timed_out) = (poster.join().unwrap(), timer.join().unwrap());
        parked.check();
        let found = parked.word.took_token();
        let ends = [posted, timed_out, found];
        assert_eq!(ends.iter().filter(|ends| **ends).count(), 1);
        let next = parked.word().arm(TOKENS);
        assert_eq!(next == Armed::TookToken, timed_out);
        ends
    });
    assert_eq!(seen.len(), 3);
}

/// A token found by `arm`, or by `commit`, brings what its poster wrote.
#[test]
fn token_against_arm() {
    let seen = outcomes(ALL, || {
        let (parked, news) = (Parked::new(), Data::new());
        let (thread, its_news) = (parked.clone(), news.clone());
        let poster = spawn(move || {
            its_news.add_one();
            thread.follow(thread.word().post_token().0)
        });
        let early = parked.word().arm(TOKENS) == Armed::TookToken;
        if !early {
            parked.leave();
        }
        let found = early || parked.word.took_token();
        if found {
            assert_eq!(news.get(), 1);
        }
        let resolution = poster.join().unwrap();
        assert_eq!(resolution == Resolution::Stale, found);
        assert_eq!(early, parked.word.outcome() != Some(Outcome::Woken));
        assert_ne!(parked.word().arm(TOKENS), Armed::TookToken, "taken once");
        (early, resolution as u8)
    });
    assert_eq!(seen.len(), 3);
}

/// A cancel and a token, before the thread has left its stack or after: one ends the wait,
/// and neither is lost.
#[test]
fn cancel_and_token_against_commit() {
    for (interest, ends) in [(BOTH, 2), (TOKENS, 1)] {
        let seen = outcomes(Some(4), move || {
            let parked = Parked::new();
            let _ = parked.arm(interest);
            let (a, b) = (parked.clone(), parked.clone());
            let canceller = spawn(move || a.follow(a.word().request_cancel().0));
            let poster = spawn(move || b.follow(b.word().post_token().0));
            parked.leave();
            let _ = (canceller.join().unwrap(), poster.join().unwrap());
            parked.check();
            let outcome = parked.word.outcome().unwrap();
            assert!(parked.word.is_cancelled());
            let token = parked.word.arm(TOKENS) == Armed::TookToken;
            assert_eq!(token, outcome == Outcome::Cancelled);
            outcome as u8
        });
        assert_eq!(seen.len(), ends);
    }
}

/// The key of a wait that was begun and then forgotten ends nothing, and does not keep the
/// next one from being ended.
#[test]
fn forgotten_wait_against_next() {
    let seen = outcomes(Some(4), || {
        let parked = Parked::new();
        let forgotten = parked.arm(PLAIN);
        let late = parked.clone();
        let late = spawn(move || late.follow(late.word().resolve(forgotten, Outcome::TimedOut)));
        let next = parked.arm(PLAIN);
        let waker = parked.clone();
        let waker = spawn(move || waker.follow(waker.word().resolve(next, Outcome::Woken)));
        parked.leave();
        assert_ne!(waker.join().unwrap(), Resolution::Stale);
        assert_ne!(late.join().unwrap(), Resolution::MakeReady);
        parked.check();
        assert_eq!(parked.word.outcome(), Some(Outcome::Woken));
    });
    assert_eq!(seen.len(), 1);
}

/// A wait that takes no tokens neither ends by one nor loses it.
#[test]
fn token_against_other_wait() {
    model(ALL, || {
        let parked = Parked::new();
        let thread = parked.clone();
        let poster = spawn(move || {
            assert_eq!(thread.word().post_token().0, Resolution::Stale);
        });
        let epoch = parked.arm(PLAIN);
        parked.context.add_one();
        assert!(parked.word().commit(), "nobody has ended the wait");
        let woken = parked.word().resolve(epoch, Outcome::Woken);
        assert_eq!(parked.follow(woken), Resolution::MakeReady);
        poster.join().unwrap();
        parked.check();
        assert_eq!(parked.word.arm(TOKENS), Armed::TookToken);
    });
}

/// Whoever sees that a thread is parked sees what it said of its wait before.
#[test]
fn look_against_commit() {
    let seen = outcomes(ALL, || {
        let (parked, said) = (Parked::new(), Data::new());
        let epoch = parked.arm(PLAIN);
        let (thread, its_news) = (parked.clone(), said.clone());
        let looks = spawn(move || {
            let seen = thread.word().parked_epoch();
            if seen.is_some() {
                assert_eq!((seen, its_news.get()), (Some(epoch), 1));
            }
            seen.is_some()
        });
        said.add_one();
        parked.context.add_one();
        assert!(parked.word().commit(), "nobody has ended the wait");
        looks.join().unwrap()
    });
    assert_eq!(seen.len(), 2);
}

/// The timer of an earlier wait fires whenever it likes: it may end that wait,
/// never the next.
#[test]
fn late_key_against_next_wait() {
    let seen = outcomes(ALL, || {
        let parked = Parked::new();
        let first = parked.arm(PLAIN);
        let timer = parked.clone();
        let timer = spawn(move || timer.word().resolve(first, Outcome::TimedOut));
        let abandoned = parked.word().resolve(first, Outcome::Abandoned);
        let second = parked.arm(PLAIN);
        assert_ne!(first, second);
        assert!(parked.word().commit(), "the second wait lasts");
        let fired = timer.join().unwrap();
        assert_eq!(parked.word.outcome(), None);
        assert!((fired == Resolution::Stale) != (abandoned == Resolution::Stale));
        let woken = parked.word.resolve(second, Outcome::Woken);
        assert_eq!(woken, Resolution::MakeReady);
        fired as u8
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn abandon_against_fire() {
    let seen = outcomes(ALL, || {
        let news = Data::new();
        let wait = wait::begin(&REASON, 0, false).unwrap();
        let (key, its_news) = (wait.key(), news.clone());
        let waker = spawn(move || {
            its_news.add_one();
            key.fire(Outcome::Woken)
        });
        let outcome = wait.abandon();
        if outcome == Some(Outcome::Woken) {
            assert_eq!(news.get(), 1, "something was handed over");
        }
        assert_eq!(waker.join().unwrap(), outcome.is_some());
        outcome.is_some()
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn fire_against_deadline() {
    for deadline in [None, Some(Instant::now())] {
        let seen = outcomes(ALL, move || {
            let news = Data::new();
            let wait = wait::begin(&REASON, 0, false).unwrap();
            let (key, its_news, turns) = (wait.key(), news.clone(), Turns::new());
            let its_turns = turns.clone();
            let waker = spawn(move || {
                its_news.add_one();
                its_turns.take();
                key.fire(Outcome::Woken)
            });
            turns.take();
            let woken = wait.block(deadline) == Outcome::Woken;
            if woken {
                assert_eq!(news.get(), 1);
            }
            assert_eq!(waker.join().unwrap(), woken);
            woken
        });
        assert_eq!(seen.len(), 1 + usize::from(deadline.is_some()));
    }
}

/// Who records a wake is told of the wait that it ended, also if the thread has gone on
/// before the waker says so, and its control block is another's.
#[test]
fn told_of_fire_against_end_of_thread() {
    model(ALL, || {
        trace::listen();
        let wait = wait::begin(&REASON, 0, false).unwrap();
        let (key, me) = (wait.key(), current::me());
        let told = (key.thread_id(), key.epoch_number(), Outcome::Woken);
        let waker = spawn(move || key.fire(Outcome::Woken));
        assert_eq!(wait.block(None), Outcome::Woken);
        me.id.store(told.0 + 1, Ordering::Relaxed);
        assert!(waker.join().unwrap());
        assert_eq!(trace::told(), [told]);
    });
}

/// As before, of whoever does not know beforehand which wait it ends.
#[test]
fn told_of_token_and_cancel_against_next_wait() {
    for (poke, outcome) in [
        (Thread::unpark as fn(&Thread), Outcome::Woken),
        (Thread::cancel, Outcome::Cancelled),
    ] {
        let seen = outcomes(ALL, move || {
            trace::listen();
            let (handle, me) = (thread::current(), current::me());
            let (first, turns) = (me.wait.epoch() + 1, Turns::new());
            let its_turns = turns.clone();
            let waker = spawn(move || {
                its_turns.take();
                poke(&handle);
            });
            turns.take();
            assert_eq!(thread::park(), outcome == Outcome::Woken);
            let next = wait::begin(&REASON, 0, false).unwrap();
            assert_eq!(next.abandon(), None);
            waker.join().unwrap();
            let told = trace::told();
            let id = me.id.load(Ordering::Relaxed);
            // Unless it came before the wait.
            assert!(told.is_empty() || told == [(id, first, outcome)]);
            told.len()
        });
        assert_eq!(seen.len(), 2);
    }
}
