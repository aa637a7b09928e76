//! Channels without a buffer: sender and receiver meet.

use lisle::channel::{TryRecvError, TrySendError, bounded};
use lisle::thread;

use super::support::{Log, child, end, on, runtime, until_waiting, watchdog};
use super::{RECEIVING, SENDING, under_seeds};

#[test]
fn nothing_is_sent_without_a_receiver_and_nothing_received_without_a_sender() {
    let (sender, receiver) = bounded(0);
    assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn try_send_meets_a_waiting_receiver_and_try_recv_a_waiting_sender() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (sender, receiver) = bounded(0);
    let same = receiver.clone();
    let waiter = on(&rt, move || same.recv());
    until_waiting(waiter.thread(), RECEIVING);
    sender.try_send(1).unwrap();
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(waiter.join().unwrap(), Ok(1));

    let waiter = on(&rt, move || sender.send(3));
    until_waiting(waiter.thread(), SENDING);
    assert_eq!(
        receiver.len(),
        0,
        "a waiting sender's message is not buffered"
    );
    assert_eq!(receiver.try_recv(), Ok(3));
    waiter.join().unwrap().unwrap();
    end(rt);
}

#[test]
fn a_send_completes_only_when_it_is_taken() {
    let _dog = watchdog();
    under_seeds(|| {
        let (sender, receiver) = bounded(0);
        let log = Log::new();
        let theirs = log.clone();
        let sending = child(move || {
            for n in 0..4 {
                sender.send(n).unwrap();
                theirs.note(n);
            }
        });
        for n in 0..4 {
            (0..3).for_each(|_| thread::yield_now());
            // All before are taken; this one is not, so it is not sent.
            assert!(log.len() <= n);
            assert_eq!(receiver.recv(), Ok(n));
        }
        sending.join().unwrap();
        assert_eq!(log.take(), [0, 1, 2, 3]);
    });
}

#[test]
fn waiting_senders_are_served_first_come_first_served() {
    let _dog = watchdog();
    let rt = runtime(2);
    for capacity in [0, 2] {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        let senders: Vec<_> = (capacity..capacity + 6)
            .map(|n| {
                let sender = sender.clone();
                let thread = on(&rt, move || sender.send(n));
                until_waiting(thread.thread(), SENDING);
                thread
            })
            .collect();
        assert!(receiver.iter().take(capacity + 6).eq(0..capacity + 6));
        senders.into_iter().for_each(|s| s.join().unwrap().unwrap());
    }
    end(rt);
}

#[test]
fn waiting_receivers_are_served_first_come_first_served() {
    let _dog = watchdog();
    let rt = runtime(2);
    for capacity in [0, 2] {
        let (sender, receiver) = bounded(capacity);
        let receivers: Vec<_> = (0..6)
            .map(|_| {
                let receiver = receiver.clone();
                let thread = on(&rt, move || receiver.recv());
                until_waiting(thread.thread(), RECEIVING);
                thread
            })
            .collect();
        // Each takes what is handed to it: none of this waits.
        (0..6).for_each(|n| sender.try_send(n).unwrap());
        for (n, receiver) in receivers.into_iter().enumerate() {
            assert_eq!(receiver.join().unwrap(), Ok(n));
        }
    }
    end(rt);
}
