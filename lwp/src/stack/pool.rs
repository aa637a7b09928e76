//! The shared pool of stacks.

use core::ptr::NonNull;
use std::io;

use super::guard::{self, Budget, Guard};
use super::link::{Chain, Warm};
use super::slab::{self, Slab, SlabState};
use super::{CLASSES, Stack, StackSize};
use crate::checkers;
use crate::lock::RawLock;
use crate::sys::{self, Advice};

/// How many stacks `trim` holds in its hands at a time.
const TRIM_BATCH: usize = 16;

/// The shared pool of stacks; see the [module](super).
///
/// All methods take `&self` and may be called from any kernel thread. Preemption must be off while
/// one runs: the locks inside are not known to the runtime.
///
/// ```
/// use lisle_lwp::stack::{StackPool, StackSize};
/// let pool = StackPool::global();
/// let stack = pool.take(StackSize::DEFAULT)?;
/// assert!(stack.size() > 250 << 10);
/// pool.give(stack);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct StackPool {
    classes: [Class; CLASSES],
    /// Forces guards by protection, counted here.
    own_budget: Option<Budget>,
}

#[derive(Debug)]
struct Class {
    state: RawLock<State>,
    /// Held by the one thread that maps a new slab. Taken before `state`, never after it.
    growing: RawLock<()>,
}

#[derive(Debug)]
struct State {
    warm: Warm,
    /// Slabs with cold stacks, and with bare ones: those are nearly always the newest.
    with_cold: Option<NonNull<Slab>>,
    with_bare: Option<NonNull<Slab>>,
    /// All slabs, newest first.
    slabs: Option<NonNull<Slab>>,
    /// Taken and not given back.
    live: usize,
    /// Cold stacks in slabs.
    cold: usize,
    /// Of the warm and cold ones, so many must be there when somebody comes for them.
    promised: usize,
}

// SAFETY: the slabs and nodes behind the pointers are touched only by the holder of the lock around
// the state.
unsafe impl Send for State {}

/// What a pool holds at the moment.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct StackCounters {
    /// Bytes of address space.
    pub reserved: usize,
    /// Stacks taken and not given back; those in a [`StackCache`](super::StackCache) count.
    pub live: usize,
    /// Free stacks with memory behind them.
    pub warm: usize,
    /// Free stacks without.
    pub cold: usize,
    /// Of the free ones, those that are [promised](StackPool::promise).
    pub promised: usize,
    /// Slabs.
    pub slabs: usize,
    /// Mappings the slabs and guards need at most; the kernel may merge neighbours.
    pub mappings: usize,
}

impl State {
    const EMPTY: State = State {
        warm: Warm::EMPTY,
        with_cold: None,
        with_bare: None,
        slabs: None,
        live: 0,
        cold: 0,
        promised: 0,
    };

    /// How many stacks with a guard are free and not promised.
    fn spare(&self) -> usize {
        self.warm.len() + self.cold - self.promised
    }

    /// A free stack with a guard, the one given back last.
    fn take(&mut self, class: StackSize) -> Option<Stack> {
        let stack = self.warm.pop(class).or_else(|| {
            let (base, slab) = self.pick(false)?;
            self.cold -= 1;
            Some(Stack { base, slab, class })
        })?;
        self.live += 1;
        Some(stack)
    }

    /// A free stack without memory: a bare one, or a cold one.
    fn pick(&mut self, bare: bool) -> Option<(NonNull<u8>, NonNull<Slab>)> {
        let slabs = self.with(bare);
        let slab = (*slabs)?;
        let picked = with_slab(slab, |slab, bits| {
            let picked = bits.pick(slab, bare);
            if bits.count(bare) == 0 {
                *slabs = bits.next(bare).take();
            }
            picked
        })?;
        Some((picked, slab))
    }

    /// The list of slabs with bare stacks, or with cold ones.
    fn with(&mut self, bare: bool) -> &mut Option<NonNull<Slab>> {
        match bare {
            true => &mut self.with_bare,
            false => &mut self.with_cold,
        }
    }

    /// As [`State::pick`], for one without a guard, which the caller makes.
    fn pick_bare(&mut self) -> Option<(NonNull<u8>, NonNull<Slab>)> {
        let picked = self.pick(true)?;
        self.live += 1;
        Some(picked)
    }

