//! What a seeded runtime takes from its seed: every choice.
//!
//! A *step* is a choice of the thread to run next. There is one when a thread waits,
//! yields or ends, and, perhaps, when it makes another one ready. Two policies make
//! it:
//!
//! * [`Random`](Schedule::Random): any of the ready threads, with equal
//!   probability, at each step anew.
//! * [`Priorities`](Schedule::Priorities): "probabilistic concurrency testing"
//!   (Burckhardt, Kothari, Musuvathi and Nagarakatte: *A Randomized Scheduler with
//!   Probabilistic Guarantees of Finding Bugs*, ASPLOS 2010). Each thread is given
//!   a random rank when it is ready for the first time, and the ready thread of the
//!   highest rank runs. At each of `changes` steps, drawn beforehand among the first
//!   `steps`, the thread that is about to run gets a rank below all initial ones
//!   instead: the i-th change, in the order in which they were drawn, the rank i.
//!
//! # Where it leaves the paper
//!
//! * Changes are placed among the steps at which at least two threads are ready: one at
//!   another step could not make another thread run earlier. There are at most as
//!   many as steps, so the guarantee holds.
//! * In a run that goes on for longer, every `steps`-th step (but not more often
//!   than every [`FEWEST_STEPS`]) the thread that is about to run goes below all
//!   others. So a thread that yields until another one has done something does
//!   not keep it from that for ever, which every policy owes its threads.
//!
//! # Rejected
//!
//! A rank that goes down whenever a thread yields, as checkers have that see each
//! access to memory: here a yield is how a test says where threads may take turns.

use core::fmt;
use std::io;
use std::sync::Arc;

use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicU64, Ordering};

use super::policy::{Policy, PolicyKind, ReadyList, ReadyThread};
use crate::random::Random;

/// The least distance of two changes in a run that is longer than expected.
const FEWEST_STEPS: u64 = 100;

/// Initial ranks are above this, those of changes and of turns below.
const INITIAL: u64 = 1 << 63;
/// Those of changes are at least this, those of turns below.
const CHANGED: u64 = 1 << 62;

/// How threads are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Schedule {
    Random,
    Priorities { changes: u32, steps: u32 },
}

/// See the module documentation.
pub(crate) struct Seed {
    seed: u64,
    schedule: Schedule,
    /// For all choices but that of a thread: another stream than the policy's own.
    random: RawLock<Random>,
    /// How many steps there were, if they are random; written on the LWP only.
    steps: AtomicU64,
}

