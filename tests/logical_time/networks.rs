//! The network: what its faults do, and that they repeat by seed.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use lisle::channel::RecvTimeoutError;
use lisle::clock::Process;
use lisle::delivery::{Causal, Faults, Inbox, Member, Network, Traffic};
use lisle::{seeded, thread, time};

use super::processes;
use super::support::child;

const MESSAGES: u32 = 500;

/// What of a link's messages arrives, in which order.
fn arrivals(faults: Faults) -> (Vec<u32>, Traffic) {
    // SAFETY: the closure touches no thread-local.
    unsafe {
        seeded::run(1, move || {
            let [a, b] = processes();
            let network = Network::with(faults);
            let (mut inbox, _sender) = (network.attach(b), network.attach(a));
            (0..MESSAGES).for_each(|n| network.send(a, b, n));
            let end = time::now() + Duration::from_secs(60);
            let all = std::iter::from_fn(|| inbox.recv_deadline(end).ok()).collect();
            (all, network.traffic())
        })
    }
}

fn all() -> Vec<u32> {
    (0..MESSAGES).collect()
}

const DELAYS: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(100);

#[test]
fn without_faults_everything_arrives_in_order() {
    assert_eq!(arrivals(Faults::new(3)).0, all());
}

#[test]
fn delays_alone_keep_a_links_order() {
    assert_eq!(arrivals(Faults::new(3).delay(DELAYS)).0, all());
}

#[test]
fn reordering_loses_nothing() {
    let (mut order, _) = arrivals(Faults::new(3).delay(DELAYS).reorder(0.3));
    assert!(!order.is_sorted());
    order.sort_unstable();
    assert_eq!(order, all());
}

#[test]
fn what_is_lost_or_doubled_is_counted() {
    let (order, traffic) = arrivals(Faults::new(3).delay(DELAYS).lose(0.2).duplicate(0.1));
    let distinct: BTreeSet<_> = order.iter().collect();
    assert_eq!(traffic.sent, u64::from(MESSAGES));
    assert_eq!(distinct.len() as u64, traffic.sent - traffic.lost);
    assert_eq!(
        order.len() as u64,
        distinct.len() as u64 + traffic.duplicated
    );
    // Chances are chances: of five hundred, a hundred and fifty, give or take a third.
    assert!((66..=133).contains(&traffic.lost), "{traffic:?}");
    assert!((25..=60).contains(&traffic.duplicated), "{traffic:?}");
    assert!(arrivals(Faults::new(3).lose(1.0)).0.is_empty());
    assert_eq!(
        arrivals(Faults::new(3).duplicate(1.0)).0.len(),
        2 * MESSAGES as usize
    );
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let faults = |seed| {
        Faults::new(seed)
            .delay(DELAYS)
            .reorder(0.3)
            .lose(0.1)
            .duplicate(0.1)
    };
    let seen: BTreeSet<_> = (0..5).map(|seed| arrivals(faults(seed)).0).collect();
    assert_eq!(seen.len(), 5);
    for seed in 0..5 {
        assert_eq!(arrivals(faults(seed)), arrivals(faults(seed)));
    }
}

/// A link's fate does not depend on what other links carry.
#[test]
fn links_are_independent() {
    let lost_of = |noise: u32| {
        let [a, b, c] = processes();
        let network = Network::with(Faults::new(9).lose(0.5));
        let (mut inbox, _c, _a) = (network.attach(b), network.attach(c), network.attach(a));
        let mut got = Vec::new();
        for n in 0..50 {
            (0..noise).for_each(|_| network.send(c, b, 1000));
            network.send(a, b, n);
            while let Ok(n) = inbox.recv_deadline(time::now()) {
                got.push(n);
            }
        }
        got.retain(|&n| n < 1000);
        got
    };
    assert_eq!(lost_of(0), lost_of(7));
}

