//! Threads that send each other something: what arrives, how often and in which order.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::Duration;

use lisle::channel::{
    self, Receiver, RecvError, SendError, broadcast, duplex, never, oneshot, rendezvous, select,
    watch,
};
use lisle::future::block_on;
use lisle::thread;

use crate::kitchen::Cook;

pub(crate) fn std_channels(cook: &mut Cook<'_>) {
    let (sender, receiver) = mpsc::sync_channel(cook.random.below(3) + 1);
    let n = cook.random.below(50);
    let sends = cook.spawn(move || (0..n).for_each(|k| sender.send(k).unwrap()));
    assert!(receiver.iter().eq(0..n));
    sends.join().unwrap();
}

pub(crate) fn channels(cook: &mut Cook<'_>) {
    let (sender, receiver) = channel::bounded(cook.random.below(4));
    let n = cook.random.below(100);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let sender = sender.clone();
            cook.spawn(move || (0..n).for_each(|k| sender.send(k).unwrap()))
        })
        .collect();
    drop(sender);
    assert_eq!(receiver.iter().sum::<usize>(), n * n.saturating_sub(1));
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// From two channels and to a third: each in order, all of it.
pub(crate) fn selects(cook: &mut Cook<'_>) {
    enum Chosen {
        From(usize, Result<usize, RecvError>),
        Sent,
        Nothing,
    }
    let n = cook.random.below(30);
    let mut source = |capacity: Option<usize>| {
        let (sender, receiver) = capacity.map_or_else(channel::unbounded, channel::bounded);
        let thread = cook.spawn(move || (0..n).for_each(|k| sender.send(k).unwrap()));
        (receiver, thread)
    };
    let sources = [source(None), source(Some(1))];
    let (sender, receiver) = channel::bounded(cook.random.below(2));
    let drain = cook.spawn(move || receiver.iter().eq(0..n));
    // For what is over.
    let (nowhere, nothing) = channel::bounded(0);
    let (mut got, mut open, mut sent) = ([0; 2], [true; 2], 0);
    while open[0] || open[1] || sent < n {
        let [first, second] = [0, 1].map(|k| if open[k] { &sources[k].0 } else { &nothing });
        let to = if sent < n { &sender } else { &nowhere };
        let chosen = select! {
            recv(first) -> message => Chosen::From(0, message),
            recv(second) -> message => Chosen::From(1, message),
            send(to, sent) -> outcome => {
                outcome.unwrap();
                Chosen::Sent
            }
            default(Duration::from_micros(100)) => Chosen::Nothing,
        };
        match chosen {
            Chosen::From(k, Ok(message)) => {
                assert_eq!(message, got[k]);
                got[k] += 1;
            }
            Chosen::From(k, Err(RecvError)) => open[k] = false,
            Chosen::Sent => sent += 1,
            Chosen::Nothing => thread::yield_now(),
        }
    }
    drop(sender);
    assert_eq!((got, sent), ([n; 2], n));
    assert!(drain.join().unwrap());
    for (_, thread) in sources {
        thread.join().unwrap();
    }
}

/// In its time, or never.
pub(crate) fn timers(cook: &mut Cook<'_>) {
    let soon = Duration::from_micros(1 + cook.random.below(2000) as u64);
    match cook.random.below(3) {
        0 => {
            let alarm = channel::after(soon);
            let asked = lisle::time::now();
            assert!(alarm.recv().unwrap() <= asked + soon);
            assert!(alarm.try_recv().is_err());
        }
        1 => {
            let clock = channel::tick(soon);
            let ticks = [(); 3].map(|()| clock.recv().unwrap());
            assert!(ticks.is_sorted());
        }
        _ => {
            let nothing: Receiver<()> = never();
            select! {
                recv(nothing) -> _ => unreachable!("it never comes"),
                recv(channel::after(soon)) -> time => assert!(time.is_ok()),
            }
        }
    }
}

pub(crate) fn oneshots(cook: &mut Cook<'_>) {
    let number = cook.random.below(1000);
    let (sender, receiver) = oneshot::channel();
    match cook.random.below(4) {
        0 => {
            drop(receiver);
            assert_eq!(
                cook.spawn(move || sender.send(number)).join().unwrap(),
                Err(number)
            );
        }
        1 => {
            let drops = cook.spawn(move || drop(sender));
            assert!(receiver.recv().is_err());
            drops.join().unwrap();
        }
        2 => {
            let sends = cook.spawn(move || sender.send(number));
            assert_eq!(block_on(receiver), Ok(number));
            assert_eq!(sends.join().unwrap(), Ok(()));
        }
        _ => {
            let sends = cook.spawn(move || sender.send(number));
            assert_eq!(receiver.recv(), Ok(number));
            assert_eq!(sends.join().unwrap(), Ok(()));
        }
    }
}

/// All get all of it, or know how much they have missed.
pub(crate) fn broadcasts(cook: &mut Cook<'_>) {
    let (n, capacity) = (cook.random.below(50), 1 << cook.random.below(6));
    let (sender, first) = broadcast::channel(capacity);
    let mut receivers = vec![first];
    receivers.resize_with(1 + cook.random.below(3), || sender.subscribe());
    let threads: Vec<_> = receivers
        .into_iter()
        .map(|mut receiver| {
            cook.spawn(move || {
                let mut next = 0;
                loop {
                    match receiver.recv() {
                        Ok(message) => {
                            assert_eq!(message, next);
                            next += 1;
                        }
                        Err(broadcast::RecvError::Lagged(missed)) => {
                            assert!(n > capacity);
                            next += missed as usize;
                        }
                        Err(broadcast::RecvError::Closed) => return next,
                    }
                }
            })
        })
        .collect();
    for message in 0..n {
        sender.send(message).unwrap();
        if cook.random.once_in(8) {
            thread::yield_now();
        }
    }
    drop(sender);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), n);
    }
}

