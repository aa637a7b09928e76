//! What upcalls are good for: threads that block in the kernel or compute on and on, and know nothing of lisle
//! while they do, beside others that have work to do.
//!
//! ```text
//! cargo run --release --example upcalls              the table, about two minutes
//! cargo run --release --example upcalls -- --quick   a few seconds: does it work at all?
//! cargo run --release --example upcalls -- 2         only the rows that begin so
//! ```
//!
//! Each row is measured four times: with upcalls and without, on a machine that has nothing else to do and
//! beside one process per CPU that computes all the time.
//!
//! | file | what it holds |
//! |---|---|
//! | `pipes.rs` | 1: thousands of short blocking reads beside a thread that computes |
//! | `crowd.rs` | 2: many threads that block in the C library, against kernel threads |
//! | `hogs.rs` | 3: threads that never give way beside a server |
//! | `mapped.rs` | 4: page faults |
//! | `rivals.rs` | processes that compete for the CPUs |
#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // what knows nothing of lisle uses std

mod crowd;
mod hogs;
mod mapped;
mod pipes;
mod rivals;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lisle::Runtime;
use lisle::upcall::Source;
use rivals::Rivals;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    /// How long each figure takes.
    window: Duration,
    /// How many reads the first row makes.
    reads: usize,
    /// How many threads the second has.
    threads: usize,
    quick: bool,
}

const FULL: Plan = Plan {
    window: Duration::from_millis(2_500),
    reads: 3_000,
    threads: 200,
    quick: false,
};

const QUICK: Plan = Plan {
    window: Duration::from_millis(250),
    reads: 200,
    threads: 50,
    quick: true,
};

/// What a figure should be.
#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    Below(f64),
}

impl Target {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Target::AtLeast(bound) => figure >= bound,
            Target::Below(bound) => figure < bound,
        }
    }
}

/// One thing that is measured in one run.
struct Figure {
    value: f64,
    /// How often an LWP went on without a thread.
    handovers: u64,
    /// How much of a CPU the thread had that never gives way, in percent.
    hog: Option<f64>,
}

struct Row {
    name: &'static str,
    unit: &'static str,
    target: Target,
    measure: fn(&Plan, Source) -> Figure,
}

const ROWS: [Row; 8] = [
    Row {
        name: "1 pipe reads of 400 µs: speed left to a computing thread",
        unit: "%",
        target: Target::AtLeast(80.0),
        measure: pipes::share,
    },
    Row {
        name: "2 std::thread::sleep(10 ms), against kernel threads",
        unit: "%",
        target: Target::AtLeast(80.0),
        measure: |plan, source| crowd::against_kernel_threads(plan, source, crowd::sleep),
    },
    Row {
        name: "2 flock held for 0.1 ms, against kernel threads",
        unit: "%",
        target: Target::AtLeast(80.0),
        measure: |plan, source| crowd::against_kernel_threads(plan, source, crowd::flock),
    },
    Row {
        name: "2 getaddrinfo, against kernel threads",
        unit: "%",
        target: Target::AtLeast(80.0),
        measure: |plan, source| crowd::against_kernel_threads(plan, source, crowd::getaddrinfo),
    },
    Row {
        name: "2 C mutex held for 5 ms, against kernel threads",
        unit: "%",
        target: Target::AtLeast(80.0),
        measure: |plan, source| crowd::against_kernel_threads(plan, source, crowd::c_mutex),
    },
    Row {
        name: "3 a loop beside 100 connections: their 99th percentile",
        unit: " ms",
        target: Target::Below(30.0),
        measure: |plan, source| hogs::latency(plan, source, hogs::pure_loop),
    },
    Row {
        name: "3 malloc, free, fprintf beside 100 connections: the same",
        unit: " ms",
        target: Target::Below(30.0),
        measure: |plan, source| hogs::latency(plan, source, hogs::libc_calls),
    },
    Row {
        name: "4 a cold mapped file: speed left to a computing thread",
        unit: "%",
        // It must not stop. How much is left is a matter of the disk, too: a fault of some ten microseconds is over
        // before anybody notices.
        target: Target::AtLeast(25.0),
        measure: mapped::share,
    },
];

/// A runtime with upcalls or without.
fn runtime(lwps: usize, source: Source) -> Runtime {
    let builder = Runtime::builder().lwps(lwps).upcalls(source);
    builder.build().expect("a runtime")
}

/// How often LWPs of the runtime went on without a thread.
fn handovers(runtime: &Runtime) -> u64 {
    let counters = runtime.upcalls();
    counters.blocked + counters.preempted
}

fn main() -> ExitCode {
    let mut plan = FULL;
    let mut wanted = String::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--rival" => rivals::compete(),
            "--quick" => plan = QUICK,
            rows => wanted = rows.to_owned(),
        }
    }
    let rows = ROWS.iter().filter(|row| row.name.starts_with(&wanted));
    println!(
        "{:58} {:^23} {:^23}",
        "", "nothing else runs", "CPUs are contended"
    );
    println!(
        "{:58} {:>11} {:>11} {:>11} {:>11}  hand-overs",
        "", "upcalls", "without", "upcalls", "without"
    );
    let (mut missed, mut lines) = (0, 0);
    let began = Instant::now();
    for row in rows {
        let mut cells = String::new();
        let mut handovers = Vec::new();
        for contended in [false, true] {
            let rivals = contended.then(Rivals::start);
            for source in [Source::Auto, Source::Off] {
                let figure = (row.measure)(&plan, source);
                let met = source == Source::Off || row.target.is_met(figure.value);
                missed += usize::from(!met);
                let mark = if met { ' ' } else { '!' };
                cells += &format!(" {:>10}{mark}", format!("{:.1}{}", figure.value, row.unit));
                if source == Source::Auto {
                    handovers.push(match figure.hog {
                        Some(share) => format!("{}, hog {share:.0}% of a CPU", figure.handovers),
                        None => figure.handovers.to_string(),
                    });
                }
            }
            drop(rivals);
        }
        println!("{:58}{cells}  {}", row.name, handovers.join("; "));
        lines += 1;
    }
    let seconds = began.elapsed().as_secs();
    // Too short for figures that mean anything.
    if missed > 0 && !plan.quick {
        println!("{missed} figures miss their target (!); {seconds} s");
        return ExitCode::FAILURE;
    }
    println!("ok: {lines} rows, {missed} figures off their target, {seconds} s");
    ExitCode::SUCCESS
}
