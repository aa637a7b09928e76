//! Every flavour between full threads that move to other kernel threads, block in
//! the kernel and compute past their slices while messages are on their way.

use std::collections::BTreeMap;
use std::time::Duration;

use lisle::Runtime;
use lisle::channel::{Receiver, Sender, select};
use lisle::thread::Builder;
use lisle::upcall::Source;

use super::support::{end, hog, many, on, until, watchdog};
use super::travel::Trip;
use super::{FLAVOURS, channel};

/// Sender and number.
type Message = (usize, Box<usize>);

/// Sends by every means, doing something in between.
fn send_all(who: usize, count: usize, sender: &Sender<Message>, between: impl Fn(usize)) {
    for n in 0..count {
        let mut message = (who, Box::new(n));
        match n % 4 {
            0 => select! { send(sender, message) -> sent => sent.unwrap() },
            1 => {
                while let Err(late) = sender.send_timeout(message, Duration::from_micros(100)) {
                    message = late.into_inner();
                }
            }
            _ => sender.send(message).unwrap(),
        }
        between(n);
    }
}

/// Receives by every means until all senders are gone.
fn receive_all(receiver: &Receiver<Message>, between: impl Fn(usize)) -> Vec<Message> {
    let mut got = Vec::new();
    loop {
        let received = match got.len() % 3 {
            0 => select! { recv(receiver) -> message => message.ok() },
            1 => match receiver.recv_timeout(Duration::from_micros(100)) {
                Err(error) if error.is_timeout() => continue,
                received => received.ok(),
            },
            _ => receiver.recv().ok(),
        };
        let Some(message) = received else { return got };
        between(got.len());
        got.push(message);
    }
}

/// In order from each sender to each receiver, and each exactly once.
fn check(count: usize, received: &[Vec<Message>]) {
    let mut all = BTreeMap::new();
    for one in received {
        let mut last = BTreeMap::new();
        for (who, n) in one {
            assert!(last.insert(*who, **n).is_none_or(|before| before < **n));
            *all.entry((*who, **n)).or_insert(0) += 1;
        }
    }
    assert_eq!(all.len() % count, 0);
    assert!(all.into_values().all(|times| times == 1));
}

#[test]
fn messages_survive_forced_migration() {
    let _dog = watchdog();
    let count = many(100);
    for flavour in FLAVOURS {
        let trip = Trip::new(4);
        let (sender, receiver) = channel(flavour);
        let senders: Vec<_> = (0..2)
            .map(|who| {
                let sender = sender.clone();
                trip.spawn(move |go| {
                    send_all(who, count, &sender, |n| {
                        if n % 5 == 0 {
                            go.hop()
                        }
                    })
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let receiver = receiver.clone();
                trip.spawn(move |go| {
                    receive_all(&receiver, |n| {
                        if n % 5 == 0 {
                            go.hop()
                        }
                    })
                })
            })
            .collect();
        drop(receiver);
        senders
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let received: Vec<_> = receivers.into_iter().map(|r| r.join().unwrap()).collect();
        assert_eq!(received.iter().map(Vec::len).sum::<usize>(), 2 * count);
        check(count, &received);
        trip.end();
    }
}

/// Longer than a slice now and then, and a nap in the kernel at other times.
fn compute_or_block(n: usize) {
    if n % 64 == 63 {
        hog(Duration::from_millis(3));
    } else if n % 16 == 15 {
        std::thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn messages_survive_forced_preemption_and_blocking() {
    let _dog = watchdog();
    let count = many(400);
    let rt = Runtime::builder()
        .lwps(2)
        .upcalls(Source::Auto)
        .time_slice(Some(Duration::from_millis(1)))
        .build()
        .unwrap();
    let seen = || {
        let upcalls = rt.upcalls();
        upcalls.blocked > 0 && upcalls.preempted > 0
    };
    // On a busy machine it takes more of them until somebody looks at the right moment.
    for at in 0.. {
        if at >= FLAVOURS.len() && seen() {
            break;
        }
        let (sender, receiver) = channel(FLAVOURS[at % FLAVOURS.len()]);
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for who in 0..3 {
            let sender = sender.clone();
            let send = move || send_all(who, count, &sender, compute_or_block);
            let receiver = receiver.clone();
            let receive = move || receive_all(&receiver, compute_or_block);
            // One of the three is a light thread.
            if who == 0 {
                senders.push(on(&rt, send));
                receivers.push(on(&rt, receive));
            } else {
                senders.push(Builder::new().on(&rt).spawn(send).unwrap());
                receivers.push(Builder::new().on(&rt).spawn(receive).unwrap());
            }
        }
        drop((sender, receiver));
        senders
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let received: Vec<_> = receivers.into_iter().map(|r| r.join().unwrap()).collect();
        assert_eq!(received.iter().map(Vec::len).sum::<usize>(), 3 * count);
        check(count, &received);
    }
    until(|| rt.upcalls().without_lwp() == 0);
    end(rt);
}