/// What is seen is never older than what was seen, and the last is seen.
pub(crate) fn watches(cook: &mut Cook<'_>) {
    let n = cook.random.below(50);
    let (sender, receiver) = watch::channel(0);
    let threads: Vec<_> = (0..1 + cook.random.below(3))
        .map(|_| {
            let mut receiver = receiver.clone();
            cook.spawn(move || {
                let mut last = 0;
                while receiver.changed().is_ok() {
                    let now = *receiver.borrow_and_update();
                    assert!(now > last);
                    last = now;
                }
                last
            })
        })
        .collect();
    drop(receiver);
    for value in 1..=n {
        sender.send(value).unwrap();
        if cook.random.once_in(4) {
            thread::yield_now();
        }
    }
    drop(sender);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), n);
    }
}

/// After Ada: a server that has what it needs, or ends.
pub(crate) fn entries(cook: &mut Cook<'_>) {
    let n = cook.random.below(20);
    let (add, adds) = rendezvous::entry();
    let (get, gets) = rendezvous::entry();
    let server = cook.spawn(move || {
        let (mut sum, mut calls) = (0, 0);
        loop {
            let mut accept = rendezvous::Accept::new();
            let added = accept.or(&adds);
            accept.when(sum > 0, &gets);
            match accept.or_terminate().select().unwrap() {
                rendezvous::Chosen::Call(call) if call.index() == added => {
                    call.accept(&adds, |k: usize| sum += k);
                }
                rendezvous::Chosen::Call(call) => call.accept(&gets, |()| sum),
                _ => return (sum, calls),
            }
            calls += 1;
        }
    });
    let clients = [(); 2].map(|()| {
        let (add, get) = (add.clone(), get.clone());
        cook.spawn(move || {
            for k in 1..=n {
                add.call(k).unwrap();
                assert!(get.call(()).unwrap() >= k);
            }
        })
    });
    drop((add, get));
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(server.join().unwrap(), (n * (n + 1), 4 * n));
}

/// There and back.
pub(crate) fn duplexes(cook: &mut Cook<'_>) {
    let n = cook.random.below(20);
    if cook.random.once_in(2) {
        let (mut asks, mut answers) = duplex::half();
        let thread = cook.spawn(move || {
            while let Ok((k, turn)) = answers.recv() {
                let k: usize = k;
                if k % 5 != 4 {
                    turn.reply(k * k).unwrap();
                }
            }
        });
        for k in 0..n {
            let answer = asks.call(k);
            assert_eq!(answer.ok(), (k % 5 != 4).then_some(k * k));
        }
        drop(asks);
        thread.join().unwrap();
    } else {
        let (here, there) = duplex::full(Some(cook.random.below(3)));
        let thread = cook.spawn(move || {
            while let Ok(k) = there.recv() {
                let k: usize = k;
                there.send(k + 1).unwrap();
            }
        });
        for k in 0..n {
            here.send(k).unwrap();
            assert_eq!(here.recv(), Ok(k + 1));
        }
        drop(here);
        thread.join().unwrap();
    }
}

/// An async task on this thread, with threads at the other ends.
pub(crate) fn futures(cook: &mut Cook<'_>) {
    let n = cook.random.below(20);
    let (sender, receiver) = channel::bounded(1);
    let (back, heard) = channel::bounded(0);
    let echoes = cook.spawn(move || receiver.iter().for_each(|k: usize| back.send(k).unwrap()));
    block_on(async {
        for k in 0..n {
            assert_eq!(sender.send_async(k).await, Ok(()));
            assert_eq!(heard.recv_async().await, Ok(k));
        }
        drop(sender);
        echoes.await.unwrap();
    });
}

/// From each sender in order, and all of it.
pub(crate) fn mpscs(cook: &mut Cook<'_>) {
    let (sender, receiver) = channel::mpsc::channel();
    let (n, senders) = (cook.random.below(50), 1 + cook.random.below(3));
    for who in 0..senders {
        let sender = sender.clone();
        drop(cook.spawn(move || (0..n).for_each(|k| sender.send((who, k)).unwrap())));
    }
    drop(sender);
    let mut next = HashMap::new();
    for (who, k) in receiver {
        let expected = next.entry(who).or_insert(0);
        assert_eq!(k, *expected);
        *expected += 1;
    }
    assert_eq!(next.values().sum::<usize>(), n * senders);
}

/// What is not received is dropped, or comes back.
pub(crate) fn closings(cook: &mut Cook<'_>) {
    let n = cook.random.below(20);
    let (sender, receiver) = channel::bounded(cook.random.below(3));
    let sends = cook.spawn(move || {
        for k in 0.. {
            if let Err(SendError(back)) = sender.send(Box::new(k)) {
                return (k, *back);
            }
        }
        unreachable!()
    });
    assert!(receiver.iter().take(n).map(|k| *k).eq(0..n));
    drop(receiver);
    let (sent, back) = sends.join().unwrap();
    assert_eq!(sent, back);
    assert!(sent >= n);
}
