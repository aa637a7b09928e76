//! Waits that end early, by a timeout or a cancel: no message is lost, none
//! comes twice, and nothing is left in the channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::channel::{RecvTimeoutError, SendTimeoutError, TryRecvError, bounded};
use lisle::{cancel, thread, time};

use super::support::{Log, child, end, on, steady, until_waiting, watchdog};
use super::{
    FLAVOURS, LONG, RECEIVING, SENDING, TICK, WITH_WAITING_SENDS, channel, is_cancelled,
    under_seeds, yield_until_waiting,
};

#[test]
fn a_receive_ends_when_its_time_is_up() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        let (sender, receiver) = channel::<u8>(flavour);
        let timeout = Err(RecvTimeoutError::Timeout);
        assert_eq!(receiver.recv_timeout(Duration::ZERO), timeout);
        assert_eq!(receiver.recv_timeout(TICK), timeout);
        assert_eq!(receiver.recv_deadline(time::now()), timeout);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        if flavour != Some(0) {
            sender.send(1).unwrap();
            assert_eq!(receiver.recv_deadline(time::now()), Ok(1));
        }
    }
}

#[test]
fn a_send_ends_when_its_time_is_up_and_hands_the_message_back() {
    let _dog = watchdog();
    for capacity in WITH_WAITING_SENDS {
        let (sender, receiver) = bounded(capacity);
        for n in 0..capacity {
            sender.send_deadline(n, time::now()).unwrap();
        }
        let timeout = |n| Err(SendTimeoutError::Timeout(n));
        assert_eq!(sender.send_timeout(70, Duration::ZERO), timeout(70));
        assert_eq!(sender.send_timeout(71, TICK), timeout(71));
        assert_eq!(sender.send_deadline(72, time::now()), timeout(72));
        assert!(receiver.try_iter().eq(0..capacity));
    }
}

#[test]
fn a_timeout_beyond_the_clock_is_none() {
    let _dog = watchdog();
    let rt = steady(1);
    let (sender, receiver) = bounded(0);
    let same = receiver.clone();
    let receiving = on(&rt, move || same.recv_timeout(Duration::MAX));
    until_waiting(receiving.thread(), RECEIVING);
    sender.send_timeout(1, Duration::MAX).unwrap();
    assert_eq!(receiving.join().unwrap(), Ok(1));
    let sending = on(&rt, move || sender.send_timeout(2, Duration::MAX));
    until_waiting(sending.thread(), SENDING);
    assert_eq!(receiver.recv(), Ok(2));
    assert_eq!(sending.join().unwrap(), Ok(()));
    end(rt);
}

#[test]
fn a_cancelled_receiver_leaves_the_message_to_the_next() {
    let _dog = watchdog();
    let rt = steady(1);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let wait = || {
            let receiver = receiver.clone();
            let waiter = on(&rt, move || receiver.recv());
            until_waiting(waiter.thread(), RECEIVING);
            waiter
        };
        let (first, second) = (wait(), wait());
        let target = first.thread().clone();
        // On the only LWP: the first one is cancelled but has not run yet.
        on(&rt, move || {
            target.cancel();
            sender.try_send(1).unwrap();
        })
        .join()
        .unwrap();
        assert!(is_cancelled(first.join()));
        assert_eq!(second.join().unwrap(), Ok(1));
    }
    end(rt);
}

#[test]
fn a_message_that_comes_before_the_cancel_is_received() {
    let _dog = watchdog();
    let rt = steady(1);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let waiter = on(&rt, move || (receiver.recv(), cancel::is_cancelled()));
        until_waiting(waiter.thread(), RECEIVING);
        let target = waiter.thread().clone();
        on(&rt, move || {
            sender.try_send(1).unwrap();
            target.cancel();
        })
        .join()
        .unwrap();
        assert_eq!(waiter.join().unwrap(), (Ok(1), true));
    }
    end(rt);
}

