//! Stack sizes, depth, overflow, backtraces.

use std::hint::black_box;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;

use lisle::thread::{self, Builder};
use lisle::upcall::Source;

use crate::support::{
    alone, emulated, end, in_child, on, runtime, skipped, spawn, stderr, stdout, until,
    until_waiting, watchdog,
};

/// Uses at least `kib` KiB of stack.
#[inline(never)]
fn descend(kib: usize) -> usize {
    let frame = black_box([kib as u8; 1024]);
    if kib == 0 {
        return 0;
    }
    1 + descend(kib - 1) + usize::from(frame[0] != frame[1023])
}

#[test]
fn every_size_class_has_room() {
    let _dog = watchdog();
    let rt = runtime(2);
    for shift in 16..=26 {
        let bytes = 1usize << shift;
        // Debug builds of this function use more than twice what they ask for.
        let kib = (bytes >> 10) / 8;
        let builder = Builder::new().on(&rt).stack_size(bytes);
        assert_eq!(spawn(builder, move || descend(kib)).join().unwrap(), kib);
    }
    end(rt);
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Who waits to begin has no stack, and those that begin as others end need few.
#[test]
fn threads_that_have_not_begun_take_no_stacks() {
    if emulated() {
        return skipped("the memory of threads that have not begun (guards take the emulator's)");
    }
    alone("stacks::threads_that_have_not_begun_take_no_stacks", || {
        const THREADS: usize = 4_000;
        let _dog = watchdog();
        let rt = lisle::Runtime::builder().lwps(1).upcalls(Source::Off);
        let rt = rt.build().unwrap();
        let parent = on(&rt, || {
            let before = resident();
            // SAFETY: they touch no thread-local.
            let spawn = |n| unsafe { Builder::new().spawn_light(move || n) }.unwrap();
            let threads: Vec<_> = (0..THREADS).map(spawn).collect();
            // A block each, of which eight are a page, and no page of a stack.
            let waiting = resident() - before;
            assert!(waiting < THREADS / 2, "{waiting} pages");
            for (n, thread) in threads.into_iter().enumerate() {
                assert_eq!(thread.join().unwrap(), n);
            }
            let ended = resident() - before;
            assert!(ended < THREADS / 2, "{ended} pages");
        });
        parent.join().unwrap();
        end(rt);
    });
}

/// Memory that threads needed once is given back by a process that is idle.
#[test]
fn an_idle_process_gives_stacks_back() {
    alone("stacks::an_idle_process_gives_stacks_back", || {
        const THREADS: usize = 3_000;
        let _dog = watchdog();
        // Never seeded: virtual time does not pass while nothing happens.
        let rt = lisle::Runtime::builder().lwps(2).build().unwrap();
        let parked: Vec<_> = (0..THREADS).map(|_| on(&rt, thread::park)).collect();
        for thread in &parked {
            until_waiting(thread.thread(), "park");
        }
        let most = resident();
        for thread in parked {
            thread.thread().unpark();
            thread.join().unwrap();
        }
        // A page each; an emulator's own memory grows meanwhile.
        until(|| resident() + THREADS * 3 / 4 < most);
        end(rt);
    });
}

#[test]
fn too_large_a_stack_is_an_error() {
    let _dog = watchdog();
    let rt = runtime(1);
    let builder = Builder::new().on(&rt).stack_size((64 << 20) + 1);
    // SAFETY: the closure touches no thread-local.
    let refused = unsafe { builder.spawn_light(|| ()) };
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    end(rt);
}

#[test]
fn the_runtimes_stack_size_is_the_default() {
    let _dog = watchdog();
    let rt = lisle::Runtime::builder().lwps(1).stack_size(16 << 20);
    let rt = rt.build().unwrap();
    assert_eq!(on(&rt, || descend(4 << 10)).join().unwrap(), 4 << 10);
    end(rt);
}

#[test]
fn the_high_water_mark_rises() {
    let _dog = watchdog();
    let rt = runtime(1);
    // Deeper than any other test here on a stack of this size.
    let marks = spawn(Builder::new().on(&rt).stack_size(32 << 20), || {
        let before = thread::stack_high_water().unwrap();
        descend(10 << 10);
        let after = thread::stack_high_water().unwrap();
        (before, after)
    });
    let (before, after) = marks.join().unwrap();
    assert!(
        before > 0 && after >= 10 << 20 && before < after,
        "{before} {after}"
    );
    assert_eq!(thread::stack_high_water(), None);
    end(rt);
}

/// Deep on one stack while other threads come and go on theirs.
#[test]
fn stacks_do_not_disturb_each_other() {
    #[inline(never)]
    fn check(depth: usize, seed: usize) -> bool {
        let frame: [usize; 64] = std::array::from_fn(|i| i ^ seed ^ depth);
        let deeper = depth == 0 || check(depth - 1, seed);
        thread::yield_now();
        let intact = frame
            .iter()
            .enumerate()
            .all(|(i, v)| *v == i ^ seed ^ depth);
        black_box(&frame);
        deeper && intact
    }
    let _dog = watchdog();
    let rt = runtime(2);
    let threads: Vec<_> = (0..100).map(|n| on(&rt, move || check(40, n))).collect();
    assert!(threads.into_iter().all(|t| t.join().unwrap()));
    end(rt);
}

#[inline(never)]
fn recurse(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    if frame[depth % 64] == usize::MAX {
        return 0;
    }
    recurse(depth + 1) + black_box(frame[3])
}

#[test]
fn an_overflow_names_the_thread_and_aborts() {
    let _dog = watchdog();
    let output = in_child(
        "stacks::an_overflow_names_the_thread_and_aborts",
        &[],
        || {
            let rt = runtime(2);
            let gustave = Builder::new().on(&rt).name("gustave".into());
            spawn(gustave, || recurse(0)).join().unwrap();
            println!("survived");
        },
    );
    let errors = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    let expected = "\nthread 'gustave' has overflowed its stack\n";
    assert!(errors.contains(expected), "{errors}");
    assert!(!stdout(&output).contains("survived"));
}

/// Also on the kernel thread that took an LWP over.
#[test]
fn an_overflow_after_a_hand_over_names_the_thread() {
    struct Sleeps;
    impl Drop for Sleeps {
        fn drop(&mut self) {
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    let _dog = watchdog();
    let test = "stacks::an_overflow_after_a_hand_over_names_the_thread";
    let output = in_child(test, &[], || {
        let rt = runtime(1);
        let unwound = on(&rt, || {
            let _sleeps = Sleeps;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(unwound.join().is_err());
        spawn(Builder::new().on(&rt).name("second".into()), || recurse(0))
            .join()
            .unwrap();
    });
    let errors = stderr(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{errors}");
    assert!(
        errors.contains("thread 'second' has overflowed"),
        "{errors}"
    );
}

#[test]
fn a_backtrace_ends_at_the_threads_first_frame() {
    #[inline(never)]
    fn trace() -> String {
        std::backtrace::Backtrace::force_capture().to_string()
    }
    let _dog = watchdog();
    let rt = runtime(1);
    let builder = Builder::new().on(&rt).stack_size(4 << 20);
    let text = spawn(builder, trace).join().unwrap();
    let frames: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().starts_with("at "))
        .collect();
    // How much of a name there is depends on the profile.
    assert!(frames[0].contains("trace"), "{text}");
    assert!(frames.last().unwrap().contains("start"), "{text}");
    assert!((3..100).contains(&frames.len()), "{text}");
    // What the kernel thread did before is no part of it.
    assert!(!text.contains("carry"), "{text}");
    end(rt);
}
