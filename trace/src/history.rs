//! A history: a happens-before graph, and what its events are.

use std::collections::HashMap;
use std::fmt;

use crate::graph::{Builder, Cycle, Event, Graph, Link, NoSuchEvent, ProcessId};

/// What carries a process, hence what it is in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProcessKind {
    /// A user thread.
    UserThread,
    /// A kernel thread that called in, or a bound thread.
    KernelThread,
    /// A host of a log.
    Host,
}

/// A process: a line in a space-time diagram.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its name; unique in a history.
    pub name: String,
    /// What it is.
    pub kind: ProcessKind,
    /// Its number in the runtime; 0 for a host.
    pub thread: u64,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// The thread's first step.
    Start = 0,
    /// It ended.
    End = 1,
    /// It spawned another one.
    Spawn = 2,
    /// It learnt that another one, or a scope, had ended.
    Join = 3,
    /// It began to wait.
    Wait = 4,
    /// It went on after waiting.
    Resume = 5,
    /// It ended somebody's wait, or left a token.
    Wake = 6,
    /// It sent a message.
    Send = 7,
    /// It received a message.
    Receive = 8,
    /// The program, or a log, says so.
    Local = 9,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Start,
        Kind::End,
        Kind::Spawn,
        Kind::Join,
        Kind::Wait,
        Kind::Resume,
        Kind::Wake,
        Kind::Send,
        Kind::Receive,
        Kind::Local,
    ];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Start => "start",
            Kind::End => "end",
            Kind::Spawn => "spawn",
            Kind::Join => "join",
            Kind::Wait => "wait",
            Kind::Resume => "resume",
            Kind::Wake => "wake",
            Kind::Send => "send",
            Kind::Receive => "receive",
            Kind::Local => "local",
        }
    }
}

/// The clock that somebody stamped an event with: pairs of a name and a count.
pub type Stamp = Vec<(String, u64)>;

/// What an event is, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Detail {
    /// In nanoseconds since the beginning; in logs without times, 0.
    time: u64,
    kind: Kind,
    label: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub struct History {
    graph: Graph,
    processes: Vec<Process>,
    details: Vec<Vec<Detail>>,
    labels: Vec<String>,
    stamps: HashMap<Event, Stamp>,
    timed: bool,
}

impl History {
    /// The graph of its events.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Its processes, by number.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The process of this name.
    pub fn process(&self, name: &str) -> Option<ProcessId> {
        let found = self
            .processes
            .iter()
            .position(|process| process.name == name);
        found.map(|found| found as ProcessId)
    }

    /// Whether its events have times.
    pub fn is_timed(&self) -> bool {
        self.timed
    }

    fn detail(&self, event: Event) -> &Detail {
        &self.details[event.process as usize][event.index as usize]
    }

    /// What an event is.
    ///
    /// # Panics
    /// If there is no such event; so do all the following.
    pub fn kind(&self, event: Event) -> Kind {
        self.detail(event).kind
    }

    /// When it was, in nanoseconds since the recording began; 0 if that is unknown.
    pub fn time(&self, event: Event) -> u64 {
        self.detail(event).time
    }

    /// What it is about, in words.
    pub fn label(&self, event: Event) -> &str {
        &self.labels[self.detail(event).label as usize]
    }

    /// The clock that the program gave with it.
    pub fn stamp(&self, event: Event) -> Option<&Stamp> {
        self.stamps.get(&event)
    }

    /// Kind and label.
    pub fn describe(&self, event: Event) -> String {
        match (self.kind(event), self.label(event)) {
            (Kind::Local, label) => label.to_owned(),
            (kind, "") => kind.name().to_owned(),
            (kind, label) => format!("{} {label}", kind.name()),
        }
    }

    /// The first event with this label.
    pub fn find(&self, label: &str) -> Option<Event> {
        let mut events = self.graph.events();
        events.find(|event| self.label(*event) == label)
    }

    /// How many bytes it takes, without its graph.
    pub fn bytes(&self) -> usize {
        let details = self
            .details
            .iter()
            .map(|chain| size_of_val(chain.as_slice()));
        let labels = self
            .labels
            .iter()
            .map(|label| size_of::<String>() + label.len());
        details.sum::<usize>() + labels.sum::<usize>()
    }
}

/// Collects the events of a history.
#[derive(Debug, Default)]
pub struct HistoryBuilder {
    graph: Builder,
    processes: Vec<Process>,
    names: HashMap<String, ProcessId>,
    /// The next number behind a name that is taken.
    numbers: HashMap<String, u32>,
    details: Vec<Vec<Detail>>,
    labels: Vec<String>,
    known: HashMap<String, u32>,
    stamps: HashMap<Event, Stamp>,
    timed: bool,
}

impl HistoryBuilder {
    /// Nothing yet.
    pub fn new() -> HistoryBuilder {
        HistoryBuilder::default()
    }

    /// A new process. If the name is taken, it gets a number behind it.
    pub fn process(&mut self, name: &str, kind: ProcessKind, thread: u64) -> ProcessId {
        let unique = self.unique(name);
        let id = self.graph.process();
        self.names.insert(unique.clone(), id);
        self.processes.push(Process {
            name: unique,
            kind,
            thread,
        });
        self.details.push(Vec::new());
        id
    }

    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        if !self.names.contains_key(name) {
            return unique;
        }
        let number = self.numbers.entry(unique.clone()).or_insert(2);
        while self.names.contains_key(&unique) {
            unique = format!("{name} ({number})");
            *number += 1;
        }
        unique
    }

    /// The process of this name, a new one if there is none.
    pub fn host(&mut self, name: &str) -> ProcessId {
        match self.names.get(name) {
            Some(id) => *id,
            None => self.process(name, ProcessKind::Host, 0),
        }
    }

    /// The next event of a process.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn event(
        &mut self,
        process: ProcessId,
        kind: Kind,
        label: &str,
        time: Option<u64>,
    ) -> Event {
        let label = match self.known.get(label) {
            Some(known) => *known,
            None => {
                let number = self.labels.len() as u32;
                self.labels.push(label.to_owned());
                self.known.insert(label.to_owned(), number);
                number
            }
        };
        self.timed |= time.is_some();
        self.details[process as usize].push(Detail {
            time: time.unwrap_or(0),
            kind,
            label,
        });
        self.graph.event(process)
    }

    /// How many events a process has so far.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn len_of(&self, process: ProcessId) -> u32 {
        self.details[process as usize].len() as u32
    }

    /// Keeps the clock that the program gave with an event.
    pub fn stamp(&mut self, event: Event, stamp: Stamp) {
        self.stamps.insert(event, stamp);
    }

    /// Says that `from` happened before `to`.
    ///
    /// # Errors
    /// If there is no such event.
    pub fn arrow(&mut self, from: Event, to: Event, link: Link) -> Result<(), NoSuchEvent> {
        self.graph.arrow(from, to, link)
    }

    /// The history.
    ///
    /// # Errors
    /// If arrows lead in a circle.
    pub fn build(self) -> Result<History, Cycle> {
        Ok(History {
            graph: self.graph.build()?,
            processes: self.processes,
            details: self.details,
            labels: self.labels,
            stamps: self.stamps,
            timed: self.timed,
        })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
