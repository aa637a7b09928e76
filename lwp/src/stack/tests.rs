use std::collections::HashSet;

use super::*;
use crate::shim::Ordering;

fn base_of(stack: &Stack) -> usize {
    stack.base.as_ptr() as usize
}

/// A pool of the test's own for caches, which want a static one.
fn leaked_pool() -> &'static StackPool {
    Box::leak(Box::default())
}

/// A stack that is promised, and taken at once.
fn take(cache: &mut StackCache, pool: &StackPool, class: StackSize) -> Stack {
    assert!(cache.promise(class) || pool.promise(class).is_ok() || cache.promise_own(class));
    cache.take_promised(class)
}

/// Whether the kernel can read the page.
fn readable(address: *const u8) -> bool {
    sys::kernel_can_read(address.cast()).unwrap()
}

#[test]
fn sizes_are_rounded_up_and_bounded() {
    assert_eq!(StackSize::new(1), Ok(StackSize::SMALL));
    assert_eq!(StackSize::new(64 << 10), Ok(StackSize::SMALL));
    assert_eq!(StackSize::new(200 << 10), Ok(StackSize::DEFAULT));
    assert_eq!(StackSize::new(64 << 20), Ok(StackSize::MAX));
    let bytes = (64 << 20) + 1;
    assert_eq!(StackSize::new(bytes), Err(StackError::TooLarge { bytes }));
    let error = io::Error::from(StackError::TooLarge { bytes });
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(StackError::of(&error), Some(StackError::TooLarge { bytes }));
    assert_eq!(StackError::of(&io::Error::from_raw_os_error(12)), None);
}

#[test]
fn a_stack_is_writable_from_limit_to_end() {
    let pool = StackPool::new();
    for bytes in [0, 256 << 10, 64 << 20] {
        let stack = pool.take(StackSize::new(bytes).unwrap()).unwrap();
        assert_eq!(stack.top() as usize % 64, 0);
        assert!(stack.end() as usize - (stack.top() as usize) < 1024);
        assert_eq!(stack.size(), stack.top() as usize - stack.limit() as usize);
        assert!(stack.contains(stack.limit() as usize) && !stack.contains(stack.end() as usize));
        // SAFETY: the stack is ours.
        unsafe {
            stack.limit().write(1);
            stack.end().wrapping_sub(1).write(2);
        }
        pool.give(stack);
    }
}

fn guards_at_every_boundary(pool: &StackPool) {
    // More than one slab's worth.
    let stacks: Vec<_> = (0..40)
        .map(|_| pool.take(StackSize::SMALL).unwrap())
        .collect();
    for stack in &stacks {
        let (base, page) = (stack.base.as_ptr(), sys::page_size());
        assert_eq!(stack.limit(), base.wrapping_add(page));
        assert!(!readable(base) && !readable(base.wrapping_add(page - 8)));
        assert!(readable(stack.limit()) && readable(stack.end().wrapping_sub(8)));
        assert!(slab::is_in_guard(base as usize));
    }
    let used = pool.counters().live;
    stacks.into_iter().for_each(|stack| pool.give(stack));
    assert_eq!(used, 40);
    // Guards survive reuse and trimming.
    assert_eq!(pool.trim(0), 40);
    let again = pool.take(StackSize::SMALL).unwrap();
    assert!(!readable(again.base.as_ptr()) && readable(again.limit()));
    pool.give(again);
}

#[test]
fn every_stack_has_its_guard() {
    guards_at_every_boundary(&StackPool::new());
}

#[test]
fn every_stack_has_its_guard_by_protection() {
    let pool = StackPool::with_protected_guards(100);
    guards_at_every_boundary(&pool);
    let counters = pool.counters();
    assert_eq!(counters.mappings, counters.slabs + 2 * 40);
}

#[test]
fn the_guard_budget_ends_in_a_typed_error() {
    let pool = StackPool::with_protected_guards(20);
    let stacks: Vec<_> = (0..20)
        .map(|_| pool.take(StackSize::SMALL).unwrap())
        .collect();
    let before = pool.counters();
    let error = pool.take(StackSize::SMALL).unwrap_err();
    let expected = StackError::GuardsExhausted { stacks: 20 };
    assert_eq!(StackError::of(&error), Some(expected));
    assert!(error.to_string().contains("vm.max_map_count"));
    assert_eq!(pool.counters(), before, "nothing leaked");
    // A stack given back is one that can be had again.
    let mut stacks = stacks.into_iter();
    pool.give(stacks.next().unwrap());
    pool.give(pool.take(StackSize::SMALL).unwrap());
    stacks.for_each(|stack| pool.give(stack));
    pool.trim(0);
    // Cold ones keep their guards, so taking them costs no budget.
    let again: Vec<_> = (0..20)
        .map(|_| pool.take(StackSize::SMALL).unwrap())
        .collect();
    again.into_iter().for_each(|stack| pool.give(stack));
}

