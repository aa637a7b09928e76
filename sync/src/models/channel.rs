//! Channels: every message is received once, in order, or handed back; whoever
//! waits hears when the other side is gone.

use std::sync::Arc;

use lisle_lwp::explore::{Data, Track, model, outcomes};
use lisle_lwp::shim::{AtomicBool, Ordering};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::{cancel, time};

use super::unless_cancelled;
use crate::channel::{self, Receiver, RecvTimeoutError, SendTimeoutError, Sender};

/// A message that loom reports if it is never dropped, with what its sender
/// wrote before.
pub(super) struct Message {
    number: u32,
    news: Data,
    alive: Arc<()>,
    _track: Track<()>,
}

pub(super) fn message(number: u32) -> Message {
    let news = Data::new();
    news.add_one();
    Message {
        number,
        news,
        alive: Arc::new(()),
        _track: Track::new(()),
    }
}

pub(super) fn number(message: Message) -> u32 {
    message.news.add_one();
    assert_eq!(message.news.get(), 2);
    message.number
}

pub(super) fn send_all(sender: &Sender<Message>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        assert!(sender.send(message(number)).is_ok());
    }
}

/// What comes until the last sender is gone.
pub(super) fn all(receiver: &Receiver<Message>) -> Vec<u32> {
    receiver.iter().map(number).collect()
}

/// Unbounded, bounded, rendezvous.
pub(super) const KINDS: [Option<usize>; 3] = [None, Some(1), Some(0)];

/// How many preemptions a model allows that is long for its bound: one less with a
/// buffer, which has more steps. Its own models are those of [`buffer`](super::buffer).
pub(super) fn preemptions(kind: Option<usize>, most: usize) -> Option<usize> {
    Some(if kind == Some(0) { most } else { most - 1 })
}

pub(super) fn make(capacity: Option<usize>) -> (Sender<Message>, Receiver<Message>) {
    match capacity {
        None => channel::unbounded(),
        Some(capacity) => channel::bounded(capacity),
    }
}

/// In order, each once; and the disconnect wakes the receiver.
#[test]
fn send_against_recv() {
    for kind in KINDS {
        model(preemptions(kind, 3), move || {
            let (sender, receiver) = make(kind);
            let thread = spawn(move || send_all(&sender, 1..=2));
            assert_eq!(all(&receiver), [1, 2]);
            thread.join().unwrap();
        });
    }
}

#[test]
fn send_against_send() {
    for kind in KINDS {
        let seen = outcomes(Some(1), move || {
            let (sender, receiver) = make(kind);
            let senders = [(sender.clone(), 1), (sender, 2)]
                .map(|(sender, number)| spawn(move || send_all(&sender, [number])));
            let got = all(&receiver);
            senders.into_iter().for_each(|t| t.join().unwrap());
            got
        });
        assert_eq!(Vec::from_iter(seen), [[1, 2], [2, 1]]);
    }
}

#[test]
fn recv_against_recv() {
    for kind in KINDS {
        let seen = outcomes(preemptions(kind, 2), move || {
            let (sender, receiver) = make(kind);
            let receivers = [receiver.clone(), receiver]
                .map(|receiver| spawn(move || receiver.recv().map_or(0, number)));
            send_all(&sender, [1]);
            drop(sender);
            receivers.map(|t| t.join().unwrap())
        });
        assert_eq!(Vec::from_iter(seen), [[0, 1], [1, 0]]);
    }
}

/// A receive that gives up has not taken the message.
#[test]
fn send_against_recv_timeout() {
    for kind in [None, Some(1)] {
        let seen = outcomes(Some(5), move || {
            let (sender, receiver) = make(kind);
            let thread = spawn(move || {
                send_all(&sender, [1]);
                sender
            });
            let got = match receiver.recv_deadline(time::now()) {
                Ok(message) => Some(number(message)),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => panic!("the sender is there"),
            };
            let _sender = thread.join().unwrap();
            let left = receiver.try_recv().map(number).ok();
            assert_eq!(got.or(left), Some(1));
            assert!(got.is_none() || left.is_none());
            got
        });
        assert_eq!(seen.len(), 2);
    }
}

