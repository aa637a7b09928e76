//! Select: one wait on several channels, and exactly one operation granted.

use std::sync::Arc;

use lisle_lwp::explore::{model, outcomes};
use lisle_lwp::shim::{AtomicBool, Ordering};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::channel::{KINDS, Message, all, make, message, number, preemptions, send_all};
use super::unless_cancelled;
use crate::channel::{
    Receiver, Select, SelectedOperation, Sender, bounded, select_biased, unbounded,
};

type End = (Sender<Message>, Receiver<Message>);

/// A deadline that has not come when a select looks at the clock, and has when it
/// waits.
fn soon() -> std::time::Instant {
    time::now() + std::time::Duration::from_secs(3600)
}

/// Each message is received once, whichever arm takes it.
#[test]
fn select_against_send() {
    for kind in [None, Some(0)] {
        let seen = outcomes(Some(1), move || {
            let (a, b): (End, End) = (make(kind), make(kind));
            let senders = [(a.0, 1), (b.0, 2)]
                .map(|(sender, number)| spawn(move || send_all(&sender, [number])));
            let first = select_biased! {
                recv(a.1) -> message => number(message.unwrap()),
                recv(b.1) -> message => number(message.unwrap()),
            };
            let rest = if first == 1 { &b.1 } else { &a.1 };
            assert_eq!(all(rest), [3 - first]);
            senders.into_iter().for_each(|t| t.join().unwrap());
            first
        });
        assert_eq!(Vec::from_iter(seen), [1, 2]);
    }
}

/// Both arms become ready between the registration of one and that of the other: the wait has ended for the
/// first, and the second's message stays where it is. That a registration commits needs room for what it is granted,
/// which an earlier select has made.
#[test]
fn select_against_two_sends() {
    for kind in [None, Some(1)] {
        let seen = outcomes(Some(2), move || {
            let (a, b): (End, End) = (make(kind), make(kind));
            send_all(&b.0, [3]);
            select_biased! { recv(b.1) -> message => assert_eq!(number(message.unwrap()), 3) }
            let thread = spawn(move || {
                send_all(&a.0, [1]);
                send_all(&b.0, [2]);
            });
            let first = select_biased! {
                recv(a.1) -> message => number(message.unwrap()),
                recv(b.1) -> message => number(message.unwrap()),
            };
            let rest = if first == 1 { &b.1 } else { &a.1 };
            assert_eq!(all(rest), [3 - first]);
            thread.join().unwrap();
            first
        });
        assert!(seen.contains(&1));
    }
}

/// The message of a selected send is made when somebody waits for it already.
#[test]
fn selected_send_against_recv() {
    for kind in [Some(1), Some(0)] {
        model(Some(2), move || {
            let (sender, receiver) = make(kind);
            let thread = spawn(move || {
                for n in 1..=2 {
                    select_biased! { send(sender, message(n)) -> sent => assert!(sent.is_ok()) }
                }
            });
            assert_eq!(all(&receiver), [1, 2]);
            thread.join().unwrap();
        });
    }
}

/// Both select on both channels: they meet on one of them.
#[test]
fn select_against_select() {
    let seen = outcomes(Some(3), || {
        let (a, b): (End, End) = (bounded(0), bounded(0));
        let theirs = (a.1.clone(), b.0.clone());
        let thread = spawn(move || {
            select_biased! {
                recv(theirs.0) -> message => number(message.unwrap()),
                send(theirs.1, message(2)) -> sent => { assert!(sent.is_ok()); 0 }
            }
        });
        let ours = select_biased! {
            recv(b.1) -> message => number(message.unwrap()),
            send(a.0, message(1)) -> sent => { assert!(sent.is_ok()); 0 }
        };
        let pair = (ours, thread.join().unwrap());
        assert!(pair == (2, 0) || pair == (0, 1));
        pair
    });
    assert_eq!(seen.len(), 2);
}

/// A select that gives up has taken nothing.
#[test]
fn select_timeout_against_send() {
    for kind in [None, Some(1)] {
        let seen = outcomes(Some(3), move || {
            let (a, b): (End, End) = (make(kind), make(kind));
            let thread = spawn(move || {
                send_all(&a.0, [1]);
                a.0
            });
            let mut select = Select::new_biased();
            select.recv(&b.1);
            select.recv(&a.1);
            let got = match select.select_deadline(soon()) {
                Ok(operation) => Some(number(operation.recv(&a.1).unwrap())),
                Err(_) => None,
            };
            let _sender = thread.join().unwrap();
            let left = a.1.try_recv().map(number).ok();
            assert_eq!(got.or(left), Some(1));
            assert!(got.is_none() || left.is_none());
            got
        });
        assert_eq!(seen.len(), 2);
    }
}

