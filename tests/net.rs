//! Sockets between user threads, and from plain kernel threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "net/abuse.rs"]
mod abuse;
#[path = "net/descriptors.rs"]
mod descriptors;
#[path = "net/sharing.rs"]
mod sharing;
#[path = "net/streams.rs"]
mod streams;
mod support;
#[path = "net/tls.rs"]
mod tls;
#[path = "net/udp.rs"]
mod udp;
#[path = "net/unix.rs"]
mod unix;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use lisle::net::{TcpListener, TcpStream};

use support::{child, end, many, on, runtime, until_waiting, watchdog};

const LONG: Duration = Duration::from_secs(1 << 20);

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that is taken, so that nobody comes to listen there, and who has it.
fn nobody_listens() -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let taken = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&taken, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = getsockname(&taken).unwrap().try_into().unwrap();
    (taken, address)
}

/// Both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let near = TcpStream::connect(address).unwrap();
    (near, listener.accept().unwrap().0)
}

/// Bytes that tell their place and their stream.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Serves `clients` connections, one thread each, until their ends.
fn echo(listener: TcpListener, clients: usize) {
    let serve = |mut stream: TcpStream| {
        move || {
            let mut buffer = [0; 512];
            loop {
                match stream.read(&mut buffer).unwrap() {
                    0 => return,
                    n => stream.write_all(&buffer[..n]).unwrap(),
                }
            }
        }
    };
    let served: Vec<_> = (0..clients)
        .map(|_| child(serve(listener.accept().unwrap().0)))
        .collect();
    served.into_iter().for_each(|s| s.join().unwrap());
}

fn converse(address: SocketAddr, seed: u64) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    (0..20).all(|round| {
        let said = pattern(seed * 100 + round, 300);
        let mut heard = vec![0; said.len()];
        stream.write_all(&said).unwrap();
        stream.read_exact(&mut heard).unwrap();
        said == heard
    })
}

#[test]
fn a_hundred_clients_are_echoed() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let n = many(100);
        let listening = on(&rt, listen).join().unwrap();
        let (listener, address) = listening;
        let server = on(&rt, move || echo(listener, n));
        let clients: Vec<_> = (0..n as u64)
            .map(|seed| on(&rt, move || converse(address, seed)))
            .collect();
        assert!(clients.into_iter().all(|c| c.join().unwrap()));
        server.join().unwrap();
        end(rt);
    }
}

#[test]
fn plain_kernel_threads_are_echoed() {
    let _dog = watchdog();
    let (listener, address) = listen();
    let server = child(move || echo(listener, 10));
    let clients: Vec<_> = (0..10)
        .map(|seed| std::thread::spawn(move || converse(address, seed)))
        .collect();
    assert!(clients.into_iter().all(|c| c.join().unwrap()));
    server.join().unwrap();
    // And the other way round: the server is a plain kernel thread.
    let (listener, address) = listen();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap()
    });
    assert!(child(move || converse(address, 5)).join().unwrap());
    assert_eq!(server.join().unwrap(), 20 * 300);
}

/// Both directions at once, far more than the buffers hold.
#[test]
fn large_transfers_both_ways() {
    const SIZE: usize = 4 << 20;
    fn transfer(stream: TcpStream, out: u64, expected: u64) -> bool {
        let stream = Arc::new(stream);
        let writing = stream.clone();
        let writer = child(move || {
            (&*writing).write_all(&pattern(out, SIZE)).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut heard = Vec::new();
        (&*stream).read_to_end(&mut heard).unwrap();
        writer.join().unwrap();
        heard == pattern(expected, SIZE)
    }
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let (near, far) = on(&rt, pair).join().unwrap();
        let near = on(&rt, move || transfer(near, 1, 2));
        let far = on(&rt, move || transfer(far, 2, 1));
        assert!(near.join().unwrap() && far.join().unwrap());
        end(rt);
    }
}

#[test]
fn half_a_connection_can_be_closed() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (mut near, mut far) = on(&rt, pair).join().unwrap();
    let answer = on(&rt, move || {
        let mut question = String::new();
        far.read_to_string(&mut question).unwrap();
        far.write_all(format!("{question}!").as_bytes()).unwrap();
    });
    near.write_all(b"well").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    near.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "well!");
    assert!(near.write(b"more").is_err());
    answer.join().unwrap();
    end(rt);
}

