//! From what lanes hold to a history and a schedule.
//!
//! 1. [`Scan`]: all lanes, merged by time: who ran when, and each thread's events.
//! 2. Each thread's events are put in order by how often it had been switched to;
//!    no clock is trusted for that. What others did in its place while it waited
//!    comes behind the wait.
//! 3. [`Links`]: arrows. Messages are matched by channel and number, wakes by thread
//!    and wait, ends of scopes by scope; only tokens and scopes, whose places can be
//!    used again, look at times.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use lisle_runtime::trace::{self, Message, Record, ThreadKind, What};
use lisle_runtime::wait::Outcome;

use crate::graph::{Cycle, Event, Link};
use crate::history::{History, HistoryBuilder, Kind, ProcessKind};
use crate::schedule::{Lwp, Mark, Marked, Schedule, Slice, Wait};

/// What was dropped during a recording, in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Because a buffer was full: [`Recorder::capacity`](crate::Recorder::capacity).
    pub dropped: u64,
    /// Messages received whose sender was not recorded: they were sent before the
    /// recording began, or by a task, or had been given back.
    pub unsent: u64,
}

/// What was recorded.
#[derive(Debug)]
pub struct Trace {
    history: History,
    schedule: Schedule,
    loss: Loss,
}

impl Trace {
    /// What the threads did, and what could have caused what.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The history alone.
    pub fn into_history(self) -> History {
        self.history
    }

    /// Which thread ran where and when, and why it waited.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// What was dropped. If anything was dropped, events or arrows are missing, but
    /// none are wrong.
    pub fn loss(&self) -> Loss {
        self.loss
    }
}

pub(crate) fn decode(record: &Record) -> Result<Trace, Cycle> {
    let mut scan = Scan::new(record);
    scan.run(record);
    let Scan {
        mut threads,
        schedule,
        ..
    } = scan;
    for thread in threads.values_mut() {
        thread.sort();
    }
    let mut links = Links::new(record, &threads);
    let mut ids: Vec<u64> = threads.keys().copied().collect();
    ids.sort_by_key(|id| (threads[id].items.first().map(|item| item.time), *id));
    for id in ids {
        links.emit(id, &threads[&id]);
    }
    let unsent = links.connect();
    let dropped = record.lanes.iter().map(|lane| lane.dropped).sum::<u64>() + record.lost;
    let mut schedule = schedule;
    schedule.finish(&links.names, &threads_waits(&threads, &links));
    Ok(Trace {
        history: links.builder.build()?,
        schedule,
        loss: Loss { dropped, unsent },
    })
}

/// One event of a thread.
#[derive(Debug, Clone)]
struct Item {
    /// How often the thread had been switched to; then the events of an LWP come
    /// before those of a thread that has lost it.
    turn: i64,
    outside: bool,
    time: u64,
    what: What,
}

#[derive(Debug, Default)]
struct Thread {
    turn: i64,
    items: Vec<Item>,
    /// Where the last item was written.
    last_lane: usize,
    /// What others did in its place, by its wait.
    behalf: HashMap<u64, Vec<Item>>,
}

impl Thread {
    /// The whole number of which the event has the last ten bits.
    fn unwrap(&mut self, turn: u16) -> i64 {
        let ahead = (i64::from(turn) - self.turn).rem_euclid(1024);
        let turn = self.turn + if ahead >= 512 { ahead - 1024 } else { ahead };
        self.turn = self.turn.max(turn);
        turn
    }

    /// Puts the events in order, and those on its behalf behind the wait.
    fn sort(&mut self) {
        self.items.sort_by_key(|item| (item.turn, item.outside));
        let mut sorted = Vec::with_capacity(self.items.len());
        for item in self.items.drain(..) {
            let wait = match item.what {
                What::Park { epoch, .. } => self.behalf.remove(&epoch),
                _ => None,
            };
            sorted.push(item);
            sorted.extend(wait.into_iter().flatten());
        }
        // The thread did not leave its stack for these, or the recording did not
        // see it do so.
        let mut rest: Vec<Item> = self.behalf.drain().flat_map(|(_, items)| items).collect();
        rest.sort_by_key(|item| Reverse(item.time));
        for item in rest {
            let at = sorted.partition_point(|other| other.time <= item.time);
            sorted.insert(at, item);
        }
        self.items = sorted;
    }
}

/// All lanes, merged by time.
struct Scan {
    threads: HashMap<u64, Thread>,
    schedule: Schedule,
    began: u64,
    nanos_per_tick: f64,
}

impl Scan {
    fn new(record: &Record) -> Scan {
        let ticks = record.ticks.1.saturating_sub(record.ticks.0).max(1);
        let lwps = record.lanes.iter().filter_map(|lane| lane.lwp);
        Scan {
            threads: HashMap::new(),
            schedule: Schedule::new(
                lwps.map(|(runtime, index)| Lwp { runtime, index })
                    .collect(),
                record.took.as_nanos() as u64,
            ),
            began: record.ticks.0,
            nanos_per_tick: record.took.as_nanos() as f64 / ticks as f64,
        }
    }

