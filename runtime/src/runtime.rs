//! Runtimes: a set of LWPs with their threads, and the default one.
//!
//! The default runtime starts when it is first wanted, tuned by environment
//! variables ([`Builder::from_env`]); [`Runtime::builder`] makes further ones.
//!
//! *Lifetime*. `Shared` is what all LWPs share. Every kernel thread that carries
//! an LWP holds a reference. When a runtime is shut down with threads left over,
//! `Shared` is leaked together with their stacks: the threads may still be made
//! ready by others, to no effect.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io};

use lisle_lwp::kernel::KernelThread;
use lisle_lwp::lock::RawLock;
use lisle_lwp::owner::{self, HolderId};
use lisle_lwp::shim::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use lisle_lwp::stack::{StackSize, overflow};
use lisle_lwp::sys::{self, Call};
use parking_lot::Mutex;

use crate::census::Census;
use crate::clock::Clock;
use crate::donors;
use crate::fork::{self, Forgettable};
use crate::io::reactor::Reactor;
use crate::jobs::offers::Offers;
use crate::sched::Steady;
use crate::sched::idle;
use crate::sched::lwp::Lwp;
use crate::sched::policy::{PolicyKind, Ready};
use crate::sched::preempt::{self, Preempted};
use crate::sched::queue::Injector;
use crate::sched::roster::Roster;
use crate::sched::seeds::Seed;
use crate::sched::sleepers::Sleepers;
use crate::sched::timers::NEVER;
use crate::spares::{Spare, Spares};
use crate::tcb::Tcb;
use crate::thread::{self, ThreadInfo};
use crate::watch::{self, Handler, Log, Processors, Source, Watch};

/// What the LWPs of a runtime share.
#[derive(Debug)]
pub struct Shared {
    // --- immutable ---
    pub(crate) lwps: Box<[Lwp]>,
    pub(crate) clock: Clock,
    pub(crate) next_slot: bool,
    pub(crate) accounts_cpu: bool,
    pub(crate) slice: Option<Duration>,
    /// The signals that are blocked on kernel threads which carry its LWPs.
    pub(crate) mask: u64,
    /// By which its threads may be interrupted, if they may.
    pub(crate) signal: Option<i32>,
    pub(crate) stack_size: StackSize,
    pub(crate) name_prefix: String,
    pub(crate) generation: u32,
    itself: Weak<Shared>,
    // --- any thread, atomically or by their own locks ---
    pub(crate) injector: Injector,
    pub(crate) offers: Offers,
    pub(crate) roster: Roster,
    pub(crate) sleepers: Sleepers,
    pub(crate) reactor: Reactor,
    pub(crate) census: Census,
    counted_out: AtomicBool,
    seed: Option<Arc<Seed>>,
    pub(crate) spares: Spares,
    pub(crate) preempted: Preempted,
    pub(crate) watch: Watch,
    /// The kernel threads that carry LWPs, can, or did until a moment ago.
    pub(crate) carriers: Mutex<Vec<&'static Tcb>>,
    /// How many others it has.
    pub(crate) helpers: AtomicU32,
    /// How often the system refused a kernel thread.
    pub(crate) refused: AtomicU64,
    /// How many kernel threads were started for it.
    started: AtomicU32,
    kernel_threads: Mutex<Vec<KernelThread>>,
}

