//! Two threads and two channels: a number goes to and fro.
//!
//! Shows rendezvous channels, where sender and receiver wait for each other
//! (C. A. R. Hoare, "Communicating sequential processes", 1978), and how a
//! dropped sender ends the other side's loop. Each round trip is two messages
//! and, on one LWP, four switches at most.
//!
//! ```text
//! cargo run --release --example ping_pong [round trips]
//! ```

use std::io;
use std::time::Instant;

use lisle::channel::{Receiver, Sender, bounded};
use lisle::thread;

fn main() -> io::Result<()> {
    let trips: u64 = match std::env::args().nth(1) {
        Some(text) => text.parse().expect("the argument is a number"),
        None => 100_000,
    };
    let (to_pong, from_ping) = bounded(0);
    let (to_ping, from_pong) = bounded(0);
    let begin = Instant::now();
    let pong = thread::Builder::new().spawn(move || pong(&from_ping, &to_ping))?;
    let ping = thread::Builder::new().spawn(move || ping(trips, &to_pong, &from_pong))?;
    let sum = ping.join().expect("ping does not panic");
    let answered = pong.join().expect("pong does not panic");
    let elapsed = begin.elapsed();

    assert_eq!(answered, trips);
    assert_eq!(sum, (1..=trips).sum::<u64>());
    let each = elapsed.as_nanos() / u128::from(trips.max(1));
    println!("ok: {trips} round trips, {each} ns each");
    Ok(())
}

/// Sends 0, 1, 2, …, each after the answer to the one before; returns the sum of
/// the answers.
fn ping(trips: u64, to_pong: &Sender<u64>, from_pong: &Receiver<u64>) -> u64 {
    let trip = |number| {
        to_pong.send(number).expect("pong waits");
        from_pong.recv().expect("pong answers")
    };
    (0..trips).map(trip).sum()
}

/// Answers each number with the next one until ping is gone; returns how many.
fn pong(from_ping: &Receiver<u64>, to_ping: &Sender<u64>) -> u64 {
    let mut answered = 0;
    for number in from_ping {
        to_ping.send(number + 1).expect("ping waits");
        answered += 1;
    }
    answered
}
