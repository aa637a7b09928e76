//! What happens to the messages themselves: dropped exactly once on every path,
//! of any size and alignment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::channel::{Receiver, Sender, bounded, unbounded};
use lisle::thread;

use super::support::{child, end, on, runtime, until_waiting, watchdog};
use super::{
    BUFFERED, FLAVOURS, RECEIVING, SENDING, TICK, WITH_WAITING_SENDS, channel, is_cancelled,
    under_seeds,
};

/// Counts the values that are alive; dropping one twice would wrap.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct Value(Arc<AtomicUsize>);

impl Alive {
    fn make(&self) -> Value {
        self.0.fetch_add(1, Ordering::Relaxed);
        Value(self.0.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        assert_ne!(before, 0, "dropped twice");
    }
}

fn send_some(sender: &Sender<Value>, alive: &Alive) {
    (0..3).for_each(|_| assert!(sender.send(alive.make()).is_ok()));
}

#[test]
fn the_last_receiver_drops_what_is_buffered() {
    for flavour in BUFFERED {
        let alive = Alive::default();
        let (sender, receiver) = channel(flavour);
        send_some(&sender, &alive);
        let other = receiver.clone();
        drop(receiver);
        assert_eq!(alive.count(), 3);
        drop(other);
        assert_eq!(alive.count(), 0, "though the sender is still there");
        assert!(sender.send(alive.make()).is_err());
        assert_eq!(alive.count(), 0);
    }
}

#[test]
fn what_is_buffered_outlives_the_senders_but_not_the_receivers() {
    for flavour in BUFFERED {
        let alive = Alive::default();
        let (sender, receiver) = channel(flavour);
        send_some(&sender, &alive);
        drop(sender);
        assert_eq!(alive.count(), 3);
        drop(receiver.recv().unwrap());
        assert_eq!(alive.count(), 2);
        drop(receiver);
        assert_eq!(alive.count(), 0);
    }
}

#[test]
fn failed_sends_give_the_value_back() {
    let _dog = watchdog();
    let alive = Alive::default();
    let (sender, receiver) = bounded(0);
    let full = sender.try_send(alive.make());
    assert_eq!(alive.count(), 1);
    drop(full);
    assert_eq!(alive.count(), 0);
    let late = sender.send_timeout(alive.make(), TICK);
    assert_eq!(alive.count(), 1);
    drop(late);
    drop(receiver);
    let disconnected = sender.send(alive.make());
    assert_eq!(alive.count(), 1);
    drop(disconnected);
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_cancelled_send_drops_its_value_once() {
    let _dog = watchdog();
    let rt = runtime(2);
    for capacity in WITH_WAITING_SENDS {
        let alive = Alive::default();
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|_| assert!(sender.send(alive.make()).is_ok()));
        let value = alive.make();
        let waiter = on(&rt, move || sender.send(value).is_ok());
        until_waiting(waiter.thread(), SENDING);
        assert_eq!(alive.count(), capacity + 1);
        waiter.thread().cancel();
        assert!(is_cancelled(waiter.join()));
        assert_eq!(alive.count(), capacity);
        drop(receiver);
        assert_eq!(alive.count(), 0);
    }
    end(rt);
}

#[test]
fn a_value_in_flight_to_a_cancelled_receiver_goes_on_or_stays() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let alive = Alive::default();
            let (sender, receiver) = channel(flavour);
            let waiter = child(move || receiver.recv().is_ok());
            let target = waiter.thread().clone();
            let canceller = child(move || target.cancel());
            let sent = sender.send(alive.make());
            canceller.join().unwrap();
            let received = waiter.join();
            match (&sent, received) {
                (Ok(()), Ok(received)) => assert!(received),
                // In the buffer, dropped with the receiver.
                (Ok(()), Err(payload)) => {
                    assert!(is_cancelled::<()>(Err(payload)));
                    assert_ne!(flavour, Some(0));
                }
                (Err(_), received) => {
                    assert!(is_cancelled(received));
                    assert_eq!(alive.count(), 1, "handed back");
                }
            }
            drop(sent);
            assert_eq!(alive.count(), 0);
        });
    }
}

#[test]
fn every_value_is_dropped_once_in_a_mixed_crowd() {
    let _dog = watchdog();
    let rt = runtime(2);
    for flavour in FLAVOURS {
        let alive = Alive::default();
        let (sender, receiver) = channel(flavour);
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (sender, alive) = (sender.clone(), alive.clone());
                on(&rt, move || {
                    while sender.send(alive.make()).is_ok() {
                        // An unbounded send never waits, and a light thread
                        // that never waits keeps its LWP.
                        thread::yield_now();
                    }
                })
            })
            .collect();
        drop(sender);
        let take = |receiver: Receiver<Value>| move || receiver.iter().take(200).count();
        let light = on(&rt, take(receiver.clone()));
        let kernel = std::thread::spawn(take(receiver));
        assert_eq!(light.join().unwrap(), 200);
        assert_eq!(kernel.join().unwrap(), 200);
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        assert_eq!(alive.count(), 0);
    }
    end(rt);
}

/// Sends values through the buffer and from hand to hand.
fn round_trip<T: Send + PartialEq + std::fmt::Debug + 'static>(make: impl Fn(u8) -> T) {
    let rt = runtime(1);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        if flavour != Some(0) {
            sender.send(make(1)).unwrap();
            assert_eq!(receiver.recv().unwrap(), make(1));
        }
        let same = receiver.clone();
        let waiter = on(&rt, move || same.recv());
        until_waiting(waiter.thread(), RECEIVING);
        sender.send(make(2)).unwrap();
        assert_eq!(waiter.join().unwrap().unwrap(), make(2));

        let values: Vec<T> = (0..200).map(&make).collect();
        let sending = on(&rt, move || {
            values.into_iter().for_each(|v| sender.send(v).unwrap())
        });
        assert!(receiver.iter().eq((0..200).map(&make)));
        sending.join().unwrap();
    }
    end(rt);
}

#[derive(Debug, PartialEq)]
#[repr(align(256))]
struct Aligned(u8);

impl Aligned {
    fn check(self) -> Aligned {
        assert_eq!(core::ptr::from_ref(&self) as usize % 256, 0);
        self
    }
}

#[test]
fn values_of_every_kind_arrive_whole() {
    let _dog = watchdog();
    round_trip(|_| ());
    round_trip(|n| [n; 4096]);
    round_trip(|n| Aligned(n).check());
    round_trip(|n| vec![n; usize::from(n)]);
    round_trip(|n| Some(Box::new(n)));
}

#[test]
fn values_without_a_size_are_counted() {
    let (sender, receiver) = unbounded();
    (0..1000).for_each(|_| sender.send(()).unwrap());
    assert_eq!(receiver.len(), 1000);
    drop(sender);
    assert_eq!(receiver.iter().count(), 1000);
    let (sender, _receiver) = bounded(2);
    sender.send(()).unwrap();
    sender.send(()).unwrap();
    assert!(sender.is_full() && sender.try_send(()).is_err());
}

/// Uses its channel when dropped.
struct Reenters(Sender<Reenters>);

impl Drop for Reenters {
    fn drop(&mut self) {
        assert_eq!(self.0.len(), 0);
    }
}

#[test]
fn a_value_dropped_with_the_buffer_may_use_the_channel() {
    let _dog = watchdog();
    let (sender, receiver) = unbounded();
    for _ in 0..3 {
        assert!(sender.send(Reenters(sender.clone())).is_ok());
    }
    drop(receiver);
    assert!(sender.is_empty());
}
