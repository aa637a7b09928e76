//! Upcalls: the runtime is told when a thread blocks in the kernel, or computes
//! on and on, and gives the processor to another thread.
//!
//! A user thread that waits through lisle costs its LWP nothing. One that
//! blocks otherwise (a file, a page fault, a C library's mutex) or never calls
//! lisle takes its kernel thread with it. Then the *LWP* leaves that kernel
//! thread ([`handover`](crate::sched::handover)): it is *offered*, and a spare
//! kernel thread takes it with its whole run queue. The thread that was left
//! finds out at its next call of lisle and becomes ready like any other. (After
//! the scheduler activations of Anderson, Bershad, Lazowska and Levy, 1992, whose
//! kernel made these upcalls itself.)
//!
//! Who notices:
//!
//! | | notices | after |
//! |---|---|---|
//! | the thread itself | [`blocking()`]: it says so | at once, if it was left the last time; else the others notice |
//! | [`sentinel`]s, one per CPU | blocked threads: a sentinel runs when its CPU has nothing else to do | some 20 µs |
//! | the [`monitor`] | blocked threads if no CPU ever idles; threads that compute for a whole time slice | a tick, or 0.1 ms if there was one lately; a slice |
//!
//! All of them only offer and wake a spare: which side wins, the returning
//! thread or the spare, is the owner word's business
//! ([`owner`](lisle_lwp::owner)). Sentinels take no lock and allocate nothing:
//! they run with the lowest priority there is, and what they held would be held
//! for long.
//!
//! *Asleep when idle*: monitor and sentinels sleep while all LWPs do. (Where CPU time is
//! accounted and threads are without an LWP, the monitor sleeps a tenth of a second at a time.)
//!
//! *Bounds*: kernel threads = LWPs + threads that are blocked or were preempted
//! and have not come back + spares + monitor, [`stock`] and sentinels. Nothing limits the
//! second number, because a limit would deadlock threads that wait for each other
//! through the kernel.

mod blocking;
mod bounds;
mod monitor;
mod processors;
mod sentinel;
mod source;
pub(crate) mod stay;
mod stock;
mod upcall;
mod vigil;

use std::time::Duration;

use lisle_lwp::shim::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use lisle_lwp::sleep::Sleeper;

pub use self::blocking::blocking;
pub use self::bounds::{Doing, KernelThreads, Left};
pub(crate) use self::bounds::{doing_of, look as look_at_kernel_threads};
pub(crate) use self::processors::Processors;
pub(crate) use self::source::choose;
pub use self::source::{Source, SourceInfo};
pub use self::upcall::{Counters, Event, Handler, Kind};
pub(crate) use self::upcall::{Log, guarded};
use self::vigil::Vigil;
use crate::runtime::Shared;
use crate::sched::Steady;
use crate::sched::lwp::Lwp;

/// Sentinels sleep.
const REST: u32 = 0;
/// Sentinels look at the LWPs.
const RUN: u32 = 1;
/// Sentinels end.
const END: u32 = 2;

/// The stack of kernel threads that run nothing but a part of the runtime, in bytes.
const SMALL: Option<usize> = Some(64 << 10);

/// Signals 32 to 34, with which libc reaches every thread.
const LIBC_SIGNALS: u64 = 0b111 << 31;

/// The program's signals are for other threads: this one's stack is small, or it runs
/// only where nobody else does, and others rely on it.
fn leave_signals_to_others() {
    lisle_lwp::sys::set_signal_mask(!LIBC_SIGNALS);
}

/// What a runtime's monitor and sentinels share.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) source: Source,
    /// How long a thread may compute while others wait; `None`: as long as it
    /// likes.
    pub(crate) slice: Option<Duration>,
    /// By which signal full threads are made to give way; `None`: by none.
    pub(crate) signal: Option<i32>,
    pub(crate) log: Log,
    /// How many processors the system gives, if their number is followed.
    processors: Option<Processors>,
    /// Whether the monitor sleeps, and the sentinels with it.
    monitor: Vigil,
    stock: Sleeper,
    /// What sentinels are to do, as a word to sleep on: [`REST`], [`RUN`] or
    /// [`END`], which is the last.
    sentinels: AtomicU32,
    /// How many sentinels there are.
    posted: AtomicU32,
    /// How often the monitor has looked at the LWPs; sentinels, at whether to run.
    pub(crate) looks: AtomicU64,
    /// How often the monitor looked at deadlines and readiness in their place.
    pub(crate) serves: AtomicU64,
    /// The system refused a kernel thread when one was last wanted.
    is_refused: AtomicBool,
    /// The stock is to look at the number of processors, and at their sentinels.
    count_processors: AtomicBool,
}

