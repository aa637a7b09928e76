//! What a thread alone must hear from one-shots, broadcasts, watches, and from what threads
//! gather at: each beside its model.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use lisle::channel::{RecvTimeoutError, TryRecvError, broadcast, oneshot, watch};
use lisle::sync::{Barrier, Once, OnceLock, WaitGroup};
use lisle::time;

use crate::api::{Bytes, TICK};

/// Does what bytes with the highest bit say that follow such a first one; says what came of it.
pub(crate) fn run(kind: usize, bytes: &mut Bytes) -> String {
    match kind % 4 {
        0 => oneshots(bytes),
        1 => broadcasts(bytes, 1 + kind / 4 % 5),
        2 => watches(bytes),
        _ => gatherings(bytes),
    }
}

/// What a call returned, and that it waited a tick if it had to and else not at all.
fn in_time<R>(waits: bool, call: impl FnOnce() -> R) -> R {
    let begun = time::now();
    let result = call();
    let expected = if waits { TICK } else { Duration::ZERO };
    assert_eq!(time::now() - begun, expected);
    result
}

/// One after the other, each for one message.
fn oneshots(bytes: &mut Bytes) -> String {
    let (mut used, mut received) = (0, 0_u64);
    while !bytes.0.is_empty() {
        used += 1;
        received += u64::from(oneshot(bytes, used));
    }
    format!("oneshots {} {}", used.min(5), received.min(5))
}

/// Returns whether the message was received.
fn oneshot(bytes: &mut Bytes, message: u64) -> bool {
    let (sender, receiver) = oneshot::channel();
    let (mut sender, mut receiver) = (Some(sender), Some(receiver));
    // What is on its way; whether the receiver would not have it; whether it has had its answer.
    let (mut sent, mut closed, mut answered) = (None, false, false);
    let mut received = false;
    while let Some(byte) = bytes.0.pop_front() {
        match (byte % 10, &mut sender, &mut receiver) {
            (0 | 1, sender, receiver) if sender.is_some() => {
                let deaf = closed || receiver.is_none();
                let outcome = sender.take().unwrap().send(message);
                assert_eq!(outcome, if deaf { Err(message) } else { Ok(()) });
                sent = outcome.ok().map(|()| message);
            }
            (2, sender, Some(receiver)) => {
                let over = sender.is_none() || closed;
                let outcome = receiver.try_recv();
                let without = [TryRecvError::Empty, TryRecvError::Disconnected];
                assert_eq!(outcome, sent.take().ok_or(without[usize::from(over)]));
                answered |= outcome.is_ok() || over;
                received |= outcome.is_ok();
            }
            (3, sender, Some(receiver)) => {
                let over = sender.is_none() || closed;
                let waits = sent.is_none() && !over;
                let outcome = in_time(waits, || receiver.recv_timeout(TICK));
                let without = [RecvTimeoutError::Timeout, RecvTimeoutError::Disconnected];
                assert_eq!(outcome, sent.take().ok_or(without[usize::from(over)]));
                answered |= !waits;
                received |= outcome.is_ok();
            }
            (4, _, Some(receiver)) => {
                receiver.close();
                closed = true;
            }
            (5, sender, _) if byte == 5 => drop(sender.take()),
            (6, _, receiver) if byte == 6 => {
                drop(receiver.take());
                sent = None;
            }
            (7, _, _) if byte == 7 => return received,
            _ => {}
        }
        if let Some(receiver) = &receiver {
            assert_eq!(receiver.is_empty(), sent.is_none());
            assert_eq!(receiver.is_terminated(), answered);
        }
        if let Some(sender) = &sender {
            assert_eq!(sender.is_closed(), closed || receiver.is_none());
        }
    }
    received
}

