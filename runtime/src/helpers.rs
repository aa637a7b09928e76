//! Helper kernel threads, for calls into the system's library that can only
//! block (looking names up).
//!
//! A caller leaves a job, and waits for its answer as for anything else; so no
//! LWP waits. Helpers are started when nobody is free, up to a limit, and end
//! when they had nothing to do for [`LINGER`]; further jobs queue, first in first
//! out. A caller whose wait is cut short (deadline, cancel) leaves; the job is
//! done all the same and its answer dropped.
//!
//! *Protocol*. A job is pushed under the lock, and an idle helper is woken, or one
//! started if there are fewer than the limit. A helper ends only under the lock, with the queue empty.
//! One that is about to be started counts as there; if the system then refuses it
//! and there is no other, all jobs that rely on it are refused with it.
//! So a pushed job is always seen by somebody.
//!
//! A forked child has none of its parent's helpers, so each process has a pool
//! of its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lisle_lwp::kernel::KernelThread;
use lisle_lwp::shim::{AtomicPtr, Ordering};
use lisle_lwp::sys::{self, Call};

use crate::cancel;
use crate::fork;
use crate::wait::list::Queue;
use crate::wait::{self, Node, Outcome, Reason, Waiters};

static IDLE: Reason = Reason::of_server("job");
static ANSWER: Reason = Reason::from_outside("helper");

/// After how long without a job a helper ends.
const LINGER: Duration = Duration::from_secs(10);

/// Where a process's pool is found.
#[derive(Debug)]
pub(crate) struct Helpers {
    most: usize,
    pool: AtomicPtr<Pool>,
}

#[derive(Debug)]
struct Pool {
    generation: u32,
    state: Waiters<State>,
}

#[derive(Debug)]
struct State {
    helpers: usize,
    idle: Queue<()>,
    /// Jobs that came last, the latest first.
    inbox: Option<Box<Job>>,
    /// Jobs that came before those, the earliest first.
    outbox: Option<Box<Job>>,
}

struct Job {
    /// Does the job, or is told why nobody does.
    run: Box<dyn FnOnce(Option<io::Error>) + Send>,
    next: Option<Box<Job>>,
}

impl core::fmt::Debug for Job {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Job")
    }
}

impl State {
    fn push(&mut self, mut job: Box<Job>) {
        job.next = self.inbox.take();
        self.inbox = Some(job);
    }

    fn pop(&mut self) -> Option<Box<Job>> {
        if self.outbox.is_none() {
            while let Some(mut job) = self.inbox.take() {
                self.inbox = job.next.take();
                job.next = self.outbox.take();
                self.outbox = Some(job);
            }
        }
        let mut job = self.outbox.take()?;
        self.outbox = job.next.take();
        Some(job)
    }
}

impl Helpers {
    /// At most `most` helpers.
    pub(crate) const fn new(most: usize) -> Helpers {
        Helpers {
            most,
            pool: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Has `f` called by a helper, and waits for what it returns. A panic of
    /// `f` is the caller's. A cancellation point.
    ///
    /// # Errors
    /// If there is no helper and the system refuses a kernel thread; `TimedOut`
    /// once the deadline has passed.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        cancel::checkpoint();
        let answer = Arc::new(Answer::new());
        let asked = answer.clone();
        let run = Box::new(move |refused| {
            asked.give(match refused {
                None => Ok(catch_unwind(AssertUnwindSafe(f))),
                Some(error) => Err(error),
            });
        });
        self.pool()
            .submit(Box::new(Job { run, next: None }), self.most);
        match answer.wait(deadline)?? {
            Ok(value) => Ok(value),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// This process's pool. Pools are small, few and kept for ever.
    fn pool(&self) -> &'static Pool {
        // Acquire: pairs with the Release below.
        let found = self.pool.load(Ordering::Acquire);
        // SAFETY: pools are leaked.
        if let Some(pool) = unsafe { found.as_ref() }
            && pool.generation == fork::generation()
        {
            return pool;
        }
        let pool = Box::into_raw(Box::new(Pool {
            generation: fork::generation(),
            state: Waiters::new(State {
                helpers: 0,
                idle: Queue::new(),
                inbox: None,
                outbox: None,
            }),
        }));
        // Release: pairs with the Acquire above. Acquire: likewise.
        let stored = self
            .pool
            .compare_exchange(found, pool, Ordering::AcqRel, Ordering::Acquire);
        match stored {
            // SAFETY: leaked.
            Ok(_) => unsafe { &*pool },
            Err(winner) => {
                // SAFETY: ours, and nobody saw it.
                drop(unsafe { Box::from_raw(pool) });
                // SAFETY: leaked.
                unsafe { &*winner }
            }
        }
    }
}

impl Pool {
    fn submit(&'static self, job: Box<Job>, most: usize) {
        let wanted = {
            let mut state = self.state.lock();
            // Before it is started: so none that is there already ends meanwhile
            // with the queue empty.
            state.push(job);
            let wanted = state.idle.is_empty() && state.helpers < most;
            state.helpers += usize::from(wanted);
            // SAFETY: we hold the lock, and forget the node.
            if let Some(node) = unsafe { state.idle.pop() } {
                state.wake(node.key());
            }
            wanted
        };
        if wanted && let Err(error) = self.start() {
            self.refused(&error);
        }
    }

    /// One that was counted does not come.
    fn refused(&self, error: &io::Error) {
        let mut state = self.state.lock();
        state.helpers -= 1;
        if state.helpers > 0 {
            return;
        }
        let refused: Vec<_> = core::iter::from_fn(|| state.pop()).collect();
        drop(state);
        for job in refused {
            let error = match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => error.kind().into(),
            };
            (job.run)(Some(error));
        }
    }

    /// Starts a helper. A leaf: libc touches thread-locals to start a thread.
    #[inline(never)]
    fn start(&'static self) -> io::Result<()> {
        let serve = || self.serve();
        sys::guarded(Call::Clone, || {
            KernelThread::spawn("lisle-helper", None, serve)
        })?;
        Ok(())
    }

    fn serve(&self) {
        loop {
            let next = self.state.lock().pop();
            match next {
                Some(job) => (job.run)(None),
                None if !self.wait_for_job() => return,
                None => {}
            }
        }
    }

    /// Returns whether there may be a job; if not, this helper has left.
    fn wait_for_job(&self) -> bool {
        // Helpers are nobody's to cancel.
        let Ok(wait) = wait::begin(&IDLE, 0, false) else {
            return true;
        };
        let node = Node::new(&wait, ());
        {
            let mut state = self.state.lock();
            if state.inbox.is_some() || state.outbox.is_some() {
                drop(state);
                let _ = wait.abandon();
                return true;
            }
            // SAFETY: removed below, before the frame goes, unless popped.
            unsafe { state.idle.push(&node) };
        }
        if wait.block(Instant::now().checked_add(LINGER)) == Outcome::Woken {
            return true;
        }
        let mut state = self.state.lock();
        // SAFETY: pushed to this queue.
        unsafe { state.idle.remove(&node) };
        let stay = state.inbox.is_some() || state.outbox.is_some();
        state.helpers -= usize::from(!stay);
        stay
    }
}

/// A value that one thread gives and another waits for.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    state: Waiters<Given<T>>,
}

