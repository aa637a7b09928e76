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
    pub(crate) upcall_source: String,
    pub(crate) kernel_threads: upcall::KernelThreads,
    /// The last upcalls of each LWP, oldest first.
    last_upcalls: Vec<Vec<upcall::Event>>,
    /// How many threads are in each state. Waiting threads count under what they wait for; which
    /// socket or which thread that is would be a line for each of them.
    pub(crate) threads: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Looks at everything. A leaf: it is not known what those that are asked touch.
    #[inline(never)]
    pub(crate) fn take(shared: &Shared) -> Self {
        let counters = &shared.counters;
        let lwps = shared.runtime.lwp_list();
        Self {
            uptime_seconds: counters.started.elapsed().as_secs(),
            answered: counters.requests(),
            rejected: counters.rejected.load(Ordering::Relaxed),
            broken: counters.broken.load(Ordering::Relaxed),
            connections: shared.registry.census(),
            upcalls: shared.runtime.upcalls(),
            upcall_source: shared.runtime.upcall_source().to_string(),
            kernel_threads: shared.runtime.kernel_threads(),
            last_upcalls: lwps.iter().map(|lwp| last_upcalls(shared, lwp)).collect(),
            lwps,
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
            "upcalls": counted(&self.upcalls),
            "upcall_source": self.upcall_source,
            "kernel_threads": kernel_threads(&self.kernel_threads),
            "lwps": self.lwps.iter().zip(&self.last_upcalls).map(lwp).collect::<Vec<_>>(),
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

/// How many upcalls of an LWP are shown.
const LAST: usize = 8;

fn last_upcalls(shared: &Shared, lwp: &LwpInfo) -> Vec<upcall::Event> {
    let mut all = shared.runtime.upcall_log_of(lwp.id);
    all.split_off(all.len().saturating_sub(LAST))
}

fn counted(upcalls: &upcall::Counters) -> Value {
    json!({
        "added": upcalls.added,
        "blocked": upcalls.blocked,
        "preempted": upcalls.preempted,
        "unblocked": upcalls.unblocked,
        "retired": upcalls.retired,
    })
}

fn kernel_threads(threads: &upcall::KernelThreads) -> Value {
    json!({
        "total": threads.total(),
        "with_lwp": threads.lwps,
        // User threads that go on without an LWP.
        "blocked": threads.blocked(),
        "running_beyond_lwps": threads.running(),
        "spares": threads.spares,
        "helpers": threads.helpers,
        "refused": threads.refused,
        "lwps_waiting": threads.waiting.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn event(event: &upcall::Event) -> Value {
    json!({
        "kind": format!("{:?}", event.kind).to_lowercase(),
        "thread": event.thread.map(|thread| thread.as_u64()),
        "milliseconds_ago": event.at.elapsed().as_millis() as u64,
    })
}

fn lwp((info, last): (&LwpInfo, &Vec<upcall::Event>)) -> Value {
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
        "offers_taken_back": info.taken_back,
        "upcalls": counted(&info.upcalls),
        "last_upcalls": last.iter().map(event).collect::<Vec<_>>(),
    })
}
