//! Tasks in channels: a future that is dropped loses no message and keeps none.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use lisle_lwp::explore::{model, outcomes};
use lisle_runtime::thread::{self, Thread, spawn};

use super::channel::{KINDS, all, make, message, number, preemptions, send_all};
use crate::channel::{bounded, select_biased};

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
