//! Making threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lisle_lwp::donor;
use lisle_lwp::shim::Ordering;

use super::handle::JoinHandle;
use super::{bound, fresh, launch};
use crate::gate::Gate;
use crate::life::Identity;
use crate::runtime::{Runtime, Shared};
use crate::sched::policy::{DEFAULT_PRIORITY, PRIORITIES};
use crate::tcb::{Kind, Tcb};

/// Settings of a new thread; std's names, and a few more.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it spawns"]
pub struct Builder {
    name: Option<String>,
    pub(super) stack_size: Option<usize>,
    priority: u8,
    pub(super) runtime: Option<Runtime>,
    bound: bool,
    fresh: bool,
    pub(super) depth_first: bool,
    pub(super) slice_ns: u64,
    pub(super) cpu_limit: Option<Duration>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A thread without a name, with its runtime's stack size and the default
    /// priority, in the runtime of the thread that spawns it.
    pub fn new() -> Builder {
        Builder {
            name: None,
            stack_size: None,
            priority: DEFAULT_PRIORITY,
            runtime: None,
            bound: false,
            fresh: false,
            depth_first: false,
            slice_ns: 0,
            cpu_limit: None,
        }
    }

    /// Its name, for observers and for the message of a stack overflow.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// Bytes reserved for its stack, rounded up to a power of two from 64 KiB to
    /// 64 MiB. Memory is used only where the stack is touched.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Its priority, below 64; higher is more urgent. Only the priority policy
    /// looks at it.
    pub fn priority(mut self, priority: u8) -> Builder {
        self.priority = priority;
        self
    }

    /// How long it may compute while others wait for its LWP, in place of what its
    /// runtime says ([`Builder::time_slice`](crate::Builder::time_slice)); `None`
    /// for as long as it likes. The runtime looks as often as its own slice
    /// demands, so a shorter one may take that long.
    pub fn time_slice(mut self, slice: Option<Duration>) -> Builder {
        let nanoseconds = |slice: Duration| u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
        self.slice_ns = slice.map_or(u64::MAX, |slice| nanoseconds(slice).max(1));
        self
    }

    /// After how much CPU time the runtime's
    /// [handler](crate::upcall::Handler::over_limit) is told, once. The thread goes
    /// on. The time is noticed when the thread leaves its LWP, hence after a time
    /// slice at the latest while others wait; without an LWP, within a slice or so,
    /// or a tenth of a second if nothing else runs, but without
    /// [sources](crate::upcall::Source) of upcalls only when it is back. The runtime must
    /// [account](crate::Builder::account_cpu) CPU time. Bound threads have no limit.
    pub fn cpu_limit(mut self, limit: Duration) -> Builder {
        self.cpu_limit = Some(limit);
        self
    }

    /// The runtime whose LWPs run it.
    pub fn on(mut self, runtime: &Runtime) -> Builder {
        self.runtime = Some(runtime.clone());
        self
    }

    /// A kernel thread of its own instead of LWPs (one-to-one): for code that
    /// changes what belongs to the kernel thread: signal mask, affinity,
    /// scheduling policy, credentials, namespaces, floating-point control.
    pub fn bound(mut self) -> Builder {
        self.bound = true;
        self
    }

    /// Whether a full thread gets thread-locals that no thread has used before,
    /// and takes them with it: their destructors run when its closure has ended,
    /// and it is joined after them. `std::thread::current()` is then as new as
    /// the thread. Otherwise thread-locals persist from one full thread to a
    /// later one, as in any pool of threads. Costs a kernel thread's start and
    /// end.
    pub fn fresh(mut self, yes: bool) -> Builder {
        self.fresh = yes;
        self
    }

    /// Whether the thread goes ahead of those that are ready already, other threads of this kind among them: the newest
    /// runs first. For trees of threads, whose nodes spawn their children and join them: they are walked depth first,
    /// so that few threads are alive at a time, and those have warm stacks; in order of age, all of a
    /// level would be. Among several LWPs up to 32 are in order of age, for other LWPs to take: the roots of
    /// large parts of the tree, mostly.
    ///
    /// Nobody waits for ever: one pick in 1,024 is not of those that are ahead, and after every 65,536 those queue up
    /// behind the others that stand in line. The setting holds until the thread runs, and only where the first-come policy does and
    /// the spawning thread is on an LWP of the same runtime; bound threads have no queue.
    ///
    /// ```
    /// # use lisle_runtime as lisle;
    /// use lisle::thread::Builder;
    ///
    /// /// How many leaves a tree has.
    /// fn leaves(height: u32) -> usize {
    ///     if height == 0 {
    ///         return 1;
    ///     }
    ///     let child = || Builder::new().depth_first(true).spawn(move || leaves(height - 1));
    ///     let children = [child(), child(), child()];
    ///     let joined = |child: std::io::Result<lisle::thread::JoinHandle<_>>| child.unwrap().join().unwrap();
    ///     children.into_iter().map(joined).sum()
    /// }
    /// assert_eq!(leaves(4), 81);
    /// ```
    pub fn depth_first(mut self, yes: bool) -> Builder {
        self.depth_first = yes;
        self
    }

    fn checked_name(&mut self) -> io::Result<Option<Box<str>>> {
        let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if usize::from(self.priority) >= PRIORITIES {
            return invalid("a thread's priority is below 64");
        }
        match self.name.take() {
            Some(name) if name.contains('\0') => invalid("a thread's name must not contain a NUL"),
            name => Ok(name.map(String::into_boxed_str)),
        }
    }

