//! Members: protocols at a network, with calls that wait, in threads.

use std::collections::BTreeSet;
use std::time::Duration;

use lisle::clock::Process;
use lisle::delivery::{
    self, Causal, Faults, Fifo, Member, Network, PointToPoint, RecvError, Total,
};
use lisle::thread;

use super::processes;
use super::support::{child, on, runtime, schedules, seeds, until_waiting, watchdog};

fn under_seeds(test: impl Fn(u64) + Send + Sync + Clone + 'static) {
    for seed in 0..seeds(50) {
        let test = test.clone();
        // SAFETY: the tests' closures touch no thread-local but in leaves that do not wait.
        unsafe { schedules(seed).run(seed, move || test(seed)) }
    }
}

fn faults(seed: u64) -> Faults {
    Faults::new(seed)
        .delay(Duration::ZERO..Duration::from_millis(10))
        .reorder(0.5)
        .duplicate(0.2)
}

#[test]
fn three_lines_are_enough() {
    let [mut alice, mut bob] = delivery::causal();
    alice.broadcast("hello");
    assert_eq!(bob.recv().unwrap().message, "hello");

    drop(alice);
    assert_eq!(bob.recv(), Err(RecvError::Disconnected));
    assert_eq!(bob.try_recv(), Err(RecvError::Disconnected));
}

#[test]
fn what_was_sent_is_received_after_its_sender_left() {
    let network =
        Network::with(Faults::new(1).delay(Duration::from_millis(1)..Duration::from_millis(2)));
    let [mut alice, mut bob] = [0, 1].map(|n| Member::attach(&network, Fifo::new(n)));
    (1..=3).for_each(|n| _ = alice.broadcast(n));
    drop(alice);
    let all: Vec<_> = std::iter::from_fn(|| bob.recv().ok())
        .map(|d| d.message)
        .collect();
    assert_eq!(all, [1, 2, 3]);
}

#[test]
fn a_cancelled_receive_loses_nothing() {
    let _watchdog = watchdog();
    let runtime = runtime(1);
    let [mut alice, bob] = delivery::causal();
    let shared = std::sync::Arc::new(lisle::sync::Mutex::new(bob));
    let other = shared.clone();
    let waiting = on(&runtime, move || other.lock().unwrap().recv());
    until_waiting(waiting.thread(), "receive on channel");
    waiting.thread().cancel();
    waiting.join().unwrap_err();
    alice.broadcast(1);
    assert_eq!(shared.lock().unwrap().recv().unwrap().message, 1);
    super::support::end(runtime);
}

/// Each answers every message that is no answer. An answer never comes before its
/// question.
#[test]
fn answers_come_after_their_questions() {
    const MEMBERS: u32 = 4;
    under_seeds(|seed| {
        let network = Network::with(faults(seed));
        let members: Vec<_> = (0..MEMBERS)
            .map(|n| Member::attach(&network, Causal::new(n)))
            .collect();
        let threads: Vec<_> = members
            .into_iter()
            .map(|mut member| {
                child(move || {
                    let me = member.process().number();
                    member.broadcast((me, None));
                    let mut questions = BTreeSet::from([me]);
                    // Three questions, three answers to each by all but who asked.
                    let others = (MEMBERS - 1) as usize;
                    for _ in 0..others + others * others {
                        let (who, answered) = member.recv().unwrap().message;
                        match answered {
                            None => {
                                questions.insert(who);
                                member.broadcast((me, Some(who)));
                            }
                            Some(question) => assert!(questions.contains(&question)),
                        }
                    }
                    assert_eq!(questions.len(), MEMBERS as usize);
                    (member.missing().len(), member)
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap().0, 0);
        }
    });
}

#[test]
fn all_deliver_in_the_same_order() {
    const EACH: u32 = 10;
    under_seeds(|seed| {
        let all: [Process; 4] = processes();
        let network = Network::with(faults(seed));
        let members: Vec<_> = all
            .iter()
            .map(|&p| Member::attach(&network, Total::new(p, all)))
            .collect();
        let threads: Vec<_> = members
            .into_iter()
            .map(|mut member| {
                child(move || {
                    let mut order = Vec::new();
                    for n in 0..EACH {
                        member.broadcast(n);
                        while let Ok(delivery) = member.try_recv() {
                            order.push((delivery.from, delivery.message));
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    while order.len() < all.len() * EACH as usize {
                        let delivery = member.recv().unwrap();
                        order.push((delivery.from, delivery.message));
                    }
                    (order, member)
                })
            })
            .collect();
        let mut orders = threads.into_iter().map(|thread| thread.join().unwrap().0);
        let first = orders.next().unwrap();
        assert!(orders.all(|order| order == first));
        assert_eq!(
            first.iter().collect::<BTreeSet<_>>().len(),
            all.len() * EACH as usize
        );
    });
}

#[test]
fn letters_do_not_overtake_what_caused_them() {
    under_seeds(|seed| {
        let [a, b, c] = processes();
        let network = Network::with(faults(seed));
        let [mut alice, mut bob, mut carol] =
            [a, b, c].map(|p| Member::attach(&network, PointToPoint::new(p)));
        alice.send(c, "parcel");
        alice.send(b, "tell carol that a parcel is coming");
        bob.recv().unwrap();
        bob.send(c, "a parcel is coming");
        assert_eq!(carol.recv().unwrap().message, "parcel");
        assert_eq!(carol.recv().unwrap().message, "a parcel is coming");
    });
}

#[test]
fn a_full_hold_back_refuses_until_room_is_made() {
    let network = Network::reliable();
    let [a, b] = processes();
    let mut alice = Member::attach(&network, Causal::new(a));
    alice.broadcast(1);
    let mut bob = Member::attach(&network, Causal::new(b).limit(1));
    (2..=4).for_each(|n| _ = alice.broadcast(n));
    // The second waits, so the third and the fourth may not.
    let refused = [3, 4].map(|n| match bob.recv() {
        Err(RecvError::Full(envelope)) => {
            assert_eq!(envelope.message, n);
            envelope
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((bob.held().len(), bob.missing().len()), (1, 1));
    assert_eq!(bob.give_up(), 1);
    assert_eq!(bob.recv().unwrap().message, 2);
    for envelope in refused {
        let n = envelope.message;
        bob.protocol_mut().arrive(envelope).unwrap();
        assert_eq!(bob.recv().unwrap().message, n);
    }
}

#[test]
fn who_joins_hears_what_is_said_from_then_on() {
    under_seeds(|seed| {
        let network = Network::with(faults(seed));
        let [mut alice, mut bob] = [0, 1].map(|n| Member::attach(&network, Causal::new(n)));
        alice.broadcast("before");
        let mut carol = Member::<Causal<_>>::join(&network, 2);
        bob.recv().unwrap();
        bob.broadcast("after");
        carol.broadcast("hello");
        assert_eq!(carol.recv().unwrap().message, "after");
        let mut heard = [alice.recv().unwrap().message, alice.recv().unwrap().message];
        heard.sort_unstable();
        assert_eq!(heard, ["after", "hello"]);
        // It leaves and comes back as another.
        let again = carol.process().reborn();
        drop(carol);
        let mut carol = Member::<Causal<_>>::join(&network, again);
        bob.broadcast("welcome back");
        assert_eq!(carol.recv().unwrap().message, "welcome back");
        assert_eq!(carol.held(), []);
    });
}
