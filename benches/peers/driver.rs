//! Processes and rounds: every contestant in a process of its own, in turns.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::report::{self, Row};
use crate::{Entry, Options, entries};

/// Which process: workload, peer, workers.
type Contest = (&'static str, &'static str, usize);

/// All samples of a figure.
type Samples = BTreeMap<(usize, String), Vec<f64>>;

/// Whether the command line asks for this workload.
fn is_wanted(options: &Options, workload: &str) -> bool {
    let patterns = &options.patterns;
    patterns.is_empty()
        || patterns
            .iter()
            .any(|pattern| workload.contains(pattern.as_str()))
}

fn contests(options: &Options) -> Vec<Contest> {
    let wanted = |entry: &Entry| is_wanted(options, entry.workload);
    let entries = entries().into_iter().filter(wanted);
    let mut contests: Vec<Contest> = entries
        .flat_map(|entry| {
            entry
                .workers
                .iter()
                .map(move |&n| (entry.workload, entry.peer, n))
        })
        .collect();
    // Those that are compared run one after another; the sort is stable.
    let mut order: Vec<&str> = Vec::new();
    for (workload, ..) in &contests {
        if !order.contains(workload) {
            order.push(workload);
        }
    }
    contests.sort_by_key(|(workload, _, workers)| {
        (order.iter().position(|known| known == workload), *workers)
    });
    contests
}

/// How long one process may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs one process; returns its figures.
fn contest((workload, peer, workers): Contest) -> Result<Vec<(String, f64)>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut process = Command::new(program)
        .env("LISLE_PEERS_ENTRY", format!("{workload}/{peer}"))
        .env("LISLE_BENCH_WORKERS", workers.to_string())
        .env("SMOL_THREADS", workers.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| error.to_string())?;
    let begin = Instant::now();
    while process.try_wait().is_ok_and(|ended| ended.is_none()) {
        if begin.elapsed() > LIMIT {
            // It may have ended by now.
            let _ = process.kill();
            let _ = process.wait();
            return Err(format!("has not come to an end in {LIMIT:?}"));
        }
        // What it prints fits the pipe.
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = process
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |line: &str| {
        let (unit, value) = line.rsplit_once(' ')?;
        Some((unit.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(figure).collect())
}

/// The peers in other languages print rows of their own: `WORKLOAD|PEER|WORKERS|UNIT|VALUE`.
fn foreign(options: &Options, rows: &mut Vec<Row>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/run.sh");
    let output = Command::new(script)
        .arg(options.rounds.to_string())
        .args(&options.patterns)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let Ok(output) = output else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut samples: BTreeMap<(String, String, usize, String), Vec<f64>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let &[workload, peer, workers, unit, value] = fields.as_slice() else {
            continue;
        };
        let (Ok(workers), Ok(value)) = (workers.parse(), value.parse()) else {
            continue;
        };
        if is_wanted(options, workload) {
            let key = (
                workload.to_owned(),
                peer.to_owned(),
                workers,
                unit.to_owned(),
            );
            samples.entry(key).or_default().push(value);
        }
    }
    rows.extend(
        samples
            .into_iter()
            .map(|((workload, peer, workers, unit), samples)| {
                Row::new(&workload, &peer, workers, &unit, samples)
            }),
    );
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let contests = contests(options);
    if options.list {
        contests
            .iter()
            .for_each(|(workload, peer, workers)| println!("{workload}, {workers}: {peer}"));
        return ExitCode::SUCCESS;
    }
    let mut samples = Samples::new();
    let mut failed = false;
    for round in 1..=options.rounds {
        for (index, &entry) in contests.iter().enumerate() {
            let (workload, peer, workers) = entry;
            match contest(entry) {
                Ok(figures) => figures.into_iter().for_each(|(unit, value)| {
                    samples.entry((index, unit)).or_default().push(value);
                }),
                Err(error) => {
                    eprintln!("{workload} by {peer} with {workers}: {error}");
                    failed = true;
                }
            }
        }
        eprintln!("round {round} of {} done", options.rounds);
    }
    let mut rows: Vec<Row> = Vec::new();
    for ((index, unit), samples) in samples {
        let (workload, peer, workers) = contests[index];
        rows.push(Row::new(workload, peer, workers, &unit, samples));
    }
    foreign(options, &mut rows);
    if rows.is_empty() {
        eprintln!("peers: no workload is named so");
        return ExitCode::from(2);
    }
    match report::publish(rows) {
        Ok(()) if !failed => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
