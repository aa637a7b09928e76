//! Randomised linearizability: histories of small crowds, recorded, against a
//! sequential queue.
//!
//! Each operation notes a global clock before and after. A history is accepted if
//! its operations can be put in an order that respects those intervals and that a
//! queue of this capacity could have followed. (J. Wing and C. Gong, "Testing and
//! verifying concurrent objects", 1993; their search, with memory.)
//!
//! A send that a select has chosen is two operations: it reserves room, so that
//! others may find the queue full, and then fills it. Until then it is in nobody's way who
//! waits to receive: a message may pass it, straight from its sender to its receiver, be its sender
//! chosen by a select, too. One
//! that gave up when its time was over found the queue full at some moment, as a receive
//! found it empty.
//!
//! A rendezvous is no queue: its history is accepted if each message was sent once and
//! received once, by two operations that overlap in time, and by none that gave up.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lisle::channel::{Receiver, Sender, select};

use super::support::{Log, child, emulated, end, on, runtime, schedules, watchdog};
use super::{channel, seeds};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Sent(u32),
    Reserved(u32),
    Filled(u32),
    Full,
    Received(u32),
    Empty,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    from: u64,
    to: u64,
    deed: Deed,
}

const THREADS: u32 = 3;
const STEPS: u32 = 5;
/// Shorter than some waits and longer than others.
const A_WHILE: Duration = Duration::from_micros(100);

/// A small generator of choices (Steele, Lea and Flood's SplitMix64).
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// One thread's part: random operations that never wait for ever.
fn act(
    seed: u64,
    thread: u32,
    clock: &AtomicU64,
    (sender, receiver): &(Sender<u32>, Receiver<u32>),
    log: &Log<Event>,
) {
    let mut choices = Choices(seed ^ u64::from(thread) << 32);
    for step in 0..STEPS {
        let message = thread * STEPS + step;
        let from = clock.fetch_add(1, Ordering::SeqCst);
        let sent = |ok| if ok { Deed::Sent(message) } else { Deed::Full };
        let received = |got: Option<u32>| got.map_or(Deed::Empty, Deed::Received);
        let deed = match choices.below(6) {
            0 => sent(sender.try_send(message).is_ok()),
            1 => received(receiver.try_recv().ok()),
            2 => select! {
                send(sender, message) -> ok => {
                    ok.unwrap();
                    Deed::Filled(message)
                }
                default => Deed::Full,
            },
            3 => select! {
                recv(receiver) -> got => received(got.ok()),
                default => Deed::Empty,
            },
            4 => sent(sender.send_timeout(message, A_WHILE).is_ok()),
            _ => received(receiver.recv_timeout(A_WHILE).ok()),
        };
        let to = clock.fetch_add(1, Ordering::SeqCst);
        if let Deed::Filled(message) = deed {
            let deed = Deed::Reserved(message);
            log.note(Event { from, to, deed });
        }
        log.note(Event { from, to, deed });
    }
}

/// A queue, and what has room in it but is not there yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Queue {
    messages: VecDeque<u32>,
    reserved: BTreeSet<u32>,
    /// Those of a select that need no room, because their receivers wait.
    aside: BTreeSet<u32>,
    /// A message that passes what is reserved, because its receiver waits: it is received next, by one
    /// who began before this time, at which the send ended.
    passing: Option<(u32, u64)>,
}

impl Queue {
    /// Whether a queue of this capacity could do this now; does it.
    fn follows(&mut self, capacity: Option<usize>, event: Event) -> bool {
        let Event { from, to, deed } = event;
        let len = self.messages.len() + self.reserved.len();
        let full = capacity.is_some_and(|capacity| len >= capacity);
        if let Some((message, end)) = self.passing.take() {
            let received = matches!(deed, Deed::Received(received) if received == message);
            return received && from < end;
        }
        match deed {
            Deed::Sent(message) if full && self.messages.is_empty() => {
                self.passing = Some((message, to));
                true
            }
            Deed::Reserved(message) if full && self.messages.is_empty() => {
                self.aside.insert(message)
            }
            Deed::Sent(_) | Deed::Reserved(_) if full => false,
            Deed::Sent(message) => {
                self.messages.push_back(message);
                true
            }
            Deed::Reserved(message) => self.reserved.insert(message),
            Deed::Filled(message) if self.aside.remove(&message) => {
                self.passing = Some((message, to));
                self.messages.is_empty()
            }
            Deed::Filled(message) => {
                self.messages.push_back(message);
                self.reserved.remove(&message)
            }
            Deed::Full => full,
            Deed::Received(message) => self.messages.pop_front() == Some(message),
            Deed::Empty => self.messages.is_empty(),
        }
    }
}

/// Searches for an order. `done` is a set of events, as bits.
fn is_linearizable(
    events: &[Event],
    capacity: Option<usize>,
    done: u64,
    queue: &Queue,
    tried: &mut HashSet<(u64, Queue)>,
) -> bool {
    if done.count_ones() as usize == events.len() {
        return queue.passing.is_none();
    }
    if !tried.insert((done, queue.clone())) {
        return false;
    }
    let pending = |at: &usize| done & 1 << at == 0;
    // Only what began before everything pending had ended can come next.
    let first_end = (0..events.len())
        .filter(pending)
        .map(|at| events[at].to)
        .min();
    (0..events.len()).filter(pending).any(|at| {
        let mut queue = queue.clone();
        Some(events[at].from) < first_end
            && queue.follows(capacity, events[at])
            && is_linearizable(events, capacity, done | 1 << at, &queue, tried)
    })
}

