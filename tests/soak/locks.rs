//! Threads that wait for each other in locks and their like. Most of these are shared
//! by all threads of a round, and each says what must hold inside.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lisle::sync::{
    self, Barrier, Condvar, Monitor, Once, OnceLock, Parker, PathExpression, PriorityMutex, Region,
    RwLock, RwLockUpgradableGuard, Semaphore, Serializer, WaitGroup, path,
};
use lisle::thread;

use crate::kitchen::Cook;

/// How many may be inside the semaphore and the region at a time.
const PLACES: usize = 2;
/// How many items the monitor's buffer takes.
const ROOM: usize = 3;

const NOT_FULL: usize = 0;
const NOT_EMPTY: usize = 1;

const QUEUE: usize = 0;
const READERS: usize = 0;
const WRITERS: usize = 1;

/// Two numbers that nobody but a writer sees differ.
type Twins = (usize, usize);

/// What the threads of a round share.
pub(crate) struct Locks {
    sum: sync::Mutex<Twins>,
    std_sum: Mutex<Twins>,
    urgent_sum: PriorityMutex<Twins>,
    pair: RwLock<Twins>,
    written: AtomicUsize,
    semaphore: Semaphore,
    with_permit: AtomicUsize,
    region: Region<usize>,
    in_region: AtomicUsize,
    buffer: Monitor<VecDeque<usize>, 2>,
    put: AtomicUsize,
    taken: AtomicUsize,
    serializer: Serializer<(), 1, 2>,
    crowded: Book,
    path: PathExpression,
    by_path: Book,
}

impl Locks {
    pub(crate) fn new() -> Locks {
        Locks {
            sum: sync::Mutex::default(),
            std_sum: Mutex::default(),
            urgent_sum: PriorityMutex::default(),
            pair: RwLock::default(),
            written: AtomicUsize::new(0),
            semaphore: Semaphore::new(PLACES),
            with_permit: AtomicUsize::new(0),
            region: Region::new(PLACES),
            in_region: AtomicUsize::new(0),
            buffer: Monitor::new(VecDeque::new()),
            put: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            serializer: Serializer::new(()),
            crowded: Book::default(),
            path: path!("{read} , write"),
            by_path: Book::default(),
        }
    }

    /// Nobody is inside any more.
    pub(crate) fn settle(&self) {
        let sums = [
            *self.sum.lock().unwrap(),
            *self.std_sum.lock().unwrap(),
            *self.urgent_sum.lock().unwrap(),
            *self.pair.read().unwrap(),
        ];
        sums.iter().for_each(|sum| assert_eq!(sum.0, sum.1));
        assert_eq!(sums[3].0, self.written.load(Ordering::SeqCst));
        assert_eq!(self.semaphore.available_permits(), PLACES);
        assert_eq!(self.region.enter(|free| **free), PLACES);
        assert!(self.buffer.enter().is_empty());
        let [put, taken] = [&self.put, &self.taken].map(|sum| sum.load(Ordering::SeqCst));
        assert_eq!(put, taken);
        self.crowded.read(|| ());
        self.by_path.read(|| ());
    }
}

/// What readers read together and writers write alone; it says itself who was there.
#[derive(Default)]
struct Book {
    readers: AtomicUsize,
    writing: AtomicBool,
    pages: [AtomicUsize; 2],
}

impl Book {
    fn read(&self, pause: impl FnOnce()) {
        self.readers.fetch_add(1, Ordering::SeqCst);
        assert!(!self.writing.load(Ordering::SeqCst));
        let before = self
            .pages
            .each_ref()
            .map(|page| page.load(Ordering::Relaxed));
        pause();
        let after = self
            .pages
            .each_ref()
            .map(|page| page.load(Ordering::Relaxed));
        assert_eq!((before[0], before), (before[1], after));
        self.readers.fetch_sub(1, Ordering::SeqCst);
    }

    fn write(&self, pause: impl FnOnce()) {
        assert!(!self.writing.swap(true, Ordering::SeqCst));
        assert_eq!(self.readers.load(Ordering::SeqCst), 0);
        let next = self.pages[0].load(Ordering::Relaxed) + 1;
        self.pages[0].store(next, Ordering::Relaxed);
        pause();
        self.pages[1].store(next, Ordering::Relaxed);
        assert!(self.writing.swap(false, Ordering::SeqCst));
    }
}

/// Counts the caller as one of [`PLACES`] while it pauses.
fn in_place(inside: &AtomicUsize, places: usize, pause: bool) {
    assert!(inside.fetch_add(places, Ordering::SeqCst) + places <= PLACES);
    if pause {
        thread::yield_now();
    }
    inside.fetch_sub(places, Ordering::SeqCst);
}

