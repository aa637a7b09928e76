//! Forced migration: full threads that go on running on another kernel thread
//! each time they ask for it.
//!
//! A traveller has a *plug*, a light thread of its own. To hop it wakes the plug,
//! which runs next on the same LWP, and yields: the plug occupies the LWP, hence
//! its kernel thread, until the traveller has been resumed, and it can be resumed
//! only elsewhere. There is one LWP more than there are plugs, so somebody always
//! comes and steals it. If the plug was stolen instead, the traveller tries again.
//!
//! *What is measured*: every resume of a traveller during a hop, and how many of
//! them were on another kernel thread than the one it left. [`Trip::end`] fails
//! below a half (idle machines show more than nine in ten).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lisle::Runtime;
use lisle::thread::{self, Builder, JoinHandle, State, Thread};
use lisle::upcall::Source;

use crate::support::{end, many, spawn};

/// The kernel thread that runs the caller. A leaf.
#[inline(never)]
pub(crate) fn kernel_thread() -> i32 {
    // Not libc's function: musl's says what it has noted.
    // SAFETY: no preconditions; it cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// To other kernel threads: there may be fewer processors than LWPs. A leaf.
#[inline(never)]
pub(crate) fn give_processor_away() {
    // SAFETY: no preconditions.
    unsafe { libc::sched_yield() };
}

/// How often the calling thread was switched to.
pub(crate) fn switches() -> u64 {
    thread::current().info().switches
}

/// A runtime on which full threads migrate, and what became of them.
pub(crate) struct Trip {
    runtime: Runtime,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count {
    resumes: AtomicU64,
    moved: AtomicU64,
}

/// What a plug is told; 0: to end.
const OVER: u64 = 0;
/// Nobody hops.
const IDLE: u64 = 1;

struct Plug {
    thread: Thread,
    order: Arc<AtomicU64>,
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.order.store(OVER, Ordering::Release);
        self.thread.unpark();
    }
}

/// The right to hop, of one thread; its copies are for destructors.
#[derive(Clone)]
pub(crate) struct Traveller {
    plug: Arc<Plug>,
    count: Arc<Count>,
}

/// Occupies the kernel thread that an order names until the order is withdrawn.
fn plug(order: &AtomicU64) {
    loop {
        thread::park();
        let wanted = order.load(Ordering::Acquire);
        if wanted == OVER {
            return;
        }
        while wanted > IDLE
            && wanted as i32 == kernel_thread()
            && order.load(Ordering::Acquire) == wanted
        {
            give_processor_away();
        }
    }
}

impl Traveller {
    /// Returns on another kernel thread.
    pub(crate) fn hop(&self) {
        static TICKET: AtomicU64 = AtomicU64::new(1);
        let from = kernel_thread();
        let before = switches();
        let mut resumes = 0;
        while kernel_thread() == from {
            // One that is still on its way elsewhere would stay there.
            while !matches!(self.plug.thread.info().state, State::Waiting { .. }) {
                give_processor_away();
            }
            let ticket = TICKET.fetch_add(1, Ordering::Relaxed);
            let order = ticket << 32 | from as u64;
            self.plug.order.store(order, Ordering::Release);
            self.plug.thread.unpark();
            thread::yield_now();
            self.plug.order.store(IDLE, Ordering::Release);
            resumes = switches() - before;
            assert!(resumes < 1000, "it does not get away from {from}");
        }
        self.count.resumes.fetch_add(resumes, Ordering::Relaxed);
        self.count.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Hops so often, less often under an emulator.
    pub(crate) fn hops(&self, n: usize) {
        (0..many(n)).for_each(|_| self.hop());
    }
}

impl Trip {
    /// For so many travellers at a time.
    pub(crate) fn new(travellers: usize) -> Trip {
        Trip::with_blocked(travellers, 0)
    }

    /// For so many travellers at a time, and so many threads that block their
    /// LWPs meanwhile.
    pub(crate) fn with_blocked(travellers: usize, blocked: usize) -> Trip {
        let lwps = travellers + blocked + 1;
        Trip {
            // LWPs that stay with their kernel threads, so that hops lead
            // from one to the other.
            runtime: Runtime::builder()
                .lwps(lwps)
                .upcalls(Source::Off)
                .build()
                .unwrap(),
            count: Arc::default(),
        }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Spawns a full thread that can hop.
    pub(crate) fn spawn<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce(&Traveller) -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_as(Builder::new(), f)
    }

    /// As [`Trip::spawn`], with settings.
    pub(crate) fn spawn_as<F, T>(&self, builder: Builder, f: F) -> JoinHandle<T>
    where
        F: FnOnce(&Traveller) -> T + Send + 'static,
        T: Send + 'static,
    {
        let traveller = self.traveller();
        let body = move || f(&traveller);
        builder.on(&self.runtime).spawn(body).unwrap()
    }

    /// The right to hop, for a thread that is spawned by other means.
    pub(crate) fn traveller(&self) -> Traveller {
        let order = Arc::new(AtomicU64::new(IDLE));
        let watched = order.clone();
        let thread = spawn(Builder::new().on(&self.runtime), move || plug(&watched));
        let thread = thread.thread().clone();
        Traveller {
            plug: Arc::new(Plug { thread, order }),
            count: self.count.clone(),
        }
    }

    /// Runs so many travellers and returns what they returned.
    pub(crate) fn all<F, T>(&self, n: usize, f: F) -> Vec<T>
    where
        F: Fn(usize, &Traveller) -> T + Clone + Send + 'static,
        T: Send + 'static,
    {
        let threads: Vec<_> = (0..n)
            .map(|index| {
                let f = f.clone();
                self.spawn(move |go| f(index, go))
            })
            .collect();
        joined(threads)
    }

    /// Ends the runtime, of which all threads have ended or are about to, and
    /// judges how they travelled: nearly always, but a busy machine brings some back to where
    /// they were.
    pub(crate) fn end(self) {
        end(self.runtime);
        let resumes = self.count.resumes.load(Ordering::Relaxed);
        let moved = self.count.moved.load(Ordering::Relaxed);
        assert!(moved > 0, "nobody hopped");
        assert!(
            moved * 2 >= resumes,
            "only {moved} of {resumes} resumes were on another kernel thread"
        );
    }
}

/// What the threads returned; a panic goes on.
pub(crate) fn joined<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let join = |thread: JoinHandle<T>| match thread.join() {
        Ok(value) => value,
        Err(payload) => std::panic::resume_unwind(payload),
    };
    threads.into_iter().map(join).collect()
}
