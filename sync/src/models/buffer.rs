//! The buffers of channels: slots claimed by several at once, laps, blocks, and the
//! ways in and out that are shut and opened while somebody passes.

use core::pin::pin;
use core::task::{Poll, Waker};

use lisle_lwp::explore::{Turns, model, outcomes};
use lisle_runtime::thread::spawn;

use super::channel::{Message, all, message, number, send_all};
use super::task::poll;
use crate::channel::{Receiver, Select, Sender, bounded, select_biased, unbounded};

type End = (Sender<Message>, Receiver<Message>);

/// What is there now.
fn now(receiver: &Receiver<Message>) -> Option<u32> {
    receiver.try_recv().ok().map(number)
}

/// Two laps of a ring, one of them while the receiver takes the other.
#[test]
fn ring_write_against_read() {
    model(Some(4), || {
        let (sender, receiver): End = bounded(2);
        send_all(&sender, 1..=2);
        let thread = spawn(move || {
            while sender.try_send(message(3)).is_err() {
                lisle_runtime::thread::yield_now();
            }
        });
        assert_eq!([now(&receiver), now(&receiver)], [Some(1), Some(2)]);
        thread.join().unwrap();
        assert_eq!(now(&receiver), Some(3));
        assert_eq!(now(&receiver), None);
    });
}

#[test]
fn ring_write_against_write() {
    let seen = outcomes(Some(4), || {
        let (sender, receiver): End = bounded(2);
        let own = sender.clone();
        let thread = spawn(move || own.try_send(message(1)).is_ok());
        let sent = sender.try_send(message(2)).is_ok();
        assert!(thread.join().unwrap() && sent, "there is room for both");
        [now(&receiver).unwrap(), now(&receiver).unwrap()]
    });
    assert_eq!(Vec::from_iter(seen), [[1, 2], [2, 1]]);
}

/// There is one place: one of the two finds the other's message in it.
#[test]
fn ring_full_against_write() {
    let seen = outcomes(Some(4), || {
        let (sender, receiver): End = bounded(1);
        let own = sender.clone();
        let thread = spawn(move || own.try_send(message(1)).is_ok());
        let sent = sender.try_send(message(2)).is_ok();
        assert_ne!(thread.join().unwrap(), sent);
        let got = now(&receiver).unwrap();
        assert_eq!(now(&receiver), None);
        assert_eq!(got == 2, sent);
        got
    });
    assert_eq!(Vec::from_iter(seen), [1, 2]);
}

#[test]
fn ring_read_against_read() {
    let seen = outcomes(Some(4), || {
        let (sender, receiver): End = bounded(2);
        send_all(&sender, 1..=2);
        let own = receiver.clone();
        let thread = spawn(move || now(&own));
        let ours = now(&receiver);
        let pair = [thread.join().unwrap(), ours];
        // What was read can be written again.
        send_all(&sender, 3..=4);
        assert_eq!([now(&receiver), now(&receiver)], [Some(3), Some(4)]);
        pair
    });
    assert_eq!(
        Vec::from_iter(seen),
        [[Some(1), Some(2)], [Some(2), Some(1)]]
    );
}

/// The first block, and the step to the second, brought by whoever is first.
#[test]
fn list_write_against_write() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver): End = unbounded();
        let own = sender.clone();
        let thread = spawn(move || send_all(&own, [1, 2]));
        send_all(&sender, [3]);
        thread.join().unwrap();
        drop(sender);
        all(&receiver)
    });
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|got| got.len() == 3));
    let in_order = |got: &Vec<u32>| got.iter().filter(|n| **n < 3).is_sorted();
    assert!(seen.iter().all(in_order));
}

/// Blocks are left and freed while others are being read.
#[test]
fn list_read_against_read() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver): End = unbounded();
        send_all(&sender, 1..=3);
        let own = receiver.clone();
        let thread = spawn(move || [now(&own), now(&own)]);
        let ours = now(&receiver);
        let theirs = thread.join().unwrap();
        assert!(theirs.is_sorted());
        let mut all = [theirs[0], theirs[1], ours];
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3].map(Some));
        ours
    });
    assert_eq!(Vec::from_iter(seen), [1, 2, 3].map(Some));
}

/// One receiver takes the last message of a block and moves the head to the next one,
/// where another finds a message: what it needs to know of that block comes by way of
/// the first alone.
#[test]
fn list_follow_against_read() {
    let seen = outcomes(Some(1), || {
        let (sender, receiver): End = unbounded();
        send_all(&sender, [1]);
        assert_eq!(now(&receiver), Some(1));
        let turns = Turns::new();
        let (first, own) = (turns.clone(), turns.clone());
        let sending = spawn(move || {
            send_all(&sender, 2..=3);
            first.take();
            sender
        });
        let another = receiver.clone();
        let other = spawn(move || {
            own.take();
            now(&another)
        });
        turns.take();
        let ours = now(&receiver);
        let theirs = other.join().unwrap();
        let _sender = sending.join().unwrap();
        let left = core::iter::from_fn(|| now(&receiver));
        let mut all = Vec::from_iter(ours.into_iter().chain(theirs).chain(left));
        all.sort_unstable();
        assert_eq!(all, [2, 3]);
        (ours, theirs)
    });
    assert!(seen.contains(&(Some(2), Some(3))), "{seen:?}");
}