#[test]
fn select_cancel_against_send() {
    let seen = outcomes(Some(2), || {
        let (sender, receiver) = unbounded();
        let this = thread::current();
        let sending = spawn(move || {
            send_all(&sender, [1]);
            sender
        });
        let canceller = spawn(move || this.cancel());
        let got = unless_cancelled(|| {
            select_biased! { recv(receiver) -> message => message.unwrap() }
        })
        .map(number);
        let _sender = sending.join().unwrap();
        canceller.join().unwrap();
        let left = receiver.try_recv().map(number).ok();
        assert_eq!(got.or(left), Some(1));
        assert!(got.is_none() || left.is_none());
        got
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn select_against_disconnect() {
    model(Some(3), || {
        let (a, b): (End, End) = (unbounded(), unbounded());
        let thread = spawn(move || drop(a.0));
        let failed = select_biased! {
            recv(a.1) -> message => message.is_err(),
            recv(b.1) -> _ => false,
        };
        assert!(failed);
        thread.join().unwrap();
    });
}

/// Two selects, one message: the other one is not granted anything.
#[test]
fn select_against_recv() {
    for kind in KINDS {
        let seen = outcomes(preemptions(kind, 2), move || {
            let (a, b): (End, End) = (make(kind), make(kind));
            let other = a.1.clone();
            let thread = spawn(move || other.recv().map_or(0, number));
            let sending = spawn(move || {
                send_all(&a.0, [1]);
                drop(a.0);
            });
            let ours = select_biased! {
                recv(a.1) -> message => message.map_or(0, number),
                recv(b.1) -> _ => unreachable!(),
            };
            sending.join().unwrap();
            (ours, thread.join().unwrap())
        });
        assert_eq!(Vec::from_iter(seen), [(0, 1), (1, 0)]);
    }
}

/// A watcher is told of a message and leaves it to others.
#[test]
fn ready_against_send() {
    for kind in KINDS {
        model(Some(3), move || {
            let (sender, receiver) = make(kind);
            let thread = spawn(move || send_all(&sender, [1]));
            let mut select = Select::new_biased();
            select.recv(&receiver);
            assert_eq!(select.ready(), 0);
            assert_eq!(receiver.recv().map(number), Ok(1));
            thread.join().unwrap();
        });
    }
}

/// Whoever selected a receive gets its message without waiting for more.
#[test]
fn promised_message_is_not_taken_by_another() {
    for kind in [None, Some(1)] {
        let seen = outcomes(preemptions(kind, 2), move || {
            let (a, b): (End, End) = (make(kind), make(kind));
            let (first, second) = (a.1.clone(), b.1);
            let selecting = spawn(move || {
                select_biased! {
                    recv(first) -> message => number(message.unwrap()),
                    recv(second) -> message => number(message.unwrap()),
                }
            });
            let receiver = a.1;
            let trying = spawn(move || receiver.try_recv().map(number).is_ok());
            send_all(&a.0, [1]);
            let taken = trying.join().unwrap();
            if taken {
                send_all(&b.0, [2]);
            }
            assert_eq!(selecting.join().unwrap(), 1 + u32::from(taken));
            taken
        });
        assert_eq!(seen.len(), 2);
    }
}

/// Two were promised a message each: places are held for both, also if there was space
/// for one only.
#[test]
fn promise_against_promise() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver): End = unbounded();
        send_all(&sender, 1..=2);
        let select = |receiver: Receiver<Message>| {
            let mut select = Select::new_biased();
            select.recv(&receiver);
            let promised = select.try_select().expect("there are two");
            number(promised.recv(&receiver).unwrap())
        };
        let theirs = receiver.clone();
        let thread = spawn(move || select(theirs));
        let ours = select(receiver);
        let pair = [ours, thread.join().unwrap()];
        drop(sender);
        pair
    });
    assert_eq!(Vec::from_iter(seen), [[1, 2], [2, 1]]);
}

/// Whoever selected a send has room for its message.
#[test]
fn granted_room_is_not_taken_by_another() {
    let seen = outcomes(Some(3), || {
        let (a, b): (End, End) = (bounded(1), bounded(1));
        let (first, second) = (a.0.clone(), b.0);
        let selecting = spawn(move || {
            select_biased! {
                send(first, message(1)) -> sent => assert!(sent.is_ok()),
                send(second, message(2)) -> sent => assert!(sent.is_ok()),
            }
        });
        let tried = a.0.try_send(message(3)).is_ok();
        // Nobody has received anything.
        selecting.join().unwrap();
        let got = [a.1, b.1].map(|receiver| receiver.try_recv().map(number).ok());
        let expected = if tried {
            [Some(3), Some(2)]
        } else {
            [Some(1), None]
        };
        assert_eq!(got, expected);
        tried
    });
    assert_eq!(seen.len(), 2);
}

