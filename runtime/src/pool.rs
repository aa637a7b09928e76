//! The pool of control blocks.
//!
//! Blocks are made in chunks that live for ever and are reused last in, first
//! out; each LWP keeps a few at hand so that spawning takes no lock. The chunks
//! are also the registry: walking them visits every thread there is, without
//! spawn and exit having to keep a list. The blocks of the first [`CHUNKS`] chunks,
//! four million, have numbers, by which they can be named in few bits.
//!
//! *Entry rule*: giving a block back links it into a list and frees nothing. Its
//! name stays in it until the block is used again.

use core::ptr;

use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicPtr, AtomicU64, Ordering};

use crate::debug::layout;
use crate::tcb::Tcb;

/// Blocks in a chunk.
pub(crate) const CHUNK: usize = 64;
/// Blocks an LWP keeps at hand before it gives half of them back.
const CACHED: usize = 256;

/// An intrusive list of free blocks.
#[derive(Debug)]
pub(crate) struct FreeBlocks {
    head: *const Tcb,
    len: usize,
}

// SAFETY: the list owns the free blocks it links, and blocks are `Send`.
unsafe impl Send for FreeBlocks {}

impl FreeBlocks {
    pub(crate) const fn new() -> Self {
        FreeBlocks {
            head: ptr::null(),
            len: 0,
        }
    }

    fn push(&mut self, block: &'static Tcb) {
        block.link.store(self.head.cast_mut(), Ordering::Relaxed);
        self.head = block;
        self.len += 1;
    }

    fn pop(&mut self) -> Option<&'static Tcb> {
        // SAFETY: blocks live for ever, and the list owns those it links.
        let block = unsafe { self.head.as_ref() }?;
        self.head = block.link.load(Ordering::Relaxed);
        self.len -= 1;
        Some(block)
    }

    /// A free block, if there is one at hand. Allocates nothing.
    #[inline]
    pub(crate) fn take_cached(&mut self) -> Option<&'static Tcb> {
        self.pop()
    }

    /// Keeps a free block, or gives half of them back. Allocates nothing.
    pub(crate) fn give(&mut self, block: &'static Tcb) {
        self.push(block);
        if self.len > CACHED {
            self.flush(CACHED / 2);
        }
    }

    /// Gives all but `keep` blocks to the shared pool.
    pub(crate) fn flush(&mut self, keep: usize) {
        let mut pool = POOL.lock();
        while self.len > keep {
            let Some(block) = self.pop() else { break };
            pool.free.push(block);
        }
    }
}

#[derive(Debug)]
struct Pool {
    free: FreeBlocks,
    chunks: Vec<&'static [Tcb]>,
}

/// How many bits the number of a block has.
pub(crate) const NUMBER_BITS: u32 = 22;
/// How many chunks have numbered blocks, and one: the first would have the number 0, which
/// says that there is none.
const CHUNKS: usize = (1 << NUMBER_BITS) / CHUNK;

/// The chunks with numbered blocks.
static NUMBERED: [AtomicPtr<Tcb>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];

/// The block of this number.
#[inline(always)]
pub(crate) fn block(number: u32) -> Option<&'static Tcb> {
    let number = number as usize;
    // Relaxed: who knows the number knows of the block.
    let chunk = NUMBERED[number / CHUNK % CHUNKS].load(Ordering::Relaxed);
    if chunk.is_null() {
        return None;
    }
    // SAFETY: a chunk has so many blocks, and they live for ever.
    Some(unsafe { &*chunk.add(number % CHUNK) })
}

/// Numbers the blocks of the chunk that is registered now, after so many others.
fn number(chunk: &'static [Tcb], others: usize) {
    let Some(slot) = NUMBERED.get(others + 1) else {
        return;
    };
    for (number, block) in ((others + 1) * CHUNK..).zip(chunk) {
        #[allow(clippy::cast_possible_truncation)] // so many bits it has
        block.number.store(number as u32, Ordering::Relaxed);
    }
    // Relaxed: as in `block`.
    slot.store(chunk.as_ptr().cast_mut(), Ordering::Relaxed);
}