/// Whether all messages that were sent were received, each at a meeting.
fn are_meetings(events: &[Event]) -> bool {
    let (mut sends, mut receipts) = (BTreeMap::new(), BTreeMap::new());
    for event in events {
        let again = match event.deed {
            Deed::Sent(message) | Deed::Filled(message) => sends.insert(message, event),
            Deed::Received(message) => receipts.insert(message, event),
            Deed::Reserved(_) | Deed::Full | Deed::Empty => None,
        };
        if again.is_some() {
            return false;
        }
    }
    let overlap = |(a, b): (&&Event, &&Event)| a.from < b.to && b.from < a.to;
    sends.keys().eq(receipts.keys()) && sends.values().zip(receipts.values()).all(overlap)
}

/// Returns how many messages were received.
fn check(events: &[Event], capacity: Option<usize>) -> usize {
    let is_receipt = |event: &&Event| matches!(event.deed, Deed::Received(_));
    let received = events.iter().filter(is_receipt).count();
    if capacity == Some(0) {
        assert!(are_meetings(events), "no meetings: {events:#?}");
        return received;
    }
    let found = is_linearizable(events, capacity, 0, &Queue::default(), &mut HashSet::new());
    assert!(
        found,
        "no queue of capacity {capacity:?} did this: {events:#?}"
    );
    received
}

const KINDS: [Option<usize>; 4] = [None, Some(1), Some(2), Some(0)];

#[test]
fn histories_under_seeds_are_linearizable() {
    let _dog = watchdog();
    for capacity in KINDS {
        let mut received = 0;
        for seed in 0..5 * seeds() {
            let crowd = move || {
                let ends = channel(capacity);
                let (clock, log) = (Arc::new(AtomicU64::new(0)), Log::new());
                let threads: Vec<_> = (0..THREADS)
                    .map(|thread| {
                        let (clock, ends, log) = (clock.clone(), ends.clone(), log.clone());
                        child(move || act(seed, thread, &clock, &ends, &log))
                    })
                    .collect();
                threads
                    .into_iter()
                    .for_each(|thread| thread.join().unwrap());
                log.take()
            };
            // SAFETY: as in `support::under_seeds`.
            received += check(&unsafe { schedules(seed).run(seed, crowd) }, capacity);
        }
        assert_ne!(received, 0, "{capacity:?}");
    }
}

#[test]
fn histories_of_a_mixed_crowd_are_linearizable() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = if emulated() { 20 } else { 500 };
    for capacity in KINDS {
        let mut received = 0;
        for seed in 0..rounds {
            let ends = channel(capacity);
            let (clock, log) = (Arc::new(AtomicU64::new(0)), Log::new());
            let part = |thread| {
                let (clock, ends, log) = (clock.clone(), ends.clone(), log.clone());
                move || act(seed, thread, &clock, &ends, &log)
            };
            let light = [on(&rt, part(0)), on(&rt, part(1))];
            let kernel = std::thread::spawn(part(2));
            light.into_iter().for_each(|thread| thread.join().unwrap());
            kernel.join().unwrap();
            received += check(&log.take(), capacity);
        }
        assert_ne!(received, 0, "{capacity:?}");
    }
    end(rt);
}

#[test]
fn the_checker_refuses_what_no_queue_does() {
    let event = |from, to, deed| Event { from, to, deed };
    let refused = |events: &[Event], capacity| {
        !is_linearizable(events, capacity, 0, &Queue::default(), &mut HashSet::new())
    };
    let (a, b) = (event(0, 1, Deed::Sent(1)), event(2, 3, Deed::Sent(2)));
    assert!(
        refused(&[a, b, event(4, 5, Deed::Received(2))], None),
        "out of order"
    );
    assert!(refused(&[a, b], Some(1)), "one too many");
    assert!(refused(&[a, event(2, 3, Deed::Empty)], None), "lost");
    let twice = event(4, 5, Deed::Received(1));
    assert!(
        refused(&[a, twice, event(6, 7, Deed::Received(1))], None),
        "twice"
    );
    assert!(!refused(
        &[event(0, 5, Deed::Sent(1)), event(2, 3, Deed::Empty)],
        None
    ));
    // The first is about to be sent all the time.
    let passed_by = |receipt: Event| {
        let first = [Deed::Reserved(1), Deed::Filled(1)].map(|deed| event(0, 19, deed));
        let second = [Deed::Reserved(2), Deed::Filled(2)].map(|deed| event(5, 6, deed));
        let full = [event(1, 2, Deed::Full), event(15, 16, Deed::Full)];
        [&first[..], &second, &full, &[receipt]].concat()
    };
    let waiting = event(3, 8, Deed::Received(2));
    assert!(!refused(&passed_by(waiting), Some(1)), "its receiver waits");
    let late = event(7, 8, Deed::Received(2));
    assert!(refused(&passed_by(late), Some(1)), "nobody waits");
    let met = event(1, 4, Deed::Received(1));
    assert!(are_meetings(&[event(0, 2, Deed::Sent(1)), met]));
    assert!(!are_meetings(&[a, twice]), "one after the other");
    assert!(!are_meetings(&[event(0, 2, Deed::Full), met]), "not sent");
    assert!(!are_meetings(&[a]), "not received");
    assert!(
        !are_meetings(&[event(0, 2, Deed::Sent(1)), met, met]),
        "twice"
    );
}
