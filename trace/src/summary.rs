//! Two smaller graphs of the same events: which process precedes which, and who
//! talks to whom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::graph::{Link, ProcessId};
use crate::history::History;

/// The *synchronous process graph*: a process precedes another one if all of it
/// happened before all of that. Only what does not follow from the rest is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessGraph {
    names: Vec<String>,
    precedes: Vec<(ProcessId, ProcessId)>,
}

/// The *communication graph*: how often each process caused something in each other
/// one, by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunicationGraph {
    names: Vec<String>,
    counts: BTreeMap<(ProcessId, ProcessId), BTreeMap<&'static str, u64>>,
}

impl History {
    /// Which process precedes which.
    pub fn process_graph(&self) -> ProcessGraph {
        ProcessGraph {
            names: names(self),
            precedes: self.graph().precedence(),
        }
    }

    /// Who talks to whom, how much.
    pub fn communication_graph(&self) -> CommunicationGraph {
        let mut counts: BTreeMap<_, BTreeMap<_, u64>> = BTreeMap::new();
        for arrow in self.graph().arrows() {
            let pair = (arrow.from.process, arrow.to.process);
            if pair.0 != pair.1 {
                let of = counts.entry(pair).or_default();
                *of.entry(arrow.link.name()).or_default() += 1;
            }
        }
        CommunicationGraph {
            names: names(self),
            counts,
        }
    }
}

fn names(history: &History) -> Vec<String> {
    let processes = history.processes().iter();
    processes.map(|process| process.name.clone()).collect()
}

impl ProcessGraph {
    /// Pairs of processes of which the first precedes the second, without those
    /// that follow from others.
    pub fn precedes(&self) -> &[(ProcessId, ProcessId)] {
        &self.precedes
    }

    /// In Graphviz's language.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph processes {\n  rankdir=LR;\n  node [shape=box];\n");
        for name in &self.names {
            let _ = writeln!(dot, "  {};", quoted(name));
        }
        for (from, to) in &self.precedes {
            let (from, to) = (&self.names[*from as usize], &self.names[*to as usize]);
            let _ = writeln!(dot, "  {} -> {};", quoted(from), quoted(to));
        }
        dot.push_str("}\n");
        dot
    }
}

impl CommunicationGraph {
    /// How often the first process caused something in the second by such a link.
    pub fn count(&self, from: ProcessId, to: ProcessId, link: Link) -> u64 {
        let counts = self.counts.get(&(from, to));
        counts
            .and_then(|counts| counts.get(link.name()))
            .copied()
            .unwrap_or(0)
    }

    /// All pairs, with how often by what.
    pub fn pairs(&self) -> impl Iterator<Item = (ProcessId, ProcessId, &'static str, u64)> + '_ {
        self.counts.iter().flat_map(|((from, to), counts)| {
            counts
                .iter()
                .map(|(link, count)| (*from, *to, *link, *count))
        })
    }

    /// In Graphviz's language; busy pairs have thick lines.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph communication {\n  node [shape=ellipse];\n");
        for (from, to, link, count) in self.pairs() {
            let (from, to) = (&self.names[from as usize], &self.names[to as usize]);
            let width = 1.0 + (count as f64).log10();
            let _ = writeln!(
                dot,
                "  {} -> {} [label=\"{count} {link}\", penwidth={width:.1}];",
                quoted(from),
                quoted(to)
            );
        }
        dot.push_str("}\n");
        dot
    }
}

/// As a string of Graphviz's language.
fn quoted(name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}
