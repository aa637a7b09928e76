//! Logs of ShiViz and GoVector: what is accepted, what is refused and how, and that
//! what is written is read as what it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use lisle_trace::graph::{Event, Order};
use lisle_trace::shiviz::{self, Format, Problem};
use lisle_trace::{History, Kind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::recording::recorded;

fn corpus(of: &str) -> BTreeMap<String, String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/trace/corpus", of]
        .iter()
        .collect();
    let files = fs::read_dir(&path)
        .unwrap()
        .map(|file| file.unwrap().path());
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).unwrap())
    };
    let files: BTreeMap<_, _> = files.map(read).collect();
    assert!(files.len() >= 5, "{path:?}");
    files
}

fn good(name: &str) -> History {
    let log = corpus("good").remove(name).unwrap();
    let mut runs = shiviz::read(&log).unwrap();
    assert_eq!(runs.len(), 1);
    runs.remove(0).history
}

/// Labels with what they come after.
fn shape(history: &History) -> BTreeMap<(String, u32), Vec<u32>> {
    let graph = history.graph();
    let mut names: Vec<(String, u32)> = Vec::new();
    for (at, process) in history.processes().iter().enumerate() {
        names.push((process.name.clone(), at as u32));
    }
    names.sort();
    let mut shape = BTreeMap::new();
    for event in graph.events() {
        let clock = graph.clock(event).unwrap();
        let sorted = names.iter().map(|(_, at)| clock[*at as usize]).collect();
        let name = &history.processes()[event.process as usize].name;
        shape.insert((name.clone(), event.index), sorted);
    }
    shape
}

#[test]
fn clocks_become_arrows() {
    let history = good("voting");
    let graph = history.graph();
    assert_eq!(graph.processes(), 4);
    let find = |label| history.find(label).unwrap();
    let order = |a, b| graph.compare(find(a), find(b)).unwrap();
    assert_eq!(
        order("sends prepare to replica1", "decides to abort"),
        Order::Before
    );
    assert_eq!(order("votes no", "sends abort to replica2"), Order::Before);
    assert_eq!(
        order("receives prepare", "begins transaction 7"),
        Order::After
    );
    let rolls: Vec<Event> = graph
        .events()
        .filter(|e| history.label(*e) == "rolls back")
        .collect();
    assert_eq!(graph.concurrent(rolls[0], rolls[1]), Ok(true));
    // As many arrows as messages, and none that follows from others.
    assert_eq!(graph.arrows().count(), 9);
}

#[test]
fn clocks_of_the_graph_are_those_of_the_log() {
    for name in ["voting", "govector", "plain", "windows"] {
        let history = good(name);
        for event in history.graph().events() {
            let clock = history.graph().clock(event).unwrap();
            let stamp: BTreeMap<_, _> = history.stamp(event).unwrap().iter().cloned().collect();
            for (process, count) in clock.into_iter().enumerate() {
                let name = &history.processes()[process].name;
                assert_eq!(stamp.get(name).copied().unwrap_or(0), u64::from(count));
            }
        }
    }
}

#[test]
fn the_same_log_in_three_forms_is_the_same_history() {
    let voting = shape(&good("voting"));
    assert_eq!(voting, shape(&good("govector")));
    assert_eq!(voting, shape(&good("plain")));
}

