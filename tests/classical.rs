//! The classical problems of synchronisation, each solved with every mechanism, through
//! one harness: exclusion, progress, bypasses, and cancels of some of those who take part.
//! `tests/classical/` is also meant to be read: solutions stand side by side.
//!
//! `cargo test --test classical` prints the table. The one in docs/classical.md is written
//! by
//!
//! ```text
//! LISLE_CLASSICAL=write cargo test --release --test classical table
//! ```

// A solution shows its whole state in one place.
#![allow(clippy::type_complexity)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "classical/alarm_clock.rs"]
mod alarm_clock;
#[path = "classical/barber.rs"]
mod barber;
#[path = "classical/bounded_buffer.rs"]
mod bounded_buffer;
#[path = "classical/contract.rs"]
mod contract;
#[path = "classical/disk_head.rs"]
mod disk_head;
#[path = "classical/harness.rs"]
mod harness;
#[path = "classical/philosophers.rs"]
mod philosophers;
#[path = "classical/readers_writers.rs"]
mod readers_writers;
#[path = "classical/smokers.rs"]
mod smokers;
mod support;
#[path = "classical/table.rs"]
mod table;

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Kind, Stage};
use lisle::Runtime;
use support::{end, many, on, runtime, say, schedules, seeds, watchdog};
use table::{MECHANISMS, Row, rows};

/// Runs a solution under a seed; returns the most bypasses.
fn under_seed(solution: fn(&Arc<Stage>), seed: u64) -> usize {
    // SAFETY: the solutions' closures touch thread-locals only in leaves that do not wait
    // and are not inlined.
    unsafe {
        schedules(seed).run(seed, move || {
            let stage = Stage::new(Kind::Seeded, 5, seed);
            solution(&stage);
            stage.bypasses()
        })
    }
}

fn all_solutions() -> impl Iterator<Item = (&'static str, &'static str, fn(&Arc<Stage>))> {
    rows().into_iter().flat_map(|row| {
        let named = row.cells.into_iter().zip(MECHANISMS);
        named.filter_map(move |(cell, (mechanism, _))| Some((row.name, mechanism, cell.ok()?)))
    })
}

#[test]
fn all_under_seeds() {
    for (problem, mechanism, solution) in all_solutions() {
        println!("{problem}, {mechanism}");
        let _dog = watchdog();
        for seed in 0..seeds(40) {
            let run = std::panic::catch_unwind(|| under_seed(solution, seed));
            if let Err(payload) = run {
                panic!(
                    "{problem}, {mechanism}, seed {seed}: {}",
                    support::message(&*payload)
                );
            }
        }
    }
}

/// Full, light and kernel threads that migrate, and lose their processors to others.
#[test]
fn all_between_threads_of_all_kinds() {
    let rt = Runtime::builder()
        .lwps(2)
        .time_slice(Some(Duration::from_millis(1)))
        .build()
        .unwrap();
    for (problem, mechanism, solution) in all_solutions() {
        println!("{problem}, {mechanism}");
        let _dog = watchdog();
        for seed in 0..many(5) as u64 {
            let stage = Stage::new(Kind::Mixed, many(40), seed);
            let run = on(&rt, move || solution(&stage)).join();
            if let Err(payload) = run {
                panic!("{problem}, {mechanism}: {}", support::message(&*payload));
            }
        }
    }
    end(rt);
}

type Patience = fn(&Arc<Stage>) -> usize;

