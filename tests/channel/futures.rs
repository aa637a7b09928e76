//! Async tasks share channels with threads.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use lisle::channel::{RecvError, after, bounded, select, unbounded};
use lisle::thread::{self, State, Thread, ThreadInfo};

use super::support::{Log, alone, child, end, on, runtime, until, watchdog};
use super::{FLAVOURS, LONG, TICK, channel, under_seeds};

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
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future>(future: Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
    let waker = Waker::from(count.clone());
    future.poll(&mut Context::from_waker(&waker))
}

#[test]
fn tasks_and_threads_share_a_channel_under_seeds() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let senders: Vec<_> = (0..4_u32)
                .map(|n| {
                    let sender = sender.clone();
                    child(move || {
                        for i in 0..4 {
                            let message = n * 4 + i;
                            if n % 2 == 0 {
                                block_on(sender.send_async(message)).unwrap();
                            } else {
                                sender.send(message).unwrap();
                            }
                        }
                    })
                })
                .collect();
            drop(sender);
            let log = Log::new();
            let receivers: Vec<_> = (0..3)
                .map(|n| {
                    let (receiver, log) = (receiver.clone(), log.clone());
                    child(move || {
                        loop {
                            let message = match n {
                                0 => block_on(receiver.recv_async()),
                                1 => receiver.recv(),
                                _ => select! { recv(receiver) -> message => message },
                            };
                            let Ok(message) = message else { break };
                            log.note(message);
                        }
                    })
                })
                .collect();
            senders
                .into_iter()
                .chain(receivers)
                .for_each(|t| t.join().unwrap());
            let mut got = log.take();
            got.sort_unstable();
            assert!(got.into_iter().eq(0..16));
        });
    }
}

#[test]
fn a_dropped_receive_loses_no_message() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let count = Arc::new(Count::default());
        let mut first = Box::pin(receiver.recv_async());
        let mut second = Box::pin(receiver.recv_async());
        assert!(poll(first.as_mut(), &count).is_pending());
        sender.try_send(1).unwrap();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(receiver.is_empty(), "it is promised");
        assert!(poll(second.as_mut(), &count).is_pending());
        drop(second);
        drop(first);
        // Both are gone.
        assert_eq!(receiver.try_recv(), Ok(1));
    }
}

#[test]
fn a_promise_given_up_goes_to_the_next() {
    let _dog = watchdog();
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let (first_count, second_count) = (Arc::default(), Arc::default());
        let mut first = Box::pin(receiver.recv_async());
        let mut second = Box::pin(receiver.recv_async());
        assert!(poll(first.as_mut(), &first_count).is_pending());
        assert!(poll(second.as_mut(), &second_count).is_pending());
        sender.try_send(1).unwrap();
        assert_eq!(second_count.0.load(Ordering::Relaxed), 0);
        drop(first);
        assert_eq!(second_count.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(second.as_mut(), &second_count), Poll::Ready(Ok(1)));
    }
}

#[test]
fn a_dropped_send_takes_its_message_along() {
    let _dog = watchdog();
    for capacity in [0, 1] {
        let (sender, receiver) = bounded(capacity);
        (0..capacity).for_each(|n| sender.send(Arc::new(n)).unwrap());
        let message = Arc::new(7);
        let mut future = Box::pin(sender.send_async(message.clone()));
        let count = Arc::default();
        assert!(poll(future.as_mut(), &count).is_pending());
        drop(future);
        assert_eq!(Arc::strong_count(&message), 1);
        assert_eq!(receiver.try_iter().count(), capacity);

        let mut future = Box::pin(sender.send_async(message.clone()));
        if capacity > 0 {
            sender.send(Arc::new(0)).unwrap();
        }
        assert!(poll(future.as_mut(), &count).is_pending());
        assert_eq!(receiver.try_iter().count(), capacity + 1);
        assert_eq!(poll(future.as_mut(), &count), Poll::Ready(Ok(())));
    }
}

