//! Threads that park until they are woken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lisle::thread::{self, Builder, JoinHandle};

use crate::table::{Table, resident};

/// Which threads.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Light,
    Full,
}

impl Kind {
    /// Address space for a stack. Memory is taken as it is touched, a page or two each. Not the same
    /// for both: so that the second kind uses no stacks that the first has left warm.
    fn stack_size(self) -> usize {
        match self {
            Kind::Light => 64 << 10,
            Kind::Full => 128 << 10,
        }
    }
}

fn spawn(kind: Kind, parked: &Arc<AtomicUsize>) -> io::Result<JoinHandle<usize>> {
    let parked = Arc::clone(parked);
    let builder = Builder::new().stack_size(kind.stack_size());
    let body = move || {
        let number = parked.fetch_add(1, Ordering::Relaxed);
        thread::park();
        number
    };
    match kind {
        // SAFETY: the closure touches no thread-local.
        Kind::Light => unsafe { builder.spawn_light(body) },
        Kind::Full => builder.spawn(body),
    }
}

/// Spawns them, waits until all are parked, wakes and joins them, and prints a row for each step.
pub(crate) fn run(table: &Table, kind: Kind, threads: usize) -> io::Result<()> {
    let empty = resident()?;
    let parked = Arc::new(AtomicUsize::new(0));
    let mut handles = Vec::with_capacity(threads);

    let began = Instant::now();
    for _ in 0..threads {
        match spawn(kind, &parked) {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                // Those that are there are woken and joined all the same.
                eprintln!("no more than {} threads: {error}", handles.len());
                break;
            }
        }
    }
    let threads = handles.len();
    while parked.load(Ordering::Relaxed) < threads {
        thread::yield_now();
    }
    let spawned = match kind {
        Kind::Light => "light: spawned, parked",
        Kind::Full => "full: spawned, parked",
    };
    table.times(spawned, threads, began.elapsed());
    table.memory("resident", threads, resident()?.saturating_sub(empty));

    let began = Instant::now();
    for handle in &handles {
        handle.thread().unpark();
    }
    table.times("woken", threads, began.elapsed());

    let began = Instant::now();
    let mut sum = 0;
    for handle in handles {
        sum += handle
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))?;
    }
    table.times("joined", threads, began.elapsed());
    // Each returned its own number.
    if sum != threads * threads.saturating_sub(1) / 2 {
        return Err(io::Error::other("the threads' numbers do not add up"));
    }
    Ok(())
}
