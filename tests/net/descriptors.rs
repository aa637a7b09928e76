//! Descriptors, conversions, modes, and options.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use lisle::io::{Interest, Source};
use lisle::net::{TcpListener, TcpStream, UdpSocket};

use super::{listen, pair};
use crate::support::{end, on, runtime, until_waiting, watchdog};

#[test]
fn there_and_back_through_descriptors() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (near, far) = pair();
    let number = near.as_raw_fd();
    let fd = OwnedFd::from(near);
    assert_eq!(fd.as_raw_fd(), number);
    let near = TcpStream::from(fd);
    // SAFETY: the descriptor was just given away.
    let mut near = unsafe { TcpStream::from_raw_fd(near.into_raw_fd()) };
    assert_eq!(near.as_fd().as_raw_fd(), number);
    let mut far = far;
    let reader = on(&rt, move || {
        let mut heard = [0; 2];
        far.read_exact(&mut heard).unwrap();
        heard
    });
    until_waiting(reader.thread(), "readable descriptor");
    near.write_all(b"ok").unwrap();
    assert_eq!(&reader.join().unwrap(), b"ok");
    end(rt);
}

/// A blocking socket of std's is made non-blocking on its way in, and blocking
/// on its way out.
#[test]
fn there_and_back_through_std() {
    let _dog = watchdog();
    let rt = runtime(1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::try_from(listener).unwrap();
    let near = std::net::TcpStream::connect(address).unwrap();
    let acceptor = on(&rt, move || {
        let far = listener.accept().unwrap().0;
        (listener, far)
    });
    let (listener, far) = acceptor.join().unwrap();
    let mut far = far.into_std().unwrap();
    let blocked = std::thread::spawn(move || {
        let mut heard = [0; 4];
        // Would fail at once in non-blocking mode.
        far.read_exact(&mut heard).unwrap();
        heard
    });
    let mut near = TcpStream::from_std(near).unwrap();
    near.write_all(b"back").unwrap();
    assert_eq!(&blocked.join().unwrap(), b"back");
    let listener = std::net::TcpListener::try_from(listener).unwrap();
    assert_eq!(listener.local_addr().unwrap(), address);
    let _udp = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    end(rt);
}

#[test]
fn an_impatient_handle_waits_for_nothing() {
    let _dog = watchdog();
    let (listener, address) = listen();
    listener.set_nonblocking(true).unwrap();
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    let rt = runtime(1);
    let near = TcpStream::connect(address).unwrap();
    near.set_nonblocking(true).unwrap();
    let nothing = (&near).read(&mut [0; 4]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    // Its clones are as impatient, but each can be told otherwise.
    let patient = near.try_clone().unwrap();
    let copied = patient.peek(&mut [0; 4]).unwrap_err();
    assert_eq!(copied.kind(), ErrorKind::WouldBlock);
    patient.set_nonblocking(false).unwrap();
    let reader = on(&rt, move || (&patient).read(&mut [0; 4]).unwrap());
    until_waiting(reader.thread(), "readable descriptor");
    listener.set_nonblocking(false).unwrap();
    listener.accept().unwrap().0.write_all(b"four").unwrap();
    assert_eq!(reader.join().unwrap(), 4);
    end(rt);
}

#[test]
fn options_are_the_sockets() {
    let (listener, _) = listen();
    listener.set_ttl(7).unwrap();
    assert_eq!(listener.ttl().unwrap(), 7);
    assert!(listener.take_error().unwrap().is_none());
    let (near, far) = pair();
    near.set_ttl(8).unwrap();
    assert_eq!(near.try_clone().unwrap().ttl().unwrap(), 8);
    near.set_nodelay(true).unwrap();
    assert!(near.nodelay().unwrap());
    assert_eq!(near.linger().unwrap(), None);
    // Closing resets the connection.
    near.set_linger(Some(Duration::ZERO)).unwrap();
    assert_eq!(near.linger().unwrap(), Some(Duration::ZERO));
    drop(near);
    let reset = (&far).read(&mut [0; 1]).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn several_buffers_at_once() {
    let _dog = watchdog();
    let (mut near, mut far) = pair();
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(near.write_vectored(&slices).unwrap(), 5);
    let (mut first, mut second) = ([0; 3], [0; 8]);
    let mut heard = 0;
    while heard < 5 {
        let mut slices = [
            IoSliceMut::new(&mut first[heard.min(3)..]),
            IoSliceMut::new(&mut second[heard.saturating_sub(3)..]),
        ];
        heard += far.read_vectored(&mut slices).unwrap();
    }
    assert_eq!((&first, &second[..2]), (b"abc", &b"de"[..]));
}

/// Any descriptor that can be polled: here a pipe.
#[test]
fn a_pipe_is_a_source() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let reading = on(&rt, move || {
        let reader = Source::new(reader);
        let mut heard = Vec::new();
        loop {
            let mut piece = [0; 3];
            let n = reader
                .when_ready(Interest::Read, None, |mut pipe| pipe.read(&mut piece))
                .unwrap();
            if n == 0 {
                drop(reader.into_inner());
                return heard;
            }
            heard.extend_from_slice(&piece[..n]);
        }
    });
    for piece in [&b"he"[..], b"llo wor", b"ld"] {
        until_waiting(reading.thread(), "readable descriptor");
        (&writer).write_all(piece).unwrap();
    }
    drop(writer);
    assert_eq!(reading.join().unwrap(), b"hello world");
    // A file cannot be waited for; it need not be, either.
    let file = Source::new(
        std::env::current_exe()
            .and_then(std::fs::File::open)
            .unwrap(),
    );
    let read = file.when_ready(Interest::Read, None, |mut file| file.read(&mut [0; 4]));
    assert_eq!(read.unwrap(), 4);
    let refused = file.when_ready(Interest::Read, Some(Instant::now()), |_| {
        Err::<(), _>(ErrorKind::WouldBlock.into())
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
}
