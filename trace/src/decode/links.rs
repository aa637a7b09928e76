//! Events and arrows of a history.

use std::cmp::Reverse;
use std::collections::HashMap;

use lisle_runtime::trace::{Message, Record, ThreadKind, What};
use lisle_runtime::wait::Outcome;

use super::scan::{Item, Thread};
use crate::graph::{Event, Link};
use crate::history::{HistoryBuilder, Kind, ProcessKind};
use crate::schedule::Wait;

/// Why a thread waits.
#[derive(Debug, Clone)]
struct Waiting {
    reason: String,
    began: u64,
}

/// Makes events, and remembers what arrows need.
pub(super) struct Links {
    pub(super) builder: HistoryBuilder,
    pub(super) names: HashMap<u64, String>,
    kinds: HashMap<u64, ThreadKind>,
    waits: HashMap<(u64, u64), Waiting>,
    wakes: HashMap<(u64, u64), (Option<Event>, Outcome)>,
    resumes: HashMap<(u64, u64), (Event, u64)>,
    channels: HashMap<u64, usize>,
    sends: HashMap<(u64, u64), Event>,
    receives: Vec<((u64, u64), Event)>,
    spawns: Vec<(Event, u64)>,
    firsts: HashMap<u64, Event>,
    ends: HashMap<u64, Event>,
    joins: Vec<(Event, u64)>,
    tokens: HashMap<u64, Vec<(u64, Event)>>,
    takes: Vec<(u64, u64, Event)>,
    leaves: HashMap<u64, Vec<(u64, Event)>>,
    scope_ends: Vec<(u64, u64, Event)>,
}

impl Links {
    pub(super) fn new(record: &Record, threads: &HashMap<u64, Thread>) -> Links {
        let mut names = HashMap::new();
        let mut kinds = HashMap::new();
        for thread in &record.threads {
            kinds.insert(thread.id, thread.kind);
            if let Some(name) = &thread.name {
                names.insert(thread.id, name.clone());
            }
        }
        let mut links = Links {
            builder: HistoryBuilder::new(),
            names,
            kinds,
            waits: HashMap::new(),
            wakes: HashMap::new(),
            resumes: HashMap::new(),
            channels: HashMap::new(),
            sends: HashMap::new(),
            receives: Vec::new(),
            spawns: Vec::new(),
            firsts: HashMap::new(),
            ends: HashMap::new(),
            joins: Vec::new(),
            tokens: HashMap::new(),
            takes: Vec::new(),
            leaves: HashMap::new(),
            scope_ends: Vec::new(),
        };
        for thread in threads.values() {
            for item in &thread.items {
                if let What::Spawn {
                    child,
                    name,
                    clipped,
                } = &item.what
                {
                    links.kinds.entry(*child).or_insert(ThreadKind::User);
                    // A thread that is there at the end has told the whole name.
                    let worse = *clipped && links.names.contains_key(child);
                    if !name.is_empty() && !worse {
                        links.names.insert(*child, name.clone());
                    }
                }
            }
        }
        for (&id, thread) in threads {
            let name = links.default_name(id);
            links.names.entry(id).or_insert(name);
            for item in &thread.items {
                links.note_wait(id, item);
            }
        }
        links
    }

    fn default_name(&self, id: u64) -> String {
        match self.kinds.get(&id) {
            Some(ThreadKind::Kernel) => format!("kernel thread {id}"),
            _ => format!("thread {id}"),
        }
    }

    fn name(&self, id: u64) -> String {
        let name = self.names.get(&id).cloned();
        name.unwrap_or_else(|| self.default_name(id))
    }

    fn note_wait(&mut self, id: u64, item: &Item) {
        match &item.what {
            What::Park {
                reason,
                detail,
                epoch,
            } => {
                let reason = match *reason {
                    "join of thread" => format!("join of {}", self.name(*detail)),
                    of if of.ends_with("descriptor") => format!("{of} {detail}"),
                    "" => "something".to_owned(),
                    reason => reason.to_owned(),
                };
                let began = item.time;
                self.waits.insert((id, *epoch), Waiting { reason, began });
            }
            What::Wake {
                target,
                epoch,
                outcome,
            } => {
                self.wakes.insert((*target, *epoch), (None, *outcome));
            }
            // Also if nobody ended the wait but its deadline.
            What::Resume { epoch, outcome } => {
                self.wakes.insert((id, *epoch), (None, *outcome));
            }
            _ => {}
        }
    }

