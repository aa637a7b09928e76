//! Keeping a parked or suspended thread from running while its stack is read: see the
//! [module above](super).

use core::ops::Range;

use lisle_lwp::arch::{self, Registers};

use crate::footing::Footing;
use crate::hold::{HELD, PINNED};
use crate::sched::{Steady, let_go};
use crate::tcb::Tcb;

/// A parked or suspended user thread that does not go on before this is dropped. The caller has
/// a reference to it.
#[derive(Debug)]
pub(super) struct Pinned {
    thread: &'static Tcb,
    /// Others may wait for the thread: so nobody takes us off our kernel thread.
    _steady: Steady,
}

/// Why a thread is not pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loose {
    /// It could run.
    CouldRun,
    /// Somebody else has pinned it.
    Taken,
}

impl Pinned {
    /// Pins the thread.
    pub(super) fn new(thread: &'static Tcb) -> Result<Pinned, Loose> {
        let steady = Steady::new();
        if !thread.is_user() {
            return Err(Loose::CouldRun);
        }
        let before = thread.ask_to_hold(PINNED);
        if before & PINNED != 0 {
            return Err(Loose::Taken);
        }
        let pinned = Pinned {
            thread,
            _steady: steady,
        };
        // One that is held already, because it is suspended, stays so.
        match before & HELD != 0 || thread.wait.is_parked() {
            true => Ok(pinned),
            false => Err(Loose::CouldRun),
        }
    }

    /// Where it will go on; nowhere if it has not begun.
    pub(super) fn registers(&self) -> Option<Registers> {
        // SAFETY: `is_parked`, or `ask_to_hold`, has seen its saved context, which stays
        // while the thread is pinned.
        unsafe {
            let context = self.thread.context.with(|context| *context);
            (!context.is_empty()).then(|| arch::registers(context))
        }
    }

    /// The addresses of its stack in which frames can lie.
    pub(super) fn stack(&self) -> Range<usize> {
        self.thread.footing.with(|footing| {
            // SAFETY: what it stands on stays with a thread that has not ended.
            let footing = unsafe { (*footing).as_ref() };
            footing
                .and_then(Footing::stack)
                .map_or(0..0, |stack| stack.limit() as usize..stack.end() as usize)
        })
    }

    /// The word at this address of its stack.
    pub(super) fn read(&self, stack: &Range<usize>, address: u64) -> Option<u64> {
        let address = usize::try_from(address).ok()?;
        let last = stack.end.checked_sub(size_of::<u64>())?;
        if !address.is_multiple_of(align_of::<u64>()) || !(stack.start..=last).contains(&address) {
            return None;
        }
        // Volatile, because one thing may be written meanwhile: who ends the wait puts a message
        // into the place that the thread has for it. Whatever is read there, it is one word, which
        // frames do not rest on.
        // SAFETY: memory of a stack whose thread cannot run now.
        Some(unsafe { (address as *const u64).read_volatile() })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let_go(self.thread, PINNED);
    }
}
