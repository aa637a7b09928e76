//! A million threads: what they cost in memory and time, as a table.
//!
//! ```text
//! cargo run --release --example million                     1,000,000 and 100,000
//! cargo run --release --example million -- 10000 1000       fewer parked, fewer sleepers
//! ```
//!
//! | row | what happens |
//! |---|---|
//! | parked | light threads are spawned and park, all at once; then all are woken and joined |
//! | sleeping | light threads sleep until the same moments, spread over a second; how late each one wakes |
//!
//! No limit of the system need be raised: threads are not kernel threads, their stacks are a few
//! mappings, and their guard pages are none. (On kernels before 6.13 guard pages are mappings, of
//! which a process has 65,530; the table then says how many threads there were.)
//!
//! | file | what it holds |
//! |---|---|
//! | `parked.rs` | the first row |
//! | `sleeping.rs` | the second |
//! | `table.rs` | printing, and looking at the process |
#![allow(clippy::disallowed_types)] // an example uses std's atomics like any program

mod parked;
mod sleeping;
mod table;

use std::process::ExitCode;

use table::Table;

/// How many threads park, and how many sleep.
fn sizes() -> Result<(usize, usize), std::num::ParseIntError> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    Ok((next(1_000_000)?, next(100_000)?))
}

fn main() -> ExitCode {
    let Ok((parked, sleeping)) = sizes() else {
        eprintln!("usage: million [PARKED [SLEEPING]]");
        return ExitCode::from(2);
    };
    lisle::run(|| {
        let table = Table::begin();
        let rows = [parked::run(&table, parked), sleeping::run(&table, sleeping)];
        match rows.into_iter().collect::<std::io::Result<Vec<_>>>() {
            Ok(_) => {
                println!("ok: {parked} threads parked and {sleeping} slept");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("million: {error}");
                ExitCode::FAILURE
            }
        }
    })
}
