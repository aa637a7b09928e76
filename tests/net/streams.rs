//! What a stream delivers: ends and urgent data that come together with other
//! data, deadlines, files.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use lisle::net::{SendFile, TcpListener, TcpStream};
use lisle::os::unix::net::UnixStream;
use lisle::thread;

use super::{listen, pair, pattern};
use crate::support::{child, end, many, on, runtime, until, until_waiting, watchdog};

/// The end that came with the last data makes no event of its own.
#[test]
fn an_end_that_comes_with_data_is_seen() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (listener, address) = on(&rt, listen).join().unwrap();
    let n = many(300);
    let reader = on(&rt, move || {
        for round in 0..n {
            let mut stream = listener.accept().unwrap().0;
            if round % 3 == 0 {
                thread::yield_now();
            }
            let mut heard = Vec::new();
            // A buffer that is never filled: each read looks as if it emptied
            // the socket.
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    n => heard.extend_from_slice(&buffer[..n]),
                }
            }
            assert_eq!(heard, b"questionmark");
        }
    });
    for _ in 0..n {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"question").unwrap();
        stream.write_all(b"mark").unwrap();
    }
    reader.join().unwrap();
    end(rt);
}

/// A read stops before urgent data, and what follows is there already.
#[test]
fn data_behind_urgent_data_is_not_waited_for() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (mut near, far) = on(&rt, pair).join().unwrap();
    near.set_nodelay(true).unwrap();
    near.write_all(b"before").unwrap();
    // SAFETY: plain system call on an open descriptor and readable bytes.
    let sent = unsafe { libc::send(near.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
    near.write_all(b"after").unwrap();
    // All of it is there.
    until(|| {
        let mut waiting: libc::c_int = 0;
        // SAFETY: plain system call that writes one number.
        unsafe { libc::ioctl(far.as_raw_fd(), libc::FIONREAD, &mut waiting) };
        waiting >= 6
    });
    let reader = on(&rt, move || {
        let mut far = far;
        let mut heard = Vec::new();
        while heard.len() < 11 {
            let mut buffer = [0; 64];
            let n = far.read(&mut buffer).unwrap();
            heard.extend_from_slice(&buffer[..n]);
        }
        heard
    });
    assert_eq!(reader.join().unwrap(), b"beforeafter");
    drop(near);
    end(rt);
}

#[test]
fn every_call_has_a_deadline() {
    let _dog = watchdog();
    let rt = runtime(1);
    let late = on(&rt, || {
        let soon = || Instant::now() + Duration::from_millis(2);
        let (listener, address) = listen();
        let accepted = listener.accept_deadline(soon()).map(drop);
        let near = TcpStream::connect_deadline(address, soon() + Duration::from_secs(100)).unwrap();
        let far = listener.accept().unwrap().0;
        // A timeout is set aside by a deadline.
        near.set_read_timeout(Some(Duration::from_secs(1 << 20)))
            .unwrap();
        let read = near.read_deadline(&mut [0; 4], soon()).map(drop);
        let peeked = near.peek_deadline(&mut [0; 4], soon()).map(drop);
        let written = loop {
            if let Err(error) = near.write_deadline(&[7; 1 << 16], soon()) {
                break Err(error);
            }
        };
        drop(far);
        [accepted, read, peeked, written].map(|late| late.unwrap_err().kind())
    });
    assert_eq!(late.join().unwrap(), [ErrorKind::TimedOut; 4]);
    end(rt);
}

/// A thread that is cancelled finds out at its next call, though that need not
/// wait.
#[test]
fn a_call_that_need_not_wait_is_a_cancellation_point() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (mut near, mut far) = on(&rt, pair).join().unwrap();
    near.write_all(b"kept").unwrap();
    let copy = far.try_clone().unwrap();
    let reader = on(&rt, move || {
        thread::current().cancel();
        (&copy).read(&mut [0; 4]).map(drop)
    });
    assert!(reader.join().is_err());
    let mut heard = [0; 4];
    far.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"kept");
    end(rt);
}

/// A file without a name, with these contents.
fn file(contents: &[u8]) -> std::fs::File {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("lisle-net-file-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = std::fs::File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(contents).unwrap();
    file
}

/// Sends `length` bytes from `offset` on; returns what it said, and what came.
fn sent(contents: &[u8], offset: u64, length: u64, stream: Kind) -> (u64, Vec<u8>) {
    let mut file = file(contents);
    file.seek(SeekFrom::Start(1)).unwrap();
    let (send, mut receive): (Box<dyn SendFile + Send>, Box<dyn Read + Send>) = match stream {
        Kind::Tcp => {
            let (near, far) = pair();
            (Box::new(near), Box::new(far))
        }
        Kind::Unix => {
            let (near, far) = UnixStream::pair().unwrap();
            (Box::new(near), Box::new(far))
        }
    };
    let sender = child(move || {
        let sent = send.send_file(&file, offset, length).unwrap();
        // The file's own position has not moved.
        assert_eq!(file.stream_position().unwrap(), 1);
        sent
    });
    let mut came = Vec::new();
    receive.read_to_end(&mut came).unwrap();
    (sender.join().unwrap(), came)
}

#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Unix,
}

