//! Threads and what is outside of them: the clock, the kernel, other processes.

use std::io::{Read, Write};
use std::panic::catch_unwind;
use std::process::Command;
use std::time::Duration;

use lisle::channel;
use lisle::net::{TcpListener, TcpStream, UdpSocket, resolver};
use lisle::os::unix::net::{UnixDatagram, UnixStream};
use lisle::signal::unix::{SignalKind, Signals};
use lisle::thread;

use crate::ingredients::NUMBER;
use crate::kitchen::Cook;
use crate::support::emulated;

pub(crate) fn sleeps(cook: &mut Cook<'_>) {
    let soon = Duration::from_micros(cook.random.below(2000) as u64);
    match cook.random.below(3) {
        0 => thread::sleep(soon),
        1 => thread::park_timeout(soon),
        _ => {
            let (_sender, receiver) = channel::bounded::<()>(0);
            assert!(receiver.recv_timeout(soon).is_err());
        }
    }
}

/// In the kernel, unannounced.
pub(crate) fn blocks(cook: &mut Cook<'_>) {
    let soon = Duration::from_micros(cook.random.below(3000) as u64);
    match cook.random.below(3) {
        0 => std::thread::sleep(soon),
        1 => lisle::blocking(|| std::thread::sleep(soon)),
        _ => drop(std::fs::read("/proc/self/status").unwrap()),
    }
}

/// For longer than a time slice, once in a while.
pub(crate) fn computes(cook: &mut Cook<'_>) {
    let turns = [1000, 100_000, 10_000_000][cook.random.below(30) / 14];
    let sum: usize = (0..turns).map(|n| std::hint::black_box(n) & 1).sum();
    assert_eq!(sum, turns / 2);
}

pub(crate) fn tcp(cook: &mut Cook<'_>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sent: Vec<u8> = (0..1 + cook.random.below(5000)).map(|n| n as u8).collect();
    let expected = sent.clone();
    let client = cook.spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        heard
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    stream.write_all(&heard).unwrap();
    drop(stream);
    assert_eq!(client.join().unwrap(), expected);
}

pub(crate) fn commands(cook: &mut Cook<'_>) {
    // Costs milliseconds.
    if !cook.random.once_in(4) {
        return;
    }
    let word = cook.random.below(1000).to_string();
    let output = Command::new("echo").arg(&word).output().unwrap();
    assert_eq!(output.stdout, format!("{word}\n").as_bytes());
}

/// The child of a full thread is that thread; it makes another one. Not under an emulator, in which the child
/// of a process with several threads may hang for ever, and with it whoever waits for an end that the child has
/// inherited.
pub(crate) fn forks(cook: &mut Cook<'_>) {
    if emulated() || !cook.random.once_in(8) {
        return;
    }
    let number = cook.random.below(1000);
    NUMBER.set(number);
    // SAFETY: the child uses only what is meant to work there, and ends.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: plain system call; no watchdog is left here.
        unsafe { libc::alarm(30) };
        let right = catch_unwind(|| {
            let other = thread::spawn(move || (NUMBER.replace(1), vec![2u8; 100].len()));
            NUMBER.get() == number && other.join().unwrap() == (0, 100)
        });
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(i32::from(right.ok() != Some(true))) }
    }
    let mut status = -1;
    let waited = loop {
        // SAFETY: plain system call with a valid place.
        let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
        if waited >= 0 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted
        {
            break waited;
        }
    };
    assert_eq!((waited, status), (pid, 0));
}

/// Concerns every kernel thread of the process. musl refuses it.
pub(crate) fn credentials(cook: &mut Cook<'_>) {
    if cfg!(target_env = "gnu") && cook.random.once_in(20) {
        // SAFETY: plain calls of libc.
        assert_eq!(unsafe { libc::setuid(libc::getuid()) }, 0);
    }
}

/// One datagram at a time there and back, between two that hear nobody else.
pub(crate) fn udp(cook: &mut Cook<'_>) {
    let [here, there] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    here.connect(there.local_addr().unwrap()).unwrap();
    there.connect(here.local_addr().unwrap()).unwrap();
    let n = cook.random.below(5);
    let echoes = cook.spawn(move || {
        let mut buffer = [0; 1000];
        for _ in 0..n {
            let length = there.recv(&mut buffer).unwrap();
            assert_eq!(there.send(&buffer[..length]).unwrap(), length);
        }
    });
    let mut buffer = [0; 1000];
    for k in 0..n {
        let sent: Vec<u8> = (0..cook.random.below(1000))
            .map(|n| (n + k) as u8)
            .collect();
        here.send(&sent).unwrap();
        let length = here.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], sent);
    }
    echoes.join().unwrap();
}

/// A stream, whose end is heard, or datagrams, which keep their bounds.
pub(crate) fn unix_sockets(cook: &mut Cook<'_>) {
    if cook.random.once_in(2) {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let sent = vec![7; cook.random.below(300_000)];
        let expected = sent.len();
        let writes = cook.spawn(move || there.write_all(&sent).unwrap());
        let mut heard = Vec::new();
        here.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.len(), expected);
        assert!(heard.iter().all(|&byte| byte == 7));
        writes.join().unwrap();
    } else {
        let (here, there) = UnixDatagram::pair().unwrap();
        let lengths: Vec<_> = (0..cook.random.below(30))
            .map(|_| 1 + cook.random.below(500))
            .collect();
        let sent = lengths.clone();
        let writes = cook.spawn(move || {
            for length in sent {
                assert_eq!(there.send(&vec![9; length]).unwrap(), length);
            }
        });
        let mut buffer = [0; 500];
        for length in lengths {
            assert_eq!(here.recv(&mut buffer).unwrap(), length);
        }
        writes.join().unwrap();
    }
}

/// Everybody who listens hears it, whoever sends it, and a signal of one's own is not missed.
pub(crate) fn signals(cook: &mut Cook<'_>) {
    let kind = SignalKind::window_change();
    let mut listener = Signals::new([kind]).unwrap();
    let other = cook.spawn(move || {
        let mut listener = Signals::new([kind]).unwrap();
        raise(kind);
        assert_eq!(listener.recv().unwrap(), kind);
    });
    assert_eq!(listener.recv().unwrap(), kind);
    raise(kind);
    assert_eq!(listener.recv().unwrap(), kind);
    other.join().unwrap();
}

fn raise(kind: SignalKind) {
    // SAFETY: plain system calls; the signal has a handler.
    let sent = unsafe { libc::kill(libc::getpid(), kind.as_raw_value()) };
    assert_eq!(sent, 0);
}

pub(crate) fn names(cook: &mut Cook<'_>) {
    if !cook.random.once_in(4) {
        return;
    }
    let port = cook.random.below(60_000) as u16;
    let mut found = resolver::lookup("localhost", port).unwrap().peekable();
    assert!(found.peek().is_some());
    assert!(found.all(|address| address.ip().is_loopback() && address.port() == port));
}
