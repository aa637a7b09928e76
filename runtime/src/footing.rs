//! What a user thread stands on: a stack, or a whole donor.

use lisle_lwp::donor::Donor;
use lisle_lwp::stack::Stack;

/// See the module documentation.
#[derive(Debug)]
pub(crate) enum Footing {
    /// A light thread's.
    Stack(Stack),
    /// A full thread's: a stack with a thread pointer.
    Donor(Donor),
}

impl Footing {
    /// Where the first frame goes; 64-aligned.
    #[inline]
    pub(crate) fn top(&self) -> *mut u8 {
        match self {
            Footing::Stack(stack) => stack.top(),
            Footing::Donor(donor) => donor.top(),
        }
    }

    /// Usable bytes below [`Footing::top`].
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match self {
            Footing::Stack(stack) => stack.size(),
            Footing::Donor(donor) => donor.size(),
        }
    }

    /// Nothing is left to do at a donor's end.
    pub(crate) fn clear_finale(&mut self) {
        if let Footing::Donor(donor) = self {
            donor.set_finale(None);
        }
    }

    pub(crate) fn stack(&self) -> &Stack {
        match self {
            Footing::Stack(stack) => stack,
            Footing::Donor(donor) => donor.stack(),
        }
    }
}
