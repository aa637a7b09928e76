//! Operations on locks, semaphores and channels, in any order, under schedules of the
//! seeded runtime: each byte of the input is an operation.
//!
//! *Alone*, a thread knows what each operation must say: a model says it, too. In a *crowd*
//! the order is the schedule's; but what was sent is received once or is still there, in the
//! order of each sender; locks exclude; permits come back; and whoever is cancelled leaves no
//! trace. A run in which all wait is a deadlock, which fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use lisle::cancel::Cancelled;
use lisle::channel::{
    self, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError, select,
};
use lisle::seeded::Schedules;
use lisle::sync::{Mutex, RwLock, Semaphore, TryAcquireError};
use lisle::{thread, time};

use crate::driver::fuzz;
use crate::support::{Log, child, many, watchdog};

pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The input, byte by byte.
pub(crate) struct Bytes(pub(crate) VecDeque<u8>);

impl Bytes {
    fn next(&mut self) -> usize {
        self.0.pop_front().map_or(0, usize::from)
    }
}

fn channel<T>(kind: usize) -> (Sender<T>, Receiver<T>, usize) {
    match kind % 5 {
        4 => {
            let (sender, receiver) = channel::unbounded();
            (sender, receiver, usize::MAX)
        }
        capacity => {
            let (sender, receiver) = channel::bounded(capacity);
            (sender, receiver, capacity)
        }
    }
}

/// Under the schedules and the seed that the first bytes say.
fn run(input: &[u8], test: fn(Bytes) -> String) -> String {
    let mut bytes = Bytes(input.iter().copied().take(200).collect());
    let (kind, seed) = (bytes.next(), bytes.next() as u64);
    let schedules = match kind % 4 {
        0 => Schedules::Random,
        changes => Schedules::Priorities {
            changes: changes as u32 - 1,
            steps: 50,
        },
    };
    // SAFETY: the closures touch thread-locals only in leaves that do not wait.
    unsafe { schedules.run(seed, move || test(bytes)) }
}

// --- alone ----------------------------------------------------------------------------------------------------------

/// A channel beside its model.
struct Pipe {
    sender: Option<Sender<u64>>,
    receiver: Option<Receiver<u64>>,
    capacity: usize,
    queue: VecDeque<u64>,
    sent: u64,
}

impl Pipe {
    fn new(kind: usize) -> Pipe {
        let (sender, receiver, capacity) = channel(kind);
        Pipe {
            sender: Some(sender),
            receiver: Some(receiver),
            capacity,
            queue: VecDeque::new(),
            sent: 0,
        }
    }

    fn step(&mut self, what: usize) {
        match what % 8 {
            0 | 1 => self.send(what.is_multiple_of(2)),
            2 | 3 => self.receive(what.is_multiple_of(2)),
            4 => self.look(),
            5 if what == 5 => drop(self.sender.take()),
            // What nobody can receive any more is dropped.
            6 if what == 6 && self.receiver.take().is_some() => self.queue.clear(),
            _ => {}
        }
    }

    fn look(&self) {
        let len = self.queue.len();
        for (seen, full) in [
            self.receiver.as_ref().map(|r| (r.len(), r.is_full())),
            self.sender.as_ref().map(|s| (s.len(), s.is_full())),
        ]
        .into_iter()
        .flatten()
        {
            assert_eq!(seen, len);
            assert_eq!(full, len >= self.capacity);
        }
    }

    fn send(&mut self, waits: bool) {
        let Some(sender) = &self.sender else { return };
        let (gone, full) = (self.receiver.is_none(), self.queue.len() >= self.capacity);
        let (value, begun) = (self.sent, time::now());
        let sent = if waits {
            let sent = sender.send_timeout(value, TICK);
            let passed = time::now() - begun;
            assert_eq!(passed, if full && !gone { TICK } else { Duration::ZERO });
            match sent {
                Ok(()) => true,
                Err(SendTimeoutError::Timeout(back)) => {
                    assert!(full && !gone && back == value);
                    false
                }
                Err(SendTimeoutError::Disconnected(back)) => {
                    assert!(gone && back == value);
                    false
                }
            }
        } else {
            match sender.try_send(value) {
                Ok(()) => true,
                Err(TrySendError::Full(back)) => {
                    assert!(full && !gone && back == value);
                    false
                }
                Err(TrySendError::Disconnected(back)) => {
                    assert!(gone && back == value);
                    false
                }
            }
        };
        assert_eq!(sent, !full && !gone);
        if sent {
            self.queue.push_back(value);
            self.sent += 1;
        }
    }

