//! Running models: every interleaving that loom finds within a bound, and a
//! line that says how many those were.
//!
//! A model returns what happened in one execution. The set of everything that
//! happened in any is compared with what should be possible, so a model that
//! has stopped reaching a race fails instead of passing vacuously.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Something that loom reports if it is never dropped.
pub use loom::alloc::Track;

use crate::shim::Cell;

/// No bound on preemptions: all interleavings.
pub const ALL: Option<usize> = None;

/// Runs `model` under loom with at most `preemptions` switches away from a
/// thread that could have gone on; returns what the executions returned.
pub fn outcomes<T>(
    preemptions: Option<usize>,
    model: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T>
where
    T: Ord + Debug + Send + 'static,
{
    explore(at_most(deeper(preemptions)), model)
}

/// As [`outcomes`], never deeper: for a model in which a thread unwinds. If that comes while
/// another holds a mutex of loom's, which takes a preemption at the right place, loom takes
/// the mutex for poisoned and panics.
pub fn outcomes_within<T>(
    preemptions: usize,
    model: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T>
where
    T: Ord + Debug + Send + 'static,
{
    explore(at_most(Some(preemptions)), model)
}

fn explore<T>(
    preemptions: Option<usize>,
    model: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T>
where
    T: Ord + Debug + Send + 'static,
{
    let name = std::any::type_name_of_val(&model);
    let start = Instant::now();
    let seen = Arc::new(Mutex::new((0usize, BTreeSet::new())));
    let record = seen.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 5_000;
    builder.check(move || {
        let outcome = model();
        let mut seen = record.lock().unwrap();
        seen.0 += 1;
        seen.1.insert(outcome);
    });
    let mut seen = seen.lock().unwrap();
    println!(
        "model {}: {} executions, {}, {:.2} s",
        name.trim_end_matches("::{{closure}}"),
        seen.0,
        match preemptions {
            Some(bound) => format!("at most {bound} preemptions"),
            None => "all interleavings".into(),
        },
        start.elapsed().as_secs_f32(),
    );
    std::mem::take(&mut seen.1)
}

/// `LISLE_MODELS_DEEPER` says how many preemptions more are allowed to the models that have a
/// bound; each makes them take some ten times as long.
fn deeper(bound: Option<usize>) -> Option<usize> {
    bound.map(|bound| bound + number("LISLE_MODELS_DEEPER").unwrap_or(0))
}

/// `LISLE_MODELS_AT_MOST` says how many are allowed to any model.
fn at_most(bound: Option<usize>) -> Option<usize> {
    bound
        .into_iter()
        .chain(number("LISLE_MODELS_AT_MOST"))
        .min()
}

fn number(variable: &str) -> Option<usize> {
    let value = std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())?;
    Some(value.parse().expect("a number"))
}

/// As [`outcomes`], for a model whose assertions say everything.
pub fn model(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    outcomes(preemptions, model);
}

/// Makes loom try every order of the steps that take a turn.
///
/// Loom remembers only the latest access to each atomic. If `a` loads a word,
/// and then `b` loads it and writes it, loom does not try `b`'s write before
/// `a`'s load. Where that order matters, both take a turn first: a relaxed
/// read-modify-write, which loom reorders and which itself orders nothing.
#[derive(Debug, Clone)]
pub struct Turns(Arc<loom::sync::atomic::AtomicUsize>);

impl Turns {
    /// For the threads of one execution.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Turns {
        Turns(Arc::new(loom::sync::atomic::AtomicUsize::new(0)))
    }

    /// The calling thread's next step may come before or after any other's.
    pub fn take(&self) {
        self.0.fetch_add(1, loom::sync::atomic::Ordering::Relaxed);
    }
}

/// Data that somebody writes before an event and somebody reads after it. Loom
/// reports it if the two are not ordered.
#[derive(Debug, Clone)]
pub struct Data(Arc<Cell<u32>>);

// SAFETY: that the cell is never touched concurrently is what models check.
unsafe impl Sync for Data {}
// SAFETY: as above.
unsafe impl Send for Data {}

impl Data {
    /// Zero.
    #[allow(clippy::new_without_default, clippy::arc_with_non_send_sync)]
    pub fn new() -> Data {
        Data(Arc::new(Cell::new(0)))
    }

    /// Writes.
    #[track_caller]
    pub fn add_one(&self) {
        // SAFETY: loom reports any concurrent access.
        self.0.with_mut(|data| unsafe { *data += 1 });
    }

    /// Reads.
    #[track_caller]
    pub fn get(&self) -> u32 {
        // SAFETY: loom reports any concurrent access.
        self.0.with(|data| unsafe { *data })
    }
}
