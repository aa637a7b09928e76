//! A million threads: what they cost in memory and time, as a table.
//!
//! ```text
//! cargo run --release --example million                        1,000,000 light, 100,000 full, 100,000 sleepers
//! cargo run --release --example million -- 10000 1000 1000     fewer of each
//! ```
//!
//! | rows | what happens |
//! |---|---|
//! | full | full threads, each with thread-locals of its own, are spawned and park, all at once; then all are woken and joined |
//! | light | the same with light threads (as many control blocks as there were full threads are there already) |
//! | sleep | light threads sleep until the same moments, spread over a second; how late each one wakes |
//!
//! No limit of the system need be raised: threads are not kernel threads, their stacks are a few
//! mappings, and their guard pages are none. (On kernels before 6.13 guard pages are mappings, of
//! which a process has 65,530; the table then says how many threads there were.)
//!
//! | file | what it holds |
//! |---|---|
//! | `parked.rs` | light and full |
//! | `sleeping.rs` | sleep |
//! | `table.rs` | printing, and looking at the process |
#![allow(clippy::disallowed_types)] // an example uses std's atomics like any program

mod parked;
mod sleeping;
mod table;

use std::process::ExitCode;

use parked::Kind;
use table::Table;

/// How many light threads park, how many full ones, and how many sleep.
fn sizes() -> Result<[usize; 3], std::num::ParseIntError> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    Ok([next(1_000_000)?, next(100_000)?, next(100_000)?])
}

fn run([light, full, sleeping]: [usize; 3]) -> std::io::Result<()> {
    let table = Table::begin();
    parked::run(&table, Kind::Full, full)?;
    parked::run(&table, Kind::Light, light)?;
    sleeping::run(&table, sleeping)
}

fn main() -> ExitCode {
    let Ok(sizes) = sizes() else {
        eprintln!("usage: million [LIGHT [FULL [SLEEPING]]]");
        return ExitCode::from(2);
    };
    lisle::run(move || match run(sizes) {
        Ok(()) => {
            let [light, full, sleeping] = sizes;
            println!("ok: {light} light and {full} full threads parked, {sleeping} slept");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("million: {error}");
            ExitCode::FAILURE
        }
    })
}
