//! A hundred processes, ten thousand broadcasts if optimised, under loss, duplication, reordering and
//! churn: what is delivered, against ground truth that no clock had a part in.
//!
//! The ground truth is one log of what was broadcast and delivered where, in the order of
//! a seeded runtime's one LWP. From it follows, by unions of sets, the causal past of every
//! message; no vector is looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lisle::clock::{Process, VectorTime};
use lisle::delivery::{
    Causal, CausalHeader, Delivery, Envelope, Faults, Member, MessageId, Network, RecvError,
};
use lisle::{seeded, thread, time};

use super::support::{child, emulated, watchdog};

const PROCESSES: u32 = 100;
/// One in so many leaves again and again, and comes back reborn.
const CHURNING: u32 = 5;
const LIVES: u64 = 4;

type Letter = Envelope<CausalHeader, ()>;

#[derive(Debug, Clone, Copy)]
enum Entry {
    Joined(Process),
    Broadcast(MessageId),
    Delivered(Process, MessageId),
    /// It has caught up with all that was broadcast.
    Complete(Process),
    Left(Process),
}

/// What everybody writes to, and copies of what was broadcast.
#[derive(Default)]
struct World {
    log: Mutex<Vec<Entry>>,
    archive: Mutex<Archive>,
}

#[derive(Default)]
struct Archive {
    letters: BTreeMap<MessageId, Letter>,
    last: VectorTime,
    /// Processes that have said all they had to say.
    done: u32,
}

impl World {
    #[inline(never)]
    fn note(&self, entry: Entry) {
        self.log.lock().unwrap().push(entry);
    }

    #[inline(never)]
    fn keep(&self, letter: Letter) {
        let (from, number) = (
            letter.header.from,
            letter.header.seen.get(letter.header.from),
        );
        let mut archive = self.archive.lock().unwrap();
        archive.last.set(from, number);
        archive.letters.insert(MessageId { from, number }, letter);
    }

    /// Some letters that this process has not delivered, and whether all have been
    /// broadcast.
    #[inline(never)]
    fn undelivered(&self, delivered: &VectorTime) -> (Vec<Letter>, bool) {
        let archive = self.archive.lock().unwrap();
        let of = |(from, last): (Process, u64)| {
            let first = delivered.get(from) + 1;
            (first..=last.min(first + 3)).map(move |number| MessageId { from, number })
        };
        let ids = archive.last.exceeding(delivered).flat_map(of);
        let letters = ids.map(|id| archive.letters[&id].clone()).collect();
        (letters, archive.done == PROCESSES)
    }

    #[inline(never)]
    fn done(&self) {
        self.archive.lock().unwrap().done += 1;
    }
}

struct Actor {
    member: Member<Causal<()>>,
    world: Arc<World>,
    network: Network<Letter>,
}

impl Actor {
    fn join(process: Process, world: &Arc<World>, network: &Network<Letter>) -> Actor {
        let member = Member::<Causal<()>>::join(network, process);
        world.note(Entry::Joined(process));
        Actor {
            member,
            world: world.clone(),
            network: network.clone(),
        }
    }

    fn me(&self) -> Process {
        self.member.process()
    }

    fn broadcast(&mut self) {
        let number = self.member.protocol().delivered().get(self.me()) + 1;
        // Noted first: from then on somebody may deliver it.
        self.world.note(Entry::Broadcast(MessageId {
            from: self.me(),
            number,
        }));
        let letter = self.member.broadcast(());
        self.world.keep(letter);
    }

    /// Receives for so long.
    fn receive(&mut self, for_so_long: Duration) {
        let until = time::now() + for_so_long;
        loop {
            match self.member.recv_deadline(until) {
                Ok(Delivery { from, number, .. }) => {
                    let entry = Entry::Delivered(self.me(), MessageId { from, number });
                    self.world.note(entry);
                }
                // It will be sent again.
                Err(RecvError::Full(_)) => {}
                Err(_) => return,
            }
        }
    }

    /// Has what it misses sent again, which may be lost again, until there is nothing
    /// more to come.
    fn catch_up(&mut self) {
        loop {
            self.receive(Duration::from_millis(200));
            let (letters, all_said) = self.world.undelivered(self.member.protocol().delivered());
            if letters.is_empty() && all_said {
                assert!(self.member.held().is_empty());
                self.world.note(Entry::Complete(self.me()));
                return;
            }
            for letter in letters {
                self.network.send(letter.header.from, self.me(), letter);
            }
        }
    }
}

