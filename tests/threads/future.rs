//! `JoinHandle` as a future.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use lisle::thread::{self, Thread};

use crate::support::{end, on, runtime, until, until_waiting, watchdog};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until ready, parking in between; works on any kind of thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<T>(handle: &mut thread::JoinHandle<T>, count: &Arc<Count>) -> Poll<std::thread::Result<T>> {
    let waker = Waker::from(count.clone());
    pin!(handle).poll(&mut Context::from_waker(&waker))
}

#[test]
fn awaiting_gives_the_result_on_every_kind_of_thread() {
    let _dog = watchdog();
    let rt = runtime(2);
    let wait = |n: u64| {
        on(&rt, move || {
            thread::park();
            n
        })
    };
    let waits: Vec<_> = (0..3).map(wait).collect();
    let targets: Vec<_> = waits.iter().map(|w| w.thread().clone()).collect();
    let mut waits = waits.into_iter();
    let mut next = || waits.next().unwrap();
    let (a, b, c) = (next(), next(), next());
    let outside = std::thread::spawn(move || block_on(a).unwrap());
    let inside = on(&rt, move || block_on(b).unwrap());
    let bound = thread::Builder::new().bound();
    let bound = bound.spawn(move || block_on(c).unwrap()).unwrap();
    targets.iter().for_each(Thread::unpark);
    assert_eq!(outside.join().unwrap(), 0);
    assert_eq!(inside.join().unwrap(), 1);
    assert_eq!(bound.join().unwrap(), 2);
    end(rt);
}

#[test]
fn awaiting_gives_the_panic() {
    let _dog = watchdog();
    let rt = runtime(1);
    let handle = on(&rt, || std::panic::resume_unwind(Box::new(5u8)));
    let outcome: std::thread::Result<()> = block_on(handle);
    assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&5u8));
    end(rt);
}

/// Only the waker of the last poll is woken, once.
#[test]
fn the_last_waker_counts() {
    let _dog = watchdog();
    let rt = runtime(1);
    let mut handle = on(&rt, thread::park);
    let id = handle.thread().id();
    let (old, new) = (Arc::<Count>::default(), Arc::<Count>::default());
    assert!(poll(&mut handle, &old).is_pending());
    assert!(poll(&mut handle, &new).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    handle.thread().unpark();
    until(|| new.0.load(Ordering::SeqCst) == 1);
    assert!(matches!(poll(&mut handle, &new), Poll::Ready(Ok(()))));
    assert_eq!(old.0.load(Ordering::SeqCst), 0);
    // The handle still names the thread, however many have come since.
    let others: Vec<_> = (0..100).map(|_| on(&rt, thread::park)).collect();
    assert_eq!(handle.thread().id(), id);
    assert!(handle.is_finished());
    for other in others {
        other.thread().unpark();
        other.join().unwrap();
    }
    drop(handle);
    end(rt);
    assert_eq!(Arc::strong_count(&new), 1);
}

#[test]
fn a_polled_handle_can_be_joined_or_dropped() {
    let _dog = watchdog();
    let rt = runtime(1);
    let count = Arc::<Count>::default();
    let mut joined = on(&rt, || {
        thread::park();
        9
    });
    assert!(poll(&mut joined, &count).is_pending());
    let target = joined.thread().clone();
    // The joiner waits by itself; it does not rely on the waker.
    let joiner = on(&rt, move || joined.join().unwrap());
    until_waiting(joiner.thread(), "join of thread");
    target.unpark();
    assert_eq!(joiner.join().unwrap(), 9);
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    let mut dropped = on(&rt, thread::park);
    assert!(poll(&mut dropped, &count).is_pending());
    let thread = dropped.thread().clone();
    drop(dropped);
    thread.unpark();
    end(rt);
    assert_eq!(Arc::strong_count(&count), 1);
}

/// The result is moved out once, whatever safe code does with the handle.
#[test]
fn a_result_taken_by_polling_cannot_be_taken_again() {
    let _dog = watchdog();
    let rt = runtime(1);
    let count = Arc::<Count>::default();
    let finished = |n: usize| {
        let handle = on(&rt, move || Arc::new(n));
        until(|| handle.is_finished());
        handle
    };
    let mut joined = finished(1);
    let Poll::Ready(Ok(result)) = poll(&mut joined, &count) else {
        panic!("it has finished")
    };
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| joined.join()));
    assert!(again.is_err(), "the result was taken twice");
    assert_eq!(Arc::strong_count(&result), 1);
    let mut polled = finished(2);
    assert!(poll(&mut polled, &count).is_ready());
    let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = poll(&mut polled, &count);
    }));
    assert!(again.is_err(), "the result was taken twice");
    drop(polled);
    end(rt);
}
