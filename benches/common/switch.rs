//! Bare switches between contexts: what a yield cannot be cheaper than.

use std::hint::black_box;
use std::time::{Duration, Instant};

use corosensei::{Coroutine, CoroutineResult};
use lisle_lwp::arch::{self, Context};

/// Two contexts that resume each other.
struct Pair {
    driver: Context,
    partner: Context,
}

/// Sends back every word it is sent.
unsafe extern "C" fn echo(mut word: usize, pair: *mut ()) -> ! {
    let pair = pair.cast::<Pair>();
    loop {
        // SAFETY: the pair outlives this context, and the driver is suspended whenever this context runs.
        word = unsafe { arch::switch(&raw mut (*pair).partner, (*pair).driver, word) };
    }
}

/// One-way switches between this kernel thread and one other context.
pub(crate) fn lisle_switches(n: u64) -> Duration {
    let round_trips = n.div_ceil(2);
    let mut stack = vec![0_u128; 4096];
    let mut pair = Pair {
        driver: Context::EMPTY,
        partner: Context::EMPTY,
    };
    let pair = &raw mut pair;
    let top = stack.as_mut_ptr_range().end.cast();
    // SAFETY: the top of a slice of 16-byte words is 16-aligned, and nobody else uses the slice while the partner may
    // run, which is never again after the last switch below; nothing on it needs dropping.
    unsafe { (*pair).partner = arch::init(top, echo, pair.cast()) };
    let resume = |word| {
        // SAFETY: the partner is suspended whenever the driver runs.
        unsafe { arch::switch(&raw mut (*pair).driver, (*pair).partner, word) }
    };
    resume(0);
    let start = Instant::now();
    for word in 0..round_trips {
        black_box(resume(word as usize));
    }
    let took = start.elapsed();
    super::scale(took, 2 * round_trips, n)
}

/// One-way switches between this kernel thread and a corosensei coroutine.
pub(crate) fn corosensei_switches(n: u64) -> Duration {
    let round_trips = n.div_ceil(2);
    let mut partner = Coroutine::new(|yielder, mut word: usize| {
        while word != usize::MAX {
            word = yielder.suspend(word);
        }
    });
    let mut resume = |word| match partner.resume(word) {
        CoroutineResult::Yield(word) => word,
        CoroutineResult::Return(()) => usize::MAX,
    };
    resume(0);
    let start = Instant::now();
    for word in 0..round_trips {
        black_box(resume(word as usize));
    }
    let took = start.elapsed();
    resume(usize::MAX);
    super::scale(took, 2 * round_trips, n)
}
