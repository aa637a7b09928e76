//! The process and the system: children, forks, names, libraries.

use std::io::Write;
use std::net::ToSocketAddrs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use lisle::thread::{self, Builder};

use super::travel::{Trip, joined};
use crate::support::{alone, end, many, message, runtime, say, watchdog};

#[test]
fn commands_run_and_are_waited_for() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    trip.all(4, |who, go| {
        for n in 0..many(5) {
            let word = format!("{who}-{n}");
            let output = Command::new("echo").arg(&word).output().unwrap();
            assert_eq!(output.stdout, format!("{word}\n").as_bytes());
            go.hop();
            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::piped());
            // By fork and exec, rather than by posix_spawn.
            // SAFETY: nothing happens in between.
            unsafe { cat.pre_exec(|| Ok(())) };
            let mut cat = cat.spawn().unwrap();
            go.hop();
            let mut stdin = cat.stdin.take().unwrap();
            stdin.write_all(word.as_bytes()).unwrap();
            drop(stdin);
            go.hop();
            assert_eq!(cat.wait_with_output().unwrap().stdout, word.as_bytes());
            let missing = Command::new("/no/such/program").spawn();
            assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
            go.hop();
        }
    });
    trip.end();
}

/// Forks; the child does `checks` and ends. Returns its wait status.
fn forked(checks: impl FnOnce()) -> i32 {
    // SAFETY: the child uses only what is meant to work there, and ends.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        // SAFETY: plain system call; no watchdog is left here.
        unsafe { libc::alarm(30) };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(checks));
        if let Err(payload) = &outcome {
            say(&format!("in the forked child: {}\n", message(&**payload)));
        }
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(i32::from(outcome.is_err())) }
    }
    let mut status = 0;
    // SAFETY: plain system call with a valid place.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// The child of a full thread is that thread, with its thread-locals, on a kernel
/// thread of its own; threads of all kinds can be made in it.
#[test]
fn a_forked_child_has_the_threads_locals_and_can_make_threads() {
    use std::cell::Cell;
    thread_local!(static MINE: Cell<usize> = const { Cell::new(0) });
    let _dog = watchdog();
    alone(
        "process::a_forked_child_has_the_threads_locals_and_can_make_threads",
        || {
            let trip = Trip::new(3);
            trip.all(3, |who, go| {
                for round in 0..4 {
                    MINE.set(who * 10 + round);
                    let std_id = std::thread::current().id();
                    go.hop();
                    let status = forked(|| {
                        assert_eq!(MINE.get(), who * 10 + round);
                        assert_eq!(std::thread::current().id(), std_id);
                        let memory = vec![7u8; 100_000];
                        let kernel = std::thread::spawn(move || memory.len());
                        assert_eq!(kernel.join().unwrap(), 100_000);
                        let full: Vec<_> = (0..20)
                            .map(|n| {
                                thread::spawn(move || {
                                    assert_eq!(MINE.get(), 0);
                                    MINE.set(n);
                                    thread::yield_now();
                                    MINE.replace(0)
                                })
                            })
                            .collect();
                        let sum: usize = joined(full).into_iter().sum();
                        assert_eq!(sum, 190);
                        let fresh = Builder::new().fresh(true).spawn(|| MINE.replace(5));
                        assert_eq!(fresh.unwrap().join().unwrap(), 0);
                        assert_eq!(MINE.get(), who * 10 + round);
                        let output = Command::new("echo").output().unwrap();
                        assert!(output.status.success());
                    });
                    assert_eq!(status, 0);
                    go.hop();
                    assert_eq!(MINE.get(), who * 10 + round);
                }
            });
            trip.end();
        },
    );
}