/// Receivers that come and go, each with its place in the stream.
fn broadcasts(bytes: &mut Bytes, capacity: usize) -> String {
    use broadcast::{RecvTimeoutError, TryRecvError};
    let (sender, first) = broadcast::channel(capacity);
    let capacity = capacity.next_power_of_two();
    let mut sender = Some(sender);
    // Each with the number of the message that it gets next.
    let mut receivers = VecDeque::from([(first, 0)]);
    let (mut end, mut lagged) = (0, 0);
    while let Some(byte) = bytes.0.pop_front() {
        let who = usize::from(byte >> 4);
        match byte % 10 {
            0..=2 => {
                let Some(sender) = &sender else { continue };
                match sender.send(end) {
                    Ok(hear) => {
                        assert!(hear == receivers.len() && hear > 0);
                        end += 1;
                    }
                    Err(error) => assert!(receivers.is_empty() && error.0 == end),
                }
            }
            what @ 3..=6 if !receivers.is_empty() => {
                let who = who % receivers.len();
                let (receiver, next) = &mut receivers[who];
                let oldest = (end as u64).saturating_sub(capacity as u64) as usize;
                let missed = oldest.saturating_sub(*next) as u64;
                let nothing = missed == 0 && *next == end;
                let heard = if what == 3 {
                    let waits = nothing && sender.is_some();
                    let heard = in_time(waits, || receiver.recv_timeout(TICK));
                    heard.map_err(|error| match error {
                        RecvTimeoutError::Timeout => TryRecvError::Empty,
                        RecvTimeoutError::Closed => TryRecvError::Closed,
                        RecvTimeoutError::Lagged(missed) => TryRecvError::Lagged(missed),
                    })
                } else {
                    receiver.try_recv()
                };
                let expected = match missed {
                    0 if !nothing => Ok(*next),
                    0 if sender.is_some() => Err(TryRecvError::Empty),
                    0 => Err(TryRecvError::Closed),
                    _ => Err(TryRecvError::Lagged(missed)),
                };
                assert_eq!(heard, expected);
                *next += usize::from(heard.is_ok()) + missed as usize;
                lagged += usize::from(missed > 0);
            }
            7 if receivers.len() < 4 => {
                let new = match (&sender, receivers.front()) {
                    (Some(sender), _) if byte >= 0x80 => Some(sender.subscribe()),
                    (_, other) => other.map(|(other, _)| other.resubscribe()),
                };
                receivers.extend(new.map(|new| (new, end)));
            }
            8 if !receivers.is_empty() => drop(receivers.swap_remove_back(who % receivers.len())),
            9 if byte == 9 => drop(sender.take()),
            _ => {}
        }
        for (receiver, next) in &receivers {
            assert_eq!(receiver.len(), end - next);
            assert_eq!(receiver.is_closed(), sender.is_none());
        }
        if let Some(sender) = &sender {
            assert_eq!(sender.receiver_count(), receivers.len());
            let kept = receivers.iter().map(|(_, next)| end - next).max();
            assert_eq!(sender.len(), kept.unwrap_or(0).min(capacity));
        }
    }
    format!("broadcasts {capacity} {} {}", end.min(9), lagged.min(3))
}

/// Receivers that have seen the value, or not.
fn watches(bytes: &mut Bytes) -> String {
    let (sender, first) = watch::channel(0_usize);
    let mut sender = Some(sender);
    let mut receivers = VecDeque::from([(first, true)]);
    let (mut value, mut changes) = (0, 0);
    while let Some(byte) = bytes.0.pop_front() {
        let who = usize::from(byte >> 4);
        let mut changed = false;
        match (byte % 10, &sender) {
            (0, Some(sender)) => {
                let outcome = sender.send(value + 1);
                assert_eq!(outcome.is_ok(), !receivers.is_empty());
                changed = outcome.is_ok();
                value += usize::from(changed);
            }
            (1, Some(sender)) => {
                assert_eq!(sender.send_replace(value + 1), value);
                (value, changed) = (value + 1, true);
            }
            (2, Some(sender)) => {
                changed = sender.send_if_modified(|value| {
                    *value += 1;
                    byte >= 0x80
                });
                assert_eq!(changed, byte >= 0x80);
                value += 1;
            }
            (3..=6, _) if !receivers.is_empty() => {
                let who = who % receivers.len();
                let (receiver, seen) = &mut receivers[who];
                match byte % 10 {
                    3 => {
                        let waits = *seen && sender.is_some();
                        let outcome = in_time(waits, || receiver.changed_timeout(TICK));
                        let without = match sender {
                            Some(_) => RecvTimeoutError::Timeout,
                            None => RecvTimeoutError::Disconnected,
                        };
                        assert_eq!(outcome, if *seen { Err(without) } else { Ok(()) });
                        *seen = true;
                    }
                    4 => {
                        assert_eq!(receiver.borrow_and_update().has_changed(), !*seen);
                        *seen = true;
                    }
                    5 => {
                        receiver.mark_changed();
                        *seen = false;
                    }
                    _ => {
                        receiver.mark_unchanged();
                        *seen = true;
                    }
                }
            }
            (7, _) if receivers.len() < 4 => {
                let new = match (&sender, receivers.front()) {
                    (Some(sender), _) if byte >= 0x80 => Some((sender.subscribe(), true)),
                    (_, other) => other.cloned(),
                };
                receivers.extend(new);
            }
            (8, _) if !receivers.is_empty() => {
                drop(receivers.swap_remove_back(who % receivers.len()));
            }
            (9, _) if byte == 9 => drop(sender.take()),
            _ => {}
        }
        if changed {
            receivers.iter_mut().for_each(|(_, seen)| *seen = false);
            changes += 1;
        }
        for (receiver, seen) in &receivers {
            let known = receiver.has_changed().ok();
            assert_eq!(known, sender.as_ref().map(|_| !*seen));
            let now = receiver.borrow();
            assert_eq!((*now, now.has_changed()), (value, !*seen));
        }
        if let Some(sender) = &sender {
            assert_eq!(sender.receiver_count(), receivers.len());
            assert_eq!(*sender.borrow(), value);
        }
    }
    format!("watches {} {}", changes.min(9), receivers.len())
}