fn raise(twins: &mut Twins, pause: bool) {
    twins.0 += 1;
    if pause {
        thread::yield_now();
    }
    twins.1 += 1;
    assert_eq!(twins.0, twins.1);
}

pub(crate) fn mutexes(cook: &mut Cook<'_>) {
    for _ in 0..cook.random.below(20) {
        let pause = cook.random.once_in(4);
        raise(&mut cook.shared.locks.sum.lock().unwrap(), pause);
    }
}

/// Who waits for it blocks in the kernel, and its LWP goes on.
pub(crate) fn std_mutexes(cook: &mut Cook<'_>) {
    for _ in 0..cook.random.below(20) {
        let mut sum = cook.shared.locks.std_sum.lock().unwrap();
        sum.0 += 1;
        std::hint::spin_loop();
        sum.1 += 1;
        assert_eq!(sum.0, sum.1);
    }
}

pub(crate) fn priority_mutexes(cook: &mut Cook<'_>) {
    let me = thread::current();
    let before = me.priority();
    me.set_priority(cook.random.below(4) as u8);
    for _ in 0..cook.random.below(10) {
        let pause = cook.random.once_in(4);
        raise(&mut cook.shared.locks.urgent_sum.lock().unwrap(), pause);
    }
    me.set_priority(before);
}

pub(crate) fn rwlocks(cook: &mut Cook<'_>) {
    let locks = &cook.shared.locks;
    let pause = cook.random.once_in(4);
    let write = |pair: &mut Twins| {
        raise(pair, pause);
        locks.written.fetch_add(1, Ordering::SeqCst);
    };
    match cook.random.below(8) {
        0 => write(&mut locks.pair.write().unwrap()),
        1 => {
            let pair = locks.pair.upgradable_read().unwrap();
            let before = pair.0;
            let mut pair = RwLockUpgradableGuard::upgrade(pair);
            assert_eq!(pair.0, before);
            write(&mut pair);
        }
        2 => {
            let soon = Duration::from_micros(cook.random.below(500) as u64);
            if let Ok(mut pair) = locks.pair.write_timeout(soon) {
                write(&mut pair);
            }
        }
        _ => {
            let pair = locks.pair.read().unwrap();
            let before = *pair;
            if pause {
                thread::yield_now();
            }
            assert_eq!((before.0, before), (before.1, *pair));
        }
    }
}

pub(crate) fn semaphores(cook: &mut Cook<'_>) {
    let locks = &cook.shared.locks;
    for _ in 0..cook.random.below(10) {
        let permits = 1 + cook.random.below(PLACES);
        let soon = Duration::from_micros(cook.random.below(500) as u64);
        let permit = match cook.random.below(3) {
            0 => locks.semaphore.try_acquire_many(permits as u32).ok(),
            1 => {
                let wanted = permits as u32;
                locks.semaphore.acquire_many_timeout(wanted, soon).ok()
            }
            _ => Some(locks.semaphore.acquire_many(permits as u32).unwrap()),
        };
        if permit.is_some() {
            in_place(&locks.with_permit, permits, cook.random.once_in(4));
        }
    }
}

pub(crate) fn regions(cook: &mut Cook<'_>) {
    let locks = &cook.shared.locks;
    for _ in 0..cook.random.below(10) {
        locks.region.when(|free| *free > 0, |free| **free -= 1);
        in_place(&locks.in_region, 1, cook.random.once_in(4));
        locks.region.enter(|free| **free += 1);
    }
}

/// A bounded buffer, after Hoare or after Lampson and Redell. Each puts as much as it takes,
/// and takes it meanwhile or afterwards: so nobody waits for ever.
pub(crate) fn monitors(cook: &mut Cook<'_>) {
    let locks = &cook.shared.locks;
    let (n, hoare) = (cook.random.below(10), cook.random.once_in(2));
    let put = |item| {
        locks.put.fetch_add(item, Ordering::SeqCst);
        let mut buffer = locks.buffer.enter();
        buffer.wait_while(NOT_FULL, |items| items.len() == ROOM);
        buffer.push_back(item);
        assert!(buffer.len() <= ROOM);
        match hoare {
            true => drop(buffer.signal(NOT_EMPTY)),
            false => buffer.notify_one(NOT_EMPTY),
        }
    };
    let take = || {
        let mut buffer = locks.buffer.enter();
        buffer.wait_while(NOT_EMPTY, |items| items.is_empty());
        let item = buffer.pop_front().unwrap();
        buffer.notify_one(NOT_FULL);
        drop(buffer);
        locks.taken.fetch_add(item, Ordering::SeqCst);
    };
    if cook.random.once_in(2) {
        thread::scope(|scope| {
            let takes = || (0..n).for_each(|_| take());
            cook.builder().spawn_scoped(scope, takes).unwrap();
            (0..n).for_each(put);
        });
    } else {
        for item in 0..n {
            put(item);
            thread::yield_now();
            take();
        }
    }
}

