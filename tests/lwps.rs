//! LWPs that are added and retired while their runtime runs.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::policy::PolicyKind;
use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::{Kind, Source};
use lisle::{Runtime, RuntimeBuilder};
use support::{alone, end, many, on, until, watchdog};

fn builder(lwps: usize, most: usize) -> RuntimeBuilder {
    Runtime::builder().lwps(lwps).max_lwps(most)
}

fn spawn<T: Send + 'static>(rt: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().on(rt).spawn(f).unwrap()
}

/// As many LWPs as threads that wait for each other without a word to lisle.
fn meet(rt: &Runtime, count: usize) {
    let here = Arc::new(AtomicUsize::new(0));
    let meeting = |_| {
        let here = here.clone();
        on(rt, move || {
            here.fetch_add(1, Ordering::SeqCst);
            while here.load(Ordering::SeqCst) < count {
                std::hint::spin_loop();
            }
        })
    };
    let threads: Vec<_> = (0..count).map(meeting).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// Exactly these LWPs are there.
fn until_there(rt: &Runtime, count: usize) {
    until(|| {
        let list = rt.lwp_list();
        list.len() == count && list.iter().enumerate().all(|(n, lwp)| lwp.id == n)
    });
}

#[test]
fn added_ones_run_threads_and_retired_ones_leave() {
    let _dog = watchdog();
    let rt = builder(1, 4).upcalls(Source::Off).build().unwrap();
    assert_eq!((rt.lwps(), rt.max_lwps()), (1, 4));
    let mut counters = rt.upcalls();
    for round in 0..many(30) {
        let count = 2 + round % 3;
        rt.set_lwps(count).unwrap();
        assert_eq!(rt.lwps(), count);
        meet(&rt, count);
        until_there(&rt, count);
        rt.set_lwps(1).unwrap();
        until_there(&rt, 1);
        meet(&rt, 1);
        let now = rt.upcalls();
        let more = (count - 1) as u64;
        assert_eq!(now.retired, counters.retired + more);
        until(|| rt.upcalls().added >= counters.added + more);
        counters = rt.upcalls();
    }
    let logged = rt.upcall_log();
    assert!(
        logged
            .iter()
            .any(|event| event.kind == Kind::Retired && event.lwp == Some(1))
    );
    end(rt);
}

/// Under every policy, with waits of all sorts, changed from outside and inside.
#[test]
fn threads_of_a_retired_one_go_on_elsewhere() {
    let _dog = watchdog();
    let policies = [
        PolicyKind::FirstCome,
        PolicyKind::RoundRobin(Duration::from_millis(1)),
        PolicyKind::Priority,
    ];
    for policy in policies {
        let rt = builder(4, 4).policy(policy).build().unwrap();
        let (sender, receiver) = lisle::channel::bounded(3);
        let turns = 4 * many(50);
        let threads: Vec<_> = (0..60)
            .map(|n| {
                let (sender, receiver) = (sender.clone(), receiver.clone());
                let (on_rt, rt) = (rt.clone(), rt.clone());
                // Everybody sends before it receives, so that whoever waits for a message has
                // one coming, and whoever waits for room has a receiver.
                let body = move || {
                    for turn in 0..turns {
                        match turn % 4 {
                            0 => thread::yield_now(),
                            1 => sender.send(n).unwrap(),
                            2 => assert!(receiver.recv().unwrap() < 60),
                            _ if n % 10 == 0 => rt.set_lwps(1 + (n + turn / 4) % 4).unwrap(),
                            _ => thread::sleep(Duration::from_micros(50)),
                        }
                    }
                };
                match n % 2 {
                    0 => on(&on_rt, body),
                    _ => spawn(&on_rt, body),
                }
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert!(rt.upcalls().retired > 0);
        end(rt);
    }
}

/// Deadlines that were set on an LWP come when it has retired.
#[test]
fn deadlines_of_a_retired_one_come() {
    let _dog = watchdog();
    let rt = builder(3, 3).build().unwrap();
    for _ in 0..many(20) {
        rt.set_lwps(3).unwrap();
        let asleep = Arc::new(AtomicUsize::new(0));
        let sleeper = |_| {
            let asleep = asleep.clone();
            spawn(&rt, move || {
                asleep.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(3));
            })
        };
        let sleepers: Vec<_> = (0..30).map(sleeper).collect();
        until(|| asleep.load(Ordering::SeqCst) == 30);
        rt.set_lwps(1).unwrap();
        sleepers.into_iter().for_each(|t| t.join().unwrap());
        until_there(&rt, 1);
    }
    end(rt);
}

/// Threads that never give way keep no LWP that is not wanted.
#[test]
fn a_hog_does_not_keep_an_unwanted_one() {
    let _dog = watchdog();
    let rt = builder(3, 3).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicUsize::new(0));
    let hog = |_| {
        let (stop, running) = (stop.clone(), running.clone());
        spawn(&rt, move || {
            running.fetch_add(1, Ordering::SeqCst);
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        })
    };
    let hogs: Vec<_> = (0..3).map(hog).collect();
    until(|| running.load(Ordering::SeqCst) == 3);
    rt.set_lwps(1).unwrap();
    until_there(&rt, 1);
    meet(&rt, 1);
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(|t| t.join().unwrap());
    until(|| rt.upcalls().without_lwp() == 0);
    end(rt);
}

/// The thread that reduces the number may run on an LWP that leaves.
#[test]
fn a_thread_may_dismiss_its_own() {
    let _dog = watchdog();
    let rt = builder(3, 3).build().unwrap();
    let inside = rt.clone();
    let threads = spawn(&rt, move || {
        for round in 0..many(300) {
            inside.set_lwps(1 + round % 3).unwrap();
            thread::spawn(thread::yield_now).join().unwrap();
        }
    });
    threads.join().unwrap();
    end(rt);
}

/// Who waits for an LWP is known to others at any time, although its thread goes on: whoever decides
/// how long that may need not wait for the LWP's next round.
#[test]
fn who_is_ready_is_seen_at_once() {
    fn queued() -> usize {
        lisle::lwp::list().unwrap()[0].queued
    }
    let _dog = watchdog();
    let rt = builder(1, 1).upcalls(Source::Off).build().unwrap();
    let parent = spawn(&rt, || {
        let mut seen = vec![queued()];
        let children: Vec<_> = (0..5).map(|_| thread::spawn(queued)).collect();
        seen.push(queued());
        // Each that ends leaves one less.
        seen.extend(children.into_iter().map(|child| child.join().unwrap()));
        // Somebody from elsewhere, while nobody else is ready, has nobody behind it.
        thread::sleep(Duration::from_millis(1));
        seen.push(queued());
        seen
    });
    // The parent is made ready by the first child, whose turn it is not: it runs next.
    let seen = parent.join().unwrap();
    assert_eq!(seen[..2], [0, 5]);
    assert!(seen[2..7].is_sorted_by(|a, b| a > b), "{seen:?}");
    assert_eq!(seen[7], 0);
    let held = Arc::new(AtomicBool::new(true));
    let hog = spawn(&rt, {
        let held = held.clone();
        move || while held.load(Ordering::SeqCst) {}
    });
    let others: Vec<_> = (0..3).map(|_| spawn(&rt, queued)).collect();
    held.store(false, Ordering::SeqCst);
    hog.join().unwrap();
    let seen: Vec<usize> = others.into_iter().map(|t| t.join().unwrap()).collect();
    // Taken from the injector together, or one by one.
    assert!(seen.iter().all(|queued| *queued < 3), "{seen:?}");
    end(rt);
}

#[test]
fn bad_numbers_are_refused() {
    use std::io::ErrorKind::InvalidInput;
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    let rt = builder(2, 3).build().unwrap();
    assert_eq!(kind(rt.set_lwps(0)), InvalidInput);
    assert_eq!(kind(rt.set_lwps(4)), InvalidInput);
    assert_eq!(rt.lwps(), 2);
    let again = rt.clone();
    end(rt);
    assert!(again.set_lwps(1).is_err());
    for bad in [builder(2, 1), builder(1, 1025), builder(0, 1)] {
        assert_eq!(bad.build().unwrap_err().kind(), InvalidInput);
    }
    let seeded = || Runtime::builder().policy(PolicyKind::Seeded(1));
    assert!(seeded().max_lwps(2).build().is_err());
    let rt = seeded().build().unwrap();
    assert_eq!((rt.lwps(), rt.max_lwps()), (1, 1));
    assert!(rt.set_lwps(2).is_err());
    end(rt);
}

/// The number follows a quota and the CPUs that are allowed, until the program
/// says a number.
#[test]
fn the_number_follows_the_system() {
    alone("the_number_follows_the_system", || {
        let _dog = watchdog();
        let group = Group::new();
        group.quota("100000 100000");
        let rt = Runtime::builder().cgroup(&group.0).build().unwrap();
        assert_eq!(rt.lwps(), 1);
        assert!(rt.max_lwps() >= std::thread::available_parallelism().unwrap().get());
        let stop = Arc::new(AtomicBool::new(false));
        // The monitor looks while the runtime is not idle.
        let busy = spawn(&rt, {
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_micros(500));
                }
            }
        });
        if rt.max_lwps() > 1 {
            group.quota("max 100000");
            until(|| rt.lwps() > 1);
            until_there(&rt, rt.lwps());
            allow_one_cpu();
            until(|| rt.lwps() == 1);
            until_there(&rt, 1);
            rt.set_lwps(2).unwrap();
            until_there(&rt, 2);
            meet_asleep(&rt);
            assert_eq!(rt.lwps(), 2);
        }
        stop.store(true, Ordering::Relaxed);
        busy.join().unwrap();
        end(rt);
    });
}

/// The monitor has looked at the number of processors since.
fn meet_asleep(rt: &Runtime) {
    spawn(rt, || thread::sleep(Duration::from_millis(1_500)))
        .join()
        .unwrap();
}

/// Allows all kernel threads of the process only the first CPU that it may use.
fn allow_one_cpu() {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let tid = task.unwrap().file_name().into_string().unwrap();
        // SAFETY: the set is initialised; a kernel thread that has ended is an error, and no harm.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let size = size_of::<libc::cpu_set_t>();
            libc::sched_getaffinity(0, size, &mut set);
            let first = (0..1024).find(|&cpu| libc::CPU_ISSET(cpu, &set)).unwrap();
            libc::CPU_ZERO(&mut set);
            libc::CPU_SET(first, &mut set);
            libc::sched_setaffinity(tid.parse().unwrap(), size, &set);
        }
    }
}

/// What looks like a control group.
struct Group(PathBuf);

impl Group {
    fn new() -> Group {
        let path = std::env::temp_dir().join(format!("lisle-group-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Group(path)
    }

    fn quota(&self, text: &str) {
        // At once, or a reader might see it half written.
        let new = self.0.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.0.join("cpu.max")).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