/// A block is brought, filled, left and freed by two at once.
#[test]
fn list_write_against_read() {
    model(Some(2), || {
        let (sender, receiver): End = unbounded();
        let thread = spawn(move || send_all(&sender, 1..=3));
        let mut got = Vec::new();
        while got.len() < 3 {
            match now(&receiver) {
                Some(number) => got.push(number),
                None => lisle_runtime::thread::yield_now(),
            }
        }
        assert_eq!(got, [1, 2, 3]);
        thread.join().unwrap();
    });
}

/// The receiver shuts the way in while a sender passes, and waits.
#[test]
fn shut_against_write() {
    for bound in [None, Some(2)] {
        model(Some(4), move || {
            let (sender, receiver): End = bound.map_or_else(unbounded, bounded);
            let thread = spawn(move || {
                send_all(&sender, [1]);
                sender
            });
            assert_eq!(receiver.recv().map(number), Ok(1));
            let sender = thread.join().unwrap();
            // The way in is opened again, also for two.
            send_all(&sender, 2..=3);
            assert_eq!([now(&receiver), now(&receiver)], [Some(2), Some(3)]);
        });
    }
}

/// The sender shuts both ways while a receiver passes, and waits.
#[test]
fn shut_against_read() {
    model(Some(4), || {
        let (sender, receiver): End = bounded(1);
        send_all(&sender, [1]);
        let thread = spawn(move || {
            send_all(&sender, [2]);
            sender
        });
        assert_eq!(now(&receiver), Some(1));
        // There is room, also if it waited for that.
        let sender = thread.join().unwrap();
        assert_eq!(now(&receiver), Some(2));
        send_all(&sender, [3]);
        assert_eq!(now(&receiver), Some(3));
    });
}

/// Two senders wait: while the second does, the way out stays shut, so that it gets the
/// next room.
#[test]
fn two_shut_against_reads() {
    model(Some(3), || {
        let (sender, receiver): End = bounded(1);
        send_all(&sender, [1]);
        let mut first = pin!(sender.send_async(message(2)));
        assert!(poll(first.as_mut(), Waker::noop()).is_pending());
        let own = sender.clone();
        let second = spawn(move || send_all(&own, [3]));
        assert_eq!(now(&receiver), Some(1));
        let sent = poll(first.as_mut(), Waker::noop());
        assert!(matches!(sent, Poll::Ready(Ok(()))), "it was first");
        assert_eq!(now(&receiver), Some(2));
        // There is room for the third.
        second.join().unwrap();
        assert_eq!(now(&receiver), Some(3));
    });
}

/// The last receiver goes while a sender passes: nothing stays behind.
#[test]
fn shut_for_good_against_write() {
    for bound in [None, Some(1)] {
        let seen = outcomes(Some(5), move || {
            let (sender, receiver): End = bound.map_or_else(unbounded, bounded);
            let turns = Turns::new();
            let own = turns.clone();
            let thread = spawn(move || {
                own.take();
                sender.try_send(message(1)).is_ok()
            });
            turns.take();
            drop(receiver);
            // Its message is dropped, or loom reports it.
            thread.join().unwrap()
        });
        assert_eq!(seen.len(), 2);
    }
}

/// A sender's message comes before the news of it, also where a select looks
/// without the lock.
#[test]
fn news_against_idle() {
    for bound in [None, Some(1)] {
        let seen = outcomes(Some(4), move || {
            let (sender, receiver): End = bound.map_or_else(unbounded, bounded);
            let turns = Turns::new();
            let own = turns.clone();
            let thread = spawn(move || {
                own.take();
                send_all(&sender, [1]);
            });
            turns.take();
            let early = select_biased! {
                recv(receiver) -> message => message.ok().map(number),
                default => None,
            };
            thread.join().unwrap();
            let late = select_biased! {
                recv(receiver) -> message => message.ok().map(number),
                default => panic!("the sender is gone"),
            };
            assert_eq!(early.or(late), Some(1));
            early
        });
        assert_eq!(seen.len(), 2);
    }
}

/// Room that was granted is not taken by a sender that passes.
#[test]
fn grant_against_write() {
    let seen = outcomes(Some(4), || {
        let (sender, receiver): End = bounded(1);
        let own = sender.clone();
        let thread = spawn(move || own.try_send(message(1)).is_ok());
        let ours = select_biased! {
            send(sender, message(2)) -> sent => sent.is_ok(),
            default => false,
        };
        let theirs = thread.join().unwrap();
        assert_ne!(ours, theirs, "one place, one message");
        assert_eq!(now(&receiver), Some(if ours { 2 } else { 1 }));
        ours
    });
    assert_eq!(seen.len(), 2);
}

/// Room that was granted stays granted while others send under the lock: the way in
/// is as shut as before.
#[test]
fn grant_against_two_writes() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver): End = bounded(2);
        let mut select = Select::new_biased();
        select.send(&sender);
        let granted = select.try_select().expect("there is room");
        let own = sender.clone();
        let thread = spawn(move || own.try_send(message(1)).is_ok());
        let ours = sender.try_send(message(2)).is_ok();
        assert_ne!(thread.join().unwrap(), ours, "the other place is granted");
        assert!(granted.send(&sender, message(3)).is_ok());
        let first = if ours { 2 } else { 1 };
        assert_eq!([now(&receiver), now(&receiver)], [Some(first), Some(3)]);
        ours
    });
    assert_eq!(seen.len(), 2);
}
