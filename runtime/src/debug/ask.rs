//! Asking a thread that runs for its stack: its kernel thread gets a signal, and the
//! handler copies what lies above the interrupted stack pointer.
//!
//! The handler copies words and nothing else: it neither unwinds, nor names, nor
//! allocates, nor takes a lock. Whoever asked unwinds the copy as it does the stack of
//! a parked thread. A thread that does not answer in time is done without
//! ([`Desk`]): it blocks the signal, or its kernel thread gets no processor.
//!
//! The signal is that of preemption, and its handler is the same one
//! ([`preempt`](crate::sched::preempt)). *It is not sent* to a thread that waits in
//! a call which would then return `EINTR`; a thread that waits in lisle bears it.
//!
//! *Rejected*: unwinding in the handler (it takes a lock of the loader's, or tables that
//! were made ready before); walking frame pointers there (std comes without them).

use core::mem::MaybeUninit;
use core::ptr;
use core::time::Duration;

use lisle_lwp::frame::{Frame, Interrupted};
use lisle_lwp::shim::Ordering;
use lisle_lwp::sys;

use crate::desk::{Asker, Desk};
use crate::footing::Footing;
use crate::sched::{preempt, running};
use crate::tcb::{Kind, Tcb};

/// How much is copied, in words: deeper calls are cut off.
const MOST: usize = (64 << 10) / size_of::<usize>();

/// How long one thread is waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long all threads of a dump together are waited for in vain.
const ALL_PATIENCE: Duration = Duration::from_secs(2);

/// The end of a stack, as it was when the thread was interrupted.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) registers: Interrupted,
    words: Vec<usize>,
}

impl Copied {
    /// The word at this address.
    pub(super) fn read(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address)
            .ok()?
            .checked_sub(self.registers.sp)?;
        let aligned = offset.is_multiple_of(size_of::<usize>());
        let word = self.words.get(offset / size_of::<usize>())?;
        aligned.then_some(*word as u64)
    }
}

struct Question {
    whom: Option<&'static Tcb>,
    /// Has room; the answer.
    words: Vec<usize>,
    registers: Option<Interrupted>,
}

static DESK: Desk<Question> = Desk::new(Question {
    whom: None,
    words: Vec::new(),
    registers: None,
});

/// Why there is no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The thread does not run there any more.
    Moved,
    /// For this reason.
    Because(&'static str),
}

/// Whoever makes a dump, and how long it will wait.
#[derive(Debug)]
pub(super) struct Asking {
    patience: Duration,
}

impl Asking {
    pub(super) fn new() -> Asking {
        Asking {
            patience: ALL_PATIENCE,
        }
    }

    /// Asks a thread, which the caller has a reference to and is not itself. The caller
    /// runs on a kernel thread of its own.
    pub(super) fn ask(
        &mut self,
        whom: &'static Tcb,
        signal: Option<i32>,
    ) -> Result<Copied, Silence> {
        let signal = signal.ok_or(Silence::Because("its runtime sends no signals"))?;
        let tid = kernel_thread_of(whom).ok_or(Silence::Moved)?;
        bears_a_signal(whom, tid)?;
        if preempt::install(signal).is_err() {
            return Err(Silence::Because("the signal cannot be handled"));
        }
        let mut asker = self.take_the_desk()?;
        asker.with(|question| {
            question.whom = Some(whom);
            question.words.clear();
            question.words.reserve_exact(MOST);
            question.registers = None;
        });
        let patience = PATIENCE.min(self.patience);
        let mut was_sent = false;
        let answered = asker.ask(tid, patience, || {
            was_sent = sys::tgkill(tid as i32, signal).is_ok();
            was_sent
        });
        match (answered, was_sent) {
            (true, _) => asker.with(|question| {
                let registers = question.registers.ok_or(Silence::Moved)?;
                let words = core::mem::take(&mut question.words);
                Ok(Copied { registers, words })
            }),
            (false, true) => {
                self.patience -= patience;
                Err(Silence::Because("it runs, and does not answer a signal"))
            }
            // Its kernel thread is gone.
            (false, false) => Err(Silence::Moved),
        }
    }