/// Whole runs repeat: threads, faults, delivery, the clock.
#[test]
fn runs_repeat_by_their_seed() {
    fn run(seed: u64) -> Vec<(u32, Process, u64)> {
        let test = move || {
            let start = time::now();
            let faults = Faults::new(seed).delay(DELAYS).reorder(0.5).duplicate(0.1);
            let network = Network::with(faults);
            let members: Vec<_> = (0..4)
                .map(|n| Member::attach(&network, Causal::new(n)))
                .collect();
            let (log, logged) = lisle::channel::unbounded();
            let threads: Vec<_> = members
                .into_iter()
                .map(|mut member| {
                    let log = log.clone();
                    child(move || {
                        for n in 0..5 {
                            member.broadcast(n);
                            thread::yield_now();
                        }
                        for _ in 0..15 {
                            let delivery = member.recv().unwrap();
                            let at = (time::now() - start).as_nanos() as u64;
                            log.send((delivery.number as u32, delivery.from, at))
                                .unwrap();
                        }
                        member
                    })
                })
                .collect();
            threads
                .into_iter()
                .for_each(|thread| drop(thread.join().unwrap()));
            drop(log);
            logged.iter().collect()
        };
        // SAFETY: the closures touch no thread-local.
        unsafe { seeded::run(seed, test) }
    }
    let seen: BTreeSet<_> = (0..10).map(run).collect();
    assert_eq!(seen.len(), 10);
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn a_partition_separates_until_it_heals() {
    let [a, b, c] = processes();
    let network = Network::reliable();
    let [mut at_a, mut at_b, mut at_c] = [a, b, c].map(|p| network.attach(p));
    network.partition(&[&[a, b]]);
    network.broadcast(a, &"to b only");
    network.send(c, b, "lost");
    network.heal();
    network.broadcast(c, &"to both");
    assert_eq!(at_b.recv(), Ok("to b only"));
    assert_eq!(at_b.recv(), Ok("to both"));
    assert_eq!(at_a.recv(), Ok("to both"));
    assert!(at_c.recv_deadline(time::now()).is_err());
    assert_eq!(network.traffic().lost, 2);
    assert_eq!(network.traffic().sent, 5);
}

/// Both sides of a partition go on, and agree after what they missed is sent again.
#[test]
fn after_a_partition_what_is_missing_can_be_sent_again() {
    let [a, b] = processes();
    let network = Network::reliable();
    let [mut alice, mut bob] = [a, b].map(|p| Member::attach(&network, Causal::new(p)));
    network.partition(&[&[a], &[b]]);
    let kept: Vec<_> = (1..=3).map(|n| alice.broadcast(n)).collect();
    network.heal();
    alice.broadcast(4);
    assert!(bob.try_recv().is_err());
    for missing in bob.missing() {
        for number in missing.first..=missing.last {
            network.send(missing.from, b, kept[number as usize - 1].clone());
        }
    }
    let got = [(); 4].map(|()| bob.recv().unwrap().message);
    assert_eq!(got, [1, 2, 3, 4]);
}

#[test]
#[should_panic(expected = "attached already")]
fn a_name_is_taken_once() {
    let network = Network::<()>::reliable();
    let _first = network.attach(Process::new(1));
    network.attach(Process::new(1));
}

#[test]
fn a_name_that_is_refused_harms_nobody() {
    let [a, b] = processes();
    let network = Network::reliable();
    let mut first = network.attach(b);
    let second = AssertUnwindSafe(|| network.attach(b));
    assert!(catch_unwind(second).is_err());
    network.send(a, b, "to the first");
    assert_eq!(first.recv(), Ok("to the first"));
}

#[test]
fn who_was_left_alone_waits_for_who_comes() {
    let [a, b, c] = processes();
    let network = Network::reliable();
    let mut at_a = network.attach(a);
    drop(network.attach(b));
    let receive = |inbox: &mut Inbox<_>| inbox.recv_deadline(time::now());
    assert_eq!(receive(&mut at_a), Err(RecvTimeoutError::Disconnected));
    let at_c = network.attach(c);
    assert_eq!(receive(&mut at_a), Err(RecvTimeoutError::Timeout));
    network.send(c, a, "hello");
    assert_eq!(receive(&mut at_a), Ok("hello"));
    drop(at_c);
    assert_eq!(receive(&mut at_a), Err(RecvTimeoutError::Disconnected));
}
