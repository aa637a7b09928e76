//! Several threads at one socket, and sockets that come and go.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lisle::net::{TcpListener, TcpStream};
use lisle::os::unix::net::UnixStream;
use lisle::{cancel, thread};

use super::{listen, pair, pattern};
use crate::support::{child, end, many, on, runtime, until_waiting, watchdog};

/// A cancelled accept loses no connection.
#[test]
fn an_accept_is_cancelled_and_another_one_goes_on() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (listener, address) = on(&rt, listen).join().unwrap();
    let listener = Arc::new(listener);
    for _ in 0..20 {
        let accept = || {
            let listener = listener.clone();
            on(&rt, move || listener.accept().map(drop))
        };
        let (cancelled, kept) = (accept(), accept());
        until_waiting(cancelled.thread(), "readable descriptor");
        until_waiting(kept.thread(), "readable descriptor");
        cancelled.thread().cancel();
        let payload = cancelled.join().unwrap_err();
        assert!(payload.is::<cancel::Cancelled>());
        let _client = std::net::TcpStream::connect(address).unwrap();
        kept.join().unwrap().unwrap();
    }
    end(rt);
}

/// Each byte goes to exactly one of two readers, and both see the end.
#[test]
fn two_threads_read_one_stream() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (near, mut far) = on(&rt, pair).join().unwrap();
    let near = Arc::new(near);
    let read = || {
        let stream = near.clone();
        on(&rt, move || {
            let mut heard = Vec::new();
            let mut buffer = [0; 97];
            loop {
                match (&*stream).read(&mut buffer).unwrap() {
                    0 => return heard,
                    n => heard.extend_from_slice(&buffer[..n]),
                }
            }
        })
    };
    let readers = [read(), read()];
    for reader in &readers {
        until_waiting(reader.thread(), "readable descriptor");
    }
    let said = pattern(9, 200_000);
    for piece in said.chunks(1000) {
        far.write_all(piece).unwrap();
    }
    far.shutdown(Shutdown::Both).unwrap();
    let mut heard: Vec<u8> = Vec::new();
    for reader in readers {
        heard.extend(reader.join().unwrap());
    }
    let (mut expected, mut found) = (said, heard);
    expected.sort_unstable();
    found.sort_unstable();
    assert!(expected == found);
    end(rt);
}

#[test]
fn a_reader_and_a_writer_share_a_clone() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (near, mut far) = on(&rt, pair).join().unwrap();
    let mut copy = near.try_clone().unwrap();
    assert_eq!(copy.peer_addr().unwrap(), near.peer_addr().unwrap());
    copy.set_nodelay(true).unwrap();
    assert!(near.nodelay().unwrap());
    let mut near = near;
    let reader = on(&rt, move || {
        let mut heard = [0; 5];
        near.read_exact(&mut heard).unwrap();
        heard
    });
    until_waiting(reader.thread(), "readable descriptor");
    let writer = on(&rt, move || copy.write_all(b"ahead").unwrap());
    let mut heard = [0; 5];
    far.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ahead");
    far.write_all(b"after").unwrap();
    assert_eq!(&reader.join().unwrap(), b"after");
    writer.join().unwrap();
    end(rt);
}

#[test]
fn incoming_and_clones_of_a_listener() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (listener, address) = on(&rt, listen).join().unwrap();
    let second = listener.try_clone().unwrap();
    assert_eq!(second.local_addr().unwrap(), address);
    let take = |listener: TcpListener, n: usize| {
        on(&rt, move || {
            listener.incoming().take(n).filter(Result::is_ok).count()
        })
    };
    let counts = [take(listener, 3), take(second, 3)];
    let clients: Vec<_> = (0..6)
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    for count in counts {
        assert_eq!(count.join().unwrap(), 3);
    }
    drop(clients);
    end(rt);
}

/// Descriptors that come and go at the same numbers disturb nobody.
#[test]
fn connections_come_and_go() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (listener, address) = on(&rt, listen).join().unwrap();
    let n = many(500);
    let server = on(&rt, move || {
        for _ in 0..n {
            let (mut stream, _) = listener.accept().unwrap();
            child(move || {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                stream.write_all(&byte).unwrap();
            });
        }
    });
    let client = |start: usize| {
        on(&rt, move || {
            for i in (start..n).step_by(4) {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(&[i as u8]).unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                assert_eq!(byte[0], i as u8);
                thread::yield_now();
            }
        })
    };
    let clients: Vec<_> = (0..4).map(client).collect();
    clients.into_iter().for_each(|c| c.join().unwrap());
    server.join().unwrap();
    end(rt);
}

/// An LWP that expects to be back in the poller soon wakes nobody. If a thread then computes on,
/// what else has become ready runs all the same, on the other LWP: what was ready with it, and
/// what becomes ready later.
#[test]
fn work_that_takes_longer_than_expected() {
    let _dog = watchdog();
    let rt = runtime(2);
    for later in [false, true] {
        let said = Arc::new(AtomicBool::new(false));
        let [(mut to_first, mut first), (mut to_second, mut second)] =
            [(); 2].map(|()| UnixStream::pair().unwrap());
        let flag = said.clone();
        let computes = on(&rt, move || {
            let mut byte = [0];
            loop {
                first.read_exact(&mut byte).unwrap();
                if byte == *b"!" {
                    break;
                }
                first.write_all(&byte).unwrap();
            }
            first.write_all(b"!").unwrap();
            while !flag.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        });
        let speaks = on(&rt, move || {
            second.read_exact(&mut [0]).unwrap();
            said.store(true, Ordering::Release);
        });
        until_waiting(speaks.thread(), "readable descriptor");
        // Brief work, until it is known for that.
        let mut echo = [0];
        for _ in 0..200 {
            to_first.write_all(b".").unwrap();
            to_first.read_exact(&mut echo).unwrap();
        }
        to_first.write_all(b"!").unwrap();
        if later {
            to_first.read_exact(&mut echo).unwrap();
        }
        to_second.write_all(b"!").unwrap();
        computes.join().unwrap();
        speaks.join().unwrap();
    }
    end(rt);
}