    /// Takes back a stack that has no memory, and nobody.
    fn put_back(&mut self, base: NonNull<u8>, slab: NonNull<Slab>, bare: bool) {
        self.cold += usize::from(!bare);
        let slabs = self.with(bare);
        with_slab(slab, |header, bits| {
            if bits.put_back(header, base, bare) {
                *bits.next(bare) = slabs.replace(slab);
            }
        });
    }

    fn add(&mut self, slab: NonNull<Slab>) {
        with_slab(slab, |_, bits| {
            bits.next_in_class = self.slabs.replace(slab);
            bits.next_with_bare = self.with_bare.replace(slab);
        });
    }

    /// Counts one more guard that was made by protection.
    fn note_protected(&mut self, slab: NonNull<Slab>) {
        with_slab(slab, |_, bits| bits.note_protected());
    }

    /// How many stacks the newest slab has; 0 if there is none.
    fn newest_count(&self) -> usize {
        self.slabs
            .map_or(0, |slab| with_slab(slab, |slab, _| slab.stacks()))
    }

    fn slabs(&self) -> impl Iterator<Item = NonNull<Slab>> {
        core::iter::successors(self.slabs, |&slab| {
            with_slab(slab, |_, bits| bits.next_in_class)
        })
    }
}

/// The slab's header and what changes in it. Only for the methods of `State`: having one means that
/// the lock is held.
fn with_slab<R>(slab: NonNull<Slab>, f: impl FnOnce(&Slab, &mut SlabState) -> R) -> R {
    // SAFETY: headers are never unmapped; the lock is held, and no caller nests these.
    unsafe { slab.as_ref().with_state(f) }
}

impl Class {
    const fn new() -> Class {
        Class {
            state: RawLock::new(State::EMPTY),
            growing: RawLock::new(()),
        }
    }
}

impl StackPool {
    /// An empty pool.
    pub const fn new() -> StackPool {
        StackPool {
            classes: [const { Class::new() }; CLASSES],
            own_budget: None,
        }
    }

    /// A pool that guards by `mprotect` even where guard regions work, at most `stacks` of them.
    /// For tests.
    #[doc(hidden)]
    pub const fn with_protected_guards(stacks: usize) -> StackPool {
        StackPool {
            classes: [const { Class::new() }; CLASSES],
            own_budget: Some(Budget::new(stacks)),
        }
    }