    fn receive(&mut self, waits: bool) {
        let Some(receiver) = &self.receiver else {
            return;
        };
        let (expected, gone) = (self.queue.pop_front(), self.sender.is_none());
        let begun = time::now();
        let outcome = if waits {
            let received = receiver.recv_timeout(TICK);
            let late = received == Err(RecvTimeoutError::Timeout);
            let passed = time::now() - begun;
            assert_eq!(passed, if late { TICK } else { Duration::ZERO });
            received.map_err(|error| error == RecvTimeoutError::Disconnected)
        } else {
            let received = receiver.try_recv();
            received.map_err(|error| error == TryRecvError::Disconnected)
        };
        assert_eq!(outcome, expected.ok_or(gone));
    }
}

/// A semaphore, a lock and a readers-writer lock beside their models.
fn locks(bytes: &mut Bytes) -> usize {
    let (semaphore, mutex) = (Semaphore::new(3), Mutex::new(()));
    let rwlock: RwLock<()> = RwLock::new(());
    let (mut available, mut closed) = (3, false);
    let (mut permits, mut guard) = (Vec::new(), None);
    let (mut readers, mut upgradable, mut writer) = (Vec::new(), None, None);
    let mut steps = 0;
    while let Some(byte) = bytes.0.pop_front() {
        steps += 1;
        let n = usize::from(byte >> 4) % 4;
        match byte % 16 {
            0 | 1 => match semaphore.try_acquire_many(n as u32) {
                Ok(permit) => {
                    assert!(!closed && n <= available && permit.num_permits() == n);
                    available -= n;
                    permits.push(permit);
                }
                Err(TryAcquireError::Closed) => assert!(closed),
                Err(TryAcquireError::NoPermits) => assert!(!closed && n > available),
            },
            2 => {
                let begun = time::now();
                let permit = semaphore.acquire_many_deadline(n as u32, begun + TICK);
                let enough = !closed && n <= available;
                let waited = !closed && !enough;
                assert_eq!(permit.is_ok(), enough);
                assert_eq!(time::now() - begun, TICK * u32::from(waited));
                if let Ok(permit) = permit {
                    available -= n;
                    permits.push(permit);
                }
            }
            3 if !permits.is_empty() => {
                available += permits.swap_remove(n % permits.len()).num_permits();
            }
            4 if !permits.is_empty() => permits.swap_remove(n % permits.len()).forget(),
            5 if !permits.is_empty() => {
                let at = n % permits.len();
                let whole = permits[at].num_permits();
                let part = permits[at].split(n);
                assert_eq!(part.is_some(), n <= whole);
                if let Some(part) = part {
                    assert_eq!(part.num_permits() + permits[at].num_permits(), whole);
                    permits.push(part);
                }
            }
            6 => {
                semaphore.add_permits(n);
                available += n;
            }
            7 => {
                assert_eq!(semaphore.forget_permits(n), n.min(available));
                available -= n.min(available);
            }
            8 if byte == 0x88 => {
                semaphore.close();
                closed = true;
            }
            9 if guard.is_some() => guard = None,
            9 => guard = mutex.try_lock().ok(),
            10 => assert_eq!(mutex.try_lock().is_err(), guard.is_some()),
            11 => {
                let read = rwlock.try_read().ok();
                assert_eq!(read.is_some(), writer.is_none());
                readers.extend(read);
            }
            12 => drop(readers.pop()),
            13 if writer.is_some() => writer = None,
            13 => {
                writer = rwlock.try_write().ok();
                assert_eq!(writer.is_some(), readers.is_empty() && upgradable.is_none());
            }
            14 if upgradable.is_some() => upgradable = None,
            14 => {
                upgradable = rwlock.try_upgradable_read().ok();
                assert_eq!(upgradable.is_some(), writer.is_none());
            }
            _ => {
                let begun = time::now();
                let read = rwlock.read_timeout(TICK).ok();
                assert_eq!(read.is_some(), writer.is_none());
                assert_eq!(time::now() - begun, TICK * u32::from(writer.is_some()));
            }
        }
        assert_eq!(semaphore.available_permits(), available);
        assert_eq!(semaphore.is_closed(), closed);
    }
    steps
}