#[test]
fn warm_stacks_come_back_last_in_first_out() {
    let pool = StackPool::new();
    let taken: Vec<_> = (0..3)
        .map(|_| pool.take(StackSize::DEFAULT).unwrap())
        .collect();
    let bases: Vec<_> = taken.iter().map(base_of).collect();
    taken.into_iter().for_each(|stack| pool.give(stack));
    let again: Vec<_> = (0..3)
        .map(|_| pool.take(StackSize::DEFAULT).unwrap())
        .collect();
    let reversed: Vec<_> = again.iter().rev().map(base_of).collect();
    assert_eq!(bases, reversed);
    again.into_iter().for_each(|stack| pool.give(stack));
}

#[test]
fn neighbours_differ_in_colour() {
    let pool = StackPool::new();
    let stacks: Vec<_> = (0..16)
        .map(|_| pool.take(StackSize::DEFAULT).unwrap())
        .collect();
    let lines: HashSet<_> = stacks
        .iter()
        .map(|stack| stack.top() as usize % 4096)
        .collect();
    assert_eq!(lines.len(), 16);
    stacks.into_iter().for_each(|stack| pool.give(stack));
}

#[test]
fn a_hundred_thousand_stacks_in_few_mappings() {
    let pool = StackPool::new();
    let count = if cfg!(target_arch = "x86_64") && guard::regions_work().unwrap() {
        100_000
    } else {
        10_000
    };
    let stacks: Vec<_> = (0..count)
        .map(|_| pool.take(StackSize::SMALL).unwrap())
        .collect();
    let bases: HashSet<_> = stacks.iter().map(base_of).collect();
    assert_eq!(bases.len(), count);
    let counters = pool.counters();
    assert_eq!(counters.live, count);
    assert!(counters.slabs < 40, "{counters:?}");
    assert!(counters.reserved >= count * StackSize::SMALL.bytes());
    stacks.into_iter().for_each(|stack| pool.give(stack));
    let counters = pool.counters();
    assert_eq!((counters.live, counters.warm), (0, count));
    assert_eq!(pool.trim(10), count - 10);
    let trimmed = pool.counters();
    assert_eq!((trimmed.live, trimmed.warm), (0, 10));
    assert_eq!(trimmed.cold, counters.cold + count - 10);
}

/// Resident pages in the usable part of the stack.
fn resident(stack: &Stack) -> usize {
    let page = sys::page_size();
    let mut pages = vec![0; (stack.end() as usize - stack.limit() as usize) / page];
    sys::mincore(stack.limit(), &mut pages).unwrap();
    pages.iter().filter(|&&byte| byte & 1 != 0).count()
}

fn touch(stack: &Stack, pages: usize) {
    for i in 1..=pages {
        // SAFETY: the stack is ours and larger than that.
        unsafe { stack.end().wrapping_sub(i * sys::page_size()).write(1) };
    }
}

#[test]
fn trim_gives_the_memory_back() {
    let pool = StackPool::new();
    let stacks: Vec<_> = (0..8)
        .map(|_| pool.take(StackSize::DEFAULT).unwrap())
        .collect();
    for stack in &stacks {
        touch(stack, 10);
        assert_eq!(resident(stack), 10);
    }
    // The youngest in the list is the last given.
    let kept = base_of(&stacks[7]);
    stacks.into_iter().for_each(|stack| pool.give(stack));
    assert_eq!(pool.trim(1), 7);
    let first = pool.take(StackSize::DEFAULT).unwrap();
    assert_eq!((base_of(&first), resident(&first)), (kept, 10));
    let others: Vec<_> = (0..7)
        .map(|_| pool.take(StackSize::DEFAULT).unwrap())
        .collect();
    assert!(others.iter().all(|stack| resident(stack) == 0));
    others.into_iter().for_each(|stack| pool.give(stack));
    pool.give(first);
}

