//! Changing the process's credentials, which concerns every kernel thread,
//! while LWPs run full threads that never yield. glibc can; what musl does
//! instead is tested, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lisle::Runtime;
use lisle::thread::{Builder, JoinHandle};
use lisle::upcall::Source;

use super::travel::joined;
use crate::support::{alone, end, until, watchdog};
#[cfg(target_env = "gnu")]
use {super::travel::Trip, crate::support::many};

/// A runtime without sentinels: those get a busy CPU only now and then, and
/// credentials change when every kernel thread has had its turn.
fn calm(lwps: usize) -> Runtime {
    let builder = Runtime::builder().lwps(lwps).upcalls(Source::Monitor);
    builder.build().unwrap()
}

/// Full threads that keep every LWP of a runtime until told to stop.
struct Spinners {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Spinners {
    fn new(lwps: usize) -> Spinners {
        let (runtime, stop) = (calm(lwps), Arc::new(AtomicBool::new(false)));
        let spinning = Arc::new(AtomicUsize::new(0));
        let threads = (0..lwps)
            .map(|_| {
                let (stop, spinning) = (stop.clone(), spinning.clone());
                let body = move || {
                    spinning.fetch_add(1, Ordering::SeqCst);
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                };
                Builder::new().on(&runtime).spawn(body).unwrap()
            })
            .collect();
        until(|| spinning.load(Ordering::SeqCst) == lwps);
        Spinners {
            runtime,
            stop,
            threads,
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        joined(self.threads);
        end(self.runtime);
    }
}

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// The effective user of every kernel thread of the process, those included that are about to be
/// gone and have been told of no change.
fn users() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .map(|status| {
            let line = status.lines().find(|line| line.starts_with("Uid:"));
            line.unwrap()
                .split_whitespace()
                .nth(2)
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

#[cfg(target_env = "gnu")]
/// Every call of the family that changes nothing, or changes it back.
fn change_all() {
    // SAFETY: plain calls of libc.
    unsafe {
        let (user, group) = (libc::getuid(), libc::getgid());
        assert_eq!(libc::setuid(user), 0);
        assert_eq!(libc::setgid(group), 0);
        assert_eq!(libc::seteuid(user), 0);
        assert_eq!(libc::setegid(group), 0);
        assert_eq!(libc::setreuid(user, user), 0);
        assert_eq!(libc::setregid(group, group), 0);
        assert_eq!(libc::setresuid(user, user, user), 0);
        assert_eq!(libc::setresgid(group, group, group), 0);
        if is_root() {
            let mut groups = [0; 1024];
            let count = libc::getgroups(1024, groups.as_mut_ptr());
            assert!(count >= 0);
            assert_eq!(libc::setgroups(count as usize, groups.as_ptr()), 0);
        }
    }
}

#[cfg(target_env = "gnu")]
#[test]
fn the_setuid_family_while_threads_spin_without_yielding() {
    let _dog = watchdog();
    alone(
        "credentials::the_setuid_family_while_threads_spin_without_yielding",
        || {
            let spinners = Spinners::new(3);
            for _ in 0..many(20) {
                change_all();
            }
            spinners.end();
        },
    );
}

/// All kernel threads change, those that run full threads included; and change
/// back.
#[cfg(target_env = "gnu")]
#[test]
fn every_kernel_thread_gets_the_new_credentials() {
    let _dog = watchdog();
    alone(
        "credentials::every_kernel_thread_gets_the_new_credentials",
        || {
            if !is_root() {
                // Nobody else may change them.
                return change_all();
            }
            let spinners = Spinners::new(3);
            for user in [65534, 0, 1, 0] {
                // SAFETY: plain call of libc.
                assert_eq!(unsafe { libc::seteuid(user) }, 0);
                until(|| users().iter().all(|other| *other == user));
                assert!(users().len() >= 5, "{:?}", users());
            }
            spinners.end();
        },
    );
}

/// The caller is a full thread itself, and moves between the calls.
#[cfg(target_env = "gnu")]
#[test]
fn a_full_thread_changes_them() {
    let _dog = watchdog();
    alone("credentials::a_full_thread_changes_them", || {
        let trip = Trip::new(3);
        let spinners = Spinners::new(2);
        trip.all(3, |_, go| {
            for _ in 0..many(10) {
                change_all();
                go.hops(10);
            }
        });
        spinners.end();
        trip.end();
    });
}

/// While full threads are made and ended, which are kernel threads for a moment.
#[cfg(target_env = "gnu")]
#[test]
fn while_threads_are_made_and_ended() {
    let _dog = watchdog();
    alone("credentials::while_threads_are_made_and_ended", || {
        let rt = calm(2);
        let made = Arc::new(AtomicUsize::new(0));
        let makers: Vec<_> = (0..2)
            .map(|_| {
                let made = made.clone();
                let body = move || {
                    for _ in 0..many(500) {
                        let fresh = Builder::new().fresh(true).spawn(|| ());
                        fresh.unwrap().join().unwrap();
                        made.fetch_add(1, Ordering::SeqCst);
                    }
                };
                Builder::new().on(&rt).spawn(body).unwrap()
            })
            .collect();
        while made.load(Ordering::SeqCst) < 2 * many(500) {
            // SAFETY: plain call of libc.
            assert_eq!(unsafe { libc::setuid(libc::getuid()) }, 0);
        }
        joined(makers);
        end(rt);
    });
}

/// musl asks every thread that it knows, one of which has no kernel thread: it
/// changes nothing, and says so by a number that is not 0.
#[cfg(target_env = "musl")]
#[test]
fn musl_changes_nothing_once_there_are_full_threads() {
    let _dog = watchdog();
    alone(
        "credentials::musl_changes_nothing_once_there_are_full_threads",
        || {
            let spinners = Spinners::new(2);
            // SAFETY: plain call of libc.
            let own = unsafe { libc::geteuid() };
            // SAFETY: plain calls of libc.
            unsafe {
                assert_ne!(libc::seteuid(if is_root() { 65534 } else { own }), 0);
                assert_ne!(libc::setuid(libc::getuid()), 0);
            }
            // Helpers come and go, so that their number says nothing.
            let users = users();
            assert!(users.iter().all(|other| *other == own), "{users:?}");
            spinners.end();
        },
    );
}

/// Called by a full thread, musl thinks that it is in a process that has been
/// forked, and changes one kernel thread.
#[cfg(target_env = "musl")]
#[test]
fn musl_changes_one_kernel_thread_for_a_full_thread() {
    let _dog = watchdog();
    alone(
        "credentials::musl_changes_one_kernel_thread_for_a_full_thread",
        || {
            if !is_root() {
                return;
            }
            let rt = calm(2);
            let changed = Builder::new().on(&rt).spawn(|| {
                // SAFETY: plain call of libc.
                assert_eq!(unsafe { libc::seteuid(65534) }, 0);
                let changed = users().iter().filter(|user| **user == 65534).count();
                // SAFETY: as above.
                assert_eq!(unsafe { libc::seteuid(0) }, 0);
                changed
            });
            assert_eq!(changed.unwrap().join().unwrap(), 1);
            end(rt);
        },
    );
}
