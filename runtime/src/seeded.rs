//! Reproducible interleavings: a closure under many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::Runtime;
use crate::sched::policy::PolicyKind;
use crate::thread;

/// Runs `test` once under each seed, as the first light thread of a runtime of
/// one LWP where every scheduling choice comes from the seed and time is
/// virtual. If a run panics, prints its seed and panics likewise.
///
/// What depends on anything but the seed (addresses, real time, readiness of
/// descriptors, other kernel threads) is not reproduced.
///
/// # Safety
/// `test` runs on a light thread: see
/// [`Builder::spawn_light`](crate::thread::Builder::spawn_light).
///
/// # Panics
/// As `test`; and if threads that it spawned have not ended, or wait for ever,
/// when it returns.
///
/// ```
/// use lisle_runtime::{seeded, thread};
/// // SAFETY: the closures touch no thread-local.
/// unsafe {
///     seeded::check(0..100, || {
///         let other = thread::Builder::new().spawn_light(|| thread::yield_now()).unwrap();
///         other.join().unwrap();
///     });
/// }
/// ```
pub unsafe fn check<F>(seeds: impl IntoIterator<Item = u64>, test: F)
where
    F: Fn() + Send + Sync + Clone + 'static,
{
    for seed in seeds {
        // SAFETY: passed on.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { run(seed, test.clone()) }));
        if let Err(payload) = outcome {
            eprintln!("failed under seed {seed}");
            resume_unwind(payload);
        }
    }
}

/// Runs `test` under one seed and returns what it returns: see [`check`].
///
/// # Safety
/// As [`check`].
///
/// # Panics
/// As [`check`].
pub unsafe fn run<F, T>(seed: u64, test: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let runtime = Runtime::builder()
        .policy(PolicyKind::Seeded(seed))
        .name_prefix("seeded")
        .build()
        .expect("a seeded runtime needs one kernel thread and a poller");
    // SAFETY: passed on.
    let main = unsafe {
        thread::Builder::new()
            .name("seeded".into())
            .on(&runtime)
            .spawn_light(test)
    };
    let outcome = main.expect("a thread needs a stack").join();
    let ended = runtime.shutdown(Duration::from_secs(10));
    match outcome {
        Err(payload) => resume_unwind(payload),
        Ok(value) => {
            if let Err(survivors) = ended {
                panic!("seed {seed}: {survivors}");
            }
            value
        }
    }
}
