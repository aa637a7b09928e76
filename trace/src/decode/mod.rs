//! From what lanes hold to a history and a schedule.
//!
//! 1. [`Scan`]: all lanes, merged by time: who ran when, and each thread's events.
//! 2. Each thread's events are put in order by how often it had been switched to;
//!    no clock is trusted for that. What others did in its place while it waited
//!    comes behind the wait.
//! 3. [`Links`]: arrows. Messages are matched by channel and number, wakes by thread
//!    and wait, ends of scopes by scope; only tokens and scopes, whose places can be
//!    used again, look at times.

mod links;
mod scan;

use std::fmt;

use lisle_runtime::trace::Record;

use self::links::{Links, threads_waits};
use self::scan::Scan;
use crate::graph::Cycle;
use crate::history::History;
use crate::schedule::Schedule;

/// What is missing in a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Because a buffer was full: [`Recorder::capacity`](crate::Recorder::capacity). What
    /// the other buffers hold of the time after the first of these is left out, and
    /// counted here: its causes may be among what is missing.
    pub dropped: u64,
    /// Messages received whose sender was not recorded: they were sent before the
    /// recording began, or by a task, or had been given back.
    pub unsent: u64,
    /// Of events that are there, how many lack the end of a label, which then ends with
    /// an ellipsis, of a thread's name, or of a clock, because these were too long.
    pub clipped: u64,
}

impl Loss {
    /// Whether nothing is missing.
    pub fn is_none(&self) -> bool {
        *self == Loss::default()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loss {
            dropped,
            unsent,
            clipped,
        } = self;
        write!(
            f,
            "{dropped} events dropped, {clipped} clipped, {unsent} messages of unknown senders"
        )
    }
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

    /// What was dropped. If anything was dropped, the history ends where the first of it
    /// would stand; what it says until then is whole.
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
        left_out,
        clipped,
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
    let dropped = record.lanes.iter().map(|lane| lane.dropped).sum::<u64>();
    let dropped = dropped + record.lost + left_out;
    let mut schedule = schedule;
    schedule.finish(&links.names, &threads_waits(&threads, &links));
    Ok(Trace {
        history: links.builder.build()?,
        schedule,
        loss: Loss {
            dropped,
            unsent,
            clipped,
        },
    })
}
