//! Cost curves: what a yield, a spawn, a wake-up and a parked thread cost, against the number of threads and of LWPs.
//!
//! ```text
//! cargo bench --bench curves                  all of it: some three minutes
//! cargo bench --bench curves -- --rounds 1    fewer rounds than three
//! ```
//!
//! Each point is measured in a process of its own, with a runtime of its own; the processes take turns for several rounds,
//! and the median counts. A point is a kind of thread, a number of threads and a number of LWPs: 10 to 1,000,000 light
//! threads (100,000 full ones) on one LWP, and 10,000 of them on 1 to 64 LWPs, most of which have no CPU.
//!
//! | figure | unit | what is measured |
//! |---|---|---|
//! | memory | bytes | what a parked thread adds to the resident memory: stack, control block, and what the program keeps |
//! | wake | ns | all wait at one semaphore and get a permit each: until the last has run, over the number of threads |
//! | yield | ns | all yield in turns: over the number of yields |
//! | spawn | ns | all are spawned, yield once and are joined: over the number of threads, which exist for the second time |
//!
//! Nothing here has a target: a curve that grows faster than its neighbours' does is the finding. Results are printed, and
//! written to `target/curves/`: `curves.md`, `curves.csv`, `curves.svg`.

// Benches use std's blocking and atomics like any program.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod chart;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/provenance.rs"]
mod provenance;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use std::{fs, io};

use lisle::Runtime;
use lisle::sync::Semaphore;
use lisle::thread::{Builder, JoinHandle, yield_now};

use crate::common::resident;

/// In the order of the charts.
const FIGURES: [(&str, &str); 4] = [
    ("yield", "ns"),
    ("spawn", "ns"),
    ("wake", "ns"),
    ("memory", "bytes"),
];

/// The smallest stack that lisle has.
const STACK: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Light,
    Full,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Light, Kind::Full];

    fn name(self) -> &'static str {
        match self {
            Kind::Light => "light",
            Kind::Full => "full",
        }
    }

    fn spawn(self, runtime: &Runtime, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        let builder = Builder::new().on(runtime).stack_size(STACK);
        match self {
            // SAFETY: the bodies below wait, yield and count; nothing touches a thread-local.
            Kind::Light => unsafe { builder.spawn_light(body) },
            Kind::Full => builder.spawn(body),
        }
        .expect("lisle spawns")
    }
}

/// What is measured in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    kind: Kind,
    threads: usize,
    lwps: usize,
}

/// How many threads the curves against LWPs have.
const CROWD: usize = 10_000;

impl Point {
    fn all() -> Vec<Point> {
        let mut points = Vec::new();
        for kind in Kind::ALL {
            let most = match kind {
                Kind::Light => 6,
                Kind::Full => 5,
            };
            points.extend((1..=most).map(|power| Point {
                kind,
                threads: 10usize.pow(power),
                lwps: 1,
            }));
            // With one LWP, it is among those above.
            points.extend((1..=6).map(|power| Point {
                kind,
                threads: CROWD,
                lwps: 1 << power,
            }));
        }
        points
    }

    fn parse(text: &str) -> Option<Point> {
        let mut words = text.split(' ');
        let name = words.next()?;
        Some(Point {
            kind: Kind::ALL.into_iter().find(|kind| kind.name() == name)?,
            threads: words.next()?.parse().ok()?,
            lwps: words.next()?.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.kind.name(), self.threads, self.lwps)
    }
}

// --- one point ------------------------------------------------------------------------------------------------------

/// Where all threads stop, to go on together.
struct Stages {
    count: usize,
    arrived: AtomicUsize,
    /// The last to arrive at a stage says so.
    all_arrived: Semaphore,
    first: Semaphore,
    second: Semaphore,
    begin: AtomicBool,
}

impl Stages {
    fn arrive(&self) {
        if (self.arrived.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.count) {
            self.all_arrived.v();
        }
    }
}

/// The figures of a point, in the order of [`FIGURES`]. Runs in a thread of the runtime.
fn figures(runtime: &Runtime, Point { kind, threads, .. }: Point) -> [f64; 4] {
    // Enough of each that the clock and the first turns do not show.
    let yields = (2_000_000 / threads).max(20);
    let rounds = (200_000 / threads).max(1);
    let stages = Arc::new(Stages {
        count: threads,
        arrived: AtomicUsize::new(0),
        all_arrived: Semaphore::new(0),
        first: Semaphore::new(0),
        second: Semaphore::new(0),
        begin: AtomicBool::new(false),
    });
    let body = {
        let stages = stages.clone();
        move || {
            stages.arrive();
            stages.first.p();
            stages.arrive();
            stages.second.p();
            stages.arrive();
            while !stages.begin.load(Ordering::Acquire) {
                yield_now();
            }
            (0..yields).for_each(|_| yield_now());
            stages.arrive();
        }
    };
    let mut handles = Vec::with_capacity(threads);
    let before = resident();
    handles.extend((0..threads).map(|_| kind.spawn(runtime, body.clone())));
    stages.all_arrived.p();
    let memory = (resident() - before) / threads as f64;

    let start = Instant::now();
    stages.first.add_permits(threads);
    stages.all_arrived.p();
    let wake = nanoseconds(start) / threads as f64;

    stages.second.add_permits(threads);
    stages.all_arrived.p();
    let start = Instant::now();
    stages.begin.store(true, Ordering::Release);
    stages.all_arrived.p();
    let yielding = nanoseconds(start) / (yields * threads) as f64;
    handles.drain(..).for_each(join);

    let start = Instant::now();
    for _ in 0..rounds {
        handles.extend((0..threads).map(|_| kind.spawn(runtime, yield_now)));
        handles.drain(..).for_each(join);
    }
    let spawn = nanoseconds(start) / (rounds * threads) as f64;
    [yielding, spawn, wake, memory]
}

fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_nanos() as f64
}