fn act(process: Process, each: u64, world: &Arc<World>, network: &Network<Letter>) {
    let lives = if process.number() % CHURNING == 0 {
        LIVES
    } else {
        1
    };
    let mut process = process;
    for life in 0..lives {
        let mut actor = Actor::join(process, world, network);
        for n in 0..each / lives {
            actor.broadcast();
            let pause = (u64::from(process.number()) * 7 + n * 13) % 20;
            actor.receive(Duration::from_millis(pause));
        }
        if life + 1 == lives {
            world.done();
            actor.catch_up();
        } else {
            world.note(Entry::Left(process));
            drop(actor);
            process = process.reborn();
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A set of messages.
type Set = Vec<u64>;

fn insert(set: &mut Set, at: usize) -> bool {
    let (word, bit) = (&mut set[at / 64], 1 << (at % 64));
    let new = *word & bit == 0;
    *word |= bit;
    new
}

fn unite(set: &mut Set, other: &Set) {
    set.iter_mut()
        .zip(other)
        .for_each(|(word, &more)| *word |= more);
}

/// What a process knows: what it delivered, broadcast, or came too late for; and what
/// may have caused what it says.
struct Knowledge {
    seen: Set,
    past: Set,
}

/// Goes through the log; returns how many messages were delivered.
fn check(log: &[Entry], messages: usize) -> usize {
    let words = messages.div_ceil(64);
    let mut index = BTreeMap::new();
    let mut pasts: Vec<Set> = Vec::new();
    let mut knowledge: BTreeMap<Process, Knowledge> = BTreeMap::new();
    let (mut delivered, mut complete) = (0, 0);
    let mut everything: Set = vec![0; words];
    for &entry in log {
        match entry {
            Entry::Joined(process) => {
                let (seen, past) = (everything.clone(), vec![0; words]);
                let before = knowledge.insert(process, Knowledge { seen, past });
                assert!(before.is_none(), "an incarnation is new");
            }
            Entry::Broadcast(id) => {
                let at = pasts.len();
                assert!(index.insert(id, at).is_none());
                let Knowledge { seen, past } = knowledge.get_mut(&id.from).unwrap();
                pasts.push(past.clone());
                insert(past, at);
                insert(seen, at);
                insert(&mut everything, at);
            }
            Entry::Delivered(process, id) => {
                let at = index[&id];
                let Knowledge { seen, past } = knowledge.get_mut(&process).unwrap();
                let covered = pasts[at]
                    .iter()
                    .zip(&*seen)
                    .all(|(&cause, &seen)| cause & !seen == 0);
                assert!(
                    covered,
                    "{id} came to {process} before what may have caused it"
                );
                assert!(insert(seen, at), "{id} came to {process} twice or too late");
                unite(past, &pasts[at]);
                insert(past, at);
                delivered += 1;
            }
            Entry::Complete(process) => {
                assert_eq!(
                    knowledge[&process].seen, everything,
                    "{process} misses something"
                );
                complete += 1;
            }
            Entry::Left(process) => _ = knowledge.remove(&process).unwrap(),
        }
    }
    assert_eq!(pasts.len(), messages);
    assert_eq!(complete, PROCESSES);
    delivered
}

#[test]
fn a_hundred_processes_under_all_faults() {
    let _watchdog = watchdog();
    // Each of which ninety-nine others deliver: too much for a build that is not optimised.
    let each: u64 = match (emulated(), cfg!(debug_assertions)) {
        (true, _) => 4,
        (false, true) => 12,
        (false, false) => 100,
    };
    let run = move || {
        let faults = Faults::new(2026)
            .delay(Duration::from_millis(1)..Duration::from_millis(60))
            .reorder(0.3)
            .duplicate(0.05)
            .lose(0.02);
        let (world, network) = (Arc::new(World::default()), Network::with(faults));
        let threads: Vec<_> = (0..PROCESSES)
            .map(|n| {
                let (world, network) = (world.clone(), network.clone());
                child(move || act(Process::new(n), each, &world, &network))
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let log = std::mem::take(&mut *world.log.lock().unwrap());
        (log, network.traffic())
    };
    // SAFETY: the closures touch thread-locals only in leaves that do not wait and are
    // not inlined.
    let (log, traffic) = unsafe { seeded::run(1, run) };
    let messages = u64::from(PROCESSES) * each;
    let delivered = check(&log, messages as usize);
    println!("{messages} broadcasts, {delivered} deliveries, {traffic:?}");
    assert!(traffic.lost > 0 && traffic.duplicated > 0);
}
