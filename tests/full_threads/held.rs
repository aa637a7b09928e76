//! What code holds that belongs to its thread, over calls that block.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Write;
use std::rc::Rc;

use lisle::thread;
use rand::RngExt;

use super::travel::{Trip, switches};
use crate::support::{in_child, many, stderr, stdout, watchdog};

/// The same generator, used before and after each move: an alias of a foreign
/// one would repeat its numbers.
#[test]
fn a_random_generator() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    let drawn = trip.all(8, |_, go| {
        let mut generator = rand::rng();
        let mut drawn = Vec::new();
        for _ in 0..many(200) {
            drawn.push(generator.random::<u64>());
            go.hop();
            drawn.push(rand::random::<u64>());
        }
        drawn
    });
    let drawn = drawn.concat();
    let distinct: HashSet<_> = drawn.iter().collect();
    assert_eq!(distinct.len(), drawn.len());
    trip.end();
}

/// A lock that its owner may take again, known by a thread-local of std.
#[test]
fn the_lock_of_standard_output() {
    const THREADS: usize = 4;
    let _dog = watchdog();
    let output = in_child("held::the_lock_of_standard_output", &[], || {
        // All but one may block their LWPs in the lock.
        let trip = Trip::with_blocked(THREADS, THREADS);
        trip.all(THREADS, |who, go| {
            for round in 0..many(20) {
                let mut out = std::io::stdout().lock();
                write!(out, "[{who}").unwrap();
                go.hop();
                print!(" {round}");
                go.hop();
                write!(std::io::stdout().lock(), " {who}").unwrap();
                go.hop();
                writeln!(out, "]").unwrap();
                drop(out);
                go.hop();
            }
        });
        trip.end();
    });
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let mut lines: Vec<_> = text.lines().filter(|line| line.contains('[')).collect();
    // The harness's own words stand before the first.
    let first = lines[0].rfind('[').unwrap();
    lines[0] = &lines[0][first..];
    let mut expected: Vec<_> = (0..THREADS)
        .flat_map(|who| (0..many(20)).map(move |round| format!("[{who} {round} {who}]")))
        .collect();
    lines.sort_unstable();
    expected.sort();
    assert_eq!(lines, expected, "{text}");
}

/// A counted reference out of a thread-local, whose count is not atomic.
#[test]
fn a_reference_out_of_a_thread_local() {
    thread_local!(static SHARED: Rc<RefCell<Vec<usize>>> = Rc::default());
    let _dog = watchdog();
    let trip = Trip::new(8);
    trip.all(8, |who, go| {
        SHARED.with(|shared| shared.borrow_mut().clear());
        let mine = SHARED.with(Rc::clone);
        for n in 0..many(100) {
            let another = SHARED.with(Rc::clone);
            go.hop();
            assert!(Rc::ptr_eq(&mine, &another));
            another.borrow_mut().push(who + n);
        }
        assert_eq!(Rc::strong_count(&mine), 2);
        assert!(mine.borrow().iter().copied().eq(who..who + many(100)));
    });
    trip.end();
}

#[test]
fn the_error_number() {
    fn errno() -> *mut libc::c_int {
        // SAFETY: no preconditions.
        unsafe { libc::__errno_location() }
    }
    let _dog = watchdog();
    let trip = Trip::new(8);
    trip.all(8, |who, go| {
        let place = errno();
        for n in 0..many(100) {
            // SAFETY: the calling thread's own word.
            unsafe { *errno() = (who * 1000 + n) as i32 };
            go.hop();
            // SAFETY: as above; the address holds for the thread's life.
            assert_eq!(unsafe { *place } as usize, who * 1000 + n);
            assert_eq!(errno(), place);
            // A failing call here is not seen by the others.
            // SAFETY: a bad descriptor is an error.
            assert_eq!(unsafe { libc::close(-1) }, -1);
            go.hop();
            assert_eq!(
                std::io::Error::last_os_error().raw_os_error(),
                Some(libc::EBADF)
            );
        }
    });
    trip.end();
}

/// Every blocking call keeps it as any call of libc would, or changes it as the
/// thread's own.
#[test]
fn the_error_number_over_every_kind_of_wait() {
    let _dog = watchdog();
    let rt = crate::support::runtime(2);
    let threads: Vec<_> = (1..=20i32)
        .map(|n| {
            let body = move || {
                let before = switches();
                for round in 0..many(100) {
                    // To make a thread is not to wait, and may change the number, as std's
                    // may: the system's call is made for it.
                    let child = (round % 4 == 3).then(|| thread::spawn(thread::yield_now));
                    // SAFETY: the calling thread's own word.
                    unsafe { *libc::__errno_location() = n };
                    match round % 4 {
                        0 => thread::yield_now(),
                        1 => thread::sleep(std::time::Duration::from_micros(20)),
                        2 => thread::park_timeout(std::time::Duration::from_micros(20)),
                        _ => child.unwrap().join().unwrap(),
                    }
                    // SAFETY: as above.
                    assert_eq!(unsafe { *libc::__errno_location() }, n, "round {round}");
                }
                assert!(switches() > before);
            };
            thread::Builder::new().on(&rt).spawn(body).unwrap()
        })
        .collect();
    super::travel::joined(threads);
    crate::support::end(rt);
}
