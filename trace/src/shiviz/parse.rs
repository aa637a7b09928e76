//! Finding the events of a log.

use std::borrow::Cow;
use std::collections::HashSet;

use regex::Regex;
use serde_json::Value;

use super::check::{self, Entry};
use super::{LogError, Problem, Run};

/// ShiViz's own expression.
const SHIVIZ: &str = r"(?<event>.*)\n(?<host>\S*) (?<clock>\{.*\})";
/// What GoVector writes.
const GOVECTOR: &str = r"(?<host>\S*) (?<clock>\{.*\})\n(?<event>.*)";

/// How the events of a log are found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Text, then host and clock in a line of their own: ShiViz's default.
    Shiviz,
    /// Host and clock, then text: GoVector's.
    Govector,
    /// By these expressions.
    Custom {
        /// With the groups `event`, `host` and `clock`; others are added to the
        /// event's text.
        parser: String,
        /// What separates runs, with a group `trace` that names them; may be empty.
        delimiter: String,
    },
}

/// Reads a log: by the expressions in its first two lines, if its first line has a
/// group of one; else as GoVector's or in ShiViz's default form, whichever its
/// first lines look like.
///
/// Regular expressions are those of the crate `regex`, which are JavaScript's but
/// for look-around and back references.
///
/// # Errors
/// What is wrong first, with its line.
pub fn read(log: &str) -> Result<Vec<Run>, LogError> {
    let log = unix(log);
    let (first, rest) = log.split_once('\n').unwrap_or((&log, ""));
    if ["event", "host", "clock"]
        .iter()
        .any(|group| has_group(first, group))
    {
        let (second, body) = rest.split_once('\n').unwrap_or((rest, ""));
        return parse(body, 3, first, second);
    }
    let starts_with_host = Regex::new(r"^\S+ \{").is_ok_and(|host| host.is_match(&log));
    match starts_with_host {
        true => parse(&log, 1, GOVECTOR, ""),
        false => parse(&log, 1, SHIVIZ, ""),
    }
}

/// Reads a log that has no lines at its beginning that say how.
///
/// # Errors
/// What is wrong first, with its line.
pub fn read_as(log: &str, format: &Format) -> Result<Vec<Run>, LogError> {
    let log = unix(log);
    match format {
        Format::Shiviz => parse(&log, 1, SHIVIZ, ""),
        Format::Govector => parse(&log, 1, GOVECTOR, ""),
        Format::Custom { parser, delimiter } => parse(&log, 1, parser, delimiter),
    }
}

/// Without what Windows puts at the ends of lines, and at the beginning of a file.
fn unix(log: &str) -> Cow<'_, str> {
    let log = log.strip_prefix('\u{feff}').unwrap_or(log);
    match log.contains("\r\n") {
        true => Cow::Owned(log.replace("\r\n", "\n")),
        false => Cow::Borrowed(log),
    }
}

fn has_group(expression: &str, name: &str) -> bool {
    expression.contains(&format!("(?<{name}>")) || expression.contains(&format!("(?P<{name}>"))
}

/// An expression as ShiViz means it: a brace that begins no repetition is itself, as
/// in JavaScript.
fn compile(expression: &str, line: usize) -> Result<Regex, LogError> {
    let fixed = escape_braces(expression);
    let bad = |error: regex::Error| LogError {
        line,
        problem: Problem::BadExpression(error.to_string()),
    };
    let limited = regex::RegexBuilder::new(&format!("(?m:{fixed})"))
        .size_limit(1 << 20)
        .build();
    limited.map_err(bad)
}

fn escape_braces(expression: &str) -> String {
    let mut out = String::new();
    let mut chars = expression.char_indices().peekable();
    let mut in_class = false;
    // Inside a repetition up to this place.
    let mut inside = 0;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                if let Some((_, escaped)) = chars.next() {
                    // Names of properties and of characters have braces of their own.
                    if matches!(escaped, 'p' | 'P' | 'x' | 'u' | 'U')
                        && let Some(end) = expression[at..].find('}')
                        && expression[at..].chars().nth(2) == Some('{')
                    {
                        inside = at + end + 1;
                    }
                    out.push(escaped);
                }
                continue;
            }
            '[' => in_class = true,
            ']' => in_class = false,
            '{' if !in_class && at >= inside => {
                let repetition = expression[at + 1..].split_once('}');
                let counts = |text: &str| {
                    text.starts_with(|c: char| c.is_ascii_digit())
                        && text.chars().all(|c| c.is_ascii_digit() || c == ',')
                };
                match repetition.filter(|(text, _)| counts(text)) {
                    Some((text, _)) => inside = at + text.len() + 2,
                    None => out.push('\\'),
                }
            }
            '}' if !in_class && at >= inside => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Says in which line a place of the log is.
struct Lines<'a> {
    log: &'a str,
    /// The last place asked for, and its line.
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(log: &'a str, first: usize) -> Lines<'a> {
        Lines {
            log,
            at: 0,
            line: first,
        }
    }

    fn of(&mut self, at: usize) -> usize {
        // From the last place, also backwards: an event's clock may stand before its host.
        let lines = |from: usize, to: usize| {
            let between = &self.log.as_bytes()[from..to];
            between.iter().filter(|byte| **byte == b'\n').count()
        };
        self.line = match at < self.at {
            true => self.line - lines(at, self.at),
            false => self.line + lines(self.at, at),
        };
        self.at = at;
        self.line
    }
}

