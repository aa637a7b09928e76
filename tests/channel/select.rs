//! Select: one operation is committed, exactly; the others leave no trace.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::channel::{
    RecvError, Select, SelectTimeoutError, TryReadyError, TrySelectError, bounded, never, select,
    select_biased, unbounded,
};
use lisle::{thread, time};

use super::support::{Log, child, end, message, on, runtime, until_waiting, watchdog};
use super::{FLAVOURS, LONG, RECEIVING, SENDING, TICK, channel, is_cancelled, under_seeds};

const SELECTING: &str = "select on channels";

#[test]
fn the_macro_has_all_arms() {
    let (sender, receiver) = bounded(1);
    let (_keep, silent) = unbounded::<u8>();
    let mut got = Vec::new();
    for _ in 0..3 {
        select! {
            recv(receiver) -> message => got.push(message.unwrap()),
            recv(silent) -> _ => unreachable!(),
            default => { got.push(0); sender.send(7).unwrap() }
        }
    }
    assert_eq!(got, [0, 7, 0]);
    select! {
        send(sender, 1) -> sent => assert!(sent.is_err()),
        recv(receiver) -> message => { assert_eq!(message, Ok(7)); }
        default(LONG) => unreachable!(),
    }
    select! {
        send(sender, 8) -> sent => sent.unwrap(),
        recv(&silent) -> _ => unreachable!(),
    };
    let late = select! {
        send(sender, 9) -> _ => false,
        default(TICK) => true,
    };
    assert!(late);
    assert_eq!(receiver.recv(), Ok(8));
}

#[test]
fn bodies_are_in_the_callers_control_flow() {
    fn sum(receiver: &lisle::channel::Receiver<Option<u32>>) -> Result<u32, RecvError> {
        let mut sum = 0;
        loop {
            select! {
                recv(receiver) -> message => match message? {
                    Some(0) => continue,
                    Some(n) => sum += n,
                    None => break Ok(sum),
                },
                default => return Ok(1000),
            }
        }
    }
    let (sender, receiver) = unbounded();
    for message in [Some(1), Some(0), Some(2), None] {
        sender.send(message).unwrap();
    }
    assert_eq!(sum(&receiver), Ok(3));
    assert_eq!(sum(&receiver), Ok(1000));
    drop(sender);
    assert_eq!(sum(&receiver), Err(RecvError));
}

#[test]
fn a_message_is_made_only_for_the_send_that_is_chosen() {
    let made = AtomicUsize::new(0);
    let make = || made.fetch_add(1, Ordering::Relaxed);
    let (full, _receiver) = bounded(1);
    full.send(0).unwrap();
    let (open, receiver) = bounded(1);
    select! {
        send(full, make()) -> _ => unreachable!(),
        send(open, make()) -> sent => sent.unwrap(),
    }
    assert_eq!(made.into_inner(), 1);
    assert_eq!(receiver.recv(), Ok(0));
}

#[test]
fn biased_takes_the_first_and_fair_takes_each() {
    let channels: Vec<_> = (0..4).map(|_| unbounded()).collect();
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        channels
            .iter()
            .for_each(|(sender, _)| sender.send(()).unwrap());
        select_biased! {
            recv(channels[0].1) -> _ => {}
            recv(channels[1].1) -> _ => unreachable!(),
        }
        let mut select = Select::new();
        for (_, receiver) in &channels[1..] {
            select.recv(receiver);
        }
        let operation = select.select();
        let index = operation.index();
        seen.insert(index);
        operation.recv(&channels[1 + index].1).unwrap();
    }
    assert_eq!(seen, BTreeSet::from([0, 1, 2]), "no arm starves");
}

