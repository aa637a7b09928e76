//! Threads that are spawned depth first: the newest runs first, and nobody waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lisle::policy::PolicyKind;
use lisle::thread::{Builder, JoinHandle};

use crate::order::runtime;
use crate::support::{Log, child, end, on, spawn, watchdog};

fn deep<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn(Builder::new().depth_first(true), f)
}

/// One ordinary thread and three depth first.
fn order_of_four(policy: PolicyKind) -> String {
    let rt = runtime(policy, 1);
    let log = Log::new();
    let noted = log.clone();
    on(&rt, move || {
        let note = |who| {
            let log = noted.clone();
            move || log.note(who)
        };
        let threads = [
            child(note('a')),
            deep(note('b')),
            deep(note('c')),
            deep(note('d')),
        ];
        threads.into_iter().for_each(|t| t.join().unwrap());
    })
    .join()
    .unwrap();
    end(rt);
    log.take().into_iter().collect()
}

#[test]
fn the_newest_runs_first() {
    let _dog = watchdog();
    assert_eq!(order_of_four(PolicyKind::FirstCome), "dcba");
}

#[test]
fn other_policies_decide_themselves() {
    let _dog = watchdog();
    let slice = Duration::from_secs(1000);
    assert_eq!(order_of_four(PolicyKind::RoundRobin(slice)), "abcd");
    assert_eq!(order_of_four(PolicyKind::Priority), "abcd");
}

/// How many threads have been spawned and not ended, and the most there were.
#[derive(Default)]
struct Alive([AtomicUsize; 2]);

/// Spawns ten children, joins them, and returns how many leaves there are.
fn tree(height: u32, depth_first: bool, alive: &Arc<Alive>) -> usize {
    let Alive([now, most]) = &**alive;
    let leaves = match height {
        0 => 1,
        _ => {
            let children = [(); 10].map(|()| {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let alive = alive.clone();
                // SAFETY: nothing here touches a thread-local.
                let child = unsafe {
                    let builder = Builder::new().depth_first(depth_first);
                    builder.spawn_light(move || tree(height - 1, depth_first, &alive))
                };
                child.unwrap()
            });
            children
                .into_iter()
                .map(|child| child.join().unwrap())
                .sum()
        }
    };
    now.fetch_sub(1, Ordering::Relaxed);
    leaves
}

fn most_alive(lwps: usize, depth_first: bool) -> usize {
    let rt = runtime(PolicyKind::FirstCome, lwps);
    let alive = Arc::new(Alive::default());
    alive.0[0].store(1, Ordering::Relaxed);
    let its = alive.clone();
    let leaves = on(&rt, move || tree(4, depth_first, &its)).join().unwrap();
    assert_eq!(leaves, 10_000);
    end(rt);
    let [now, most] = &alive.0;
    assert_eq!(now.load(Ordering::Relaxed), 0);
    most.load(Ordering::Relaxed)
}

#[test]
fn few_of_a_tree_are_alive_at_a_time() {
    let _dog = watchdog();
    // The root, and at each level at most ten.
    assert!(most_alive(1, true) <= 1 + 4 * 10);
    assert!(most_alive(1, false) >= 10_000);
}

#[test]
fn a_tree_on_two_lwps_is_whole() {
    let _dog = watchdog();
    assert!(most_alive(2, true) < 10_000);
}

/// Begets threads depth first, each of which begets the next, until told to stop.
fn beget(stop: Arc<AtomicBool>) {
    if !stop.load(Ordering::Relaxed) {
        drop(deep(move || beget(stop)));
    }
}

/// On one LWP, the thread that is to stop them is spawned first.
fn stopped_by(spawn: fn(Box<dyn FnOnce() + Send>) -> JoinHandle<()>) {
    let _dog = watchdog();
    let rt = runtime(PolicyKind::FirstCome, 1);
    on(&rt, move || {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = stop.clone();
        let stopping = spawn(Box::new(move || stops.store(true, Ordering::Relaxed)));
        beget(stop);
        stopping.join().unwrap();
    })
    .join()
    .unwrap();
    end(rt);
}

#[test]
fn an_ordinary_thread_has_its_turn() {
    stopped_by(child);
}

#[test]
fn the_oldest_depth_first_has_its_turn() {
    stopped_by(deep);
}

/// What waits ahead is shown to an LWP that has nothing to do, while the one that it waits on computes on and spawns
/// something from time to time.
#[test]
fn another_lwp_takes_what_is_ahead() {
    let _dog = watchdog();
    let rt = runtime(PolicyKind::FirstCome, 2);
    on(&rt, || {
        for _ in 0..20 {
            // More than thieves see at a time.
            let left = Arc::new(AtomicUsize::new(100));
            for _ in 0..100 {
                let left = left.clone();
                drop(deep(move || left.fetch_sub(1, Ordering::Release)));
            }
            while left.load(Ordering::Acquire) > 0 {
                let until = Instant::now() + Duration::from_micros(100);
                while Instant::now() < until && left.load(Ordering::Acquire) > 0 {
                    std::hint::spin_loop();
                }
                drop(deep(|| ()));
            }
        }
    })
    .join()
    .unwrap();
    end(rt);
}
