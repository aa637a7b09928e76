//! What the machine alone takes for the part of a workload that nothing with lisle's guarantees can leave out. Below
//! that no target can be met, whatever is done in between.
//!
//! | workload | counted here |
//! |---|---|
//! | parked | a stack of its own: one page that is touched; no guard, no control block |
//! | channel ping-pong | six exchanges, by which waits are named, claimed and committed, and two switches: `ARCHITECTURE.md` says why |

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{resident, switch};
use crate::crowd::{Figures, MILLION, each};
use crate::{Body, Entry, ONE, timed};

/// How it is called among the peers.
pub(crate) const NAME: &str = "the machine";

const STACK: usize = 64 << 10;

/// Touches the topmost page of a million stacks.
fn pages() -> Figures {
    let bytes = MILLION * STACK;
    // SAFETY: a new mapping, which nobody else knows.
    let stacks = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let mapping = libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0);
        assert_ne!(mapping, libc::MAP_FAILED, "there is address space");
        // A kernel without huge pages refuses, and needs no telling.
        libc::madvise(mapping, bytes, libc::MADV_NOHUGEPAGE);
        mapping.cast::<u8>()
    };
    let (before, start) = (resident(), Instant::now());
    for stack in 1..=MILLION {
        // SAFETY: within the mapping.
        unsafe { stacks.add(stack * STACK - 64).write_volatile(1) };
    }
    let figures = each(MILLION, before, start);
    // SAFETY: nobody uses it any more.
    unsafe { libc::munmap(stacks.cast(), bytes) };
    figures
}

/// Of a message there and back.
fn round_trips(n: u64) -> Duration {
    const EXCHANGES: usize = 6;
    let words: [AtomicU64; EXCHANGES] = Default::default();
    let start = Instant::now();
    for turn in 0..n {
        for word in black_box(&words) {
            let seen = word.compare_exchange(turn, turn + 1, Ordering::AcqRel, Ordering::Relaxed);
            assert!(black_box(seen).is_ok());
        }
    }
    start.elapsed() + switch::lisle_switches(2 * n)
}

pub(crate) fn entries() -> Vec<Entry> {
    vec![
        timed("channel ping-pong", NAME, ONE, round_trips),
        Entry {
            workload: "parked",
            peer: NAME,
            workers: ONE,
            body: Body::Figures(pages),
        },
    ]
}