#[test]
fn alone_every_operation_says_what_its_model_says() {
    let _dog = watchdog();
    let test = |mut bytes: Bytes| {
        let what = bytes.next();
        if what >= 0x80 {
            return crate::models::run(what, &mut bytes);
        }
        if what.is_multiple_of(2) {
            let steps = locks(&mut bytes);
            return format!("locks {}", steps.min(20));
        }
        let mut pipe = Pipe::new(bytes.next());
        while let Some(byte) = bytes.0.pop_front() {
            pipe.step(usize::from(byte));
        }
        format!("pipe {} {}", pipe.capacity, pipe.queue.len().min(8))
    };
    let corpora = ["tests/fuzz/corpus/api"];
    fuzz("api", &corpora, &[], many(8000) as u64, |input| {
        run(input, test)
    });
}

// --- a crowd --------------------------------------------------------------------------------------------------------

/// Who sent it, and as the how manieth.
type Message = (usize, usize);

/// What all threads share.
struct Shop {
    channels: [(Sender<Message>, Receiver<Message>); 2],
    sent: [Log<Message>; 2],
    received: [Log<(usize, Message)>; 2],
    semaphore: Semaphore,
    inside: AtomicUsize,
    counter: Mutex<usize>,
    counted: AtomicUsize,
    pair: RwLock<(usize, usize)>,
    written: AtomicUsize,
    threads: Log<thread::Thread>,
}

const PERMITS: usize = 2;

impl Shop {
    fn new(kinds: [usize; 2]) -> Shop {
        let channels = kinds.map(|kind| {
            let (sender, receiver, _) = channel(kind);
            (sender, receiver)
        });
        Shop {
            channels,
            sent: [Log::new(), Log::new()],
            received: [Log::new(), Log::new()],
            semaphore: Semaphore::new(PERMITS),
            inside: AtomicUsize::new(0),
            counter: Mutex::new(0),
            counted: AtomicUsize::new(0),
            pair: RwLock::new((0, 0)),
            written: AtomicUsize::new(0),
            threads: Log::new(),
        }
    }

    /// Does what the byte says, as thread `me`; `number` is what it has sent so far.
    fn step(&self, me: usize, byte: usize, number: &mut usize) {
        let which = byte >> 4 & 1;
        let timeout = TICK * (byte >> 5) as u32;
        let (sender, receiver) = &self.channels[which];
        match byte % 12 {
            0 | 1 => {
                if sender.send_timeout((me, *number), timeout).is_ok() {
                    self.sent[which].note((me, *number));
                    *number += 1;
                }
            }
            2 | 3 => {
                if let Ok(message) = receiver.recv_timeout(timeout) {
                    self.received[which].note((me, message));
                }
            }
            4 => {
                let [(_, first), (_, second)] = &self.channels;
                select! {
                    recv(first) -> message => self.received[0].note((me, message.unwrap())),
                    recv(second) -> message => self.received[1].note((me, message.unwrap())),
                    default(timeout) => {}
                }
            }
            5 => self.with_permits(1 + which, timeout),
            6 => {
                if let Ok(mut counter) = self.counter.lock_timeout(timeout) {
                    let read = *counter;
                    thread::yield_now();
                    *counter = read + 1;
                    self.counted.fetch_add(1, Relaxed);
                }
            }
            7 => {
                if let Ok(pair) = self.pair.read_timeout(timeout) {
                    let before = *pair;
                    thread::yield_now();
                    assert_eq!(before, *pair);
                    assert_eq!(pair.0, pair.1);
                }
            }
            8 => {
                if let Ok(mut pair) = self.pair.write_timeout(timeout) {
                    let read = pair.0;
                    thread::yield_now();
                    *pair = (read + 1, read + 1);
                    self.written.fetch_add(1, Relaxed);
                }
            }
            9 => thread::park_timeout(timeout),
            10 => self.other(which, thread::Thread::unpark),
            _ if byte >> 5 == 7 => self.other(which, thread::Thread::cancel),
            _ => thread::yield_now(),
        }
    }

