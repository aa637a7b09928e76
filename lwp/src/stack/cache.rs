//! An LWP's own stock of warm stacks, in front of the pool.

use super::link::Chain;
use super::{CLASSES, Stack, StackPool, StackSize};

/// At most this many stacks of a class are kept, and promises …
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

/// A stock of warm stacks and of promises with one owner: a few nanoseconds to take or give one, no atomics.
///
/// A full cache moves its older half to the pool, one without promises gets some from it; either is one
/// lock acquisition. Dropping it flushes it.
#[derive(Debug)]
pub struct StackCache {
    pool: &'static StackPool,
    classes: [Chain; CLASSES],
    /// Promises of the pool that nobody has needed yet.
    promises: [usize; CLASSES],
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
            promises: [0; CLASSES],
        }
    }

    /// Promises a stack for [`StackCache::take_promised`], of this cache or another one of the same pool. `false` if the
    /// pool has none at hand: then [`StackPool::promise`] makes one. Makes no system call.
    #[inline]
    pub fn promise(&mut self, class: StackSize) -> bool {
        if self.promises[class.index()] == 0 && !self.has_more_promised(class) {
            return false;
        }
        self.promises[class.index()] -= 1;
        true
    }

    #[cold]
    fn has_more_promised(&mut self, class: StackSize) -> bool {
        let most = capacity(class).div_ceil(2);
        let promised = self.pool.promise_spare(class, most);
        self.promises[class.index()] = promised;
        promised > 0
    }

    /// As [`StackCache::promise`], when the pool has failed to make a stack: with those that are kept here.
    #[cold]
    pub fn promise_own(&mut self, class: StackSize) -> bool {
        let kept = core::mem::take(&mut self.classes[class.index()]);
        self.pool.give_chain(class, kept);
        self.promise(class)
    }

    /// Keeps a promise of this cache or of its pool: with the stack given last, if it has one. Makes no system call.
    #[inline]
    pub fn take_promised(&mut self, class: StackSize) -> Stack {
        match self.take_own_promised(class) {
            Some(stack) => stack,
            None => self.pool.take_promised(class),
        }
    }

    /// As [`StackCache::take_promised`], if it has a stack itself.
    #[inline]
    pub fn take_own_promised(&mut self, class: StackSize) -> Option<Stack> {
        let stack = self.classes[class.index()].pop(class)?;
        self.forget_promise(class);
        Some(stack)
    }

    /// Takes back a promise that was not needed.
    #[inline]
    pub fn forget_promise(&mut self, class: StackSize) {
        let promises = &mut self.promises[class.index()];
        *promises += 1;
        if *promises > capacity(class) {
            let excess = *promises - capacity(class) / 2;
            *promises -= excess;
            self.pool.forget_promises(class, excess);
        }
    }

    /// Keeps a stack for the next one who comes. It must come from this cache's pool. Never allocates,
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

    /// Gives everything to the pool, promises too.
    pub fn flush(&mut self) {
        for (index, chain) in self.classes.iter_mut().enumerate() {
            if chain.len() > 0 {
                let class = StackSize(index as u8);
                self.pool.give_chain(class, core::mem::take(chain));
            }
        }
        for (index, promises) in self.promises.iter_mut().enumerate() {
            if *promises > 0 {
                let class = StackSize(index as u8);
                self.pool.forget_promises(class, core::mem::take(promises));
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