impl Shared {
    /// [`Shared::carriers`], now. Allocates without the lock, which idle contexts take, too.
    pub(crate) fn all_carriers(&self) -> Vec<&'static Tcb> {
        let mut copy = Vec::new();
        loop {
            let wanted = {
                let _steady = Steady::new();
                let carriers = self.carriers.lock();
                if copy.capacity() >= carriers.len() {
                    copy.extend_from_slice(&carriers);
                    return copy;
                }
                carriers.len()
            };
            copy.reserve(wanted);
        }
    }

    /// Tells a sleeping LWP that there is work, if nobody searches.
    pub(crate) fn announce(&self) {
        let _steady = Steady::new();
        if let Some(bed) = self.sleepers.announce() {
            self.wake(bed);
        }
    }

    fn wake(&self, bed: crate::sched::sleepers::Bed) {
        use crate::sched::sleepers::Bed;
        match bed {
            Bed::Alone(lwp) => {
                self.lwps[lwp].sleeper.wake();
                // Somebody is busy now, so the poller's sleeper is to look
                // round from time to time.
                self.reactor.end_long_sleep();
            }
            Bed::Poller(_) => self.reactor.notify(),
        }
    }

    /// The LWPs that there are or have been.
    #[inline]
    pub(crate) fn lwps(&self) -> &[Lwp] {
        &self.lwps[..self.roster.most()]
    }

    /// Whether no LWP is awake. A hint.
    pub(crate) fn all_sleep(&self) -> bool {
        self.sleepers.asleep() >= self.roster.serving()
    }

    /// Has so many LWPs from now on; those that go do so as soon as they can.
    pub(crate) fn resize(&self, lwps: usize) -> io::Result<()> {
        if self.is_stopping() {
            return Err(stopped());
        }
        self.roster.want(lwps);
        let mut outcome = Ok(());
        for (index, lwp) in self.lwps.iter().enumerate() {
            if self.roster.revive(index, &lwp.owner) {
                match self.spare() {
                    Ok(spare) => spare.go(lwp),
                    Err(refused) => {
                        self.roster.give_up(&lwp.owner);
                        self.roster.want_instead_of(lwps, index);
                        outcome = Err(refused);
                        break;
                    }
                }
            } else if !self.roster.wants(index)
                && let Some(bed) = self.sleepers.rouse_one(index)
            {
                self.wake(bed);
            }
        }
        // Others are busy now, perhaps: the monitor and the poller's sleeper
        // are to look round.
        self.watch.look_out();
        self.reactor.end_long_sleep();
        outcome
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.census.is_stopping()
    }

    /// A reference that keeps the runtime's memory, if it is still there.
    pub(crate) fn keep(&self) -> Option<Arc<Shared>> {
        self.itself.upgrade()
    }

    /// The earliest deadline of all LWPs, or [`NEVER`].
    pub(crate) fn earliest_deadline(&self) -> u64 {
        self.lwps()
            .iter()
            .map(|lwp| lwp.timers.earliest())
            .min()
            .unwrap_or(NEVER)
    }

    /// Wakes all threads whose deadline has come, whichever LWP they set it on.
    pub(crate) fn expire(&self, now: u64) {
        for lwp in self.lwps() {
            lwp.timers.expire(now);
        }
    }

    /// Under a seed: whether the running thread gives way here.
    pub(crate) fn choose_to_give_way(&self) -> bool {
        self.seed.as_ref().is_some_and(|seed| seed.gives_way())
    }

    /// A number below `bound` that comes from the seed, if there is one.
    pub(crate) fn choose(&self, bound: usize) -> Option<usize> {
        let seed = self.seed.as_ref()?;
        let _entry = crate::Entry::new();
        Some(seed.below(bound))
    }

    /// How many threads have not ended. Exact once no thread is spawned.
    pub(crate) fn live(&self) -> u64 {
        self.census
            .live(self.lwps.iter().map(|lwp| &lwp.counters.threads))
    }

    /// A name in owner words for a kernel thread.
    pub(crate) fn holder_id(&self) -> HolderId {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // Each time it gets hold of an LWP: numbers may come again, but not
        // while somebody looks at an offer that names them.
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) & ((1 << 28) - 1);
            if let Some(id) = HolderId::new(number) {
                return id;
            }
        }
    }

    /// A kernel thread that can carry an LWP.
    pub(crate) fn spare(&self) -> io::Result<Spare> {
        match self.take_spare() {
            Some(spare) => Ok(spare),
            None => self.start_kernel_thread(),
        }
    }

    /// A spare to carry an LWP, if there is one. While preempted threads wait the
    /// last one stays, for their rescue. Takes no lock, allocates nothing.
    pub(crate) fn take_spare(&self) -> Option<Spare> {
        self.spares
            .take_unless_needed(|| self.preempted.need_a_reserve())
    }

    /// A new kernel thread that waits for its first order.
    pub(crate) fn start_kernel_thread(&self) -> io::Result<Spare> {
        let _steady = Steady::new();
        let shared = self.itself.upgrade().ok_or_else(stopped)?;
        let (send, first) = sync_channel(1);
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", self.name_prefix);
        let body = move || idle::serve(&shared, first);
        let start = || KernelThread::spawn(&name, None, body);
        let handle = sys::guarded(Call::Clone, start).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        self.watch.note_granted();
        let mut handles = self.kernel_threads.lock();
        handles.retain(|handle| !handle.is_finished());
        handles.push(handle);
        Ok(Spare::started(send))
    }

    /// A kernel thread for some other purpose than carrying LWPs; `stack` is the size of its stack
    /// in bytes, unless it is the usual one.
    pub(crate) fn start_helper(
        &self,
        name: &str,
        stack: Option<usize>,
        body: impl FnOnce(&Shared) + Send + 'static,
    ) -> io::Result<()> {
        let shared = self.itself.upgrade().ok_or_else(stopped)?;
        let name = format!("{}-{name}", self.name_prefix);
        let body = move || {
            shared.helpers.fetch_add(1, Ordering::Relaxed);
            body(&shared);
            shared.helpers.fetch_sub(1, Ordering::Relaxed);
        };
        let start = || KernelThread::spawn(&name, stack, body);
        let handle = sys::guarded(Call::Clone, start)?;
        self.kernel_threads.lock().push(handle);
        Ok(())
    }

    /// Starts spares until so many wait, or as many as may.
    pub(crate) fn keep_spares(&self, wanted: usize) {
        let (waiting, most) = self.spares.load();
        for _ in waiting..wanted.min(most) {
            match self.start_kernel_thread() {
                Ok(spare) => spare.rest(),
                // The next hand-over tries again.
                Err(_) => return,
            }
        }
    }

    /// Asks all LWPs to stop as soon as they are idle.
    fn stop(&self) {
        // Sleepers look whether it stops after the fence in `fall_asleep`, which pairs with
        // the one in here.
        self.census.stop();
        self.spares.close();
        self.watch.stop();
        while let Some(bed) = self.sleepers.rouse_any() {
            self.wake(bed);
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the runtime has been shut down")
}

/// A runtime: LWPs and the threads they run.
///
/// Cloning is cheap and gives another handle to the same runtime. When the last
/// handle is dropped the runtime shuts down without waiting for its threads, as
/// if by `shutdown(Duration::ZERO)`.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::time::Duration;
/// use lisle::{Runtime, thread};
///
/// let rt = Runtime::builder().lwps(1).build()?;
/// // SAFETY: the closure touches no thread-local.
/// let four = unsafe { thread::Builder::new().on(&rt).spawn_light(|| 2 + 2) }?;
/// assert_eq!(four.join().unwrap(), 4);
/// rt.shutdown(Duration::from_secs(1)).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    handle: Arc<Handle>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared();
        f.debug_struct("Runtime")
            .field("name", &shared.name_prefix)
            .field("lwps", &shared.roster.wanted())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.shared.generation == fork::generation() && runs_on(&self.shared) {
            // One of its own threads dropped the last handle: it cannot wait
            // for itself. The LWPs stop once they are idle; what is left over
            // stays in memory.
            core::mem::forget(self.shared.clone());
            self.shared.stop();
        } else if self.shared.generation == fork::generation() {
            let _ = shut_down(&self.shared, Duration::ZERO);
        } else {
            // A forked child: there is nobody to stop, and nothing to free
            // without the threads that hold it.
            core::mem::forget(self.shared.clone());
        }
    }
}

