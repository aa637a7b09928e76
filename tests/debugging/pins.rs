//! Dumps while threads come, go, wait and are suspended: nothing is lost, nobody is
//! left held back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::thread;
use lisle::{channel, dump};

use crate::support::{end, many, on, runtime, watchdog};

/// Dumps until told to stop; returns how many backtraces it got.
fn dumps(stop: &AtomicBool) -> usize {
    let mut traces = 0;
    while !stop.load(Ordering::Relaxed) {
        let dump = dump();
        let traced = |found: &&lisle::debug::ThreadDump| !found.backtrace.frames().is_empty();
        traces += dump.threads.iter().filter(traced).count();
    }
    traces
}

fn while_dumping(dumpers: usize, work: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let dumpers: Vec<_> = (0..dumpers)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || dumps(&stop))
        })
        .collect();
    work();
    stop.store(true, Ordering::Relaxed);
    for dumper in dumpers {
        dumper.join().unwrap();
    }
}

#[test]
fn messages_arrive_while_their_receivers_are_looked_at() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let rounds = many(20_000);
    while_dumping(2, || {
        let pairs: Vec<_> = (0..4)
            .map(|_| {
                let (ping, pinged) = channel::bounded(0);
                let (pong, ponged) = channel::bounded(0);
                let answers = on(&rt, move || {
                    for n in pinged {
                        pong.send(n).unwrap();
                    }
                });
                let asks = on(&rt, move || {
                    (0..rounds)
                        .map(|n| {
                            ping.send(n).unwrap();
                            ponged.recv().unwrap()
                        })
                        .sum::<usize>()
                });
                (asks, answers)
            })
            .collect();
        for (asks, answers) in pairs {
            assert_eq!(asks.join().unwrap(), rounds * (rounds - 1) / 2);
            answers.join().unwrap();
        }
    });
    end(rt);
}

#[test]
fn threads_come_and_go_while_they_are_looked_at() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let ended = Arc::new(AtomicUsize::new(0));
    let rounds = many(300);
    while_dumping(2, || {
        for _ in 0..rounds {
            let spawn = |n: usize| {
                let ended = ended.clone();
                on(&rt, move || {
                    if n.is_multiple_of(2) {
                        thread::yield_now();
                    } else {
                        thread::park();
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                })
            };
            let threads: Vec<_> = (0..20).map(spawn).collect();
            for thread in threads {
                thread.thread().unpark();
                thread.join().unwrap();
            }
        }
    });
    assert_eq!(ended.load(Ordering::Relaxed), rounds * 20);
    end(rt);
}

#[test]
fn a_look_does_not_end_a_suspension_nor_begin_one() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let steps = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let walks = on(&rt, {
        let (steps, stop) = (steps.clone(), stop.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                steps.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
        }
    });
    while_dumping(2, || {
        for _ in 0..many(100) {
            walks.thread().suspend();
            crate::support::until_state(walks.thread(), thread::State::Suspended);
            let stands = steps.load(Ordering::Relaxed);
            let _ = dump();
            assert_eq!(steps.load(Ordering::Relaxed), stands);
            walks.thread().resume();
            crate::support::until(|| steps.load(Ordering::Relaxed) > stands);
        }
    });
    stop.store(true, Ordering::Relaxed);
    walks.join().unwrap();
    end(rt);
}

/// Threads that switch all the time, and threads that compute and are preempted: whatever
/// the signal interrupts, it comes to nothing worse than no backtrace.
#[test]
fn all_ends_well_under_a_storm_of_switches_and_signals() {
    let _watchdog = watchdog();
    let rt = lisle::Runtime::builder()
        .lwps(2)
        .time_slice(Some(Duration::from_millis(1)))
        .build()
        .unwrap();
    let rounds = many(20_000);
    #[inline(never)]
    fn computes(rounds: usize) -> usize {
        (0..rounds * 50).fold(0, |sum, n| std::hint::black_box(sum + n % 2))
    }
    while_dumping(2, || {
        let switchers = (0..4).map(|n| {
            let body = move || {
                for round in 0..rounds {
                    if (round + n) % 3 == 0 {
                        thread::spawn(move || std::hint::black_box(n))
                            .join()
                            .unwrap();
                    } else {
                        thread::yield_now();
                    }
                }
                rounds
            };
            match n % 2 {
                0 => on(&rt, body),
                _ => thread::Builder::new().on(&rt).spawn(body).unwrap(),
            }
        });
        let switchers: Vec<_> = switchers.collect();
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                thread::Builder::new()
                    .on(&rt)
                    .spawn(move || computes(rounds))
            })
            .collect();
        for switcher in switchers {
            assert_eq!(switcher.join().unwrap(), rounds);
        }
        for hog in hogs {
            assert_eq!(hog.unwrap().join().unwrap(), rounds * 25);
        }
    });
    end(rt);
}
