//! The results: a table for people, one for machines, and lisle's targets.

use std::fmt::Write as _;
use std::{fs, io};

use crate::chart;
use crate::machine;
use crate::provenance::{provenance, results};

/// One figure of one contestant.
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) peer: String,
    pub(crate) workers: usize,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) least: f64,
    samples: usize,
}

impl Row {
    pub(crate) fn new(
        workload: &str,
        peer: &str,
        workers: usize,
        unit: &str,
        mut samples: Vec<f64>,
    ) -> Row {
        samples.sort_unstable_by(f64::total_cmp);
        Row {
            workload: workload.to_owned(),
            peer: peer.to_owned(),
            workers,
            unit: unit.to_owned(),
            median: samples[samples.len() / 2],
            least: samples[0],
            samples: samples.len(),
        }
    }

    /// What is compared with each other.
    pub(crate) fn contest(&self) -> (&str, usize, &str) {
        (&self.workload, self.workers, &self.unit)
    }
}

/// Not peers: kernel threads, limits, and lisle itself.
const NO_PEERS: [&str; 7] = [
    machine::NAME,
    "std",
    "plain call",
    "lisle scope, twice",
    "lisle light",
    "lisle full",
    "lisle scope",
];

/// Peers that have no unbounded channel: their row is what one writes instead, a queue behind a mutex that is emptied
/// at one go.
const WITHOUT: [&str; 2] = ["Go", "Boost.Fiber"];

/// What lisle is meant to take at most, as a multiple of the best M:N peer of the run: light, full.
const TARGETS: [(&str, usize, &str, f64, Option<f64>); 20] = [
    ("switch", 1, "ns", 1.1, None),
    ("yield 2", 1, "ns", 0.25, Some(0.8)),
    ("yield 2", 2, "ns", 0.5, Some(1.3)),
    ("yield 1,000", 1, "ns", 0.5, Some(1.6)),
    ("spawn + join", 1, "ns", 0.5, Some(1.5)),
    ("spawn 100,000", 1, "ns", 0.5, None),
    ("channel ping-pong", 1, "ns", 0.25, Some(0.6)),
    ("channel ping-pong", 2, "ns", 0.5, Some(0.8)),
    ("mutex by 8", 1, "ns", 1.0, Some(1.5)),
    ("mutex by 8", 2, "ns", 1.0, Some(1.5)),
    ("bounded 1:1", 1, "ns", 0.5, None),
    ("bounded 1:1", 2, "ns", 0.5, None),
    ("bounded 4:4", 1, "ns", 0.5, None),
    ("bounded 4:4", 2, "ns", 0.5, None),
    ("unbounded 4:1", 1, "ns", 1.0, None),
    ("unbounded 4:1", 2, "ns", 1.0, None),
    ("skynet", 1, "ns", 0.5, None),
    ("parked", 1, "ns", 0.5, None),
    ("sleep 1 s", 1, "p50 us", 1.0, Some(1.0)),
    ("sleep 1 s", 1, "p99 us", 1.0, Some(1.0)),
];

/// Contests in the order of their first row.
fn contests(rows: &[Row]) -> Vec<(&str, usize, &str)> {
    let mut contests = Vec::new();
    for row in rows {
        if !contests.contains(&row.contest()) {
            contests.push(row.contest());
        }
    }
    contests
}

/// A figure with three digits.
fn digits(value: f64) -> String {
    match value {
        value if value >= 1000.0 => format!("{value:.0}"),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| workload | workers | peer | median | least | × lisle light |\n|---|--:|---|--:|--:|--:|\n",
    );
    for contest in contests(rows) {
        let of = |row: &&Row| row.contest() == contest;
        let ours = rows.iter().filter(of).find(|row| row.peer == "lisle light");
        for row in rows.iter().filter(of) {
            let ratio = ours.map_or(String::new(), |ours| digits(row.median / ours.median));
            let (workload, workers, unit) = contest;
            let Row {
                peer,
                median,
                least,
                ..
            } = row;
            let (median, least) = (digits(*median), digits(*least));
            let _ = writeln!(
                text,
                "| {workload}, {unit} | {workers} | {peer} | {median} | {least} | {ratio} |"
            );
        }
    }
    text
}

fn targets(rows: &[Row]) -> String {
    let mut text = String::new();
    for (workload, workers, unit, light, full) in TARGETS {
        let of = |row: &&Row| row.contest() == (workload, workers, unit);
        let peers = rows.iter().filter(of).filter(|row| {
            let peer = row.peer.as_str();
            let has_none = workload.starts_with("unbounded") && WITHOUT.contains(&peer);
            !NO_PEERS.contains(&peer) && !has_none
        });
        let Some(best) = peers.min_by(|a, b| a.median.total_cmp(&b.median)) else {
            continue;
        };
        for (peer, limit) in [("lisle light", Some(light)), ("lisle full", full)] {
            let ours = rows.iter().filter(of).find(|row| row.peer == peer);
            let (Some(ours), Some(limit)) = (ours, limit) else {
                continue;
            };
            let ratio = ours.median / best.median;
            let verdict = if ratio <= limit { "ok" } else { "missed" };
            let machine = rows.iter().filter(of).find(|row| row.peer == machine::NAME);
            let machine = machine.map_or(String::new(), |machine| {
                let (alone, ratio) = (digits(machine.median), machine.median / best.median);
                format!("; the machine alone {alone}: {ratio:.3}")
            });
            let _ = writeln!(
                text,
                "target  {workload}, {unit}, {workers}: {peer} {} against {} of {}: {ratio:.3}, at most {limit}: {verdict}{machine}",
                digits(ours.median),
                digits(best.median),
                best.peer,
            );
        }
    }
    text
}

fn csv(rows: &[Row]) -> String {
    let mut text = String::from("workload,workers,peer,unit,median,least,samples\n");
    for Row {
        workload,
        workers,
        peer,
        unit,
        median,
        least,
        samples,
    } in rows
    {
        let _ = writeln!(
            text,
            "\"{workload}\",{workers},\"{peer}\",{unit},{median:.3},{least:.3},{samples}"
        );
    }
    text
}

/// Prints the results and writes them to `target/peers/`.
pub(crate) fn publish(mut rows: Vec<Row>) -> io::Result<()> {
    // Foreign rows come last; put each beside what it is compared with.
    let order: Vec<(String, usize, String)> = contests(&rows)
        .into_iter()
        .map(|(workload, workers, unit)| (workload.to_owned(), workers, unit.to_owned()))
        .collect();
    rows.sort_by_key(|row| {
        let (workload, workers, unit) = row.contest();
        order.iter().position(|known| {
            (known.0.as_str(), known.1, known.2.as_str()) == (workload, workers, unit)
        })
    });
    let place = results("peers")?;
    let (provenance, table) = (provenance(), table(&rows));
    println!("{provenance}\n\n{table}\n{}", targets(&rows));
    fs::write(place.join("peers.md"), format!("{provenance}\n\n{table}"))?;
    fs::write(place.join("peers.csv"), csv(&rows))?;
    fs::write(place.join("peers.svg"), chart::draw(&rows, &provenance))?;
    println!("written to {}", place.display());
    Ok(())
}
