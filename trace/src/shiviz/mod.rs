//! Logs of ShiViz and GoVector, read, checked and written.
//!
//! A log says of each event which *host* it is of, its text, and its vector clock
//! as JSON. A ShiViz log begins with two lines: the regular expression by which
//! its events are found, with the groups `event`, `host` and `clock`, and one that
//! separates several runs, which may be empty. A log of GoVector may lack both.
//!
//! [`read`] finds the events, checks their clocks more strictly than ShiViz does,
//! and gives a [`History`] that is like one of our own. [`write`](fn@write) gives a log that
//! ShiViz accepts.
//!
//! ```
//! # use lisle_trace::__facade as lisle;
//! use lisle::trace::shiviz;
//!
//! let log = "(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})\n\n\
//!     asks\nada {\"ada\": 1}\n\
//!     answers\nbob {\"bob\": 1, \"ada\": 1}\n";
//! let runs = shiviz::read(log)?;
//! let history = &runs[0].history;
//! let (asks, answers) = (history.find("asks").unwrap(), history.find("answers").unwrap());
//! assert_eq!(history.graph().before(asks, answers), Ok(true));
//!
//! let wrong = log.replace("\"bob\": 1", "\"bob\": 2");
//! let error = shiviz::read(&wrong).unwrap_err();
//! assert_eq!(error.to_string(), "line 6: the first event of bob has number 2 in its clock, not 1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The format: <https://bitbucket.org/bestchai/shiviz/wiki/Log%20format>.

mod check;
mod parse;
mod write;

use std::fmt;

pub use self::parse::{Format, read, read_as};
pub use self::write::{govector, write};
use crate::history::History;

/// One run of a log that may hold several.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run {
    /// What the log calls it; empty if it has only one.
    pub name: String,
    /// What happened.
    pub history: History,
}

/// What is wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogError {
    /// In which line, from 1.
    pub line: usize,
    /// What.
    pub problem: Problem,
}

/// What may be wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A regular expression does not compile.
    BadExpression(String),
    /// The expression lacks a group that it must have.
    NoGroup(&'static str),
    /// The delimiter has no text of which it could be one: two runs have one name.
    SameRun(String),
    /// There is no event in the whole log.
    NoEvents,
    /// Text that belongs to no event.
    Unmatched(String),
    /// A clock is no JSON object of host names and counts.
    BadClock(String),
    /// A clock names a host twice.
    TwiceInClock(String),
    /// A clock lacks its own host.
    NotInOwnClock(String),
    /// A host's first event is not its number 1.
    NotFirst {
        /// Whose.
        host: String,
        /// Its number.
        number: u64,
    },
    /// A host has no event between two numbers.
    Gap {
        /// Whose.
        host: String,
        /// The number before.
        after: u64,
        /// The number of this one.
        number: u64,
    },
    /// A host has two events of one number.
    Duplicate {
        /// Whose.
        host: String,
        /// The number.
        number: u64,
        /// Where the other one is.
        other: usize,
    },
    /// A clock names a host that never logs.
    UnknownHost(String),
    /// A clock has seen more events of a host than there are.
    Unseen {
        /// Whose.
        host: String,
        /// How many it has seen.
        seen: u64,
        /// How many there are.
        there: u64,
    },
    /// A clock has forgotten what its host had seen before.
    Backwards {
        /// Of which host it has seen fewer events.
        host: String,
        /// How many before.
        before: u64,
        /// How many now.
        now: u64,
    },
    /// A clock has seen an event, but not what that one had seen: clocks are to be
    /// merged whole when a message is received.
    NotTransitive {
        /// Whose event it has seen.
        through: String,
        /// Where that one is.
        line: usize,
        /// Whose events that one had seen more of.
        host: String,
        /// How many.
        wanted: u64,
        /// How many this one has seen.
        seen: u64,
    },
    /// An event has seen one that has seen it.
    Circle {
        /// Whose event it is.
        host: String,
        /// Where the other one is.
        other: usize,
    },
    /// The log is larger than can be.
    TooLarge,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::BadExpression(why) => write!(f, "not a regular expression: {why}"),
            Problem::NoGroup(name) => write!(f, "the expression has no group `{name}`"),
            Problem::SameRun(name) => write!(f, "a second run is called {name:?}"),
            Problem::NoEvents => write!(f, "the expression matches nothing in the log"),
            Problem::Unmatched(text) => write!(f, "this is part of no event: {text:?}"),
            Problem::BadClock(why) => write!(f, "not a clock: {why}"),
            Problem::TwiceInClock(host) => write!(f, "the clock names {host} twice"),
            Problem::NotInOwnClock(host) => {
                write!(f, "the clock of an event of {host} does not name {host}")
            }
            Problem::NotFirst { host, number } => write!(
                f,
                "the first event of {host} has number {number} in its clock, not 1"
            ),
            Problem::Gap {
                host,
                after,
                number,
            } => write!(
                f,
                "{host} has no event between its numbers {after} and {number}"
            ),
            Problem::Duplicate {
                host,
                number,
                other,
            } => write!(
                f,
                "{host} has another event of number {number}, in line {other}"
            ),
            Problem::UnknownHost(host) => {
                write!(f, "the clock names {host}, which has no events")
            }
            Problem::Unseen { host, seen, there } => write!(
                f,
                "the clock has seen {seen} events of {host}, which has {there}"
            ),
            Problem::Backwards { host, before, now } => write!(
                f,
                "the clock has seen {now} events of {host}, but the event before had seen {before}"
            ),
            Problem::NotTransitive {
                through,
                line,
                host,
                wanted,
                seen,
            } => write!(
                f,
                "the clock has seen the event of {through} in line {line}, which had seen {wanted} \
                 events of {host}, but has itself seen {seen}"
            ),
            Problem::Circle { host, other } => write!(
                f,
                "this event of {host} and the one in line {other} have each seen the other"
            ),
            Problem::TooLarge => write!(f, "more than 2³² events"),
        }
    }
}

impl std::error::Error for LogError {}
