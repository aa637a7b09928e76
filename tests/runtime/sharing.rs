//! LWPs among each other, runtimes among each other, and kernel threads from
//! outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::lwp::LwpInfo;
use lisle::{Runtime, thread};

use crate::support::{child, end, many, on, runtime, steady, until, until_waiting, watchdog};

fn total(rt: &Runtime, of: fn(&LwpInfo) -> u64) -> u64 {
    rt.lwp_list().iter().map(of).sum()
}

/// What a computing thread spawns is stolen, at the latest when it spawns more.
#[test]
fn children_of_a_computing_thread_are_stolen() {
    let _dog = watchdog();
    // Else the parent's own goes on without it if the other one is slow to come.
    let rt = steady(2);
    for _ in 0..20 {
        let done = Arc::new(AtomicUsize::new(0));
        let parent = on(&rt, move || {
            let mut children = Vec::new();
            // It neither waits nor yields: whoever runs a child has stolen it.
            while done.load(Ordering::Acquire) == 0 {
                let done = done.clone();
                children.push(child(move || done.fetch_add(1, Ordering::Release)));
                (0..1000).for_each(|_| std::hint::spin_loop());
            }
            children.into_iter().all(|c| c.join().is_ok())
        });
        assert!(parent.join().unwrap());
    }
    let (steals, stolen) = (
        total(&rt, |lwp| lwp.steals),
        total(&rt, |lwp| lwp.stolen_from),
    );
    assert!(steals >= 20 && steals == stolen, "{steals} {stolen}");
    end(rt);
}

/// A thread that becomes ready while every LWP is busy is run even if the one
/// that holds it computes on and never calls the runtime again.
#[test]
fn nothing_hides_behind_a_computing_thread() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (free, ran) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    // Keeps the other LWP busy until the child is queued.
    let busy = on(&rt, {
        let free = free.clone();
        move || {
            while !free.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        }
    });
    until(|| busy.thread().info().state == thread::State::Running);
    let stop = Arc::new(AtomicBool::new(false));
    let hog = on(&rt, {
        let (stop, ran) = (stop.clone(), ran.clone());
        move || {
            let hidden = child(move || ran.store(true, Ordering::Release));
            free.store(true, Ordering::Release);
            while !stop.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            hidden.join().unwrap();
        }
    });
    busy.join().unwrap();
    let mut patience = 0;
    until(|| {
        patience += 1;
        ran.load(Ordering::Acquire) || patience > 25_000
    });
    let in_time = ran.load(Ordering::Acquire);
    stop.store(true, Ordering::Release);
    hog.join().unwrap();
    end(rt);
    assert!(
        in_time,
        "the thread was run only when the computing one had ended"
    );
}

/// Of several threads that come from outside at once, one that computes does not
/// keep the others from running.
#[test]
fn threads_from_outside_do_not_hide_behind_each_other() {
    let _dog = watchdog();
    let rt = runtime(2);
    for _ in 0..50 {
        let done = Arc::new(AtomicBool::new(false));
        let waits = done.clone();
        let hog = on(&rt, move || {
            while !waits.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        });
        on(&rt, move || done.store(true, Ordering::Release))
            .join()
            .unwrap();
        hog.join().unwrap();
    }
    end(rt);
}

/// A thread that is unparked by one that computes on is run elsewhere.
#[test]
fn a_thread_woken_by_a_computing_one_is_run() {
    let _dog = watchdog();
    let rt = runtime(2);
    for _ in 0..20 {
        let ran = Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        let parked = on(&rt, move || {
            thread::park();
            flag.store(true, Ordering::Release);
        });
        until_waiting(parked.thread(), "park");
        let target = parked.thread().clone();
        let computing = on(&rt, move || {
            target.unpark();
            while !ran.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        });
        computing.join().unwrap();
        parked.join().unwrap();
    }
    end(rt);
}

