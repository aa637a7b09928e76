//! Fork and join through the facade: results, panics, who runs what, waiting,
//! cancelling. Order, counts and results are asserted, never time.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "fork_join/cancelling.rs"]
mod cancelling;
#[path = "fork_join/cobegin.rs"]
mod cobegin;
#[path = "fork_join/panics.rs"]
mod panics;
#[path = "fork_join/results.rs"]
mod results;
#[path = "fork_join/stealing.rs"]
mod stealing;
mod support;
#[path = "fork_join/surroundings.rs"]
mod surroundings;

use lisle::thread::{Builder, JoinHandle};
use lisle::{Runtime, jobs};

/// Spawns a full thread on a runtime.
fn full<F, T>(runtime: &Runtime, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().on(runtime).spawn(f).unwrap()
}

/// Does `test` in each place from which one can join: full and light threads, on
/// one LWP and on several, a bound thread, a plain kernel thread; and under many seeds.
fn everywhere(test: fn()) {
    for lwps in [1, 2, 3] {
        let rt = support::runtime(lwps);
        full(&rt, test).join().unwrap();
        support::on(&rt, test).join().unwrap();
        support::end(rt);
    }
    Builder::new().bound().spawn(test).unwrap().join().unwrap();
    std::thread::spawn(test).join().unwrap();
    support::under_seeds(20, test);
}

/// Offers the oldest noted job, if an LWP is idle.
fn give_occasion() {
    jobs::scope(|s| s.join(|_| (), |_| ()));
}
