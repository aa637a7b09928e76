//! 1: one LWP, a thread that reads a pipe again and again, and one that computes.
//!
//! The reader asks a kernel thread for a byte, which comes after 400 µs, and reads it with std: each read blocks
//! the kernel thread. Between two reads it yields, so that it is one of lisle's threads again and each read takes
//! the LWP once more. The other thread computes some microseconds, yields, and counts. How fast is it, compared
//! with how fast it is alone?

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lisle::Runtime;
use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::Source;

use crate::{Figure, Plan, handovers, runtime};

const READ_TAKES: Duration = Duration::from_micros(400);

/// A thread that computes, yields, and counts, until told to stop.
pub(crate) struct Worker {
    stop: Arc<AtomicBool>,
    steps: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(crate) fn start(runtime: &Runtime) -> Worker {
        let (stop, steps) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let body = {
            let (stop, steps) = (stop.clone(), steps.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut n = steps.load(Ordering::Relaxed);
                    for _ in 0..2_000 {
                        n = std::hint::black_box(n.wrapping_mul(6_364_136_223_846_793_005) + 1);
                    }
                    steps.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            }
        };
        let thread = Builder::new().on(runtime).spawn(body).expect("a thread");
        Worker {
            stop,
            steps,
            thread,
        }
    }

    /// Steps per second while `during` runs.
    pub(crate) fn speed(&self, during: impl FnOnce()) -> f64 {
        let (began, before) = (Instant::now(), self.steps.load(Ordering::Relaxed));
        during();
        let steps = self.steps.load(Ordering::Relaxed) - before;
        steps as f64 / began.elapsed().as_secs_f64()
    }

    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic");
    }
}

fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which are then owned once.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (
            OwnedFd::from_raw_fd(ends[0]).into(),
            OwnedFd::from_raw_fd(ends[1]).into(),
        )
    }
}

/// In percent, what the computing thread's speed is beside the reader.
pub(crate) fn share(plan: &Plan, source: Source) -> Figure {
    let (reads, window) = (plan.reads, plan.window);
    let rt = runtime(1, source);
    let worker = Worker::start(&rt);
    // Alone before and after: the machine may change.
    let before = worker.speed(|| std::thread::sleep(window / 2));
    let handovers_before = handovers(&rt);
    let beside = worker.speed(|| {
        let (mut asked, mut ask) = pipe();
        let (mut from, mut answer) = pipe();
        let writer = std::thread::spawn(move || {
            while asked.read_exact(&mut [0]).is_ok() {
                std::thread::sleep(READ_TAKES);
                answer.write_all(&[0]).expect("a reader");
            }
        });
        let reader = move || {
            for _ in 0..reads {
                ask.write_all(&[0]).expect("a writer");
                from.read_exact(&mut [0]).expect("a writer");
                thread::yield_now();
            }
        };
        let reader = Builder::new().on(&rt).spawn(reader).expect("a thread");
        reader.join().expect("it does not panic");
        writer.join().expect("it does not panic");
    });
    let handovers = handovers(&rt) - handovers_before;
    let after = worker.speed(|| std::thread::sleep(window / 2));
    worker.end();
    Figure {
        value: 200.0 * beside / (before + after),
        handovers,
        hog: None,
    }
}
