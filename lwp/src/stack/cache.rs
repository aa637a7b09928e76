//! An LWP's own stock of warm stacks, in front of the pool.

use std::io;

use super::link::Chain;
use super::{CLASSES, Stack, StackPool, StackSize};

/// At most this many stacks of a class are kept …
const CAPACITY: usize = 64;
/// … and fewer if they are large, down to none that is given: what one cache keeps is missing elsewhere
/// where address space is scarce.
const MOST_BYTES: usize = 16 << 20;

/// How many stacks of the class make the cache give some away.
const fn capacity(class: StackSize) -> usize {
    let fit = MOST_BYTES / class.bytes();
    match fit {
        0 => 1,
        CAPACITY.. => CAPACITY,
        _ => fit,
    }
}
/// An empty cache takes this many warm stacks from the pool at once.
const REFILL: usize = 8;

/// A stock of warm stacks with one owner: a few nanoseconds to take or give one, no atomics.
///
/// A full cache moves its older half to the pool, an empty one fetches a few from it; either is one
/// lock acquisition. Dropping it flushes it.
#[derive(Debug)]
pub struct StackCache {
    pool: &'static StackPool,
    classes: [Chain; CLASSES],
}

// SAFETY: the nodes behind the pointers belong to the cache alone.
unsafe impl Send for StackCache {}

impl StackCache {
    /// An empty cache of the process's pool.
    pub fn new() -> StackCache {
        StackCache::of(StackPool::global())
    }

    /// An empty cache of `pool`.
    pub const fn of(pool: &'static StackPool) -> StackCache {
        StackCache {
            pool,
            classes: [const { Chain::EMPTY }; CLASSES],
        }
    }

    /// Takes the stack given last, or one from the pool.
    ///
    /// # Errors
    /// As for [`StackPool::take`].
    #[inline]
    pub fn take(&mut self, class: StackSize) -> io::Result<Stack> {
        match self.classes[class.index()].pop(class) {
            Some(stack) => Ok(stack),
            None => self.take_from_pool(class),
        }
    }

    #[cold]
    fn take_from_pool(&mut self, class: StackSize) -> io::Result<Stack> {
        let class = class.fitting();
        let chain = &mut self.classes[class.index()];
        if chain.len() == 0 {
            *chain = self.pool.take_warm(class, REFILL.min(capacity(class)));
        }
        match chain.pop(class) {
            Some(stack) => Ok(stack),
            None => self.pool.take(class),
        }
    }

    /// Takes the stack given last if there is one: never maps, never locks.
    #[inline]
    pub fn take_cached(&mut self, class: StackSize) -> Option<Stack> {
        self.classes[class.index()].pop(class)
    }

    /// Keeps a stack for the next `take`. It must come from this cache's pool. Never allocates,
    /// never maps, touches no thread-local.
    #[inline]
    pub fn give(&mut self, stack: Stack) {
        stack.abandon();
        let class = stack.class();
        let chain = &mut self.classes[class.index()];
        chain.push(stack);
        if chain.len() >= capacity(class) {
            self.spill(class);
        }
    }

    #[cold]
    fn spill(&mut self, class: StackSize) {
        let older = self.classes[class.index()].split_off(capacity(class) / 2);
        self.pool.give_chain(class, older);
    }

    /// How many stacks it holds.
    pub fn len(&self) -> usize {
        self.classes.iter().map(Chain::len).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives everything to the pool.
    pub fn flush(&mut self) {
        for (index, chain) in self.classes.iter_mut().enumerate() {
            if chain.len() > 0 {
                let class = StackSize(index as u8);
                self.pool.give_chain(class, core::mem::take(chain));
            }
        }
    }
}

impl Default for StackCache {
    fn default() -> Self {
        StackCache::new()
    }
}

impl Drop for StackCache {
    fn drop(&mut self) {
        self.flush();
    }
}
