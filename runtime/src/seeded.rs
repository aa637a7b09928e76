//! Reproducible interleavings: a closure under many seeds, to find races and to
//! see them again.
//!
//! A run has one LWP, virtual time, and takes every choice from its seed. At each
//! *step* one of the ready threads is chosen: when a thread waits, yields or ends, and
//! when it makes another one ready. Between steps a
//! thread is alone; so put a [`thread::yield_now`] where another thread might
//! come in between that cannot by itself: between two accesses to an atomic, or
//! after taking a lock that was free.
//!
//! How a seed chooses is said by [`Schedules`]. [`Random`](Schedules::Random)
//! choices are good at bugs that many schedules show.
//! [`Priorities`](Schedules::Priorities) are good at those that need few
//! particular steps among many, and come with a bound on how many seeds it takes.
//!
//! ```
//! # use lisle_runtime as lisle;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
//! use lisle::seeded::{self, Schedules};
//! use lisle::thread;
//!
//! /// One thread looks whether a service is open and then uses it; another one
//! /// closes it, after a long time.
//! fn race() {
//!     let open = Arc::new(AtomicBool::new(true));
//!     let shared = open.clone();
//!     // SAFETY: the closures touch no thread-local.
//!     let user = unsafe {
//!         thread::Builder::new().spawn_light(move || {
//!             if shared.load(Relaxed) {
//!                 thread::yield_now();
//!                 assert!(shared.load(Relaxed), "used after closing");
//!             }
//!         })
//!     };
//!     for _ in 0..30 {
//!         thread::yield_now();
//!     }
//!     open.store(false, Relaxed);
//!     user.unwrap().join().unwrap();
//! }
//!
//! // SAFETY: `race` touches no thread-local.
//! let fails = |schedules: Schedules, seed| {
//!     std::panic::catch_unwind(|| unsafe { schedules.run(seed, race) }).is_err()
//! };
//! # std::panic::set_hook(Box::new(|_| ()));
//! // Thirty times in a row the same one of two: one run in a billion.
//! assert!(!(0..300).any(|seed| fails(Schedules::Random, seed)));
//! // The user first, and a change just before its second look.
//! let steps = unsafe { seeded::steps(0, || race()) };
//! let priorities = Schedules::Priorities { changes: 1, steps };
//! let seed = (0..300).find(|seed| fails(priorities, *seed)).unwrap();
//! // That seed shows it whenever it is asked to.
//! assert!(fails(priorities, seed));
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::sched::policy::PolicyKind;
use crate::{Runtime, debug, thread};

/// How a seed chooses the thread to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Schedules {
    /// At each step any of the ready threads, with equal probability. A thread
    /// that makes another one ready gives way in half of the cases.
    #[default]
    Random,
    /// Random priorities that change at random points, as Burckhardt, Kothari,
    /// Musuvathi and Nagarakatte describe them (*A Randomized Scheduler with
    /// Probabilistic Guarantees of Finding Bugs*, ASPLOS 2010): each thread gets a
    /// random priority when it begins, the ready thread of the highest one runs,
    /// and at each of so many change points, which are random steps, the thread that
    /// is about to run falls below all that has not fallen yet.
    ///
    /// *The guarantee*: a bug has depth d if it shows whenever d steps come in a
    /// certain order, whatever else happens. An order violation (used before made)
    /// has depth 1, a broken atomicity or a deadlock of two locks depth 2. In a
    /// program of at most n threads and k steps, each seed finds a bug of depth d with a
    /// probability of at least 1/(n k^(d-1)), if there are d-1 changes and `steps` is
    /// at least k. Mostly the probability is far larger.
    ///
    /// Begin with one change, then two; more are seldom needed.
    Priorities {
        /// How many change points: d-1 to find bugs of depth d; at most 64.
        changes: u32,
        /// Among how many steps they are placed: what [`steps`] counted in a
        /// run or some. Where runs are longer, changes come early only; and every
        /// `steps` further steps (or 100, if that is more) the thread that is about to
        /// run falls below all others, so that a thread which yields until something
        /// has happened does not keep it from happening.
        steps: u32,
    },
}

impl Schedules {
    fn policy(self, seed: u64) -> PolicyKind {
        match self {
            Schedules::Random => PolicyKind::Seeded(seed),
            Schedules::Priorities { changes, steps } => PolicyKind::SeededPriorities {
                seed,
                changes,
                steps,
            },
        }
    }

