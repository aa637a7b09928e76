//! User threads: `std::thread`'s names, on LWPs.
//!
//! Every function also works from a plain kernel thread.

mod bound;
mod builder;
mod fresh;
mod handle;
pub(crate) mod helper;
mod launch;
mod list;
pub(crate) mod local;
mod packet;
pub(crate) mod room;
mod scope;

use core::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use lisle_lwp::shim::Ordering;

pub use self::builder::Builder;
pub use self::handle::{ForkedError, JoinHandle};
pub use self::list::{State, ThreadInfo, list};
pub(crate) use self::list::{describe_running, list_of};
pub use self::local::{AccessError, LocalKey};
pub use self::scope::{Scope, ScopedJoinHandle, scope};
use crate::cancel;
use crate::current::me;
use crate::hold::SUSPEND_ASKED;
use crate::pool;
use crate::sched::policy::PRIORITIES;
use crate::tcb::Tcb;
use crate::time::sleep_until;
use crate::wait::{self, Reason, inherit};
pub use lisle_lwp::donor::Unsupported;
/// What joining a thread gives: std's own.
#[doc(no_inline)]
pub use std::thread::Result;

static PARKED: Reason = Reason::new("park");

/// A thread's number: unique for ever in a process, whatever kind of thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(NonZeroU64);

impl ThreadId {
    pub(crate) fn new(id: u64) -> Option<ThreadId> {
        NonZeroU64::new(id).map(ThreadId)
    }

    /// The number.
    pub fn as_u64(&self) -> NonZeroU64 {
        self.0
    }
}

/// A handle to a thread: its identity, and what others may do to it.
///
/// The handle keeps the thread's control block, not its stack; it may outlive
/// the thread, on which its methods then do nothing.
pub struct Thread {
    block: &'static Tcb,
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Clone for Thread {
    fn clone(&self) -> Self {
        self.block.retain();
        Thread { block: self.block }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        pool::release(self.block, None);
    }
}

impl Thread {
    pub(crate) fn of(block: &'static Tcb) -> Thread {
        block.retain();
        Thread { block }
    }

    /// The thread's number.
    pub fn id(&self) -> ThreadId {
        let id = self.block.id.load(Ordering::Relaxed);
        ThreadId::new(id).expect("a referenced thread has a number")
    }

    /// The thread's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.block.name()
    }

    fn is_gone(&self) -> bool {
        self.block.terminated.load(Ordering::Relaxed) != 0
            || self.block.generation.load(Ordering::Relaxed) != crate::fork::generation()
    }

    /// Makes the thread's park token available: its [`park`] returns, or the
    /// next one does at once. Tokens do not add up. Any thread may call it.
    pub fn unpark(&self) {
        if !self.is_gone() {
            wait::give_token(self.block);
            crate::sched::end_of_slice();
        }
    }

    /// Asks the thread to end: see [`cancel`](mod@crate::cancel). Any thread
    /// may call it; it does not wait.
    pub fn cancel(&self) {
        if !self.is_gone() {
            wait::cancel(self.block);
        }
    }

    /// Keeps the thread from running, from the next time on that it would begin
    /// or go on to run after having waited or yielded, until [`Thread::resume`].
    /// What it waits for may be handed to it meanwhile. A thread that suspends
    /// itself stops at once; one that runs elsewhere runs on until then.
    /// Suspensions do not add up.
    ///
    /// A thread with a kernel thread of its own is suspended at its next
    /// [`yield_now`] only.
    pub fn suspend(&self) {
        let before = self.block.ask_to_hold(SUSPEND_ASKED);
        if before & SUSPEND_ASKED == 0 && core::ptr::eq(self.block, me()) {
            yield_now();
        }
    }

    /// Ends a suspension; a thread that is not suspended is left alone.
    pub fn resume(&self) {
        crate::sched::resume(self.block);
    }

    /// The thread's priority; higher is more urgent.
    pub fn priority(&self) -> u8 {
        self.block.priority.load(Ordering::Relaxed)
    }