#[test]
fn what_is_removed_is_not_chosen() {
    let (sender, receiver) = unbounded();
    sender.send(1).unwrap();
    let silent = never::<u8>();
    let mut select = Select::new_biased();
    let removed = select.recv(&receiver);
    let other = select.recv(&silent);
    let kept = select.recv(&receiver);
    select.remove(removed);
    assert!(catch_unwind(AssertUnwindSafe(|| select.remove(removed))).is_err());
    assert_eq!(select.try_ready(), Ok(kept));
    let operation = select.try_select().unwrap();
    assert_eq!(operation.index(), kept);
    assert_eq!(operation.recv(&receiver), Ok(1));
    select.remove(kept);
    assert_eq!(select.try_ready(), Err(TryReadyError));
    assert!(matches!(select.try_select(), Err(TrySelectError)));
    assert!(matches!(
        select.select_timeout(TICK),
        Err(SelectTimeoutError)
    ));
    assert!(select.ready_deadline(time::now()).is_err());
    assert_eq!(other, 1);
}

/// Room that a select was promised is taken for whoever would have to wait there, but in nobody's
/// way who waits to receive.
#[test]
fn a_message_passes_room_that_is_promised_if_its_receiver_waits() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, receiver) = bounded(1);
    let mut select = Select::new();
    select.send(&sender);
    let place = select.select();
    assert!(sender.try_send(1).is_err(), "its room is taken");
    let receiving = on(&rt, {
        let receiver = receiver.clone();
        move || receiver.recv()
    });
    until_waiting(receiving.thread(), RECEIVING);
    assert_eq!(sender.try_send(2), Ok(()));
    assert_eq!(receiving.join().unwrap(), Ok(2));
    place.send(&sender, 3).unwrap();
    assert_eq!(receiver.try_recv(), Ok(3));
    end(rt);
}

#[test]
fn an_operation_that_is_not_completed_panics_and_gives_back() {
    let _dog = watchdog();
    for flavour in [None, Some(1), Some(2)] {
        let (sender, receiver) = channel(flavour);
        sender.send(1).unwrap();
        let mut select = Select::new();
        select.recv(&receiver);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(select.select())));
        assert!(message(&*dropped.unwrap_err()).contains("without completing"));
        assert_eq!((receiver.len(), receiver.recv()), (1, Ok(1)));

        let mut select = Select::new();
        select.send(&sender);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(select.select())));
        assert!(dropped.is_err());
        assert_eq!((sender.len(), sender.try_send(2)), (0, Ok(())));
        assert_eq!(receiver.recv(), Ok(2));
    }
}

fn fail() -> u8 {
    panic!("no message")
}

#[test]
fn a_panic_in_a_message_frees_the_room() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, receiver) = bounded(1);
    let same = sender.clone();
    let panics = on(&rt, move || {
        select! { send(same, fail()) -> _ => {} }
    });
    assert!(panics.join().is_err());
    sender.try_send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));

    // A receiver that had been met waits for somebody else.
    let (sender, receiver) = bounded(0);
    let receiving = on(&rt, move || receiver.recv());
    until_waiting(receiving.thread(), RECEIVING);
    let same = sender.clone();
    let panics = on(&rt, move || {
        select! { send(same, fail()) -> _ => {} }
    });
    assert!(panics.join().is_err());
    sender.send(2).unwrap();
    assert_eq!(receiving.join().unwrap(), Ok(2));
    end(rt);
}

#[test]
fn the_wrong_end_is_refused() {
    let (sender, receiver) = unbounded();
    sender.send(1).unwrap();
    let (other_sender, other) = unbounded();
    let mut select = Select::new();
    select.recv(&receiver);
    for receiver in [&other, &never()] {
        let wrong = catch_unwind(AssertUnwindSafe(|| select.select().recv(receiver)));
        assert!(message(&*wrong.unwrap_err()).contains("wasn't selected"));
    }
    let wrong = catch_unwind(AssertUnwindSafe(|| select.select().send(&sender, 2)));
    assert!(message(&*wrong.unwrap_err()).contains("wasn't selected"));
    assert_eq!(receiver.recv(), Ok(1), "given back");
    let mut select = Select::new();
    select.send(&sender);
    let wrong = catch_unwind(AssertUnwindSafe(|| select.select().send(&other_sender, 2)));
    assert!(message(&*wrong.unwrap_err()).contains("wasn't selected"));
    assert_eq!(
        (receiver.try_recv().ok(), other.try_recv().ok()),
        (None, None)
    );
}