    /// Runs `test` once under each seed, as the first light thread of a runtime of
    /// one LWP where every choice comes from the seed and time is virtual. If a run
    /// panics, prints its seed and these schedules, with which [`Schedules::run`]
    /// repeats it, and panics likewise.
    ///
    /// What depends on anything but the seed (addresses, real time, readiness of
    /// descriptors, other kernel threads) is not reproduced.
    ///
    /// # Safety
    /// `test` runs on a light thread: see
    /// [`Builder::spawn_light`](crate::thread::Builder::spawn_light).
    ///
    /// # Panics
    /// As [`Schedules::run`].
    pub unsafe fn check<F>(self, seeds: impl IntoIterator<Item = u64>, test: F)
    where
        F: Fn() + Send + Sync + Clone + 'static,
    {
        for seed in seeds {
            // SAFETY: passed on.
            let run = AssertUnwindSafe(|| unsafe { self.run(seed, test.clone()) });
            if let Err(payload) = catch_unwind(run) {
                match self {
                    Schedules::Random => eprintln!("failed under seed {seed}"),
                    _ => eprintln!("failed under seed {seed} of {self:?}"),
                }
                resume_unwind(payload);
            }
        }
    }

    /// Runs `test` under one seed and returns what it returns: see
    /// [`Schedules::check`].
    ///
    /// # Safety
    /// As [`Schedules::check`].
    ///
    /// # Panics
    /// As `test`; if threads that it spawned have not ended, or wait for ever,
    /// when it returns; if all threads of the run, `test` among them, wait for each other
    /// or for others, without a deadline, for half a second; and if the numbers of
    /// [`Schedules::Priorities`] make no sense.
    pub unsafe fn run<F, T>(self, seed: u64, test: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: passed on.
        unsafe { run_counting(self, seed, test) }.0
    }
}

/// As [`Schedules::check`], with [`Schedules::Random`].
///
/// # Safety
/// As [`Schedules::check`].
///
/// # Panics
/// As [`Schedules::run`].
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::{seeded, thread};
/// // SAFETY: the closures touch no thread-local.
/// unsafe {
///     seeded::check(0..100, || {
///         let other = thread::Builder::new().spawn_light(|| thread::yield_now()).unwrap();
///         other.join().unwrap();
///     });
/// }
/// ```
pub unsafe fn check<F>(seeds: impl IntoIterator<Item = u64>, test: F)
where
    F: Fn() + Send + Sync + Clone + 'static,
{
    // SAFETY: passed on.
    unsafe { Schedules::Random.check(seeds, test) }
}

/// As [`Schedules::run`], with [`Schedules::Random`].
///
/// # Safety
/// As [`Schedules::check`].
///
/// # Panics
/// As [`Schedules::run`].
pub unsafe fn run<F, T>(seed: u64, test: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: passed on.
    unsafe { Schedules::Random.run(seed, test) }
}

/// How many steps a run has under this seed of [`Schedules::Random`]: for
/// [`Schedules::Priorities`]. At least 1.
///
/// # Safety
/// As [`Schedules::check`].
///
/// # Panics
/// As [`Schedules::run`].
pub unsafe fn steps<F>(seed: u64, test: F) -> u32
where
    F: FnOnce() + Send + 'static,
{
    // SAFETY: passed on.
    let ((), steps) = unsafe { run_counting(Schedules::Random, seed, test) };
    u32::try_from(steps).unwrap_or(u32::MAX).max(1)
}

/// How often one looks whether all threads of a run wait.
const LOOK: Duration = Duration::from_millis(500);

/// # Safety
/// As [`Schedules::check`].
unsafe fn run_counting<F, T>(schedules: Schedules, seed: u64, test: F) -> (T, u64)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let runtime = Runtime::builder()
        .policy(schedules.policy(seed))
        .name_prefix("seeded")
        .build()
        .expect("a seeded runtime needs one kernel thread, a poller, and numbers that make sense");
    let choices = runtime.seed().cloned().expect("it is seeded");
    // SAFETY: passed on.
    let main = unsafe {
        thread::Builder::new()
            .name("seeded".into())
            .on(&runtime)
            .spawn_light(test)
    };
    let main = main.expect("a thread needs a stack");
    let mut before = None;
    while !main.finishes_within(LOOK) {
        let waits = debug::waits_within(runtime.shared());
        if waits.is_some() && waits == before {
            let waiting = runtime.shutdown(Duration::ZERO).expect_err("some wait");
            panic!("seed {seed}: a deadlock: {waiting}");
        }
        before = waits;
    }
    let outcome = main.join();
    let ended = runtime.shutdown(Duration::from_secs(10));
    match outcome {
        Err(payload) => resume_unwind(payload),
        Ok(value) => {
            if let Err(survivors) = ended {
                panic!("seed {seed}: {survivors}");
            }
            (value, choices.steps())
        }
    }
}
