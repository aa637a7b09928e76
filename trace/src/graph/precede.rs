//! Which process as a whole happened before which.
//!
//! A process *precedes* another one if its last event happened before the first
//! event of the other. Only what does not follow is listed: `p` before `r`, but not
//! if some `q` lies between.
//!
//! One walk along all arrows tells this of 64 processes `p`, a bit each: an event's
//! *whole* has those of which all happened before it or ends with it, its *covered*
//! those that precede a process in its whole. To the first event of `r` come the
//! whole and not covered ones directly.
//!
//! ```text
//!   p ──●                          at its last event p becomes whole
//!        ╲
//!   q     ●──●──●                  at its last event what was whole at its first
//!                ╲                 is covered
//!   r             ●──              whole: p, q; covered: p; so q → r
//! ```
//!
//! *Cost*. Events that no arrow begins or ends at are left out; so it is arrows ×
//! processes / 64, and memory by arrows. It contains, for processes of one event
//! each, the transitive reduction of any graph, for which nothing better is known
//! that does not multiply matrices.
//!
//! *Rejected*: the clock of each first event: it has as many entries as there are
//! processes, and for short ones it walks back to the beginning.

use super::{Event, Graph, ProcessId};

/// An event that matters: an end of a process or of an arrow.
#[derive(Debug, Clone, Copy)]
struct Node {
    event: Event,
    /// The one before it in its process.
    before: Option<u32>,
    is_last: bool,
    /// Where its arrows end in the list of all.
    arrows_end: usize,
}

/// What happened before an event, of 64 processes.
#[derive(Debug, Clone, Copy, Default)]
struct Past {
    whole: u64,
    covered: u64,
}

impl Past {
    fn add(&mut self, other: Past) {
        self.whole |= other.whole;
        self.covered |= other.covered;
    }
}

impl Graph {
    /// Pairs of processes of which the first precedes the second, without those that
    /// follow from others; by the second, then by the first.
    pub(crate) fn precedence(&self) -> Vec<(ProcessId, ProcessId)> {
        let (nodes, sources) = self.skeleton();
        let mut pairs = Vec::new();
        let mut pasts = vec![Past::default(); nodes.len()];
        // Of each process, what was whole at its first event.
        let mut at_first = vec![0; self.chains.len()];
        for block in (0..self.processes()).step_by(64) {
            let mut arrows = 0;
            for (at, node) in nodes.iter().enumerate() {
                let mut past = Past::default();
                if let Some(before) = node.before {
                    past = pasts[before as usize];
                }
                for source in &sources[arrows..node.arrows_end] {
                    past.add(pasts[*source as usize]);
                }
                arrows = node.arrows_end;
                let process = node.event.process;
                if node.event.index == 0 {
                    at_first[process as usize] = past.whole;
                    let direct = past.whole & !past.covered;
                    pairs.extend(bits(direct).map(|bit| (block + bit, process)));
                }
                if node.is_last {
                    past.covered |= at_first[process as usize];
                    if let Some(bit) = process.checked_sub(block).filter(|bit| *bit < 64) {
                        past.whole |= 1 << bit;
                    }
                }
                pasts[at] = past;
            }
        }
        pairs.sort_unstable_by_key(|(earlier, later)| (*later, *earlier));
        pairs
    }

    /// The events that matter, in an order that agrees with all arrows; and from which
    /// of them the arrows to each of them lead.
    fn skeleton(&self) -> (Vec<Node>, Vec<u32>) {
        let mut events: Vec<Event> = Vec::new();
        for (process, chain) in self.chains.iter().enumerate() {
            let Some(last) = chain.ranks.len().checked_sub(1) else {
                continue;
            };
            let process = process as u32;
            events.extend([Event::new(process, 0), Event::new(process, last as u32)]);
            for arrow in &chain.incoming {
                events.extend([Event::new(process, arrow.at), arrow.from()]);
            }
        }
        events.sort_unstable_by_key(|event| self.rank(*event));
        events.dedup();
        let mut nodes: Vec<Node> = Vec::with_capacity(events.len());
        let mut sources = Vec::new();
        let mut newest = vec![None; self.chains.len()];
        for (at, event) in events.iter().enumerate() {
            for arrow in self.arrows_to(*event) {
                let rank = self.rank(arrow.from);
                let source = events.partition_point(|other| self.rank(*other) < rank);
                sources.push(source as u32);
            }
            nodes.push(Node {
                event: *event,
                before: newest[event.process as usize].replace(at as u32),
                is_last: event.index + 1 == self.len_of(event.process),
                arrows_end: sources.len(),
            });
        }
        (nodes, sources)
    }
}

/// Which bits are set.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}
