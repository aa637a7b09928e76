//! Lists of warm stacks, linked through the stacks' own top bytes.
//!
//! Whoever holds a list owns the stacks in it, nodes included. The node lies right below
//! [`Stack::top`]: that line was used last by the thread that left, and is used first by the next
//! one.

use core::ptr::NonNull;

use super::slab::Slab;
use super::{Stack, StackSize};
use crate::arch;

/// What a warm stack holds while it is free. `next` leads to the older one, `prev` to the younger.
#[derive(Debug)]
#[repr(C, align(32))]
struct Node {
    next: Option<NonNull<Node>>,
    /// Kept by [`Warm`] only, for all but the youngest.
    prev: Option<NonNull<Node>>,
    base: NonNull<u8>,
    slab: NonNull<Slab>,
}

fn write_node(stack: &Stack, next: Option<NonNull<Node>>) -> NonNull<Node> {
    let node = stack.top().cast::<Node>().wrapping_sub(1);
    // SAFETY: the caller gives the stack up; its topmost bytes are writable, aligned (`top` is
    // 64-aligned) and unused.
    unsafe {
        node.write(Node {
            next,
            prev: None,
            base: stack.base,
            slab: stack.slab,
        });
        NonNull::new_unchecked(node)
    }
}

/// A last-in-first-out list of one owner.
#[derive(Debug, Default)]
pub(super) struct Chain {
    head: Option<NonNull<Node>>,
    len: usize,
}

impl Chain {
    pub(super) const EMPTY: Chain = Chain { head: None, len: 0 };

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn push(&mut self, stack: Stack) {
        self.head = Some(write_node(&stack, self.head));
        self.len += 1;
    }

    /// The youngest. `class` is that of all stacks in the list.
    #[inline]
    pub(super) fn pop(&mut self, class: StackSize) -> Option<Stack> {
        let node = self.head?;
        // SAFETY: nodes in our list are initialised and ours.
        let Node {
            next, base, slab, ..
        } = unsafe { node.read() };
        self.head = next;
        self.len -= 1;
        Some(Stack { base, slab, class })
    }

    /// Keeps the `keep` youngest and returns the others.
    pub(super) fn split_off(&mut self, keep: usize) -> Chain {
        if keep >= self.len {
            return Chain::EMPTY;
        }
        let rest = self.len - keep;
        let mut link = &mut self.head;
        for _ in 0..keep {
            let Some(node) = link else { break };
            // SAFETY: nodes in our list are initialised and ours.
            link = unsafe { &mut node.as_mut().next };
        }
        let head = link.take();
        self.len = keep;
        Chain { head, len: rest }
    }
}

/// A chain made ready to be spliced into a [`Warm`] list in a few instructions.
#[derive(Debug)]
pub(super) struct Spliceable {
    head: NonNull<Node>,
    tail: NonNull<Node>,
    len: usize,
}

impl Chain {
    /// Walks the chain once, so that nobody has to under a lock.
    pub(super) fn into_spliceable(self) -> Option<Spliceable> {
        let head = self.head?;
        let mut tail = head;
        // SAFETY: nodes in our list are initialised and ours.
        unsafe {
            tail.as_mut().prev = None;
            while let Some(mut next) = tail.as_ref().next {
                next.as_mut().prev = Some(tail);
                tail = next;
            }
        }
        Some(Spliceable {
            head,
            tail,
            len: self.len,
        })
    }
}

/// A list with both ends: youngest first out to users, oldest first out to `trim`.
#[derive(Debug)]
pub(super) struct Warm {
    youngest: Option<NonNull<Node>>,
    oldest: Option<NonNull<Node>>,
    len: usize,
    /// The smallest `len` since the last [`look`](Warm::look).
    low: usize,
    /// How many of the oldest nobody had needed then, nor has since.
    idle: usize,
}

impl Warm {
    pub(super) const EMPTY: Warm = Warm {
        youngest: None,
        oldest: None,
        len: 0,
        low: 0,
        idle: 0,
    };

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// From now on those are idle that nobody has needed since the last look.
    pub(super) fn look(&mut self) {
        self.idle = core::mem::replace(&mut self.low, self.len);
    }

    /// How many are idle, but at most so many; the caller takes them out.
    pub(super) fn take_idle(&mut self, most: usize) -> usize {
        let taken = self.idle.min(most);
        self.idle -= taken;
        taken
    }

    /// None is idle.
    pub(super) fn forget_idle(&mut self) {
        self.idle = 0;
    }

    pub(super) fn has_idle(&self) -> bool {
        self.idle > 0
    }

    /// Adds the chain at the young end.
    pub(super) fn splice(&mut self, mut chain: Spliceable) {
        // SAFETY: nodes of both lists are initialised and ours.
        unsafe {
            chain.tail.as_mut().next = self.youngest;
            match self.youngest {
                Some(mut young) => young.as_mut().prev = Some(chain.tail),
                None => self.oldest = Some(chain.tail),
            }
        }
        self.youngest = Some(chain.head);
        self.len += chain.len;
    }

    /// Adds one at the young end.
    pub(super) fn push(&mut self, stack: Stack) {
        let node = write_node(&stack, None);
        self.splice(Spliceable {
            head: node,
            tail: node,
            len: 1,
        });
    }

    /// Takes the youngest.
    pub(super) fn pop(&mut self, class: StackSize) -> Option<Stack> {
        let node = self.youngest?;
        // SAFETY: nodes in our list are initialised and ours.
        let Node {
            next, base, slab, ..
        } = unsafe { node.read() };
        self.youngest = next;
        match next {
            // Not touched, because nothing of it may be in the cache, but it is often taken next.
            Some(next) => arch::prefetch(next.as_ptr() as usize),
            None => self.oldest = None,
        }
        self.shrink();
        Some(Stack { base, slab, class })
    }

    /// Takes the oldest.
    pub(super) fn pop_oldest(&mut self, class: StackSize) -> Option<Stack> {
        let node = self.oldest?;
        // SAFETY: nodes in our list are initialised and ours.
        let Node {
            prev, base, slab, ..
        } = unsafe { node.read() };
        match prev {
            Some(mut prev) if self.youngest != Some(node) => {
                self.oldest = Some(prev);
                // SAFETY: as above.
                unsafe { prev.as_mut().next = None }
            }
            _ => (self.oldest, self.youngest) = (None, None),
        }
        self.shrink();
        Some(Stack { base, slab, class })
    }

    fn shrink(&mut self) {
        self.len -= 1;
        self.low = self.low.min(self.len);
        self.idle = self.idle.min(self.len);
    }
}