/// As in crossbeam-channel, since its issue 1096.
#[test]
fn a_clone_completes_what_was_selected() {
    for bound in [None, Some(2)] {
        let (sender, receiver) = bound.map_or_else(unbounded, bounded);
        let mut select = Select::new();
        select.send(&sender);
        assert_eq!(select.select().send(&sender.clone(), 1), Ok(()));
        let mut select = Select::new();
        select.recv(&receiver);
        assert_eq!(select.select().recv(&receiver.clone()), Ok(1));
    }
}

#[test]
fn a_waiting_select_is_woken_by_either_channel() {
    let _dog = watchdog();
    let rt = runtime(1);
    for flavour in FLAVOURS {
        for chosen in 0..2 {
            let ends = [channel(flavour), channel(flavour)];
            let [a, b] = [&ends[0], &ends[1]].map(|(_, receiver)| receiver.clone());
            let waiter = on(&rt, move || {
                select! {
                    recv(a) -> message => (0, message),
                    recv(b) -> message => (1, message),
                }
            });
            until_waiting(waiter.thread(), SELECTING);
            ends[chosen].0.send(5).unwrap();
            assert_eq!(waiter.join().unwrap(), (chosen, Ok(5)));
            // Nothing was left in the other one.
            assert!(
                ends.iter()
                    .all(|(_, receiver)| receiver.try_recv().is_err())
            );
            if flavour == Some(0) {
                assert!(ends.iter().all(|(sender, _)| sender.try_send(6).is_err()));
            }
        }
    }
    end(rt);
}

#[test]
fn a_waiting_select_sends_when_there_is_room() {
    let _dog = watchdog();
    let rt = runtime(1);
    for capacity in [0, 1, 3] {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        let silent = never::<u8>();
        let waiter = on(&rt, move || {
            select! {
                send(sender, 77) -> sent => sent,
                recv(silent) -> _ => unreachable!(),
            }
        });
        until_waiting(waiter.thread(), SELECTING);
        let expected = (0..capacity).chain([77]);
        assert!(receiver.iter().eq(expected));
        waiter.join().unwrap().unwrap();
    }
    end(rt);
}

#[test]
fn a_waiting_select_hears_of_a_disconnect() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, receiver) = unbounded::<u8>();
    let waiter = on(&rt, move || {
        select! {
            recv(receiver) -> message => message,
            recv(never::<u8>()) -> message => message,
        }
    });
    until_waiting(waiter.thread(), SELECTING);
    drop(sender);
    assert_eq!(waiter.join().unwrap(), Err(RecvError));

    let (sender, receiver) = bounded(0);
    let waiter = on(&rt, move || select! { send(sender, 3) -> sent => sent });
    until_waiting(waiter.thread(), SELECTING);
    drop(receiver);
    assert_eq!(waiter.join().unwrap().unwrap_err().into_inner(), 3);
    end(rt);
}

#[test]
fn a_select_that_ends_early_leaves_no_trace() {
    let _dog = watchdog();
    let rt = runtime(1);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let (own, other) = (receiver.clone(), receiver.clone());
        let timed = on(&rt, move || {
            select! { recv(own) -> message => message.ok(), default(TICK) => None }
        });
        assert_eq!(timed.join().unwrap(), None);
        let cancelled = on(&rt, move || select! { recv(other) -> message => message });
        until_waiting(cancelled.thread(), SELECTING);
        cancelled.thread().cancel();
        assert!(is_cancelled(cancelled.join()));
        if flavour == Some(0) {
            assert!(sender.try_send(1).is_err(), "nobody waits");
        } else {
            sender.try_send(1).unwrap();
            assert_eq!(receiver.try_recv(), Ok(1));
        }
    }
    end(rt);
}