/// A busy LWP does not keep others from serving deadlines.
#[test]
fn a_computing_thread_does_not_hold_up_deadlines() {
    let _dog = watchdog();
    let rt = runtime(2);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let hog = on(&rt, move || {
        while !stopped.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    for _ in 0..20 {
        on(&rt, || thread::sleep(Duration::from_millis(1)))
            .join()
            .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    end(rt);
}

#[test]
fn lwps_are_listed_with_what_they_did() {
    let _dog = watchdog();
    // They count what threads do on them, and not beside them.
    let rt = steady(2);
    let spawned = on(&rt, || {
        (0..100).for_each(|_| child(thread::yield_now).join().unwrap());
        lisle::lwp::list().unwrap().len()
    });
    assert_eq!(spawned.join().unwrap(), 2);
    let list = rt.lwp_list();
    assert_eq!(list.iter().map(|l| l.id).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(total(&rt, |lwp| lwp.spawned), 100);
    until(|| total(&rt, |lwp| lwp.ended) == 101);
    assert!(total(&rt, |lwp| lwp.switches) >= 200);
    let sleeper = on(&rt, || thread::sleep(Duration::from_secs(1 << 20)));
    until(|| rt.lwp_list().iter().map(|l| l.deadlines).sum::<usize>() == 1);
    sleeper.thread().cancel();
    assert!(sleeper.join().is_err());
    assert_eq!(rt.lwp_list().iter().map(|l| l.deadlines).sum::<usize>(), 0);
    end(rt);
}

/// An idle runtime sleeps without any period: for a while nothing is counted.
#[test]
fn an_idle_runtime_does_nothing() {
    let _dog = watchdog();
    let rt = runtime(2);
    let waiting = on(&rt, thread::park);
    let listener = lisle::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = on(&rt, move || listener.accept().map(drop));
    until_waiting(waiting.thread(), "park");
    until_waiting(accepting.thread(), "readable descriptor");
    let look = || total(&rt, |lwp| lwp.sleeps + lwp.polls + lwp.switches);
    // Settling down includes giving memory back, once.
    until(|| {
        let before = look();
        std::thread::sleep(Duration::from_millis(1500));
        look() == before
    });
    waiting.thread().unpark();
    accepting.thread().cancel();
    waiting.join().unwrap();
    assert!(accepting.join().is_err());
    end(rt);
}

#[test]
fn runtimes_join_and_unpark_across() {
    let _dog = watchdog();
    let (a, b) = (runtime(1), runtime(2));
    let parked = on(&b, || {
        thread::park();
        3
    });
    let target = parked.thread().clone();
    let joiner = on(&a, move || parked.join().unwrap() + 1);
    until_waiting(joiner.thread(), "join of thread");
    on(&a, move || target.unpark()).join().unwrap();
    assert_eq!(joiner.join().unwrap(), 4);
    let inner = b.clone();
    let nested = on(&a, move || {
        let far: Vec<_> = (0..50u64).map(|n| on(&inner, move || n)).collect();
        far.into_iter().map(|f| f.join().unwrap()).sum::<u64>()
    });
    assert_eq!(nested.join().unwrap(), 49 * 50 / 2);
    // Each thread's children stay in its own runtime.
    let of = |rt: &Runtime| on(rt, || child(thread::available_parallelism).join().unwrap());
    assert_eq!(of(&a).join().unwrap().unwrap().get(), 1);
    assert_eq!(of(&b).join().unwrap().unwrap().get(), 2);
    end(a);
    end(b);
}

/// Two threads of different runtimes hand a token to each other.
#[test]
fn runtimes_play_ping_pong() {
    let _dog = watchdog();
    let (a, b) = (runtime(1), runtime(1));
    let rounds = many(2000);
    let ping = on(&a, move || (0..rounds).for_each(|_| thread::park()));
    let target = ping.thread().clone();
    let pong = on(&b, move || {
        while !ping.is_finished() {
            target.unpark();
            thread::yield_now();
        }
        ping.join().is_ok()
    });
    assert!(pong.join().unwrap());
    end(a);
    end(b);
}

/// No wake-up from outside is lost, with LWPs that go to sleep in between.
#[test]
fn stampede_of_kernel_threads() {
    const THREADS: usize = 4;
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(2000);
    let pairs: Vec<_> = (0..THREADS)
        .map(|_| {
            let count = Arc::new(AtomicUsize::new(0));
            let counted = count.clone();
            let light = on(&rt, move || {
                for _ in 0..rounds {
                    thread::park();
                    counted.fetch_add(1, Ordering::Release);
                }
            });
            std::thread::spawn(move || {
                for round in 0..rounds {
                    light.thread().unpark();
                    while count.load(Ordering::Acquire) == round {
                        std::thread::yield_now();
                    }
                }
                light.join().unwrap();
            })
        })
        .collect();
    pairs.into_iter().for_each(|pair| pair.join().unwrap());
    end(rt);
}

/// As above, but all wait for all in every round, so that the LWPs fall asleep.
#[test]
fn stampede_with_a_barrier() {
    const THREADS: usize = 3;
    let _dog = watchdog();
    let rt = runtime(2);
    let woken = Arc::new(AtomicUsize::new(0));
    let lights: Vec<_> = (0..THREADS)
        .map(|_| {
            let woken = woken.clone();
            on(&rt, move || {
                for _ in 0..many(500) {
                    thread::park();
                    woken.fetch_add(1, Ordering::Release);
                }
            })
        })
        .collect();
    for round in 1..=many(500) {
        for light in &lights {
            light.thread().unpark();
        }
        until(|| woken.load(Ordering::Acquire) == round * THREADS);
    }
    lights.into_iter().for_each(|light| light.join().unwrap());
    end(rt);
}