/// One receiver gives up; the message reaches the other.
#[test]
fn message_passed_on_when_receiver_timed_out() {
    for kind in [None, Some(0)] {
        let seen = outcomes(preemptions(kind, 2), move || {
            let (sender, receiver) = make(kind);
            let patient = receiver.clone();
            let hasty = spawn(move || {
                let got = receiver.recv_deadline(time::now());
                got.map(number).ok()
            });
            let patient = spawn(move || patient.recv().map(number).ok());
            send_all(&sender, [1]);
            drop(sender);
            let got = [hasty.join().unwrap(), patient.join().unwrap()];
            assert!(got == [Some(1), None] || got == [None, Some(1)]);
            got
        });
        assert_eq!(seen.len(), 2);
    }
}

/// Cancelled, the receiver has the message or has left it to its next receive.
#[test]
fn send_against_recv_cancel() {
    for kind in KINDS {
        let seen = outcomes(preemptions(kind, 2), move || {
            let (sender, receiver) = make(kind);
            let this = thread::current();
            let sending = spawn(move || send_all(&sender, [1]));
            let canceller = spawn(move || this.cancel());
            let got = unless_cancelled(|| receiver.recv()).map(|m| number(m.unwrap()));
            cancel::shield(|| canceller.join()).unwrap();
            let left = cancel::shield(|| all(&receiver));
            cancel::shield(|| sending.join()).unwrap();
            assert_eq!(left, if got == Some(1) { vec![] } else { vec![1] });
            got
        });
        assert_eq!(seen.len(), 2, "{kind:?}");
    }
}

/// Cancelled, the sender has sent, or its message is dropped and in nobody's way.
#[test]
fn recv_against_send_cancel() {
    for kind in [Some(1), Some(0)] {
        let seen = outcomes(preemptions(kind, 2), move || {
            let (sender, receiver) = make(kind);
            let first = kind == Some(1);
            send_all(&sender, first.then_some(1));
            let this = thread::current();
            let receiving = spawn(move || all(&receiver));
            let canceller = spawn(move || this.cancel());
            let sent = unless_cancelled(|| assert!(sender.send(message(2)).is_ok())).is_some();
            cancel::shield(|| canceller.join()).unwrap();
            // Who comes after it gets through.
            cancel::shield(|| send_all(&sender, [3]));
            drop(sender);
            let expected = [(first, 1), (sent, 2), (true, 3)];
            let expected: Vec<u32> = expected.into_iter().filter(|m| m.0).map(|m| m.1).collect();
            assert_eq!(cancel::shield(|| receiving.join()).unwrap(), expected);
            sent
        });
        assert_eq!(seen.len(), 2, "{kind:?}");
    }
}

/// A rendezvous: the send ends when the message is taken, not before.
#[test]
fn send_ends_when_taken() {
    model(Some(5), || {
        let (sender, receiver) = channel::bounded(0);
        let ended = Arc::new(AtomicBool::new(false));
        let its_ended = ended.clone();
        let thread = spawn(move || {
            send_all(&sender, [1]);
            its_ended.store(true, Ordering::Relaxed);
        });
        assert!(!ended.load(Ordering::Relaxed));
        assert_eq!(receiver.recv().map(number), Ok(1));
        thread.join().unwrap();
    });
}

/// Both give up, or they meet: never one of the two.
#[test]
fn match_against_timeouts() {
    let seen = outcomes(Some(5), || {
        let (sender, receiver) = channel::bounded(0);
        let thread = spawn(
            move || match sender.send_deadline(message(1), time::now()) {
                Ok(()) => (true, sender),
                Err(SendTimeoutError::Timeout(back)) => {
                    assert_eq!(number(back), 1);
                    (false, sender)
                }
                Err(SendTimeoutError::Disconnected(_)) => panic!("the receiver is there"),
            },
        );
        let got = receiver.recv_deadline(time::now()).map(number).is_ok();
        let (sent, _sender) = thread.join().unwrap();
        assert_eq!(sent, got);
        assert!(receiver.try_recv().is_err(), "nothing is left");
        sent
    });
    assert_eq!(seen.len(), 2);
}