impl Watch {
    pub(crate) fn new(
        source: Source,
        slice: Option<Duration>,
        signal: Option<i32>,
        log: Log,
        processors: Option<Processors>,
    ) -> Watch {
        Watch {
            processors,
            source,
            slice,
            signal,
            log,
            monitor: Vigil::new(),
            stock: Sleeper::new(),
            sentinels: AtomicU32::new(REST),
            posted: AtomicU32::new(0),
            looks: AtomicU64::new(0),
            serves: AtomicU64::new(0),
            is_refused: AtomicBool::new(false),
            count_processors: AtomicBool::new(false),
        }
    }

    /// An LWP has got up: somebody has to watch it. Called in the idle context.
    pub(crate) fn look_out(&self) {
        self.monitor.look_out();
    }

    /// Whether the system refused a kernel thread when one was last wanted.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// The system has given a kernel thread.
    pub(crate) fn note_granted(&self) {
        self.is_refused.store(false, Ordering::Relaxed);
    }

    /// The runtime stops.
    pub(crate) fn stop(&self) {
        self.monitor.wake();
        self.stock.wake();
        self.sentinels.store(END, Ordering::Relaxed);
        self.wake_sentinels();
    }

    /// Called by the monitor only.
    fn call_sentinels(&self, run: bool) {
        let (from, to) = if run { (REST, RUN) } else { (RUN, REST) };
        // An exchange, because the runtime may stop meanwhile.
        let changed =
            self.sentinels
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        if run && changed.is_ok() {
            self.wake_sentinels();
        }
    }

    fn wake_sentinels(&self) {
        // Nobody may be there to wake.
        let _ = lisle_lwp::sys::futex_wake(&self.sentinels, u32::MAX);
    }
}

/// Starts the stock and the monitor, which starts the sentinels when it first
/// sees an LWP at work.
///
/// # Errors
/// If the system refuses them.
pub(crate) fn start(shared: &Shared) -> std::io::Result<()> {
    match shared.watch.source {
        Source::Off => Ok(()),
        _ => {
            // Its stack is one for the program's handlers.
            shared.start_helper("stock", None, stock::run)?;
            shared.start_helper("watch", SMALL, monitor::run)
        }
    }
}

/// Starts the sentinels of CPUs that have none. What the system refuses is done
/// without.
fn post_sentinels(shared: &Shared, posted: &mut Vec<usize>) {
    for cpu in lisle_lwp::sys::allowed_cpus() {
        if posted.contains(&cpu) {
            continue;
        }
        let body = move |shared: &Shared| sentinel::run(shared, cpu);
        if shared.start_helper("idle", SMALL, body).is_err() {
            break;
        }
        posted.push(cpu);
    }
}

/// Offers an LWP whose thread blocks or computes on, and sends a spare for it
/// if one waits. Takes no lock, allocates nothing. Returns whether one comes.
fn offer(shared: &Shared, lwp: &Lwp, why: Kind) -> bool {
    if !lwp.owner.is_offered() {
        // First: a taker may come as soon as it is offered. Relaxed: pairs with the
        // Release in `OwnerWord::offer`.
        lwp.offered_for.store(why as u8, Ordering::Relaxed);
        lwp.owner.offer();
    }
    lwp.coming.is_any() || send(shared, lwp)
}

/// As [`offer`], by the thread itself, which has offered the LWP and is outside the
/// runtime.
#[cold]
#[inline(never)]
pub(crate) fn send_if_one_waits(shared: &Shared, lwp: &Lwp) {
    // Nobody takes the thread off its kernel thread while it holds a spare.
    let _steady = Steady::new();
    if !lwp.coming.is_any() {
        send(shared, lwp);
        tell_if_low(shared);
    }
}

/// The next hand-over should find a spare: the monitor sees to it. Not for the monitor itself.
fn tell_if_low(shared: &Shared) {
    if shared.spares.is_empty() {
        shared.watch.monitor.wake();
    }
}

/// Sends a spare for the LWP if one waits.
fn send(shared: &Shared, lwp: &Lwp) -> bool {
    match shared.take_spare() {
        Some(spare) => {
            spare.go(lwp);
            true
        }
        None => false,
    }
}
