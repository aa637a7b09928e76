//! Writing logs.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::graph::Event;
use crate::history::{History, Kind};

const HEADER: &str = "(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})\n\n";

/// A log that ShiViz accepts. Clocks are derived from the events, whatever they were
/// stamped with; events stand in an order that agrees with them. Processes without
/// events are left out, white space in names becomes `_`, events are in one line
/// each.
pub fn write(history: &History) -> String {
    let mut log = HEADER.to_owned();
    each(history, |host, clock, text| {
        let _ = writeln!(log, "{text}\n{host} {clock}");
    });
    log
}

/// A log as GoVector writes it, merged, with the lines at its beginning by which
/// ShiViz reads it: a priority before each text, INFO for what the program says,
/// DEBUG for the rest.
pub fn govector(history: &History) -> String {
    let mut log = "(?<host>\\S*) (?<clock>{.*})\\n(?<event>.*)\n\n".to_owned();
    let mut priorities =
        history
            .graph()
            .sorted()
            .into_iter()
            .map(|event| match history.kind(event) {
                Kind::Local => "INFO",
                _ => "DEBUG",
            });
    each(history, |host, clock, text| {
        let priority = priorities.next().unwrap_or("INFO");
        // What was read has one already.
        let has = text
            .split(' ')
            .next()
            .is_some_and(|word| ["DEBUG", "INFO", "WARNING", "ERROR", "FATAL"].contains(&word));
        let prefix = if has {
            String::new()
        } else {
            format!("{priority} ")
        };
        let _ = writeln!(log, "{host} {clock}\n{prefix}{text}");
    });
    log
}

fn each(history: &History, mut see: impl FnMut(&str, &str, &str)) {
    let hosts = hosts(history);
    for event in history.graph().sorted() {
        let clock = clock(history, &hosts, event);
        let text = one_line(&history.describe(event));
        see(&hosts[event.process as usize], &clock, &text);
    }
}

/// Names without white space, each once, that do not look like a clock.
fn hosts(history: &History) -> Vec<String> {
    let mut taken = HashSet::new();
    // The next number behind a name that is taken.
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut hosts = Vec::new();
    for process in history.processes() {
        let name: String = process
            .name
            .chars()
            .map(|c| {
                if c.is_whitespace() || c.is_control() {
                    '_'
                } else {
                    c
                }
            })
            .collect();
        let name = if name.is_empty() {
            "_".to_owned()
        } else {
            name
        };
        let mut unique = name.clone();
        while !taken.insert(unique.clone()) {
            let number = numbers.entry(name.clone()).or_insert(2);
            unique = format!("{name}_{number}");
            *number += 1;
        }
        hosts.push(unique);
    }
    hosts
}

/// The clock as JSON, own entry first.
fn clock(history: &History, hosts: &[String], event: Event) -> String {
    let counts = history.graph().clock(event).unwrap_or_default();
    let own = event.process as usize;
    let others = (0..counts.len()).filter(|host| *host != own && counts[*host] > 0);
    let pairs: Vec<String> = std::iter::once(own)
        .chain(others)
        .map(|host| format!("{}:{}", Value::from(hosts[host].as_str()), counts[host]))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .collect();
    match line.trim() {
        "" => "-".to_owned(),
        line => line.to_owned(),
    }
}
