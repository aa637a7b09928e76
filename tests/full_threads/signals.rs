//! Signals that arrive while threads switch: a handler may find any thread's
//! thread-locals, but never half of them.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lisle::thread::{self, Builder};

use super::travel::{Trip, joined};
use crate::support::{alone, end, many, runtime, until, watchdog};

static CAUGHT: AtomicUsize = AtomicUsize::new(0);

thread_local!(static SEEN: AtomicI32 = const { AtomicI32::new(0) });

/// Uses `errno` and a thread-local as signal handlers do, and puts them back.
extern "C" fn handler(_: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the interrupted thread's own word.
    unsafe {
        let before = *libc::__errno_location();
        *libc::__errno_location() = 99;
        SEEN.with(|seen| seen.fetch_add(1, Ordering::Relaxed));
        *libc::__errno_location() = before;
    }
}

fn catch(signal: libc::c_int, flags: libc::c_int) {
    // SAFETY: all zeroes is an action; the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

/// Sends the signal to this kernel thread, or to the process; false if it is gone.
fn send(signal: libc::c_int, to: Option<i32>) -> bool {
    // SAFETY: plain system calls.
    unsafe {
        let process = libc::getpid();
        match to {
            Some(thread) => libc::syscall(libc::SYS_tgkill, process, thread, signal) == 0,
            None => libc::kill(process, signal) == 0,
        }
    }
}

fn carriers() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .map(|task| task.unwrap())
        .filter(|task| {
            let name = std::fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name.starts_with("lisle-"))
        })
        .map(|task| task.file_name().to_str().unwrap().parse().unwrap())
        .collect()
}

/// Signals by the thousand, to the process and to the kernel threads that carry
/// LWPs, on their alternate stacks and on whatever stack runs.
#[test]
fn signals_by_the_thousand_while_threads_switch() {
    let _dog = watchdog();
    alone(
        "signals::signals_by_the_thousand_while_threads_switch",
        || {
            const THREADS: usize = 4;
            catch(libc::SIGUSR1, libc::SA_RESTART);
            catch(libc::SIGUSR2, libc::SA_RESTART | libc::SA_ONSTACK);
            let trip = Trip::new(THREADS);
            let left = Arc::new(Mutex::new(THREADS));
            let threads: Vec<_> = (0..THREADS as i32)
                .map(|who| {
                    let left = left.clone();
                    trip.spawn(move |go| {
                        let mut round = 0;
                        while CAUGHT.load(Ordering::Relaxed) < many(5000) {
                            round += 1;
                            // SAFETY: the calling thread's own word.
                            unsafe { *libc::__errno_location() = 1000 * who + round % 1000 };
                            thread::yield_now();
                            // SAFETY: as above.
                            let seen = unsafe { *libc::__errno_location() };
                            assert_eq!(seen, 1000 * who + round % 1000);
                            let child = thread::spawn(move || vec![who; 100].iter().sum::<i32>());
                            assert_eq!(child.join().unwrap(), 100 * who);
                            if round % 10 == 0 {
                                go.hop();
                            }
                        }
                        *left.lock().unwrap() -= 1;
                    })
                })
                .collect();
            // Also those that are about to become donors. (A kernel thread has its name a while
            // after it was made.)
            let mut targets = carriers();
            while targets.len() <= THREADS {
                std::thread::yield_now();
                targets = carriers();
            }
            let mut sent = 0;
            while *left.lock().unwrap() > 0 {
                for &target in &targets {
                    send(libc::SIGUSR1, Some(target));
                    send(libc::SIGUSR2, Some(target));
                }
                send(libc::SIGUSR2, None);
                sent += 1;
                if sent % 8 == 0 {
                    std::thread::yield_now();
                }
            }
            joined(threads);
            assert!(CAUGHT.load(Ordering::Relaxed) >= many(5000));
            trip.end();
        },
    );
}

/// A thread signals itself: its own kernel thread, wherever that is.
#[test]
fn a_raised_signal_is_handled_by_the_thread_itself() {
    let _dog = watchdog();
    alone(
        "signals::a_raised_signal_is_handled_by_the_thread_itself",
        || {
            catch(libc::SIGUSR1, libc::SA_RESTART | libc::SA_ONSTACK);
            let trip = Trip::new(4);
            trip.all(4, |_, go| {
                for n in 1..=many(50) as i32 {
                    let me = super::travel::kernel_thread();
                    assert!(send(libc::SIGUSR1, Some(me)));
                    assert_eq!(SEEN.with(|seen| seen.load(Ordering::Relaxed)), n);
                    go.hop();
                    assert_eq!(SEEN.with(|seen| seen.load(Ordering::Relaxed)), n);
                }
            });
            trip.end();
        },
    );
}

/// A donor is made and ended with signals on their way: none is lost to the
/// process, none runs on a thread that is half made.
#[test]
fn signals_while_threads_are_made_and_ended() {
    let _dog = watchdog();
    alone("signals::signals_while_threads_are_made_and_ended", || {
        catch(libc::SIGUSR1, libc::SA_RESTART);
        let rt = runtime(2);
        let over = Arc::new(AtomicUsize::new(0));
        let makers: Vec<_> = (0..2)
            .map(|_| {
                let over = over.clone();
                let body = move || {
                    for n in 0..many(300) {
                        let fresh = Builder::new().fresh(true).spawn(move || {
                            SEEN.with(|seen| seen.fetch_add(1, Ordering::Relaxed));
                            thread::yield_now();
                            n
                        });
                        assert_eq!(fresh.unwrap().join().unwrap(), n);
                    }
                    over.fetch_add(1, Ordering::SeqCst);
                };
                Builder::new().on(&rt).spawn(body).unwrap()
            })
            .collect();
        while over.load(Ordering::SeqCst) < 2 {
            let before = CAUGHT.load(Ordering::Relaxed);
            assert!(send(libc::SIGUSR1, None));
            until(|| CAUGHT.load(Ordering::Relaxed) > before);
        }
        joined(makers);
        end(rt);
    });
}
