//! What `/stats` and `/metrics` show: the server's counters, and the runtime's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lisle::lwp::LwpInfo;
use lisle::thread::State;
use lisle::upcall;
use serde_json::{Value, json};

use crate::Shared;
use crate::registry::Census;

/// Connections count their requests in different cache lines, so that counting is never shared work.
const STRIPES: usize = 16;

/// How many requests there were. All counts are statistics: nothing is ordered by them.
pub(crate) struct Counters {
    started: Instant,
    requests: [Stripe; STRIPES],
    rejected: AtomicU64,
    broken: AtomicU64,
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            requests: Default::default(),
            rejected: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        }
    }

    /// A request was answered by a route, on the connection with this key.
    pub(crate) fn count_request(&self, key: usize) {
        let Stripe(count) = &self.requests[key % STRIPES];
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was refused before it reached a route.
    pub(crate) fn count_rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection broke in the middle of a request.
    pub(crate) fn count_broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests answered by routes so far.
    pub(crate) fn requests(&self) -> u64 {
        let counts = self.requests.iter();
        counts
            .map(|Stripe(count)| count.load(Ordering::Relaxed))
            .sum()
    }
}

/// What there was to count at one moment.
pub(crate) struct Snapshot {
    pub(crate) uptime_seconds: u64,
    pub(crate) answered: u64,
    pub(crate) rejected: u64,
    pub(crate) broken: u64,
    pub(crate) connections: Census,
    pub(crate) lwps: Vec<LwpInfo>,
    /// What the runtime was told of its LWPs.
    pub(crate) upcalls: upcall::Counters,
    /// How many threads are in each state. Waiting threads count under what they wait for; which
    /// socket or which thread that is would be a line for each of them.
    pub(crate) threads: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Looks at everything. A leaf: it is not known what those that are asked touch.
    #[inline(never)]
    pub(crate) fn take(shared: &Shared) -> Self {
        let counters = &shared.counters;
        Self {
            uptime_seconds: counters.started.elapsed().as_secs(),
            answered: counters.requests(),
            rejected: counters.rejected.load(Ordering::Relaxed),
            broken: counters.broken.load(Ordering::Relaxed),
            connections: shared.registry.census(),
            lwps: lisle::lwp::list().unwrap_or_default(),
            upcalls: shared.runtime.upcalls(),
            threads: threads(),
        }
    }

    /// Everything, as JSON.
    #[inline(never)]
    pub(crate) fn json(&self) -> String {
        let value: Value = json!({
            "uptime_seconds": self.uptime_seconds,
            "requests": {
                "answered": self.answered,
                "rejected": self.rejected,
                "broken": self.broken,
            },
            "connections": {
                "open": self.connections.open,
                "accepted": self.connections.accepted,
                "limit": self.connections.limit,
            },
            "upcalls": {
                "added": self.upcalls.added,
                "blocked": self.upcalls.blocked,
                "preempted": self.upcalls.preempted,
                "unblocked": self.upcalls.unblocked,
            },
            "lwps": self.lwps.iter().map(lwp).collect::<Vec<_>>(),
            "threads": self.threads,
        });
        format!("{value}\n")
    }
}

fn threads() -> BTreeMap<String, u64> {
    let mut threads = BTreeMap::new();
    for thread in lisle::thread::list() {
        let state = match thread.state {
            State::Waiting { reason, .. } => format!("waiting: {reason}"),
            state => state.to_string(),
        };
        *threads.entry(state).or_default() += 1;
    }
    threads
}

fn lwp(info: &LwpInfo) -> Value {
    json!({
        "id": info.id,
        // The kernel thread that carries it, if one does.
        "kernel_thread": info.kernel_thread,
        "queued": info.queued,
        "switches": info.switches,
        "spawned": info.spawned,
        "ended": info.ended,
        "steals": info.steals,
        "stolen_from": info.stolen_from,
        "sleeps": info.sleeps,
        "polls": info.polls,
        "deadlines": info.deadlines,
    })
}
