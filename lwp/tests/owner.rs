//! The owner word with its fences as they ship: models have full fences on both sides, so what membarrier
//! does for one that is only the compiler's is shown here.
#![cfg(not(lisle_loom))]
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::cell::UnsafeCell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence};

use lisle_lwp::owner::{self, Holder, HolderId, OwnerWord};
use lisle_lwp::sys;

const ROUNDS: usize = 20_000;
/// How often a holder enters before it gives way to takers.
const STAYS: u64 = 200;

/// Two words on lines of their own.
#[repr(align(128))]
#[derive(Default)]
struct Line(AtomicU64);

/// Store buffering: each side stores one word and loads the other. Returns how often neither saw the other.
fn neither(cheap: impl Fn() + Sync, dear: impl Fn() + Sync) -> usize {
    let (x, y) = (Line::default(), Line::default());
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    let both = Barrier::new(2);
    let mut count = 0;
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            for round in 1..=ROUNDS as u64 {
                both.wait();
                x.0.store(round, Ordering::Relaxed);
                cheap();
                seen[0].store(y.0.load(Ordering::Relaxed), Ordering::Relaxed);
                both.wait();
            }
        });
        for round in 1..=ROUNDS as u64 {
            both.wait();
            y.0.store(round, Ordering::Relaxed);
            dear();
            seen[1].store(x.0.load(Ordering::Relaxed), Ordering::Relaxed);
            both.wait();
            let missed = |seen: &AtomicU64| seen.load(Ordering::Relaxed) < round;
            count += usize::from(seen.iter().all(missed));
        }
        one.join().unwrap();
    });
    count
}

/// What an entry and a taker rely on.
#[test]
fn membarrier_is_a_fence_on_both_sides() {
    if sys::membarrier_register().is_err() {
        println!("SKIPPED: no membarrier here");
        return;
    }
    let compilers = || compiler_fence(Ordering::SeqCst);
    assert_eq!(neither(compilers, || sys::membarrier().unwrap()), 0);
    assert_eq!(
        neither(|| fence(Ordering::SeqCst), || fence(Ordering::SeqCst)),
        0
    );
    // Without the kernel's part it is none, where the processor shows that; how often depends on it.
    println!(
        "without: {} of {ROUNDS}",
        neither(compilers, || fence(Ordering::SeqCst))
    );
}

/// An LWP, in so far as it has an owner and something to own.
struct Lwp {
    word: OwnerWord,
    carrier: AtomicUsize,
    holders: Vec<Holder>,
    data: UnsafeCell<u64>,
}

// SAFETY: what is to be shown.
unsafe impl Sync for Lwp {}

impl Lwp {
    fn id(who: usize) -> HolderId {
        HolderId::new(who as u32 + 1).unwrap()
    }

    /// Whoever is inside, alone: two that are would lose a step.
    fn step(&self) {
        // SAFETY: only the holder, inside.
        unsafe {
            let seen = self.data.get().read_volatile();
            self.data.get().write_volatile(seen + 1);
        }
    }

    /// Enters and leaves until the LWP has gone. Returns how often it was inside.
    fn carry(&self, who: usize, stop: &AtomicBool) -> u64 {
        let me = &self.holders[who];
        let mut steps = 0;
        while !stop.load(Ordering::Relaxed) && self.word.enter(me) {
            self.step();
            steps += 1;
            me.leave();
            if steps % STAYS == 0 {
                // Outside, where it can be taken: on a busy machine the kernel else takes
                // the processor away when it likes, mostly inside, where nobody can.
                std::thread::yield_now();
            }
        }
        steps
    }

    /// Takes the LWP from whoever carries it, if it is offered.
    fn take(&self, who: usize) -> bool {
        let holder = &self.holders[self.carrier.load(Ordering::Acquire)];
        let barrier = || {
            fence(Ordering::SeqCst);
            owner::has_fences() || sys::membarrier().is_ok()
        };
        let taken = self
            .word
            .take(holder, &self.holders[who], Lwp::id(who), barrier);
        if taken {
            self.carrier.store(who, Ordering::Release);
        }
        taken
    }
}

/// Kernel threads that take an LWP from each other: returns how often.
fn take_turns(threads: usize, takes: u64) -> u64 {
    let lwp = Lwp {
        word: OwnerWord::new(),
        carrier: AtomicUsize::new(0),
        holders: (0..threads).map(|_| Holder::new()).collect(),
        data: UnsafeCell::new(0),
    };
    let (stop, taken, steps) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    assert!(lwp.word.claim(&lwp.holders[0], Lwp::id(0)));
    lwp.holders[0].leave();
    std::thread::scope(|scope| {
        for who in 0..threads {
            let (lwp, stop, taken, steps) = (&lwp, &stop, &taken, &steps);
            scope.spawn(move || {
                let mut mine = if who == 0 { lwp.carry(who, stop) } else { 0 };
                while !stop.load(Ordering::Relaxed) {
                    lwp.word.offer();
                    if lwp.take(who) {
                        lwp.step();
                        mine += 1;
                        lwp.holders[who].leave();
                        if taken.fetch_add(1, Ordering::Relaxed) + 1 >= takes {
                            stop.store(true, Ordering::Relaxed);
                        }
                        mine += lwp.carry(who, stop);
                    } else {
                        // The holder is inside: without the processor, perhaps.
                        std::thread::yield_now();
                    }
                }
                steps.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    // SAFETY: all threads that touched it have been joined.
    let data = unsafe { *lwp.data.get() };
    assert_eq!(data, steps.into_inner(), "two were inside");
    taken.into_inner()
}

/// First with the kernel's barrier, then with a fence at each entry, as where the kernel refuses it.
#[test]
fn one_holder_at_a_time() {
    if sys::membarrier_register().is_ok() {
        assert!(!owner::has_fences());
        println!("{} takes by membarrier", take_turns(3, 5_000));
    }
    owner::require_fences();
    assert!(owner::has_fences());
    println!("{} takes by fences", take_turns(3, 5_000));
}
