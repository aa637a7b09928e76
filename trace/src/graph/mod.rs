//! The happens-before graph: which event could have caused which.
//!
//! *Happened before* (Lamport, "Time, clocks, and the ordering of events in a
//! distributed system", 1978) is the least transitive relation in which each
//! process's events are ordered, and what an arrow says: a send before its
//! receive, a spawn before the child's start. Events neither of which happened
//! before the other are *concurrent*.
//!
//! *Shape*. A process is a chain; an event is a process and a place in its chain.
//! Only arrows are stored, with the event to which they lead, sorted. The vector
//! clock of an event (Fidge, Mattern, 1988) says how many events of each process
//! happened before it or are it; it answers everything, but one for each event
//! would take memory by events × processes. So only every *n*th event of a
//! chain has one, *n* being the number of processes or 32: four bytes an event.
//!
//! ```text
//!   p  ──●──●──■──●──●──●──■──●──     ■ has its clock
//!                ╲        ╱
//!   q  ──■──●──●──●──■──●──●──        asked of ●: walk back along arrows, at
//!                                     most to the last ■ of each process
//! ```
//!
//! *Cost*. A walk looks at no event twice and at no process further back than its
//! last clock, and gives up on what is too early by the *rank*, a number that
//! rises along all arrows.
//!
//! *Rejected*: petgraph, whose reachability walks the whole graph, and whose nodes
//! and edges take several times the memory; a clock for each event that has an
//! arrow, which for a hundred processes is a hundred times as much.

mod build;
mod cut;
mod precede;
mod walk;

pub use self::build::{Builder, Cycle};
pub use self::cut::Cut;

/// The number of a process.
pub type ProcessId = u32;

/// An event: the process that it belongs to, and how many events of that process
/// come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// Whose.
    pub process: ProcessId,
    /// Which, from 0.
    pub index: u32,
}

impl Event {
    /// The event of this process and number.
    pub const fn new(process: ProcessId, index: u32) -> Event {
        Event { process, index }
    }
}

/// Why one event happens before another of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Link {
    /// A message was sent and received.
    Message = 0,
    /// A waiting thread was woken: a lock was handed over, a permit given.
    Wake = 1,
    /// A thread was spawned.
    Spawn = 2,
    /// A thread's end was awaited.
    Join = 3,
    /// A log says so by its clocks.
    Clock = 4,
}

impl Link {
    const ALL: [Link; 5] = [
        Link::Message,
        Link::Wake,
        Link::Spawn,
        Link::Join,
        Link::Clock,
    ];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Link::Message => "message",
            Link::Wake => "wake",
            Link::Spawn => "spawn",
            Link::Join => "join",
            Link::Clock => "clock",
        }
    }
}

/// An arrow: the end of one event's line to another process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrow {
    /// From the earlier event.
    pub from: Event,
    /// To the later one.
    pub to: Event,
    /// Why.
    pub link: Link,
}

/// What an arrow takes, beside the process that it leads to.
#[derive(Debug, Clone, Copy)]
struct Incoming {
    at: u32,
    /// And in the highest four bits the link.
    process: u32,
    index: u32,
}

const LINK_SHIFT: u32 = 28;
/// The most processes.
const MOST: u32 = 1 << LINK_SHIFT;

impl Incoming {
    fn from(self) -> Event {
        Event::new(self.process & (MOST - 1), self.index)
    }

    fn link(self) -> Link {
        Link::ALL[(self.process >> LINK_SHIFT) as usize]
    }
}

/// One process's events.
#[derive(Debug, Default)]
struct Chain {
    /// Of each event: its place in an order that agrees with all arrows.
    ranks: Vec<u32>,
    incoming: Vec<Incoming>,
    /// The clocks of every `spacing`th event but the first, one after the other.
    clocks: Vec<u32>,
}

impl Chain {
    /// The arrows to events from `first` to `last`.
    fn arrows(&self, first: u32, last: u32) -> &[Incoming] {
        let begin = self.incoming.partition_point(|arrow| arrow.at < first);
        let rest = &self.incoming[begin..];
        let len = rest.partition_point(|arrow| arrow.at <= last);
        &rest[..len]
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Graph {
    chains: Vec<Chain>,
    /// Every event of a chain with so many before it has its clock.
    spacing: u32,
}

/// How two events are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// The first happened before the second.
    Before,
    /// The second happened before the first.
    After,
    /// They are one event.
    Same,
    /// Neither happened before the other.
    Concurrent,
}

/// An event that the graph does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchEvent(pub Event);

impl std::fmt::Display for NoSuchEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Event { process, index } = self.0;
        write!(f, "process {process} has no event {index}")
    }
}

impl std::error::Error for NoSuchEvent {}

impl Graph {
    /// How many processes there are.
    pub fn processes(&self) -> u32 {
        self.chains.len() as u32
    }

    /// How many events a process has; 0 if there is no such process.
    pub fn len_of(&self, process: ProcessId) -> u32 {
        let chain = self.chains.get(process as usize);
        chain.map_or(0, |chain| chain.ranks.len() as u32)
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.chains.iter().map(|chain| chain.ranks.len()).sum()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is such an event.
    pub fn contains(&self, event: Event) -> bool {
        event.index < self.len_of(event.process)
    }

    /// The events of a process, in order.
    pub fn events_of(&self, process: ProcessId) -> impl Iterator<Item = Event> + use<> {
        (0..self.len_of(process)).map(move |index| Event::new(process, index))
    }

    /// All events, process by process.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        (0..self.processes()).flat_map(|process| self.events_of(process))
    }

    /// All events in an order that agrees with *happened before*.
    pub fn sorted(&self) -> Vec<Event> {
        let mut sorted = vec![Event::new(0, 0); self.len()];
        for event in self.events() {
            sorted[self.rank(event) as usize] = event;
        }
        sorted
    }

    /// All arrows, by the process they lead to.
    pub fn arrows(&self) -> impl Iterator<Item = Arrow> + '_ {
        (0..self.processes()).flat_map(|process| self.arrows_into(process))
    }

    fn arrows_into(&self, process: ProcessId) -> impl Iterator<Item = Arrow> + '_ {
        let arrows = &self.chains[process as usize].incoming;
        arrows.iter().map(move |arrow| Arrow {
            from: arrow.from(),
            to: Event::new(process, arrow.at),
            link: arrow.link(),
        })
    }

    /// The arrows that lead to an event.
    pub fn arrows_to(&self, event: Event) -> impl Iterator<Item = Arrow> + '_ {
        let chain = self.chains.get(event.process as usize);
        let arrows = chain.map_or(&[][..], |chain| chain.arrows(event.index, event.index));
        arrows.iter().map(move |arrow| Arrow {
            from: arrow.from(),
            to: event,
            link: arrow.link(),
        })
    }

    /// How many bytes the graph takes.
    pub fn bytes(&self) -> usize {
        let of = |chain: &Chain| {
            size_of::<Chain>()
                + size_of_val(chain.ranks.as_slice())
                + size_of_val(chain.incoming.as_slice())
                + size_of_val(chain.clocks.as_slice())
        };
        self.chains.iter().map(of).sum()
    }

    fn rank(&self, event: Event) -> u32 {
        self.chains[event.process as usize].ranks[event.index as usize]
    }

    fn check(&self, event: Event) -> Result<(), NoSuchEvent> {
        match self.contains(event) {
            true => Ok(()),
            false => Err(NoSuchEvent(event)),
        }
    }
}
