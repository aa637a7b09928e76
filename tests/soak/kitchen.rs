//! Rounds: a runtime with random settings, full threads that do random things
//! for a moment, the end of both, and a look at what is left.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lisle::Runtime;
use lisle::policy::PolicyKind;
use lisle::thread::{Builder, JoinHandle};
use lisle::upcall::Source;

use crate::ingredients::{INGREDIENTS, Shared};
use crate::leftovers::{Held, mappings};
use crate::support::{end, say, watchdog};

/// Before what is held counts, these rounds and a quarter of the time: arenas, slabs and
/// helpers come in the first ones, and more with the busiest so far.
const WARM_UP: usize = 4;

/// A simple generator; quality does not matter.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// One of the threads that do random things, and what it may use.
pub(crate) struct Cook<'a> {
    pub(crate) random: Random,
    pub(crate) runtime: &'a Runtime,
    pub(crate) shared: &'a Shared,
}

impl Cook<'_> {
    /// Settings of a thread that this one spawns: on the same runtime, perhaps with
    /// thread-locals of its own or another stack.
    pub(crate) fn builder(&mut self) -> Builder {
        let mut builder = Builder::new()
            .on(self.runtime)
            .fresh(self.random.once_in(8))
            .depth_first(self.random.once_in(4));
        if self.random.once_in(6) {
            builder = builder.stack_size(64 << 10 << self.random.below(5));
        }
        if self.random.once_in(6) {
            builder = builder.name(format!("soaked-{}", self.random.below(100)));
        }
        builder
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &mut self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.builder().spawn(f).unwrap()
    }

    /// Does one thing at random, and says which.
    fn step(&mut self) -> &'static str {
        let (name, ingredient) = INGREDIENTS[self.random.below(INGREDIENTS.len())];
        ingredient(self);
        name
    }
}

fn runtime(random: &mut Random) -> Runtime {
    let policies = [PolicyKind::FirstCome, PolicyKind::Priority];
    Runtime::builder()
        .lwps(1 + random.below(4))
        .upcalls([Source::Auto, Source::Monitor][random.below(2)])
        .policy(policies[random.below(4) / 3].clone())
        .idle_threads([0, 20, 1024][random.below(3)])
        .time_slice((!random.once_in(4)).then_some(Duration::from_millis(5)))
        .build()
        .unwrap()
}

/// One round. How often what was done goes into `done`.
fn round(seed: u64, done: &Mutex<BTreeMap<&'static str, usize>>) {
    let _dog = watchdog();
    let mut random = Random::new(seed);
    let rt = runtime(&mut random);
    let cooks = 1 + random.below(16);
    let shared = Arc::new(Shared::new());
    let over = Arc::new(AtomicBool::new(false));
    let busy = Arc::new(AtomicUsize::new(cooks));
    let threads: Vec<_> = (0..cooks)
        .map(|_| {
            let seed = random.below(usize::MAX) as u64;
            let (over, busy, shared, own) =
                (over.clone(), busy.clone(), shared.clone(), rt.clone());
            let body = move || {
                let mut cook = Cook {
                    random: Random::new(seed),
                    runtime: &own,
                    shared: &shared,
                };
                let mut counts = BTreeMap::new();
                while !over.load(Ordering::Relaxed) {
                    *counts.entry(cook.step()).or_insert(0) += 1;
                }
                busy.fetch_sub(1, Ordering::SeqCst);
                counts
            };
            Builder::new().on(&rt).spawn(body).unwrap()
        })
        .collect();
    let until = Instant::now() + Duration::from_millis(200 + random.below(600) as u64);
    while Instant::now() < until {
        crate::system::disturb(&mut random);
        std::thread::sleep(Duration::from_micros(200 + random.below(800) as u64));
    }
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        let counts = thread
            .join()
            .unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        let mut done = done.lock().unwrap();
        for (name, count) in counts {
            *done.entry(name).or_insert(0) += count;
        }
    }
    assert_eq!(busy.load(Ordering::SeqCst), 0);
    shared.settle();
    end(rt);
}

/// Rounds until the time is over.
pub(crate) fn soak(seed: u64, time: Duration) {
    crate::system::prepare();
    let begin = Instant::now();
    let done = Mutex::new(BTreeMap::new());
    let (mut rounds, mut held, mut most) = (0, None, 0);
    while begin.elapsed() < time || rounds < WARM_UP + 2 || held.is_none() {
        let this = seed.wrapping_add(rounds as u64);
        let before = Held::of_counters();
        round(this, &done);
        before.assert_again(&format!("round {rounds}, seed {this}"));
        rounds += 1;
        most = most.max(mappings());
        if held.is_none() && rounds >= WARM_UP && begin.elapsed() >= time / 4 {
            held = Some(Held::of_memory());
        }
    }
    let before = held.unwrap();
    let after = Held::of_memory();
    let done = done.into_inner().unwrap();
    let mut report = format!(
        "soak: seed {seed}, {rounds} rounds in {} s; {} -> {} KiB of memory, mappings {} -> {} (most {most}); {} signals\n",
        begin.elapsed().as_secs(),
        before.anonymous_kib,
        after.anonymous_kib,
        before.mappings,
        after.mappings,
        crate::system::caught(),
    );
    for (name, count) in &done {
        report += &format!("  {name:12} {count}\n");
    }
    say(&report);
    after.assert_little_more_than(&before);
    if time >= Duration::from_secs(30) {
        let missing = INGREDIENTS
            .iter()
            .filter(|(name, _)| !done.contains_key(name));
        assert_eq!(missing.count(), 0, "not everything was done");
    }
}
