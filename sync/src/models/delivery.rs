//! Delivery orders: what is held back is never released early, nor for ever.

use lisle_lwp::explore::{model, outcomes};
use lisle_runtime::thread::spawn;

use crate::channel::{bounded, unbounded};
use crate::delivery::{self, Arrival, Causal, Fifo, Member, RecvError};

/// An answer races its question to a third process.
#[test]
fn answer_against_question() {
    let seen = outcomes(Some(1), || {
        let [mut alice, mut bob, mut carol] = [0, 1, 2].map(Causal::new);
        let question = alice.broadcast("question");
        bob.arrive(question.clone()).unwrap();
        assert!(bob.deliver().is_some());
        let answer = bob.broadcast("answer");
        let (network, at_carol) = bounded(2);
        let carriers = [(network.clone(), question), (network, answer)]
            .map(|(network, envelope)| spawn(move || assert!(network.send(envelope).is_ok())));
        let (mut got, mut held) = (Vec::new(), false);
        while let Ok(envelope) = at_carol.recv() {
            held |= carol.arrive(envelope).unwrap() == Arrival::Held;
            got.extend(std::iter::from_fn(|| carol.deliver()).map(|delivery| delivery.message));
        }
        assert_eq!(got, ["question", "answer"]);
        carriers.into_iter().for_each(|t| t.join().unwrap());
        held
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// A network repeats and reorders: two carriers race with copies of one sender's messages, which
/// one of them carries backwards.
#[test]
fn copy_against_original() {
    let seen = outcomes(Some(1), || {
        let (mut alice, mut bob) = (Fifo::new(0), Fifo::new(1));
        let sent = [alice.broadcast(1), alice.broadcast(2)];
        let (carrier, arriving) = unbounded();
        let [first, second] = sent;
        let orders = [(carrier.clone(), sent), (carrier, [second, first])];
        let carriers = orders.map(|(carrier, sent)| {
            spawn(move || {
                sent.into_iter()
                    .for_each(|e| assert!(carrier.send(e).is_ok()))
            })
        });
        carriers
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let (mut got, mut arrivals) = (Vec::new(), Vec::new());
        while let Ok(envelope) = arriving.recv() {
            arrivals.push(envelope.message);
            bob.arrive(envelope).unwrap();
            got.extend(std::iter::from_fn(|| bob.deliver()).map(|delivery| delivery.message));
        }
        assert_eq!(got, [1, 2]);
        assert_eq!(bob.duplicates(), 2);
        arrivals
    });
    let all = [[1, 2, 1, 2], [1, 2, 2, 1], [2, 1, 1, 2], [2, 1, 2, 1]];
    assert_eq!(Vec::from_iter(seen), all);
}

/// Who joins misses nothing that was broadcast after it, and waits for nothing that was
/// broadcast before.
#[test]
fn join_against_broadcast() {
    let seen = outcomes(Some(3), || {
        let [mut alice] = delivery::causal();
        let network = alice.network().clone();
        let thread = spawn(move || {
            (1..=2).for_each(|n| _ = alice.broadcast(n));
            alice
        });
        let mut bob = Member::<Causal<_>>::join(&network, 1);
        let mut alice = thread.join().unwrap();
        alice.broadcast(3);
        let mut got = Vec::new();
        while got.last() != Some(&3) {
            got.push(bob.recv().unwrap().message);
        }
        got
    });
    assert_eq!(Vec::from_iter(seen), [vec![1, 2, 3], vec![2, 3], vec![3]]);
}

/// The last message of who leaves is received, and then that it has left is noticed.
#[test]
fn leave_against_recv() {
    model(Some(2), || {
        let [mut alice, mut bob] = delivery::fifo();
        let thread = spawn(move || _ = alice.broadcast(1));
        assert_eq!(bob.recv().map(|delivery| delivery.message), Ok(1));
        assert_eq!(bob.recv(), Err(RecvError::Disconnected));
        thread.join().unwrap();
    });
}
