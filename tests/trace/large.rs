//! Sizes that only work if time does not rise with their squares.

use std::fmt::Write as _;

use lisle_trace::graph::{Event, Link};
use lisle_trace::shiviz::{self, Format};
use lisle_trace::{History, HistoryBuilder, Kind, ProcessKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::watchdog;

/// So many processes of so many events.
fn processes(count: u32, events: u32) -> HistoryBuilder {
    let mut builder = HistoryBuilder::new();
    for thread in 0..count {
        let process = builder.process("t", ProcessKind::UserThread, thread.into());
        for _ in 0..events {
            builder.event(process, Kind::Local, "", None);
        }
    }
    builder
}

/// The process graph by its definition.
fn precedence(history: &History) -> Vec<(u32, u32)> {
    let graph = history.graph();
    let all = 0..graph.processes();
    let last = |p: u32| Event::new(p, graph.len_of(p) - 1);
    let precedes = |p: u32, q: u32| graph.before(last(p), Event::new(q, 0)).unwrap();
    let precedes: Vec<Vec<bool>> = all
        .clone()
        .map(|p| all.clone().map(|q| precedes(p, q)).collect())
        .collect();
    let mut direct = Vec::new();
    for later in all.clone() {
        for earlier in all
            .clone()
            .filter(|p| precedes[*p as usize][later as usize])
        {
            let between = |q: u32| {
                precedes[earlier as usize][q as usize] && precedes[q as usize][later as usize]
            };
            if !all.clone().any(between) {
                direct.push((earlier, later));
            }
        }
    }
    direct
}

#[test]
fn the_process_graph_is_what_its_definition_says() {
    let _dog = watchdog();
    for seed in 0..30 {
        let mut random = StdRng::seed_from_u64(seed);
        let (count, events) = (random.random_range(1..150), random.random_range(1..4));
        let mut builder = processes(count, events);
        for _ in 0..random.random_range(0..3 * count) {
            // Arrows lead to later processes; so there is no circle.
            let (a, b) = (random.random_range(0..count), random.random_range(0..count));
            let mut event = |process| Event::new(process, random.random_range(0..events));
            let (from, to) = (event(a.min(b)), event(a.max(b)));
            if a != b {
                builder.arrow(from, to, Link::Wake).unwrap();
            }
        }
        let history = builder.build().unwrap();
        let found = history.process_graph();
        assert_eq!(found.precedes(), precedence(&history), "seed {seed}");
    }
}

/// One process after the other, then many at once after all of them.
#[test]
fn thousands_of_processes_precede_each_other() {
    let _dog = watchdog();
    const CHAIN: u32 = 2000;
    const AT_ONCE: u32 = 2000;
    let mut builder = processes(CHAIN + AT_ONCE, 3);
    for next in 1..CHAIN {
        let (from, to) = (Event::new(next - 1, 2), Event::new(next, 0));
        builder.arrow(from, to, Link::Join).unwrap();
    }
    for last in CHAIN..CHAIN + AT_ONCE {
        let (from, to) = (Event::new(CHAIN - 1, 2), Event::new(last, 0));
        builder.arrow(from, to, Link::Spawn).unwrap();
    }
    let history = builder.build().unwrap();
    let chain = (1..CHAIN).map(|next| (next - 1, next));
    let at_once = (CHAIN..CHAIN + AT_ONCE).map(|last| (CHAIN - 1, last));
    let wanted: Vec<(u32, u32)> = chain.chain(at_once).collect();
    assert_eq!(history.process_graph().precedes(), wanted);
}

/// A message goes round so many hosts; each has seen all before it.
#[test]
fn a_log_of_many_hosts_is_read() {
    let _dog = watchdog();
    const HOSTS: u32 = 1000;
    let (mut log, mut clock) = (String::new(), String::new());
    for host in 0..HOSTS {
        let comma = if host == 0 { "" } else { "," };
        let _ = write!(clock, "{comma}\"{host}\":1");
        let _ = writeln!(log, "passes\n{host} {{{clock}}}");
    }
    let runs = shiviz::read(&log).unwrap();
    let graph = runs[0].history.graph();
    let arrows: Vec<(u32, u32)> = graph
        .arrows()
        .map(|arrow| (arrow.from.process, arrow.to.process))
        .collect();
    let wanted: Vec<(u32, u32)> = (1..HOSTS).map(|host| (host - 1, host)).collect();
    assert_eq!(arrows, wanted);
}

/// Each event's clock stands before its host, and each run has a name.
#[test]
fn a_long_log_is_read_whatever_its_form() {
    let _dog = watchdog();
    const EVENTS: usize = 20_000;
    let mut log = String::new();
    for n in 1..=EVENTS {
        if n % 2 == 1 {
            let _ = writeln!(log, "run {n} ===");
        }
        let _ = writeln!(log, "{{\"a\":{}}} a does {n}", 2 - n % 2);
    }
    let format = Format::Custom {
        parser: r"(?<clock>\{.*\}) (?<host>\S+) (?<event>.*)".to_owned(),
        delimiter: r"(?<trace>run \d+) ===".to_owned(),
    };
    let runs = shiviz::read_as(&log, &format).unwrap();
    assert_eq!(runs.len(), EVENTS / 2);
    let last = &runs[EVENTS / 2 - 1];
    assert_eq!(last.name, format!("run {}", EVENTS - 1));
    let does = last.history.find(&format!("does {EVENTS}")).unwrap();
    assert_eq!(does, Event::new(0, 1));
    // A mistake in the last line is found there.
    let wrong = log.trim_end().replace(&format!("does {EVENTS}"), "\n?");
    let error = shiviz::read_as(&wrong, &format).map(drop).unwrap_err();
    assert_eq!(error.line, EVENTS / 2 + EVENTS + 1);
}