/// What the parent's threads stood on is lost in the child, not confused.
#[test]
fn a_forked_child_leaves_the_parents_threads_behind() {
    let _dog = watchdog();
    alone(
        "process::a_forked_child_leaves_the_parents_threads_behind",
        || {
            let rt = runtime(2);
            let parked = Builder::new().on(&rt).spawn(|| {
                thread::park();
                6
            });
            let parked = parked.unwrap();
            crate::support::until_waiting(parked.thread(), "park");
            let forking = Builder::new().on(&rt).spawn(move || {
                let mut parked = Some(parked);
                let status = forked(|| {
                    let gone = parked.take().unwrap().join();
                    assert!(gone.unwrap_err().is::<thread::ForkedError>());
                    for _ in 0..50 {
                        assert_eq!(thread::spawn(|| 5).join().unwrap(), 5);
                    }
                    let own = runtime(2);
                    let thread = Builder::new().on(&own).fresh(true).spawn(|| 7);
                    assert_eq!(thread.unwrap().join().unwrap(), 7);
                    end(own);
                });
                assert_eq!(status, 0);
                let parked = parked.take().unwrap();
                parked.thread().unpark();
                parked.join().unwrap()
            });
            assert_eq!(forking.unwrap().join().unwrap(), 6);
            end(rt);
        },
    );
}

/// In the child libc uses the stack of the kernel thread that carried the forking
/// thread again, and gives it back; the kernel must not write there.
#[test]
fn a_forked_child_outlives_the_stack_of_its_carrier() {
    let _dog = watchdog();
    alone(
        "process::a_forked_child_outlives_the_stack_of_its_carrier",
        || {
            // More stacks than libc keeps.
            let rt = runtime(40);
            for _ in 0..10 {
                let forking = Builder::new().on(&rt).spawn(|| {
                    forked(|| {
                        for _ in 0..20 {
                            let kernel = std::thread::spawn(std::thread::yield_now);
                            kernel.join().unwrap();
                            std::thread::yield_now();
                        }
                    })
                });
                assert_eq!(forking.unwrap().join().unwrap(), 0);
            }
            end(rt);
        },
    );
}

/// In the child of a full thread that returns, the process ends with it.
#[test]
fn a_full_thread_that_returns_in_the_child_ends_it() {
    let _dog = watchdog();
    alone(
        "process::a_full_thread_that_returns_in_the_child_ends_it",
        || {
            let rt = runtime(2);
            for fresh in [false, true] {
                let forking = Builder::new().on(&rt).fresh(fresh).spawn(|| {
                    // SAFETY: the child returns at once.
                    unsafe { libc::fork() }
                });
                let pid = forking.unwrap().join().unwrap();
                let mut status = -1;
                // SAFETY: plain system call with a valid place.
                assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
                assert_eq!(status, 0);
            }
            end(rt);
        },
    );
}

#[test]
fn names_are_resolved() {
    let _dog = watchdog();
    let trip = Trip::new(4);
    trip.all(4, |_, go| {
        for _ in 0..many(10) {
            let addresses: Vec<_> = ("localhost", 80).to_socket_addrs().unwrap().collect();
            assert!(addresses.iter().all(|address| address.ip().is_loopback()));
            assert!(!addresses.is_empty());
            go.hop();
            // The resolver's state is a thread-local; so is its error.
            assert!("no.such.name.invalid:1".to_socket_addrs().is_err());
            go.hop();
        }
    });
    trip.end();
}

/// Functions of libc that keep something for each thread.
#[test]
fn per_thread_places_inside_libc() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    trip.all(8, |who, go| {
        for n in 0..many(50) {
            let number = -(1000 * (who as i32 + 1) + n as i32);
            // SAFETY: the calling thread's own text.
            let unknown = unsafe { libc::strerror(number) };
            go.hop();
            // SAFETY: valid until the thread's next call.
            let text = unsafe { std::ffi::CStr::from_ptr(unknown) };
            let text = text.to_str().unwrap();
            // musl has one text for all.
            if cfg!(target_env = "gnu") {
                assert!(text.ends_with(&number.to_string()), "{text}");
            }
            // SAFETY: asks for this process's kernel thread.
            assert!(unsafe { libc::sched_getcpu() } >= 0);
        }
    });
    trip.end();
}