#[derive(Debug)]
struct Given<T> {
    value: Option<T>,
    waiters: Queue<()>,
}

impl<T> Answer<T> {
    pub(crate) fn new() -> Answer<T> {
        Answer {
            state: Waiters::new(Given {
                value: None,
                waiters: Queue::new(),
            }),
        }
    }

    /// Gives the value, once.
    pub(crate) fn give(&self, value: T) {
        let mut state = self.state.lock();
        debug_assert!(state.value.is_none());
        state.value = Some(value);
        // SAFETY: we hold the lock and forget each node once woken.
        while let Some(node) = unsafe { state.waiters.pop() } {
            state.wake(node.key());
        }
    }

    /// Waits for the value and takes it. A cancellation point.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<T> {
        loop {
            let Ok(wait) = wait::begin(&ANSWER, 0, true) else {
                cancel::deliver()
            };
            let node = Node::new(&wait, ());
            let mut state = self.state.lock();
            if let Some(value) = state.value.take() {
                drop(state);
                let _ = wait.abandon();
                return Ok(value);
            }
            // SAFETY: removed below, before the frame goes, unless popped.
            unsafe { state.waiters.push(&node) };
            drop(state);
            let outcome = wait.block(deadline);
            if outcome != Outcome::Woken {
                // SAFETY: pushed to this queue.
                unsafe { self.state.lock().waiters.remove(&node) };
            }
            match outcome {
                Outcome::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
                Outcome::Cancelled => cancel::deliver(),
                Outcome::Woken | Outcome::Abandoned => {}
            }
        }
    }
}

#[cfg(all(test, not(lisle_loom)))]
mod tests {
    use super::*;

    fn job(answer: &Arc<Answer<Option<io::ErrorKind>>>) -> Box<Job> {
        let answer = answer.clone();
        let run = move |refused: Option<io::Error>| answer.give(refused.map(|error| error.kind()));
        Box::new(Job {
            run: Box::new(run),
            next: None,
        })
    }

    /// Somebody else's job relies on a helper that is about to be started, and then refused.
    #[test]
    fn jobs_are_refused_with_the_helper_that_they_rely_on() {
        static HELPERS: Helpers = Helpers::new(1);
        let pool = HELPERS.pool();
        pool.state.lock().helpers = 1;
        let answers = [(); 2].map(|()| Arc::new(Answer::new()));
        for answer in &answers {
            pool.submit(job(answer), 1);
        }
        pool.refused(&io::ErrorKind::WouldBlock.into());
        for answer in &answers {
            let refused = answer.wait(None).unwrap();
            assert_eq!(refused, Some(io::ErrorKind::WouldBlock));
        }
        // The next one starts a helper.
        let answer = Arc::new(Answer::new());
        pool.submit(job(&answer), 1);
        assert_eq!(answer.wait(None).unwrap(), None);
    }
}
