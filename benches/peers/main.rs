//! The same workloads on lisle and on its peers, side by side: one table, a CSV file and a chart.
//!
//! ```text
//! cargo bench --bench peers                       all of it: some ten minutes
//! cargo bench --bench peers -- yield spawn        workloads whose names contain one of these
//! cargo bench --bench peers -- --rounds 3 …       fewer rounds than five
//! cargo bench --bench peers -- --list             what there is
//! ```
//!
//! Each contestant runs in a process of its own, with one worker (LWP) and with two; the processes take turns, for
//! several rounds, so that a disturbance meets all of them. A process takes several samples; the table shows the median and
//! the least of all samples of all rounds, and how many times as long as lisle's light threads the peer takes. Below it
//! stand lisle's targets: lisle's median over that of the best M:N peer of the same run.
//!
//! Go and Boost.Fiber take part if `benches/peers/run.sh` finds their compilers. What was measured by hand, and how each
//! peer is built, stands in `benches/PEERS.md`. Results are written to `target/peers/`: `peers.csv`, `peers.svg`,
//! `peers.md`.
//!
//! | file | what it holds |
//! |---|---|
//! | `blocking.rs` | the workloads for threads that block where they stand |
//! | `tasks.rs` | the same for the tasks of executors |
//! | `forks.rs` | fork and join |
//! | `crowd.rs` | very many threads that wait |
//! | `machine.rs` | what the machine alone takes for some of it |
//! | `driver.rs` | processes and rounds |
//! | `report.rs`, `chart.rs` | the results |

// Benches use std's blocking and atomics like any program.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod blocking;
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod driver;
mod forks;
mod machine;
#[path = "../common/provenance.rs"]
mod provenance;
mod report;
mod tasks;

use std::process::ExitCode;
use std::time::Duration;

use crate::common::Measure;

/// One workload on one contestant.
pub(crate) struct Entry {
    pub(crate) workload: &'static str,
    pub(crate) peer: &'static str,
    /// With how many workers it runs.
    pub(crate) workers: &'static [usize],
    pub(crate) body: Body,
}

/// How an entry is measured.
pub(crate) enum Body {
    /// Operations to the time they take; as many as make a sample.
    Timed(Measure),
    /// One run gives one sample of each of several figures, named with their units.
    Figures(fn() -> Vec<(&'static str, f64)>),
}

const ONE: &[usize] = &[1];
const BOTH: &[usize] = &[1, 2];

const fn timed(
    workload: &'static str,
    peer: &'static str,
    workers: &'static [usize],
    measure: Measure,
) -> Entry {
    let body = Body::Timed(measure);
    Entry {
        workload,
        peer,
        workers,
        body,
    }
}

/// All entries.
pub(crate) fn entries() -> Vec<Entry> {
    let groups = [
        blocking::entries(),
        tasks::entries(),
        forks::entries(),
        crowd::entries(),
        machine::entries(),
    ];
    groups.into_iter().flatten().collect()
}

/// How long a sample should take, and how many a process takes.
const SAMPLE: Duration = Duration::from_millis(40);
const SAMPLES: u32 = 4;

/// The body of a contestant's process: prints `FIGURE VALUE` lines.
fn contest(workload: &str, peer: &str) -> ExitCode {
    let entries = entries();
    let same = |entry: &&Entry| entry.workload == workload && entry.peer == peer;
    let Some(entry) = entries.iter().find(same) else {
        eprintln!("peers: no contestant {peer} for {workload}");
        return ExitCode::from(2);
    };
    match entry.body {
        Body::Timed(measure) => {
            let operations = calibrate(measure);
            for _ in 0..SAMPLES {
                let took = measure(operations).as_nanos() as f64;
                println!("ns {}", took / operations as f64);
            }
        }
        Body::Figures(run) => run()
            .iter()
            .for_each(|(unit, value)| println!("{unit} {value}")),
    }
    ExitCode::SUCCESS
}

/// How many operations take about as long as a sample should.
fn calibrate(measure: Measure) -> u64 {
    let mut operations = 100;
    loop {
        let took = measure(operations);
        if took * 4 >= SAMPLE || operations >= 1 << 30 {
            let scale = SAMPLE.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return ((operations as f64 * scale) as u64).max(1);
        }
        operations *= 4;
    }
}

/// What the command line asks for.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) rounds: u32,
    pub(crate) list: bool,
    pub(crate) patterns: Vec<String>,
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        rounds: 5,
        ..Options::default()
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("list") => options.list = true,
            // What `cargo bench` and `cargo test` pass.
            Long("bench") => (),
            Value(pattern) => options.patterns.push(pattern.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let contestant = std::env::var("LISLE_PEERS_ENTRY").ok();
    if let Some((workload, peer)) = contestant
        .as_deref()
        .and_then(|entry| entry.split_once('/'))
    {
        return contest(workload, peer);
    }
    match options() {
        Ok(options) => driver::run(&options),
        Err(error) => {
            eprintln!("peers: {error}; see benches/peers/main.rs");
            ExitCode::from(2)
        }
    }
}
