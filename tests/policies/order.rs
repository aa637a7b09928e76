//! The order that each policy gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::Runtime;
use lisle::policy::{Policy, PolicyKind, Priority, ReadyList, ReadyThread, RoundRobin};
use lisle::thread::{self, Builder};
use lisle::upcall::Source;

use crate::support::{Log, child, end, on, spawn, watchdog};

/// Without upcalls: an LWP that goes on without a thread whose kernel thread has lost the
/// processor picks others meanwhile.
pub(crate) fn runtime(policy: PolicyKind, lwps: usize) -> Runtime {
    Runtime::builder()
        .lwps(lwps)
        .policy(policy)
        .upcalls(Source::Off)
        .build()
        .unwrap()
}

/// On one LWP: one thread unparks another time and again while a third is ready.
fn order_of_slices(policy: PolicyKind) -> String {
    let rt = runtime(policy, 1);
    let log = Log::new();
    let noted = log.clone();
    on(&rt, move || {
        let woken = child(|| (0..4).for_each(|_| thread::park()));
        let target = woken.thread().clone();
        let note = noted.clone();
        let unparking = child(move || {
            for _ in 0..4 {
                note.note('u');
                target.unpark();
            }
        });
        let other = child(move || {
            for _ in 0..4 {
                noted.note('o');
                thread::yield_now();
            }
        });
        unparking.join().unwrap();
        other.join().unwrap();
        while !woken.is_finished() {
            woken.thread().unpark();
            thread::yield_now();
        }
    })
    .join()
    .unwrap();
    end(rt);
    log.take().into_iter().collect()
}

#[test]
fn first_come_runs_until_it_waits() {
    let _dog = watchdog();
    assert_eq!(order_of_slices(PolicyKind::FirstCome), "uuuuoooo");
}

#[test]
fn round_robin_gives_way_after_its_slice() {
    let _dog = watchdog();
    let order = order_of_slices(PolicyKind::RoundRobin(Duration::ZERO));
    // Spawning makes a thread ready too, so one of them starts earlier; from
    // then on until one has ended they alternate.
    let both = order.find('o').max(order.find('u')).unwrap();
    let until = order.rfind('o').min(order.rfind('u')).unwrap();
    let turns = &order[both..=until];
    assert!(turns.len() >= 4, "{order}");
    assert!(!turns.contains("uu") && !turns.contains("oo"), "{order}");
    let endless = PolicyKind::RoundRobin(Duration::MAX);
    assert_eq!(order_of_slices(endless), "uuuuoooo");
}

#[test]
fn round_robin_takes_strict_turns() {
    let _dog = watchdog();
    let rt = runtime(PolicyKind::RoundRobin(Duration::from_secs(1000)), 1);
    let log = Log::new();
    let noted = log.clone();
    on(&rt, move || {
        let turns = ['a', 'b', 'c', 'd'].map(|who| {
            let log = noted.clone();
            child(move || {
                for _ in 0..50 {
                    log.note(who);
                    thread::yield_now();
                }
            })
        });
        turns.into_iter().for_each(|turn| turn.join().unwrap());
    })
    .join()
    .unwrap();
    assert_eq!(
        log.take().into_iter().collect::<String>(),
        "abcd".repeat(50)
    );
    end(rt);
}

