//! A network between the threads of a program: reliable, or with faults.
//!
//! *Reproducible*. What happens to a message depends on the seed, its link (from whom, to
//! whom) and how many messages the link carried before it, and on nothing else: not on
//! what other links carry. Delays are by [`lisle_runtime::time`]; so on a seeded runtime
//! ([`lisle_runtime::seeded`]), where scheduling and time follow the seed, too, whole runs
//! repeat.
//!
//! *No thread of its own*. A message is sent with the time of its arrival, into an
//! unbounded channel; its receiver's [`Inbox`] keeps it until then. So a network without
//! faults is nothing but channels.
//!
//! *Order*. A link keeps its messages in order, unless a fault says otherwise. A reliable
//! network is even more orderly than that, because a broadcast reaches all inboxes in one
//! step; a program that is to be right on others as well should be tested with delays.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lisle_clock::{Process, VectorTime};
use lisle_runtime::time;

use crate::channel::{self, Receiver, RecvTimeoutError, Sender};
use crate::{Mutex, MutexGuard};

/// What a network does to messages. Chances are from 0 to 1.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use std::time::Duration;
/// use lisle::delivery::{Faults, Network};
///
/// let faults = Faults::new(7)
///     .delay(Duration::from_millis(1)..Duration::from_millis(20))
///     .reorder(0.2)
///     .lose(0.1)
///     .duplicate(0.1);
/// let network = Network::<String>::with(faults);
/// # assert_eq!(network.traffic().sent, 0);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    seed: u64,
    delay: Range<Duration>,
    reorder: f64,
    lose: f64,
    duplicate: f64,
}

impl Faults {
    /// None yet, by this seed.
    pub fn new(seed: u64) -> Faults {
        Faults {
            seed,
            delay: Duration::ZERO..Duration::ZERO,
            reorder: 0.0,
            lose: 0.0,
            duplicate: 0.0,
        }
    }

    /// Each message takes a time within this range. By itself, that does not reorder a
    /// link's messages: a later one waits for those before it.
    ///
    /// # Panics
    /// If the range ends before it begins.
    #[must_use]
    pub fn delay(mut self, range: Range<Duration>) -> Faults {
        assert!(range.start <= range.end, "a range ends after it begins");
        self.delay = range;
        self
    }

    /// So many messages may overtake, and be overtaken by, others of their link, if
    /// their delays have it so.
    ///
    /// # Panics
    /// If it is no chance.
    #[must_use]
    pub fn reorder(mut self, chance: f64) -> Faults {
        self.reorder = checked(chance);
        self
    }

    /// So many messages are lost.
    ///
    /// # Panics
    /// If it is no chance.
    #[must_use]
    pub fn lose(mut self, chance: f64) -> Faults {
        self.lose = checked(chance);
        self
    }

    /// So many messages arrive twice, the copy with a delay of its own.
    ///
    /// # Panics
    /// If it is no chance.
    #[must_use]
    pub fn duplicate(mut self, chance: f64) -> Faults {
        self.duplicate = checked(chance);
        self
    }

    /// The copies of a link's message that will arrive.
    fn copies(&self, from: Process, to: Process, number: u64) -> impl Iterator<Item = Fate> {
        let mut dice = Dice::of([self.seed, packed(from), packed(to), number]);
        let copies = match (dice.chance(self.lose), dice.chance(self.duplicate)) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        let (delay, reorder) = (self.delay.clone(), self.reorder);
        (0..copies).map(move |copy| Fate {
            delay: dice.duration(&delay),
            in_order: copy == 0 && !dice.chance(reorder),
        })
    }
}

fn checked(chance: f64) -> f64 {
    assert!((0.0..=1.0).contains(&chance), "a chance is from 0 to 1");
    chance
}

fn packed(process: Process) -> u64 {
    (u64::from(process.number()) << 32) | u64::from(process.incarnation())
}

/// What happens to one copy of a message.
struct Fate {
    delay: Duration,
    in_order: bool,
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014).
struct Dice(u64);

impl Dice {
    fn of(seeds: [u64; 4]) -> Dice {
        let mut dice = Dice(0);
        for seed in seeds {
            dice.0 ^= seed;
            dice.0 = dice.roll();
        }
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fraction(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, chance: f64) -> bool {
        self.fraction() < chance
    }

    fn duration(&mut self, range: &Range<Duration>) -> Duration {
        range.start + (range.end - range.start).mul_f64(self.fraction())
    }
}

/// What a network has carried. A broadcast counts once for each receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages that were to be carried.
    pub sent: u64,
    /// Messages that were lost: by a fault, a partition, or because their receiver is
    /// not there.
    pub lost: u64,
    /// Copies that were made.
    pub duplicated: u64,
}