#[test]
fn peeking_takes_nothing() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (near, mut far) = on(&rt, pair).join().unwrap();
    let peeker = on(&rt, move || {
        let mut seen = [0; 3];
        let mut near = near;
        // Waits until there is something to see.
        let n = near.peek(&mut seen).unwrap();
        let mut read = [0; 3];
        near.read_exact(&mut read).unwrap();
        (n > 0 && seen[..n] == read[..n]).then_some(read)
    });
    until_waiting(peeker.thread(), "readable descriptor");
    far.write_all(b"abc").unwrap();
    assert_eq!(peeker.join().unwrap(), Some(*b"abc"));
    end(rt);
}

#[test]
fn timeouts_are_errors_and_leave_the_stream_usable() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (near, far) = on(&rt, pair).join().unwrap();
    let zero = near.set_read_timeout(Some(Duration::ZERO));
    assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(near.read_timeout().unwrap(), None);
    let body = move || {
        let (mut near, mut far) = (near, far);
        let short = Some(Duration::from_millis(2));
        near.set_read_timeout(short).unwrap();
        near.set_write_timeout(short).unwrap();
        assert_eq!(near.read_timeout().unwrap(), short);
        let copy = near.try_clone().unwrap();
        assert_eq!(copy.write_timeout().unwrap(), short);
        let late = near.read(&mut [0; 4]).unwrap_err().kind();
        assert_eq!(late, ErrorKind::TimedOut);
        // Nobody reads: at some time the buffers are full.
        let full = loop {
            if let Err(error) = near.write(&[7; 1 << 16]) {
                break error.kind();
            }
        };
        assert_eq!(full, ErrorKind::TimedOut);
        near.set_read_timeout(None).unwrap();
        far.write_all(b"late").unwrap();
        let mut heard = [0; 4];
        near.read_exact(&mut heard).unwrap();
        (heard, near, far)
    };
    let (heard, near, far) = on(&rt, body).join().unwrap();
    assert_eq!(&heard, b"late");
    drop((near, far));
    end(rt);
}

#[test]
fn a_refused_connection_is_an_error() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (_taken, address) = nobody_listens();
    let refused = |outcome: std::io::Result<TcpStream>| outcome.unwrap_err().kind();
    let kind = on(&rt, move || refused(TcpStream::connect(address)));
    assert_eq!(kind.join().unwrap(), ErrorKind::ConnectionRefused);
    let timed = move || refused(TcpStream::connect_timeout(&address, LONG));
    assert_eq!(timed(), ErrorKind::ConnectionRefused);
    let nowhere = refused(TcpStream::connect(&[][..]));
    assert_eq!(nowhere, ErrorKind::InvalidInput);
    // The second of two addresses answers.
    let (listener, open) = listen();
    let stream = TcpStream::connect(&[address, open][..]).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), open);
    drop(listener);
    end(rt);
}

/// A listener whose queue is full answers nobody.
#[test]
fn a_connection_that_nobody_answers_times_out() {
    let _dog = watchdog();
    let rt = runtime(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: plain system call on an open descriptor.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let fill = on(&rt, move || {
        let mut made = Vec::new();
        loop {
            match TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
                Ok(stream) => made.push(stream),
                Err(error) => return error.kind(),
            }
        }
    });
    assert_eq!(fill.join().unwrap(), ErrorKind::TimedOut);
    let zero = TcpStream::connect_timeout(&address, Duration::ZERO);
    assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidInput);
    end(rt);
}
