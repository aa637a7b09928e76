//! oneshot, mpsc, broadcast, watch and duplex.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use lisle::channel::duplex::{self, CallError};
use lisle::channel::{RecvError, RecvTimeoutError, TryRecvError, broadcast, mpsc, oneshot, watch};
use lisle::thread;

use super::futures::block_on;
use super::support::{child, end, message, on, runtime, until_waiting, watchdog};
use super::{LONG, TICK, is_cancelled, under_seeds};

#[test]
fn a_oneshot_delivers_once() {
    let _dog = watchdog();
    under_seeds(|| {
        let (sender, receiver) = oneshot::channel();
        let waiter = child(move || receiver.recv());
        sender.send(5).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(5));

        let (sender, receiver) = oneshot::channel();
        let waiter = child(move || block_on(receiver));
        sender.send(6).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(6));

        let (sender, receiver) = oneshot::channel::<u8>();
        let waiter = child(move || receiver.recv());
        drop(sender);
        assert_eq!(waiter.join().unwrap(), Err(RecvError));
    });
}

#[test]
fn a_oneshot_hands_back_and_drops_once() {
    let _dog = watchdog();
    let value = Arc::new(());
    let (sender, receiver) = oneshot::channel();
    drop(receiver);
    assert!(sender.is_closed());
    assert!(sender.send(value.clone()).is_err());
    assert_eq!(Arc::strong_count(&value), 1);

    let (sender, mut receiver) = oneshot::channel();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(receiver.recv_timeout(TICK), Err(RecvTimeoutError::Timeout));
    sender.send(value.clone()).unwrap();
    receiver.close();
    assert!(!receiver.is_empty());
    assert!(receiver.try_recv().is_ok());
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));

    let (sender, receiver) = oneshot::channel();
    sender.send(value.clone()).unwrap();
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_oneshot_sender_waits_for_the_end() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (mut sender, receiver) = oneshot::channel::<u8>();
    let waiter = on(&rt, move || {
        sender.closed();
        block_on(sender.closed_async());
        sender.send(1)
    });
    until_waiting(waiter.thread(), "close of oneshot");
    drop(receiver);
    assert_eq!(waiter.join().unwrap(), Err(1));
    end(rt);
}

#[test]
fn a_oneshot_has_tokios_details() {
    let _dog = watchdog();
    let polls = |sender: &mut oneshot::Sender<u8>| {
        let mut context = Context::from_waker(Waker::noop());
        sender.poll_closed(&mut context).is_ready()
    };
    // An end that is polled and goes leaves nothing behind.
    let (mut sender, mut receiver) = oneshot::channel();
    assert!(!polls(&mut sender) && !polls(&mut sender));
    assert!(!receiver.is_terminated());
    sender.send(1).unwrap();
    assert!(!receiver.is_terminated());
    assert_eq!(block_on(&mut receiver), Ok(1));
    assert!(receiver.is_terminated());
    let again = catch_unwind(AssertUnwindSafe(|| block_on(&mut receiver)));
    assert_eq!(message(&*again.unwrap_err()), "called after complete");
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));

    let (mut sender, mut receiver) = oneshot::channel();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    assert!(!receiver.is_terminated());
    assert!(!polls(&mut sender));
    receiver.close();
    assert!(polls(&mut sender));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    assert!(receiver.is_terminated());

    // The task hears of it.
    let (mut sender, receiver) = oneshot::channel::<u8>();
    let waiter =
        std::thread::spawn(move || block_on(poll_fn(|context| sender.poll_closed(context))));
    drop(receiver);
    waiter.join().unwrap();
}

#[test]
fn mpsc_is_stds() {
    let _dog = watchdog();
    let (sender, receiver) = mpsc::channel();
    let (bounded, bounded_receiver) = mpsc::sync_channel(1);
    bounded.send(1).unwrap();
    assert_eq!(bounded.try_send(2), Err(mpsc::TrySendError::Full(2)));
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let sender: mpsc::Sender<u32> = sender.clone();
            std::thread::spawn(move || (0..100).for_each(|i| sender.send(n * 100 + i).unwrap()))
        })
        .collect();
    drop(sender);
    let mut got: Vec<u32> = receiver.iter().collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..300));
    assert_eq!(receiver.recv(), Err(mpsc::RecvError));
    assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert!(bounded_receiver.try_iter().eq([1]));
    let late = bounded_receiver.recv_timeout(TICK);
    assert_eq!(late, Err(mpsc::RecvTimeoutError::Timeout));
    drop(bounded_receiver);
    assert_eq!(bounded.send(3), Err(mpsc::SendError(3)));
}

