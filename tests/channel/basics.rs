//! Sending and receiving without company: order, counts, iteration.

use std::panic::{RefUnwindSafe, UnwindSafe};

use lisle::channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, unbounded};

use super::support::{end, on, runtime, watchdog};
use super::{BUFFERED, FLAVOURS, channel};

fn is_shared<T: Send + Sync + UnwindSafe + RefUnwindSafe>(_: &T) {}

#[test]
fn both_ends_can_be_shared() {
    // A cell can be sent but not shared: messages go by value.
    let (sender, receiver) = unbounded::<std::cell::Cell<u8>>();
    is_shared(&sender);
    is_shared(&receiver);
    assert_eq!(
        format!("{sender:?} {receiver:?}"),
        "Sender { .. } Receiver { .. }"
    );
}

#[test]
fn messages_come_in_the_order_in_which_they_were_sent() {
    for flavour in BUFFERED {
        let (sender, receiver) = channel(flavour);
        for round in 0..50 {
            for n in 0..3 {
                sender.send((round, n)).unwrap();
            }
            for n in 0..3 {
                assert_eq!(receiver.recv(), Ok((round, n)));
            }
        }
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn an_unbounded_buffer_grows_and_keeps_the_order() {
    let (sender, receiver) = unbounded();
    // Starts in the middle of the buffer, so that growing meets a wrapped one.
    (0..20).for_each(|n| sender.send(n).unwrap());
    (0..20).for_each(|n| assert_eq!(receiver.recv(), Ok(n)));
    (0..10_000).for_each(|n| sender.try_send(n).unwrap());
    assert_eq!(receiver.len(), 10_000);
    (0..10_000).for_each(|n| assert_eq!(receiver.try_recv(), Ok(n)));
}

#[test]
fn a_bounded_buffer_holds_exactly_its_capacity() {
    for capacity in [1, 2, 3, 33, 100] {
        let (sender, receiver) = bounded(capacity);
        for round in 0..3 {
            for n in 0..capacity {
                assert!(!sender.is_full());
                sender.try_send(n + round).unwrap();
            }
            assert_eq!(sender.try_send(9999), Err(TrySendError::Full(9999)));
            assert_eq!(receiver.try_recv(), Ok(round));
            sender.try_send(capacity + round).unwrap();
            assert!(receiver.try_iter().eq(round + 1..=round + capacity));
        }
    }
}

#[test]
fn a_large_capacity_is_not_allocated_at_once() {
    let (sender, receiver) = bounded(usize::MAX);
    sender.send([0_u64; 64]).unwrap();
    assert_eq!(receiver.capacity(), Some(usize::MAX));
    assert_eq!(receiver.len(), 1);
}

/// What both ends report.
type Report = (usize, bool, bool, Option<usize>);

fn report<T>(sender: &Sender<T>, receiver: &Receiver<T>) -> Report {
    let report = (
        sender.len(),
        sender.is_empty(),
        sender.is_full(),
        sender.capacity(),
    );
    assert_eq!(
        report,
        (
            receiver.len(),
            receiver.is_empty(),
            receiver.is_full(),
            receiver.capacity()
        )
    );
    report
}

#[test]
fn both_ends_report_what_is_buffered() {
    let (sender, receiver) = bounded(2);
    assert_eq!(report(&sender, &receiver), (0, true, false, Some(2)));
    sender.send(1).unwrap();
    assert_eq!(report(&sender, &receiver), (1, false, false, Some(2)));
    sender.send(2).unwrap();
    assert_eq!(report(&sender, &receiver), (2, false, true, Some(2)));
    receiver.recv().unwrap();
    assert_eq!(report(&sender, &receiver), (1, false, false, Some(2)));

    let (sender, receiver) = unbounded();
    assert_eq!(report(&sender, &receiver), (0, true, false, None));
    sender.send(1).unwrap();
    assert_eq!(report(&sender, &receiver), (1, false, false, None));

    // Always empty and always full.
    let (sender, receiver) = bounded::<u8>(0);
    assert_eq!(report(&sender, &receiver), (0, true, true, Some(0)));
}

#[test]
fn ends_know_their_channel() {
    let (sender, receiver) = unbounded::<u8>();
    let (other_sender, other_receiver) = unbounded::<u8>();
    assert!(sender.same_channel(&sender.clone()));
    assert!(receiver.same_channel(&receiver.clone()));
    assert!(!sender.same_channel(&other_sender));
    assert!(!receiver.same_channel(&other_receiver));
}

#[test]
fn iteration_ends_with_the_channel() {
    let _dog = watchdog();
    let rt = runtime(2);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let sending = on(&rt, move || (0..100).for_each(|n| sender.send(n).unwrap()));
        let mut iter = receiver.iter();
        assert!(iter.by_ref().take(40).eq(0..40));
        let rest: Vec<i32> = iter.collect();
        assert!(rest.into_iter().eq(40..100));
        assert_eq!((&receiver).into_iter().next(), None);
        assert_eq!(receiver.into_iter().next(), None);
        sending.join().unwrap();
    }
    end(rt);
}

#[test]
fn try_iter_takes_what_is_there() {
    let (sender, receiver) = unbounded();
    assert_eq!(receiver.try_iter().next(), None);
    (0..3).for_each(|n| sender.send(n).unwrap());
    assert!(receiver.try_iter().eq(0..3));
    sender.send(3).unwrap();
    assert_eq!(receiver.try_iter().last(), Some(3));
}

#[test]
fn a_channel_can_be_sent_through_itself() {
    let _dog = watchdog();
    let (sender, receiver) = unbounded::<Box<dyn Fn() -> u32 + Send>>();
    let (inner_sender, inner_receiver) = unbounded();
    sender
        .send(Box::new(move || inner_receiver.recv().unwrap()))
        .unwrap();
    inner_sender.send(7).unwrap();
    assert_eq!(receiver.recv().unwrap()(), 7);
}