    /// The pool of the process.
    pub fn global() -> &'static StackPool {
        static GLOBAL: StackPool = StackPool::new();
        &GLOBAL
    }

    /// Takes a stack, preferring the one given back last. Its contents are arbitrary.
    ///
    /// # Errors
    /// The system's, if it has no memory or address space; or one holding a
    /// [`StackError`](super::StackError) if it has no mappings left for guards.
    pub fn take(&self, class: StackSize) -> io::Result<Stack> {
        let class = class.fitting();
        let mut state = self.classes[class.index()].state.lock();
        if state.spare() > 0
            && let Some(stack) = state.take(class)
        {
            return Ok(stack);
        }
        drop(state);
        self.make(class)
    }

    /// Promises a stack: [`StackPool::take_promised`] will find one. That takes address space and a guard, but no
    /// memory.
    ///
    /// # Errors
    /// As [`StackPool::take`].
    pub fn promise(&self, class: StackSize) -> io::Result<()> {
        let class = class.fitting();
        if self.promise_spare(class, 1) > 0 {
            return Ok(());
        }
        let stack = self.make(class)?;
        let mut state = self.classes[class.index()].state.lock();
        state.live -= 1;
        state.promised += 1;
        state.put_back(stack.base, stack.slab, false);
        Ok(())
    }

    /// Promises up to `most` stacks of those that are there; returns how many. Makes no system call.
    pub(super) fn promise_spare(&self, class: StackSize, most: usize) -> usize {
        let mut state = self.classes[class.fitting().index()].state.lock();
        let promised = state.spare().min(most);
        state.promised += promised;
        promised
    }

    /// Keeps a promise. Makes no system call.
    ///
    /// # Panics
    /// If none was made that has not been kept or taken back.
    pub fn take_promised(&self, class: StackSize) -> Stack {
        let class = class.fitting();
        let mut state = self.classes[class.index()].state.lock();
        assert!(state.promised > 0, "no stack was promised");
        state.promised -= 1;
        state
            .take(class)
            .expect("so many are there as are promised")
    }

    /// Takes back so many promises that are not needed.
    pub fn forget_promises(&self, class: StackSize, count: usize) {
        let mut state = self.classes[class.fitting().index()].state.lock();
        assert!(state.promised >= count, "so many were not promised");
        state.promised -= count;
    }

    /// A stack with a new guard.
    fn make(&self, class: StackSize) -> io::Result<Stack> {
        let picked = self.classes[class.index()].state.lock().pick_bare();
        let (base, slab) = match picked {
            Some(found) => found,
            None => self.grow(class)?,
        };
        self.finish(base, slab, class)
    }

    /// Maps a slab and picks a stack from it, or from what another thread did meanwhile.
    #[cold]
    fn grow(&self, class: StackSize) -> io::Result<(NonNull<u8>, NonNull<Slab>)> {
        let Class { state, growing } = &self.classes[class.index()];
        let _only_one = growing.lock();
        let last = {
            let mut state = state.lock();
            if let Some(found) = state.pick_bare() {
                return Ok(found);
            }
            state.newest_count()
        };
        let slab = Slab::map(class, slab::next_count(class, last))?;
        let mut state = state.lock();
        state.add(slab);
        Ok(state.pick_bare().expect("a new slab has free stacks"))
    }

    /// Makes the guard of a stack that has none.
    fn finish(
        &self,
        base: NonNull<u8>,
        slab: NonNull<Slab>,
        class: StackSize,
    ) -> io::Result<Stack> {
        let state = &self.classes[class.index()].state;
        // SAFETY: the stack was picked, so it is ours, guard page included.
        match unsafe { guard::install(base.as_ptr(), self.own_budget.as_ref()) } {
            Ok(Guard::Region) => {}
            Ok(Guard::Protected) => state.lock().note_protected(slab),
            Err(error) => {
                let mut state = state.lock();
                state.live -= 1;
                state.put_back(base, slab, true);
                return Err(error);
            }
        }
        let stack = Stack { base, slab, class };
        checkers::made(stack.limit(), stack.end());
        Ok(stack)
    }

    /// Takes a stack back, contents and all. Never allocates, never maps, touches no thread-local.
    pub fn give(&self, stack: Stack) {
        stack.abandon();
        let mut state = self.classes[stack.class.index()].state.lock();
        state.live -= 1;
        state.warm.push(stack);
    }

    /// Takes many stacks of one class back in one go.
    pub(super) fn give_chain(&self, class: StackSize, chain: Chain) {
        let count = chain.len();
        let Some(chain) = chain.into_spliceable() else {
            return;
        };
        let mut state = self.classes[class.index()].state.lock();
        state.live -= count;
        state.warm.splice(chain);
    }

    /// Gives memory back to the kernel until each class holds at most `keep` warm stacks; the
    /// longest unused go first. Returns how many stacks became cold. Makes a system call for each:
    /// never call it from inside the runtime.
    pub fn trim(&self, keep: usize) -> usize {
        self.trim_classes(|warm, _| warm.len().saturating_sub(keep))
    }

    /// Those stacks are idle from now on that nobody has needed since the last look.
    pub fn look_for_idle(&self) {
        for class in &self.classes {
            class.state.lock().warm.look();
        }
    }

    /// Gives the memory of idle stacks back, as of the last
    /// [look](StackPool::look_for_idle), but of at most so many: it takes some microseconds for
    /// each. Returns how many they were. As for [`trim`](StackPool::trim): not from inside the runtime.
    pub fn trim_idle(&self, most: usize) -> usize {
        self.trim_classes(|warm, trimmed| warm.take_idle(most - trimmed))
    }

    /// Whether there are more for [`trim_idle`](StackPool::trim_idle).
    pub fn has_idle(&self) -> bool {
        let idle = |class: &Class| class.state.lock().warm.has_idle();
        self.classes.iter().any(idle)
    }

    /// `excess`: how many of a class, when so many of others are done.
    fn trim_classes(&self, excess: impl Fn(&mut Warm, usize) -> usize) -> usize {
        let mut trimmed = 0;
        for index in 0..CLASSES {
            let class = StackSize(index as u8);
            let state = &self.classes[index].state;
            let mut left = excess(&mut state.lock().warm, trimmed);
            while left > 0 {
                let batch = left.min(TRIM_BATCH);
                let (taken, cooled) = self.trim_batch(class, batch);
                trimmed += cooled;
                if cooled < taken {
                    // The kernel does not want them: not to be tried again at once.
                    state.lock().warm.forget_idle();
                }
                if cooled < taken || taken < batch {
                    break;
                }
                left -= taken;
            }
        }
        trimmed
    }

    /// Cools the `count` oldest warm stacks; returns how many it found and how many it cooled.
    fn trim_batch(&self, class: StackSize, count: usize) -> (usize, usize) {
        let state = &self.classes[class.index()].state;
        let mut batch: [Option<Stack>; TRIM_BATCH] = [const { None }; TRIM_BATCH];
        let mut taken = 0;
        {
            let mut state = state.lock();
            // What is on its way is not there for those to whom it is promised: so those keep what is warm.
            let count = count.min(state.spare());
            while taken < count
                && let Some(stack) = state.warm.pop_oldest(class)
            {
                batch[taken] = Some(stack);
                taken += 1;
            }
        }
        let cooled = batch.each_ref().map(|stack| {
            stack.as_ref().is_some_and(|stack| {
                let (limit, end) = (stack.limit(), stack.end());
                let len = end as usize - limit as usize;
                // SAFETY: the stack is in our hands, and nobody needs the contents of a free one.
                unsafe { sys::madvise(limit, len, Advice::DontNeed) }.is_ok()
            })
        });
        let mut state = state.lock();
        for (stack, &cooled) in batch.into_iter().flatten().zip(&cooled) {
            if cooled {
                state.put_back(stack.base, stack.slab, false);
            } else {
                state.warm.push(stack);
            }
        }
        (taken, cooled.iter().filter(|&&cooled| cooled).count())
    }

    /// Takes every lock of the pool, so that a child forked now finds it whole. Pair with
    /// [`unlock_after_fork`](StackPool::unlock_after_fork), on this thread, in parent and child.
    pub fn lock_for_fork(&self) {
        for class in &self.classes {
            class.growing.lock_raw();
            class.state.lock_raw();
        }
    }

    /// Releases what [`lock_for_fork`](StackPool::lock_for_fork) took.
    ///
    /// # Safety
    /// This thread, or the one it is a forked copy of, called `lock_for_fork` and has not called
    /// this since.
    pub unsafe fn unlock_after_fork(&self) {
        for class in &self.classes {
            // SAFETY: held by contract, without guards.
            unsafe {
                class.state.unlock_raw();
                class.growing.unlock_raw();
            }
        }
    }

    /// What the pool holds at the moment, each class by itself exact.
    pub fn counters(&self) -> StackCounters {
        let mut sum = StackCounters::default();
        for class in &self.classes {
            let state = class.state.lock();
            sum.live += state.live;
            sum.warm += state.warm.len();
            sum.promised += state.promised;
            for slab in state.slabs() {
                with_slab(slab, |slab, bits| {
                    sum.reserved += slab.reserved();
                    sum.cold += bits.count(false) + bits.count(true);
                    sum.slabs += 1;
                    sum.mappings += 1 + 2 * bits.protected();
                });
            }
        }
        sum
    }
}

impl Default for StackPool {
    fn default() -> Self {
        StackPool::new()
    }
}

/// Unmaps the slabs of every class of which no stack is live; the others stay reserved.
impl Drop for StackPool {
    fn drop(&mut self) {
        for class in &self.classes {
            let state = class.state.lock();
            if state.live > 0 {
                continue;
            }
            let budget = self.own_budget.as_ref().unwrap_or(&guard::SYSTEM);
            for slab in state.slabs() {
                // SAFETY: no stack is live, the lists that link the free ones end with the pool,
                // and the lock is held.
                budget.refund(unsafe { slab.as_ref().unmap() });
            }
        }
    }
}