#[test]
fn one_log_may_hold_several_runs_and_further_fields() {
    let log = corpus("good").remove("runs").unwrap();
    let runs = shiviz::read(&log).unwrap();
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["morning", "evening"]);
    let morning = &runs[0].history;
    let wakes = morning.find("wakes [date=2026-01-02]").unwrap();
    let hears = morning.find("hears [date=2026-01-02]").unwrap();
    assert_eq!(morning.graph().before(wakes, hears), Ok(true));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    /// A file, the line of its mistake, and what that is.
    type Wanted = (&'static str, usize, fn(&Problem) -> bool);
    let wanted: &[Wanted] = &[
        ("not_first", 4, |p| {
            matches!(p, Problem::NotFirst { number: 2, .. })
        }),
        ("gap", 6, |p| {
            matches!(
                p,
                Problem::Gap {
                    after: 1,
                    number: 3,
                    ..
                }
            )
        }),
        ("duplicate", 6, |p| {
            matches!(
                p,
                Problem::Duplicate {
                    number: 1,
                    other: 4,
                    ..
                }
            )
        }),
        (
            "unknown_host",
            4,
            |p| matches!(p, Problem::UnknownHost(host) if host == "ghost"),
        ),
        (
            "not_in_own_clock",
            4,
            |p| matches!(p, Problem::NotInOwnClock(host) if host == "a"),
        ),
        ("zero_own", 4, |p| matches!(p, Problem::NotInOwnClock(_))),
        ("unseen", 4, |p| {
            matches!(
                p,
                Problem::Unseen {
                    seen: 2,
                    there: 1,
                    ..
                }
            )
        }),
        ("not_transitive", 8, |p| {
            matches!(
                p,
                Problem::NotTransitive {
                    line: 6,
                    wanted: 1,
                    seen: 0,
                    ..
                }
            )
        }),
        ("backwards", 8, |p| {
            matches!(
                p,
                Problem::Backwards {
                    before: 1,
                    now: 0,
                    ..
                }
            )
        }),
        ("circle", 4, |p| {
            matches!(p, Problem::Circle { other: 6, .. })
        }),
        (
            "multi_line",
            3,
            |p| matches!(p, Problem::Unmatched(text) if text == "first"),
        ),
        (
            "trailing",
            5,
            |p| matches!(p, Problem::Unmatched(text) if text == "what is this"),
        ),
        ("bad_json", 4, |p| matches!(p, Problem::BadClock(_))),
        ("negative", 4, |p| matches!(p, Problem::BadClock(_))),
        ("fraction", 4, |p| matches!(p, Problem::BadClock(_))),
        ("text_count", 4, |p| matches!(p, Problem::BadClock(_))),
        ("huge", 4, |p| matches!(p, Problem::Unseen { .. })),
        ("beyond", 4, |p| matches!(p, Problem::BadClock(_))),
        (
            "twice_in_clock",
            4,
            |p| matches!(p, Problem::TwiceInClock(host) if host == "a"),
        ),
        ("empty", 1, |p| matches!(p, Problem::NoEvents)),
        ("only_header", 3, |p| matches!(p, Problem::NoEvents)),
        ("no_clock_group", 1, |p| {
            matches!(p, Problem::Unmatched(_) | Problem::NoGroup("clock"))
        }),
        ("bad_expression", 1, |p| {
            matches!(p, Problem::BadExpression(_))
        }),
        (
            "same_run",
            6,
            |p| matches!(p, Problem::SameRun(name) if name == "r"),
        ),
    ];
    let mut logs = corpus("bad");
    for (name, line, is) in wanted {
        let log = logs.remove(*name).unwrap_or_else(|| panic!("no {name}"));
        let error = shiviz::read(&log).map(drop).unwrap_err();
        assert!(is(&error.problem), "{name}: {error}");
        assert_eq!(error.line, *line, "{name}: {error}");
        assert!(error.to_string().starts_with(&format!("line {line}: ")));
    }
    assert!(logs.is_empty(), "nothing is said of {:?}", logs.keys());
    let no_group = Format::Custom {
        parser: r"(?<event>.*) (?<host>\S+)".to_owned(),
        delimiter: String::new(),
    };
    let error = shiviz::read_as("x a", &no_group).map(drop).unwrap_err();
    assert_eq!(error.problem, Problem::NoGroup("clock"));
}

/// ShiViz's own rules, by other means than the reader's.
fn accepted_by_shiviz(log: &str) {
    let mut lines = log.lines();
    assert_eq!(
        lines.next(),
        Some(r"(?<event>.*)\n(?<host>\S*) (?<clock>{.*})")
    );
    assert_eq!(lines.next(), Some(""));
    let lines: Vec<&str> = lines.collect();
    assert!(lines.len().is_multiple_of(2) && !lines.is_empty());
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut named = std::collections::BTreeSet::new();
    for pair in lines.chunks(2) {
        assert!(!pair[0].trim().is_empty());
        let (host, clock) = pair[1].split_once(' ').unwrap();
        let clock: BTreeMap<String, u64> = serde_json::from_str(clock).unwrap();
        let count = counts.entry(host.to_owned()).or_default();
        *count += 1;
        assert_eq!(
            clock.get(host),
            Some(&*count),
            "own entries rise by one from 1"
        );
        named.extend(clock.into_keys());
    }
    assert!(
        named.iter().all(|host| counts.contains_key(host)),
        "every host logs"
    );
}

