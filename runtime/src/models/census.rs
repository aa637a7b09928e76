//! Spawning against shutting down: a thread is refused or counted, and a shutdown that says
//! that all have ended tells the truth.

use std::sync::Arc;

use lisle_lwp::explore::{ALL, Data, Turns, outcomes};
use loom::thread::{JoinHandle, spawn};

use crate::census::{Census, Tally};

/// A runtime of two LWPs, each played by whichever loom thread runs something there.
struct Runtime {
    census: Census,
    lwps: [Tally; 2],
    /// What threads use, one each, and who shuts the runtime down frees.
    memory: [Data; 2],
    /// Written before the runtime stops.
    news: Data,
    turns: Turns,
}

impl Runtime {
    fn new() -> Arc<Runtime> {
        Arc::new(Runtime {
            census: Census::new(),
            lwps: [Tally::default(), Tally::default()],
            memory: [Data::new(), Data::new()],
            news: Data::new(),
            turns: Turns::new(),
        })
    }

    fn live(&self) -> u64 {
        self.turns.take();
        self.census.live(self.lwps.iter())
    }

    /// As `launch::submit` from outside; the thread runs to its end at once, on an LWP or left
    /// behind by it. Returns whether it was admitted.
    fn submit(&self, number: usize, lwp: Option<usize>) -> bool {
        self.turns.take();
        if !self.census.admit() {
            assert_eq!(self.news.get(), 1);
            return false;
        }
        self.memory[number].add_one();
        self.turns.take();
        match lwp {
            Some(lwp) => self.lwps[lwp].count_ended(),
            None => self.census.count_ended(),
        }
        true
    }

    /// A thread of the first LWP spawns one that runs on the second.
    fn spawn_and_end(self: &Arc<Self>) -> JoinHandle<()> {
        self.turns.take();
        self.lwps[0].count_spawned();
        let runtime = self.clone();
        let spawned = spawn(move || {
            runtime.memory[0].add_one();
            runtime.turns.take();
            runtime.lwps[1].count_ended();
        });
        self.turns.take();
        self.lwps[0].count_ended();
        spawned
    }

    fn free(&self) {
        self.memory.iter().for_each(Data::add_one);
    }

    /// As `runtime::shut_down` whose time is up. Returns whether all threads have ended.
    fn shut_down(&self) -> bool {
        self.news.add_one();
        self.turns.take();
        self.census.stop();
        let clean = self.live() == 0;
        if clean {
            self.free();
        }
        clean
    }

    /// Nobody spawns, and all have ended.
    fn check(&self) {
        assert_eq!(self.live(), 0);
        assert!(!self.census.admit());
    }
}

/// One thread is spawned from outside.
#[test]
fn submit_against_stop() {
    for lwp in [Some(0), None] {
        let seen = outcomes(ALL, move || {
            let runtime = Runtime::new();
            let other = runtime.clone();
            let submitter = spawn(move || other.submit(0, lwp));
            let clean = runtime.shut_down();
            let admitted = submitter.join().unwrap();
            runtime.check();
            (admitted, clean)
        });
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
}

/// Two are; the end of one does not stand for the count of the other.
#[test]
fn submit_against_submit_and_stop() {
    let seen = outcomes(Some(3), || {
        let runtime = Runtime::new();
        // One ends where it is counted, one elsewhere.
        let submitters = [(0, Some(0)), (1, None)].map(|(number, lwp)| {
            let runtime = runtime.clone();
            spawn(move || runtime.submit(number, lwp))
        });
        let clean = runtime.shut_down();
        let admitted = submitters.map(|submitter| submitter.join().unwrap());
        runtime.check();
        (admitted, clean)
    });
    assert_eq!(seen.len(), 8, "{seen:?}");
}

/// A thread ends whose child runs on another LWP.
#[test]
fn spawn_against_shutdown() {
    let seen = outcomes(Some(4), || {
        let runtime = Runtime::new();
        runtime.lwps[0].count_spawned();
        let other = runtime.clone();
        let parent = spawn(move || other.spawn_and_end());
        let live = runtime.live();
        if live == 0 {
            runtime.free();
        }
        let spawned = parent.join().unwrap();
        spawned.join().unwrap();
        runtime.census.stop();
        runtime.check();
        live
    });
    assert_eq!(Vec::from_iter(seen), [0, 1, 2]);
}
