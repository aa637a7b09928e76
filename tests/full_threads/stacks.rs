//! Stacks: backtraces, overflow, sizes.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;

use lisle::thread::{self, Builder};

use super::travel::Trip;
use crate::support::{ABORTED, end, in_child, runtime, stderr, stdout, watchdog};

#[inline(never)]
fn trace() -> String {
    std::backtrace::Backtrace::force_capture().to_string()
}

#[test]
fn a_backtrace_ends_at_the_threads_first_frame() {
    let _dog = watchdog();
    let trip = Trip::new(2);
    for fresh in [false, true] {
        let builder = Builder::new().fresh(fresh).stack_size(4 << 20);
        let thread = trip.spawn_as(builder, |go| {
            go.hop();
            let first = trace();
            go.hop();
            (first, trace())
        });
        let (first, second) = thread.join().unwrap();
        for text in [first, second] {
            let frames: Vec<_> = text
                .lines()
                .filter(|line| !line.trim().starts_with("at "))
                .collect();
            assert!(frames[0].contains("trace"), "{text}");
            assert!(frames.last().unwrap().contains("start"), "{text}");
            assert!((3..100).contains(&frames.len()), "{text}");
            // Neither what the kernel thread did before nor how the thread was
            // made is part of it.
            for other in ["carry", "donate", "start_thread", "clone"] {
                assert!(!text.contains(other), "{text}");
            }
        }
    }
    trip.end();
}

/// Recurses for ever.
#[inline(never)]
fn recurse(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    if frame[depth % 64] == usize::MAX {
        return 0;
    }
    recurse(depth + 1) + black_box(frame[3])
}

fn overflow(test: &str, deed: fn()) {
    let output = in_child(test, &[], deed);
    let errors = stderr(&output);
    assert_eq!(output.status.signal(), Some(ABORTED), "{errors}");
    let expected = "\nthread 'gustave' has overflowed its stack\n";
    assert!(errors.contains(expected), "{errors}");
    assert!(!stdout(&output).contains("survived"));
}

#[test]
fn an_overflow_names_the_thread() {
    let _dog = watchdog();
    overflow("stacks::an_overflow_names_the_thread", || {
        let trip = Trip::new(2);
        let gustave = Builder::new().name("gustave".into());
        let thread = trip.spawn_as(gustave, |go| {
            go.hops(5);
            recurse(0)
        });
        thread.join().unwrap();
        println!("survived");
    });
}

/// The thread that had the stack before had another name.
#[test]
fn an_overflow_of_a_reused_stack_names_the_thread() {
    let _dog = watchdog();
    let test = "stacks::an_overflow_of_a_reused_stack_names_the_thread";
    overflow(test, || {
        let rt = runtime(1);
        let named = |name: &str| Builder::new().on(&rt).name(name.into());
        for n in 0..3 {
            let other = named(&format!("other-{n}")).spawn(thread::yield_now);
            other.unwrap().join().unwrap();
        }
        let gustave = named("gustave").spawn(|| recurse(0));
        gustave.unwrap().join().unwrap();
        println!("survived");
    });
}

#[test]
fn an_overflow_of_a_fresh_threads_stack_names_it() {
    let _dog = watchdog();
    overflow(
        "stacks::an_overflow_of_a_fresh_threads_stack_names_it",
        || {
            let rt = runtime(2);
            let gustave = Builder::new().on(&rt).fresh(true).name("gustave".into());
            gustave.spawn(|| recurse(0)).unwrap().join().unwrap();
            println!("survived");
        },
    );
}

/// Uses at least so many KiB of stack.
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
    for fresh in [false, true] {
        for shift in 16..=26 {
            // Debug builds of this function use more than twice what they ask for.
            let kib = (1usize << shift >> 10) / 8;
            let builder = Builder::new().on(&rt).stack_size(1 << shift).fresh(fresh);
            let thread = builder.spawn(move || descend(kib)).unwrap();
            assert_eq!(thread.join().unwrap(), kib);
        }
    }
    end(rt);
}
