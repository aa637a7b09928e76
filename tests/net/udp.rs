//! UDP.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use lisle::net::UdpSocket;

use crate::support::{end, on, runtime, until_waiting, watchdog};

fn pair() -> (UdpSocket, UdpSocket) {
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    (near, far)
}

#[test]
fn datagrams_keep_their_bounds_and_their_senders() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (near, far) = pair();
    let (from, to) = (near.local_addr().unwrap(), far.local_addr().unwrap());
    let receiver = on(&rt, move || {
        let mut buffer = [0; 16];
        let heard: Vec<_> = (0..3)
            .map(|_| {
                let (n, peer) = far.recv_from(&mut buffer).unwrap();
                (buffer[..n].to_vec(), peer)
            })
            .collect();
        heard
    });
    until_waiting(receiver.thread(), "readable descriptor");
    for said in ["one", "", "a datagram that is cut off"] {
        near.send_to(said.as_bytes(), to).unwrap();
    }
    let expected = [&b"one"[..], b"", b"a datagram that "].map(|said| (said.to_vec(), from));
    assert_eq!(receiver.join().unwrap(), expected);
    end(rt);
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    let _dog = watchdog();
    let (near, far) = pair();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    near.connect(far.local_addr().unwrap()).unwrap();
    assert_eq!(far.peer_addr().unwrap(), near.local_addr().unwrap());
    stranger
        .send_to(b"psst", far.local_addr().unwrap())
        .unwrap();
    near.send(b"hello").unwrap();
    let mut buffer = [0; 8];
    let peeked = far.peek(&mut buffer).unwrap();
    assert_eq!(&buffer[..peeked], b"hello");
    let n = far.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"hello");
    far.set_nonblocking(true).unwrap();
    let empty = far.recv(&mut buffer).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::WouldBlock);
}

#[test]
fn receiving_has_timeouts_and_deadlines() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (near, far) = pair();
    let late = on(&rt, move || {
        let mut buffer = [0; 8];
        far.set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        let by_timeout = far.recv_from(&mut buffer).unwrap_err().kind();
        let soon = Instant::now() + Duration::from_millis(2);
        let by_deadline = far.recv_from_deadline(&mut buffer, soon).unwrap_err();
        let by_peeking = far.peek_from_deadline(&mut buffer, soon).unwrap_err();
        let by_address = far.send_to_deadline(b"", "no.such.host.invalid:1", soon);
        far.connect(far.local_addr().unwrap()).unwrap();
        let connected = far.peek_deadline(&mut buffer, soon).unwrap_err();
        let errors = [by_deadline, by_peeking, by_address.unwrap_err(), connected];
        (by_timeout, errors.map(|error| error.kind()))
    });
    let late = late.join().unwrap();
    assert_eq!(late, (ErrorKind::TimedOut, [ErrorKind::TimedOut; 4]));
    drop(near);
    end(rt);
}

#[test]
fn a_cancelled_receive_takes_nothing() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (near, far) = pair();
    let to = far.local_addr().unwrap();
    let copy = far.try_clone().unwrap();
    let receiver = on(&rt, move || copy.recv(&mut [0; 8]));
    until_waiting(receiver.thread(), "readable descriptor");
    receiver.thread().cancel();
    near.send_to(b"kept", to).unwrap();
    let _ = receiver.join();
    let mut buffer = [0; 8];
    // Unless it came before the cancel did.
    near.send_to(b"next", to).unwrap();
    let n = far.recv(&mut buffer).unwrap();
    assert!(matches!(&buffer[..n], b"kept" | b"next"));
    end(rt);
}

#[test]
fn options_are_the_sockets() {
    let (near, _far) = pair();
    near.set_broadcast(true).unwrap();
    assert!(near.try_clone().unwrap().broadcast().unwrap());
    near.set_ttl(9).unwrap();
    assert_eq!(near.ttl().unwrap(), 9);
    near.set_multicast_ttl_v4(3).unwrap();
    assert_eq!(near.multicast_ttl_v4().unwrap(), 3);
    near.set_multicast_loop_v4(false).unwrap();
    assert!(!near.multicast_loop_v4().unwrap());
}