/// A selecting sender that was met while others had room yet to fill does not
/// overtake them: its message is made later than theirs was sent.
#[test]
fn met_sender_against_granted_room() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver): End = bounded(1);
        let mut sending = Select::new_biased();
        sending.send(&sender);
        let granted = sending.try_select().expect("there is room");
        let sent = Arc::new(AtomicBool::new(false));
        let (theirs, has_sent) = (sender.clone(), sent.clone());
        let thread = spawn(move || {
            // Acquire: pairs with the Release below.
            let made = || message(2 + u32::from(has_sent.load(Ordering::Acquire)));
            select_biased! { send(theirs, made()) -> sent => assert!(sent.is_ok()) }
        });
        let mut receiving = Select::new_biased();
        receiving.recv(&receiver);
        let met = receiving.try_select();
        let has_met = met.is_ok();
        assert!(granted.send(&sender, message(1)).is_ok());
        sent.store(true, Ordering::Release);
        let first = match met {
            Ok(met) => met.recv(&receiver),
            Err(_) => receiver.recv(),
        };
        let got = [first, receiver.recv()].map(|message| number(message.unwrap()));
        thread.join().unwrap();
        assert_ne!(got, [3, 1], "3 was made when 1 had been sent");
        (has_met, got)
    });
    assert!(seen.contains(&(true, [1, 3])));
    assert!(seen.contains(&(false, [1, 3])));
}

/// A select that gives up keeps no room.
#[test]
fn select_send_timeout_against_recv() {
    let seen = outcomes(Some(4), || {
        let (sender, receiver) = bounded(1);
        send_all(&sender, [1]);
        let same = sender.clone();
        let selecting = spawn(move || {
            let mut select = Select::new_biased();
            select.send(&same);
            match select.select_deadline(soon()) {
                Ok(operation) => operation.send(&same, message(2)).is_ok(),
                Err(_) => false,
            }
        });
        assert_eq!(receiver.recv().map(number), Ok(1));
        let sent = selecting.join().unwrap();
        if !sent {
            assert!(sender.try_send(message(2)).is_ok());
        }
        assert_eq!(receiver.try_recv().map(number), Ok(2));
        sent
    });
    assert_eq!(seen.len(), 2);
}

/// A watcher is told of a sender that selects.
#[test]
fn ready_against_select() {
    model(Some(2), || {
        let (sender, receiver) = bounded(0);
        let thread = spawn(move || {
            select_biased! { send(sender, message(1)) -> sent => assert!(sent.is_ok()) }
        });
        let mut select = Select::new_biased();
        select.recv(&receiver);
        assert_eq!(select.ready(), 0);
        assert_eq!(receiver.recv().map(number), Ok(1));
        thread.join().unwrap();
    });
}

/// Room that two were granted and give up goes to a send that waits for it.
#[test]
fn rooms_given_up_against_send() {
    let seen = outcomes(Some(2), || {
        let (sender, receiver): End = make(Some(2));
        let selecting = [(); 2].map(|()| {
            let sender = sender.clone();
            spawn(move || {
                let mut select = Select::new_biased();
                select.send(&sender);
                select.try_select().map(SelectedOperation::give_up).is_ok()
            })
        });
        send_all(&sender, 1..=2);
        let granted = selecting.map(|thread| thread.join().unwrap());
        assert!(sender.try_send(message(3)).is_err(), "it is full");
        drop(sender);
        assert_eq!(all(&receiver), [1, 2]);
        granted.into_iter().filter(|granted| *granted).count()
    });
    assert_eq!(Vec::from_iter(seen), [0, 1, 2]);
}

/// Messages that two were promised and give up are received after all, each once, and
/// in their order by whoever comes when both are back.
#[test]
fn messages_given_up_against_recv() {
    let seen = outcomes(Some(2), || {
        let (sender, receiver): End = unbounded();
        send_all(&sender, 1..=2);
        drop(sender);
        let mut select = Select::new_biased();
        select.recv(&receiver);
        let promised = select.try_select().expect("there are two");
        let [theirs, third] = [(); 2].map(|()| receiver.clone());
        let selecting = spawn(move || {
            let mut select = Select::new_biased();
            select.recv(&theirs);
            let promised = select.try_select();
            if let Ok(promised) = promised {
                promised.give_up();
            }
        });
        let trying = spawn(move || third.try_recv().map(number).ok());
        promised.give_up();
        selecting.join().unwrap();
        let first = trying.join().unwrap();
        match first {
            None => assert_eq!(all(&receiver), [1, 2]),
            Some(first) => assert_eq!(all(&receiver), [3 - first]),
        }
        first
    });
    assert_eq!(Vec::from_iter(seen), [None, Some(1), Some(2)]);
}

/// A receiver meets two senders in turn that give up before they have made their
/// messages: it goes on to the next, and nothing is left of them.
#[test]
fn meetings_given_up_against_recv() {
    let seen = outcomes(Some(1), || {
        let (sender, receiver): End = bounded(0);
        let give_up = |sender: &Sender<Message>| {
            let mut select = Select::new_biased();
            select.send(sender);
            let selected = select.select_deadline(soon());
            selected.map(SelectedOperation::give_up).is_ok()
        };
        let other = sender.clone();
        let one = spawn(move || give_up(&other));
        let two = spawn(move || {
            let met = give_up(&sender);
            send_all(&sender, [1]);
            met
        });
        assert_eq!(receiver.recv().map(number), Ok(1));
        let met = [one, two].map(|thread| thread.join().unwrap());
        assert!(receiver.try_recv().is_err());
        met
    });
    assert_eq!(seen.len(), 4);
}
