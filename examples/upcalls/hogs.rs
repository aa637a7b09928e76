//! 3: one LWP, a thread that never gives way, and a server with a hundred connections.
//!
//! Kernel threads ask on every connection and wait for the answers, then pause; how long does an answer take?
//! Whoever is not answered when the time is up counts with what it has waited.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lisle::net::TcpListener;
use lisle::thread::Builder;
use lisle::upcall::Source;

use crate::{Figure, Plan, handovers, runtime};

const CLIENTS: usize = 4;
const CONNECTIONS: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// What the hog does until told to stop.
pub(crate) type Hog = fn(&AtomicBool);

pub(crate) fn pure_loop(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

pub(crate) fn libc_calls(stop: &AtomicBool) {
    // SAFETY: the stream is checked, the pointers are the allocator's, the format has the argument that it names.
    unsafe {
        let file = libc::fopen(c"/dev/null".as_ptr(), c"w".as_ptr());
        assert!(!file.is_null());
        let mut size = 16;
        while !stop.load(Ordering::Relaxed) {
            let block = libc::malloc(size);
            libc::fprintf(file, c"%p\n".as_ptr(), block);
            libc::free(block);
            size = size % 4096 + 16;
        }
        libc::fclose(file);
    }
}

/// Processor time of the calling kernel thread. The hog never changes it: it never waits.
fn cpu_time() -> Duration {
    // SAFETY: the structure is filled in.
    unsafe {
        let mut now: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }
}

/// The 99th percentile of the time from question to answer, in milliseconds.
pub(crate) fn latency(plan: &Plan, source: Source, hog: Hog) -> Figure {
    let rt = runtime(1, source);
    let (stop, ready) = (Arc::new(AtomicBool::new(false)), std::sync::mpsc::channel());
    let server = {
        let sender = ready.0;
        Builder::new()
            .on(&rt)
            .spawn(move || serve(&sender))
            .expect("a thread")
    };
    let address = ready.1.recv().expect("the server's address");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let connect = |_| TcpStream::connect(address).expect("a connection");
            (0..CONNECTIONS / CLIENTS).map(connect).collect::<Vec<_>>()
        })
        .collect();
    let hog = {
        let stop = stop.clone();
        Builder::new()
            .on(&rt)
            .spawn(move || {
                let before = cpu_time();
                hog(&stop);
                cpu_time().saturating_sub(before)
            })
            .expect("a thread")
    };
    let began = Instant::now();
    let until = began + plan.window;
    let clients: Vec<_> = clients
        .into_iter()
        .map(|connections| std::thread::spawn(move || ask(&connections, until)))
        .collect();
    let mut times: Vec<Duration> = clients
        .into_iter()
        .flat_map(|client| client.join().expect("it does not panic"))
        .collect();
    let handovers = handovers(&rt);
    stop.store(true, Ordering::Relaxed);
    let hog_ran = hog.join().expect("it does not panic");
    let took = began.elapsed();
    server.join().expect("it does not panic");
    times.sort_unstable();
    let percentile = times[times.len() * 99 / 100];
    Figure {
        value: percentile.as_secs_f64() * 1e3,
        handovers,
        hog: Some(100.0 * hog_ran.as_secs_f64() / took.as_secs_f64()),
    }
}

/// A thread per connection, which answers each byte with the next number.
fn serve(address: &std::sync::mpsc::Sender<std::net::SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    address
        .send(listener.local_addr().expect("an address"))
        .expect("somebody listens");
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (mut stream, _) = listener.accept().expect("a connection");
            lisle::thread::spawn(move || {
                let mut byte = [0];
                // Until the client has gone.
                while stream.read_exact(&mut byte).is_ok() {
                    byte[0] = byte[0].wrapping_add(1);
                    if stream.write_all(&byte).is_err() {
                        break;
                    }
                }
            })
        })
        .collect();
    for connection in connections {
        connection.join().expect("it does not panic");
    }
}

/// Asks on all connections and waits for all answers, again and again; once, if it begins late.
fn ask(connections: &[TcpStream], until: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    loop {
        let began = Instant::now();
        for mut stream in connections {
            stream.write_all(&[7]).expect("a server");
        }
        for mut stream in connections {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Some(left.max(Duration::from_millis(1)));
            stream.set_read_timeout(timeout).expect("a time");
            let mut byte = [0];
            let answered = stream.read_exact(&mut byte).is_ok();
            times.push(began.elapsed());
            if !answered {
                return times;
            }
            assert_eq!(byte[0], 8);
        }
        std::thread::sleep(PAUSE);
        if Instant::now() >= until {
            return times;
        }
    }
}
