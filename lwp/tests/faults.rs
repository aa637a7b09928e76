//! Every system call that the stacks make is made to fail, one after the other: it must come out as
//! an error, and nothing may be lost. Needs the feature `faults`.
#![cfg(all(feature = "faults", not(any(lisle_model, lisle_loom, miri))))]

use lisle_lwp::stack::{Stack, StackPool, StackSize, overflow};
use lisle_lwp::sys::Call;
use lisle_lwp::sys::fault::{self, Plan};

/// Takes stacks of two slabs, uses and trims them.
fn scenario(pool: &StackPool) -> std::io::Result<()> {
    let mut taken: Vec<Stack> = Vec::new();
    let mut outcome = Ok(());
    let mut promised = 0;
    for n in 0..20 {
        let done = match n % 2 {
            0 => pool.take(StackSize::SMALL).map(|stack| taken.push(stack)),
            _ => pool.promise(StackSize::SMALL).map(|()| promised += 1),
        };
        outcome = outcome.and(done);
    }
    taken.extend((0..promised).map(|_| pool.take_promised(StackSize::SMALL)));
    taken.into_iter().for_each(|stack| pool.give(stack));
    pool.trim(0);
    outcome
}

fn check_each_site_fails_cleanly(make: fn() -> StackPool) {
    let _tests = fault::exclusive();
    // What is asked only once in a process is asked now.
    scenario(&make()).unwrap();
    let sites = {
        let pool = make();
        let recording = fault::record();
        scenario(&pool).unwrap();
        recording.sites()
    };
    let kinds: Vec<_> = sites.iter().map(|site| site.call).collect();
    assert!(
        kinds.contains(&Call::Mmap) && kinds.contains(&Call::Madvise),
        "{sites:?}"
    );
    for site in sites {
        for skip in 0..site.hits.min(25) {
            let pool = make();
            let plan = fault::arm(Plan::once(site.call).at(site).after(skip));
            let outcome = scenario(&pool);
            assert_eq!(plan.fired(), 1, "{site:?} after {skip}");
            drop(plan);
            // Smaller slabs, warm stacks that stay warm: some failures are absorbed. None may lose
            // a stack.
            if let Err(error) = outcome {
                assert_eq!(
                    error.raw_os_error(),
                    Some(site.call.usual_errno()),
                    "{site:?}"
                );
            }
            let after = pool.counters();
            assert_eq!(after.live, 0, "{site:?} after {skip}");
            scenario(&pool).unwrap();
            let total = pool.counters();
            assert_eq!((total.live, total.warm), (0, 0), "{site:?} after {skip}");
            let stacks = total.reserved / StackSize::SMALL.bytes();
            assert_eq!(total.cold, stacks, "{site:?} after {skip}: {total:?}");
        }
    }
}

#[test]
fn each_site_fails_cleanly() {
    check_each_site_fails_cleanly(StackPool::new);
}

#[test]
fn each_site_fails_cleanly_with_protected_guards() {
    check_each_site_fails_cleanly(|| StackPool::with_protected_guards(100));
}

fn first_take_fails(pool: &StackPool, call: Call) {
    let plan = fault::arm(Plan::always(call));
    let error = pool.take(StackSize::SMALL).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(call.usual_errno()));
    let promised = pool.promise(StackSize::SMALL).unwrap_err();
    assert_eq!(promised.raw_os_error(), Some(call.usual_errno()));
    let counters = pool.counters();
    assert_eq!((counters.live, counters.promised), (0, 0));
    drop(plan);
    pool.give(pool.take(StackSize::SMALL).unwrap());
}

#[test]
fn a_lack_of_memory_is_an_error() {
    let _tests = fault::exclusive();
    first_take_fails(&StackPool::new(), Call::Mmap);
    first_take_fails(&StackPool::new(), Call::Madvise);
    first_take_fails(&StackPool::with_protected_guards(5), Call::Mprotect);
}

/// Locked memory takes no guard regions before Linux 6.15: protection stands in.
#[test]
fn refused_guard_regions_fall_back_to_protection() {
    let _tests = fault::exclusive();
    let pool = StackPool::new();
    // Warm up: a slab, and the trial of guard regions.
    pool.give(pool.take(StackSize::SMALL).unwrap());
    let warm = pool.take(StackSize::SMALL).unwrap();
    let before = pool.counters();
    let plan = fault::arm(Plan::always(Call::Madvise).errno(libc::EINVAL));
    let stack = pool.take(StackSize::SMALL).unwrap();
    drop(plan);
    let protected = pool.counters().mappings - before.mappings;
    assert_eq!(protected, 2);
    pool.give(stack);
    pool.give(warm);
}

#[test]
fn a_random_storm_loses_nothing() {
    let _tests = fault::exclusive();
    for seed in 0..20 {
        let pool = StackPool::new();
        let storm = fault::random(seed, 0.2, &[Call::Mmap, Call::Madvise, Call::Mprotect]);
        for _ in 0..5 {
            // Whether it fails is the seed's affair.
            let _ = scenario(&pool);
        }
        assert!(storm.fired() > 0);
        drop(storm);
        scenario(&pool).unwrap();
        let total = pool.counters();
        assert_eq!((total.live, total.warm), (0, 0));
        assert_eq!(total.cold, total.reserved / StackSize::SMALL.bytes());
    }
}

#[test]
fn alt_stacks_and_handlers_fail_cleanly() {
    let _tests = fault::exclusive();
    // A kernel thread of std's has an alternate stack; take it away for the time of the test.
    std::thread::spawn(|| {
        let disable = libc::stack_t {
            ss_sp: std::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: removes only.
        let old = unsafe { lisle_lwp::sys::sigaltstack(Some(&disable)) }.unwrap();
        for call in [Call::Sigaltstack, Call::Mmap, Call::Mprotect] {
            let plan = fault::arm(Plan::always(call));
            let error = overflow::ensure_alt_stack().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(call.usual_errno()));
            drop(plan);
        }
        drop(overflow::ensure_alt_stack().unwrap());
        // SAFETY: std's own stack, which lives as long as the thread.
        unsafe { lisle_lwp::sys::sigaltstack(Some(&old)) }.unwrap();
    })
    .join()
    .unwrap();
    for skip in 0..4 {
        let plan = fault::arm(Plan::once(Call::Sigaction).after(skip));
        let failed = overflow::install().is_err();
        assert_eq!(failed, plan.fired() == 1);
        drop(plan);
    }
    overflow::install().unwrap();
}
