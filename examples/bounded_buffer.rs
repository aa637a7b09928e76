//! Producers and consumers around a bounded buffer, with three semaphores.
//!
//! | semaphore | counts | P by | V by |
//! |---|---|---|---|
//! | `empty` | free places | producers, before | consumers, after |
//! | `full` | items | consumers, before | producers, after |
//! | `mutex` | the right to touch the buffer | both | both |
//!
//! A producer takes a place before it takes the mutex: the other way round it
//! would hold the mutex while it waits for a consumer, who needs the mutex.
//!
//! E. W. Dijkstra, "Cooperating sequential processes", 1965, section 4.3. In a
//! program of today, `lisle::channel::bounded` is this buffer.
//!
//! ```text
//! cargo run --release --example bounded_buffer
//! ```
#![allow(clippy::disallowed_types)] // an example uses std's cells like any program

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use lisle::sync::Semaphore;
use lisle::thread;

const CAPACITY: usize = 8;
const PRODUCERS: u64 = 6;
const CONSUMERS: u64 = 4;
/// Per producer; the consumers share all of them equally.
const ITEMS: u64 = 10_000;

struct Buffer {
    empty: Semaphore,
    full: Semaphore,
    mutex: Semaphore,
    contents: UnsafeCell<Contents>,
}

struct Contents {
    items: VecDeque<u64>,
    /// The most that there ever was.
    most: usize,
}

// SAFETY: `contents` is only touched between P and V on `mutex`, so by one
// thread at a time.
unsafe impl Sync for Buffer {}

impl Buffer {
    fn new() -> Self {
        let contents = Contents {
            items: VecDeque::with_capacity(CAPACITY),
            most: 0,
        };
        Self {
            empty: Semaphore::new(CAPACITY),
            full: Semaphore::new(0),
            mutex: Semaphore::new(1),
            contents: UnsafeCell::new(contents),
        }
    }

    fn deposit(&self, item: u64) {
        self.empty.p();
        self.mutex.p();
        {
            // SAFETY: between P and V on `mutex`.
            let contents = unsafe { &mut *self.contents.get() };
            contents.items.push_back(item);
            contents.most = contents.most.max(contents.items.len());
        }
        self.mutex.v();
        self.full.v();
    }

    fn fetch(&self) -> Option<u64> {
        self.full.p();
        self.mutex.p();
        // SAFETY: between P and V on `mutex`.
        let item = unsafe { &mut *self.contents.get() }.items.pop_front();
        self.mutex.v();
        self.empty.v();
        item
    }
}

fn main() -> io::Result<()> {
    let buffer = Arc::new(Buffer::new());
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let buffer = buffer.clone();
        let produce = move || (0..ITEMS).for_each(|i| buffer.deposit(number * ITEMS + i));
        producers.push(thread::Builder::new().spawn(produce)?);
    }
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        let buffer = buffer.clone();
        let fetch = move |_| buffer.fetch().expect("P on `full` promises an item");
        let consume = move || (0..PRODUCERS * ITEMS / CONSUMERS).map(fetch).sum::<u64>();
        consumers.push(thread::Builder::new().spawn(consume)?);
    }
    let mut sum = 0;
    for consumer in consumers {
        sum += consumer.join().expect("no consumer panics");
    }
    for producer in producers {
        producer.join().expect("no producer panics");
    }

    let total = PRODUCERS * ITEMS;
    assert_eq!(sum, (0..total).sum::<u64>(), "every item once");
    let buffer = Arc::into_inner(buffer).expect("all threads have ended");
    let contents = buffer.contents.into_inner();
    assert!(contents.items.is_empty());
    assert!((1..=CAPACITY).contains(&contents.most));
    let most = contents.most;
    println!("ok: {total} items, at most {most} of {CAPACITY} places in use");
    Ok(())
}
