//! What `/stats` shows: the server's counters, and the runtime's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::Shared;

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

/// What the runtime reports of itself, in this program's own terms.
struct RuntimeStats {
    lwps: Vec<LwpStats>,
    /// How many user threads are in each state.
    threads: BTreeMap<String, u64>,
}

struct LwpStats {
    id: u64,
    /// The kernel thread that carries it, if one does.
    kernel_thread: Option<i32>,
    switches: u64,
    steals: u64,
    parks: u64,
    queued: u64,
}

fn runtime_stats() -> RuntimeStats {
    let lwp = |info: lisle::lwp::LwpInfo| LwpStats {
        id: info.id as u64,
        kernel_thread: info.kernel_thread,
        switches: info.switches,
        steals: info.steals,
        parks: info.parks,
        queued: info.queued as u64,
    };
    let mut threads = BTreeMap::new();
    for thread in lisle::thread::list() {
        *threads.entry(format!("{:?}", thread.state)).or_default() += 1;
    }
    RuntimeStats {
        lwps: lisle::lwp::list().into_iter().map(lwp).collect(),
        threads,
    }
}

/// Everything, as JSON. A leaf: it is not known what those that are asked touch.
#[inline(never)]
pub(crate) fn json(shared: &Shared) -> String {
    let counters = &shared.counters;
    let census = shared.registry.census();
    let runtime = runtime_stats();
    let lwp = |lwp: &LwpStats| {
        json!({
            "id": lwp.id,
            "kernel_thread": lwp.kernel_thread,
            "switches": lwp.switches,
            "steals": lwp.steals,
            "parks": lwp.parks,
            "queued": lwp.queued,
        })
    };
    let value: Value = json!({
        "uptime_seconds": counters.started.elapsed().as_secs(),
        "requests": {
            "answered": counters.requests(),
            "rejected": counters.rejected.load(Ordering::Relaxed),
            "broken": counters.broken.load(Ordering::Relaxed),
        },
        "connections": {
            "open": census.open,
            "accepted": census.accepted,
            "limit": census.limit,
        },
        "lwps": runtime.lwps.iter().map(lwp).collect::<Vec<_>>(),
        "threads": runtime.threads,
    });
    format!("{value}\n")
}
