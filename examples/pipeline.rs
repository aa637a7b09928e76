//! A pipeline of 10,000 threads, each of which adds one.
//!
//! Neighbours meet in rendezvous channels, so at any time each stage holds at
//! most one number. Then the head goes, and the end of input runs through to the
//! tail.
//!
//! ```text
//! cargo run --release --example pipeline [stages [numbers]]
//! ```

use std::io;
use std::time::Instant;

use lisle::channel::bounded;
use lisle::thread::Builder;

fn main() -> io::Result<()> {
    let argument = |n, default| match std::env::args().nth(n) {
        Some(text) => text.parse().expect("the arguments are numbers"),
        None => default,
    };
    let stages: u64 = argument(1, 10_000);
    let numbers: u64 = argument(2, 20);
    let (head, mut tail) = bounded::<u64>(0);
    let begin = Instant::now();
    for _ in 0..stages {
        let (next, end) = bounded(0);
        let input = std::mem::replace(&mut tail, end);
        let stage = move || {
            for number in input {
                next.send(number + 1).expect("the next stage receives");
            }
        };
        // SAFETY: a stage waits in channels only, and touches no thread-local.
        unsafe { Builder::new().stack_size(16 << 10).spawn_light(stage) }?;
    }
    let built = begin.elapsed();
    let feeder = move || (0..numbers).for_each(|n| head.send(n).expect("the first one receives"));
    // SAFETY: likewise.
    unsafe { Builder::new().spawn_light(feeder) }?;
    let received: Vec<u64> = tail.iter().collect();
    let passed = begin.elapsed() - built;

    assert!(received.into_iter().eq(stages..stages + numbers));
    let each = passed.as_nanos() / u128::from((stages * numbers).max(1));
    println!(
        "ok: {stages} stages made in {built:.1?}, {numbers} numbers passed, {each} ns a stage"
    );
    Ok(())
}