/// Connects processes, which are threads: see [`Faults`], [`Member`](super::Member).
/// Clones are the same network.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::clock::Process;
/// use lisle::delivery::Network;
///
/// let [a, b] = [0, 1].map(Process::new);
/// let network = Network::reliable();
/// let mut inbox = network.attach(b);
/// network.send(a, b, "hello");
/// assert_eq!(inbox.recv(), Ok("hello"));
/// ```
pub struct Network<E> {
    state: Arc<Mutex<State<E>>>,
}

struct State<E> {
    faults: Option<Faults>,
    inboxes: BTreeMap<Process, Sender<Parcel<E>>>,
    /// Which part of a partition a process is in, if there is one.
    parts: Option<BTreeMap<Process, usize>>,
    links: BTreeMap<(Process, Process), Link>,
    broadcasts: VectorTime,
    traffic: Traffic,
}

#[derive(Default)]
struct Link {
    carried: u64,
    last_due: Option<Instant>,
}

enum Parcel<E> {
    Mail {
        due: Option<Instant>,
        envelope: E,
    },
    /// Somebody has left.
    Left,
}

impl<E: Clone> Network<E> {
    /// A network that loses and delays nothing.
    pub fn reliable() -> Network<E> {
        Network::of(None)
    }

    /// A network with these faults.
    pub fn with(faults: Faults) -> Network<E> {
        Network::of(Some(faults))
    }

    fn of(faults: Option<Faults>) -> Network<E> {
        Network {
            state: Arc::new(Mutex::new(State {
                faults,
                inboxes: BTreeMap::new(),
                parts: None,
                links: BTreeMap::new(),
                broadcasts: VectorTime::new(),
                traffic: Traffic::default(),
            })),
        }
    }

    /// Sends to one process. Never waits.
    pub fn send(&self, from: Process, to: Process, envelope: E) {
        self.lock().send(from, to, envelope);
    }

    /// Sends to every other process that is attached at this moment. Never waits.
    pub fn broadcast(&self, from: Process, envelope: &E) {
        let mut state = self.lock();
        let number = state.broadcasts.get(from) + 1;
        state.broadcasts.set(from, number);
        let others: Vec<_> = state
            .inboxes
            .keys()
            .copied()
            .filter(|&to| to != from)
            .collect();
        for to in others {
            state.send(from, to, envelope.clone());
        }
    }
}

impl<E> Network<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        // What a panicking clone of a message leaves behind is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches a process. It is detached when its inbox is dropped.
    ///
    /// # Panics
    /// If it is attached.
    pub fn attach(&self, process: Process) -> Inbox<E> {
        self.attach_late(process).0
    }

    /// Attaches a process; returns, too, how many broadcasts of each process it came
    /// too late for. Those are closed under causality, for what a broadcast depends on
    /// was broadcast before it.
    ///
    /// # Panics
    /// If it is attached.
    pub fn attach_late(&self, process: Process) -> (Inbox<E>, VectorTime) {
        let (sender, receiver) = channel::unbounded();
        let mut state = self.lock();
        let past = state.broadcasts.clone();
        let is_attached = state.inboxes.contains_key(&process);
        assert!(!is_attached, "process {process} is attached already");
        state.inboxes.insert(process, sender);
        let inbox = Inbox {
            process,
            network: self.clone(),
            receiver,
            later: BTreeMap::new(),
            arrived: 0,
            deserted: false,
        };
        (inbox, past)
    }

    /// The processes that are attached.
    pub fn processes(&self) -> Vec<Process> {
        self.lock().inboxes.keys().copied().collect()
    }

    /// Cuts the network into parts. From now on what is sent from one to another is
    /// lost; what is on its way arrives. Processes that are not named are one more part.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::clock::Process;
    /// use lisle::delivery::Network;
    ///
    /// let [a, b] = [0, 1].map(Process::new);
    /// let network = Network::reliable();
    /// let mut inbox = network.attach(b);
    /// network.partition(&[&[a], &[b]]);
    /// network.send(a, b, 1);
    /// network.heal();
    /// network.send(a, b, 2);
    /// assert_eq!(inbox.recv(), Ok(2));
    /// ```
    pub fn partition(&self, parts: &[&[Process]]) {
        let parts = parts.iter().enumerate();
        let part = |(at, part): (usize, &&[Process])| {
            let part = part.to_vec();
            part.into_iter().map(move |process| (process, at))
        };
        self.lock().parts = Some(parts.flat_map(part).collect());
    }

    /// Ends the partition.
    pub fn heal(&self) {
        self.lock().parts = None;
    }

    /// What has been carried so far.
    pub fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    fn detach(&self, process: Process) {
        let mut state = self.lock();
        let sender = state.inboxes.remove(&process);
        for inbox in state.inboxes.values() {
            // It has not been dropped, or it would have been detached.
            _ = inbox.send(Parcel::Left);
        }
        drop(state);
        drop(sender);
    }

    fn has_others(&self, than: Process) -> bool {
        self.lock().inboxes.keys().any(|&process| process != than)
    }
}