impl Runtime {
    /// A builder with the default settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The default runtime, started now if it was not.
    ///
    /// # Errors
    /// If an environment variable has a bad value, or the system refuses kernel
    /// threads or a poller.
    pub fn default_runtime() -> io::Result<Runtime> {
        Ok(Runtime {
            handle: default_handle()?,
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// How many LWPs it has, or will have as soon as those that are to leave can.
    pub fn lwps(&self) -> usize {
        self.shared().roster.wanted()
    }

    /// How many LWPs it may have: see [`Builder::max_lwps`].
    pub fn max_lwps(&self) -> usize {
        self.shared().lwps.len()
    }

    /// Has so many LWPs from now on, and no longer as many as the system gives
    /// processors.
    ///
    /// LWPs that are added begin at once; those that are to leave do so when they
    /// next look round, 128 switches from now at the latest, or are taken from the
    /// thread that keeps them after its time slice. Their ready threads go on on
    /// the others, in the order in which they would have run. Any thread may call
    /// it, one whose LWP leaves, too. It does not wait: [`Runtime::lwp_list`] and
    /// the upcalls [`added`](watch::Kind::Added) and
    /// [`retired`](watch::Kind::Retired) tell when it is done.
    ///
    /// ```
    /// # use lisle_runtime as lisle;
    /// use lisle::Runtime;
    ///
    /// let rt = Runtime::builder().lwps(1).max_lwps(4).build()?;
    /// rt.set_lwps(3)?;
    /// assert_eq!(rt.lwps(), 3);
    /// assert!(rt.set_lwps(5).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for none or more than [`Runtime::max_lwps`]; what the system
    /// says when it refuses a kernel thread (then there are as many LWPs as it
    /// allowed); an error after a shutdown.
    pub fn set_lwps(&self, lwps: usize) -> io::Result<()> {
        let most = self.max_lwps();
        if !(1..=most).contains(&lwps) {
            return invalid(&format!(
                "this runtime has 1 to {most} LWPs, not {lwps}: see `max_lwps` of its builder"
            ));
        }
        self.shared().roster.fix(lwps);
        resize(self.shared(), lwps)
    }

    /// Waits until all threads of the runtime have ended, at most `deadline`,
    /// and stops its LWPs. Threads may still be spawned by its threads
    /// meanwhile. Kernel threads on which threads still block, or compute, after the deadline have
    /// another tenth of a second to come back, and are left then. The end of the last runtime is that of pooled threads'
    /// thread-locals, too: their destructors have until the deadline, and a tenth
    /// of a second at least, then they are left to run.
    /// Sockets that were made on the runtime are not served any more.
    /// If it was the default runtime, another one starts when it is wanted.
    ///
    /// # Errors
    /// If the deadline passes first: [`ShutdownError`] lists the survivors. One
    /// that runs at that moment goes on until it next waits or yields; after
    /// that, none ever runs again, and joining one waits for ever. Their stacks
    /// are leaked, never freed.
    ///
    /// # Panics
    /// If called from a thread of this runtime.
    pub fn shutdown(self, deadline: Duration) -> Result<(), ShutdownError> {
        shut_down(self.shared(), deadline)
    }

    /// What it takes from a seed, if it has one.
    pub(crate) fn seed(&self) -> Option<&Arc<Seed>> {
        self.shared().seed.as_ref()
    }

    /// How often upcalls were made.
    pub fn upcalls(&self) -> watch::Counters {
        self.shared().watch.log.counters()
    }

    /// The last upcalls, oldest first; 64 of each LWP at most.
    pub fn upcall_log(&self) -> Vec<watch::Event> {
        self.shared().watch.log.last()
    }

    /// The last upcalls of the LWP with this number, oldest first; 64 at most.
    pub fn upcall_log_of(&self, lwp: usize) -> Vec<watch::Event> {
        self.shared().watch.log.last_of(lwp)
    }

    /// How the runtime learns that threads block or compute on, what of that the
    /// system permits, and what is lost if it does not.
    pub fn upcall_source(&self) -> watch::SourceInfo {
        self.shared().watch.source_info()
    }

    /// Its kernel threads at this moment, and what they do: some microseconds of
    /// work for each that a thread keeps.
    ///
    /// ```
    /// # use lisle_runtime as lisle;
    /// let rt = lisle::Runtime::builder().lwps(2).build()?;
    /// while rt.kernel_threads().lwps < 2 {}
    /// let threads = rt.kernel_threads();
    /// assert!(threads.left.is_empty() && threads.waiting.is_empty());
    /// println!("{threads}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kernel_threads(&self) -> watch::KernelThreads {
        watch::look_at_kernel_threads(self.shared())
    }

    /// A look at its LWPs.
    pub fn lwp_list(&self) -> Vec<crate::lwp::LwpInfo> {
        crate::lwp::of(self.shared())
    }

    /// Whether the runtime belongs to this process rather than to the parent
    /// that forked it.
    pub fn is_alive(&self) -> bool {
        let shared = self.shared();
        shared.generation == fork::generation() && !shared.is_stopping()
    }
}

/// How long a shutdown with survivors waits for LWPs to stop; one that runs a
/// thread may take longer.
const STOP_GRACE: Duration = Duration::from_millis(100);
/// As good as for ever: an `Instant` cannot be as far away as a `Duration` is long.
const FAR: Duration = Duration::from_secs(365 * 86_400);

/// A leaf: starting kernel threads touches thread-locals.
#[inline(never)]
fn resize(shared: &Shared, lwps: usize) -> io::Result<()> {
    shared.resize(lwps)
}

fn shut_down(shared: &Arc<Shared>, deadline: Duration) -> Result<(), ShutdownError> {
    assert!(
        !runs_on(shared),
        "a runtime cannot be shut down from one of its own threads; use a kernel thread"
    );
    if shared.generation != fork::generation() {
        return Ok(());
    }
    let began = Instant::now();
    let left = || deadline.saturating_sub(began.elapsed());
    let mut pause = Duration::from_micros(50);
    while shared.live() > 0 && !left().is_zero() {
        nap(pause.min(left()));
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    shared.stop();
    forget_default_if(shared);
    let clean = shared.live() == 0;
    let until = Instant::now() + left().clamp(STOP_GRACE, FAR);
    let handles = core::mem::take(&mut *shared.kernel_threads.lock());
    handles.iter().for_each(KernelThread::end_soon);
    // LWPs that do not run a thread stop at once.
    let grace = Instant::now() + STOP_GRACE;
    while !clean && handles.iter().any(|h| !h.is_finished()) && Instant::now() < grace {
        nap(Duration::from_micros(200));
    }
    // One that was about to be refused was counted, perhaps.
    if clean || shared.live() == 0 {
        let mut handles = handles;
        while !handles.is_empty() {
            for handle in handles {
                handle.join();
            }
            // The monitor may have started one more.
            handles = core::mem::take(&mut *shared.kernel_threads.lock());
            handles.iter().for_each(KernelThread::end_soon);
        }
        count_out(shared, until);
        return Ok(());
    }
    // The threads left over refer to it for ever.
    core::mem::forget(shared.clone());
    let survivors = thread::list_of(Arc::as_ptr(shared));
    if survivors.is_empty() {
        Ok(())
    } else {
        Err(ShutdownError { survivors })
    }
}

/// Every runtime that is in memory.
static ALL: RawLock<Vec<Weak<Shared>>> = RawLock::new(Vec::new());

/// Notes a new runtime for those who look at all of them.
fn enlist(shared: &Arc<Shared>) {
    let _steady = Steady::new();
    let mut all = ALL.lock();
    all.retain(|runtime| runtime.strong_count() > 0);
    all.push(Arc::downgrade(shared));
}

/// Every runtime that is in memory, those included that were shut down and left
/// threads behind.
pub(crate) fn all() -> Vec<Arc<Shared>> {
    let _steady = Steady::new();
    let all = ALL.lock();
    all.iter().filter_map(Weak::upgrade).collect()
}

/// Takes the list's lock over a fork.
pub(crate) fn lock_for_fork() {
    ALL.lock_raw();
}

/// Releases what [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread called `lock_for_fork`, or is its copy in the child.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: passed on.
    unsafe { ALL.unlock_raw() };
}

/// How many runtimes have started and not ended, in this process.
static RUNTIMES: AtomicUsize = AtomicUsize::new(0);

/// A runtime has ended, all its kernel threads included. The last one leaves no
/// donors behind, or, after the deadline, those whose destructors still run.
fn count_out(shared: &Shared, deadline: Instant) {
    let first = !shared.counted_out.swap(true, Ordering::Relaxed);
    if first && RUNTIMES.fetch_sub(1, Ordering::Relaxed) == 1 {
        donors::close(deadline);
    }
}

/// In a forked child: the parent's runtimes are not ours.
pub(crate) fn forget_all() {
    RUNTIMES.store(0, Ordering::Relaxed);
    // The parent's stay in memory, as everything of its.
    core::mem::forget(core::mem::take(&mut *ALL.lock()));
    DEFAULT.store(core::ptr::null_mut(), Ordering::Relaxed);
}

fn runs_on(shared: &Arc<Shared>) -> bool {
    crate::sched::running().is_some_and(|me| {
        me.is_user() && core::ptr::eq(me.shared.load(Ordering::Relaxed), Arc::as_ptr(shared))
    })
}

/// Sleeps on the calling kernel thread.
#[allow(clippy::disallowed_methods)]
pub(crate) fn nap(pause: Duration) {
    std::thread::sleep(pause);
}

/// A runtime did not end in time: see [`Runtime::shutdown`].
#[derive(Debug)]
pub struct ShutdownError {
    survivors: Vec<ThreadInfo>,
}

impl ShutdownError {
    /// The threads that had not ended at the deadline.
    pub fn survivors(&self) -> &[ThreadInfo] {
        &self.survivors
    }
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} threads did not end before the deadline:",
            self.survivors.len()
        )?;
        for survivor in self.survivors.iter().take(16) {
            write!(f, "\n  {survivor}")?;
        }
        match self.survivors.len().saturating_sub(16) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for ShutdownError {}

/// Settings of a runtime.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    lwps: Option<usize>,
    max_lwps: Option<usize>,
    follows: bool,
    cgroup: Option<PathBuf>,
    stack_size: usize,
    policy: PolicyKind,
    name_prefix: String,
    spares: usize,
    warm_threads: usize,
    idle_threads: usize,
    accounts_cpu: bool,
    time_slice: Option<Duration>,
    preemption_signal: Option<i32>,
    upcalls: Source,
    handler: SharedHandler,
}