#[test]
fn trim_idle_spares_what_is_in_use() {
    let pool = StackPool::new();
    let mut stacks: Vec<_> = (0..10)
        .map(|_| pool.take(StackSize::SMALL).unwrap())
        .collect();
    stacks.drain(..).for_each(|stack| pool.give(stack));
    let look_and_trim = || {
        pool.look_for_idle();
        pool.trim_idle(100)
    };
    assert_eq!(look_and_trim(), 0, "all were needed since the beginning");
    let some = || (0..4).map(|_| pool.take(StackSize::SMALL).unwrap());
    let another = pool.take(StackSize::DEFAULT).unwrap();
    stacks.extend(some());
    stacks.drain(..).for_each(|stack| pool.give(stack));
    pool.give(another);
    pool.look_for_idle();
    assert_eq!(pool.trim_idle(4), 4);
    // Those that were needed shortly before the look are spared.
    assert!(pool.has_idle());
    assert_eq!(pool.trim_idle(100), 2);
    assert!(!pool.has_idle());
    assert_eq!(pool.trim_idle(100), 0);
    pool.look_for_idle();
    // One of the idle is needed after all.
    let needed = pool.take(StackSize::SMALL).unwrap();
    assert_eq!(pool.trim_idle(100), 3 + 1, "and one of another size");
    pool.give(needed);
    assert_eq!(look_and_trim(), 0);
    assert_eq!(look_and_trim(), 1);
    assert_eq!(pool.counters().warm, 0);
}

#[test]
fn high_water_counts_pages_from_the_end() {
    let pool = StackPool::new();
    let page = sys::page_size();
    let stack = pool.take(StackSize::new(4 << 20).unwrap()).unwrap();
    assert_eq!(stack.high_water().unwrap(), 0);
    touch(&stack, 3);
    assert_eq!(stack.high_water().unwrap(), 3 * page);
    // A deep page below untouched ones counts.
    // SAFETY: the stack is ours.
    unsafe { stack.end().wrapping_sub(900 * page).write(1) };
    assert_eq!(stack.high_water().unwrap(), 900 * page);
    // SAFETY: as above.
    unsafe { stack.limit().write(1) };
    assert_eq!(stack.high_water().unwrap(), (4 << 20) - page);
    pool.give(stack);
}

/// Large stacks are not kept from others.
#[test]
fn a_cache_keeps_few_large_stacks() {
    for (bytes, most) in [(1 << 20, 16), (8 << 20, 2), (64 << 20, 1)] {
        let (pool, class) = (leaked_pool(), StackSize::new(bytes).unwrap());
        let mut cache = StackCache::of(pool);
        let stacks: Vec<Stack> = (0..most).map(|_| take(&mut cache, pool, class)).collect();
        stacks.into_iter().for_each(|stack| cache.give(stack));
        assert_eq!(
            (cache.len(), pool.counters().warm),
            (most / 2, most - most / 2)
        );
        // Nor are they promised by the dozen.
        cache.flush();
        assert!(cache.promise(class));
        assert_eq!(pool.counters().promised, most.div_ceil(2));
        cache.forget_promise(class);
    }
}

#[test]
fn a_full_cache_spills_its_older_half() {
    let pool = leaked_pool();
    let mut cache = StackCache::of(pool);
    let stacks: Vec<_> = (0..64)
        .map(|_| take(&mut cache, pool, StackSize::SMALL))
        .collect();
    let bases: Vec<_> = stacks.iter().map(base_of).collect();
    let mut stacks = stacks.into_iter();
    stacks.by_ref().take(63).for_each(|stack| cache.give(stack));
    assert_eq!((cache.len(), pool.counters().warm), (63, 0));
    cache.give(stacks.next().unwrap());
    assert_eq!((cache.len(), pool.counters().warm), (32, 32));
    assert_eq!(pool.counters().live, 32);
    // The cache still gives the youngest first, and then the pool does.
    let again: Vec<_> = (0..64)
        .map(|_| take(&mut cache, pool, StackSize::SMALL))
        .collect();
    let again_bases: Vec<_> = again.iter().map(base_of).collect();
    let youngest: Vec<_> = bases[32..].iter().rev().copied().collect();
    assert_eq!(again_bases[..32], youngest);
    let (all, all_again): (HashSet<_>, HashSet<_>) = (
        bases.into_iter().collect(),
        again_bases.into_iter().collect(),
    );
    assert_eq!(all, all_again);
    again.into_iter().for_each(|stack| cache.give(stack));
    drop(cache);
    let counters = pool.counters();
    assert_eq!((counters.live, counters.warm), (0, 64));
}