/// A barrier for one and one for two, a group, and what happens once.
fn gatherings(bytes: &mut Bytes) -> String {
    let (lone, pair) = (Barrier::new(1), Barrier::new(2));
    let (mut group, mut members) = (Some(WaitGroup::new()), Vec::new());
    let (mut once, mut lock) = (Once::new(), OnceLock::new());
    // Of the `Once`: what has happened, if anything, and whether it went wrong last.
    let (mut happened, mut poisoned, mut first) = (false, false, None);
    let mut turns = [0; 3];
    while let Some(byte) = bytes.0.pop_front() {
        let n = usize::from(byte >> 4);
        match byte % 10 {
            0 => assert!(lone.try_wait().is_some_and(|result| result.is_leader())),
            1 => assert!(in_time(false, || lone.wait_timeout(TICK)).is_some()),
            2 => assert!(pair.try_wait().is_none()),
            3 => assert!(in_time(true, || pair.wait_timeout(TICK)).is_none()),
            4 => members.extend(group.clone()),
            5 => drop(members.pop()),
            6 | 7 => {
                let whole = group.take().unwrap();
                let alone = members.is_empty();
                let left = match byte % 10 {
                    6 => whole.try_wait(),
                    _ => in_time(!alone, || whole.wait_timeout(TICK)),
                };
                assert_eq!(left.is_ok(), alone);
                turns[0] += usize::from(alone);
                group = left.err().or_else(|| Some(WaitGroup::new()));
            }
            8 => match n % 6 {
                0 => (once, happened, poisoned) = (Once::new(), false, false),
                1 => {
                    let called = quietly(|| once.call_once(panic_quietly));
                    assert_eq!(called.is_ok(), happened);
                    poisoned |= !happened;
                }
                2 => {
                    let mut called = false;
                    once.call_once_force(|state| {
                        assert_eq!(state.is_poisoned(), poisoned);
                        called = true;
                    });
                    assert_eq!(called, !happened);
                    (happened, poisoned) = (true, false);
                    turns[1] += usize::from(called);
                }
                3 if !poisoned => {
                    let waits = !happened;
                    assert_eq!(in_time(waits, || once.wait_timeout(TICK)), happened);
                }
                4 => {
                    let waits = !happened;
                    assert_eq!(in_time(waits, || once.wait_force_timeout(TICK)), happened);
                }
                _ if !poisoned => {
                    let mut called = false;
                    once.call_once(|| called = true);
                    assert_eq!(called, !happened);
                    happened = true;
                }
                _ => {}
            },
            _ => match n % 4 {
                0 => {
                    assert_eq!(lock.take(), first.take());
                }
                1 => assert_eq!(lock.set(n).is_ok(), first.is_none()),
                2 => assert_eq!(*lock.get_or_init(|| n), first.unwrap_or(n)),
                _ => assert_eq!(
                    in_time(first.is_none(), || lock.wait_timeout(TICK).copied()),
                    first
                ),
            },
        }
        if byte % 10 == 9 && [1, 2].contains(&(n % 4)) {
            turns[2] += usize::from(first.is_none());
            first.get_or_insert(n);
        }
        assert_eq!(once.is_completed(), happened);
        assert_eq!(lock.get(), first.as_ref());
    }
    let [left, forced, set] = turns.map(|n| n.min(3));
    format!("gatherings {left} {forced} {set}")
}

fn quietly<R>(f: impl FnOnce() -> R) -> Result<R, ()> {
    catch_unwind(AssertUnwindSafe(f)).map_err(drop)
}

/// Without a word on standard error.
fn panic_quietly() {
    resume_unwind(Box::new(()))
}
