//! Storms of allocations: made on one kernel thread, grown on another, freed on
//! a third, by full threads each of which has a cache of its own in the
//! allocator. Runs under glibc's allocator here, and under others in
//! `tests/allocators`.

use std::sync::Arc;

use lisle::channel::{self, Sender};
use lisle::thread::{self, Builder};

use super::travel::{Traveller, Trip, joined};
use crate::support::{many, watchdog};

const THREADS: usize = 6;
/// Allocations between two hops.
const BURST: usize = 25;

/// A simple generator; quality does not matter.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: usize) -> Random {
        Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed as u64 + 1))
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % n
    }
}

/// Memory that says what should be in it.
pub(crate) struct Block(Vec<u8>);

impl Block {
    pub(crate) fn new(random: &mut Random) -> Block {
        let size = match random.below(10) {
            0..=6 => 1 + random.below(256),
            7 | 8 => 1 + random.below(8 << 10),
            _ => 1 + random.below(256 << 10),
        };
        let mut memory = vec![0; size];
        let mark = size as u8 ^ 0x5A;
        (memory[0], memory[size - 1]) = (mark, mark);
        Block(memory)
    }

    fn mark(&self) -> u8 {
        self.0.len() as u8 ^ 0x5A
    }

    pub(crate) fn check(&self) {
        let ends = (self.0[0], self.0[self.0.len() - 1]);
        assert_eq!(ends, (self.mark(), self.mark()));
    }

    /// Makes the allocator move it, perhaps.
    pub(crate) fn grow(&mut self, by: usize) {
        self.check();
        self.0.reserve_exact(by);
        self.check();
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check();
    }
}

/// One thread's share. Sends some of what it makes to others, keeps some, frees
/// what it receives. Returns how many it received.
fn storm(
    who: usize,
    go: &Traveller,
    others: &[Sender<Block>],
    inbox: &channel::Receiver<Block>,
) -> usize {
    let mut random = Random::new(who);
    let mut kept: Vec<Block> = Vec::new();
    let mut received = 0;
    for round in 0..many(BURST * 120) {
        let mut block = Block::new(&mut random);
        block.grow(random.below(64));
        match random.below(3) {
            // The receiver may have ended.
            0 => drop(others[random.below(others.len())].send(block)),
            _ => kept.push(block),
        }
        if kept.len() > 50 {
            let at = random.below(kept.len());
            kept.swap_remove(at).grow(1000);
        }
        while let Ok(block) = inbox.try_recv() {
            block.check();
            received += 1;
        }
        if round % BURST == 0 {
            go.hop();
        }
    }
    received
}

#[test]
fn allocations_move_and_die_anywhere() {
    let _dog = watchdog();
    let trip = Trip::new(THREADS);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| channel::unbounded::<Block>()).unzip();
    let senders = Arc::new(senders);
    let threads: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(who, inbox)| {
            let senders = senders.clone();
            trip.spawn(move |go| storm(who, go, &senders, &inbox))
        })
        .collect();
    let received: usize = joined(threads).into_iter().sum();
    assert!(received > many(BURST * 120), "{received}");
    trip.end();
}

/// Threads that take their caches with them, and leave memory behind for others
/// to free.
#[test]
fn memory_outlives_the_threads_that_made_it() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    let mut inherited: Vec<Block> = Vec::new();
    for generation in 0..many(40) {
        let threads: Vec<_> = (0..4)
            .map(|who| {
                let estate = inherited.split_off(inherited.len() - inherited.len() / (4 - who));
                let fresh = Builder::new().fresh((generation + who) % 2 == 0);
                trip.spawn_as(fresh, move |go| {
                    let mut random = Random::new(generation * 4 + who);
                    go.hop();
                    drop(estate);
                    let blocks = (0..50).map(|_| Block::new(&mut random));
                    let mut blocks: Vec<_> = blocks.collect();
                    go.hop();
                    blocks.iter_mut().for_each(|block| block.grow(100));
                    blocks
                })
            })
            .collect();
        inherited.extend(joined(threads).into_iter().flatten());
        assert_eq!(inherited.len(), 200);
    }
    trip.end();
}

/// Every thread allocates while another is switched out in the middle of what
/// it does with its own memory; light threads, too.
#[test]
fn light_and_full_threads_allocate_side_by_side() {
    let _dog = watchdog();
    let rt = crate::support::runtime(2);
    let body = |who: usize| {
        move || {
            let mut random = Random::new(who);
            let mut kept: Vec<Block> = Vec::new();
            for _ in 0..many(1000) {
                kept.push(Block::new(&mut random));
                if kept.len() > 20 {
                    kept.swap_remove(random.below(20)).grow(500);
                }
                thread::yield_now();
            }
            kept.len()
        }
    };
    let full: Vec<_> = (0..8)
        .map(|who| Builder::new().on(&rt).spawn(body(who)).unwrap())
        .collect();
    let light: Vec<_> = (8..16)
        .map(|who| crate::support::on(&rt, body(who)))
        .collect();
    assert_eq!(joined(full), joined(light));
    crate::support::end(rt);
}