    fn channel(&mut self, message: &Message) -> String {
        let next = self.channels.len() + 1;
        let number = self.channels.entry(message.channel).or_insert(next);
        format!("on channel {number}")
    }

    /// Makes the events of a thread.
    pub(super) fn emit(&mut self, id: u64, thread: &Thread) {
        if id == 0 {
            return;
        }
        let relevant = |item: &Item| !matches!(item.what, What::LeaveScope { .. });
        if !thread.items.iter().any(relevant) {
            return;
        }
        let kind = match self.kinds.get(&id) {
            Some(ThreadKind::Kernel) => ProcessKind::KernelThread,
            _ => ProcessKind::UserThread,
        };
        let name = self.name(id);
        let process = self.builder.process(&name, kind, id);
        let mut waits_for = None;
        let mut last = None;
        for item in &thread.items {
            let event = self.event(id, process, item, &mut waits_for, last);
            last = event.or(last);
            if let (Some(event), false) = (event, self.firsts.contains_key(&id)) {
                self.firsts.insert(id, event);
            }
        }
    }

    fn event(
        &mut self,
        id: u64,
        process: u32,
        item: &Item,
        waits_for: &mut Option<u64>,
        last: Option<Event>,
    ) -> Option<Event> {
        let time = item.time;
        let make = |links: &mut Links, kind, label: &str| {
            links.builder.event(process, kind, label, Some(time))
        };
        Some(match &item.what {
            What::Switch | What::Resume { .. } => match waits_for.take() {
                Some(epoch) => {
                    let label = self.resume_label(id, epoch);
                    let event = make(self, Kind::Resume, &label);
                    self.resumes.insert((id, epoch), (event, time));
                    event
                }
                None if last.is_none() => make(self, Kind::Start, ""),
                None => return None,
            },
            What::Park { epoch, .. } => {
                *waits_for = Some(*epoch);
                let reason = self.waits[&(id, *epoch)].reason.clone();
                make(self, Kind::Wait, &reason)
            }
            What::Wake { target, epoch, .. } => {
                let whom = self.name(*target);
                let label = match self.waits.get(&(*target, *epoch)) {
                    Some(wait) => format!("{whom} ({})", wait.reason),
                    None => whom,
                };
                let event = make(self, Kind::Wake, &label);
                if let Some(wake) = self.wakes.get_mut(&(*target, *epoch)) {
                    wake.0 = Some(event);
                }
                event
            }
            What::Token { target } => {
                let label = format!("{} (token)", self.name(*target));
                let event = make(self, Kind::Wake, &label);
                self.tokens.entry(*target).or_default().push((time, event));
                event
            }
            What::Took => {
                let event = make(self, Kind::Resume, "token");
                self.takes.push((time, id, event));
                event
            }
            What::Spawn { child, .. } => {
                let label = self.name(*child);
                let event = make(self, Kind::Spawn, &label);
                self.spawns.push((event, *child));
                event
            }
            What::Exit => {
                let event = make(self, Kind::End, "");
                self.ends.insert(id, event);
                event
            }
            What::Join { ended } => {
                let label = self.name(*ended);
                let event = make(self, Kind::Join, &label);
                self.joins.push((event, *ended));
                event
            }
            What::Send(message) => {
                let label = self.channel(message);
                let event = make(self, Kind::Send, &label);
                self.sends.insert((message.channel, message.token), event);
                event
            }
            What::Receive(message) => {
                let label = self.channel(message);
                let event = make(self, Kind::Receive, &label);
                self.receives
                    .push(((message.channel, message.token), event));
                event
            }
            What::Local { label, clock, .. } => {
                let event = make(self, Kind::Local, label);
                if !clock.is_empty() {
                    let pairs = clock.iter().map(|(who, count)| (who.to_string(), *count));
                    self.builder.stamp(event, pairs.collect());
                }
                event
            }
            What::LeaveScope { scope } => {
                if let Some(last) = last {
                    self.leaves.entry(*scope).or_default().push((time, last));
                }
                return None;
            }
            What::EndScope { scope } => {
                let event = make(self, Kind::Join, "scope");
                self.scope_ends.push((time, *scope, event));
                event
            }
            _ => return None,
        })
    }

