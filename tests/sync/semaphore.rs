//! Semaphores: counting, order, hand-off, closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::sync::{
    AcquireError, AcquireTimeoutError, ReleaseError, Semaphore, SemaphorePermit, TryAcquireError,
};
use lisle::thread::{self, JoinHandle};

use super::support::{Log, child, end, many, message, on, runtime, until, until_waiting, watchdog};
use super::{LONG, under_seeds, waits_for};

#[test]
fn permits_are_counted() {
    let permits = Semaphore::new(2);
    assert_eq!(permits.available_permits(), 2);
    permits.p();
    permits.acquire().map(SemaphorePermit::forget).unwrap();
    assert_eq!(
        permits.try_acquire().map(SemaphorePermit::forget),
        Err(TryAcquireError::NoPermits)
    );
    assert_eq!(permits.available_permits(), 0);
    permits.v();
    permits.release_many(3).unwrap();
    assert_eq!(permits.available_permits(), 4);
    permits
        .acquire_many(3)
        .map(SemaphorePermit::forget)
        .unwrap();
    assert_eq!(
        permits.try_acquire_many(2).map(SemaphorePermit::forget),
        Err(TryAcquireError::NoPermits)
    );
    assert_eq!(
        permits.try_acquire_many(1).map(SemaphorePermit::forget),
        Ok(())
    );
    permits
        .acquire_many(0)
        .map(SemaphorePermit::forget)
        .unwrap();
    permits.release_many(0).unwrap();
    assert_eq!(permits.available_permits(), 0);
}

/// Whoever has waited before, or waits now.
#[test]
fn nobody_waits_for_none() {
    let permits = Semaphore::new(0);
    assert!(!permits.p_timeout(core::time::Duration::from_millis(1)));
    assert!(permits.try_acquire_many(0).is_ok());
    assert!(permits.acquire_many(0).is_ok());
    thread::scope(|s| {
        let waiter = s.spawn(|| permits.p());
        until_waiting(waiter.thread(), "semaphore");
        assert!(permits.try_acquire_many(0).is_ok());
        assert!(permits.acquire_many(0).is_ok());
        permits.v();
        waiter.join().unwrap();
    });
    permits.close();
    assert!(permits.acquire_many(0).is_err());
}

#[test]
fn they_can_be_static() {
    static ONE: Semaphore = Semaphore::new(1);
    ONE.p();
    ONE.v();
    assert_eq!(ONE.available_permits(), 1);
}

#[test]
fn overflow_is_an_error_and_gives_nothing() {
    const MOST: usize = Semaphore::MAX_PERMITS;
    let permits = Semaphore::new(MOST - 1);
    let refused: Result<(), ReleaseError> = permits.release_many(2);
    assert!(refused.unwrap_err().to_string().contains("overflow"));
    assert_eq!(permits.available_permits(), MOST - 1);
    permits.v();
    let panic = std::panic::catch_unwind(|| permits.v()).unwrap_err();
    assert!(message(&*panic).contains("overflow"));
    assert_eq!(permits.available_permits(), MOST);
}

/// Spawns threads that wait one after the other, each for so many permits.
fn queue_up(
    rt: &lisle::Runtime,
    permits: &Arc<Semaphore>,
    wanted: &[u32],
) -> (Log<usize>, Vec<JoinHandle<()>>) {
    let log = Log::new();
    let mut threads = Vec::new();
    for (number, &wanted) in wanted.iter().enumerate() {
        let (permits, log) = (permits.clone(), log.clone());
        let thread = on(rt, move || {
            permits
                .acquire_many(wanted)
                .map(SemaphorePermit::forget)
                .unwrap();
            log.note(number);
        });
        until_waiting(thread.thread(), "semaphore");
        threads.push(thread);
    }
    (log, threads)
}

#[test]
fn waiters_are_served_first_come_first_served() {
    let _dog = watchdog();
    let rt = runtime(2);
    let permits = Arc::new(Semaphore::new(0));
    let (log, threads) = queue_up(&rt, &permits, &[1; 8]);
    for (number, thread) in threads.into_iter().enumerate() {
        permits.v();
        thread.join().unwrap();
        assert_eq!(log.take(), [number]);
    }
    end(rt);
}

#[test]
fn a_permit_is_handed_over_before_the_waiter_runs() {
    let _dog = watchdog();
    let rt = runtime(1);
    let permits = Arc::new(Semaphore::new(0));
    let (_, mut threads) = queue_up(&rt, &permits, &[1]);
    let same = permits.clone();
    // On the only LWP, so the waiter cannot run meanwhile.
    let thief = on(&rt, move || {
        same.v();
        (
            same.available_permits(),
            same.try_acquire().map(SemaphorePermit::forget),
        )
    });
    assert_eq!(thief.join().unwrap(), (0, Err(TryAcquireError::NoPermits)));
    threads.pop().unwrap().join().unwrap();
    end(rt);
}

