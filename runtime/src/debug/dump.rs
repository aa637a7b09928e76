//! Dumps: what every thread does, for people to read.

use std::fmt;
use std::time::Duration;

use lisle_lwp::shim::Ordering;
use lisle_lwp::sys::{self, Call};

use super::backtrace::{Backtrace, Unwinder, own_trace};
use super::looks::{Look, Looks};
use crate::lwp::LwpInfo;
use crate::runtime::Shared;
use crate::sched::running;
use crate::tcb::{Kind, Tcb};
use crate::thread::{State, ThreadId, ThreadInfo};
use crate::watch::{self, Doing, KernelThreads};

/// A look at every runtime and every thread of the process: see [`dump()`]. Its
/// `Display` is a report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dump {
    /// All runtimes.
    pub runtimes: Vec<RuntimeDump>,
    /// All threads that have not ended, by their numbers: user threads, and kernel
    /// threads that have called in.
    pub threads: Vec<ThreadDump>,
}

/// A runtime in a [`Dump`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RuntimeDump {
    /// The beginning of the names of its kernel threads.
    pub name: String,
    /// Its LWPs.
    pub lwps: Vec<LwpInfo>,
    /// Its kernel threads.
    pub kernel_threads: KernelThreads,
}

/// A thread in a [`Dump`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ThreadDump {
    /// Number, name, state, priority, switches, CPU time, parent.
    pub info: ThreadInfo,
    /// What carries it.
    pub kind: ThreadKind,
    /// Its runtime, as an index of [`Dump::runtimes`].
    pub runtime: Option<usize>,
    /// The number of the LWP that runs it.
    pub lwp: Option<usize>,
    /// The kernel's id of the kernel thread that runs it, and what it does there.
    pub kernel_thread: Option<(i32, Option<Doing>)>,
    /// How long until its wait ends by itself.
    pub left: Option<Duration>,
    /// The thread for which it waits, if it waits for one and no other: the holder of
    /// a lock, where that is known, or the thread that it joins.
    pub holder: Option<Holder>,
    /// The calls in which it is.
    pub backtrace: Backtrace,
}

/// Another thread, for which one waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its number.
    pub id: ThreadId,
    /// Its name.
    pub name: Option<String>,
}

/// What carries a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadKind {
    /// A kernel thread of its own: a bound thread, or one from outside that has
    /// called in.
    Kernel,
    /// A light thread.
    Light,
    /// A full thread.
    Full,
}

/// A look at every thread of the process: its state; what it waits for, until when,
/// and for whom; its CPU time, LWP and kernel thread; and, with the feature
/// `backtrace`, the calls in which it is.
///
/// Any thread may call it at any time, while threads come and go; nothing is stopped
/// for it. Each thread is looked at on its own, so the parts may not fit each
/// other. Parked and suspended threads are kept from going on for the microseconds that
/// their backtraces take. Threads that run, and kernel threads that have called in, get a
/// signal, [`preemption_signal`], and copy the last 64 KiB of their stacks
/// in its handler. There is no backtrace of a thread that is ready, waits in a
/// system call that the signal would end with `EINTR`, blocks the signal, or does not
/// run for a quarter of a second.
///
/// [`preemption_signal`]: crate::Builder::preemption_signal
///
/// It allocates, and takes milliseconds, or, the first time, as long as it takes to
/// read the program's debugging information. On a user thread the work is done by a
/// kernel thread meanwhile: a user thread's stack may be too small for it. If the
/// system refuses one, there are no backtraces. Not a cancellation point.
///
/// ```
/// # use lisle_runtime as lisle;
/// let waiting = lisle::thread::spawn(|| lisle::thread::park());
/// let id = waiting.thread().id();
/// let dump = lisle::debug::dump();
/// assert!(dump.threads.iter().any(|thread| thread.info.id == id));
/// eprint!("{dump}");
/// # waiting.thread().unpark();
/// # waiting.join().unwrap();
/// ```
pub fn dump() -> Dump {
    let me = Caller::new();
    elsewhere(&|stack| Dump::of(&Looks::take(), &me, stack, |_| true))
}

/// Whoever asks, and where that is.
pub(super) struct Caller {
    block: Option<&'static Tcb>,
    trace: super::backtrace::Own,
}

impl Caller {
    #[inline(never)]
    pub(super) fn new() -> Caller {
        Caller {
            block: running(),
            trace: own_trace(),
        }
    }

    pub(super) fn is(&self, look: &Look) -> bool {
        self.block
            .is_some_and(|block| core::ptr::eq(block, look.block))
    }
}

/// How much stack there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    Little,
}

/// Calls `f` where there is stack enough, if that can be had.
pub(super) fn elsewhere<R: Send>(f: &(dyn Fn(Room) -> R + Sync)) -> R {
    if !running().is_some_and(Tcb::is_user) {
        return f(Room::Enough);
    }
    let there = crate::blocking(|| on_a_kernel_thread(f));
    there.unwrap_or_else(|| f(Room::Little))
}

/// Never inlined, because it touches thread-locals and its caller switches.
#[inline(never)]
fn on_a_kernel_thread<R: Send>(f: &(dyn Fn(Room) -> R + Sync)) -> Option<R> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("lisle-dump".into());
        let spawn = || builder.spawn_scoped(scope, || f(Room::Enough));
        let spawned = sys::guarded(Call::Clone, spawn).ok()?;
        spawned.join().ok()
    })
}

