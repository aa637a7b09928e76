//! From the clocks of a log to a history, if they can be those of one.
//!
//! ShiViz takes clocks as they are. Here they must be *vector clocks*: each event
//! has seen what the events had seen that it has seen. Then the arrows follow: to
//! each event from the last ones that it, and not its predecessor, has seen,
//! without those that follow from others.

use std::collections::HashMap;

use super::{LogError, Problem};
use crate::graph::{Event, Link};
use crate::history::{History, HistoryBuilder, Kind, Stamp};

/// An event as the log has it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) host: String,
    pub(super) text: String,
    /// Sorted by name; no zeroes.
    pub(super) clock: Vec<(String, u64)>,
    pub(super) line: usize,
}

/// An event in its place.
struct Placed {
    text: String,
    line: usize,
    /// Sorted by host, and nothing that is zero.
    clock: Vec<(usize, u32)>,
}

impl Placed {
    fn seen(&self, host: usize) -> u32 {
        let found = self.clock.binary_search_by_key(&host, |(host, _)| *host);
        found.map_or(0, |at| self.clock[at].1)
    }
}

fn error<T>(line: usize, problem: Problem) -> Result<T, LogError> {
    Err(LogError { line, problem })
}

/// The history of which the log tells.
pub(super) fn history(entries: Vec<Entry>) -> Result<History, LogError> {
    let (hosts, placed) = place(entries)?;
    for (host, events) in placed.iter().enumerate() {
        for (index, event) in events.iter().enumerate() {
            check(&hosts, &placed, host, index, event)?;
        }
    }
    build(&hosts, &placed)
}

/// Puts each host's events in order, whatever the order of the log.
fn place(entries: Vec<Entry>) -> Result<(Vec<String>, Vec<Vec<Placed>>), LogError> {
    let mut hosts: Vec<String> = Vec::new();
    let mut number: HashMap<String, usize> = HashMap::new();
    for entry in &entries {
        if !number.contains_key(&entry.host) {
            number.insert(entry.host.clone(), hosts.len());
            hosts.push(entry.host.clone());
        }
    }
    let mut by_host: Vec<Vec<(u64, Placed)>> = hosts.iter().map(|_| Vec::new()).collect();
    for entry in entries {
        let own = number[&entry.host];
        let mut clock = Vec::with_capacity(entry.clock.len());
        let mut mine = 0;
        for (host, count) in entry.clock {
            let Some(at) = number.get(&host) else {
                return error(entry.line, Problem::UnknownHost(host));
            };
            if *at == own {
                mine = count;
            }
            // More than there can be is more than there are.
            clock.push((*at, u32::try_from(count).unwrap_or(u32::MAX)));
        }
        if mine == 0 {
            return error(entry.line, Problem::NotInOwnClock(entry.host));
        }
        clock.sort_unstable();
        let placed = Placed {
            text: entry.text,
            line: entry.line,
            clock,
        };
        by_host[own].push((mine, placed));
    }
    let mut placed = Vec::new();
    for (host, mut events) in by_host.into_iter().enumerate() {
        events.sort_by_key(|(number, event)| (*number, event.line));
        number_from_one(&hosts[host], &events)?;
        placed.push(events.into_iter().map(|(_, event)| event).collect());
    }
    Ok((hosts, placed))
}

fn number_from_one(host: &str, events: &[(u64, Placed)]) -> Result<(), LogError> {
    let mut before: Option<(u64, usize)> = None;
    for (number, event) in events {
        let (host, number) = (host.to_owned(), *number);
        match before {
            None if number != 1 => return error(event.line, Problem::NotFirst { host, number }),
            Some((last, other)) if number == last => {
                let problem = Problem::Duplicate {
                    host,
                    number,
                    other,
                };
                return error(event.line, problem);
            }
            Some((after, _)) if number != after + 1 => {
                let problem = Problem::Gap {
                    host,
                    after,
                    number,
                };
                return error(event.line, problem);
            }
            _ => before = Some((number, event.line)),
        }
    }
    Ok(())
}

/// Checks one event's clock against those of the events that it has seen.
fn check(
    hosts: &[String],
    placed: &[Vec<Placed>],
    own: usize,
    index: usize,
    event: &Placed,
) -> Result<(), LogError> {
    if let Some(before) = index.checked_sub(1).map(|index| &placed[own][index]) {
        for (host, count) in &before.clock {
            let now = event.seen(*host);
            if now < *count {
                let problem = Problem::Backwards {
                    host: hosts[*host].clone(),
                    before: u64::from(*count),
                    now: u64::from(now),
                };
                return error(event.line, problem);
            }
        }
    }
    for (host, count) in event.clock.iter().filter(|(host, _)| *host != own) {
        let Some(other) = placed[*host].get(*count as usize - 1) else {
            let problem = Problem::Unseen {
                host: hosts[*host].clone(),
                seen: u64::from(*count),
                there: placed[*host].len() as u64,
            };
            return error(event.line, problem);
        };
        if other.seen(own) > index as u32 {
            let problem = Problem::Circle {
                host: hosts[own].clone(),
                other: other.line,
            };
            return error(event.line, problem);
        }
        for (third, wanted) in &other.clock {
            let seen = event.seen(*third);
            if seen < *wanted {
                let problem = Problem::NotTransitive {
                    through: hosts[*host].clone(),
                    line: other.line,
                    host: hosts[*third].clone(),
                    wanted: u64::from(*wanted),
                    seen: u64::from(seen),
                };
                return error(event.line, problem);
            }
        }
    }
    Ok(())
}

fn build(hosts: &[String], placed: &[Vec<Placed>]) -> Result<History, LogError> {
    let mut builder = HistoryBuilder::new();
    for host in hosts {
        let process = builder.host(host);
        let events = &placed[process as usize];
        for event in events {
            let made = builder.event(process, Kind::Local, &event.text, None);
            let stamp: Stamp = event
                .clock
                .iter()
                .map(|(host, count)| (hosts[*host].clone(), u64::from(*count)))
                .collect();
            builder.stamp(made, stamp);
        }
    }
    for (own, events) in placed.iter().enumerate() {
        for (index, event) in events.iter().enumerate() {
            for from in causes(placed, own, index, event) {
                let to = Event::new(own as u32, index as u32);
                let drawn = builder.arrow(from, to, Link::Message);
                debug_assert!(drawn.is_ok(), "checked to be there");
            }
        }
    }
    builder.build().map_err(|cycle| LogError {
        // The checks leave no circle: its clocks would have to rise all the way round.
        line: placed[cycle.event.process as usize][cycle.event.index as usize].line,
        problem: Problem::Circle {
            host: hosts[cycle.event.process as usize].clone(),
            other: 0,
        },
    })
}

/// The last events that this one has seen and its predecessor has not, without those
/// that others of them have seen.
fn causes(placed: &[Vec<Placed>], own: usize, index: usize, event: &Placed) -> Vec<Event> {
    let before = index.checked_sub(1).map(|index| &placed[own][index]);
    let new: Vec<(usize, u32)> = event
        .clock
        .iter()
        .copied()
        .filter(|(host, count)| {
            *host != own && before.is_none_or(|before| before.seen(*host) < *count)
        })
        .collect();
    let last = |(host, count): (usize, u32)| &placed[host][count as usize - 1];
    let follows = |one: (usize, u32)| {
        new.iter()
            .any(|other| *other != one && last(*other).seen(one.0) >= one.1)
    };
    let direct = new.iter().filter(|one| !follows(**one));
    direct
        .map(|(host, count)| Event::new(*host as u32, count - 1))
        .collect()
}
