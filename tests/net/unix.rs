//! Unix sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lisle::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use super::pattern;
use crate::support::{child, end, on, runtime, until_waiting, watchdog};

/// A path that nobody else uses; removed when dropped.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let file = format!("lisle-net-{name}-{}", std::process::id());
        Place(std::env::temp_dir().join(file))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn clients_are_echoed_by_path_and_by_name() {
    use std::os::linux::net::SocketAddrExt;
    let _dog = watchdog();
    let rt = runtime(2);
    let place = Place::new("echo");
    let by_path = UnixListener::bind(&place.0).unwrap();
    let name = format!("lisle-net-{}", std::process::id());
    let name = SocketAddr::from_abstract_name(name).unwrap();
    let by_name = UnixListener::bind_addr(&name).unwrap();
    assert_eq!(by_path.local_addr().unwrap().as_pathname(), Some(&*place.0));
    let serve = |listener: UnixListener| {
        on(&rt, move || {
            for stream in listener.incoming().take(5) {
                let mut stream = stream.unwrap();
                child(move || {
                    let mut heard = Vec::new();
                    stream.read_to_end(&mut heard).unwrap();
                    stream.write_all(&heard).unwrap();
                });
            }
        })
    };
    let servers = [serve(by_path), serve(by_name)];
    for seed in 0..5 {
        let clients = [
            UnixStream::connect(&place.0).unwrap(),
            UnixStream::connect_addr(&name).unwrap(),
        ];
        for mut client in clients {
            let said = pattern(seed, 1000);
            client.write_all(&said).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).unwrap();
            assert!(said == heard);
        }
    }
    servers.into_iter().for_each(|s| s.join().unwrap());
    end(rt);
}

#[test]
fn large_transfers_through_a_pair() {
    const SIZE: usize = 2 << 20;
    let _dog = watchdog();
    let rt = runtime(1);
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let writer = on(&rt, move || near.write_all(&pattern(4, SIZE)).unwrap());
    let reader = on(&rt, move || {
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).unwrap();
        heard
    });
    writer.join().unwrap();
    assert!(reader.join().unwrap() == pattern(4, SIZE));
    end(rt);
}

/// The kernel does not say when a full queue has room; connecting waits all the
/// same.
#[test]
fn connecting_waits_while_the_queue_is_full() {
    let _dog = watchdog();
    let rt = runtime(1);
    let place = Place::new("full");
    let listener = UnixListener::bind(&place.0).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut made = Vec::new();
    let late = loop {
        let soon = Instant::now() + Duration::from_millis(20);
        match UnixStream::connect_deadline(&place.0, soon) {
            Ok(stream) => made.push(stream),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(late, ErrorKind::TimedOut);
    let path = place.0.clone();
    let patient = on(&rt, move || UnixStream::connect(path).map(drop));
    until_waiting(patient.thread(), "sleep");
    for _ in &made {
        listener.accept().unwrap();
    }
    patient.join().unwrap().unwrap();
    end(rt);
}

#[test]
fn datagrams_wait_for_room() {
    const MANY: u32 = 2000;
    let _dog = watchdog();
    let rt = runtime(1);
    let place = Place::new("datagrams");
    let far = UnixDatagram::bind(&place.0).unwrap();
    let path = place.0.clone();
    let sender = on(&rt, move || {
        let near = UnixDatagram::unbound().unwrap();
        near.connect(&path).unwrap();
        for number in 0..MANY {
            near.send(&number.to_le_bytes()).unwrap();
        }
    });
    until_waiting(sender.thread(), "writable descriptor");
    let receiver = on(&rt, move || {
        (0..MANY).all(|expected| {
            let mut number = [0; 4];
            let (n, _) = far.recv_from(&mut number).unwrap();
            n == 4 && u32::from_le_bytes(number) == expected
        })
    });
    assert!(receiver.join().unwrap());
    sender.join().unwrap();
    end(rt);
}

#[test]
fn nobody_listens() {
    let place = Place::new("nobody");
    let missing = UnixStream::connect(&place.0).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    drop(UnixListener::bind(&place.0).unwrap());
    let refused = UnixStream::connect(&place.0).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let taken = UnixListener::bind(&place.0).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
}
