//! What all problems are run by: participants of every kind, a journal of who asked when
//! and who went in when, and cancels of some of them.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lisle::thread::{self, Builder, JoinHandle};
use lisle::{blocking, cancel};

/// Spawns a light thread. Boxed, so that spawning is compiled once, not for each solution.
pub(crate) fn child(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    start(Box::new(body))
}

fn start(body: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
    crate::support::child(body)
}

/// Who takes part, and what is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Light threads under a seed, in virtual time.
    Seeded,
    /// Full, light and kernel threads, really.
    Mixed,
    /// Light threads that do nothing else, to be timed.
    Timed,
}

/// One run of one solution.
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    /// Operations of each participant.
    pub(crate) rounds: usize,
    random: AtomicU64,
    operations: AtomicUsize,
    journal: Mutex<Vec<Event>>,
}

#[derive(Clone, Copy)]
enum Event {
    Asked(usize),
    Entered(usize),
}

/// A request of one participant.
pub(crate) struct Operation<'a> {
    stage: &'a Stage,
    number: usize,
}

impl Stage {
    pub(crate) fn new(kind: Kind, rounds: usize, seed: u64) -> Arc<Stage> {
        Arc::new(Stage {
            kind,
            rounds,
            random: AtomicU64::new(seed.wrapping_mul(2) + 1),
            operations: AtomicUsize::new(0),
            journal: Mutex::new(Vec::new()),
        })
    }

    /// A random number below `bound`.
    pub(crate) fn random(&self, bound: u64) -> u64 {
        let step = |state: u64| {
            Some(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407),
            )
        };
        let state = self
            .random
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        (state.unwrap_or(0) >> 33) % bound
    }

    /// Lets others come in between, now and then.
    pub(crate) fn linger(&self) {
        if self.kind != Kind::Timed {
            (0..self.random(3)).for_each(|_| thread::yield_now());
        }
    }

    /// A participant asks for something.
    pub(crate) fn ask(&self) -> Operation<'_> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        self.note(Event::Asked(number));
        Operation {
            stage: self,
            number,
        }
    }

    /// A leaf: std's lock looks at a thread-local.
    #[inline(never)]
    fn note(&self, event: Event) {
        if self.kind != Kind::Timed {
            self.journal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(event);
        }
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> usize {
        self.operations.load(Ordering::Relaxed)
    }

    /// The most that any operation was bypassed: by how many that were asked for after
    /// it, but entered before it. (Operations that never entered count, too.)
    pub(crate) fn bypasses(&self) -> usize {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting: Vec<(usize, usize)> = Vec::new();
        let mut most = 0;
        for event in journal.iter() {
            match *event {
                Event::Asked(number) => waiting.push((number, 0)),
                Event::Entered(number) => {
                    let at = waiting.iter().position(|(other, _)| *other == number);
                    let at = at.expect("who enters has asked");
                    waiting[..at]
                        .iter_mut()
                        .for_each(|(_, bypassed)| *bypassed += 1);
                    most = most.max(waiting.remove(at).1);
                }
            }
        }
        most
    }

    /// Whether the run is one in which some are cancelled.
    pub(crate) fn has_victims(&self) -> bool {
        self.kind != Kind::Timed
    }

    /// `participants` do `act(who, round)` in all rounds. With them, some victims do, until
    /// they are cancelled: they are asked to be at some time, and have ended when this
    /// returns. Who they are is drawn from `victims`, up to three.
    pub(crate) fn crowd(
        self: &Arc<Self>,
        participants: usize,
        victims: Range<usize>,
        act: impl Fn(usize, usize) + Send + Sync + 'static,
    ) {
        self.crowd_of(participants, victims, Arc::new(act));
    }

    fn draw(&self, from: Range<usize>) -> Vec<usize> {
        let mut left: Vec<usize> = from.collect();
        let number = left.len().min(3);
        let mut draw = || left.swap_remove(self.random(left.len() as u64) as usize);
        (0..number).map(|_| draw()).collect()
    }

    fn crowd_of(
        self: &Arc<Self>,
        participants: usize,
        victims: Range<usize>,
        act: Arc<dyn Fn(usize, usize) + Send + Sync>,
    ) {
        let rounds = self.rounds;
        let spawn = |who: usize| {
            let act = act.clone();
            self.spawn(who, move || (0..rounds).for_each(|round| act(who, round)))
        };
        let crowd: Vec<_> = (0..participants).map(spawn).collect();
        if self.has_victims() {
            let spawn = |who: usize| {
                let act = act.clone();
                child(move || (0..rounds).for_each(|round| act(who, round)))
            };
            let victims: Vec<_> = self.draw(victims).into_iter().map(spawn).collect();
            for victim in victims {
                (0..self.random(20)).for_each(|_| thread::yield_now());
                victim.thread().cancel();
                joined_or_cancelled(victim);
            }
        }
        crowd.into_iter().for_each(Participant::join);
    }

    /// A participant of some kind, which nobody cancels.
    pub(crate) fn spawn(&self, who: usize, body: impl FnOnce() + Send + 'static) -> Participant {
        self.start(who, Box::new(body))
    }

    fn start(&self, who: usize, body: Box<dyn FnOnce() + Send>) -> Participant {
        match who % 3 {
            0 if self.kind == Kind::Mixed => Participant::Kernel(std::thread::spawn(body)),
            1 if self.kind == Kind::Mixed => {
                Participant::User(Builder::new().spawn(body).expect("a thread"))
            }
            _ => Participant::User(start(body)),
        }
    }
}

impl Operation<'_> {
    /// It has got what it asked for.
    pub(crate) fn enter(&self) {
        self.stage.note(Event::Entered(self.number));
        self.stage.linger();
    }
}

/// A thread of the kind that its turn brings.
pub(crate) enum Participant {
    User(JoinHandle<()>),
    Kernel(std::thread::JoinHandle<()>),
}

impl Participant {
    pub(crate) fn join(self) {
        match self {
            Participant::User(thread) => thread.join(),
            Participant::Kernel(thread) => blocking(|| thread.join()),
        }
        .expect("no participant panics");
    }
}

/// Waits for a victim: it has ended its rounds or was cancelled, but has not panicked.
pub(crate) fn joined_or_cancelled(victim: JoinHandle<()>) {
    if let Err(payload) = victim.join() {
        let message = crate::support::message(&*payload).to_owned();
        assert!(
            payload.is::<cancel::Cancelled>(),
            "a victim panics: {message}"
        );
    }
}

/// Does something at the end of the scope, also of a cancelled one, and cannot be
/// cancelled in it.
pub(crate) fn finally<F: FnMut()>(f: F) -> Finally<F> {
    Finally(f)
}

pub(crate) struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        cancel::shield(&mut self.0);
    }
}

/// A thread that serves until its clients are gone.
pub(crate) fn serve(server: impl FnOnce() + Send + 'static) {
    drop(child(server));
}

/// Waits, under a seed, until nobody else can go on: then time jumps.
pub(crate) fn quiesce() {
    thread::sleep(std::time::Duration::from_millis(1));
}