    fn with_permits(&self, n: usize, timeout: Duration) {
        let deadline = time::now() + timeout;
        if let Ok(_permits) = self.semaphore.acquire_many_deadline(n as u32, deadline) {
            let _inside = Inside::new(&self.inside, n);
            thread::yield_now();
        }
    }

    fn other(&self, which: usize, deed: fn(&thread::Thread)) {
        if let Some(thread) = self.threads.get(which) {
            deed(&thread);
        }
    }

    /// What must hold when all have ended.
    fn check(&self) -> String {
        let mut counts = [0; 2];
        for (which, count) in counts.iter_mut().enumerate() {
            let mut received = self.received[which].take();
            let mut last = BTreeMap::new();
            for (receiver, (sender, number)) in &received {
                let before = last.insert((receiver, sender), number);
                assert!(before.is_none_or(|before| before < number), "out of order");
            }
            let rest = &self.channels[which].1;
            received.extend(rest.try_iter().map(|message| (usize::MAX, message)));
            let mut got: Vec<_> = received.into_iter().map(|(_, message)| message).collect();
            let mut sent = self.sent[which].take();
            got.sort_unstable();
            sent.sort_unstable();
            assert_eq!(got, sent, "channel {which}: received and sent");
            *count = sent.len();
        }
        assert_eq!(self.semaphore.available_permits(), PERMITS);
        assert!(!self.counter.is_poisoned() && !self.pair.is_poisoned());
        assert_eq!(*self.counter.lock().unwrap(), self.counted.load(Relaxed));
        let (written, pair) = (self.written.load(Relaxed), *self.pair.read().unwrap());
        assert_eq!(pair, (written, written));
        format!("{} {} {written}", counts[0].min(4), counts[1].min(4))
    }
}

/// Permits that are used.
struct Inside<'a>(&'a AtomicUsize, usize);

impl<'a> Inside<'a> {
    fn new(inside: &'a AtomicUsize, n: usize) -> Self {
        assert!(
            inside.fetch_add(n, Relaxed) + n <= PERMITS,
            "too many permits"
        );
        Inside(inside, n)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

fn crowd(mut bytes: Bytes) -> String {
    let shop = Arc::new(Shop::new([bytes.next(), bytes.next()]));
    let crowd = 2 + bytes.next() % 4;
    let threads: Vec<_> = (0..crowd)
        .map(|me| {
            let theirs: Vec<u8> = bytes.0.iter().copied().skip(me).step_by(crowd).collect();
            let shop = shop.clone();
            child(move || {
                let mut number = 0;
                for byte in theirs {
                    shop.step(me, usize::from(byte), &mut number);
                }
            })
        })
        .collect();
    threads
        .iter()
        .for_each(|thread| shop.threads.note(thread.thread().clone()));
    let mut cancelled = 0;
    for thread in threads {
        match thread.join() {
            Ok(()) => {}
            Err(payload) if payload.is::<Cancelled>() => cancelled += 1,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }
    format!("{crowd} {cancelled}: {}", shop.check())
}

#[test]
fn in_a_crowd_nothing_is_lost() {
    let _dog = watchdog();
    let corpora = ["tests/fuzz/corpus/api"];
    fuzz("api", &corpora, &[], many(5000) as u64, |input| {
        run(input, crowd)
    });
}