/// A handler of upcalls, if there is one.
#[derive(Clone, Default)]
struct SharedHandler(Option<Arc<dyn Handler>>);

impl fmt::Debug for SharedHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// How long a thread may compute while others wait.
const TIME_SLICE: Duration = Duration::from_millis(10);

/// More LWPs than anybody has processors for are a mistake.
const MAX_LWPS: usize = 1024;

impl Builder {
    /// One LWP per processor, stacks of 256 KiB, first come first served.
    pub fn new() -> Builder {
        Builder {
            lwps: None,
            max_lwps: None,
            follows: true,
            cgroup: None,
            stack_size: StackSize::DEFAULT.bytes(),
            policy: PolicyKind::FirstCome,
            name_prefix: "lisle".into(),
            spares: 4,
            warm_threads: 0,
            idle_threads: donors::DEFAULT_LIMIT,
            accounts_cpu: false,
            time_slice: Some(TIME_SLICE),
            preemption_signal: Some(libc::SIGURG),
            upcalls: Source::default(),
            handler: SharedHandler::default(),
        }
    }

    /// The defaults, changed by the environment:
    ///
    /// | variable | meaning | default |
    /// |---|---|---|
    /// | `LISLE_LWPS` | number of LWPs, 1 to 1024 | number of processors |
    /// | `LISLE_STACK_SIZE` | bytes reserved per stack, with `K` or `M` behind | `256K` |
    /// | `LISLE_POLICY` | `first-come`, `priority`, or `round-robin` | `first-come` |
    /// | `LISLE_TIME_SLICE` | milliseconds that a thread may compute while others wait; also a round-robin slice | `10` |
    /// | `LISLE_UPCALLS` | `auto`, `sentinels`, `monitor` or `off`: see [`Builder::upcalls`] | `auto` |
    /// | `LISLE_CPU_TIME` | `1` to account CPU time per thread, `0` not to | `0` |
    ///
    /// # Errors
    /// A bad value gives an error that names the variable and what it takes.
    pub fn from_env() -> io::Result<Builder> {
        let mut builder = Builder::new();
        if let Some(lwps) = variable("LISLE_LWPS", "a number from 1 to 1024", parse_lwps)? {
            builder.lwps = Some(lwps);
        }
        let size = "bytes up to 64M, such as 65536, 64K or 1M";
        if let Some(bytes) = variable("LISLE_STACK_SIZE", size, parse_size)? {
            builder.stack_size = bytes;
        }
        let slice = variable("LISLE_TIME_SLICE", "milliseconds, at least 1", parse_number)?;
        let slice = Duration::from_millis(slice.unwrap_or(10).max(1) as u64);
        builder.time_slice = Some(slice);
        let sources = "auto, sentinels, monitor or off";
        let source = variable("LISLE_UPCALLS", sources, |text| match text {
            "auto" => Some(Source::Auto),
            "sentinels" => Some(Source::Sentinels),
            "monitor" => Some(Source::Monitor),
            "off" => Some(Source::Off),
            _ => None,
        })?;
        builder.upcalls = source.unwrap_or_default();
        let policies = "first-come, round-robin or priority";
        let policy = variable("LISLE_POLICY", policies, |text| match text {
            "first-come" => Some(PolicyKind::FirstCome),
            "round-robin" => Some(PolicyKind::RoundRobin(slice)),
            "priority" => Some(PolicyKind::Priority),
            _ => None,
        })?;
        builder.policy = policy.unwrap_or_default();
        let flag = variable("LISLE_CPU_TIME", "0 or 1", |text| match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })?;
        builder.accounts_cpu = flag.unwrap_or(false);
        Ok(builder)
    }

    /// How many LWPs: one makes a many-to-one runtime. If not set, as many as the
    /// system gives processors: CPUs that the process may use, and not more than
    /// its control group's quota pays for; see [`Builder::follow_processors`].
    pub fn lwps(mut self, lwps: usize) -> Builder {
        self.lwps = Some(lwps);
        self
    }

    /// Up to how many LWPs [`Runtime::set_lwps`] may ask for, at most 1024. If not
    /// set, the number of LWPs; or, if that is not set either, the number of CPUs
    /// that the machine has. A runtime that can never have a second LWP switches a
    /// little faster.
    pub fn max_lwps(mut self, lwps: usize) -> Builder {
        self.max_lwps = Some(lwps);
        self
    }

    /// Whether the number of LWPs follows what the system gives, unless the program
    /// has fixed it by [`Builder::lwps`] or [`Runtime::set_lwps`]; it does if not
    /// set. The monitor looks once a second, while the process is not idle, at the
    /// CPUs it may use (`sched_getaffinity`; `taskset -ap` and cpusets change it)
    /// and at the quota of the control group (`cpu.max`, or `cpu.cfs_quota_us`),
    /// rounded up.
    pub fn follow_processors(mut self, yes: bool) -> Builder {
        self.follows = yes;
        self
    }

    /// The directory of the control group whose CPU quota counts; the process's own
    /// and those above it if not set.
    pub fn cgroup(mut self, directory: impl Into<PathBuf>) -> Builder {
        self.cgroup = Some(directory.into());
        self
    }

    /// Bytes reserved for the stack of a thread that asks for no other size,
    /// rounded up to a power of two, from 64 KiB to 64 MiB.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = bytes;
        self
    }

    /// Which ready thread runs next.
    pub fn policy(mut self, policy: PolicyKind) -> Builder {
        self.policy = policy;
        self
    }

    /// The beginning of the names of the kernel threads, as the kernel shows them: it keeps 15 bytes.
    pub fn name_prefix(mut self, prefix: impl Into<String>) -> Builder {
        self.name_prefix = prefix.into();
        self
    }

    /// How many kernel threads without an LWP are kept for the next hand-over;
    /// 4 if not set. Further ones end. With none kept, no thread is preempted in a
    /// signal handler; the LWP leaves it instead.
    pub fn spares(mut self, limit: usize) -> Builder {
        self.spares = limit;
        self
    }

    /// How long a thread may compute while others wait for its LWP; 10 ms if not
    /// set, `None` for as long as it likes. Time on the processor counts. The
    /// round-robin policy has a slice of its own, which takes effect where a
    /// thread calls the runtime.
    pub fn time_slice(mut self, slice: Option<Duration>) -> Builder {
        self.time_slice = slice;
        self
    }

    /// The signal by which a full thread that has computed for its time slice is
    /// made to give way; `SIGURG` if not set. `None`: no signal, and such a thread
    /// keeps its kernel thread while its LWP goes on on another one, as light threads
    /// always do. With it, a thousand threads that compute need no more kernel
    /// threads than a few.
    ///
    /// `SIGURG`, because nothing happens to a process that gets one too many, and
    /// debuggers pass it on without stopping. The signal's handler, flags and mask
    /// are the runtime's: a handler that was there before is called for signals that
    /// others send. A program that sets a handler of its own later goes without.
    /// What a signal means for code that waits in the kernel is written down in
    /// the guide to upcalls.
    pub fn preemption_signal(mut self, signal: Option<i32>) -> Builder {
        self.preemption_signal = signal;
        self
    }

    /// How the runtime learns that a thread blocks or computes on;
    /// [`Source::Auto`] if not set: then it is chosen by what the system permits
    /// ([`Runtime::upcall_source`]). A seeded runtime has no upcalls.
    pub fn upcalls(mut self, source: Source) -> Builder {
        self.upcalls = source;
        self
    }

    /// What is to be told of every upcall.
    pub fn upcall_handler(mut self, handler: impl Handler + 'static) -> Builder {
        self.handler = SharedHandler(Some(Arc::new(handler)));
        self
    }

    /// How many full threads' stacks and thread-locals are made ready when the
    /// runtime starts and stay ready however long they are not needed; 0 if not
    /// set. The process has one pool for all runtimes.
    pub fn warm_threads(mut self, count: usize) -> Builder {
        self.warm_threads = count;
        self
    }

    /// How many full threads' stacks and thread-locals are kept at most for
    /// later full threads; 1,024 if not set. Of what several runtimes ask for,
    /// the most counts. After a second without work, those that were not needed
    /// lately are given up.
    pub fn idle_threads(mut self, limit: usize) -> Builder {
        self.idle_threads = limit;
        self
    }

    /// Whether each switch looks at the clock, so that
    /// [`ThreadInfo::cpu_time`] is known. Costs one clock reading a switch.
    pub fn account_cpu(mut self, yes: bool) -> Builder {
        self.accounts_cpu = yes;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    /// `InvalidInput` for settings that make no sense; else what the system
    /// says when it refuses kernel threads, memory or a poller. Nothing is left
    /// over.
    pub fn build(self) -> io::Result<Runtime> {
        let warm = self.warm_threads;
        donors::allow(self.idle_threads);
        let shared = self.share()?;
        enlist(&shared);
        let runtime = Runtime {
            handle: Arc::new(Handle {
                shared: shared.clone(),
            }),
        };
        RUNTIMES.fetch_add(1, Ordering::Relaxed);
        // Dropping the runtime on an error stops those that have started.
        for index in 0..shared.roster.wanted() {
            shared.start_kernel_thread()?.go(&shared.lwps[index]);
        }
        watch::start(&shared)?;
        if warm > 0 {
            donors::warm_up(shared.stack_size, warm)?;
        }
        Ok(runtime)
    }

    fn share(self) -> io::Result<Arc<Shared>> {
        let seed = Seed::of(&self.policy)?.map(Arc::new);
        let processors = Processors::new(self.cgroup);
        let lwps = match (self.lwps, &seed) {
            (Some(lwps), None) => lwps,
            (None | Some(1), Some(_)) => 1,
            (Some(_), Some(_)) => return invalid("a seeded runtime has one LWP"),
            (None, None) => processors.count().min(self.max_lwps.unwrap_or(MAX_LWPS)),
        };
        let follows = self.follows && self.lwps.is_none() && seed.is_none();
        let most = match (self.max_lwps, follows) {
            (None | Some(1), _) if seed.is_some() => 1,
            (Some(_), _) if seed.is_some() => return invalid("a seeded runtime has one LWP"),
            (Some(most), _) => most,
            (None, true) => sys::configured_cpus().clamp(lwps, MAX_LWPS),
            (None, false) => lwps,
        };
        if !(1..=MAX_LWPS).contains(&lwps) {
            return invalid(&format!("a runtime has 1 to {MAX_LWPS} LWPs, not {lwps}"));
        }
        if !(lwps..=MAX_LWPS).contains(&most) {
            return invalid(&format!(
                "`max_lwps` is {lwps}, for the {lwps} LWPs at the start, to {MAX_LWPS}, not {most}"
            ));
        }
        if self.name_prefix.contains('\0') {
            return invalid("a name prefix must not contain a NUL");
        }
        let stack_size = StackSize::new(self.stack_size)?.fitting();
        fork::install();
        choose_barrier();
        overflow::set_describe(thread::describe_running);
        overflow::install()?;
        let queues: Vec<Ready> = (0..most)
            .map(|lwp| Ready::new(&self.policy, lwp, seed.as_ref()))
            .collect();
        let slice = queues.iter().find_map(Ready::slice);
        let next_slot = queues.iter().all(Ready::next_slot);
        let reactor = Reactor::new()?;
        // Virtual time, and one interleaving: nobody may interfere.
        let upcalls = if seed.is_some() {
            Source::Off
        } else {
            watch::choose(self.upcalls)?
        };
        // A policy with a slice of its own means that one.
        let time_slice = self.time_slice.map(|default| slice.unwrap_or(default));
        let signal = self
            .preemption_signal
            .filter(|_| upcalls != Source::Off && time_slice.is_some());
        if let Some(signal) = signal {
            preempt::install(signal)?;
        }
        let timed = self.accounts_cpu || slice.is_some() || seed.is_some();
        Ok(Arc::new_cyclic(|itself| Shared {
            lwps: queues
                .into_iter()
                .enumerate()
                .map(|(index, ready)| {
                    let lwp = Lwp::new(index, ready, timed, most == 1, itself.as_ptr());
                    if index >= lwps {
                        lwp.owner.withdraw();
                    }
                    lwp
                })
                .collect(),
            clock: Clock::new(seed.is_some()),
            next_slot,
            accounts_cpu: self.accounts_cpu,
            slice,
            mask: preempt::carriers_mask(signal),
            signal: self.preemption_signal,
            stack_size,
            name_prefix: self.name_prefix,
            generation: fork::generation(),
            itself: itself.clone(),
            injector: Injector::new(),
            offers: Offers::new(),
            roster: Roster::new(lwps),
            sleepers: Sleepers::new(most),
            reactor,
            census: Census::new(),
            counted_out: AtomicBool::new(false),
            seed,
            spares: Spares::new(self.spares),
            preempted: Preempted::new(),
            watch: Watch::new(
                upcalls,
                time_slice,
                signal,
                Log::new(most, self.handler.0),
                follows.then_some(processors),
            ),
            carriers: Mutex::new(Vec::new()),
            helpers: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            started: AtomicU32::new(0),
            kernel_threads: Mutex::new(Vec::with_capacity(lwps)),
        }))
    }
}

