//! Stamped channels: a receive is after its send, and the threads of one process keep
//! its order.

use std::num::NonZeroU64;

use lisle_clock::Lamport;
use lisle_lwp::explore::{model, outcomes};
use lisle_runtime::thread::spawn;

use super::channel::KINDS;
use crate::channel::stamped::{self, Receiver, Sender, Shared};
use crate::channel::unbounded;

fn make<T>(kind: Option<usize>) -> (Sender<T, Lamport>, Receiver<T, Lamport>) {
    kind.map_or_else(stamped::unbounded, stamped::bounded)
}

/// What a process does after a receive has a greater stamp than the message; and each
/// event of the process has a stamp of its own, whichever thread had it.
#[test]
fn receive_against_local_event() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver) = stamped::unbounded();
        let mut there = Lamport::new(0);
        there.set_step(NonZeroU64::new(3).unwrap());
        sender.send(&mut there, ()).unwrap();
        let here = Shared::new(Lamport::new(1));
        let other = here.clone();
        let thread = spawn(move || other.stamp());
        let message = receiver.recv(&here).unwrap();
        let after = here.stamp();
        assert!(after > message.stamp);
        let event = thread.join().unwrap();
        assert_ne!(event, after);
        event.time
    });
    // Before the receive, between the two, after both.
    assert_eq!(Vec::from_iter(seen), [1, 5, 6]);
}

/// Two receives of one process, by two threads.
#[test]
fn receive_against_receive() {
    model(Some(2), || {
        let (sender, receiver) = stamped::unbounded();
        let mut there = Lamport::new(0);
        (0..2).for_each(|_| sender.send(&mut there, ()).unwrap());
        let here = Shared::new(Lamport::new(1));
        let receivers = [receiver.clone(), receiver].map(|receiver| {
            let here = here.clone();
            spawn(move || {
                let message = receiver.recv(&here).unwrap();
                assert!(here.now() > message.stamp);
            })
        });
        receivers
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        // Two events, the second receive's message having been sent at 2.
        assert!((3..=4).contains(&here.now().time));
    });
}

/// On one channel, stamps of one process rise, though two threads send.
#[test]
fn send_against_send_of_one_process() {
    for kind in KINDS {
        let seen = outcomes(Some(1), move || {
            let (sender, receiver) = make(kind);
            let process = Shared::new(Lamport::new(0));
            let senders = [(sender.clone(), 1), (sender, 2)].map(|(sender, number)| {
                let process = process.clone();
                spawn(move || sender.send(&process, number).unwrap())
            });
            let mut here = Lamport::new(1);
            let got = [(); 2].map(|()| receiver.recv(&mut here).unwrap());
            assert_eq!(got.map(|message| message.stamp.time), [1, 2]);
            senders
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            got.map(|message| message.message)
        });
        assert_eq!(Vec::from_iter(seen), [[1, 2], [2, 1]]);
    }
}

/// Also if both had to wait, and are granted their places at once.
#[test]
fn grant_against_grant_of_one_process() {
    let seen = outcomes(Some(1), || {
        let (sender, receiver) = make(Some(2));
        let process = Shared::new(Lamport::new(0));
        (0..2).for_each(|_| sender.send(&process, 0).unwrap());
        let senders = [(sender.clone(), 1), (sender, 2)].map(|(sender, number)| {
            let process = process.clone();
            spawn(move || sender.send(&process, number).unwrap())
        });
        // Loom lets the others run while this one waits, which is no preemption.
        spawn(|| ()).join().unwrap();
        let mut here = Lamport::new(1);
        let mut receive = || receiver.recv(&mut here).unwrap();
        assert_eq!([(); 2].map(|()| receive().stamp.time), [1, 2]);
        senders
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let got = [(); 2].map(|()| receive());
        assert_eq!(got.map(|message| message.stamp.time), [3, 4]);
        got.map(|message| message.message)
    });
    assert_eq!(Vec::from_iter(seen), [[1, 2], [2, 1]]);
}

/// A send that waits does not keep the process's other thread from its events.
#[test]
fn send_that_waits_against_receive() {
    model(Some(1), || {
        let (out, outgoing) = make(Some(0));
        let (into, incoming) = make(None);
        let (go, gone) = unbounded();
        let process = Shared::new(Lamport::new(0));
        let other = process.clone();
        let sending = spawn(move || out.send(&other, ()).unwrap());
        let peer = spawn(move || {
            let mut clock = Lamport::new(1);
            into.send(&mut clock, ()).unwrap();
            gone.recv().unwrap();
            outgoing.recv(&mut clock).unwrap();
        });
        incoming.recv(&process).unwrap();
        go.send(()).unwrap();
        sending.join().unwrap();
        peer.join().unwrap();
        assert_eq!(process.now().time, 3);
    });
}