    /// Changes the thread's priority, from the next time on that it becomes
    /// ready. Only the priority policy looks at it, and mutexes with priority
    /// inheritance: whoever holds one that the thread waits for inherits it at once.
    ///
    /// # Panics
    /// If the priority is not below 64.
    pub fn set_priority(&self, priority: u8) {
        assert!(
            usize::from(priority) < PRIORITIES,
            "priorities are below {PRIORITIES}"
        );
        inherit::lock().set_priority(self.block, priority);
    }

    /// A look at the thread.
    pub fn info(&self) -> ThreadInfo {
        ThreadInfo::of(self.block)
    }
}

/// Spawns a full thread, as `std::thread::spawn`: see [`Builder::spawn`]. Its stack has 256 KiB unless
/// the runtime says otherwise (`LISLE_STACK_SIZE`), where std's has 2 MiB.
///
/// # Panics
/// If the system refuses memory or a kernel thread; use [`Builder::spawn`] to
/// handle that.
///
/// ```
/// # use lisle_runtime as lisle;
/// let handle = lisle::thread::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
///
/// What may not go to another thread, or does not live long enough, is refused:
///
/// ```compile_fail,E0277
/// # use lisle_runtime as lisle;
/// let count = std::rc::Rc::new(1);
/// lisle::thread::spawn(move || drop(count));
/// ```
/// ```compile_fail,E0277
/// # use lisle_runtime as lisle;
/// let guard = lisle::thread::spawn(|| std::rc::Rc::new(1));
/// ```
/// ```compile_fail,E0373
/// # use lisle_runtime as lisle;
/// let list = vec![1, 2, 3];
/// lisle::thread::spawn(|| println!("{list:?}"));
/// ```
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f).expect("failed to spawn thread")
}

/// Whether full threads are available on this system: user threads with
/// thread-locals of their own. Where they are not, [`spawn`] gives each thread a
/// kernel thread, and nobody takes the jobs of a
/// [`join`](crate::jobs::join()) or [`cobegin`](crate::jobs::cobegin()), so that
/// their closures must not wait for each other.
///
/// # Errors
/// Why they are not.
pub fn full_threads() -> core::result::Result<(), Unsupported> {
    lisle_lwp::donor::support()
}

/// The calling thread.
pub fn current() -> Thread {
    Thread::of(me())
}

/// Lets other ready threads of the LWP run before the calling one goes on. Not
/// a cancellation point.
#[inline(always)]
pub fn yield_now() {
    crate::sched::yield_now();
}

/// Blocks until the calling thread's token is available, and takes it: see
/// [`Thread::unpark`]. May return without. A cancellation point.
pub fn park() {
    if wait::for_token(&PARKED, None).is_err() {
        cancel::deliver();
    }
}

/// As [`park`], but returns when the time is up at the latest.
pub fn park_timeout(timeout: Duration) {
    match crate::time::now().checked_add(timeout) {
        Some(deadline) => park_until(deadline),
        None => park(),
    }
}

/// As [`park`], but returns at the deadline at the latest.
pub fn park_until(deadline: Instant) {
    if wait::for_token(&PARKED, Some(deadline)).is_err() {
        cancel::deliver();
    }
}

/// Blocks the calling thread for at least this long. A cancellation point.
pub fn sleep(duration: Duration) {
    match crate::time::now().checked_add(duration) {
        Some(deadline) => sleep_until(deadline),
        None => loop {
            park();
        },
    }
}

/// How many threads can run at the same time: the LWPs of the calling thread's
/// runtime.
///
/// # Errors
/// If the default runtime is asked and cannot start.
pub fn available_parallelism() -> std::io::Result<std::num::NonZeroUsize> {
    let lwps = crate::runtime::current()?.roster.wanted();
    Ok(std::num::NonZeroUsize::new(lwps).expect("a runtime has LWPs"))
}

/// How many bytes of the calling thread's stack were ever touched, in whole
/// pages; what an earlier thread touched counts while the stack stays warm.
/// `None` for threads with a kernel thread of their own.
pub fn stack_high_water() -> Option<usize> {
    let me = me();
    me.footing.with(|footing| {
        // SAFETY: what the thread stands on stays with it while it runs.
        let footing = unsafe { (*footing).as_ref() }?;
        footing.stack()?.high_water().ok()
    })
}

/// Whether the calling thread unwinds because of a panic.
pub fn panicking() -> bool {
    cancel::is_unwinding()
}