fn parse(log: &str, first: usize, parser: &str, delimiter: &str) -> Result<Vec<Run>, LogError> {
    let header = if first == 3 { 1 } else { 0 };
    let parser = compile(parser, header.max(1))?;
    for group in ["event", "host", "clock"] {
        if !parser.capture_names().flatten().any(|name| name == group) {
            return Err(LogError {
                line: header.max(1),
                problem: Problem::NoGroup(group),
            });
        }
    }
    let mut lines = Lines::new(log, first);
    let (mut runs, mut names) = (Vec::new(), HashSet::new());
    for (name, begin, end) in split(log, first, delimiter)? {
        let entries = entries(&log[..end], begin, &parser, &mut lines)?;
        if entries.is_empty() {
            continue;
        }
        if !name.is_empty() && !names.insert(name.clone()) {
            return Err(LogError {
                line: lines.of(begin),
                problem: Problem::SameRun(name),
            });
        }
        let history = check::history(entries)?;
        runs.push(Run { name, history });
    }
    if runs.is_empty() {
        return Err(LogError {
            line: first,
            problem: Problem::NoEvents,
        });
    }
    Ok(runs)
}

/// The parts of a log with their names.
fn split(
    log: &str,
    first: usize,
    delimiter: &str,
) -> Result<Vec<(String, usize, usize)>, LogError> {
    if delimiter.trim().is_empty() {
        return Ok(vec![(String::new(), 0, log.len())]);
    }
    let delimiter = compile(delimiter.trim(), if first == 3 { 2 } else { 1 })?;
    let mut parts = Vec::new();
    let (mut name, mut begin) = (String::new(), 0);
    for found in delimiter.captures_iter(log) {
        let Some(whole) = found.get(0).filter(|whole| !whole.is_empty()) else {
            continue;
        };
        parts.push((std::mem::take(&mut name), begin, whole.start()));
        name = match found.name("trace") {
            Some(trace) => trace.as_str().to_owned(),
            None => format!("run {}", parts.len()),
        };
        begin = whole.end();
    }
    parts.push((name, begin, log.len()));
    Ok(parts)
}

fn entries(
    log: &str,
    begin: usize,
    parser: &Regex,
    lines: &mut Lines<'_>,
) -> Result<Vec<Entry>, LogError> {
    let mut entries = Vec::new();
    let mut done = begin;
    for found in parser.captures_iter(&log[begin..]) {
        let whole = found.get(0).map_or(0..0, |whole| whole.range());
        let group = |name| found.name(name).map_or("", |group| group.as_str());
        let at = found.name("host").map_or(whole.start, |host| host.start());
        let line = lines.of(begin + at);
        refuse_text(&log[done..begin + whole.start], done, lines)?;
        done = begin + whole.end;
        let host = group("host");
        if host.is_empty() && whole.is_empty() {
            continue;
        }
        let clock_at = found.name("clock").map_or(at, |clock| clock.start());
        let clock_line = lines.of(begin + clock_at);
        let clock = clock(group("clock")).map_err(|problem| LogError {
            line: clock_line,
            problem,
        })?;
        let known = ["event", "host", "clock"];
        let more: Vec<String> = parser
            .capture_names()
            .flatten()
            .filter(|name| !known.contains(name))
            .filter_map(|name| Some(format!("{name}={}", found.name(name)?.as_str())))
            .collect();
        let mut text = group("event").trim().to_owned();
        if !more.is_empty() {
            text = format!("{text} [{}]", more.join(", "));
        }
        entries.push(Entry {
            host: host.to_owned(),
            text,
            clock,
            line,
        });
        if entries.len() > u32::MAX as usize / 2 {
            return Err(LogError {
                line,
                problem: Problem::TooLarge,
            });
        }
    }
    refuse_text(&log[done..], done, lines)?;
    Ok(entries)
}

/// Text between events is most likely a line of an event of several lines, which
/// ShiViz would silently lose.
fn refuse_text(text: &str, at: usize, lines: &mut Lines<'_>) -> Result<(), LogError> {
    let trimmed = text.trim_start();
    if trimmed.is_empty() {
        return Ok(());
    }
    let line = lines.of(at + text.len() - trimmed.len());
    let first: String = trimmed
        .lines()
        .next()
        .unwrap_or("")
        .chars()
        .take(80)
        .collect();
    Err(LogError {
        line,
        problem: Problem::Unmatched(first),
    })
}

/// A clock, without the hosts of which it has seen nothing.
fn clock(text: &str) -> Result<Vec<(String, u64)>, Problem> {
    let value: Pairs =
        serde_json::from_str(text).map_err(|error| Problem::BadClock(error.to_string()))?;
    let mut clock: Vec<(String, u64)> = Vec::with_capacity(value.0.len());
    for (host, count) in value.0 {
        let count = count
            .as_u64()
            .ok_or_else(|| Problem::BadClock(format!("{host:?} has {count}, which is no count")))?;
        if count > 0 {
            clock.push((host, count));
        }
    }
    clock.sort();
    match clock.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Problem::TwiceInClock(pair[0].0.clone())),
        None => Ok(clock),
    }
}

/// An object, as its pairs: a map would lose those that are there twice.
struct Pairs(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of host names and counts")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_what_javascript_takes_them_for() {
        for (given, wanted) in [
            (r"(?<clock>{.*})", r"(?<clock>\{.*\})"),
            (r"(?<clock>\{.*\})", r"(?<clock>\{.*\})"),
            (r"a{2,3}b{4}", r"a{2,3}b{4}"),
            (r"[{}]{2}", r"[{}]{2}"),
            (r"\p{L}{x}", r"\p{L}\{x\}"),
            (r"{", r"\{"),
            (r"\", r"\"),
        ] {
            assert_eq!(escape_braces(given), wanted);
        }
    }

    #[test]
    fn lines_are_counted() {
        let mut lines = Lines::new("a\nb\n\nc", 3);
        assert_eq!([0, 2, 5, 0, 4].map(|at| lines.of(at)), [3, 4, 6, 3, 5]);
    }
}
