//! `/metrics`: the counters in Prometheus's text format.

use std::fmt::Write;

use lisle::lwp::LwpInfo;

use crate::stats::Snapshot;

pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A counter of LWPs: its name, what it is, and where it is found.
type OfLwp = (&'static str, &'static str, fn(&LwpInfo) -> u64);

const LWP_COUNTERS: [OfLwp; 7] = [
    ("switches", "Switches between threads.", |lwp| lwp.switches),
    ("spawned", "Threads spawned.", |lwp| lwp.spawned),
    ("ended", "Threads that ended.", |lwp| lwp.ended),
    ("steals", "Times it stole from another.", |lwp| lwp.steals),
    ("stolen_from", "Times another stole from it.", |lwp| {
        lwp.stolen_from
    }),
    ("sleeps", "Times it went to sleep.", |lwp| lwp.sleeps),
    ("polls", "Looks at readiness without sleeping.", |lwp| {
        lwp.polls
    }),
];

/// The counters. Never inlined, like all that is not known to touch no thread-local.
#[inline(never)]
pub(crate) fn text(snapshot: &Snapshot) -> String {
    let mut text = Text(String::new());
    let Snapshot {
        connections, lwps, ..
    } = snapshot;
    text.family(
        "lisle_uptime_seconds",
        "gauge",
        "Time since the server started.",
    );
    text.sample("lisle_uptime_seconds", "", snapshot.uptime_seconds);
    text.family(
        "lisle_http_requests_total",
        "counter",
        "Requests by what became of them.",
    );
    for (outcome, count) in [
        ("answered", snapshot.answered),
        ("rejected", snapshot.rejected),
        ("broken", snapshot.broken),
    ] {
        let labels = format!("{{outcome=\"{outcome}\"}}");
        text.sample("lisle_http_requests_total", &labels, count);
    }
    text.family("lisle_connections", "gauge", "Open connections.");
    text.sample("lisle_connections", "", connections.open as u64);
    text.family(
        "lisle_connections_limit",
        "gauge",
        "Connections allowed at once.",
    );
    text.sample("lisle_connections_limit", "", connections.limit as u64);
    text.family(
        "lisle_connections_total",
        "counter",
        "Connections accepted.",
    );
    text.sample("lisle_connections_total", "", connections.accepted);
    text.family(
        "lisle_upcalls_total",
        "counter",
        "What the runtime was told of its LWPs.",
    );
    for (kind, count) in [
        ("added", snapshot.upcalls.added),
        ("blocked", snapshot.upcalls.blocked),
        ("preempted", snapshot.upcalls.preempted),
        ("unblocked", snapshot.upcalls.unblocked),
        ("retired", snapshot.upcalls.retired),
    ] {
        let labels = format!("{{kind=\"{kind}\"}}");
        text.sample("lisle_upcalls_total", &labels, count);
    }
    let threads = &snapshot.kernel_threads;
    text.family(
        "lisle_kernel_threads",
        "gauge",
        "Kernel threads of the runtime by what they do.",
    );
    for (role, count) in [
        ("with_lwp", threads.lwps),
        ("blocked", threads.blocked()),
        ("running_beyond_lwps", threads.running()),
        ("spare", threads.spares),
        ("helper", threads.helpers),
    ] {
        let labels = format!("{{role=\"{role}\"}}");
        text.sample("lisle_kernel_threads", &labels, count as u64);
    }
    text.family("lisle_threads", "gauge", "User threads by state.");
    for (state, count) in &snapshot.threads {
        let labels = format!("{{state=\"{}\"}}", escape(state));
        text.sample("lisle_threads", &labels, *count);
    }
    for (name, help, count) in LWP_COUNTERS {
        let name = format!("lisle_lwp_{name}_total");
        text.family(&name, "counter", help);
        for lwp in lwps {
            text.sample(&name, &format!("{{lwp=\"{}\"}}", lwp.id), count(lwp));
        }
    }
    text.family("lisle_lwp_queued", "gauge", "Ready threads waiting for it.");
    for lwp in lwps {
        let labels = format!("{{lwp=\"{}\"}}", lwp.id);
        text.sample("lisle_lwp_queued", &labels, lwp.queued as u64);
    }
    text.family("lisle_lwp_deadlines", "gauge", "Deadlines set on it.");
    for lwp in lwps {
        let labels = format!("{{lwp=\"{}\"}}", lwp.id);
        text.sample("lisle_lwp_deadlines", &labels, lwp.deadlines as u64);
    }
    text.0
}

/// Writing to a string does not fail.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