#[test]
fn nobody_meets_himself() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, receiver) = bounded(0);
    let (s, r) = (sender.clone(), receiver.clone());
    let both = on(&rt, move || {
        select! {
            send(s, 1) -> sent => sent.map(|()| 0),
            recv(r) -> message => Ok(message.unwrap()),
        }
    });
    until_waiting(both.thread(), SELECTING);
    sender.send(2).unwrap();
    assert_eq!(both.join().unwrap(), Ok(2));
    select! {
        send(sender, 1) -> _ => unreachable!(),
        recv(receiver) -> _ => unreachable!(),
        default(TICK) => {}
    }
    end(rt);
}

#[test]
fn one_of_two_selecting_threads_sends_and_the_other_receives() {
    let _dog = watchdog();
    under_seeds(|| {
        let (sender, receiver) = bounded(0);
        let log = Log::new();
        let threads: Vec<_> = (0..4)
            .map(|own| {
                let (sender, receiver, log) = (sender.clone(), receiver.clone(), log.clone());
                child(move || {
                    select! {
                        send(sender, own) -> sent => sent.unwrap(),
                        recv(receiver) -> other => log.note((own, other.unwrap())),
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let met = log.take();
        assert_eq!(met.len(), 2, "two meetings of four");
        let all: BTreeSet<u32> = met.iter().flat_map(|&(a, b)| [a, b]).collect();
        assert_eq!(all.len(), 4, "everybody met one other: {met:?}");
    });
}

#[test]
fn each_select_commits_one_arm_of_many_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (a, b) = (channel(flavour), channel(flavour));
            let sent = Arc::new(AtomicUsize::new(0));
            let received = Arc::new(AtomicUsize::new(0));
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let (a, b, sent) = (a.0.clone(), b.0.clone(), sent.clone());
                    child(move || {
                        for _ in 0..5 {
                            let n = sent.fetch_add(1, Ordering::Relaxed);
                            select! {
                                send(a, n) -> sent => sent.unwrap(),
                                send(b, n) -> sent => sent.unwrap(),
                            }
                        }
                    })
                })
                .collect();
            let log = Log::new();
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let (a, b, log) = (a.1.clone(), b.1.clone(), log.clone());
                    let received = received.clone();
                    child(move || {
                        while received.fetch_add(1, Ordering::Relaxed) < 15 {
                            log.note(select! {
                                recv(a) -> message => message.unwrap(),
                                recv(b) -> message => message.unwrap(),
                            });
                        }
                    })
                })
                .collect();
            senders
                .into_iter()
                .chain(receivers)
                .for_each(|t| t.join().unwrap());
            let mut all = log.take();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..15), "each once");
            assert!(a.1.is_empty() && b.1.is_empty());
        });
    }
}

#[test]
fn selects_timeouts_and_plain_operations_mix_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let log = Log::new();
            let senders: Vec<_> = (0..4)
                .map(|n| {
                    let (sender, log) = (sender.clone(), log.clone());
                    child(move || {
                        let sent = match n {
                            0 => sender.send(n).is_ok(),
                            1 => sender.send_timeout(n, TICK).is_ok(),
                            2 => select! { send(sender, n) -> sent => sent.is_ok() },
                            _ => select! {
                                send(sender, n) -> sent => sent.is_ok(),
                                default(TICK) => false,
                            },
                        };
                        if sent {
                            log.note(n);
                        }
                    })
                })
                .collect();
            drop(sender);
            let got = Log::new();
            let receivers: Vec<_> = (0..3)
                .map(|n| {
                    let (receiver, got) = (receiver.clone(), got.clone());
                    child(move || {
                        loop {
                            let next = match n {
                                0 => receiver.recv().ok(),
                                1 => match receiver.recv_timeout(TICK) {
                                    Err(lisle::channel::RecvTimeoutError::Timeout) => continue,
                                    other => other.ok(),
                                },
                                _ => select! {
                                    recv(receiver) -> message => message.ok(),
                                    default(TICK) => continue,
                                },
                            };
                            match next {
                                Some(message) => got.note(message),
                                None => break,
                            }
                        }
                    })
                })
                .collect();
            senders
                .into_iter()
                .chain(receivers)
                .for_each(|t| t.join().unwrap());
            let (mut sent, mut got) = (log.take(), got.take());
            sent.sort_unstable();
            got.sort_unstable();
            assert_eq!(sent, got);
        });
    }
}

