//! Concurrent readers, exclusive writers, with every mechanism that lisle has for it.
//!
//! P. J. Courtois, F. Heymans, D. L. Parnas, "Concurrent control with readers and writers",
//! 1971. All solutions here let readers in while others read, so writers wait longer: the
//! chart shows it. Solutions with other policies, and of six more problems, stand in
//! `tests/classical/`.
//!
//! ```text
//! cargo run --release --example readers_writers
//! ```
#![allow(clippy::disallowed_types)] // an example uses std's atomics like any program

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lisle::channel::rendezvous::{Accept, Chosen, Entry, entry};
use lisle::channel::{Sender, oneshot, unbounded};
use lisle::sync::{Monitor, Mutex, PathExpression, Region, RwLock, Semaphore, Serializer, path};
use lisle::thread;

const READERS: usize = 6;
const WRITERS: usize = 2;
const ROUNDS: usize = 500;

trait Policy: Send + Sync {
    fn read(&self, body: &mut dyn FnMut());
    fn write(&self, body: &mut dyn FnMut());
}

struct Semaphores {
    readers: Mutex<usize>,
    resource: Semaphore,
}

impl Policy for Semaphores {
    fn read(&self, body: &mut dyn FnMut()) {
        let mut readers = self.readers.lock().unwrap();
        if *readers == 0 {
            self.resource.p();
        }
        *readers += 1;
        drop(readers);
        body();
        let mut readers = self.readers.lock().unwrap();
        *readers -= 1;
        if *readers == 0 {
            self.resource.v();
        }
    }

    fn write(&self, body: &mut dyn FnMut()) {
        let _resource = self.resource.acquire().unwrap();
        body();
    }
}

/// Who is inside: so many readers, or a writer.
#[derive(Default)]
struct Inside {
    reading: usize,
    writing: bool,
}

const READ: usize = 0;
const WRITE: usize = 1;

struct Mesa(Monitor<Inside, 2>);

impl Policy for Mesa {
    fn read(&self, body: &mut dyn FnMut()) {
        let mut inside = self.0.enter();
        inside.wait_while(READ, |inside| inside.writing);
        inside.reading += 1;
        drop(inside);
        body();
        let mut inside = self.0.enter();
        inside.reading -= 1;
        inside.notify_one(WRITE);
    }

    fn write(&self, body: &mut dyn FnMut()) {
        let mut inside = self.0.enter();
        inside.wait_while(WRITE, |inside| inside.writing || inside.reading > 0);
        inside.writing = true;
        drop(inside);
        body();
        let mut inside = self.0.enter();
        inside.writing = false;
        inside.notify_all(READ);
        inside.notify_one(WRITE);
    }
}

struct Hoare(Monitor<Inside, 2>);

impl Policy for Hoare {
    fn read(&self, body: &mut dyn FnMut()) {
        let mut inside = self.0.enter();
        if inside.writing {
            inside.wait(READ);
        }
        inside.reading += 1;
        inside.signal(READ);
        drop(inside);
        body();
        let mut inside = self.0.enter();
        inside.reading -= 1;
        if inside.reading == 0 {
            inside.signal(WRITE);
        }
    }

    fn write(&self, body: &mut dyn FnMut()) {
        let mut inside = self.0.enter();
        if inside.writing || inside.reading > 0 {
            inside.wait(WRITE);
        }
        inside.writing = true;
        drop(inside);
        body();
        let mut inside = self.0.enter();
        inside.writing = false;
        if !inside.signal(READ) {
            inside.signal(WRITE);
        }
    }
}

impl Policy for Region<Inside> {
    fn read(&self, body: &mut dyn FnMut()) {
        self.when(|inside| !inside.writing, |inside| inside.reading += 1);
        body();
        self.enter(|inside| inside.reading -= 1);
    }

    fn write(&self, body: &mut dyn FnMut()) {
        let free = |inside: &Inside| !inside.writing && inside.reading == 0;
        self.when(free, |inside| inside.writing = true);
        body();
        self.enter(|inside| inside.writing = false);
    }
}

