//! Many senders and receivers: every message exactly once, in order per sender.

use lisle::channel::{Receiver, Sender, bounded};
use lisle::thread;

use super::support::{child, end, many, on, runtime, watchdog};
use super::{FLAVOURS, channel, under_seeds};

/// Sender and number.
type Message = (usize, usize);

fn send_all(who: usize, count: usize, sender: &Sender<Message>) {
    for n in 0..count {
        match n % 3 {
            0 if sender.try_send((who, n)).is_ok() => {}
            _ => sender.send((who, n)).unwrap(),
        }
    }
}

/// Receives to the end; what is received from one sender is in order.
fn receive_all(senders: usize, receiver: &Receiver<Message>) -> Vec<Message> {
    let mut next = vec![0; senders];
    let mut received = Vec::new();
    for (who, n) in receiver {
        assert!(next[who] <= n, "out of order");
        next[who] = n + 1;
        received.push((who, n));
    }
    received
}

fn check(senders: usize, count: usize, received: impl Iterator<Item = Vec<Message>>) {
    let mut received: Vec<Message> = received.flatten().collect();
    received.sort_unstable();
    let all = (0..senders).flat_map(|who| (0..count).map(move |n| (who, n)));
    assert!(received.into_iter().eq(all), "every message exactly once");
}

#[test]
fn light_and_kernel_threads_mixed() {
    let _dog = watchdog();
    let rt = runtime(2);
    let count = many(1000);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let mut light = Vec::new();
        let mut kernel = Vec::new();
        for who in 0..6 {
            let sender = sender.clone();
            let send = move || send_all(who, count, &sender);
            if who < 4 {
                light.push(on(&rt, send));
            } else {
                kernel.push(std::thread::spawn(send));
            }
        }
        drop(sender);
        let mut light_receivers = Vec::new();
        let mut kernel_receivers = Vec::new();
        for number in 0..6 {
            let receiver = receiver.clone();
            let receive = move || receive_all(6, &receiver);
            if number < 4 {
                light_receivers.push(on(&rt, receive));
            } else {
                kernel_receivers.push(std::thread::spawn(receive));
            }
        }
        light.into_iter().for_each(|thread| thread.join().unwrap());
        kernel.into_iter().for_each(|thread| thread.join().unwrap());
        let received = light_receivers.into_iter().map(|r| r.join().unwrap());
        let outside = kernel_receivers.into_iter().map(|r| r.join().unwrap());
        check(6, count, received.chain(outside));
    }
    end(rt);
}

#[test]
fn many_to_many_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let senders: Vec<_> = (0..3)
                .map(|who| {
                    let sender = sender.clone();
                    child(move || send_all(who, 5, &sender))
                })
                .collect();
            drop(sender);
            let receivers: Vec<_> = (0..2)
                .map(|_| {
                    let receiver = receiver.clone();
                    child(move || receive_all(3, &receiver))
                })
                .collect();
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            check(3, 5, receivers.into_iter().map(|r| r.join().unwrap()));
        });
    }
}

#[test]
fn order_is_kept_from_one_to_one() {
    let _dog = watchdog();
    let rt = runtime(2);
    let count = many(20_000);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let sending = on(&rt, move || {
            (0..count).for_each(|n| sender.send(n).unwrap())
        });
        let receiving = on(&rt, move || receiver.iter().eq(0..count));
        sending.join().unwrap();
        assert!(receiving.join().unwrap());
    }
    end(rt);
}

#[test]
fn a_ring_of_threads() {
    let _dog = watchdog();
    let rt = runtime(2);
    let laps = many(500);
    let (first, mut receiver) = bounded(0);
    let mut threads = Vec::new();
    for _ in 0..10 {
        let (sender, next) = bounded(0);
        let input = std::mem::replace(&mut receiver, next);
        threads.push(on(&rt, move || {
            for token in input {
                thread::yield_now();
                sender.send(token + 1).unwrap();
            }
        }));
    }
    let mut token = 0;
    for _ in 0..laps {
        first.send(token).unwrap();
        token = receiver.recv().unwrap();
    }
    drop(first);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(token, 10 * laps);
    end(rt);
}