#[test]
fn files_are_sent_whole_and_in_part() {
    let _dog = watchdog();
    for kind in [Kind::Tcp, Kind::Unix] {
        for size in [0, 1, 4095, 4096, 4097, 3_000_001] {
            let contents = pattern(size as u64, size);
            let whole = sent(&contents, 0, size as u64, kind);
            assert!(whole == (size as u64, contents.clone()), "{size}");
            // More than there is.
            let (n, came) = sent(&contents, size as u64 / 2, u64::MAX, kind);
            assert_eq!(n as usize, size - size / 2);
            assert!(came == contents[size / 2..], "{size}");
        }
        let (n, came) = sent(&pattern(1, 10_000), 5, 6, kind);
        assert!((n, &came[..]) == (6, &pattern(1, 10_000)[5..11]));
        assert_eq!(sent(b"short", 100, 7, kind), (0, Vec::new()));
    }
}

/// More of a head than the socket holds, and a file after it.
#[test]
fn a_head_goes_before_a_file() {
    let _dog = watchdog();
    for (head, size) in [(0, 10), (10, 0), (100, 70_000), (6 << 20, 70_000)] {
        let (head, contents) = (pattern(3, head), pattern(4, size));
        let (near, mut far) = pair();
        let (file, said) = (file(&contents), head.clone());
        let sender = child(move || {
            let length = contents.len() as u64;
            let sent = near.send_with_file(&said, &file, 0, length).unwrap();
            assert_eq!(sent, length);
            contents
        });
        let mut came = Vec::new();
        far.read_to_end(&mut came).unwrap();
        let expected = [head, sender.join().unwrap()].concat();
        assert!(came == expected);
    }
}

#[test]
fn a_file_that_nobody_reads_times_out() {
    let _dog = watchdog();
    let (near, far) = pair();
    let file = file(&pattern(2, 1 << 20));
    let mut left = 64;
    let late = loop {
        let soon = Instant::now() + Duration::from_millis(5);
        match near.send_file_deadline(&file, 0, 1 << 20, soon) {
            Ok(_) if left > 0 => left -= 1,
            outcome => break outcome,
        }
    };
    assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    drop(far);
}

/// Names are looked up by helpers: one LWP goes on, and more look-ups than
/// helpers all end.
#[test]
fn names_are_looked_up_by_helpers() {
    use lisle::net::ToSocketAddrs;
    let _dog = watchdog();
    let rt = runtime(1);
    let lookups: Vec<_> = (0..20)
        .map(|port| on(&rt, move || ("localhost", port).to_socket_addrs()))
        .collect();
    for (port, lookup) in lookups.into_iter().enumerate() {
        let mut addresses = lookup.join().unwrap().unwrap();
        assert!(addresses.all(|a| a.ip().is_loopback() && a.port() == port as u16));
    }
    let (listener, address) = listen();
    let near = on(&rt, move || {
        TcpStream::connect(format!("localhost:{}", address.port()))
    });
    let near = near.join().unwrap().unwrap();
    assert_eq!(near.peer_addr().unwrap(), address);
    drop(listener);
    for bad in ["localhost", "localhost:x", "localhost:99999", ":", ""] {
        assert!(TcpListener::bind(bad).is_err(), "{bad}");
    }
    // Reserved: never resolves.
    let missing = on(&rt, || "lisle.invalid:1".to_socket_addrs().map(drop));
    assert!(missing.join().unwrap().is_err());
    end(rt);
}

#[test]
fn a_look_up_can_be_given_up() {
    use lisle::net::resolver;
    let _dog = watchdog();
    let rt = runtime(1);
    let late = on(&rt, || {
        resolver::lookup_deadline("localhost", 1, Instant::now()).map(drop)
    });
    // The answer may have been there at once.
    if let Err(error) = late.join().unwrap() {
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    let cancelled = on(&rt, || {
        thread::current().cancel();
        resolver::lookup("localhost", 1).map(drop)
    });
    assert!(cancelled.join().is_err());
    let after = on(&rt, || resolver::lookup("localhost", 1).map(drop));
    after.join().unwrap().unwrap();
    end(rt);
}

#[test]
fn threads_that_wait_for_a_half_that_is_shut_down_go_on() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (near, far) = on(&rt, pair).join().unwrap();
    let copy = near.try_clone().unwrap();
    let reader = on(&rt, move || (&near).read(&mut [0; 1]).unwrap());
    until_waiting(reader.thread(), "readable descriptor");
    copy.shutdown(std::net::Shutdown::Read).unwrap();
    assert_eq!(reader.join().unwrap(), 0);
    drop(far);
    end(rt);
}