impl Policy for Serializer<(), 2, 2> {
    fn read(&self, body: &mut dyn FnMut()) {
        let mut resource = self.enter();
        resource.enqueue(READ, |resource| resource.crowd_is_empty(WRITE));
        resource.join_crowd(READ, body);
    }

    fn write(&self, body: &mut dyn FnMut()) {
        let mut resource = self.enter();
        resource.enqueue(WRITE, |resource| {
            resource.crowd_is_empty(READ) && resource.crowd_is_empty(WRITE)
        });
        resource.join_crowd(WRITE, body);
    }
}

static PATH: PathExpression = path!("{read} , write");

impl Policy for &'static PathExpression {
    fn read(&self, body: &mut dyn FnMut()) {
        self.perform("read", body);
    }

    fn write(&self, body: &mut dyn FnMut()) {
        self.perform("write", body);
    }
}

/// A request to a server: to begin, with a way to answer, or the end.
enum Message {
    Begin {
        writes: bool,
        grant: oneshot::Sender<()>,
    },
    End {
        writes: bool,
    },
}

struct Asynchronous(Sender<Message>);

impl Asynchronous {
    fn new() -> Self {
        let (sender, messages) = unbounded();
        drop(thread::spawn(move || {
            let (mut inside, mut waiting) = (Inside::default(), Vec::new());
            for message in messages.iter() {
                match message {
                    Message::Begin { writes, grant } => waiting.push((writes, grant)),
                    Message::End { writes: true } => inside.writing = false,
                    Message::End { writes: false } => inside.reading -= 1,
                }
                while let Some(next) = waiting
                    .iter()
                    .position(|(writes, _)| !inside.writing && (!writes || inside.reading == 0))
                {
                    let (writes, grant) = waiting.remove(next);
                    inside.writing = writes;
                    inside.reading += usize::from(!writes);
                    grant.send(()).expect("the client waits");
                }
            }
        }));
        Asynchronous(sender)
    }

    fn visit(&self, writes: bool, body: &mut dyn FnMut()) {
        let (grant, granted) = oneshot::channel();
        self.0
            .send(Message::Begin { writes, grant })
            .expect("the server lives");
        granted.recv().expect("the server lives");
        body();
        self.0
            .send(Message::End { writes })
            .expect("the server lives");
    }
}

impl Policy for Asynchronous {
    fn read(&self, body: &mut dyn FnMut()) {
        self.visit(false, body);
    }

    fn write(&self, body: &mut dyn FnMut()) {
        self.visit(true, body);
    }
}

struct Rendezvous {
    begin_read: Entry<(), ()>,
    begin_write: Entry<(), ()>,
    end: Entry<bool, ()>,
}

impl Rendezvous {
    fn new() -> Self {
        let ((begin_read, reads), (begin_write, writes)) = (entry(), entry());
        let (end, ends) = entry();
        drop(thread::spawn(move || {
            let mut inside = Inside::default();
            loop {
                let mut accept = Accept::new();
                accept.when(!inside.writing, &reads);
                accept.when(!inside.writing && inside.reading == 0, &writes);
                accept.or(&ends);
                let Ok(Chosen::Call(call)) = accept.or_terminate().select() else {
                    return;
                };
                match call.index() {
                    0 => call.accept(&reads, |()| inside.reading += 1),
                    1 => call.accept(&writes, |()| inside.writing = true),
                    _ => call.accept(&ends, |writes: bool| {
                        inside.writing &= !writes;
                        inside.reading -= usize::from(!writes);
                    }),
                }
            }
        }));
        Rendezvous {
            begin_read,
            begin_write,
            end,
        }
    }
}

impl Policy for Rendezvous {
    fn read(&self, body: &mut dyn FnMut()) {
        self.begin_read.call(()).expect("the server lives");
        body();
        self.end.call(false).expect("the server lives");
    }

    fn write(&self, body: &mut dyn FnMut()) {
        self.begin_write.call(()).expect("the server lives");
        body();
        self.end.call(true).expect("the server lives");
    }
}