    fn resume_label(&self, id: u64, epoch: u64) -> String {
        let reason = self.waits.get(&(id, epoch)).map_or("", |wait| &wait.reason);
        match self.wakes.get(&(id, epoch)) {
            Some((_, Outcome::TimedOut)) if reason == "sleep" => reason.to_owned(),
            Some((_, Outcome::TimedOut)) => format!("{reason}, timed out"),
            Some((_, Outcome::Cancelled)) => format!("{reason}, cancelled"),
            _ => reason.to_owned(),
        }
    }

    /// Draws the arrows. Returns how many messages have no sender.
    pub(super) fn connect(&mut self) -> u64 {
        let mut arrows: Vec<(Event, Event, Link)> = Vec::new();
        for (spawn, child) in &self.spawns {
            if let Some(first) = self.firsts.get(child) {
                arrows.push((*spawn, *first, Link::Spawn));
            }
        }
        for (join, ended) in &self.joins {
            if let Some(end) = self.ends.get(ended) {
                arrows.push((*end, *join, Link::Join));
            }
        }
        for (wait, (wake, _)) in &self.wakes {
            if let (Some(wake), Some((resume, _))) = (wake, self.resumes.get(wait)) {
                arrows.push((*wake, *resume, Link::Wake));
            }
        }
        let mut unsent = 0;
        for (message, receive) in &self.receives {
            match self.sends.get(message) {
                Some(send) => arrows.push((*send, *receive, Link::Message)),
                None => unsent += 1,
            }
        }
        connect_reused(&mut self.tokens, &mut self.takes, Link::Wake, &mut arrows);
        connect_reused(
            &mut self.leaves,
            &mut self.scope_ends,
            Link::Join,
            &mut arrows,
        );
        for (from, to, link) in arrows {
            let drawn = self.builder.arrow(from, to, link);
            debug_assert!(drawn.is_ok(), "both were made here");
        }
        unsent
    }
}

/// Arrows to each taker from what was left at its place before it, and after the
/// taker before.
fn connect_reused(
    left: &mut HashMap<u64, Vec<(u64, Event)>>,
    takers: &mut [(u64, u64, Event)],
    link: Link,
    arrows: &mut Vec<(Event, Event, Link)>,
) {
    for place in left.values_mut() {
        place.sort_unstable_by_key(|(time, _)| Reverse(*time));
    }
    takers.sort_unstable_by_key(|(time, ..)| *time);
    for (time, place, taker) in takers {
        let Some(place) = left.get_mut(place) else {
            continue;
        };
        while place.last().is_some_and(|(left, _)| left <= time) {
            if let Some((_, from)) = place.pop() {
                arrows.push((from, *taker, link));
            }
        }
    }
}

/// When each thread waited for what.
pub(super) fn threads_waits(threads: &HashMap<u64, Thread>, links: &Links) -> Vec<Wait> {
    let mut waits: Vec<Wait> = Vec::with_capacity(links.waits.len());
    for ((thread, epoch), waiting) in &links.waits {
        let resumed = links.resumes.get(&(*thread, *epoch));
        waits.push(Wait {
            thread: *thread,
            began: waiting.began,
            ended: resumed.map(|(_, time)| *time),
            reason: waiting.reason.clone(),
        });
    }
    debug_assert!(waits.iter().all(|wait| threads.contains_key(&wait.thread)));
    waits.sort_unstable_by_key(|wait| (wait.began, wait.thread));
    waits
}
