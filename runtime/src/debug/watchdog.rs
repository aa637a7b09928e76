//! The watchdog: a kernel thread that looks for deadlocks and hogs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use lisle_lwp::shim::{AtomicBool, Ordering};
use lisle_lwp::sleep::Sleeper;
use lisle_lwp::sys::{self, Call};

use super::deadlock::{self, Deadlock};
use super::dump::{Caller, Room};
use super::looks::{Look, Looks};
use crate::thread::{State, ThreadInfo};
use crate::watch::guarded;

/// How often a watchdog looks if it is not told.
const EVERY: Duration = Duration::from_secs(1);

type OnDeadlock = Box<dyn FnMut(&Deadlock) + Send>;
type OnHog = Box<dyn FnMut(&Hog) + Send>;

/// A kernel thread that looks at all threads of the process from time to time, and
/// tells of deadlocks and of threads that keep a processor.
///
/// It costs a kernel thread, and some microseconds for each thread and look. It
/// works while all LWPs are kept from working.
///
/// ```
/// # use lisle_runtime as lisle;
/// use std::time::Duration;
/// use lisle::debug::Watchdog;
///
/// let watching = Watchdog::new()
///     .every(Duration::from_millis(100))
///     .on_deadlock(|deadlock| eprint!("{deadlock}"))
///     .on_hog(Duration::from_millis(50), |hog| eprintln!("{hog}"))
///     .start()?;
/// // … the program …
/// drop(watching);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a watchdog does nothing until it is started"]
pub struct Watchdog {
    every: Duration,
    on_deadlock: Option<OnDeadlock>,
    on_hog: Option<(Duration, OnHog)>,
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog")
            .field("every", &self.every)
            .field("on_deadlock", &self.on_deadlock.is_some())
            .field("on_hog", &self.on_hog.as_ref().map(|(limit, _)| limit))
            .finish()
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

impl Watchdog {
    /// One that looks once a second, and tells nobody of anything.
    pub fn new() -> Watchdog {
        Watchdog {
            every: EVERY,
            on_deadlock: None,
            on_hog: None,
        }
    }

    /// How often it looks.
    pub fn every(mut self, period: Duration) -> Watchdog {
        self.every = period;
        self
    }

    /// Whom it tells of a deadlock: see [`deadlock()`](super::deadlock()), also for what
    /// is one. It tells once of each, and again when the threads that are concerned
    /// have changed. `f` runs on the watchdog's kernel thread; it may do anything but
    /// wait for the threads that it is told of. If it panics, the watchdog goes on.
    pub fn on_deadlock(mut self, f: impl FnMut(&Deadlock) + Send + 'static) -> Watchdog {
        self.on_deadlock = Some(Box::new(f));
        self
    }

    /// Whom it tells of a user thread that has used so much CPU time without once
    /// waiting or yielding. It tells once of each such time. How exactly that is seen
    /// depends on how often it looks. `f` is called as that of
    /// [`on_deadlock`](Watchdog::on_deadlock).
    ///
    /// A full thread that is preempted in its time slice, because others wait for
    /// its LWP, has been switched to again afterwards: it is no hog in this sense,
    /// for it keeps nobody from running. See [`upcall`](crate::upcall) for those.
    pub fn on_hog(mut self, limit: Duration, f: impl FnMut(&Hog) + Send + 'static) -> Watchdog {
        self.on_hog = Some((limit, Box::new(f)));
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// If the system refuses a kernel thread.
    pub fn start(self) -> io::Result<Watching> {
        let bell = Arc::new(Bell::default());
        let heard = bell.clone();
        let builder = std::thread::Builder::new().name("lisle-watchdog".into());
        sys::guarded(Call::Clone, || builder.spawn(move || watch(self, &heard)))?;
        Ok(Watching { bell })
    }
}

/// A watchdog that watches, until this is dropped.
#[derive(Debug)]
#[must_use = "the watchdog ends when this is dropped"]
pub struct Watching {
    bell: Arc<Bell>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.bell.over.store(true, Ordering::Release);
        self.bell.sleeper.wake();
    }
}

#[derive(Debug, Default)]
struct Bell {
    over: AtomicBool,
    sleeper: Sleeper,
}

/// A thread that computes and gives way to nobody.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Hog {
    /// The thread.
    pub thread: ThreadInfo,
    /// The CPU time that it has used since it was seen first, at the least.
    pub used: Duration,
    /// The kernel's id of the kernel thread on which it runs.
    pub kernel_thread: i32,
    /// The number of the LWP that it keeps, if that has not gone on without it.
    pub lwp: Option<usize>,
}

