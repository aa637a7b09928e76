//! Threads that sleep, and how late they wake.

use std::io;
use std::time::{Duration, Instant};

use lisle::thread::{Builder, JoinHandle};
use lisle::time;

use crate::table::Table;

const STACK_SIZE: usize = 64 << 10;

/// The deadlines lie within this time, so that what is measured is the timers and not how many
/// threads can run at the same moment.
const SPREAD: Duration = Duration::from_secs(1);

/// Spawns threads that sleep to a deadline each; prints how late they were.
pub(crate) fn run(table: &Table, threads: usize) -> io::Result<()> {
    let began = Instant::now();
    // Time to spawn them all before the first wakes.
    let first = began + Duration::from_millis(500) + Duration::from_micros(5) * threads as u32;
    let spawn = |number: usize| -> io::Result<JoinHandle<Duration>> {
        // Neighbours do not follow one another.
        let place = (number * 7919) % threads;
        let deadline = first + SPREAD.mul_f64(place as f64 / threads as f64);
        let builder = Builder::new().stack_size(STACK_SIZE);
        // SAFETY: the closure touches no thread-local; reading the clock is a leaf.
        unsafe {
            builder.spawn_light(move || {
                time::sleep_until(deadline);
                deadline.elapsed()
            })
        }
    };
    let handles = (0..threads).map(spawn).collect::<io::Result<Vec<_>>>()?;
    table.times("spawned to sleep", threads, began.elapsed());
    if Instant::now() > first {
        println!("  (the first deadlines had passed by then: this machine is slow, or busy)");
    }
    let join = |handle: JoinHandle<Duration>| {
        handle
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))
    };
    let mut lateness = handles
        .into_iter()
        .map(join)
        .collect::<io::Result<Vec<_>>>()?;
    lateness.sort_unstable();
    table.percentiles("late", &lateness);
    Ok(())
}