/// Of few stacks, none is missing because a cache keeps it.
#[test]
fn a_cache_gives_what_it_keeps_for_promises() {
    let pool: &StackPool = Box::leak(Box::new(StackPool::with_protected_guards(5)));
    let class = StackSize::SMALL;
    let mut cache = StackCache::of(pool);
    for _ in 0..3 {
        let stacks: Vec<_> = (0..5).map(|_| take(&mut cache, pool, class)).collect();
        assert!(!cache.promise(class) && pool.promise(class).is_err());
        assert!(!cache.promise_own(class));
        stacks.into_iter().for_each(|stack| cache.give(stack));
        assert_eq!(cache.len(), 5);
        assert!(!cache.promise(class) && pool.promise(class).is_err());
        let promises = (0..6).filter(|_| cache.promise(class) || cache.promise_own(class));
        assert_eq!(promises.count(), 5);
        (0..5).for_each(|_| cache.forget_promise(class));
    }
}

#[test]
fn stampede() {
    let pool = leaked_pool();
    std::thread::scope(|scope| {
        for seed in 0..4usize {
            scope.spawn(move || {
                let mut cache = StackCache::of(pool);
                let mut held = Vec::new();
                for i in 0..3_000usize {
                    let class = StackSize(((i * 7 + seed) % 3) as u8);
                    let stack = match i % 4 {
                        0 => take(&mut cache, pool, class),
                        1 => pool.take(class).unwrap(),
                        // What one has promised, another one keeps.
                        _ if cache.promise(class) => pool.take_promised(class),
                        _ => {
                            pool.promise(class).unwrap();
                            cache.take_promised(class)
                        }
                    };
                    let mark = (seed << 32 | i) as u64;
                    // SAFETY: the stack is ours alone; nobody else may write here while it is.
                    unsafe { stack.top().cast::<u64>().wrapping_sub(1).write(mark) };
                    held.push((stack, mark));
                    if held.len() > 50 {
                        let (stack, mark) = held.swap_remove(i % 50);
                        // SAFETY: as above.
                        let found = unsafe { stack.top().cast::<u64>().wrapping_sub(1).read() };
                        assert_eq!(found, mark, "two owners");
                        if i % 3 == 0 {
                            pool.give(stack)
                        } else {
                            cache.give(stack)
                        }
                    }
                    if i % 500 == 0 {
                        pool.look_for_idle();
                        pool.trim_idle(100);
                    }
                }
                held.into_iter().for_each(|(stack, _)| cache.give(stack));
            });
        }
    });
    let counters = pool.counters();
    assert_eq!((counters.live, counters.promised), (0, 0));
}

#[test]
fn promised_stacks_are_there_for_those_who_have_the_promise() {
    let pool = StackPool::new();
    let class = StackSize::SMALL;
    // Two warm ones and a cold one.
    let taken: Vec<_> = (0..3).map(|_| pool.take(class).unwrap()).collect();
    taken.into_iter().for_each(|stack| pool.give(stack));
    assert_eq!(pool.trim(2), 1);
    for promised in 1..=3 {
        pool.promise(class).unwrap();
        assert_eq!(pool.counters().promised, promised);
    }
    assert_eq!((pool.counters().warm, pool.counters().live), (2, 0));
    // All three are set aside: another one is new, and none loses its memory.
    let other = pool.take(class).unwrap();
    assert_eq!(pool.trim(0), 0);
    let kept: Vec<_> = (0..3).map(|_| pool.take_promised(class)).collect();
    let counters = pool.counters();
    assert_eq!((counters.warm, counters.promised, counters.live), (0, 0, 4));
    let bases: HashSet<_> = kept.iter().chain([&other]).map(base_of).collect();
    assert_eq!(bases.len(), 4);
    assert!(!readable(kept[2].base.as_ptr()) && readable(kept[2].limit()));
    kept.into_iter()
        .chain([other])
        .for_each(|stack| pool.give(stack));
}