#[test]
fn a_cancelled_sender_takes_its_message_along() {
    let _dog = watchdog();
    let rt = steady(1);
    for capacity in WITH_WAITING_SENDS {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        let wait = |n| {
            let sender = sender.clone();
            let waiter = on(&rt, move || sender.send(n));
            until_waiting(waiter.thread(), SENDING);
            waiter
        };
        let (first, second) = (wait(capacity + 7), wait(capacity));
        let target = first.thread().clone();
        let same = receiver.clone();
        let received = on(&rt, move || {
            target.cancel();
            same.try_recv()
        });
        // What came first, or in a rendezvous the second one's.
        assert_eq!(received.join().unwrap(), Ok(0));
        assert!(is_cancelled(first.join()));
        second.join().unwrap().unwrap();
        assert!(receiver.try_iter().eq(1..=capacity));
    }
    end(rt);
}

#[test]
fn a_cancel_loses_no_message_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let log = Log::new();
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let (receiver, log) = (receiver.clone(), log.clone());
                    child(move || {
                        while let Ok(message) = receiver.recv() {
                            log.note(message);
                        }
                    })
                })
                .collect();
            let targets: Vec<_> = receivers[1..].iter().map(|r| r.thread().clone()).collect();
            let canceller = child(move || {
                for target in targets {
                    thread::yield_now();
                    target.cancel();
                }
            });
            // Waits for a receiver; the first one stays.
            (0..8).for_each(|n| sender.send(n).unwrap());
            drop(sender);
            canceller.join().unwrap();
            let mut outcomes = receivers.into_iter().map(|receiver| receiver.join());
            outcomes.next().unwrap().unwrap();
            assert!(outcomes.all(|outcome| outcome.is_ok() || is_cancelled(outcome)));
            let mut received = log.take();
            received.sort_unstable();
            assert!(received.into_iter().eq(0..8));
        });
    }
}

#[test]
fn timeouts_lose_and_double_nothing_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let sent = Arc::new(AtomicUsize::new(0));
            // Deadlines of both sides coincide.
            let senders: Vec<_> = (0..3)
                .map(|n| {
                    let (sender, sent) = (sender.clone(), sent.clone());
                    child(move || {
                        for i in 0..4 {
                            match sender.send_timeout(n * 4 + i, TICK) {
                                Ok(()) => drop(sent.fetch_add(1, Ordering::Relaxed)),
                                Err(error) => assert_eq!(error.into_inner(), n * 4 + i),
                            }
                        }
                    })
                })
                .collect();
            drop(sender);
            let mut received = Vec::new();
            loop {
                thread::sleep(TICK);
                match receiver.recv_timeout(TICK) {
                    Ok(message) => received.push(message),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            assert_eq!(received.len(), sent.load(Ordering::Relaxed));
            for n in 0..3 {
                let own: Vec<u32> = received.iter().copied().filter(|m| m / 4 == n).collect();
                assert!(own.is_sorted(), "in order per sender");
            }
            received.sort_unstable();
            received.dedup();
            assert_eq!(received.len(), sent.load(Ordering::Relaxed));
        });
    }
}

#[test]
fn a_wait_that_ended_early_is_forgotten() {
    let _dog = watchdog();
    under_seeds(|| {
        let (sender, receiver) = bounded(0);
        let same = receiver.clone();
        let gone = child(move || same.recv_timeout(TICK));
        assert_eq!(gone.join().unwrap(), Err(RecvTimeoutError::Timeout));
        assert!(sender.try_send(1).is_err(), "nobody waits");
        let same = sender.clone();
        let gone = child(move || same.send_timeout(2, TICK));
        assert_eq!(gone.join().unwrap(), Err(SendTimeoutError::Timeout(2)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        let waiter = child(move || receiver.recv_timeout(LONG));
        yield_until_waiting(waiter.thread(), RECEIVING);
        sender.try_send(3).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(3));
    });
}
