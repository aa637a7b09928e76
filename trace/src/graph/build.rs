//! Making a graph of chains and arrows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use super::{Chain, Event, Graph, Incoming, LINK_SHIFT, Link, MOST, NoSuchEvent, ProcessId};

/// The least distance of two clocks in a chain.
const SPACING: u32 = 32;

/// Collects processes, events and arrows.
///
/// ```
/// # use lisle_trace::__facade as lisle;
/// use lisle::trace::graph::{Builder, Link, Order};
///
/// let mut builder = Builder::new();
/// let (p, q) = (builder.process(), builder.process());
/// let (send, receive) = (builder.event(p), builder.event(q));
/// let later = builder.event(p);
/// builder.arrow(send, receive, Link::Message)?;
/// let graph = builder.build()?;
/// assert_eq!(graph.compare(send, receive)?, Order::Before);
/// assert_eq!(graph.compare(later, receive)?, Order::Concurrent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    lens: Vec<u32>,
    incoming: Vec<Vec<Incoming>>,
}

/// Arrows lead in a circle: then there is no order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cycle {
    /// An event that would have to happen before itself.
    pub event: Event,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { process, index } = self.event;
        write!(
            f,
            "event {index} of process {process} would have to happen before itself"
        )
    }
}

impl std::error::Error for Cycle {}

impl Builder {
    /// Nothing yet.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A new process, without events.
    ///
    /// # Panics
    /// If there are 2²⁸.
    pub fn process(&mut self) -> ProcessId {
        let id = self.lens.len() as u32;
        assert!(id < MOST, "too many processes");
        self.lens.push(0);
        self.incoming.push(Vec::new());
        id
    }

    /// The next event of a process.
    ///
    /// # Panics
    /// If there is no such process, or it has 2³² - 1 events.
    pub fn event(&mut self, process: ProcessId) -> Event {
        let len = &mut self.lens[process as usize];
        let event = Event::new(process, *len);
        *len = len.checked_add(1).expect("too many events");
        event
    }

    /// Says that `from` happened before `to`. Arrows inside a process add nothing.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn arrow(&mut self, from: Event, to: Event, link: Link) -> Result<(), NoSuchEvent> {
        for event in [from, to] {
            let len = self.lens.get(event.process as usize);
            if len.is_none_or(|len| event.index >= *len) {
                return Err(NoSuchEvent(event));
            }
        }
        if from.process == to.process && from.index < to.index {
            return Ok(());
        }
        self.incoming[to.process as usize].push(Incoming {
            at: to.index,
            process: from.process | (link as u32) << LINK_SHIFT,
            index: from.index,
        });
        Ok(())
    }

    /// The graph.
    ///
    /// # Errors
    /// If arrows lead in a circle.
    pub fn build(self) -> Result<Graph, Cycle> {
        let mut chains = Vec::with_capacity(self.lens.len());
        for (len, mut incoming) in self.lens.iter().zip(self.incoming) {
            // By event, then by origin; each once.
            incoming.sort_by_key(|arrow| (arrow.at, arrow.process, arrow.index));
            incoming.dedup_by_key(|arrow| (arrow.at, arrow.process, arrow.index));
            incoming.shrink_to_fit();
            chains.push(Chain {
                ranks: vec![u32::MAX; *len as usize],
                incoming,
                clocks: Vec::new(),
            });
        }
        let spacing = (chains.len() as u32).max(SPACING);
        let mut graph = Graph { chains, spacing };
        graph.rank_all()?;
        graph.add_clocks();
        Ok(graph)
    }
}

impl Graph {
    /// Gives each event its rank: chains go on as long as no arrow holds them up.
    fn rank_all(&mut self) -> Result<(), Cycle> {
        let count = self.chains.len();
        let mut next = vec![0_u32; count];
        // How many arrows of each chain have been passed.
        let mut passed = vec![0_usize; count];
        // Of each chain: which of its events is waited for by whom, the first in front.
        let mut waiting: Vec<BinaryHeap<Reverse<(u32, u32)>>> = vec![BinaryHeap::new(); count];
        let mut ready: Vec<u32> = (0..count as u32).rev().collect();
        let mut rank = 0;
        while let Some(chain) = ready.pop() {
            let at = chain as usize;
            'advance: while (next[at] as usize) < self.chains[at].ranks.len() {
                while let Some(arrow) = self.chains[at].incoming.get(passed[at])
                    && arrow.at == next[at]
                {
                    let from = arrow.from();
                    if next[from.process as usize] <= from.index {
                        waiting[from.process as usize].push(Reverse((from.index, chain)));
                        break 'advance;
                    }
                    passed[at] += 1;
                }
                self.chains[at].ranks[next[at] as usize] = rank;
                rank += 1;
                next[at] += 1;
            }
            while let Some(Reverse((index, chain))) = waiting[at].peek().copied()
                && index < next[at]
            {
                waiting[at].pop();
                ready.push(chain);
            }
        }
        let stuck = (0..count).find(|&at| (next[at] as usize) < self.chains[at].ranks.len());
        match stuck {
            None => Ok(()),
            Some(at) => Err(Cycle {
                event: self.circle(at as u32, &next, &passed),
            }),
        }
    }

    /// An event of a circle: whoever waits waits for somebody who waits.
    fn circle(&self, from: ProcessId, next: &[u32], passed: &[usize]) -> Event {
        let mut seen = vec![false; next.len()];
        let mut at = from;
        loop {
            let chain = at as usize;
            if std::mem::replace(&mut seen[chain], true) {
                return Event::new(at, next[chain]);
            }
            let Some(arrow) = self.chains[chain].incoming.get(passed[chain]) else {
                return Event::new(at, next[chain]);
            };
            at = arrow.from().process;
        }
    }

    /// Gives every `spacing`th event its clock, earlier ones first.
    fn add_clocks(&mut self) {
        let mut wanted: Vec<(u32, Event)> = Vec::new();
        for (process, chain) in self.chains.iter().enumerate() {
            let indices = (self.spacing..chain.ranks.len() as u32).step_by(self.spacing as usize);
            wanted.extend(indices.map(|index| {
                let event = Event::new(process as u32, index);
                (chain.ranks[index as usize], event)
            }));
        }
        wanted.sort_unstable();
        let mut walk = Vec::new();
        let mut clock = Vec::new();
        for (_, event) in wanted {
            self.clock_into(event, &mut clock, &mut walk);
            self.chains[event.process as usize].clocks.extend(&clock);
        }
    }
}