impl<E: Clone> State<E> {
    fn send(&mut self, from: Process, to: Process, envelope: E) {
        self.traffic.sent += 1;
        let apart = |parts: &BTreeMap<_, _>| parts.get(&from) != parts.get(&to);
        let Some(inbox) = self.inboxes.get(&to) else {
            self.traffic.lost += 1;
            return;
        };
        if self.parts.as_ref().is_some_and(apart) {
            self.traffic.lost += 1;
            return;
        }
        let Some(faults) = &self.faults else {
            _ = inbox.send(Parcel::Mail {
                due: None,
                envelope,
            });
            return;
        };
        let link = self.links.entry((from, to)).or_default();
        let fates: Vec<_> = faults.copies(from, to, link.carried).collect();
        link.carried += 1;
        self.traffic.lost += u64::from(fates.is_empty());
        self.traffic.duplicated += (fates.len() as u64).saturating_sub(1);
        for fate in fates {
            let due = link.due(&fate);
            _ = inbox.send(Parcel::Mail {
                due: Some(due),
                envelope: envelope.clone(),
            });
        }
    }
}

impl Link {
    fn due(&mut self, fate: &Fate) -> Instant {
        let due = time::now() + fate.delay;
        if !fate.in_order {
            return due;
        }
        let due = self.last_due.map_or(due, |last| last.max(due));
        self.last_due = Some(due);
        due
    }
}

/// Where a process's messages arrive. See [`Network::attach`].
pub struct Inbox<E> {
    process: Process,
    network: Network<E>,
    receiver: Receiver<Parcel<E>>,
    /// What is on its way, by its arrival and the order in which it was sent.
    later: BTreeMap<(Instant, u64), E>,
    arrived: u64,
    /// Nobody else is there, and there had been.
    deserted: bool,
}

impl<E> Inbox<E> {
    /// Whose it is.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Receives the next message, waiting for it. A cancellation point.
    ///
    /// # Errors
    /// If all others have left, and nothing of theirs is on its way.
    pub fn recv(&mut self) -> Result<E, channel::RecvError> {
        self.recv_until(None).map_err(|_| channel::RecvError)
    }

    /// As [`Inbox::recv`], waiting at most until the deadline; with one that is past, not
    /// at all.
    ///
    /// # Errors
    /// If the time is up, or as [`Inbox::recv`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<E, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    pub(super) fn recv_until(&mut self, deadline: Option<Instant>) -> Result<E, RecvTimeoutError> {
        loop {
            if let Some(envelope) = self.sort() {
                return Ok(envelope);
            }
            let next = self.later.first_key_value().map(|(&(due, _), _)| due);
            if self.deserted && next.is_none() {
                // Somebody may have come since.
                self.deserted = !self.network.has_others(self.process);
                if self.deserted {
                    return Err(RecvTimeoutError::Disconnected);
                }
            }
            let until = next.into_iter().chain(deadline).min();
            let parcel = match until {
                None => self
                    .receiver
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => self.receiver.recv_deadline(until),
            };
            match parcel {
                Ok(parcel) => {
                    if let Some(envelope) = self.take_in(parcel) {
                        return Ok(envelope);
                    }
                }
                // Something has arrived, unless that was the caller's deadline.
                Err(RecvTimeoutError::Timeout) if until == next => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes in what was sent; returns what has arrived, the earliest first.
    fn sort(&mut self) -> Option<E> {
        while let Ok(parcel) = self.receiver.try_recv() {
            if let Some(envelope) = self.take_in(parcel) {
                return Some(envelope);
            }
        }
        let first = self.later.first_entry()?;
        (first.key().0 <= time::now()).then(|| first.remove())
    }

    fn take_in(&mut self, parcel: Parcel<E>) -> Option<E> {
        let Parcel::Mail { due, envelope } = parcel else {
            self.deserted = !self.network.has_others(self.process);
            return None;
        };
        self.deserted = false;
        let Some(due) = due else {
            return Some(envelope);
        };
        self.arrived += 1;
        self.later.insert((due, self.arrived), envelope);
        None
    }
}

impl<E> Drop for Inbox<E> {
    fn drop(&mut self) {
        self.network.detach(self.process);
    }
}

impl<E> Clone for Network<E> {
    fn clone(&self) -> Self {
        Network {
            state: self.state.clone(),
        }
    }
}

impl<E> fmt::Debug for Network<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("processes", &self.processes())
            .field("traffic", &self.traffic())
            .finish()
    }
}

impl<E> fmt::Debug for Inbox<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("process", &self.process)
            .field("on_their_way", &self.later.len())
            .finish_non_exhaustive()
    }
}
