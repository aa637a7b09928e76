//! Every lock between full, light and kernel threads that move, compute on and are
//! handed over while they hold it.

use std::sync::Arc;
use std::time::Duration;

use lisle::Runtime;
use lisle::sync::{Barrier, Condvar, Mutex, PriorityMutex, RwLock, Semaphore};
use lisle::thread::{self, Builder};

use super::support::{end, many, on, watchdog};

/// What the threads share. Each number is added to under its own lock.
struct Shared {
    mutex: Mutex<usize>,
    priority: PriorityMutex<usize>,
    rwlock: RwLock<[usize; 2]>,
    turn: (Mutex<usize>, Condvar),
    slots: Semaphore,
    inside: Mutex<(usize, usize)>,
    meeting: Barrier,
}

/// Longer than a slice, now and then: then its LWP goes on without it.
fn compute(round: usize) {
    let turns = if round % 64 == 63 { 200_000 } else { 50 };
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
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
    });
    let work = || {
        let shared = shared.clone();
        move || visit(&shared, rounds)
    };
    let full = [(); OF_EACH].map(|()| Builder::new().on(&rt).spawn(work()).unwrap());
    let light = [(); OF_EACH].map(|()| on(&rt, work()));
    let kernel = [(); OF_EACH].map(|()| std::thread::spawn(work()));
    full.into_iter()
        .chain(light)
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
    end(rt);
}
