//! Models of the runtime's protocols, for loom. Each test is named for the race
//! it looks at.
//!
//! The code under test is the code that ships: the wait word, the wait list,
//! joining, the injector, the sleepers. What stands around it here is small: a
//! thread waits on its own [`Sleeper`](lisle_lwp::sleep::Sleeper), like a kernel
//! thread from outside ([`model`](crate::model)); stacks, results and contexts
//! are loom cells, so that using one too early, too late or twice is a race; a
//! lost wake-up is a deadlock.

mod join;
mod list;
mod queue;
mod sleepers;
mod wait;

use std::sync::Arc;

use lisle_lwp::shim::Cell;

/// Data that somebody writes before an event and somebody reads after it. Loom
/// reports it if the two are not ordered.
#[derive(Debug, Clone)]
struct Data(Arc<Cell<u32>>);

// SAFETY: that the cell is never touched concurrently is what the models check.
unsafe impl Sync for Data {}
// SAFETY: as above.
unsafe impl Send for Data {}

impl Data {
    fn new() -> Data {
        Data(Arc::new(Cell::new(0)))
    }

    fn add_one(&self) {
        // SAFETY: loom reports any concurrent access.
        self.0.with_mut(|data| unsafe { *data += 1 });
    }

    fn get(&self) -> u32 {
        // SAFETY: loom reports any concurrent access.
        self.0.with(|data| unsafe { *data })
    }
}
