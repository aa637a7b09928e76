//! Tasks in channels: a future that is dropped loses no message and keeps none.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use lisle_lwp::explore::{model, outcomes};
use lisle_lwp::shim::{AtomicUsize, Ordering};
use lisle_runtime::thread::{self, Thread, spawn};

use super::channel::{KINDS, Message, all, make, message, number, preemptions, send_all};
use crate::channel::{Receiver, bounded, select_biased};

/// Unparks the thread that polls.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on the calling thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll(future.as_mut(), &waker) {
            return output;
        }
        assert!(thread::park(), "nobody cancels");
    }
}

pub(super) fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn send_against_recv_async() {
    for kind in KINDS {
        model(Some(2), move || {
            let (sender, receiver) = make(kind);
            let thread = spawn(move || send_all(&sender, 1..=2));
            for n in 1..=2 {
                let received = block_on(receiver.recv_async());
                assert_eq!(received.map(number), Ok(n));
            }
            assert!(block_on(receiver.recv_async()).is_err());
            thread.join().unwrap();
        });
    }
}

#[test]
fn send_async_against_recv() {
    for kind in [Some(1), Some(0)] {
        model(preemptions(kind, 3), move || {
            let (sender, receiver) = make(kind);
            let thread = spawn(move || {
                for n in 1..=2 {
                    assert!(block_on(sender.send_async(message(n))).is_ok());
                }
            });
            assert_eq!(all(&receiver), [1, 2]);
            thread.join().unwrap();
        });
    }
}

/// What a dropped future was promised goes to the thread that waits.
#[test]
fn dropped_receive_against_send() {
    for kind in KINDS {
        model(preemptions(kind, 2), move || {
            let (sender, receiver) = make(kind);
            let other = receiver.clone();
            let waiter = spawn(move || other.recv().map(number));
            let sending = spawn(move || {
                send_all(&sender, [1]);
                sender
            });
            {
                let mut future = pin!(receiver.recv_async());
                if let Poll::Ready(received) = poll(future.as_mut(), Waker::noop()) {
                    // The waiter gets another one.
                    let sender = sending.join().unwrap();
                    assert_eq!(received.map(number), Ok(1));
                    send_all(&sender, [1]);
                    assert_eq!(waiter.join().unwrap(), Ok(1));
                    return;
                }
            }
            assert_eq!(waiter.join().unwrap(), Ok(1));
            let _sender = sending.join().unwrap();
        });
    }
}

/// A future that met a selecting sender is dropped: the sender finds somebody
/// else.
#[test]
fn dropped_receive_against_selected_send() {
    model(Some(3), || {
        let (sender, receiver) = bounded(0);
        let sending = spawn(move || {
            select_biased! { send(sender, message(1)) -> sent => assert!(sent.is_ok()) }
        });
        let received = {
            let mut future = pin!(receiver.recv_async());
            poll(future.as_mut(), Waker::noop())
        };
        let received = match received {
            Poll::Ready(received) => received,
            Poll::Pending => receiver.recv(),
        };
        assert_eq!(received.map(number), Ok(1));
        sending.join().unwrap();
    });
}

/// A future that is dropped while it waits has sent its message or takes it
/// along.
#[test]
fn dropped_send_against_recv() {
    let seen = outcomes(Some(3), || {
        let (sender, receiver) = bounded(0);
        let receiving = spawn(move || receiver.try_recv().map(number).is_ok());
        let sent = {
            let mut future = pin!(sender.send_async(message(1)));
            let mut ready = poll(future.as_mut(), Waker::noop());
            if ready.is_pending() {
                ready = poll(future.as_mut(), Waker::noop());
            }
            matches!(ready, Poll::Ready(Ok(())))
        };
        let received = receiving.join().unwrap();
        assert!(received || !sent);
        received
    });
    assert_eq!(seen.len(), 2);
}

/// A receive that waits, to be dropped anywhere.
fn offer(receiver: &Receiver<Message>) -> Pin<Box<impl Future + Send + use<>>> {
    let receiver = receiver.clone();
    let mut offer = Box::pin(async move { receiver.recv_async().await });
    assert!(poll(offer.as_mut(), Waker::noop()).is_pending());
    offer
}

/// Two futures that wait are dropped while a send takes one of them for its receiver:
/// the message stays, nothing else does.
#[test]
fn two_dropped_receives_against_send() {
    for kind in KINDS {
        let seen = outcomes(preemptions(kind, 3), move || {
            let (sender, receiver) = make(kind);
            let dropping = [(); 2].map(|()| {
                let offer = offer(&receiver);
                spawn(move || drop(offer))
            });
            let sent = sender.try_send(message(1)).is_ok();
            dropping
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert_eq!(receiver.try_recv().map(number).ok(), sent.then_some(1));
            let next = sender.try_send(message(2)).is_ok();
            assert_eq!(next, kind != Some(0), "nobody waits");
            sent
        });
        assert!(seen.contains(&true));
        assert_eq!(seen.len(), if kind == Some(0) { 2 } else { 1 });
    }
}

/// Two futures that were promised a message each are dropped while somebody waits for
/// one: each comes once, and in their order if both are back.
#[test]
fn two_dropped_promises_against_recv() {
    for kind in [None, Some(2), Some(0)] {
        let seen = outcomes(preemptions(kind, 3), move || {
            let (sender, receiver) = make(kind);
            let promised = [(); 2].map(|()| offer(&receiver));
            send_all(&sender, 1..=2);
            let back = Arc::new(AtomicUsize::new(0));
            let dropping = promised.map(|promised| {
                let back = back.clone();
                spawn(move || {
                    drop(promised);
                    // Release: pairs with the Acquire below.
                    back.fetch_add(1, Ordering::Release);
                })
            });
            let both = back.load(Ordering::Acquire) == 2;
            let first = receiver.recv().map(number).unwrap();
            assert!(first == 1 || !both);
            dropping
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            assert_eq!(receiver.try_recv().map(number).ok(), Some(3 - first));
            (both, first)
        });
        let expected = [(false, 1), (false, 2), (true, 1)];
        assert_eq!(Vec::from_iter(seen), expected, "{kind:?}");
    }
}