#[test]
fn one_release_serves_as_many_as_it_can() {
    let _dog = watchdog();
    let rt = runtime(2);
    let permits = Arc::new(Semaphore::new(0));
    let (log, mut threads) = queue_up(&rt, &permits, &[1, 2, 3, 1]);
    permits.release_many(5).unwrap();
    until(|| log.len() == 2);
    let mut served = log.take();
    served.sort_unstable();
    assert_eq!(served, [0, 1], "the third wants more than is left");
    assert_eq!(permits.available_permits(), 2);
    assert!(waits_for(threads[3].thread(), "semaphore"), "in its turn");
    permits.release_many(2).unwrap();
    threads.drain(..).for_each(|thread| thread.join().unwrap());
    assert_eq!(permits.available_permits(), 0);
    end(rt);
}

#[test]
fn a_large_request_at_the_head_blocks_smaller_ones() {
    let _dog = watchdog();
    let rt = runtime(2);
    let permits = Arc::new(Semaphore::new(2));
    let (log, threads) = queue_up(&rt, &permits, &[3, 1]);
    assert_eq!(permits.available_permits(), 2);
    assert_eq!(
        permits.try_acquire().map(SemaphorePermit::forget),
        Err(TryAcquireError::NoPermits)
    );
    permits.v();
    until(|| log.len() == 1);
    assert_eq!(log.take(), [0]);
    assert!(waits_for(threads[1].thread(), "semaphore"));
    permits.v();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(log.take(), [1]);
    end(rt);
}

#[test]
fn closing_fails_all_that_wait_and_all_that_come() {
    let _dog = watchdog();
    let rt = runtime(2);
    let permits = Arc::new(Semaphore::new(1));
    let waiters: Vec<JoinHandle<Result<(), AcquireError>>> = (0..4)
        .map(|_| {
            let permits = permits.clone();
            let waiter = on(&rt, move || {
                permits.acquire_many(2).map(SemaphorePermit::forget)
            });
            until_waiting(waiter.thread(), "semaphore");
            waiter
        })
        .collect();
    let same = permits.clone();
    let outside = std::thread::spawn(move || {
        same.acquire_deadline(lisle::time::now() + LONG)
            .map(SemaphorePermit::forget)
    });
    assert!(!permits.is_closed());
    permits.close();
    assert!(permits.is_closed());
    for waiter in waiters {
        waiter.join().unwrap().unwrap_err();
    }
    assert_eq!(outside.join().unwrap(), Err(AcquireTimeoutError::Closed));
    assert_eq!(
        permits.try_acquire().map(SemaphorePermit::forget),
        Err(TryAcquireError::Closed)
    );
    assert_eq!(
        permits.acquire_timeout(LONG).map(SemaphorePermit::forget),
        Err(AcquireTimeoutError::Closed)
    );
    permits.acquire().map(SemaphorePermit::forget).unwrap_err();
    let panic = std::panic::catch_unwind(|| permits.p()).unwrap_err();
    assert!(message(&*panic).contains("closed"));
    // Permits are given back all the same.
    permits.v();
    assert_eq!(permits.available_permits(), 2);
    permits.close();
    end(rt);
}

/// Takes and gives permits; at most so many threads are inside at a time.
struct Room {
    permits: Semaphore,
    size: usize,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Room {
    fn new(size: usize) -> Arc<Room> {
        Arc::new(Room {
            permits: Semaphore::new(size),
            size,
            inside: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn visit(&self) {
        self.permits.p();
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(inside, Ordering::Relaxed);
        thread::yield_now();
        self.inside.fetch_sub(1, Ordering::Relaxed);
        self.permits.v();
    }

    fn check(&self) {
        assert!((1..=self.size).contains(&self.most.load(Ordering::Relaxed)));
        assert_eq!(self.permits.available_permits(), self.size);
    }
}

#[test]
fn never_more_inside_than_permits() {
    let _dog = watchdog();
    let rt = runtime(2);
    let room = Room::new(3);
    let rounds = many(2000);
    let light: Vec<_> = (0..8)
        .map(|_| {
            let room = room.clone();
            on(&rt, move || (0..rounds).for_each(|_| room.visit()))
        })
        .collect();
    let kernel: Vec<_> = (0..4)
        .map(|_| {
            let room = room.clone();
            std::thread::spawn(move || (0..rounds).for_each(|_| room.visit()))
        })
        .collect();
    light.into_iter().for_each(|thread| thread.join().unwrap());
    kernel.into_iter().for_each(|thread| thread.join().unwrap());
    room.check();
    end(rt);
}

#[test]
fn never_more_inside_than_permits_under_seeds() {
    let _dog = watchdog();
    under_seeds(|| {
        let room = Room::new(2);
        let visitors: Vec<_> = (0..5)
            .map(|_| {
                let room = room.clone();
                child(move || (0..4).for_each(|_| room.visit()))
            })
            .collect();
        visitors
            .into_iter()
            .for_each(|visitor| visitor.join().unwrap());
        room.check();
    });
}

#[test]
fn signals_between_two_threads_are_never_lost() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(20_000);
    let ends = Arc::new([Semaphore::new(0), Semaphore::new(0)]);
    let theirs = ends.clone();
    let other = on(&rt, move || {
        for _ in 0..rounds {
            theirs[0].p();
            theirs[1].v();
        }
    });
    // From a kernel thread.
    for _ in 0..rounds {
        ends[0].v();
        ends[1].p();
    }
    other.join().unwrap();
    assert!(ends.iter().all(|end| end.available_permits() == 0));
    end(rt);
}
