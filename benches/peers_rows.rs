//! lisle's rows for `benches/peers/run.sh`: the same workloads as the programs beside it. Prints "workload, lisle,
//! workers, ns per operation". Arguments name workloads; without any, all run.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Lisle, Threads, WORKERS};
use lisle::channel;
use lisle::sync::Mutex;

/// A sender of an unbounded stream yields after so many words.
const BURST: u64 = 256;

/// Runs threads and waits for them.
fn crowd(threads: Vec<<Lisle as Threads>::Handle<()>>) {
    threads.into_iter().for_each(Lisle::join);
}

fn yields(n: u64) -> Duration {
    let start = Instant::now();
    let yields = move || (0..n / 2).for_each(|_| Lisle::yield_now());
    crowd((0..2).map(|_| Lisle::spawn(yields)).collect());
    start.elapsed()
}

fn spawn_join(n: u64) -> Duration {
    let start = Instant::now();
    (0..n).for_each(|_| Lisle::join(Lisle::spawn(|| ())));
    start.elapsed()
}

fn ping_pong(n: u64) -> Duration {
    let (ping, pinged) = channel::bounded::<u64>(0);
    let (pong, ponged) = channel::bounded(0);
    let partner = Lisle::spawn(move || pinged.iter().for_each(|word| pong.send(word).unwrap()));
    ping.send(0).unwrap();
    ponged.recv().unwrap();
    let start = Instant::now();
    for word in 0..n {
        ping.send(word).unwrap();
        ponged.recv().unwrap();
    }
    let took = start.elapsed();
    drop(ping);
    Lisle::join(partner);
    took
}

fn stream(ends: (channel::Sender<u64>, channel::Receiver<u64>), by: [u64; 2], n: u64) -> Duration {
    let [senders, receivers] = by;
    let (sender, receiver) = ends;
    let each = n / (senders * receivers);
    let is_bounded = sender.capacity().is_some();
    let start = Instant::now();
    let mut threads = Vec::new();
    for _ in 0..receivers {
        let receiver = receiver.clone();
        threads.push(Lisle::spawn(move || {
            (0..each * senders).for_each(|_| _ = receiver.recv().unwrap());
        }));
    }
    for _ in 0..senders {
        let sender = sender.clone();
        threads.push(Lisle::spawn(move || {
            for word in 1..=each * receivers {
                sender.send(word).unwrap();
                if !is_bounded && word % BURST == 0 {
                    Lisle::yield_now();
                }
            }
        }));
    }
    crowd(threads);
    start.elapsed()
}

fn mutex(n: u64) -> Duration {
    const THREADS: u64 = 8;
    let count = Arc::new(Mutex::new(0));
    let start = Instant::now();
    let threads = (0..THREADS).map(|_| {
        let count = count.clone();
        Lisle::spawn(move || (0..n / THREADS).for_each(|_| *count.lock().unwrap() += 1))
    });
    crowd(threads.collect());
    let took = start.elapsed();
    assert_eq!(*count.lock().unwrap(), n / THREADS * THREADS);
    took
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let workloads: [(&str, u64, fn(u64) -> Duration); 7] = [
        ("yield", 1_000_000, yields),
        ("spawn+join", 300_000, spawn_join),
        ("ping-pong", 300_000, ping_pong),
        ("bounded 1:1", 2_000_000, |n| {
            stream(channel::bounded(1024), [1, 1], n)
        }),
        ("bounded 4:4", 2_000_000, |n| {
            stream(channel::bounded(1024), [4, 4], n)
        }),
        ("unbounded 4:1", 2_000_000, |n| {
            stream(channel::unbounded(), [4, 1], n)
        }),
        ("mutex x8", 4_000_000, mutex),
    ];
    for (name, n, run) in workloads {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            let took = Lisle::run(move || run(n)).as_nanos() as f64 / n as f64;
            println!("{name},lisle,{},{took:.1}", *WORKERS);
        }
    }
}
