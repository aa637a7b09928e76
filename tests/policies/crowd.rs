//! More threads that have not begun than their LWP lets in at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lisle::policy::PolicyKind;
use lisle::thread::{self, Builder, JoinHandle};

use crate::order::runtime;
use crate::support::{Log, end, on, watchdog};

fn light<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: nothing here touches a thread-local.
    unsafe { Builder::new().spawn_light(f) }.unwrap()
}

/// The most that have begun and not ended at a time, of ten thousand that yield twice.
fn most_begun(lwps: usize) -> usize {
    let rt = runtime(PolicyKind::FirstCome, lwps);
    let (now, most) = on(&rt, || {
        let begun = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let one = |begun: Arc<[AtomicUsize; 2]>| {
            move || {
                let [now, most] = &*begun;
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                thread::yield_now();
                thread::yield_now();
                now.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..10_000).map(|_| light(one(begun.clone()))).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let [now, most] = &*begun;
        (now.load(Ordering::Relaxed), most.load(Ordering::Relaxed))
    })
    .join()
    .unwrap();
    assert_eq!(now, 0);
    end(rt);
    most
}

#[test]
fn few_have_begun_at_a_time() {
    let _dog = watchdog();
    assert!(most_begun(1) < 200);
    assert!(most_begun(2) < 1000);
}

#[test]
fn they_begin_in_the_order_in_which_they_came() {
    let _dog = watchdog();
    let rt = runtime(PolicyKind::FirstCome, 1);
    let order = on(&rt, || {
        let log = Log::new();
        let one = |who| {
            let log = log.clone();
            light(move || {
                log.note(who);
                thread::yield_now();
            })
        };
        let threads: Vec<_> = (0..1000).map(one).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        log.take()
    });
    let order: Vec<usize> = order.join().unwrap();
    assert!(order.into_iter().eq(0..1000));
    end(rt);
}

/// Two hundred threads yield on and on until one is there that came after them all.
#[test]
fn nobody_waits_outside_for_ever() {
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(PolicyKind::FirstCome, lwps);
        on(&rt, || {
            let stop = Arc::new(AtomicBool::new(false));
            let yielding = |stop: Arc<AtomicBool>| {
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                }
            };
            let mut threads: Vec<_> = (0..200).map(|_| light(yielding(stop.clone()))).collect();
            threads.push(light(move || stop.store(true, Ordering::Relaxed)));
            threads.into_iter().for_each(|t| t.join().unwrap());
        })
        .join()
        .unwrap();
        end(rt);
    }
}
