//! The sieve of Eratosthenes as a chain of threads.
//!
//! ```text
//! 2, 3, 4, … ──> no multiples of 2 ──> no multiples of 3 ──> of 5 ──> … ──> main
//! ```
//!
//! The first number that comes out of the end of the chain is a prime; a filter
//! for its multiples is put there, and so on. Shows threads as the natural unit
//! of a pipeline, and how it is taken down: when main drops the last receiver,
//! sends fail from the end of the chain to its beginning, and all threads end.
//!
//! The program is M. D. McIlroy's, after C. A. R. Hoare, "Communicating
//! sequential processes", 1978, section 6.1.
//!
//! ```text
//! cargo run --release --example sieve
//! ```

use std::io;

use lisle::channel::{Receiver, Sender, bounded};
use lisle::thread::{self, JoinHandle};

const PRIMES: usize = 200;

fn main() -> io::Result<()> {
    let primes = sieve(PRIMES)?;
    assert_eq!(primes, by_trial_division(PRIMES));
    let last = primes[PRIMES - 1];
    println!("ok: {PRIMES} primes, the last one is {last}");
    Ok(())
}

/// The first `count` primes, by as many threads.
fn sieve(count: usize) -> io::Result<Vec<u64>> {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut primes = Vec::new();

    let (sender, mut end) = bounded(0);
    threads.push(thread::Builder::new().spawn(move || count_from(2, &sender))?);
    while primes.len() < count {
        let prime = end.recv().expect("there is no last prime");
        primes.push(prime);
        let (sender, receiver) = bounded(0);
        let input = std::mem::replace(&mut end, receiver);
        let builder = thread::Builder::new().name(format!("filter {prime}"));
        threads.push(builder.spawn(move || filter(prime, &input, &sender))?);
    }

    drop(end);
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    Ok(primes)
}

/// Sends `first` and all numbers after it, until nobody wants them.
fn count_from(first: u64, output: &Sender<u64>) {
    for number in first.. {
        if output.send(number).is_err() {
            return;
        }
    }
}

/// Passes on what is no multiple of `prime`, until nobody wants it.
fn filter(prime: u64, input: &Receiver<u64>, output: &Sender<u64>) {
    for number in input {
        if number % prime != 0 && output.send(number).is_err() {
            return;
        }
    }
}

fn by_trial_division(count: usize) -> Vec<u64> {
    let is_prime = |n: &u64| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..).filter(is_prime).take(count).collect()
}