#[test]
fn ready_tells_and_takes_nothing() {
    let _dog = watchdog();
    let rt = runtime(1);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let same = receiver.clone();
        let waiter = on(&rt, move || {
            let silent = never::<u8>();
            let mut select = Select::new();
            select.recv(&silent);
            select.recv(&same);
            select.ready()
        });
        until_waiting(waiter.thread(), SELECTING);
        let sending = on(&rt, move || sender.send(1));
        assert_eq!(waiter.join().unwrap(), 1);
        assert_eq!(receiver.recv(), Ok(1));
        sending.join().unwrap().unwrap();
    }
    for capacity in [0, 1] {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(n).unwrap());
        let same = sender.clone();
        let waiter = on(&rt, move || {
            let mut select = Select::new();
            select.send(&same);
            select.ready_timeout(LONG)
        });
        until_waiting(waiter.thread(), SELECTING);
        let receiving = on(&rt, move || receiver.recv());
        assert_eq!(waiter.join().unwrap(), Ok(0));
        if capacity == 0 {
            sender.send(0).unwrap();
        }
        assert_eq!(receiving.join().unwrap(), Ok(0));
    }
    end(rt);
}

#[test]
fn kernel_threads_select_with_user_threads() {
    let _dog = watchdog();
    let rt = runtime(2);
    for flavour in FLAVOURS {
        let (a, b) = (channel(flavour), channel(flavour));
        let (a_sender, b_sender) = (a.0, b.0);
        let light = on(&rt, move || {
            for n in 0..200 {
                select! {
                    send(a_sender, n) -> sent => sent.unwrap(),
                    send(b_sender, n) -> sent => sent.unwrap(),
                }
            }
        });
        let mut got = Vec::new();
        let (mut a_open, mut b_open) = (true, true);
        while a_open || b_open {
            select! {
                recv(a.1) -> message => message.map_or_else(|_| a_open = false, |n| got.push(n)),
                recv(b.1) -> message => message.map_or_else(|_| b_open = false, |n| got.push(n)),
            }
        }
        light.join().unwrap();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..200));
    }
    end(rt);
}

#[test]
fn a_select_waits_behind_those_who_came_first() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, receiver) = bounded(0);
    let (first, second) = (sender.clone(), sender);
    let first = on(&rt, move || first.send(1));
    until_waiting(first.thread(), SENDING);
    let second = on(&rt, move || select! { send(second, 2) -> sent => sent });
    until_waiting(second.thread(), SELECTING);
    assert!(receiver.iter().eq([1, 2]));
    first.join().unwrap().unwrap();
    second.join().unwrap().unwrap();
    end(rt);
}

#[test]
fn many_arms() {
    let channels: Vec<_> = (0..300).map(|_| unbounded()).collect();
    let mut select = Select::new();
    for (_, receiver) in &channels {
        select.recv(receiver);
    }
    for n in [0, 299, 150] {
        channels[n].0.send(n).unwrap();
        let operation = select.select_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(operation.index(), n);
        assert_eq!(operation.recv(&channels[n].1), Ok(n));
    }
    thread::yield_now();
}

/// A body may take the ends of its own select, as crossbeam's: the operation is over.
#[test]
fn a_body_may_move_and_replace_the_ends() {
    let _dog = watchdog();
    let (sender, mut receiver) = bounded(1);
    sender.send(1).unwrap();
    drop(sender);
    let mut got = Vec::new();
    loop {
        select! {
            recv(receiver) -> message => match message {
                Ok(message) => got.push(message),
                Err(_) => receiver = never(),
            },
            default(TICK) => break,
        }
    }
    assert_eq!(got, [1]);
    let (sender, receiver) = bounded(1);
    select! {
        send(sender, 2) -> sent => { sent.unwrap(); drop(sender) }
    }
    select! {
        recv(receiver) -> message => { assert_eq!(message, Ok(2)); drop(receiver) }
    }
}