impl fmt::Display for Hog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {:.3?} of CPU time", self.thread, self.used)?;
        write!(f, " on kernel thread {}", self.kernel_thread)?;
        match self.lwp {
            Some(lwp) => write!(f, ", keeping LWP {lwp}"),
            None => f.write_str(", without an LWP"),
        }
    }
}

/// A time for which a thread has not given way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stretch {
    thread: u64,
    switches: u64,
    kernel_thread: u32,
}

fn watch(mut dog: Watchdog, bell: &Bell) {
    let mut told: Vec<u64> = Vec::new();
    let mut stretches = HashMap::new();
    // Acquire: pairs with the Release in `Watching::drop`.
    while !bell.over.load(Ordering::Acquire) {
        let me = Caller::new();
        if let Some(tell) = &mut dog.on_deadlock {
            let found = deadlock::look(&me, Room::Enough);
            let concerned = found.iter().flat_map(|found| &found.threads);
            let concerned: Vec<u64> = concerned.map(|t| t.info.id.as_u64().get()).collect();
            if let Some(found) = found.filter(|_| concerned != told) {
                guarded(|| tell(&found));
            }
            told = concerned;
        }
        if let Some((limit, tell)) = &mut dog.on_hog {
            let looks = Looks::take();
            for hog in hogs(&looks, &mut stretches, *limit) {
                guarded(|| tell(&hog));
            }
        }
        bell.sleeper.sleep(Some(dog.every));
    }
}

/// What a stretch had used when it was seen first, and whether it has been told of.
type Seen = HashMap<Stretch, (Duration, bool)>;

fn hogs(looks: &Looks, seen: &mut Seen, limit: Duration) -> Vec<Hog> {
    let mut before = core::mem::take(seen);
    let mut hogs = Vec::new();
    for look in &looks.threads {
        let Some((stretch, used)) = stretch_of(look) else {
            continue;
        };
        let (first, mut told) = before.remove(&stretch).unwrap_or((used, false));
        let used = used.saturating_sub(first);
        if used >= limit && !told {
            told = true;
            hogs.push(Hog {
                thread: look.info.clone(),
                used,
                kernel_thread: stretch.kernel_thread as i32,
                lwp: looks.lwp_of(look).map(|lwp| lwp.index),
            });
        }
        seen.insert(stretch, (first, told));
    }
    hogs
}

/// Since when a user thread has run, as a name for that time, and the CPU time of its
/// kernel thread.
fn stretch_of(look: &Look) -> Option<(Stretch, Duration)> {
    if !look.block.is_user() || look.info.state != State::Running {
        return None;
    }
    // SAFETY: null or a control block, and those live for ever.
    let carrier = unsafe { look.block.carrier.load(Ordering::Relaxed).as_ref() }?;
    let kernel_thread = carrier.own.tid.load(Ordering::Relaxed);
    let stretch = Stretch {
        thread: look.id(),
        switches: look.info.switches,
        kernel_thread,
    };
    let used = sys::cpu_time_of(kernel_thread).ok()?;
    // If it has been switched to meanwhile, this is somebody else's time.
    let same = look.block.switches.load(Ordering::Relaxed) == look.info.switches;
    same.then_some((stretch, used))
}
