//! Full threads that wait, all at once, with thread-locals of their own.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lisle::thread::{self, Builder, JoinHandle};

use crate::table::{Table, resident};

/// As for light threads; a full one needs some of it for its thread-locals.
const STACK_SIZE: usize = 64 << 10;

thread_local!(static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) });

fn spawn(parked: &Arc<AtomicUsize>) -> io::Result<JoinHandle<usize>> {
    let parked = Arc::clone(parked);
    let body = move || {
        // Its own, wherever it runs later.
        NUMBER.set(parked.fetch_add(1, Ordering::Relaxed));
        thread::park();
        NUMBER.get()
    };
    Builder::new().stack_size(STACK_SIZE).spawn(body)
}

/// Spawns them, waits until all are parked, wakes and joins them, and prints a row for each step.
pub(crate) fn run(table: &Table, threads: usize) -> io::Result<()> {
    let empty = resident()?;
    let parked = Arc::new(AtomicUsize::new(0));

    let began = Instant::now();
    let handles = (0..threads)
        .map(|_| spawn(&parked))
        .collect::<io::Result<Vec<_>>>()?;
    while parked.load(Ordering::Relaxed) < threads {
        thread::yield_now();
    }
    table.times("full, parked", threads, began.elapsed());
    table.memory("resident", threads, resident()?.saturating_sub(empty));

    let began = Instant::now();
    let mut sum = 0;
    for handle in &handles {
        handle.thread().unpark();
    }
    for handle in handles {
        sum += handle
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))?;
    }
    table.times("woken and joined", threads, began.elapsed());
    if sum != threads * threads.saturating_sub(1) / 2 {
        return Err(io::Error::other("the threads' numbers do not add up"));
    }
    Ok(())
}
