//! A hundred thousand full threads at once.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::thread::{self, Builder};

use super::travel::joined;
use crate::support::{alone, end, many, runtime, watchdog};

thread_local!(static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) });

fn all_at_once(n: usize) {
    let rt = runtime(2);
    let parked = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..n)
        .map(|number| {
            let parked = parked.clone();
            let body = move || {
                assert_eq!(NUMBER.replace(number), usize::MAX);
                parked.fetch_add(1, Ordering::SeqCst);
                thread::park();
                thread::yield_now();
                NUMBER.get()
            };
            let small = Builder::new().on(&rt).stack_size(64 << 10);
            small.spawn(body).unwrap()
        })
        .collect();
    crate::support::until(|| parked.load(Ordering::SeqCst) == n);
    threads.iter().for_each(|thread| thread.thread().unpark());
    assert!(joined(threads).into_iter().eq(0..n));
    end(rt);
}

#[test]
fn a_hundred_thousand_threads_at_once() {
    let _dog = watchdog();
    alone("masses::a_hundred_thousand_threads_at_once", || {
        all_at_once(many(100_000));
    });
}
