//! From the clocks of a log to a history, if they can be those of one.
//!
//! ShiViz takes clocks as they are. Here they must be *vector clocks*: each event
//! has seen what the events had seen that it has seen. Then the arrows follow: to
//! each event from the last ones that it, and not its predecessor, has seen,
//! without those that follow from others.
//!
//! *Only the arrows are checked*: that an event has seen what its predecessor and
//! the origins of its arrows had seen. Of an event that one of these had seen, that
//! one is asked in turn; as no two have seen each other, this comes to an end. So the
//! check takes time by the size of the log, and by hosts for each arrow.

use std::cmp::Reverse;
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
    /// How many events it has seen; who has seen it has seen more.
    weight: u64,
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
    let mut arrows = Vec::new();
    let mut checker = Checker::new(&hosts, &placed);
    for (host, events) in placed.iter().enumerate() {
        for index in 0..events.len() {
            checker.check(host, index, &mut arrows)?;
        }
    }
    build(&hosts, &placed, &arrows)
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
            weight: clock.iter().map(|(_, count)| u64::from(*count)).sum(),
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

/// Checks events one by one.
struct Checker<'a> {
    hosts: &'a [String],
    placed: &'a [Vec<Placed>],
    /// By host: what the event has seen, and what those of its causes had that have been
    /// looked at. Zero between checks.
    seen: Vec<u32>,
    known: Vec<u32>,
}

impl<'a> Checker<'a> {
    fn new(hosts: &'a [String], placed: &'a [Vec<Placed>]) -> Checker<'a> {
        Checker {
            hosts,
            placed,
            seen: vec![0; hosts.len()],
            known: vec![0; hosts.len()],
        }
    }

    /// Checks one event's clock; adds the arrows to it.
    fn check(
        &mut self,
        own: usize,
        index: usize,
        arrows: &mut Vec<(Event, Event)>,
    ) -> Result<(), LogError> {
        let event = &self.placed[own][index];
        for (host, count) in &event.clock {
            self.seen[*host] = *count;
        }
        if let Some(before) = index.checked_sub(1) {
            self.add_predecessor(event, &self.placed[own][before])?;
        }
        let mut new = self.new_ones(own, event)?;
        // Those first that have seen others of them.
        new.sort_by_key(|(host, count)| Reverse(self.at(*host, *count).weight));
        let to = Event::new(own as u32, index as u32);
        for (host, count) in new {
            if self.known[host] < count {
                self.add_cause(own, index, host, count)?;
                arrows.push((Event::new(host as u32, count - 1), to));
            }
        }
        for (host, _) in &event.clock {
            (self.seen[*host], self.known[*host]) = (0, 0);
        }
        Ok(())
    }

    fn at(&self, host: usize, count: u32) -> &'a Placed {
        &self.placed[host][count as usize - 1]
    }

    /// The last events of others that the event has seen and its predecessor has not.
    fn new_ones(&self, own: usize, event: &Placed) -> Result<Vec<(usize, u32)>, LogError> {
        let mut new = Vec::new();
        for &(host, count) in event.clock.iter().filter(|(host, _)| *host != own) {
            let there = self.placed[host].len();
            if count as usize > there {
                let problem = Problem::Unseen {
                    host: self.hosts[host].clone(),
                    seen: u64::from(count),
                    there: there as u64,
                };
                return error(event.line, problem);
            }
            if self.known[host] < count {
                new.push((host, count));
            }
        }
        Ok(new)
    }

    fn add_predecessor(&mut self, event: &Placed, before: &Placed) -> Result<(), LogError> {
        for (host, count) in &before.clock {
            let now = self.seen[*host];
            if now < *count {
                let problem = Problem::Backwards {
                    host: self.hosts[*host].clone(),
                    before: u64::from(*count),
                    now: u64::from(now),
                };
                return error(event.line, problem);
            }
            self.known[*host] = *count;
        }
        Ok(())
    }

    /// The event has seen that one, which had not seen it, and all that that one had.
    fn add_cause(
        &mut self,
        own: usize,
        index: usize,
        host: usize,
        count: u32,
    ) -> Result<(), LogError> {
        let (event, cause) = (&self.placed[own][index], self.at(host, count));
        if cause.seen(own) > index as u32 {
            let problem = Problem::Circle {
                host: self.hosts[own].clone(),
                other: cause.line,
            };
            return error(event.line, problem);
        }
        for (third, wanted) in &cause.clock {
            let seen = self.seen[*third];
            if seen < *wanted {
                let problem = Problem::NotTransitive {
                    through: self.hosts[host].clone(),
                    line: cause.line,
                    host: self.hosts[*third].clone(),
                    wanted: u64::from(*wanted),
                    seen: u64::from(seen),
                };
                return error(event.line, problem);
            }
            self.known[*third] = self.known[*third].max(*wanted);
        }
        Ok(())
    }
}

fn build(
    hosts: &[String],
    placed: &[Vec<Placed>],
    arrows: &[(Event, Event)],
) -> Result<History, LogError> {
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
    for (from, to) in arrows {
        let drawn = builder.arrow(*from, *to, Link::Message);
        debug_assert!(drawn.is_ok(), "checked to be there");
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