#[test]
fn everybody_gets_every_broadcast_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let (sender, receiver) = broadcast::channel(4);
        let waiters: Vec<_> = (0..3)
            .map(|n| {
                let mut receiver = sender.subscribe();
                child(move || {
                    let mut got = Vec::new();
                    loop {
                        let next = match n {
                            0 => block_on(receiver.recv_async()),
                            _ => receiver.recv(),
                        };
                        match next {
                            Ok(message) => got.push(message),
                            Err(broadcast::RecvError::Lagged(missed)) => assert!(missed > 0),
                            Err(broadcast::RecvError::Closed) => break got,
                        }
                    }
                })
            })
            .collect();
        drop(receiver);
        for n in 0..10 {
            let receivers = sender.send(n).unwrap();
            assert_eq!(receivers, 3);
            thread::yield_now();
        }
        drop(sender);
        for waiter in waiters {
            let got = waiter.join().unwrap();
            assert!(got.is_sorted());
            assert!(got.ends_with(&[6, 7, 8, 9]), "the last are kept: {got:?}");
        }
    });
}

#[test]
fn a_slow_receiver_learns_what_it_missed() {
    let (sender, mut receiver) = broadcast::channel(3);
    let mut late = sender.subscribe();
    assert_eq!(receiver.try_recv(), Err(broadcast::TryRecvError::Empty));
    (0..6).for_each(|n| assert_eq!(sender.send(n), Ok(2)));
    assert_eq!((sender.len(), receiver.len()), (4, 6), "rounded up");
    assert_eq!(receiver.recv(), Err(broadcast::RecvError::Lagged(2)));
    assert_eq!(receiver.recv(), Ok(2));
    let mut newest = receiver.resubscribe();
    drop(sender);
    assert!(receiver.is_closed());
    for n in 3..6 {
        assert_eq!(receiver.recv_timeout(LONG), Ok(n));
    }
    assert_eq!(receiver.try_recv(), Err(broadcast::TryRecvError::Closed));
    assert_eq!(newest.recv(), Err(broadcast::RecvError::Closed));
    assert_eq!(late.recv(), Err(broadcast::RecvError::Lagged(2)));
}

#[test]
fn a_weak_sender_keeps_no_broadcast_open() {
    let _dog = watchdog();
    let (sender, mut receiver) = broadcast::channel(1);
    let weak = sender.downgrade();
    let copy = weak.clone();
    let counts = [
        weak.weak_count(),
        sender.weak_count(),
        receiver.sender_weak_count(),
    ];
    assert_eq!(counts, [2; 3]);
    assert_eq!([weak.strong_count(), sender.strong_count()], [1; 2]);
    let again = copy.upgrade().expect("there is a sender");
    drop((sender, copy));
    assert!(again.same_channel(&weak.upgrade().expect("there still is one")));
    again.send(1).unwrap();
    drop(again);
    assert!(weak.upgrade().is_none());
    assert_eq!((weak.strong_count(), weak.weak_count()), (0, 1));
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.recv(), Err(broadcast::RecvError::Closed));
}

#[test]
fn broadcast_messages_are_dropped_when_all_have_them() {
    let value = Arc::new(());
    let (sender, mut first) = broadcast::channel(8);
    let second = sender.subscribe();
    (0..3).for_each(|_| assert_eq!(sender.send(value.clone()).unwrap(), 2));
    drop(first.recv().unwrap());
    assert_eq!(Arc::strong_count(&value), 4);
    drop(second);
    assert_eq!(Arc::strong_count(&value), 3, "the first one is done with");
    drop(first);
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(sender.is_empty());
    assert!(sender.send(value.clone()).is_err());
    sender.closed();
}

#[test]
fn watchers_see_the_latest_value_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let (sender, receiver) = watch::channel(0);
        let waiters: Vec<_> = (0..3)
            .map(|n| {
                let mut receiver = receiver.clone();
                child(move || {
                    let mut last = 0;
                    loop {
                        let changed = match n {
                            0 => block_on(receiver.changed_async()),
                            _ => receiver.changed(),
                        };
                        if changed.is_err() {
                            break last;
                        }
                        let value = receiver.borrow_and_update();
                        assert!(*value > last);
                        last = *value;
                    }
                })
            })
            .collect();
        for n in 1..=10 {
            sender.send(n).unwrap();
            thread::yield_now();
        }
        drop(sender);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 10);
        }
    });
}