fn patient_solutions() -> [(&'static str, Patience); 8] {
    use bounded_buffer::patience;
    [
        ("semaphore", patience::<bounded_buffer::semaphore::Bounded>),
        ("mesa", patience::<bounded_buffer::mesa::Bounded>),
        ("hoare", patience::<bounded_buffer::hoare::Bounded>),
        ("region", patience::<bounded_buffer::region::Bounded>),
        (
            "serializer",
            patience::<bounded_buffer::serializer::Bounded>,
        ),
        ("path", patience::<bounded_buffer::path::Bounded>),
        ("channel", patience::<bounded_buffer::channel::Bounded>),
        (
            "rendezvous",
            patience::<bounded_buffer::rendezvous::Bounded>,
        ),
    ]
}

/// Some of those who wait give up, when time and order draw it so.
#[test]
fn those_whose_time_is_up_break_nothing_under_seeds() {
    for (mechanism, solution) in patient_solutions() {
        let _dog = watchdog();
        let mut gave_up = 0;
        for seed in 0..seeds(40) {
            // SAFETY: as in `under_seed`.
            gave_up += unsafe {
                schedules(seed).run(seed, move || solution(&Stage::new(Kind::Seeded, 10, seed)))
            };
        }
        println!("bounded buffer, {mechanism}: {gave_up} gave up");
        assert!(gave_up > 0, "{mechanism}: nobody's time was up");
    }
}

#[test]
fn those_whose_time_is_up_break_nothing_between_threads_of_all_kinds() {
    let rt = Runtime::builder()
        .lwps(2)
        .time_slice(Some(Duration::from_millis(1)))
        .build()
        .unwrap();
    for (mechanism, solution) in patient_solutions() {
        let _dog = watchdog();
        let run = move || solution(&Stage::new(Kind::Mixed, many(100), 1));
        println!("{mechanism}: {} gave up", on(&rt, run).join().unwrap());
    }
    end(rt);
}

/// Nanoseconds per operation of light threads on one LWP, the least of some rounds.
fn nanoseconds(rt: &Runtime, solution: fn(&Arc<Stage>)) -> f64 {
    // Without optimisation the figures say nothing, and are only printed.
    let operations = if cfg!(debug_assertions) { 200 } else { 2_000 };
    let round = || {
        let stage = Stage::new(Kind::Timed, many(operations), 1);
        on(rt, move || {
            let start = Instant::now();
            solution(&stage);
            start.elapsed().as_nanos() as f64 / stage.operations() as f64
        })
    };
    let rounds = (0..5).map(|_| round().join().unwrap());
    rounds.fold(f64::INFINITY, f64::min)
}

#[test]
fn table() {
    let rt = runtime(1);
    let (mut text, mut reasons) = (String::new(), String::new());
    write!(text, "| problem |").unwrap();
    for (_, name) in MECHANISMS {
        write!(text, " {name} |").unwrap();
    }
    write!(text, "\n|---|{}", "---|".repeat(MECHANISMS.len())).unwrap();
    for row in rows() {
        let _dog = watchdog();
        write!(text, "\n| {} |", row.name).unwrap();
        for (cell, (mechanism, name)) in row.cells.iter().zip(MECHANISMS) {
            match cell {
                Ok(solution) => write!(text, " {} |", figures(&rt, &row, mechanism, *solution)),
                Err(reason) => {
                    writeln!(reasons, "* {}, {name}: {reason}.", row.name).unwrap();
                    write!(text, " – |")
                }
            }
            .unwrap();
        }
    }
    end(rt);
    let text = format!("{text}\n\n{reasons}");
    say(&format!(
        "\nlines / ns per operation / most bypasses\n{text}"
    ));
    compare_with_docs(&text);
}

fn figures(rt: &Runtime, row: &Row, mechanism: &str, solution: fn(&Arc<Stage>)) -> String {
    let bypasses = (0..many(20) as u64).map(|seed| under_seed(solution, seed));
    let bypasses = bypasses.max().unwrap_or(0);
    let (lines, cost) = (row.lines(mechanism), nanoseconds(rt, solution));
    format!("{lines} / {cost:.0} / {bypasses}")
}

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->";

/// Writes the docs' table if asked to; else checks that its rows and lines are those of
/// the suite. (What a machine measures is not compared.)
fn compare_with_docs(text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/classical.md");
    let Ok(docs) = std::fs::read_to_string(path) else {
        // The test runs elsewhere than where it was built.
        return;
    };
    let (head, rest) = docs.split_once(BEGIN).expect("a table begins");
    let (table, tail) = rest.split_once(END).expect("the table ends");
    if std::env::var("LISLE_CLASSICAL").is_ok_and(|what| what == "write") {
        std::fs::write(path, format!("{head}{BEGIN}{text}{END}{tail}")).unwrap();
        return;
    }
    let lines = |text: &str| -> Vec<String> {
        let first = |cell: &str| cell.split('/').next().unwrap_or("").trim().to_owned();
        text.split('|').map(first).collect()
    };
    assert_eq!(
        lines(table),
        lines(text),
        "docs/classical.md is not up to date; see the header"
    );
}
