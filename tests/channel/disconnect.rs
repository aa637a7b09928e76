//! What is left when all of one side are gone.

use lisle::channel::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, unbounded,
};

use super::support::{child, end, on, runtime, until_waiting, watchdog};
use super::{
    BUFFERED, FLAVOURS, LONG, RECEIVING, SENDING, WITH_WAITING_SENDS, channel, under_seeds,
};

#[test]
fn what_is_buffered_is_received_after_the_senders_are_gone() {
    for flavour in BUFFERED {
        let (sender, receiver) = channel(flavour);
        let other = sender.clone();
        sender.send(1).unwrap();
        other.send(2).unwrap();
        drop(sender);
        other.send(3).unwrap();
        drop(other);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.recv_timeout(LONG), Ok(3));
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(
            receiver.recv_timeout(LONG),
            Err(RecvTimeoutError::Disconnected)
        );
    }
}

#[test]
fn sends_hand_the_message_back_when_the_receivers_are_gone() {
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let other = receiver.clone();
        drop(receiver);
        if flavour != Some(0) {
            sender.send("kept").unwrap();
        }
        drop(other);
        assert_eq!(sender.send("a"), Err(SendError("a")));
        assert_eq!(sender.try_send("b"), Err(TrySendError::Disconnected("b")));
        assert_eq!(
            sender.send_timeout("c", LONG),
            Err(SendTimeoutError::Disconnected("c"))
        );
        assert!(sender.is_empty(), "nobody will receive what was buffered");
    }
}

#[test]
fn a_full_channel_without_receivers_is_disconnected_not_full() {
    let (sender, receiver) = bounded(1);
    sender.send(1).unwrap();
    drop(receiver);
    assert_eq!(sender.try_send(2), Err(TrySendError::Disconnected(2)));
}

#[test]
fn waiting_receivers_learn_that_the_last_sender_is_gone() {
    let _dog = watchdog();
    let rt = runtime(2);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel::<u8>(flavour);
        let other = sender.clone();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                let waiter = on(&rt, move || receiver.recv());
                until_waiting(waiter.thread(), RECEIVING);
                waiter
            })
            .collect();
        let outside = std::thread::spawn(move || receiver.recv_timeout(LONG));
        drop(sender);
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        drop(other);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(RecvError));
        }
        assert_eq!(outside.join().unwrap(), Err(RecvTimeoutError::Disconnected));
    }
    end(rt);
}

#[test]
fn waiting_senders_learn_that_the_last_receiver_is_gone() {
    let _dog = watchdog();
    let rt = runtime(2);
    for capacity in WITH_WAITING_SENDS {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        let waiters: Vec<_> = (100..103)
            .map(|n| {
                let sender = sender.clone();
                let waiter = on(&rt, move || sender.send(n));
                until_waiting(waiter.thread(), SENDING);
                waiter
            })
            .collect();
        let outside = std::thread::spawn(move || sender.send_timeout(103, LONG));
        drop(receiver);
        for (n, waiter) in (100..).zip(waiters) {
            assert_eq!(waiter.join().unwrap(), Err(SendError(n)));
        }
        let outside = outside.join().unwrap();
        assert_eq!(outside, Err(SendTimeoutError::Disconnected(103)));
    }
    end(rt);
}

#[test]
fn messages_of_waiting_senders_are_received_after_the_others_are_gone() {
    let _dog = watchdog();
    let rt = runtime(2);
    for capacity in WITH_WAITING_SENDS {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        let waiters: Vec<_> = (capacity..capacity + 3)
            .map(|n| {
                let sender = sender.clone();
                let waiter = on(&rt, move || sender.send(n));
                until_waiting(waiter.thread(), SENDING);
                waiter
            })
            .collect();
        drop(sender);
        assert!(receiver.iter().eq(0..capacity + 3));
        for waiter in waiters {
            waiter.join().unwrap().unwrap();
        }
    }
    end(rt);
}

#[test]
fn a_disconnect_hides_no_message_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let senders: Vec<_> = (0..3)
                .map(|n| {
                    let sender = sender.clone();
                    child(move || (0..3).for_each(|i| sender.send(n * 3 + i).unwrap()))
                })
                .collect();
            drop(sender);
            let mut received: Vec<u32> = receiver.iter().collect();
            received.sort_unstable();
            assert!(received.into_iter().eq(0..9));
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
        });
    }
}

#[test]
fn a_message_is_sent_or_handed_back_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let receiving = child(move || {
                let received: Vec<u32> = receiver.iter().take(2).collect();
                // Whatever else is buffered goes with the receiver.
                (received, receiver.len())
            });
            let mut sent = 0;
            for n in 0..6 {
                match sender.send(n) {
                    Ok(()) => sent += 1,
                    Err(SendError(back)) => {
                        assert_eq!(back, n);
                        break;
                    }
                }
            }
            let (received, buffered) = receiving.join().unwrap();
            assert_eq!(received, [0, 1]);
            assert!(sent >= 2 + buffered);
            if flavour == Some(0) {
                assert_eq!(sent, 2, "a rendezvous is sent when it is taken");
            }
        });
    }
}

#[test]
fn dropping_both_ends_in_any_order_is_fine() {
    for flavour in FLAVOURS {
        let (sender, receiver) = channel::<String>(flavour);
        drop(sender);
        drop(receiver);
        let (sender, receiver) = channel::<String>(flavour);
        drop(receiver);
        drop(sender);
    }
    let (sender, receiver) = unbounded();
    sender.send(Itself(sender.clone())).unwrap();
    drop(sender);
    let Itself(sender) = receiver.recv().unwrap();
    drop(sender);
    receiver.recv().map(drop).unwrap_err();
}

/// Keeps the channel that it is in alive.
struct Itself(Sender<Itself>);