impl Seed {
    /// That of a policy, if it has one.
    ///
    /// # Errors
    /// If the numbers make no sense.
    pub(crate) fn of(kind: &PolicyKind) -> io::Result<Option<Seed>> {
        let (seed, schedule) = match *kind {
            PolicyKind::Seeded(seed) => (seed, Schedule::Random),
            PolicyKind::SeededPriorities {
                seed,
                changes,
                steps,
            } => (seed, Schedule::Priorities { changes, steps }),
            _ => return Ok(None),
        };
        if let Schedule::Priorities { changes, steps } = schedule {
            let most = PolicyKind::MOST_CHANGES;
            if changes > most || steps == 0 {
                let text = format!("{changes} change points, at most {most}, in {steps} steps");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        Ok(Some(Seed {
            seed,
            schedule,
            random: RawLock::new(Random::new(!seed)),
            steps: AtomicU64::new(0),
        }))
    }

    pub(crate) fn policy(self: &Arc<Seed>) -> Box<dyn Policy> {
        match self.schedule {
            Schedule::Random => Box::new(AtRandom::new(self.clone())),
            Schedule::Priorities { changes, steps } => {
                Box::new(ByRank::new(self.seed, changes, steps))
            }
        }
    }

    /// How many steps there were.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Whether a thread that has made another one ready gives way: on its LWP. A step
    /// in any case, of which the policy hears if it does. By rank, it always asks.
    pub(crate) fn gives_way(&self) -> bool {
        match self.schedule {
            Schedule::Random if self.random.lock().next() & 1 == 0 => true,
            Schedule::Random => {
                self.count();
                false
            }
            Schedule::Priorities { .. } => true,
        }
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: usize) -> usize {
        self.random.lock().below(bound)
    }

    fn count(&self) {
        // Relaxed: only the LWP writes it, and who reads it is told otherwise that
        // the runtime has ended.
        self.steps.store(self.steps() + 1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed")
            .field("seed", &self.seed)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

/// Any ready thread.
struct AtRandom {
    list: ReadyList,
    random: Random,
    seed: Arc<Seed>,
}

impl AtRandom {
    fn new(seed: Arc<Seed>) -> Self {
        AtRandom {
            list: ReadyList::new(),
            random: Random::new(seed.seed),
            seed,
        }
    }
}

// SAFETY: one list that only push and pop touch.
unsafe impl Policy for AtRandom {
    fn push(&mut self, thread: ReadyThread) {
        thread.push_to(&mut self.list);
    }
    fn pop(&mut self) -> Option<ReadyThread> {
        let len = self.list.len();
        if len == 0 {
            return None;
        }
        self.seed.count();
        ReadyThread::remove_from(&mut self.list, self.random.below(len))
    }
    fn len(&self) -> usize {
        self.list.len()
    }
}

/// Zero for a thread that has not been ready yet.
fn rank(thread: &ReadyThread) -> u64 {
    thread.0.random.load(Ordering::Relaxed)
}

/// Relaxed, as in `rank`: the thread is ready, and all who handle it are on its LWP.
fn set_rank(thread: &ReadyThread, rank: u64) {
    thread.0.random.store(rank, Ordering::Relaxed);
}

/// The ready thread of the highest rank.
struct ByRank {
    list: ReadyList,
    random: Random,
    /// At which step which rank, in the order of steps, and how many are over.
    changes: Vec<(u64, u64)>,
    over: usize,
    /// How many steps there were at which two threads or more were ready.
    step: u64,
    /// When the next turn is, how long it is to the one after, and what is below all
    /// ranks that were given.
    turn: u64,
    period: u64,
    lowest: u64,
}

impl ByRank {
    fn new(seed: u64, changes: u32, steps: u32) -> Self {
        let mut random = Random::new(seed);
        let mut place = |change| (1 + random.below(steps as usize) as u64, CHANGED + change);
        let mut changes: Vec<_> = (0..u64::from(changes)).map(&mut place).collect();
        changes.sort_unstable();
        let period = u64::from(steps).max(FEWEST_STEPS);
        ByRank {
            list: ReadyList::new(),
            random,
            changes,
            over: 0,
            step: 0,
            turn: u64::from(steps) + period,
            period,
            lowest: CHANGED - 1,
        }
    }

    /// Takes out the thread of the highest rank. The list is walked by taking each
    /// out in turn and putting it back.
    fn take_highest(&mut self) -> Option<ReadyThread> {
        let (mut highest, mut at) = (0, 0);
        for index in 0..self.list.len() {
            let thread = ReadyThread::pop_from(&mut self.list)?;
            if rank(&thread) > highest {
                (highest, at) = (rank(&thread), index);
            }
            thread.push_to(&mut self.list);
        }
        ReadyThread::remove_from(&mut self.list, at)
    }

    /// The rank that the thread about to take this step gets instead of its own.
    fn change_at(&mut self) -> Option<u64> {
        if let Some((at, rank)) = self.changes.get(self.over).copied()
            && at == self.step
        {
            self.over += 1;
            return Some(rank);
        }
        (self.step == self.turn).then(|| {
            self.turn += self.period;
            self.lowest -= 1;
            self.lowest
        })
    }
}

// SAFETY: one list that only push and pop touch.
unsafe impl Policy for ByRank {
    fn push(&mut self, thread: ReadyThread) {
        if rank(&thread) == 0 {
            set_rank(&thread, INITIAL | self.random.next());
        }
        thread.push_to(&mut self.list);
    }
    fn pop(&mut self) -> Option<ReadyThread> {
        if self.list.len() > 1 {
            self.step += 1;
            while let Some(rank) = self.change_at() {
                let thread = self.take_highest()?;
                set_rank(&thread, rank);
                thread.push_to(&mut self.list);
            }
        }
        self.take_highest()
    }
    fn len(&self) -> usize {
        self.list.len()
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;
    use crate::tcb::Tcb;

    fn threads(n: u8) -> Vec<&'static Tcb> {
        let block = |priority| -> &'static Tcb {
            let block = Box::leak(Box::new(Tcb::blank()));
            block.priority.store(priority, Ordering::Relaxed);
            block
        };
        (0..n).map(block).collect()
    }

    fn policy(kind: &PolicyKind) -> Box<dyn Policy> {
        Arc::new(Seed::of(kind).unwrap().unwrap()).policy()
    }

    fn by_rank(seed: u64, changes: u32, steps: u32) -> Box<dyn Policy> {
        policy(&PolicyKind::SeededPriorities {
            seed,
            changes,
            steps,
        })
    }

    /// The order in which this policy lets threads run that yield `steps` times in all.
    fn order(mut policy: Box<dyn Policy>, n: u8, steps: usize) -> Vec<u8> {
        for thread in threads(n) {
            policy.push(ReadyThread(thread));
        }
        let mut step = || {
            let thread = policy.pop().unwrap();
            let who = thread.priority();
            policy.push(thread);
            who
        };
        (0..steps).map(|_| step()).collect()
    }

    #[test]
    fn a_seed_repeats_itself() {
        for make in [
            |seed| policy(&PolicyKind::Seeded(seed)),
            |seed| by_rank(seed, 3, 40),
        ] {
            assert_eq!(order(make(7), 8, 40), order(make(7), 8, 40));
            assert!((0..20).any(|seed| order(make(seed), 8, 40) != order(make(7), 8, 40)));
        }
    }

    /// How often the one that runs is another one.
    fn turns(order: &[u8]) -> usize {
        order.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    #[test]
    fn the_one_that_runs_changes_at_change_points_only() {
        let mut most = 0;
        for seed in 0..200 {
            assert_eq!(turns(&order(by_rank(seed, 0, 50), 5, 50)), 0, "seed {seed}");
            let changes = turns(&order(by_rank(seed, 3, 50), 5, 50));
            assert!(changes <= 3, "seed {seed}");
            most = most.max(changes);
        }
        assert_eq!(most, 3);
    }

    /// Each thread is the first to run equally often, and changes are anywhere.
    #[test]
    fn ranks_and_changes_are_uniform() {
        let (mut first, mut changed) = ([0; 5], [0; 21]);
        for seed in 0..10_000 {
            let order = order(by_rank(seed, 1, 20), 5, 21);
            first[usize::from(order[0])] += u32::from(order[0] == order[1]);
            let at = order.windows(2).position(|pair| pair[0] != pair[1]);
            changed[at.map_or(0, |at| at + 1)] += 1;
        }
        // 10,000 / 5 without those whose change comes first or second; 10,000 / 20.
        assert!(first.iter().all(|n| (1750..2050).contains(n)), "{first:?}");
        // A change at the first step shows as none.
        assert!(
            changed[..20].iter().all(|n| (400..600).contains(n)),
            "{changed:?}"
        );
    }

    /// The first change drawn gets the lowest rank, wherever it is.
    #[test]
    fn a_later_change_can_be_above_an_earlier_one() {
        let returns = |order: &[u8]| {
            let first = order[0];
            order
                .iter()
                .skip_while(|who| **who == first)
                .any(|who| *who == first)
        };
        // Of two threads, the first is changed, then the other one: it depends on
        // the order in which the changes were drawn whether the first comes back.
        let came_back = (0..1000)
            .filter(|seed| returns(&order(by_rank(*seed, 2, 30), 2, 30)))
            .count();
        assert!((350..650).contains(&came_back), "{came_back}");
    }

    #[test]
    fn every_thread_runs_after_a_bounded_number_of_picks() {
        let n = 6;
        for seed in 0..50 {
            let order = order(by_rank(seed, 2, 10), n, 5000);
            for thread in 0..n {
                let mut last = 0;
                for (at, _) in order.iter().enumerate().filter(|(_, who)| **who == thread) {
                    assert!(
                        at - last <= 1000,
                        "seed {seed}: {thread} waited {}",
                        at - last
                    );
                    last = at;
                }
                assert!(last > 4000, "seed {seed}: {thread} starves after {last}");
            }
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for (changes, steps) in [(1, 0), (65, 100), (u32::MAX, u32::MAX)] {
            let kind = PolicyKind::SeededPriorities {
                seed: 1,
                changes,
                steps,
            };
            let error = Seed::of(&kind).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert!(Seed::of(&PolicyKind::Priority).unwrap().is_none());
        let most = PolicyKind::SeededPriorities {
            seed: 1,
            changes: PolicyKind::MOST_CHANGES,
            steps: u32::MAX,
        };
        assert_eq!(order(policy(&most), 3, 10).len(), 10);
    }
}
