//! oneshot, broadcast and watch, which wait on one kind of signal.

use std::sync::Arc;

use lisle_lwp::explore::{Data, model, outcomes};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::channel::{message, number};
use super::task::block_on;
use super::unless_cancelled;
use crate::channel::{RecvError, broadcast, oneshot, watch};

#[test]
fn oneshot_send_against_recv() {
    model(Some(4), || {
        let (sender, receiver) = oneshot::channel();
        let thread = spawn(move || assert!(sender.send(message(1)).is_ok()));
        assert_eq!(receiver.recv().map(number), Ok(1));
        thread.join().unwrap();
    });
}

#[test]
fn oneshot_send_against_await() {
    model(Some(4), || {
        let (sender, receiver) = oneshot::channel();
        let thread = spawn(move || assert!(sender.send(message(1)).is_ok()));
        assert_eq!(block_on(receiver).map(number), Ok(1));
        thread.join().unwrap();
    });
}

#[test]
fn oneshot_drop_against_recv() {
    model(Some(4), || {
        let (sender, receiver) = oneshot::channel::<u8>();
        let thread = spawn(move || drop(sender));
        assert_eq!(receiver.recv(), Err(RecvError));
        thread.join().unwrap();
    });
}

#[test]
fn oneshot_send_against_timeout() {
    let seen = outcomes(Some(4), || {
        let (sender, mut receiver) = oneshot::channel();
        let thread = spawn(move || assert!(sender.send(message(1)).is_ok()));
        let got = receiver.recv_deadline(time::now()).map(number).ok();
        thread.join().unwrap();
        let left = receiver.try_recv().map(number).ok();
        assert!(got.is_none() || left.is_none());
        assert_eq!(got.or(left), Some(1));
        got
    });
    assert_eq!(seen.len(), 2);
}

/// The message is handed back or dropped, and the sender knows which.
#[test]
fn oneshot_send_against_drop() {
    let seen = outcomes(Some(4), || {
        let (sender, receiver) = oneshot::channel();
        let thread = spawn(move || drop(receiver));
        let sent = match sender.send(message(1)) {
            Ok(()) => true,
            Err(back) => number(back) != 1,
        };
        thread.join().unwrap();
        sent
    });
    assert_eq!(seen.len(), 2);
}

/// What has been sent before the close can be received, and nothing is sent after it.
#[test]
fn oneshot_send_against_close() {
    let seen = outcomes(Some(4), || {
        let (sender, mut receiver) = oneshot::channel();
        let thread = spawn(move || sender.send(message(1)).map_err(number));
        receiver.close();
        let got = receiver.try_recv().map(number).ok();
        assert_eq!(thread.join().unwrap(), got.map(drop).ok_or(1));
        assert!(receiver.try_recv().is_err());
        got
    });
    assert_eq!(Vec::from_iter(seen), [None, Some(1)]);
}

#[test]
fn watch_send_against_changed() {
    model(Some(3), || {
        let (sender, mut receiver) = watch::channel(0);
        let thread = spawn(move || {
            sender.send_replace(1);
            sender
        });
        assert_eq!(receiver.changed(), Ok(()));
        assert_eq!(*receiver.borrow_and_update(), 1);
        drop(thread.join().unwrap());
        assert_eq!(receiver.changed(), Err(RecvError));
    });
}

/// A thread and a task wait for the same change.
#[test]
fn watch_send_against_thread_and_task() {
    model(Some(2), || {
        let (sender, mut receiver) = watch::channel(0);
        let mut other = receiver.clone();
        // An end of either would be another change.
        let task = spawn(move || {
            assert_eq!(block_on(other.changed_async()), Ok(()));
            other
        });
        let thread = spawn(move || {
            sender.send_replace(1);
            sender
        });
        assert_eq!(receiver.changed(), Ok(()));
        let _ends = (thread.join().unwrap(), task.join().unwrap());
    });
}