pub(crate) fn serializers(cook: &mut Cook<'_>) {
    let Locks {
        serializer,
        crowded,
        ..
    } = &cook.shared.locks;
    let mut inside = serializer.enter();
    if cook.random.once_in(4) {
        inside.enqueue(QUEUE, |crowds| {
            crowds.crowd_is_empty(READERS) && crowds.crowd_is_empty(WRITERS)
        });
        inside.join_crowd(WRITERS, || crowded.write(thread::yield_now));
    } else {
        inside.enqueue(QUEUE, |crowds| crowds.crowd_is_empty(WRITERS));
        inside.join_crowd(READERS, || crowded.read(thread::yield_now));
    }
}

pub(crate) fn paths(cook: &mut Cook<'_>) {
    let Locks { path, by_path, .. } = &cook.shared.locks;
    match cook.random.below(4) {
        0 => path.perform("write", || by_path.write(thread::yield_now)),
        1 => drop(path.try_perform("write", || by_path.write(thread::yield_now))),
        _ => path.perform("read", || by_path.read(thread::yield_now)),
    }
}

/// Two threads take turns.
pub(crate) fn condvars(cook: &mut Cook<'_>) {
    let turn = Arc::new((sync::Mutex::new(0), Condvar::new()));
    let turns = cook.random.below(20);
    let take = move |turn: &(sync::Mutex<usize>, Condvar), mine: usize| {
        for _ in 0..turns {
            let now = turn.0.lock().unwrap();
            let mut now = turn.1.wait_while(now, |now| *now % 2 != mine).unwrap();
            *now += 1;
            turn.1.notify_one();
        }
    };
    let other = turn.clone();
    let thread = cook.spawn(move || take(&other, 1));
    take(&turn, 0);
    thread.join().unwrap();
    assert_eq!(*turn.0.lock().unwrap(), 2 * turns);
}

/// Nobody is a round ahead, and each round has one leader.
pub(crate) fn barriers(cook: &mut Cook<'_>) {
    let (n, rounds) = (1 + cook.random.below(5), cook.random.below(6));
    let barrier = Arc::new((Barrier::new(n), AtomicUsize::new(0)));
    let go = move |barrier: &(Barrier, AtomicUsize)| {
        let lead = |round| {
            barrier.1.fetch_add(1, Ordering::SeqCst);
            let leads = barrier.0.wait().is_leader();
            let come = barrier.1.load(Ordering::SeqCst);
            assert!((n * (round + 1)..=n * (round + 2)).contains(&come));
            leads
        };
        (0..rounds).filter(|round| lead(*round)).count()
    };
    let threads: Vec<_> = (1..n)
        .map(|_| {
            let barrier = barrier.clone();
            cook.spawn(move || go(&barrier))
        })
        .collect();
    let mine = go(&barrier);
    let theirs = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(theirs.sum::<usize>() + mine, rounds);
}

/// Many come, one initializes, all see it; and they are waited for together.
pub(crate) fn onces(cook: &mut Cook<'_>) {
    let n = 1 + cook.random.below(6);
    let shared = Arc::new((
        Once::new(),
        OnceLock::new(),
        [const { AtomicUsize::new(0) }; 3],
    ));
    let group = WaitGroup::new();
    for k in 0..n {
        let (shared, member) = (shared.clone(), group.clone());
        let body = move || {
            let (once, lock, counts) = &*shared;
            once.call_once(|| {
                thread::yield_now();
                counts[0].fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(counts[0].load(Ordering::Relaxed), 1);
            let first = *lock.get_or_init(|| {
                counts[1].fetch_add(1, Ordering::Relaxed);
                k
            });
            assert_eq!((lock.get(), first < n), (Some(&first), true));
            counts[2].fetch_add(1, Ordering::Relaxed);
            drop(member);
        };
        drop(cook.spawn(body));
    }
    group.wait();
    let counts = shared.2.each_ref().map(|n| n.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 1, n]);
}

/// Each goes on when the other says so.
pub(crate) fn parkers(cook: &mut Cook<'_>) {
    let (mine, steps) = (Parker::new(), Arc::new(AtomicUsize::new(0)));
    let (others, turns) = (Parker::new(), cook.random.below(10));
    let (to_me, to_other, theirs) = (
        mine.unparker().clone(),
        others.unparker().clone(),
        steps.clone(),
    );
    let thread = cook.spawn(move || {
        for turn in 0..turns {
            others.park();
            assert_eq!(theirs.fetch_add(1, Ordering::Relaxed), 2 * turn + 1);
            to_me.unpark();
        }
    });
    for turn in 0..turns {
        assert_eq!(steps.fetch_add(1, Ordering::Relaxed), 2 * turn);
        to_other.unpark();
        mine.park();
    }
    thread.join().unwrap();
}