#[test]
fn watch_has_tokios_details() {
    let _dog = watchdog();
    let (sender, mut receiver) = watch::channel(1);
    assert_eq!(receiver.has_changed(), Ok(false));
    assert_eq!(
        receiver.changed_timeout(TICK),
        Err(RecvTimeoutError::Timeout)
    );
    assert_eq!(sender.send_replace(2), 1);
    assert_eq!(receiver.has_changed(), Ok(true));
    assert!(receiver.borrow().has_changed());
    assert!(receiver.borrow_and_update().has_changed());
    assert!(!sender.send_if_modified(|_| false));
    assert_eq!(receiver.has_changed(), Ok(false));
    sender.send_modify(|value| *value += 1);
    assert_eq!(*receiver.wait_for(|value| *value == 3).unwrap(), 3);
    receiver.mark_changed();
    assert_eq!(receiver.changed(), Ok(()));
    let second = sender.subscribe();
    assert_eq!((sender.receiver_count(), sender.sender_count()), (2, 1));
    drop(second);
    drop(sender.clone());
    sender.send(4).unwrap();
    drop(sender);
    assert_eq!(receiver.has_changed(), Err(RecvError));
    assert_eq!(receiver.changed(), Ok(()), "the last value is seen");
    assert_eq!(receiver.changed(), Err(RecvError));
    assert!(receiver.wait_for(|value| *value == 9).is_err());
    let sender = watch::Sender::new(5);
    assert!(sender.send(6).is_err());
    assert_eq!(*sender.borrow(), 5, "nobody watches");
}

#[test]
fn a_sender_waits_for_those_who_look() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, receiver) = watch::channel(1);
    let look = receiver.borrow();
    let writer = on(&rt, move || sender.send(2).is_ok());
    until_waiting(writer.thread(), "write of watched value");
    assert_eq!(*look, 1);
    drop(look);
    assert!(writer.join().unwrap());
    assert_eq!(*receiver.borrow(), 2);
    end(rt);
}

#[test]
fn a_cancelled_watcher_has_seen_nothing() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, mut receiver) = watch::channel(1);
    let waiter = on(&rt, move || receiver.changed());
    until_waiting(waiter.thread(), "change of watched value");
    waiter.thread().cancel();
    assert!(is_cancelled(waiter.join()));
    assert!(sender.is_closed());
    end(rt);
}

#[test]
fn both_ends_of_a_full_duplex_send() {
    let _dog = watchdog();
    under_seeds(|| {
        let (a, b) = duplex::full(Some(0));
        let other = child(move || {
            let mut sum = 0;
            while let Ok(n) = b.recv() {
                sum += n;
                if b.send(sum).is_err() {
                    break;
                }
            }
            sum
        });
        let sums = [1, 2, 3].map(|n| {
            a.send(n).unwrap();
            a.recv().unwrap()
        });
        assert_eq!(sums, [1, 3, 6]);
        drop(a);
        assert_eq!(other.join().unwrap(), 6);
    });
}

#[test]
fn a_half_duplex_takes_turns() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (mut client, mut server) = duplex::half();
    let serving = on(&rt, move || {
        while let Ok((n, turn)) = server.recv() {
            match n {
                0 => drop(turn),
                n => turn.reply(n * 10).unwrap(),
            }
        }
        let (mut client, server) = duplex::half::<u8, u8>();
        drop(server);
        client.call(9)
    });
    assert_eq!(client.call(4), Ok(40));
    assert_eq!(client.call(0), Err(CallError::NoReply));
    assert_eq!(client.call(5), Ok(50));
    drop(client);
    assert_eq!(serving.join().unwrap(), Err(CallError::NotSent(9)));
    end(rt);
}

#[test]
fn a_reply_that_nobody_fetched_does_not_answer_the_next_call() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (client, mut server) = duplex::half();
    let client = Arc::new(lisle::sync::Mutex::new(client));
    let caller = client.clone();
    let cancelled = on(&rt, move || caller.lock().unwrap().call(1));
    let (request, turn) = server.recv().unwrap();
    until_waiting(cancelled.thread(), super::RECEIVING);
    cancelled.thread().cancel();
    assert!(is_cancelled(cancelled.join()));
    turn.reply(request * 10).unwrap();
    let serving = on(&rt, move || {
        let (request, turn) = server.recv().unwrap();
        turn.reply(request * 10).unwrap();
    });
    assert_eq!(client.lock().unwrap().call(2), Ok(20));
    serving.join().unwrap();
    end(rt);
    thread::sleep(Duration::ZERO);
}