    /// Spawns a *full* thread: a user thread with thread-locals of its own. It
    /// may move from kernel thread to kernel thread whenever it waits or yields,
    /// and no code can tell: a closure that is sound under `std::thread::spawn`
    /// is sound here. (What belongs to the kernel thread is another matter: see
    /// [`Builder::bound`].)
    ///
    /// Where full threads are not available ([`full_threads`]), the thread is a
    /// bound one.
    ///
    /// # Errors
    /// If the system refuses memory or a kernel thread; `InvalidInput` for
    /// settings that make no sense, or if closure and result would take more
    /// than a twelfth of the stack (without [`Builder::stack_size`]: of the largest there is, 64 MiB);
    /// if the runtime has been shut down.
    ///
    /// ```
    /// # use lisle_runtime as lisle;
    /// use lisle::thread::Builder;
    /// let handle = Builder::new().name("adder".into()).spawn(|| 6 * 7)?;
    /// assert_eq!(handle.join().unwrap(), 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`full_threads`]: super::full_threads
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: `'static` outlives everything.
        unsafe { self.launch(f, None) }
    }

    /// As [`Builder::spawn`], without the bound on lifetimes.
    ///
    /// # Safety
    /// What `f` and its result borrow outlives the thread and its handle.
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        // SAFETY: passed on.
        unsafe { self.launch(f, None) }
    }

    /// # Safety
    /// What `f` and its result borrow lives until the thread has left `scope`,
    /// or, without one, until thread and handle are gone.
    pub(super) unsafe fn launch<F, T>(
        mut self,
        f: F,
        scope: Option<Arc<Gate>>,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let name = self.checked_name()?;
        // SAFETY: passed on.
        unsafe {
            if self.bound && self.cpu_limit.is_some() {
                let why = "a bound thread has no limit of CPU time";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            if self.bound || donor::support().is_err() {
                bound::spawn(&self, name, f, scope)
            } else if self.fresh {
                fresh::spawn(&self, name, f, scope)
            } else {
                launch::spawn(&self, Kind::Full, name, f, scope)
            }
        }
    }

    /// Spawns a light thread: a user thread that borrows the thread-locals of
    /// whichever kernel thread runs it. The cheapest there is.
    ///
    /// # Safety
    /// A light thread may go on running on another kernel thread after every
    /// call that waits or yields. The caller promises that no function of `f`
    /// which, after inlining, contains such a call also touches a thread-local
    /// of the kernel thread, by itself or through a library: `thread_local!`,
    /// `println!` and the other standard streams, panics caught in between,
    /// random generators, `errno`. The compiler may keep the address of a
    /// thread-local over the call even where the source holds no reference.
    /// Touch them only in functions marked `#[inline(never)]` that do not wait.
    /// Less obvious ones are `HashMap::new` (its random keys),
    /// `std::thread::current`, `std::sync::mpsc`, loggers. Allocating, and a panic
    /// that ends the thread, are fine.
    ///
    /// Under the round-robin and seeded policies, calls that make another thread
    /// ready (unpark, spawn, a send) may yield.
    /// No value that is bound to a kernel thread (a guard that is not `Send`,
    /// say of `std::sync::Mutex`) lives over such a call.
    ///
    /// # Errors
    /// If the system refuses memory for stack or control block; `InvalidInput`
    /// for settings that make no sense, or if closure and result would take more
    /// than a twelfth of the stack (without [`Builder::stack_size`]: of the largest there is, 64 MiB);
    /// if the runtime has been shut down.
    ///
    /// ```
    /// # use lisle_runtime as lisle;
    /// use lisle::thread::Builder;
    /// // SAFETY: the closure touches no thread-local.
    /// let handle = unsafe { Builder::new().name("adder".into()).spawn_light(|| 1 + 1) }?;
    /// assert_eq!(handle.join().unwrap(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn spawn_light<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: passed on; `'static` outlives everything.
        unsafe { self.spawn_light_unchecked(f) }
    }

    /// As [`Builder::spawn_light`], without the bound on lifetimes.
    ///
    /// # Safety
    /// As [`Builder::spawn_light`]; and what `f` and its result borrow outlives
    /// the thread.
    pub unsafe fn spawn_light_unchecked<F, T>(mut self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let name = self.checked_name()?;
        // SAFETY: passed on.
        unsafe { launch::spawn(&self, Kind::Light, name, f, None) }
    }

    pub(super) fn check_limit(&self, shared: &Shared) -> io::Result<()> {
        if self.cpu_limit.is_some() && !shared.accounts_cpu {
            let why =
                "a limit of CPU time needs a runtime that accounts CPU time: see `account_cpu`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(())
    }

    /// Gives a block that has just been published its slice and its limit.
    pub(super) fn limit(&self, block: &Tcb) {
        let limit = self.cpu_limit.map_or(0, |limit| {
            u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1)
        });
        block.limit_ns.store(limit, Ordering::Relaxed);
        block.slice_ns.store(self.slice_ns, Ordering::Relaxed);
    }

    pub(super) fn identity(
        &self,
        kind: Kind,
        name: Option<Box<str>>,
        id: u64,
        parent: u64,
    ) -> Identity {
        Identity {
            kind,
            priority: self.priority,
            name,
            id,
            parent,
        }
    }
}