impl Dump {
    pub(super) fn of(
        looks: &Looks,
        caller: &Caller,
        room: Room,
        wanted: impl Fn(&Look) -> bool,
    ) -> Dump {
        let mut unwinder = (room == Room::Enough).then(Unwinder::new);
        let runtimes = looks.runtimes.iter().map(|shared| of_runtime(shared));
        let threads = looks.threads.iter().filter(|look| wanted(look));
        Dump {
            runtimes: runtimes.collect(),
            threads: threads
                .map(|look| of_thread(looks, look, caller, unwinder.as_mut()))
                .collect(),
        }
    }
}

fn of_runtime(shared: &Shared) -> RuntimeDump {
    RuntimeDump {
        name: shared.name_prefix.clone(),
        lwps: crate::lwp::of(shared),
        kernel_threads: watch::look_at_kernel_threads(shared),
    }
}

fn of_thread(
    looks: &Looks,
    look: &Look,
    caller: &Caller,
    unwinder: Option<&mut Unwinder>,
) -> ThreadDump {
    let lwp = looks.lwp_of(look).map(|lwp| lwp.index);
    ThreadDump {
        kind: match look.block.kind() {
            Kind::Light => ThreadKind::Light,
            Kind::Full => ThreadKind::Full,
            Kind::Kernel | Kind::Idle => ThreadKind::Kernel,
        },
        runtime: look.runtime,
        lwp,
        kernel_thread: kernel_thread(look),
        left: look.left(&looks.runtimes),
        holder: look.holder.and_then(|id| holder(looks, id)),
        backtrace: match unwinder {
            Some(unwinder) if caller.is(look) => unwinder.own(&caller.trace),
            Some(unwinder) => backtrace(looks, look, unwinder),
            None => Backtrace(Err("there is not enough stack")),
        },
        info: look.info.clone(),
    }
}

fn backtrace(looks: &Looks, look: &Look, unwinder: &mut Unwinder) -> Backtrace {
    let signal = match look.runtime {
        Some(runtime) => looks.runtimes[runtime].signal,
        // A kernel thread from outside.
        None => looks.runtimes.iter().find_map(|shared| shared.signal),
    };
    // Not the state: one that is suspended may not have begun either.
    match look.block.is_user() && look.info.switches == 0 {
        true => Backtrace(Ok(Vec::new())),
        false => unwinder.of(look.block, signal),
    }
}

/// The kernel thread on which a user thread runs.
fn kernel_thread(look: &Look) -> Option<(i32, Option<Doing>)> {
    if !look.block.is_user() || look.info.state != State::Running {
        return None;
    }
    // SAFETY: null or a control block, and those live for ever.
    let carrier = unsafe { look.block.carrier.load(Ordering::Relaxed).as_ref() }?;
    let tid = carrier.own.tid.load(Ordering::Relaxed);
    Some((tid as i32, watch::doing_of(tid)))
}

pub(super) fn holder(looks: &Looks, id: u64) -> Option<Holder> {
    Some(Holder {
        id: ThreadId::new(id)?,
        name: looks.find(id).and_then(|look| look.info.name.clone()),
    })
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, runtime) in self.runtimes.iter().enumerate() {
            let of_this = |thread: &&ThreadDump| thread.runtime == Some(index);
            let threads = self.threads.iter().filter(of_this).count();
            writeln!(f, "runtime {}: {threads} threads", runtime.name)?;
            for lwp in &runtime.lwps {
                self.write_lwp(f, index, lwp)?;
            }
            let kernel_threads = runtime.kernel_threads.to_string();
            for line in kernel_threads.lines() {
                writeln!(f, "  {line}")?;
            }
        }
        writeln!(f)?;
        self.threads.iter().try_for_each(|thread| {
            let runtime = thread.runtime.map(|index| &self.runtimes[index].name);
            match runtime.filter(|_| self.runtimes.len() > 1) {
                Some(runtime) => writeln!(f, "[{runtime}] {thread}"),
                None => writeln!(f, "{thread}"),
            }
        })
    }
}

impl Dump {
    fn write_lwp(&self, f: &mut fmt::Formatter<'_>, runtime: usize, lwp: &LwpInfo) -> fmt::Result {
        write!(f, "  LWP {}", lwp.id)?;
        if let Some(kernel_thread) = lwp.kernel_thread {
            write!(f, " on kernel thread {kernel_thread}")?;
        }
        write!(f, ": {} ready", lwp.queued)?;
        let runs =
            |thread: &&ThreadDump| thread.runtime == Some(runtime) && thread.lwp == Some(lwp.id);
        match self.threads.iter().find(runs) {
            Some(thread) => writeln!(f, ", runs thread {}", thread.info.id.as_u64()),
            None => writeln!(f),
        }
    }
}

impl fmt::Display for ThreadDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.info, self.kind)?;
        if let Some(holder) = &self.holder {
            write!(f, ", for {holder}")?;
        }
        if let Some(left) = self.left {
            write!(f, ", {left:.3?} more at most")?;
        }
        match &self.kernel_thread {
            Some((id, Some(doing))) => write!(f, ", on kernel thread {id}, which {doing}")?,
            Some((id, None)) => write!(f, ", on kernel thread {id}")?,
            None => {}
        }
        write!(f, "; {} switches", self.info.switches)?;
        if let Some(cpu_time) = self.info.cpu_time {
            write!(f, ", {cpu_time:.3?} of CPU time")?;
        }
        writeln!(f)?;
        write!(f, "{}", self.backtrace)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.id.as_u64())?;
        match &self.name {
            Some(name) => write!(f, " '{name}'"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ThreadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ThreadKind::Kernel => "kernel thread",
            ThreadKind::Light => "light",
            ThreadKind::Full => "full",
        })
    }
}