/// Chooses on which side of the owner words the fences are, once in a process:
/// kernel threads that are inside the runtime rely on the choice.
pub(crate) fn choose_barrier() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    if REGISTERED.load(Ordering::Relaxed) || owner::has_fences() {
        return;
    }
    match sys::membarrier_register() {
        Ok(()) => REGISTERED.store(true, Ordering::Relaxed),
        // Old kernel, sandbox: every entry to the runtime runs a fence.
        Err(_) => owner::require_fences(),
    }
}

fn invalid<T>(why: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn variable<T>(
    name: &str,
    takes: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> io::Result<Option<T>> {
    let Some(value) = std::env::var_os(name) else {
        return Ok(None);
    };
    match value.to_str().map(str::trim).and_then(parse) {
        Some(parsed) => Ok(Some(parsed)),
        None => invalid(&format!(
            "environment variable {name}={value:?}: it takes {takes}"
        )),
    }
}

fn parse_number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| *n > 0)
}

fn parse_lwps(text: &str) -> Option<usize> {
    parse_number(text).filter(|lwps| *lwps <= MAX_LWPS)
}

fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    let bytes = digits.parse::<usize>().ok()?.checked_mul(unit)?;
    (bytes > 0 && StackSize::new(bytes).is_ok()).then_some(bytes)
}