static POOL: RawLock<Pool> = RawLock::new(Pool {
    free: FreeBlocks::new(),
    chunks: Vec::new(),
});

fn grow(into: &mut FreeBlocks) -> Option<&'static Tcb> {
    let mut chunk: Vec<Tcb> = Vec::new();
    chunk.try_reserve_exact(CHUNK).ok()?;
    chunk.extend((0..CHUNK).map(|_| Tcb::blank()));
    let chunk: &'static [Tcb] = chunk.leak();
    register(chunk);
    for block in chunk {
        into.push(block);
    }
    into.pop()
}

/// Adds a chunk to the registry. The list of chunks grows outside the lock,
/// which may be wanted where nothing may allocate.
fn register(chunk: &'static [Tcb]) {
    let mut spare: Vec<&'static [Tcb]> = Vec::new();
    loop {
        let mut pool = POOL.lock();
        if pool.chunks.len() < pool.chunks.capacity() {
            number(chunk, pool.chunks.len());
            pool.chunks.push(chunk);
            layout::publish(&pool.chunks);
            return;
        }
        if spare.capacity() > pool.chunks.len() {
            number(chunk, pool.chunks.len());
            spare.append(&mut pool.chunks);
            spare.push(chunk);
            // The old vector is empty; it is freed after the lock.
            core::mem::swap(&mut pool.chunks, &mut spare);
            layout::publish(&pool.chunks);
            drop(pool);
            return;
        }
        let wanted = (pool.chunks.len() + 1) * 2;
        drop(pool);
        spare.reserve(wanted);
    }
}

/// How many numbers an LWP takes at a time.
pub(crate) const IDS: u64 = 1024;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no other thread has or had.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// The first of [`IDS`] such numbers.
pub(crate) fn next_ids() -> u64 {
    NEXT_ID.fetch_add(IDS, Ordering::Relaxed)
}

/// Drops one reference; the last one gives the block to `cache`, or to the
/// shared pool. Allocates and frees nothing.
pub(crate) fn release(block: &'static Tcb, cache: Option<&mut FreeBlocks>) {
    if block.release() {
        match cache {
            Some(cache) => cache.give(block),
            None => POOL.lock().free.push(block),
        }
    }
}

/// Gives a block back that was taken but not published.
pub(crate) fn give_back(block: &'static Tcb) {
    POOL.lock().free.push(block);
}

/// Visits every block that has references, holding one meanwhile.
pub(crate) fn visit(mut see: impl FnMut(&'static Tcb)) {
    let _steady = crate::sched::Steady::new();
    let chunks = {
        let mut copy = Vec::new();
        loop {
            let pool = POOL.lock();
            if copy.capacity() >= pool.chunks.len() {
                copy.extend_from_slice(&pool.chunks);
                break copy;
            }
            let wanted = pool.chunks.len();
            drop(pool);
            copy.reserve(wanted);
        }
    };
    for block in chunks.into_iter().flatten() {
        if block.try_retain() {
            see(block);
            release(block, None);
        }
    }
}

/// A free block for a caller that has no cache. `None` if there is no memory.
pub(crate) fn take_shared() -> Option<&'static Tcb> {
    let mut pool = POOL.lock();
    let (block, next) = (pool.free.pop(), pool.free.head);
    drop(pool);
    if block.is_some() {
        // Who takes one from here often takes the next one, too.
        fetch(next);
        return block;
    }
    let mut fresh = FreeBlocks::new();
    let block = grow(&mut fresh);
    fresh.flush(0);
    block
}

/// Has the block fetched that will be taken next.
fn fetch(block: *const Tcb) {
    #[cfg(not(lisle_loom))]
    // SAFETY: null or a block, and those live for ever.
    if let Some(block) = unsafe { block.as_ref() } {
        block.fetch(0..Tcb::LINES);
    }
    #[cfg(lisle_loom)]
    let _ = block;
}

/// Takes the pool's lock over a fork.
pub(crate) fn lock_for_fork() {
    POOL.lock_raw();
}

/// Releases what [`lock_for_fork`] took.
///
/// # Safety
/// The calling thread called `lock_for_fork`, or is its copy in the child.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: passed on.
    unsafe { POOL.unlock_raw() };
}