#[test]
fn a_recording_survives_both_formats() {
    let trace = recorded(2, |runtime| {
        let (sender, receiver) = lisle::channel::bounded(1);
        let builder = || lisle::thread::Builder::new().on(runtime);
        let one = builder().name("a host".to_owned()).spawn(move || {
            for n in 0..20 {
                lisle_trace::event("line one\nline two {\"x\":1}");
                sender.send(n).unwrap();
            }
        });
        let two = builder()
            .name("a\thost".to_owned())
            .spawn(move || receiver.iter().count());
        one.unwrap().join().unwrap();
        assert_eq!(two.unwrap().join().unwrap(), 20);
    });
    let history = trace.history();
    let shiviz = shiviz::write(history);
    accepted_by_shiviz(&shiviz);
    let govector = shiviz::govector(history);
    for log in [&shiviz, &govector] {
        let again = shiviz::read(log).unwrap().remove(0).history;
        assert_eq!(again.graph().len(), history.graph().len());
        // The clocks are the same, under names without white space.
        let clocks = |of: &History| {
            let mut clocks: Vec<Vec<u32>> = shape(of).into_values().collect();
            for clock in &mut clocks {
                clock.sort_unstable();
            }
            clocks.sort();
            clocks
        };
        assert_eq!(clocks(&again), clocks(history));
    }
}

#[test]
fn what_is_read_is_written_as_it_was() {
    for name in ["voting", "govector", "windows"] {
        let history = good(name);
        let written = shiviz::write(&history);
        accepted_by_shiviz(&written);
        let again = shiviz::read(&written).unwrap().remove(0).history;
        assert_eq!(shape(&again), shape(&history));
        let govector = shiviz::govector(&history);
        let again = shiviz::read(&govector).unwrap().remove(0).history;
        assert_eq!(shape(&again), shape(&history));
        assert!(
            history
                .graph()
                .events()
                .all(|event| history.kind(event) == Kind::Local)
        );
    }
}

/// Whatever comes, there is an answer; and whatever is accepted can be drawn, written
/// and read again.
#[test]
fn no_log_makes_it_panic() {
    let mut logs: Vec<String> = corpus("good").into_values().collect();
    let good = logs.len();
    logs.extend(corpus("bad").into_values());
    let pieces = [
        "{",
        "}",
        "\"",
        "\n",
        "\\",
        "(?<clock>",
        "(?<trace>",
        "{1,",
        "[",
        "\u{0}",
        "é",
        "\r\n",
        " ",
        ":",
        "0",
        "18446744073709551616",
        "{\"a\":1}",
        "a {\"a\":1}\nx",
        "\u{feff}",
        "*",
        "{99999}",
    ];
    let pick = |random: &mut StdRng| match random.random_bool(0.7) {
        true => random.random_range(0..good),
        false => random.random_range(0..logs.len()),
    };
    let mut accepted = 0;
    for seed in 0..4000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log: Vec<char> = logs[pick(&mut random)].chars().collect();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..=log.len());
            match random.random_range(0..4) {
                0 if at < log.len() => {
                    log.remove(at);
                }
                1 => log.truncate(at),
                2 => {
                    // Lines change places.
                    let text: String = log.iter().collect();
                    let mut lines: Vec<&str> = text.split('\n').collect();
                    let (a, b) = (
                        random.random_range(0..lines.len()),
                        random.random_range(0..lines.len()),
                    );
                    lines.swap(a, b);
                    log = lines.join("\n").chars().collect();
                }
                _ => {
                    let piece = pieces[random.random_range(0..pieces.len())];
                    log.splice(at..at, piece.chars());
                }
            }
        }
        let log: String = log.into_iter().collect();
        let Ok(runs) = shiviz::read(&log) else {
            continue;
        };
        accepted += 1;
        for run in runs {
            let written = shiviz::write(&run.history);
            let again =
                shiviz::read(&written).unwrap_or_else(|error| panic!("{error}\n{log}\n{written}"));
            assert_eq!(again[0].history.graph().len(), run.history.graph().len());
            let page = lisle_trace::html::page(&run.history, "fuzz");
            assert_eq!(page.matches("</script>").count(), 2);
            let _ = lisle_trace::svg::picture(&run.history, &lisle_trace::svg::Style::default());
        }
    }
    assert!(accepted > 100, "{accepted} of 4000");
}