static DEFAULT: Forgettable<Handle> = Forgettable::new(core::ptr::null_mut());

/// A handle to the default runtime, which lives as long as the process.
fn default_handle() -> io::Result<Arc<Handle>> {
    // Acquire: pairs with the Release below.
    let mut handle = DEFAULT.load(Ordering::Acquire).cast_const();
    if handle.is_null() {
        let runtime = Builder::from_env()?.build()?;
        let made = Arc::into_raw(runtime.handle);
        // AcqRel: publishes the new one, or sees another's.
        let set = DEFAULT.compare_exchange(
            core::ptr::null_mut(),
            made.cast_mut(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        handle = match set {
            Ok(_) => made,
            Err(other) => {
                // SAFETY: it was not published; its LWPs have nothing to do.
                drop(unsafe { Arc::from_raw(made) });
                other
            }
        };
    }
    // SAFETY: `DEFAULT` owns one reference for ever; this is one more.
    unsafe {
        Arc::increment_strong_count(handle);
        Ok(Arc::from_raw(handle))
    }
}

/// A default runtime that is shut down is not the default one any more.
fn forget_default_if(shared: &Arc<Shared>) {
    // Acquire: pairs with the Release in `default_handle`.
    let handle = DEFAULT.load(Ordering::Acquire);
    // SAFETY: `DEFAULT` owns a reference, which is never given back.
    let is_default = unsafe { handle.as_ref() }.is_some_and(|h| Arc::ptr_eq(&h.shared, shared));
    if is_default {
        let _ = DEFAULT.compare_exchange(
            handle,
            core::ptr::null_mut(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

/// The runtime of the calling thread: its own, or the default one for a plain
/// kernel thread.
pub(crate) fn current() -> io::Result<Arc<Shared>> {
    let own = crate::sched::running().and_then(|me| {
        // SAFETY: a runtime outlives its threads (it is leaked with survivors).
        unsafe { me.shared.load(Ordering::Relaxed).as_ref() }
    });
    match own.and_then(|shared| shared.itself.upgrade()) {
        Some(shared) => Ok(shared),
        None => Ok(default_handle()?.shared.clone()),
    }
}