    /// Another dump may be asking, one thread after the other.
    fn take_the_desk(&mut self) -> Result<Asker<'static, Question>, Silence> {
        const LITTLE: Duration = Duration::from_millis(1);
        loop {
            if let Some(asker) = DESK.take() {
                return Ok(asker);
            }
            if self.patience.is_zero() {
                return Err(Silence::Because("another dump is being made"));
            }
            crate::runtime::nap(LITTLE);
            self.patience = self.patience.saturating_sub(LITTLE);
        }
    }
}

/// Whether the thread, on that kernel thread, would not notice the signal.
fn bears_a_signal(whom: &Tcb, tid: u32) -> Result<(), Silence> {
    // What waits in lisle looks again.
    let waits_here = !whom.is_user() && whom.wait.is_waiting();
    match waits_here || sys::bears_a_signal(tid).map_err(|_| CANNOT_LOOK)? {
        true => Ok(()),
        false => Err(Silence::Because(
            "it waits in a call that a signal would end",
        )),
    }
}

const CANNOT_LOOK: Silence = Silence::Because("its kernel thread cannot be looked at");

/// The kernel's id of the kernel thread on which it runs.
fn kernel_thread_of(thread: &Tcb) -> Option<u32> {
    let carrier = match thread.is_user() {
        // SAFETY: null or a control block, and those live for ever.
        true => unsafe { thread.carrier.load(Ordering::Relaxed).as_ref() }?,
        false => thread,
    };
    let tid = carrier.own.tid.load(Ordering::Relaxed);
    (tid != 0).then_some(tid)
}

/// Answers if this kernel thread is asked; called by the signal's handler. Returns whether
/// it was.
pub(crate) fn answer(frame: Frame) -> bool {
    DESK.answer(sys::gettid() as u32, |question| {
        let is_here = question
            .whom
            .zip(running())
            .is_some_and(|(whom, me)| ptr::eq(whom, me));
        if is_here && copy(frame, &mut question.words) {
            question.registers = Some(frame.registers());
        }
    })
}

/// Copies the stack of the running thread from where it was interrupted. Returns whether that
/// was possible.
fn copy(frame: Frame, into: &mut Vec<usize>) -> bool {
    let from = frame.registers().sp;
    let Some(me) = running().filter(|_| from.is_multiple_of(align_of::<usize>())) else {
        return false;
    };
    let room = into.spare_capacity_mut();
    let copied = match me.kind() {
        // Nobody knows where its stack ends, but the kernel.
        Kind::Kernel => sys::copy_own_memory(from, room),
        _ => copy_own_stack(me, from, room),
    };
    // SAFETY: so many have been written.
    unsafe { into.set_len(copied) };
    copied > 0
}

/// Copies the running user thread's stack from this address on, if that lies in it: not so
/// between two stacks, or on one of the program's own. Returns how many words.
fn copy_own_stack(me: &Tcb, from: usize, into: &mut [MaybeUninit<usize>]) -> usize {
    me.footing.with(|footing| {
        // SAFETY: nobody touches the footing of a thread that runs.
        let Some(stack) = (unsafe { (*footing).as_ref() }).and_then(Footing::stack) else {
            return 0;
        };
        let (limit, end) = (stack.limit() as usize, stack.end() as usize);
        if !(limit..end).contains(&from) {
            return 0;
        }
        let words = ((end - from) / size_of::<usize>()).min(into.len());
        // SAFETY: the part of the stack that is in use, as words that may hold anything; it was
        // interrupted on this kernel thread, so nobody writes it.
        unsafe { ptr::copy_nonoverlapping(from as *const _, into.as_mut_ptr(), words) };
        words
    })
}

/// In a forked child.
pub(crate) fn forget() {
    DESK.forget();
}