#[test]
fn tasks_hear_of_a_disconnect() {
    let count = Arc::default();
    let (sender, receiver) = unbounded::<u8>();
    let other = receiver.clone();
    let mut futures = [&receiver, &other].map(|r| Box::pin(r.recv_async()));
    for future in &mut futures {
        assert!(poll(future.as_mut(), &count).is_pending());
    }
    drop(sender);
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    for future in &mut futures {
        assert_eq!(poll(future.as_mut(), &count), Poll::Ready(Err(RecvError)));
    }
    drop(futures);

    let (sender, receiver) = bounded(0);
    let mut future = Box::pin(sender.send_async(3));
    assert!(poll(future.as_mut(), &count).is_pending());
    drop(receiver);
    assert!(matches!(poll(future.as_mut(), &count), Poll::Ready(Err(error)) if error.0 == 3));
}

#[test]
fn a_task_that_is_polled_again_keeps_its_place() {
    let count = Arc::default();
    let (sender, receiver) = unbounded();
    let mut first = Box::pin(receiver.recv_async());
    let mut second = Box::pin(receiver.recv_async());
    assert!(poll(first.as_mut(), &count).is_pending());
    assert!(poll(second.as_mut(), &count).is_pending());
    let latest = Arc::new(Count::default());
    assert!(poll(first.as_mut(), &latest).is_pending());
    sender.send(1).unwrap();
    assert_eq!(latest.0.load(Ordering::Relaxed), 1, "the latest waker");
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    assert_eq!(poll(first.as_mut(), &latest), Poll::Ready(Ok(1)));
}

#[test]
fn a_task_meets_a_selecting_sender() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (sender, receiver) = bounded(0);
    let task = on(&rt, move || block_on(receiver.recv_async()));
    let selecting = on(&rt, move || select! { send(sender, 5) -> sent => sent });
    selecting.join().unwrap().unwrap();
    assert_eq!(task.join().unwrap(), Ok(5));
    end(rt);
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker panics");
    }
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    let (sender, receiver) = unbounded();
    let waker = Waker::from(Arc::new(Panics));
    let mut future = Box::pin(receiver.recv_async());
    let mut context = Context::from_waker(&waker);
    assert!(future.as_mut().poll(&mut context).is_pending());
    sender.send(1).unwrap();
    assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(Ok(1)));
}

#[test]
fn a_task_waits_for_a_timer() {
    let _dog = watchdog();
    assert!(block_on(after(TICK).recv_async()).is_ok());
}

fn sleepers() -> usize {
    let sleeps = |info: &ThreadInfo| matches!(info.state, State::Waiting { reason, .. } if reason == "sleep");
    thread::list().iter().filter(|info| sleeps(info)).count()
}

/// However often it is polled, a future has one thread sleep; and none once it is gone.
#[test]
fn a_dropped_wait_for_a_timer_leaves_no_thread() {
    let _dog = watchdog();
    alone(
        "futures::a_dropped_wait_for_a_timer_leaves_no_thread",
        || {
            let timer = after(LONG);
            let count = Arc::new(Count::default());
            let mut future = Box::pin(timer.recv_async());
            for _ in 0..3 {
                assert!(poll(future.as_mut(), &count).is_pending());
            }
            until(|| sleepers() == 1);
            drop(future);
            until(|| sleepers() == 0);
            assert_eq!(count.0.load(Ordering::SeqCst), 0, "nothing was due");
        },
    );
}

/// Messages that were promised and come back stand where they stood before.
#[test]
fn messages_come_back_in_their_order() {
    let _dog = watchdog();
    for flavour in [None, Some(3), Some(100)] {
        for first in [0, 1, 2] {
            let (sender, receiver) = channel(flavour);
            let count = Arc::new(Count::default());
            let mut tasks: Vec<_> = (0..3).map(|_| Box::pin(receiver.recv_async())).collect();
            for task in &mut tasks {
                assert!(poll(task.as_mut(), &count).is_pending());
            }
            (0..3).for_each(|n| sender.send(n).unwrap());
            tasks.rotate_left(first);
            drop(tasks);
            assert!(
                (0..3).map(|_| receiver.recv().unwrap()).eq(0..3),
                "{flavour:?}"
            );
        }
    }
}
