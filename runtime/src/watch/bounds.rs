//! How many kernel threads a runtime has, and what for.

use std::fmt;

use lisle_lwp::shim::Ordering;
use lisle_lwp::sys::{self, KernelCall};

use crate::runtime::Shared;
use crate::sched::lwp::Lwp;
use crate::tcb::{Kind, Tcb};
use crate::thread::ThreadId;

/// The kernel threads of a runtime at one moment; see
/// [`Runtime::kernel_threads`](crate::Runtime::kernel_threads). They are looked at
/// one after the other, so the parts may not fit each other exactly.
///
/// Their number is bounded by that of LWPs, plus threads that block in the kernel,
/// plus threads that were preempted and run beside the LWPs, plus spares and
/// helpers. Nothing bounds how many threads block: a bound would deadlock threads
/// that wait for each other through the kernel.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KernelThreads {
    /// Those that carry an LWP.
    pub lwps: usize,
    /// Threads that go on without an LWP, each on a kernel thread.
    pub left: Vec<Left>,
    /// Those that wait for an LWP.
    pub spares: usize,
    /// The monitor and the sentinels. (Helpers for name look-ups serve all
    /// runtimes of the process and are not counted.)
    pub helpers: usize,
    /// How often the system has refused another.
    pub refused: u64,
    /// LWPs that are offered, and no kernel thread has come yet: if the system
    /// refuses another, these wait for their threads.
    pub waiting: Vec<Left>,
}

/// A thread that keeps a kernel thread busy, or waiting.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Left {
    /// The thread.
    pub thread: Option<ThreadId>,
    /// Its name.
    pub name: Option<String>,
    /// The kernel's id of the kernel thread.
    pub kernel_thread: i32,
    /// What it does there; `None` if that cannot be seen.
    pub doing: Option<Doing>,
    /// For an LWP that waits: its number, and how many ready threads wait for it,
    /// as of its last round.
    pub lwp: Option<(usize, usize)>,
}

/// What a thread does in the kernel's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doing {
    /// It runs, or could.
    Running,
    /// It waits in the system call with this number.
    Call(i64),
    /// It waits for something else, mostly for a page.
    Fault,
}

impl KernelThreads {
    /// Threads that run beyond the number of LWPs.
    pub fn running(&self) -> usize {
        let runs = |left: &&Left| left.doing == Some(Doing::Running);
        self.left.iter().filter(runs).count()
    }

    /// Threads that block in the kernel.
    pub fn blocked(&self) -> usize {
        self.left.len() - self.running()
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.lwps + self.left.len() + self.spares + self.helpers
    }
}

impl fmt::Display for KernelThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kernel threads: {} with an LWP, {} that block, {} that run beyond the LWPs, {} spare, {} helpers",
            self.total(),
            self.lwps,
            self.blocked(),
            self.running(),
            self.spares,
            self.helpers,
        )?;
        if self.refused > 0 {
            write!(f, "; {} more were refused", self.refused)?;
        }
        for left in &self.waiting {
            write!(f, "\n  {left}")?;
        }
        self.left
            .iter()
            .try_for_each(|left| write!(f, "\n  {left}"))
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((lwp, queued)) = self.lwp {
            write!(f, "LWP {lwp} and {queued} ready threads wait for ")?;
        }
        match self.thread {
            Some(thread) => write!(f, "thread {}", thread.as_u64())?,
            None => f.write_str("a thread that has just ended")?,
        }
        if let Some(name) = &self.name {
            write!(f, " ({name:?})")?;
        }
        write!(f, " on kernel thread {}, which ", self.kernel_thread)?;
        match self.doing {
            Some(doing) => write!(f, "{doing}"),
            None => f.write_str("cannot be looked at"),
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doing::Running => f.write_str("runs"),
            Doing::Fault => f.write_str("waits for a page"),
            Doing::Call(number) => match sys::call_name(*number) {
                Some(name) => write!(f, "waits in {name}"),
                None => write!(f, "waits in system call {number}"),
            },
        }
    }
}

/// A look at the kernel threads of the runtime. Not inside the runtime.
#[inline(never)]
pub(crate) fn look(shared: &Shared) -> KernelThreads {
    // In a forked child, somebody in the parent may have had the lock.
    let carriers = match shared.generation == crate::fork::generation() {
        true => shared.all_carriers(),
        false => Vec::new(),
    };
    let mut seen = KernelThreads {
        lwps: 0,
        left: Vec::new(),
        spares: 0,
        helpers: shared.helpers.load(Ordering::Relaxed) as usize,
        refused: shared.refused.load(Ordering::Relaxed),
        waiting: Vec::new(),
    };
    for carrier in carriers {
        let holds = |lwp: &&Lwp| {
            lwp.carrier()
                .is_some_and(|holder| core::ptr::eq(holder, carrier))
                && lwp.owner.is_held_by(&carrier.own.holder)
        };
        match shared.lwps().iter().find(holds) {
            Some(lwp) => {
                seen.lwps += 1;
                if lwp.owner.is_offered() && !carrier.own.holder.is_inside() {
                    let mut left = left_on(carrier);
                    left.lwp = Some((lwp.index, lwp.load()));
                    seen.waiting.push(left);
                }
            }
            None if carrier.kind() == Kind::Idle => seen.left.push(left_on(carrier)),
            None => seen.spares += 1,
        }
    }
    seen
}

fn left_on(carrier: &Tcb) -> Left {
    let tid = carrier.own.tid.load(Ordering::Relaxed);
    // SAFETY: null or a control block, and those live for ever.
    let thread = unsafe { carrier.own.runs.load(Ordering::Relaxed).as_ref() };
    // A reference keeps the name in place.
    let thread = thread.filter(|thread| thread.is_user() && thread.try_retain());
    let (id, name) = match thread {
        Some(thread) => {
            let known = (
                ThreadId::new(thread.id.load(Ordering::Relaxed)),
                thread.name().map(str::to_owned),
            );
            let _entry = crate::Entry::new();
            crate::pool::release(thread, None);
            known
        }
        None => (None, None),
    };
    Left {
        thread: id,
        name,
        kernel_thread: tid as i32,
        doing: doing_of(tid),
        lwp: None,
    }
}

/// What a kernel thread does, if that can be seen.
pub(crate) fn doing_of(tid: u32) -> Option<Doing> {
    match sys::kernel_call_of(tid) {
        Ok(KernelCall::Running) => Some(Doing::Running),
        Ok(KernelCall::Call(number)) => Some(Doing::Call(number)),
        Ok(KernelCall::Fault) => Some(Doing::Fault),
        Err(_) => None,
    }
}
