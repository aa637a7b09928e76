//! What careless or hostile code does with sockets: nothing of it harms others.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use lisle::cancel::Cancelled;
use lisle::future::AsyncStream;
use lisle::net::TcpStream;
use lisle::os::unix::net::UnixStream;
use lisle::thread;

use super::{LONG, pair};
use crate::support::{Log, child, end, many, on, runtime, until_waiting, watchdog};

/// Numbers of descriptors are used again at once, by streams of other threads, while time-outs,
/// ends and data race with one another. No stream hears what was meant for another one.
#[test]
fn numbers_of_descriptors_used_again_and_again() {
    let _dog = watchdog();
    let rt = runtime(2);
    let visit = |number: usize| {
        move || {
            let mut late = 0;
            for round in 0..many(300) {
                let (near, far) = UnixStream::pair().unwrap();
                let token = (number * 1000 + round).to_ne_bytes();
                let patience = Duration::from_micros(1 + (round % 7 * 40) as u64);
                near.set_read_timeout(Some(patience)).unwrap();
                let partner = child(move || {
                    if round % 3 == 0 {
                        thread::sleep(Duration::from_micros(50));
                    }
                    let _ = (&far).write_all(&token);
                    if round % 5 == 0 {
                        let _ = far.shutdown(Shutdown::Both);
                    }
                });
                let mut heard = [0; 8];
                match (&near).read_exact(&mut heard) {
                    Ok(()) => assert_eq!(heard, token),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        late += 1;
                    }
                }
                drop(near);
                partner.join().unwrap();
            }
            late
        }
    };
    let visitors: Vec<_> = (0..8).map(|number| on(&rt, visit(number))).collect();
    let late = visitors.into_iter().map(|visitor| visitor.join().unwrap());
    assert!(late.sum::<usize>() < 8 * many(300), "none was ever in time");
    end(rt);
}

struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that was told to wait, and is gone: dropped, or forgotten with its stream.
#[test]
fn streams_dropped_or_forgotten_while_a_task_waits() {
    let _dog = watchdog();
    let rt = runtime(1);
    on(&rt, || {
        let counting = Arc::new(Counting(AtomicUsize::new(0)));
        let waker = Waker::from(counting.clone());
        let mut context = Context::from_waker(&waker);
        for forgets in [false, true] {
            let (near, mut far) = UnixStream::pair().unwrap();
            let near = AsyncStream::new(near);
            assert!(near.poll_read(&mut context, &mut [0]).is_pending());
            if forgets {
                std::mem::forget(near);
            } else {
                drop(near);
            }
            let _ = far.write_all(b"!");
            // Whoever gets the slot or the number next hears what is his.
            let (next, mut partner) = UnixStream::pair().unwrap();
            let reader = child(move || {
                let mut byte = [0];
                (&next).read_exact(&mut byte).map(|()| byte[0])
            });
            while !reader.is_finished() {
                let _ = partner.write_all(b"?");
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(reader.join().unwrap().unwrap(), b'?');
        }
        while counting.0.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(counting.0.load(Ordering::SeqCst), 1, "the forgotten one's");
        drop(waker);
        assert_eq!(Arc::strong_count(&counting), 1, "nobody keeps it");
    })
    .join()
    .unwrap();
    end(rt);
}

/// Says goodbye over its stream, and waits for the answer, wherever it is dropped.
struct Polite {
    stream: TcpStream,
    log: Log<u8>,
}

impl Drop for Polite {
    fn drop(&mut self) {
        let mut answer = [0];
        self.stream.write_all(b"bye").unwrap();
        self.stream.read_exact(&mut answer).unwrap();
        self.log.note(answer[0]);
    }
}

/// Destructors wait for sockets while their threads unwind, by a panic or a cancel, light or full.
#[test]
fn destructors_that_wait() {
    let _dog = watchdog();
    let rt = runtime(1);
    let log = Log::new();
    for full in [false, true] {
        for panics in [false, true] {
            let (near, mut far) = on(&rt, pair).join().unwrap();
            let polite = Polite {
                stream: near,
                log: log.clone(),
            };
            let body = move || {
                let mut stream = polite.stream.try_clone().unwrap();
                stream.read_exact(&mut [0]).unwrap();
                if panics {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                let _ = stream.read_exact(&mut [0]);
            };
            let leaver = match full {
                true => thread::Builder::new().on(&rt).spawn(body).unwrap(),
                false => on(&rt, body),
            };
            far.write_all(b"!").unwrap();
            if !panics {
                until_waiting(leaver.thread(), "readable descriptor");
                leaver.thread().cancel();
            }
            // The LWP goes on meanwhile.
            let partner = on(&rt, move || {
                let mut heard = [0; 3];
                far.read_exact(&mut heard).unwrap();
                far.write_all(b"!").unwrap();
                heard
            });
            assert_eq!(&partner.join().unwrap(), b"bye");
            let payload = leaver.join().unwrap_err();
            assert_eq!(payload.is::<Cancelled>(), !panics);
        }
    }
    assert_eq!(log.take(), [b'!'; 4]);
    end(rt);
}

/// A stream that belongs to a runtime which is no more: an error, not a wait without an end.
#[test]
fn a_stream_survives_its_runtime() {
    let _dog = watchdog();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(LONG)).unwrap();
    let rt = runtime(1);
    let reader = on(&rt, move || {
        near.read_exact(&mut [0]).unwrap();
        near
    });
    // It has to wait, so the stream belongs to this runtime from now on.
    until_waiting(reader.thread(), "readable descriptor");
    far.write_all(b"!!").unwrap();
    let mut near = reader.join().unwrap();
    end(rt);
    let mut byte = [0];
    near.read_exact(&mut byte).unwrap();
    let error = near.read(&mut byte).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other, "{error}");
    far.write_all(b"?").unwrap();
    // What need not wait works.
    assert_eq!(near.read(&mut byte).unwrap(), 1);
    // And as std's it is anybody's again.
    let anybodys = std::os::unix::net::UnixStream::try_from(near).unwrap();
    let mut again = UnixStream::from_std(anybodys).unwrap();
    far.write_all(b"?").unwrap();
    assert_eq!(again.read(&mut byte).unwrap(), 1);
}