#[test]
fn a_promise_takes_a_guard_and_no_memory() {
    let pool = StackPool::with_protected_guards(5);
    let class = StackSize::DEFAULT;
    (0..5).for_each(|_| pool.promise(class).unwrap());
    let before = pool.counters();
    assert_eq!((before.promised, before.warm, before.live), (5, 0, 0));
    let error = pool.promise(class).unwrap_err();
    let expected = StackError::GuardsExhausted { stacks: 5 };
    assert_eq!(StackError::of(&error), Some(expected));
    assert_eq!(
        StackError::of(&pool.take(class).unwrap_err()),
        Some(expected)
    );
    assert_eq!(pool.counters(), before, "nothing leaked");
    pool.forget_promises(class, 2);
    pool.promise(class).unwrap();
    let stacks: Vec<_> = (0..4).map(|_| pool.take_promised(class)).collect();
    assert!(stacks.iter().all(|stack| resident(stack) == 0));
    // The fifth is nobody's.
    pool.give(pool.take(class).unwrap());
    stacks.into_iter().for_each(|stack| pool.give(stack));
}

#[test]
#[should_panic(expected = "no stack was promised")]
fn what_was_not_promised_is_not_taken() {
    let pool = StackPool::new();
    pool.give(pool.take(StackSize::SMALL).unwrap());
    let _ = pool.take_promised(StackSize::SMALL);
}

#[test]
fn a_cache_keeps_promises_with_what_it_has() {
    let pool = leaked_pool();
    let class = StackSize::SMALL;
    let mut cache = StackCache::of(pool);
    assert!(!cache.promise(class), "there is none yet");
    pool.promise(class).unwrap();
    let first = cache.take_promised(class);
    let base = base_of(&first);
    cache.give(first);
    assert_eq!(pool.counters().promised, 0);
    // The next promise is the pool's, but the stack at hand is taken, and the promise kept for others.
    pool.promise(class).unwrap();
    let second = cache.take_promised(class);
    assert_eq!(base_of(&second), base);
    assert_eq!(pool.counters().promised, 1);
    assert!(cache.promise(class));
    assert_eq!(pool.counters().promised, 1);
    let third = cache.take_promised(class);
    assert_ne!(base_of(&third), base);
    assert_eq!(pool.counters().promised, 0);
    // Not without end, and nothing when it is flushed.
    for _ in 0..200 {
        pool.promise(class).unwrap();
        cache.forget_promise(class);
        assert!(pool.counters().promised <= 65);
    }
    cache.give(second);
    cache.give(third);
    cache.flush();
    let counters = pool.counters();
    assert_eq!((counters.promised, counters.live), (0, 0));
}

#[test]
fn dropping_a_pool_unmaps_its_stacks() {
    let pool = StackPool::new();
    let stack = pool.take(StackSize::SMALL).unwrap();
    let slab = stack.slab;
    pool.give(stack);
    drop(pool);
    // SAFETY: headers are never unmapped.
    assert!(unsafe { slab.as_ref() }.dead.load(Ordering::Relaxed));
}

#[test]
fn dropping_a_pool_spares_a_live_stack() {
    let pool = StackPool::new();
    let stack = pool.take(StackSize::SMALL).unwrap();
    let slab = stack.slab;
    drop(pool);
    // SAFETY: headers are never unmapped.
    assert!(!unsafe { slab.as_ref() }.dead.load(Ordering::Relaxed));
    touch(&stack, 2);
    assert_eq!(resident(&stack), 2);
}

/// Another thread takes and gives at the moment of the fork; the child finds the pool usable.
#[test]
fn a_forked_child_can_use_the_pool() {
    use crate::shim::AtomicBool;
    let pool = StackPool::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pool.give(pool.take(StackSize::SMALL).unwrap());
            }
        });
        let forks = (0..20).map(|_| {
            pool.lock_for_fork();
            // SAFETY: the child only uses the pool, which needs no allocator, and exits at once.
            let child = unsafe { libc::fork() };
            // SAFETY: locked above by this thread, or the one it is a copy of.
            unsafe { pool.unlock_after_fork() };
            if child == 0 {
                let worked = pool
                    .take(StackSize::SMALL)
                    .map(|stack| pool.give(stack))
                    .is_ok();
                // SAFETY: ends the child without running what belongs to the parent.
                unsafe { libc::_exit(if worked { 7 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: waits for the child just made.
            let waited = unsafe { libc::waitpid(child, &mut status, 0) };
            (waited == child, libc::WEXITSTATUS(status))
        });
        let results: Vec<_> = forks.collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(results, [(true, 7); 20]);
    });
}