/// A full channel: the sender that gives up takes its message along.
#[test]
fn recv_against_send_timeout() {
    let seen = outcomes(Some(5), || {
        let (sender, receiver) = channel::bounded(1);
        send_all(&sender, [1]);
        let thread = spawn(
            move || match sender.send_deadline(message(2), time::now()) {
                Ok(()) => true,
                Err(SendTimeoutError::Timeout(back)) => number(back) != 2,
                Err(SendTimeoutError::Disconnected(_)) => panic!("the receiver is there"),
            },
        );
        assert_eq!(receiver.recv().map(number), Ok(1));
        let sent = thread.join().unwrap();
        assert_eq!(receiver.recv().map(number).ok(), sent.then_some(2));
        sent
    });
    assert_eq!(seen.len(), 2);
}

/// A sender that gave up comes again, and is in the list once.
#[test]
fn recv_against_send_again_after_timeout() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver) = channel::bounded(1);
        send_all(&sender, [1]);
        let thread = spawn(move || {
            let mut left = Some(message(2));
            for _ in 0..2 {
                let Some(message) = left.take() else { break };
                match sender.send_deadline(message, time::now()) {
                    Ok(()) => {}
                    Err(SendTimeoutError::Timeout(back)) => left = Some(back),
                    Err(SendTimeoutError::Disconnected(_)) => panic!("the receiver is there"),
                }
            }
            left.is_none()
        });
        assert_eq!(receiver.recv().map(number), Ok(1));
        let sent = thread.join().unwrap();
        assert_eq!(receiver.recv().map(number).ok(), sent.then_some(2));
        assert!(receiver.recv().is_err());
        sent
    });
    assert_eq!(seen.len(), 2);
}

/// One sender gives up; the other's message is received.
#[test]
fn room_passed_on_when_sender_timed_out() {
    let seen = outcomes(Some(1), || {
        let (sender, receiver) = channel::bounded(0);
        let patient = sender.clone();
        let hasty = spawn(move || sender.send_deadline(message(1), time::now()).is_ok());
        let patient = spawn(move || send_all(&patient, [2]));
        let got = all(&receiver);
        let sent = hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(got.len(), 1 + usize::from(sent));
        assert!(got.contains(&2));
        sent
    });
    assert_eq!(seen.len(), 2);
}

/// The receiver goes: the message is handed back or dropped with the buffer.
#[test]
fn disconnect_against_send() {
    for kind in KINDS {
        let seen = outcomes(Some(6), move || {
            let (sender, receiver) = make(kind);
            let thread = spawn(move || drop(receiver));
            let first = message(1);
            let alive = Arc::downgrade(&first.alive);
            let sent = match sender.send(first) {
                Ok(()) => true,
                Err(back) => number(back.0) != 1,
            };
            thread.join().unwrap();
            assert_eq!(alive.strong_count(), 0, "dropped with the receiver");
            assert!(sender.send(message(2)).is_err());
            sent
        });
        assert_eq!(seen.len(), if kind == Some(0) { 1 } else { 2 });
    }
}

/// The last of two senders goes: the receiver hears of it.
#[test]
fn disconnect_against_recv() {
    model(Some(4), || {
        let (sender, receiver) = channel::unbounded::<Message>();
        let senders = [sender.clone(), sender].map(|sender| spawn(move || drop(sender)));
        assert!(receiver.recv().is_err());
        senders.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// A sender that waits for room gets what a receiver leaves.
#[test]
fn recv_against_waiting_send() {
    model(Some(4), || {
        let (sender, receiver) = channel::bounded(1);
        let thread = spawn(move || send_all(&sender, 1..=2));
        assert_eq!(receiver.recv().map(number), Ok(1));
        thread.join().unwrap();
        assert_eq!(receiver.recv().map(number), Ok(2));
    });
}
