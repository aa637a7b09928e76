//! Logs of ShiViz and GoVector, and traces of Perfetto: read, or refused with a line and a
//! reason; and what was read is read again when it is written.

use lisle_trace::shiviz::{self, Format};
use lisle_trace::{History, perfetto};

use crate::driver::fuzz;
use crate::support::{many, watchdog};

const WORDS: &[&[u8]] = &[
    b"{\"a\": 1}",
    b"\"b\": 2",
    b", ",
    b"\n",
    b"\n\n",
    b"(?<event>",
    b"(?<host>\\S*)",
    b"(?<clock>{.*})",
    b"{1000}",
    b"(?:a*)*",
    b"18446744073709551615",
    b"-1",
    b"1e9",
    b"\\u0000",
    b"\r\n",
    b"a ",
    b"\"a\"",
    b"===",
    b"\xf0\x9f\x90\xb1",
];

/// Each process with the clocks of its events, in the order of names.
fn shape(history: &History) -> Vec<(String, Vec<Vec<u32>>)> {
    let graph = history.graph();
    let mut names: Vec<_> = history.processes().iter().map(|p| p.name.clone()).collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|at| names[*at].clone());
    let mut clocks = vec![Vec::new(); names.len()];
    for event in graph.events() {
        let clock = graph.clock(event).unwrap();
        let sorted = order.iter().map(|at| clock[*at]).collect();
        clocks[event.process as usize].push(sorted);
    }
    let take = |at: &usize| {
        let name = std::mem::take(&mut names[*at]);
        (name, std::mem::take(&mut clocks[*at]))
    };
    order.iter().map(take).collect()
}

fn check(input: &[u8]) -> String {
    let log = String::from_utf8_lossy(input);
    for format in [Format::Shiviz, Format::Govector] {
        let _ = shiviz::read_as(&log, &format);
    }
    let runs = match shiviz::read(&log) {
        Ok(runs) => runs,
        Err(error) => {
            // At most where the events should begin, after the two lines that say how.
            let lines = log.lines().count();
            assert!((1..=lines + 2).contains(&error.line), "{error}");
            let problem = format!("{:?}", error.problem);
            return problem
                .split(['(', ' '])
                .next()
                .unwrap_or_default()
                .to_owned();
        }
    };
    let mut events = 0;
    for run in &runs {
        let here = shape(&run.history);
        events += here.iter().map(|(_, clocks)| clocks.len()).sum::<usize>();
        for written in [shiviz::write(&run.history), shiviz::govector(&run.history)] {
            let again = shiviz::read(&written);
            let again = again.unwrap_or_else(|error| panic!("{error} in\n{written}"));
            assert_eq!(again.len(), 1, "{written}");
            // The names that a log cannot have are written otherwise.
            let clocks = |shape: Vec<(String, Vec<Vec<u32>>)>| {
                let mut clocks: Vec<_> =
                    shape.into_iter().map(|(_, clocks)| clocks.len()).collect();
                clocks.sort_unstable();
                clocks
            };
            let there = shape(&again[0].history);
            if here
                .iter()
                .all(|(name, _)| name.chars().all(char::is_alphanumeric))
            {
                assert_eq!(there, here, "{written}");
            } else {
                assert_eq!(clocks(there), clocks(here.clone()), "{written}");
            }
        }
    }
    format!("{} runs, {} events", runs.len(), events.min(20))
}

#[test]
fn logs_are_read_or_refused() {
    let _dog = watchdog();
    let corpora = [
        "tests/fuzz/corpus/logs",
        "tests/trace/corpus/good",
        "tests/trace/corpus/bad",
    ];
    // Each compiles regular expressions, which takes long without optimisation.
    let rounds = if cfg!(debug_assertions) { 400 } else { 6000 };
    fuzz("logs", &corpora, WORDS, many(rounds) as u64, check);
}

#[test]
fn perfetto_traces_are_read_or_refused() {
    let _dog = watchdog();
    let words: &[&[u8]] = &[
        b"\x0a",
        b"\x80\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ];
    fuzz(
        "perfetto",
        &["tests/fuzz/corpus/perfetto"],
        words,
        many(20_000) as u64,
        |input| {
            match perfetto::check(input) {
                Ok(summary) => format!("{summary:?}"),
                // What varies from one error to the next is not news.
                Err(error) => error
                    .chars()
                    .filter(|c| !c.is_ascii_digit())
                    .take(40)
                    .collect(),
            }
        },
    );
}
