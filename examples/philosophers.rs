//! The dining philosophers: semaphores, and deadlock prevented by order.
//!
//! Five philosophers sit around a table with a fork between each two; eating
//! takes both forks. If everybody took the left one first, all could wait for
//! the right one for ever. So the forks are numbered and each philosopher takes
//! the lower number first: in any circle of waiting somebody would have to wait
//! for a lower number than one already held.
//!
//! E. W. Dijkstra, "Hierarchical ordering of sequential processes", 1971.
//!
//! ```text
//! cargo run --release --example philosophers
//! ```
#![allow(clippy::disallowed_types)] // an example uses std's atomics like any program

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use lisle::sync::Semaphore;
use lisle::thread;

const PHILOSOPHERS: usize = 5;
const MEALS: usize = 2_000;

/// A fork, and whether somebody eats with it: what the semaphore must prevent
/// is seen, not assumed.
struct Fork {
    free: Semaphore,
    in_use: AtomicBool,
}

static TABLE: [Fork; PHILOSOPHERS] = [const {
    Fork {
        free: Semaphore::new(1),
        in_use: AtomicBool::new(false),
    }
}; PHILOSOPHERS];

/// What a philosopher remembers.
struct Evening {
    meals: usize,
    /// Meals for which a neighbour used one of the forks at the same time.
    shared: usize,
}

fn main() -> io::Result<()> {
    let mut philosophers = Vec::new();
    for seat in 0..PHILOSOPHERS {
        let builder = thread::Builder::new().name(format!("philosopher {seat}"));
        philosophers.push(builder.spawn(move || dine(seat))?);
    }
    for (seat, philosopher) in philosophers.into_iter().enumerate() {
        let evening = philosopher.join().expect("no philosopher panics");
        assert_eq!(evening.meals, MEALS, "philosopher {seat}");
        assert_eq!(evening.shared, 0, "philosopher {seat}");
        println!("philosopher {seat} ate {} times", evening.meals);
    }
    for fork in &TABLE {
        assert_eq!(fork.free.available_permits(), 1);
    }
    println!("ok: {PHILOSOPHERS} philosophers ate {MEALS} times each");
    Ok(())
}

fn dine(seat: usize) -> Evening {
    let right = (seat + 1) % PHILOSOPHERS;
    let first = &TABLE[seat.min(right)];
    let second = &TABLE[seat.max(right)];
    let mut evening = Evening {
        meals: 0,
        shared: 0,
    };
    for _ in 0..MEALS {
        first.free.p();
        // The worst moment to let the others run.
        thread::yield_now();
        second.free.p();

        let taken = [first, second].map(|fork| fork.in_use.swap(true, Ordering::Relaxed));
        thread::yield_now();
        evening.shared += usize::from(taken.contains(&true));
        evening.meals += 1;
        for fork in [first, second] {
            fork.in_use.store(false, Ordering::Relaxed);
        }

        second.free.v();
        first.free.v();
    }
    evening
}
