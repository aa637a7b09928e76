//! Every lock between full, light and kernel threads that move, compute on and are
//! handed over while they hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lisle::Runtime;
use lisle::sync::{
    Barrier, Condvar, Monitor, Mutex, PathExpression, PriorityMutex, Region, RwLock, Semaphore,
    Serializer, path,
};
use lisle::thread::{self, Builder};

use super::support::{end, hog, many, on, until, watchdog};

/// What the threads share. Each number is added to under its own lock.
struct Shared {
    mutex: Mutex<usize>,
    priority: PriorityMutex<usize>,
    rwlock: RwLock<[usize; 2]>,
    turn: (Mutex<usize>, Condvar),
    slots: Semaphore,
    inside: Mutex<(usize, usize)>,
    meeting: Barrier,
    /// Tokens, and how often one was taken.
    monitor: Monitor<(usize, usize)>,
    region: Region<(usize, usize)>,
    serializer: Serializer<usize>,
    path: PathExpression,
    /// What the crowd and the path's operation are alone with.
    alone: [Mutex<usize>; 2],
}

/// Longer than a slice, now and then, and a nap in the kernel at other times: then its
/// LWP goes on without it.
fn compute(round: usize) {
    match round % 64 {
        63 => hog(Duration::from_millis(3)),
        31 => nap(),
        _ => (0..50).for_each(|turn| _ = std::hint::black_box(turn)),
    }
}

/// A leaf: std's sleep knows nothing of lisle.
#[inline(never)]
fn nap() {
    std::thread::sleep(Duration::from_micros(200));
}

/// Each brings a token and takes one, and is moved while it is inside.
fn visit_classical(shared: &Shared, round: usize) {
    {
        let mut tokens = shared.monitor.enter();
        tokens.0 += 1;
        match round % 2 {
            0 => drop(tokens.signal(0)),
            _ => tokens.notify_one(0),
        }
        thread::yield_now();
        tokens.wait_while(0, |tokens| tokens.0 == 0);
        tokens.0 -= 1;
        tokens.1 += 1;
    }
    shared.region.enter(|tokens| {
        tokens.0 += 1;
        compute(round);
    });
    let take = |tokens: &mut lisle::sync::Inside<'_, (usize, usize)>| {
        let seen = **tokens;
        thread::yield_now();
        **tokens = (seen.0 - 1, seen.1 + 1);
    };
    shared.region.when(|tokens| tokens.0 > 0, take);
    let alone = |which: usize| {
        let mut alone = shared.alone[which].try_lock().expect("nobody else is in");
        compute(round);
        thread::yield_now();
        *alone += 1;
    };
    let mut uses = shared.serializer.enter();
    uses.enqueue(0, |uses| uses.crowd_is_empty(0));
    uses.join_crowd(0, || alone(0));
    *uses += 1;
    drop(uses);
    shared.path.perform("bring", thread::yield_now);
    shared.path.perform("take", || alone(1));
}

fn visit(shared: &Shared, rounds: usize) {
    for round in 0..rounds {
        {
            let mut count = shared.mutex.lock().unwrap();
            compute(round);
            *count += 1;
        }
        {
            let mut count = shared.priority.lock().unwrap();
            let seen = *count;
            thread::yield_now();
            *count = seen + 1;
        }
        if round % 4 == 0 {
            let mut pair = shared.rwlock.write().unwrap();
            pair[0] += 1;
            thread::yield_now();
            pair[1] += 1;
        } else {
            let pair = shared.rwlock.read().unwrap();
            compute(round);
            assert_eq!(pair[0], pair[1]);
        }
        {
            let _permit = shared.slots.acquire().unwrap();
            let mut inside = shared.inside.lock().unwrap();
            inside.0 += 1;
            inside.1 = inside.1.max(inside.0);
            drop(inside);
            thread::yield_now();
            shared.inside.lock().unwrap().0 -= 1;
        }
        *shared.turn.0.lock().unwrap() += 1;
        shared.turn.1.notify_one();
        let turn = shared.turn.0.lock().unwrap();
        *shared.turn.1.wait_while(turn, |turn| *turn == 0).unwrap() -= 1;
        visit_classical(shared, round);
        if round % 16 == 0 {
            shared.meeting.wait();
        }
    }
}

#[test]
fn full_light_and_kernel_threads_share_everything() {
    const OF_EACH: usize = 3;
    let _dog = watchdog();
    let rt = Runtime::builder()
        .lwps(2)
        .time_slice(Some(Duration::from_millis(1)))
        .build()
        .unwrap();
    let rounds = many(200);
    let shared = Arc::new(Shared {
        mutex: Mutex::new(0),
        priority: PriorityMutex::new(0),
        rwlock: RwLock::new([0, 0]),
        turn: (Mutex::new(0), Condvar::new()),
        slots: Semaphore::new(2),
        inside: Mutex::new((0, 0)),
        meeting: Barrier::new(3 * OF_EACH),
        monitor: Monitor::new((0, 0)),
        region: Region::new((0, 0)),
        serializer: Serializer::new(0),
        path: path!("9:(bring ; 1:take)"),
        alone: [Mutex::new(0), Mutex::new(0)],
    });
    let work = || {
        let shared = shared.clone();
        move || visit(&shared, rounds)
    };
    // Hogs, more than there are LWPs, so that one of them at least has to give way; and one that
    // blocks until somebody has looked.
    let seen = Arc::new(AtomicBool::new(false));
    let deeds = [|| hog(Duration::from_micros(100)); 3].map(|deed| deed as fn());
    let others = deeds.into_iter().chain([nap as fn()]).map(|deed| {
        let seen = seen.clone();
        let goes_on = move || {
            while !seen.load(Ordering::Relaxed) {
                deed();
            }
        };
        Builder::new().on(&rt).spawn(goes_on).unwrap()
    });
    let others: Vec<_> = others.collect();
    let full = [(); OF_EACH].map(|()| Builder::new().on(&rt).spawn(work()).unwrap());
    let light = [(); OF_EACH].map(|()| on(&rt, work()));
    let kernel = [(); OF_EACH].map(|()| std::thread::spawn(work()));
    until(|| {
        let upcalls = rt.upcalls();
        upcalls.preempted > 0 && upcalls.blocked > 0
    });
    seen.store(true, Ordering::Relaxed);
    full.into_iter()
        .chain(light)
        .chain(others)
        .for_each(|thread| thread.join().unwrap());
    kernel.into_iter().for_each(|thread| thread.join().unwrap());
    let all = 3 * OF_EACH * rounds;
    assert_eq!(*shared.mutex.try_lock().unwrap(), all);
    assert_eq!(*shared.priority.try_lock().unwrap(), all);
    let writes = 3 * OF_EACH * rounds.div_ceil(4);
    assert_eq!(*shared.rwlock.try_read().unwrap(), [writes, writes]);
    let (left, most) = *shared.inside.try_lock().unwrap();
    assert!(left == 0 && (1..=2).contains(&most));
    assert_eq!(*shared.turn.0.try_lock().unwrap(), 0);
    assert_eq!(shared.slots.available_permits(), 2);
    assert_eq!(*shared.monitor.try_enter().unwrap(), (0, all));
    assert_eq!(shared.region.try_enter(|tokens| **tokens), Some((0, all)));
    assert_eq!(*shared.serializer.try_enter().unwrap(), all);
    let alone = shared.alone.each_ref().map(|n| *n.try_lock().unwrap());
    assert_eq!(alone, [all; 2]);
    assert!(shared.path.try_perform("take", || ()).is_none());
    end(rt);
}
