//! Results, whoever runs the closures: compared with those of a sequential
//! program.

use lisle::jobs::{self, Scope};
use lisle::{join, thread};

use crate::support::many;
use crate::{everywhere, support::watchdog};

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn fib_in(s: &Scope, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = s.join(|s| fib_in(s, n - 1), |s| fib_in(s, n - 2));
    a + b
}

#[test]
fn deep_trees() {
    let _dog = watchdog();
    everywhere(|| {
        assert_eq!(fib(20), 6765);
        assert_eq!(jobs::scope(|s| fib_in(s, 22)), 17_711);
    });
}

#[test]
fn results_of_different_types_stand_in_their_places() {
    let _dog = watchdog();
    everywhere(|| {
        let (text, number) = join(|| String::from("left"), || 7_u8);
        assert_eq!((text.as_str(), number), ("left", 7));
        let ((), large) = join(|| (), || [3_u64; 100]);
        assert_eq!(large, [3; 100]);
        let (large, never) = join(|| vec![1; 1000], || None::<std::convert::Infallible>);
        assert_eq!((large.len(), never), (1000, None));
    });
}

#[test]
fn closures_own_and_borrow() {
    let _dog = watchdog();
    everywhere(|| {
        let mut halves = vec![0_u32; 64];
        let owned = vec![5_u32; 32];
        let shared = 3_u32;
        let (left, right) = halves.split_at_mut(32);
        let (given_back, ()) = join(
            || {
                left.fill(shared);
                owned
            },
            || right.fill(shared + 1),
        );
        assert_eq!(given_back, [5; 32]);
        assert!(halves[..32].iter().all(|n| *n == 3) && halves[32..].iter().all(|n| *n == 4));
    });
}

/// Numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn list(&mut self, len: usize, below: u64) -> Vec<u64> {
        (0..len).map(|_| self.next() % below).collect()
    }
}

fn sort(items: &mut [u64], yields: bool) {
    if items.len() < 2 {
        return;
    }
    let (mut split, last) = (0, items.len() - 1);
    for i in 0..last {
        if items[i] < items[last] {
            items.swap(i, split);
            split += 1;
        }
    }
    items.swap(split, last);
    let (left, right) = items.split_at_mut(split);
    if yields && items_differ(left) {
        thread::yield_now();
    }
    join(|| sort(left, yields), || sort(&mut right[1..], yields));
}

fn items_differ(items: &[u64]) -> bool {
    items.first() != items.last()
}

fn sum(s: &Scope, items: &[u64]) -> u64 {
    match items {
        [] => 0,
        [item] => *item,
        _ => {
            // A half, or much less.
            let split = (items.len() / 2).min(1 + items[0] as usize % 64);
            let (left, right) = items.split_at(split);
            let (left, right) = s.join(|s| sum(s, left), |s| sum(s, right));
            left + right
        }
    }
}

#[test]
fn sorting_and_summing_like_sequentially() {
    let _dog = watchdog();
    everywhere(|| {
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        for round in 0..many(40) {
            // Equal items make the recursion deep, and unoptimized frames are large.
            let (most, below) = [(90, 3), (600, 1000), (600, u64::MAX >> 20)][round % 3];
            let len = numbers.next() as usize % most;
            let mut items = numbers.list(len, below);
            assert_eq!(jobs::scope(|s| sum(s, &items)), items.iter().sum::<u64>());
            let mut expected = items.clone();
            expected.sort();
            sort(&mut items, round % 2 == 0);
            assert_eq!(items, expected);
        }
    });
}

#[test]
fn a_long_chain_of_joins() {
    fn count_right(s: &Scope, n: u32) -> u32 {
        match n {
            0 => 0,
            _ => {
                let (one, rest) = s.join(|_| 1, |s| count_right(s, n - 1));
                one + rest
            }
        }
    }
    fn count_left(n: u32) -> u32 {
        match n {
            0 => 0,
            _ => {
                let (rest, one) = join(|| count_left(n - 1), || 1);
                one + rest
            }
        }
    }
    let _dog = watchdog();
    everywhere(|| {
        // Unoptimized frames: on aarch64 200 would not fit.
        assert_eq!(jobs::scope(|s| count_right(s, 150)), 150);
        assert_eq!(count_left(150), 150);
    });
}