/// Who looks and who changes exclude each other.
#[test]
fn watch_borrow_against_send() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver) = watch::channel(Data::new());
        let thread = spawn(move || sender.send_modify(|value| value.add_one()));
        let value = receiver.borrow();
        let seen = value.get();
        drop(value);
        thread.join().unwrap();
        assert_eq!(receiver.borrow().get(), 1);
        seen
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

#[test]
fn watch_send_against_cancel() {
    let seen = outcomes(Some(1), || {
        let (sender, mut receiver) = watch::channel(0);
        let this = thread::current();
        let canceller = spawn(move || this.cancel());
        let sending = spawn(move || sender.send_replace(1));
        let changed = unless_cancelled(|| receiver.changed()).is_some();
        canceller.join().unwrap();
        sending.join().unwrap();
        changed
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn broadcast_send_against_recv() {
    model(Some(1), || {
        let (sender, mut first) = broadcast::channel(2);
        let mut second = sender.subscribe();
        let thread = spawn(move || {
            for n in 1..=2 {
                assert_eq!(sender.send(n), Ok(2));
            }
        });
        let other = spawn(move || [second.recv(), second.recv(), second.recv()]);
        let got = [first.recv(), first.recv(), first.recv()];
        let all = [Ok(1), Ok(2), Err(broadcast::RecvError::Closed)];
        assert_eq!((got, other.join().unwrap()), (all, all));
        thread.join().unwrap();
    });
}

/// Whoever is too slow misses the oldest, is told how many those were, and gets the rest.
#[test]
fn broadcast_lag_against_recv() {
    let seen = outcomes(Some(3), || {
        let (sender, mut receiver) = broadcast::channel(1);
        let thread = spawn(move || {
            for n in 1..=2 {
                assert_eq!(sender.send(n), Ok(1));
            }
        });
        let first = receiver.recv();
        assert_eq!(receiver.recv(), Ok(2));
        assert_eq!(receiver.recv(), Err(broadcast::RecvError::Closed));
        thread.join().unwrap();
        match first {
            Ok(n) => (n, 0),
            Err(broadcast::RecvError::Lagged(missed)) => (0, missed),
            Err(broadcast::RecvError::Closed) => panic!("two were sent"),
        }
    });
    assert_eq!(Vec::from_iter(seen), [(0, 1), (1, 0)]);
}

/// Who leaves takes part in what it has not received, and in nothing else.
#[test]
fn broadcast_leave_against_recv() {
    for taken in [0, 1] {
        model(Some(2), move || {
            let (sender, mut first) = broadcast::channel(2);
            let mut second = sender.subscribe();
            for n in 1..=2 {
                assert_eq!(sender.send(Arc::new(message(n))).ok(), Some(2));
            }
            let thread = spawn(move || {
                for _ in 0..taken {
                    assert!(second.recv().is_ok());
                }
            });
            for n in 1..=2 {
                let got = Arc::into_inner(first.recv().expect("there is one"));
                // The other has it, or will have.
                assert!(got.is_none_or(|got| number(got) == n));
            }
            thread.join().unwrap();
            assert!(sender.is_empty());
        });
    }
}

#[test]
fn broadcast_leave_against_send() {
    let seen = outcomes(Some(3), || {
        let (sender, mut first) = broadcast::channel(1);
        let second = sender.subscribe();
        let thread = spawn(move || drop(second));
        let told = sender.send(1).expect("there is a receiver");
        assert_eq!(first.recv(), Ok(1));
        thread.join().unwrap();
        assert!(sender.is_empty());
        told
    });
    assert_eq!(Vec::from_iter(seen), [1, 2]);
}

#[test]
fn broadcast_close_against_recv() {
    model(Some(4), || {
        let (sender, mut receiver) = broadcast::channel::<u8>(1);
        let thread = spawn(move || drop(sender));
        assert_eq!(receiver.recv(), Err(broadcast::RecvError::Closed));
        thread.join().unwrap();
    });
}

#[test]
fn broadcast_leave_against_closed() {
    model(Some(4), || {
        let (sender, receiver) = broadcast::channel::<u8>(1);
        let thread = spawn(move || drop(receiver));
        sender.closed();
        assert!(sender.send(1).is_err());
        thread.join().unwrap();
    });
}
