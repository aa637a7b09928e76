//! Futures on user threads: `block_on`, wakers, other people's async types.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::future::{Future, pending, poll_fn};
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use lisle::future::{AsyncStream, Elapsed, block_on, block_on_deadline};
use lisle::net::{TcpListener, TcpStream};
use lisle::os::unix::net::UnixStream;
use lisle::{cancel, thread};

use support::{child, end, many, on, runtime, until_waiting, watchdog};

/// Pending until it has been polled `polls` times; hands its waker out each time.
fn handing_out(polls: usize, mut hand: impl FnMut(Waker)) -> impl Future<Output = usize> {
    let mut polled = 0;
    poll_fn(move |context| {
        polled += 1;
        if polled == polls {
            return Poll::Ready(polled);
        }
        hand(context.waker().clone());
        Poll::Pending
    })
}

/// However long it is pending, it is polled once, and once for each wake.
#[test]
fn a_pending_future_is_polled_when_woken_and_not_before() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (wakers, handed) = channel();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    let blocked = on(&rt, move || {
        block_on(handing_out(3, |waker| {
            counted.fetch_add(1, Ordering::SeqCst);
            wakers.send(waker).unwrap();
        }))
    });
    for expected in 1..3 {
        let waker: Waker = handed.recv().unwrap();
        until_waiting(blocked.thread(), "future");
        // Others run, tokens come, time passes: no reason to poll.
        blocked.thread().unpark();
        on(&rt, thread::yield_now).join().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        until_waiting(blocked.thread(), "future");
        assert_eq!(polls.load(Ordering::SeqCst), expected);
        waker.wake();
    }
    assert_eq!(blocked.join().unwrap(), 3);
    end(rt);
}

#[test]
fn wakers_work_from_anywhere() {
    let _dog = watchdog();
    let rt = runtime(2);
    let other = runtime(1);
    let wake_from: [&(dyn Fn(Waker) + Sync); 5] = [
        &|waker| waker.wake(),
        &|waker| drop(child(move || waker.wake())),
        &|waker| drop(std::thread::spawn(move || waker.wake())),
        &|waker| drop(thread::Builder::new().bound().spawn(move || waker.wake())),
        // By reference, twice, and from another runtime.
        &|waker| {
            drop(on(&other, move || {
                waker.wake_by_ref();
                waker.wake_by_ref();
            }))
        },
    ];
    std::thread::scope(|scope| {
        for wake in wake_from {
            let rt = &rt;
            scope.spawn(move || {
                // On a plain kernel thread,
                assert_eq!(block_on(handing_out(20, wake)), 20);
                // on light ones, with the waker's deed done by a kernel thread,
                let (wakers, handed) = channel::<Waker>();
                let light = on(rt, move || {
                    block_on(handing_out(50, |waker| wakers.send(waker).unwrap()))
                });
                handed.into_iter().for_each(wake);
                assert_eq!(light.join().unwrap(), 50);
            });
        }
    });
    end(rt);
    end(other);
}

/// Wakes that race with polls are neither lost nor counted twice.
#[test]
fn wakes_from_many_threads_at_once() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(300);
    let blocked = on(&rt, move || {
        for _ in 0..rounds {
            let done = Arc::new(AtomicUsize::new(0));
            let mut started = false;
            block_on(poll_fn(|context| {
                if !started {
                    started = true;
                    for _ in 0..4 {
                        let (waker, done) = (context.waker().clone(), done.clone());
                        child(move || {
                            done.fetch_add(1, Ordering::Release);
                            waker.wake();
                        });
                    }
                }
                match done.load(Ordering::Acquire) {
                    4 => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            }));
        }
    });
    blocked.join().unwrap();
    end(rt);
}

#[test]
fn deadlines_and_cancels_drop_the_future() {
    struct Dropped(std::sync::mpsc::Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let _dog = watchdog();
    let rt = runtime(1);
    let soon = || Instant::now() + Duration::from_millis(2);
    let (sender, dropped) = channel();
    let late = on(&rt, move || {
        let guard = Dropped(sender);
        block_on_deadline(
            async move {
                let _guard = guard;
                pending::<()>().await;
            },
            soon(),
        )
    });
    assert!(matches!(late.join().unwrap(), Err(Elapsed { .. })));
    dropped.recv().unwrap();
    assert_eq!(block_on_deadline(async { 5 }, soon()), Ok(5));

    let (sender, dropped) = channel();
    let blocked = on(&rt, move || {
        let guard = Dropped(sender);
        block_on(async move {
            let _guard = guard;
            pending::<()>().await;
        })
    });
    until_waiting(blocked.thread(), "future");
    blocked.thread().cancel();
    let payload = blocked.join().unwrap_err();
    assert!(payload.is::<cancel::Cancelled>());
    dropped.recv().unwrap();
    end(rt);
}

#[test]
fn block_on_in_block_on() {
    let _dog = watchdog();
    let rt = runtime(1);
    let sum = on(&rt, || {
        block_on(async {
            let one = child(|| 1).await.unwrap();
            let two = block_on(async { child(|| 2).await.unwrap() });
            let three = child(|| 3).await.unwrap();
            one + two + three
        })
    });
    assert_eq!(sum.join().unwrap(), 6);
    end(rt);
}

/// tokio's channels, locks and notifies need no tokio runtime.
#[test]
fn tokio_sync_between_threads_of_all_kinds() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    let lock = Arc::new(tokio::sync::Mutex::new(0));
    let n = many(200);
    let send = |from: usize| {
        let (sender, lock) = (sender.clone(), lock.clone());
        move || {
            for number in 0..n {
                block_on(sender.send((from, number))).unwrap();
                *block_on(lock.lock()) += 1;
            }
        }
    };
    let light = [on(&rt, send(0)), on(&rt, send(1))];
    let plain = std::thread::spawn(send(2));
    drop(sender);
    let receiver = on(&rt, move || {
        let mut next = [0; 3];
        while let Some((from, number)) = block_on(receiver.recv()) {
            assert_eq!(next[from], number);
            next[from] += 1;
        }
        next
    });
    assert_eq!(receiver.join().unwrap(), [n; 3]);
    light.into_iter().for_each(|l| l.join().unwrap());
    plain.join().unwrap();
    assert_eq!(*lock.blocking_lock(), 3 * n);

    let (sender, receiver) = tokio::sync::oneshot::channel();
    let waiting = on(&rt, move || block_on(receiver));
    until_waiting(waiting.thread(), "future");
    sender.send("once").unwrap();
    assert_eq!(waiting.join().unwrap(), Ok("once"));
    end(rt);
}