fn join(handle: JoinHandle<()>) {
    handle.join().expect("the thread returns");
}

/// The body of a point's process: prints its figures in one line.
fn measure(point: Point) {
    let runtime = Runtime::builder()
        .lwps(point.lwps)
        .build()
        .expect("lisle's runtime starts");
    let runtime = Arc::new(runtime);
    let (sender, figures_of) = std::sync::mpsc::channel();
    let inner = runtime.clone();
    let measuring = point.kind.spawn(&runtime, move || {
        sender
            .send(figures(&inner, point))
            .expect("somebody listens");
    });
    let figures = figures_of.recv().expect("the thread has sent them");
    join(measuring);
    println!("{}", figures.map(|figure| figure.to_string()).join(" "));
}

// --- all points -----------------------------------------------------------------------------------------------------

/// The figures of each point, in the order of [`FIGURES`].
type Curves = BTreeMap<Point, [f64; 4]>;

fn process(point: Point) -> Option<[f64; 4]> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new(program)
        .env("LISLE_CURVES_POINT", point.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let figures: Option<Vec<f64>> = text
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    figures?.try_into().ok()
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn curves(rounds: u32) -> Result<Curves, Point> {
    let mut samples: BTreeMap<Point, [Vec<f64>; 4]> = BTreeMap::new();
    for round in 1..=rounds {
        for point in Point::all() {
            let figures = process(point).ok_or(point)?;
            let samples = samples.entry(point).or_default();
            for (samples, figure) in samples.iter_mut().zip(figures) {
                samples.push(figure);
            }
        }
        eprintln!("round {round} of {rounds} done");
    }
    let point = |(point, samples): (Point, [Vec<f64>; 4])| {
        (point, samples.map(|mut samples| median(&mut samples)))
    };
    Ok(samples.into_iter().map(point).collect())
}

fn table(curves: &Curves) -> String {
    let mut text = String::from("| threads | number | LWPs |");
    for (figure, unit) in FIGURES {
        let _ = write!(text, " {figure}, {unit} |");
    }
    text += "\n|---|--:|--:|--:|--:|--:|--:|\n";
    for (
        Point {
            kind,
            threads,
            lwps,
        },
        figures,
    ) in curves
    {
        let _ = write!(text, "| {} | {threads} | {lwps} |", kind.name());
        for figure in figures {
            let _ = write!(text, " {figure:.*} |", usize::from(*figure < 100.0));
        }
        text.push('\n');
    }
    text
}

fn csv(curves: &Curves) -> String {
    let mut text = String::from("kind,threads,lwps");
    for (figure, unit) in FIGURES {
        let _ = write!(text, ",{figure} {unit}");
    }
    text.push('\n');
    for (
        Point {
            kind,
            threads,
            lwps,
        },
        figures,
    ) in curves
    {
        let figures = figures.map(|figure| format!("{figure:.2}")).join(",");
        let _ = writeln!(text, "{},{threads},{lwps},{figures}", kind.name());
    }
    text
}

fn publish(curves: &Curves) -> io::Result<()> {
    let place = provenance::results("curves")?;
    let (provenance, table) = (provenance::provenance(), table(curves));
    println!("{provenance}\n\n{table}");
    fs::write(place.join("curves.md"), format!("{provenance}\n\n{table}"))?;
    fs::write(place.join("curves.csv"), csv(curves))?;
    fs::write(place.join("curves.svg"), chart::draw(curves, &provenance))?;
    println!("written to {}", place.display());
    Ok(())
}

fn rounds() -> Result<u32, lexopt::Error> {
    use lexopt::prelude::*;
    let mut rounds = 3;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => rounds = parser.value()?.parse()?,
            // What `cargo bench` passes.
            Long("bench") => (),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(rounds.max(1))
}

fn main() -> ExitCode {
    if let Ok(text) = std::env::var("LISLE_CURVES_POINT") {
        let Some(point) = Point::parse(&text) else {
            eprintln!("curves: {text} is no point");
            return ExitCode::from(2);
        };
        measure(point);
        return ExitCode::SUCCESS;
    }
    let rounds = match rounds() {
        Ok(rounds) => rounds,
        Err(error) => {
            eprintln!("curves: {error}; see benches/curves/main.rs");
            return ExitCode::from(2);
        }
    };
    let published = match curves(rounds) {
        Ok(curves) => publish(&curves),
        Err(point) => Err(io::Error::other(format!("{point} gave no figures"))),
    };
    if let Err(error) = published {
        eprintln!("curves: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