    fn time(&self, ticks: u64) -> u64 {
        (ticks.saturating_sub(self.began) as f64 * self.nanos_per_tick) as u64
    }

    fn run(&mut self, record: &Record) {
        let mut lanes: Vec<_> = record.lanes.iter().map(|lane| lane.events()).collect();
        let mut heads = BinaryHeap::new();
        let mut waiting: Vec<Option<trace::Event>> = Vec::new();
        for (lane, events) in lanes.iter_mut().enumerate() {
            let first = events.next();
            if let Some(first) = &first {
                heads.push(Reverse((first.ticks, lane)));
            }
            waiting.push(first);
        }
        while let Some(Reverse((_, lane))) = heads.pop() {
            // Several events of one lane in a row need no heap.
            let until = heads.peek().map(|Reverse(other)| *other);
            while let Some(event) = waiting[lane].take() {
                if until.is_some_and(|until| until < (event.ticks, lane)) {
                    heads.push(Reverse((event.ticks, lane)));
                    waiting[lane] = Some(event);
                    break;
                }
                self.see(record, lane, event);
                waiting[lane] = lanes[lane].next();
            }
        }
    }

    fn see(&mut self, record: &Record, lane: usize, event: trace::Event) {
        let time = self.time(event.ticks);
        let on = record.lanes[lane].lwp.is_some().then_some(lane);
        match &event.what {
            What::Switch => {
                if let Some(lwp) = on {
                    let thread = (!event.idle).then_some(event.thread);
                    self.schedule.switch(lwp, thread, time);
                }
            }
            What::Steal { victim, thread } => self.schedule.mark(Mark {
                lwp: on,
                time,
                what: Marked::Steal {
                    victim: *victim,
                    thread: *thread,
                },
            }),
            What::Upcall { kind, thread, .. } => {
                if let Some(lwp) = on {
                    // The LWP went on without the thread.
                    self.schedule.switch(lwp, None, time);
                }
                self.schedule.mark(Mark {
                    lwp: on,
                    time,
                    what: Marked::Upcall {
                        kind: *kind,
                        thread: *thread,
                    },
                });
            }
            _ => {}
        }
        let is_mark = matches!(event.what, What::Steal { .. } | What::Upcall { .. });
        // Idle contexts, and kernel threads that nothing is known of, are nobody;
        // but their wakes say how waits end.
        let is_nobody = event.idle || event.thread == 0;
        if is_mark || is_nobody && !matches!(event.what, What::Wake { .. }) {
            return;
        }
        let whose = if is_nobody { 0 } else { event.thread };
        let thread = self.threads.entry(whose).or_default();
        let turn = thread.unwrap(event.turn);
        let again = matches!(event.what, What::Switch)
            && thread.last_lane == lane
            && thread
                .items
                .last()
                .is_some_and(|last| last.what == What::Switch);
        if again {
            // It yielded.
            return;
        }
        let item = Item {
            turn,
            outside: on.is_none(),
            time,
            what: event.what,
        };
        let (What::Send(Message { epoch, .. }) | What::Receive(Message { epoch, .. })) = item.what
        else {
            thread.last_lane = lane;
            thread.items.push(item);
            return;
        };
        match epoch {
            Some(epoch) => thread.behalf.entry(epoch).or_default().push(item),
            None => {
                thread.last_lane = lane;
                thread.items.push(item);
            }
        }
    }
}

/// Why a thread waits.
#[derive(Debug, Clone)]
struct Waiting {
    reason: String,
    began: u64,
}

/// Makes events, and remembers what arrows need.
struct Links {
    builder: HistoryBuilder,
    names: HashMap<u64, String>,
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
    fn new(record: &Record, threads: &HashMap<u64, Thread>) -> Links {
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
                if let What::Spawn { child, name } = &item.what {
                    links.kinds.entry(*child).or_insert(ThreadKind::User);
                    if !name.is_empty() {
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
            _ => {}
        }
    }

    fn channel(&mut self, message: &Message) -> String {
        let next = self.channels.len() + 1;
        let number = self.channels.entry(message.channel).or_insert(next);
        format!("on channel {number}")
    }

    /// Makes the events of a thread.
    fn emit(&mut self, id: u64, thread: &Thread) {
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
            What::Local { label, clock } => {
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
    fn connect(&mut self) -> u64 {
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
fn threads_waits(threads: &HashMap<u64, Thread>, links: &Links) -> Vec<Wait> {
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

impl Schedule {
    fn switch(&mut self, lwp: usize, thread: Option<u64>, time: u64) {
        self.close(lwp, time);
        self.open[lwp] = thread.map(|thread| (thread, time));
    }

    fn close(&mut self, lwp: usize, time: u64) {
        if let Some((thread, began)) = self.open[lwp].take() {
            self.slices.push(Slice {
                lwp,
                thread,
                began,
                ended: time,
            });
        }
    }
}