/// A future on this side, a task of tokio's runtime on the other.
#[test]
fn a_task_of_tokio_answers() {
    let _dog = watchdog();
    let rt = runtime(1);
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let (questions, mut asked) =
        tokio::sync::mpsc::unbounded_channel::<(u32, tokio::sync::oneshot::Sender<u32>)>();
    let task = tokio.spawn(async move {
        while let Some((number, answer)) = asked.recv().await {
            answer.send(number * number).unwrap();
        }
    });
    let asking = on(&rt, move || {
        (0..100)
            .map(|number| {
                let (answer, answered) = tokio::sync::oneshot::channel();
                questions.send((number, answer)).unwrap();
                block_on(answered).unwrap()
            })
            .sum::<u32>()
    });
    assert_eq!(asking.join().unwrap(), (0..100).map(|n| n * n).sum());
    block_on(task).unwrap();
    end(rt);
}

/// One task reads and writes the same stream, both ways at once.
#[test]
fn streams_as_futures() {
    use futures_io::{AsyncRead, AsyncWrite};
    const SIZE: usize = 1 << 20;

    fn copy<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> usize {
        let mut stream = stream;
        let (mut written, mut read) = (0, 0);
        let piece = vec![7; 50_000];
        let mut buffer = vec![0; 50_000];
        block_on(poll_fn(|context| {
            let mut moved = true;
            while moved {
                moved = false;
                if written < SIZE {
                    let left = (SIZE - written).min(piece.len());
                    if let Poll::Ready(n) = pin!(&mut stream).poll_write(context, &piece[..left]) {
                        written += n.unwrap();
                        moved = true;
                        if written == SIZE {
                            assert!(pin!(&mut stream).poll_close(context).is_ready());
                        }
                    }
                }
                match pin!(&mut stream).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(0)) if written == SIZE => return Poll::Ready(read),
                    Poll::Ready(n) => {
                        let n = n.unwrap();
                        moved |= n > 0;
                        read += n;
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        }))
    }

    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        let (left, right) = UnixStream::pair().unwrap();
        let copies = [
            on(&rt, move || copy(AsyncStream::new(near))),
            on(&rt, move || copy(AsyncStream::new(far))),
            on(&rt, move || copy(AsyncStream::new(left))),
            on(&rt, move || copy(AsyncStream::new(right))),
        ];
        for read in copies {
            assert_eq!(read.join().unwrap(), SIZE);
        }
        end(rt);
    }
}

/// A waker that does what a waker should not.
struct Rude {
    deed: fn(),
    woken: Arc<AtomicUsize>,
}

impl std::task::Wake for Rude {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        (self.deed)();
    }
}

struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("again"));
    }
}

/// The runtime calls wakers where it looks for readiness, on its own stack. Whatever they call
/// there, no thread and no LWP comes to harm.
#[test]
fn wakers_may_call_what_kernel_threads_may() {
    let _dog = watchdog();
    const DEEDS: [fn(); 6] = [
        || (0..1000).for_each(|_| thread::yield_now()),
        || thread::sleep(Duration::from_millis(1)),
        || thread::park_timeout(Duration::from_millis(1)),
        || drop(child(thread::yield_now)),
        || assert_eq!(lisle::join(|| 1, || 2), (1, 2)),
        || std::panic::resume_unwind(Box::new(PanicsAgain)),
    ];
    for lwps in 1..3 {
        let rt = runtime(lwps);
        for deed in DEEDS {
            let woken = Arc::new(AtomicUsize::new(0));
            let rude = Waker::from(Arc::new(Rude {
                deed,
                woken: woken.clone(),
            }));
            let ((plain, mut to_plain), (near, mut far)) =
                (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
            let yields = |mut stream: UnixStream| {
                move || {
                    let heard = stream.read(&mut [0]).unwrap();
                    (0..1000).for_each(|_| thread::yield_now());
                    heard
                }
            };
            // In one look at what is ready: first a thread, then the task.
            let ready = on(&rt, yields(plain));
            until_waiting(ready.thread(), "readable descriptor");
            let near = AsyncStream::new(near);
            let reader = on(&rt, move || {
                let mut context = std::task::Context::from_waker(&rude);
                let mut byte = [0];
                assert!(near.poll_read(&mut context, &mut byte).is_pending());
                to_plain.write_all(b"!").unwrap();
                far.write_all(b"!").unwrap();
                while woken.load(Ordering::SeqCst) == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                (0..1000).for_each(|_| thread::yield_now());
                near.poll_read(&mut context, &mut byte).is_ready()
            });
            assert!(reader.join().unwrap());
            assert_eq!(ready.join().unwrap(), 1);
        }
        end(rt);
    }
}
