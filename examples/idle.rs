//! What an idle process costs: 10,000 parked threads and a listening socket.
//!
//! Measures the CPU time that the whole process uses while nothing happens, by
//! default for 10 seconds (the first argument changes that), and checks it
//! against 1 ms per second. Run it by hand: it takes as long as it measures.
//!
//! `cargo run --release --example idle -- 10`
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use lisle::net::TcpListener;
use lisle::thread::{self, Builder, JoinHandle};

const THREADS: usize = 10_000;

/// CPU time of the process so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(done, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn light(f: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    // SAFETY: the closures below touch no thread-local.
    unsafe { Builder::new().spawn_light(f) }.expect("a thread needs a stack")
}

fn main() -> std::io::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(10), |text| text.parse());
    let seconds: u64 = seconds.expect("usage: idle [SECONDS]");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let acceptor = light(move || drop(listener.accept()));
    let parked: Vec<_> = (0..THREADS).map(|_| light(thread::park)).collect();

    // Let the LWPs fall asleep and give long-idle stacks back.
    std::thread::sleep(Duration::from_secs(2));
    let (cpu, wall) = (cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let (cpu, wall) = (cpu_time() - cpu, wall.elapsed());
    println!("{THREADS} parked threads and a listener: {cpu:?} of CPU in {wall:?}");

    parked.iter().for_each(|handle| handle.thread().unpark());
    parked.into_iter().for_each(|handle| handle.join().unwrap());
    acceptor.thread().cancel();
    assert!(
        acceptor
            .join()
            .unwrap_err()
            .is::<lisle::cancel::Cancelled>()
    );
    let allowed = Duration::from_millis(seconds.max(1));
    assert!(cpu <= allowed, "more than {allowed:?}");
    println!("ok: at most {allowed:?}");
    Ok(())
}