#[test]
fn the_most_urgent_runs_first() {
    let _dog = watchdog();
    let rt = runtime(PolicyKind::Priority, 1);
    let log = Log::new();
    let noted = log.clone();
    let boss = spawn(Builder::new().on(&rt).priority(63), move || {
        let threads = [3u8, 50, 0, 32, 50, 62, 7].map(|priority| {
            let log = noted.clone();
            spawn(Builder::new().priority(priority), move || {
                log.note(priority)
            })
        });
        // From the next time on that it becomes ready, not before.
        threads[0].thread().set_priority(1);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    boss.join().unwrap();
    assert_eq!(log.take(), [62, 50, 50, 32, 7, 3, 0]);
    end(rt);
}

/// Two urgent threads that never wait do not starve the least urgent one.
#[test]
fn a_passed_over_thread_waits_a_bounded_number_of_picks() {
    let _dog = watchdog();
    let rt = runtime(PolicyKind::Priority, 1);
    let boss = spawn(Builder::new().on(&rt).priority(63), || {
        let stop = Arc::new(AtomicBool::new(false));
        let picks = Arc::new(AtomicUsize::new(0));
        let spin = |priority: u8| {
            let (stop, picks) = (stop.clone(), picks.clone());
            spawn(Builder::new().priority(priority), move || {
                while !stop.load(Ordering::Relaxed) {
                    picks.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            })
        };
        let urgent = [spin(60), spin(60), spin(40)];
        let (stop, seen) = (stop.clone(), picks.clone());
        let least = spawn(Builder::new().priority(0), move || {
            let waited = seen.load(Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
            waited
        });
        let waited = least.join().unwrap();
        urgent.into_iter().for_each(|thread| thread.join().unwrap());
        waited
    });
    let waited = boss.join().unwrap();
    let bound = Priority::PATIENCE as usize + 64;
    assert!(
        (1..=bound).contains(&waited),
        "{waited} picks, bound {bound}"
    );
    end(rt);
}

/// Last come, first served.
#[derive(Default)]
struct Stack {
    list: ReadyList,
    counts: Arc<AtomicUsize>,
}

// SAFETY: one list, which only push and pop touch.
unsafe impl Policy for Stack {
    fn push(&mut self, thread: ReadyThread) {
        assert!(thread.id() > 0 && thread.priority() == 32);
        self.counts.fetch_add(1, Ordering::Relaxed);
        thread.push_to(&mut self.list);
    }
    fn pop(&mut self) -> Option<ReadyThread> {
        let last = self.len().checked_sub(1)?;
        ReadyThread::remove_from(&mut self.list, last)
    }
    fn len(&self) -> usize {
        self.list.len()
    }
}

#[test]
fn a_custom_policy_decides() {
    let _dog = watchdog();
    let (counts, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (pushed, makes) = (counts.clone(), made.clone());
    let custom = PolicyKind::Custom(Arc::new(move |_| {
        makes.fetch_add(1, Ordering::Relaxed);
        Box::new(Stack {
            counts: pushed.clone(),
            ..Stack::default()
        })
    }));
    assert_eq!(format!("{custom:?}"), "Custom");
    let rt = runtime(custom, 1);
    let log = Log::new();
    let noted = log.clone();
    on(&rt, move || {
        let threads = [1, 2, 3, 4, 5].map(|n| {
            let log = noted.clone();
            child(move || log.note(n))
        });
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    })
    .join()
    .unwrap();
    // The first is joined first: everything above it ran before.
    assert_eq!(log.take(), [5, 4, 3, 2, 1]);
    assert!(counts.load(Ordering::Relaxed) >= 6);
    assert_eq!(made.load(Ordering::Relaxed), 1);
    end(rt);
}

/// Every policy runs a mixed load to its end on two LWPs.
#[test]
fn every_policy_runs_everything() {
    let _dog = watchdog();
    let custom: PolicyKind = PolicyKind::Custom(Arc::new(|_| {
        Box::new(RoundRobin::new(Duration::from_micros(50)))
    }));
    let kinds = [
        PolicyKind::FirstCome,
        PolicyKind::RoundRobin(Duration::from_micros(10)),
        PolicyKind::Priority,
        custom,
    ];
    for kind in kinds {
        let rt = runtime(kind, 2);
        let threads: Vec<_> = (0..200u64)
            .map(|n| {
                spawn(Builder::new().on(&rt).priority((n % 64) as u8), move || {
                    for round in 0..20 {
                        match (n + round) % 4 {
                            0 => thread::yield_now(),
                            1 => thread::sleep(Duration::from_micros(n)),
                            2 => {
                                thread::current().unpark();
                                thread::park();
                            }
                            _ => child(thread::yield_now).join().unwrap(),
                        }
                    }
                    n
                })
            })
            .collect();
        let sum: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(sum, 199 * 200 / 2);
        end(rt);
    }
}