impl Policy for RwLock<()> {
    fn read(&self, body: &mut dyn FnMut()) {
        let _inside = RwLock::read(self).unwrap();
        body();
    }

    fn write(&self, body: &mut dyn FnMut()) {
        let _inside = RwLock::write(self).unwrap();
        body();
    }
}

fn main() {
    let policies: [(&str, Arc<dyn Policy>); 9] = [
        (
            "semaphores",
            Arc::new(Semaphores {
                readers: Mutex::new(0),
                resource: Semaphore::new(1),
            }),
        ),
        ("monitor, Mesa", Arc::new(Mesa(Monitor::default()))),
        ("monitor, Hoare", Arc::new(Hoare(Monitor::default()))),
        ("region", Arc::new(Region::<Inside>::default())),
        ("serializer", Arc::new(Serializer::<(), 2, 2>::new(()))),
        ("path expression", Arc::new(&PATH)),
        ("asynchronous channel", Arc::new(Asynchronous::new())),
        ("rendezvous", Arc::new(Rendezvous::new())),
        ("RwLock, fair", Arc::new(RwLock::new(()))),
    ];
    println!("{:<20}  mean wait of a reader and of a writer", "");
    let mut operations = 0;
    for (name, policy) in policies {
        let [reader, writer] = run(policy);
        chart(name, "r", reader);
        chart("", "w", writer);
        operations += (READERS + WRITERS) * ROUNDS;
    }
    println!("ok: {operations} operations, no writer met anybody");
}

/// Readers and writers visit two numbers, which must be the same; returns how long readers
/// and writers waited on average.
fn run(policy: Arc<dyn Policy>) -> [Duration; 2] {
    let numbers: Arc<[AtomicU64; 2]> = Arc::default();
    let spawn = |writes: bool| {
        let (policy, numbers) = (policy.clone(), numbers.clone());
        thread::spawn(move || {
            (0..ROUNDS)
                .map(|_| visit(&*policy, &numbers, writes))
                .sum::<Duration>()
        })
    };
    let readers: Vec<_> = (0..READERS).map(|_| spawn(false)).collect();
    let writers: Vec<_> = (0..WRITERS).map(|_| spawn(true)).collect();
    let mean = |threads: Vec<thread::JoinHandle<Duration>>| {
        let visits = threads.len() * ROUNDS;
        let waits = threads
            .into_iter()
            .map(|thread| thread.join().expect("nobody panics"));
        waits.sum::<Duration>() / visits as u32
    };
    let waits = [mean(readers), mean(writers)];
    let written = numbers
        .each_ref()
        .map(|number| number.load(Ordering::Relaxed));
    assert_eq!(written, [(WRITERS * ROUNDS) as u64; 2]);
    waits
}

/// One visit; returns how long it had to wait.
fn visit(policy: &dyn Policy, numbers: &[AtomicU64; 2], writes: bool) -> Duration {
    let asked = Instant::now();
    let mut waited = Duration::ZERO;
    let mut body = || {
        waited = asked.elapsed();
        let seen = numbers[0].load(Ordering::Relaxed);
        assert_eq!(
            seen,
            numbers[1].load(Ordering::Relaxed),
            "a reader met a writer"
        );
        if writes {
            numbers[0].store(seen + 1, Ordering::Relaxed);
        }
        // The worst moment to let the others run.
        thread::yield_now();
        if writes {
            numbers[1].store(seen + 1, Ordering::Relaxed);
        }
    };
    if writes {
        policy.write(&mut body)
    } else {
        policy.read(&mut body)
    }
    // Elsewhere, for a while.
    (0..3).for_each(|_| thread::yield_now());
    waited
}

/// A bar; its length goes with the logarithm of the time.
fn chart(name: &str, who: &str, wait: Duration) {
    let microseconds = wait.as_secs_f64() * 1e6;
    let length = (microseconds.max(0.1) * 10.0).log2().round() as usize;
    println!(
        "{name:<20} {who} {microseconds:9.1} µs {}",
        "▪".repeat(length)
    );
}
