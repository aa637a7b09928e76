//! Looking at threads from outside.

use std::fmt;
use std::time::Duration;

use lisle_lwp::shim::{AtomicPtr, Ordering};

use super::ThreadId;
use crate::hold::{HELD, SUSPEND_ASKED};
use crate::pool;
use crate::runtime::Shared;
use crate::sched::running;
use crate::tcb::{Kind, Tcb};

/// What a thread is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It has not run yet.
    New,
    /// It could run and waits for an LWP.
    Ready,
    /// It runs.
    Running,
    /// It waits for what the reason names; the detail is a descriptor, an
    /// address or a thread's number, as the reason says.
    Waiting {
        /// The primitive.
        reason: &'static str,
        /// Which one.
        detail: usize,
    },
    /// It is suspended.
    Suspended,
    /// It has ended.
    Terminated,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::New => f.write_str("new"),
            State::Ready => f.write_str("ready"),
            State::Running => f.write_str("running"),
            State::Waiting { reason, detail: 0 } => write!(f, "waiting: {reason}"),
            State::Waiting { reason, detail } if *detail < 1 << 32 => {
                write!(f, "waiting: {reason} {detail}")
            }
            State::Waiting { reason, detail } => write!(f, "waiting: {reason} {detail:#x}"),
            State::Suspended => f.write_str("suspended"),
            State::Terminated => f.write_str("terminated"),
        }
    }
}

/// A look at a thread's control block. The parts are read one after the other,
/// so they may not fit each other for a running thread.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ThreadInfo {
    /// Its number.
    pub id: ThreadId,
    /// Its name.
    pub name: Option<String>,
    /// What it does.
    pub state: State,
    /// Its priority.
    pub priority: u8,
    /// How often it was switched to.
    pub switches: u64,
    /// How long it ran, if its runtime accounts for it: as of when it last left an LWP; if it runs
    /// without one, of a tenth of a second ago at most, unless there are no upcalls.
    pub cpu_time: Option<Duration>,
    /// The thread that spawned it, if that was one of lisle's.
    pub parent: Option<ThreadId>,
    /// Whether it has a kernel thread of its own.
    pub bound: bool,
}

impl ThreadInfo {
    /// The caller holds a reference.
    pub(crate) fn of(block: &'static Tcb) -> ThreadInfo {
        let id = ThreadId::new(block.id.load(Ordering::Relaxed));
        ThreadInfo {
            id: id.expect("a referenced thread has a number"),
            name: block.name().map(str::to_owned),
            state: state(block),
            priority: block.priority.load(Ordering::Relaxed),
            switches: block.switches.load(Ordering::Relaxed),
            cpu_time: cpu_time(block),
            parent: ThreadId::new(block.parent.load(Ordering::Relaxed)),
            bound: !block.is_user(),
        }
    }

    /// The threads that this one spawned and that still exist.
    pub fn children(&self) -> Vec<ThreadInfo> {
        list()
            .into_iter()
            .filter(|thread| thread.parent == Some(self.id))
            .collect()
    }
}

impl fmt::Display for ThreadInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("<unnamed>");
        write!(f, "thread {} '{name}': {}", self.id.as_u64(), self.state)
    }
}

fn state(block: &Tcb) -> State {
    if block.terminated.load(Ordering::Relaxed) != 0 {
        State::Terminated
    } else if is_suspended(block) {
        State::Suspended
    } else if !block.lwp.load(Ordering::Relaxed).is_null() {
        State::Running
    } else if block.wait.is_waiting() {
        let (reason, detail) = block
            .reason()
            .map_or(("", 0), |(r, detail)| (r.name(), detail));
        State::Waiting { reason, detail }
    } else if !block.is_user() || runs_without(block) {
        State::Running
    } else if block.switches.load(Ordering::Relaxed) == 0 {
        State::New
    } else {
        State::Ready
    }
}

fn is_suspended(block: &Tcb) -> bool {
    let both = SUSPEND_ASKED | HELD;
    block.suspension.load(Ordering::Relaxed) & both == both
}

/// Whether it runs without an LWP: that has gone on without it, or a spare has
/// rescued it.
fn runs_without(block: &Tcb) -> bool {
    // SAFETY: null or a control block, and those live for ever.
    let carrier = unsafe { block.carrier.load(Ordering::Relaxed).as_ref() };
    carrier.is_some_and(|carrier| {
        let is_this = |other: &AtomicPtr<Tcb>| core::ptr::eq(other.load(Ordering::Relaxed), block);
        let own = &carrier.own;
        is_this(&own.rescued) || carrier.kind() == Kind::Idle && is_this(&own.runs)
    })
}

fn cpu_time(block: &Tcb) -> Option<Duration> {
    let accounts = block.accounts_cpu.load(Ordering::Relaxed) != 0;
    accounts.then(|| Duration::from_nanos(block.cpu_ns.load(Ordering::Relaxed)))
}

/// All threads that lisle knows: user threads of all runtimes, bound threads,
/// and kernel threads that have called in. Terminated ones are listed while a
/// handle refers to them. The list is made while threads come and go.
pub fn list() -> Vec<ThreadInfo> {
    let mut threads = Vec::new();
    pool::visit(|block| {
        let alive = block.generation.load(Ordering::Relaxed) == crate::fork::generation();
        if alive && block.kind() != Kind::Idle {
            threads.push(ThreadInfo::of(block));
        }
    });
    threads.sort_by_key(|thread| thread.id);
    threads
}

/// The threads of one runtime that have not ended.
pub(crate) fn list_of(shared: *const Shared) -> Vec<ThreadInfo> {
    let mut threads = Vec::new();
    pool::visit(|block| {
        let here = core::ptr::eq(block.shared.load(Ordering::Relaxed), shared);
        if here && block.terminated.load(Ordering::Relaxed) == 0 {
            threads.push(ThreadInfo::of(block));
        }
    });
    threads.sort_by_key(|thread| thread.id);
    threads
}

/// Writes the running thread's name for the report of a stack overflow, which
/// is made in a signal handler.
pub(crate) fn describe_running(into: &mut [u8; 64]) -> usize {
    let name = running().and_then(Tcb::name).unwrap_or("<unnamed>");
    let len = name.len().min(into.len());
    into[..len].copy_from_slice(&name.as_bytes()[..len]);
    len
}
