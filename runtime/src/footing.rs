//! What a user thread stands on: a stack, or a whole donor.

use lisle_lwp::arch::Entry;
use lisle_lwp::donor::Donor;
use lisle_lwp::stack::{Stack, StackPool, StackSize};

use crate::donors;

/// See the module documentation.
// So that each part is read as it was written: a processor takes its time where a large read follows small writes.
#[repr(u64)]
#[derive(Debug)]
pub(crate) enum Footing {
    /// A light thread's that has not begun: the pool has promised a stack, on which this is its first function.
    Promise(StackSize, Entry),
    /// A light thread's.
    Stack(Stack),
    /// A full thread's: a stack with a thread pointer.
    Donor(Donor),
}

impl Footing {
    /// Nothing is left to do at a donor's end.
    pub(crate) fn clear_finale(&mut self) {
        if let Footing::Donor(donor) = self {
            donor.set_finale(None);
        }
    }

    /// Bytes that can be used.
    pub(crate) fn size(&self) -> usize {
        match self {
            Footing::Promise(class, _) => class.usable(),
            Footing::Stack(stack) => stack.size(),
            Footing::Donor(donor) => donor.size(),
        }
    }

    /// To the pools. Nobody stands on it.
    pub(crate) fn give_back(self) {
        match self {
            Footing::Promise(class, _) => StackPool::global().forget_promises(class, 1),
            Footing::Stack(stack) => StackPool::global().give(stack),
            Footing::Donor(donor) => donors::give(donor),
        }
    }

    /// The stack, if there is one yet.
    pub(crate) fn stack(&self) -> Option<&Stack> {
        match self {
            Footing::Promise(..) => None,
            Footing::Stack(stack) => Some(stack),
            Footing::Donor(donor) => Some(donor.stack()),
        }
    }
}
