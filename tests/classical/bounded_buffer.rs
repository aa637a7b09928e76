//! The bounded buffer: producers wait while it is full, consumers while it is empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Kind, Stage, child, joined_or_cancelled, quiesce, serve};

const CAPACITY: usize = 3;

pub(crate) trait Buffer: Send + Sync + 'static {
    fn new() -> Self;
    fn put(&self, item: usize);
    fn take(&self) -> usize;
}

/// The same for those who do not wait for ever.
pub(crate) trait Patient: Buffer {
    /// Whether it was put in time.
    fn put_until(&self, item: usize, deadline: Instant) -> bool;
    fn take_until(&self, deadline: Instant) -> Option<usize>;
}

/// What was put, and what was taken: numbers and sums of items.
#[derive(Default)]
struct Books {
    put: [AtomicUsize; 2],
    taken: [AtomicUsize; 2],
}

fn enter(book: &[AtomicUsize; 2], item: usize) {
    book[0].fetch_add(1, Ordering::SeqCst);
    book[1].fetch_add(item, Ordering::SeqCst);
}

fn read(book: &[AtomicUsize; 2]) -> [usize; 2] {
    [0, 1].map(|at| book[at].load(Ordering::SeqCst))
}

/// Tells a consumer to go home.
const STOP: usize = 0;

pub(crate) fn drive<S: Buffer>(stage: &Arc<Stage>) {
    if stage.kind == Kind::Seeded {
        capacity::<S>();
    }
    let (buffer, books) = (Arc::new(S::new()), Arc::new(Books::default()));
    let produce = {
        let (buffer, books, stage) = (buffer.clone(), books.clone(), stage.clone());
        move |who: usize, round: usize| {
            let item = 1 + who * stage.rounds + round;
            let operation = stage.ask();
            buffer.put(item);
            enter(&books.put, item);
            operation.enter();
        }
    };
    let consume = {
        let (buffer, books, stage) = (buffer.clone(), books.clone(), stage.clone());
        move || {
            loop {
                let operation = stage.ask();
                let item = buffer.take();
                if item == STOP {
                    return;
                }
                enter(&books.taken, item);
                operation.enter();
            }
        }
    };
    let consumers: Vec<_> = (0..3)
        .map(|who| stage.spawn(who, consume.clone()))
        .collect();
    let victims = if stage.has_victims() { 2 } else { 0 };
    let victims: Vec<_> = (0..victims).map(|_| child(consume.clone())).collect();
    // Producers, and victims among them.
    stage.crowd(3, 3..5, produce);
    for victim in victims {
        victim.thread().cancel();
        joined_or_cancelled(victim);
    }
    consumers.iter().for_each(|_| buffer.put(STOP));
    consumers.into_iter().for_each(|consumer| consumer.join());
    assert_eq!(
        read(&books.put),
        read(&books.taken),
        "an item was lost or doubled"
    );
}

/// Those whose time is up leave no trace: nothing is lost or doubled, and afterwards as much
/// fits as before. Returns how many gave up.
pub(crate) fn patience<S: Patient>(stage: &Arc<Stage>) -> usize {
    let (buffer, books) = (Arc::new(S::new()), Arc::new(Books::default()));
    let gave_up = Arc::new(AtomicUsize::new(0));
    let late = |stage: &Stage| {
        let millis = Duration::from_millis(stage.random(3));
        lisle::time::now() + millis
    };
    let crowd = (0..6).map(|who| {
        let (buffer, books) = (buffer.clone(), books.clone());
        let (gave_up, actors) = (gave_up.clone(), stage.clone());
        stage.spawn(who / 2, move || {
            for round in 0..actors.rounds {
                if actors.random(3) == 0 {
                    lisle::thread::sleep(Duration::from_millis(actors.random(3)));
                }
                let item = 1 + who * actors.rounds + round;
                let done = if who % 2 == 0 {
                    let put = buffer.put_until(item, late(&actors));
                    put.then(|| enter(&books.put, item))
                } else {
                    let taken = buffer.take_until(late(&actors));
                    taken.map(|item| enter(&books.taken, item))
                };
                if done.is_none() {
                    gave_up.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    });
    let crowd: Vec<_> = crowd.collect();
    crowd.into_iter().for_each(|one| one.join());
    let left = read(&books.put)[0] - read(&books.taken)[0];
    assert!(left <= CAPACITY, "{left} items are left");
    (0..left).for_each(|_| enter(&books.taken, buffer.take()));
    assert_eq!(
        read(&books.put),
        read(&books.taken),
        "an item was lost or doubled"
    );
    let soon = || lisle::time::now() + Duration::from_millis(1);
    assert_eq!(buffer.take_until(soon()), None, "an item too many");
    (0..CAPACITY).for_each(|item| buffer.put(item));
    assert!(!buffer.put_until(CAPACITY, soon()), "a place too many");
    (0..CAPACITY).for_each(|item| assert_eq!(buffer.take(), item));
    gave_up.load(Ordering::SeqCst)
}

/// Exactly so many items fit.
fn capacity<S: Buffer>() {
    let (buffer, put) = (Arc::new(S::new()), Arc::new(AtomicUsize::new(0)));
    let producer = child({
        let (buffer, put) = (buffer.clone(), put.clone());
        move || {
            for item in 1..=CAPACITY + 2 {
                buffer.put(item);
                put.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    for item in 1..=CAPACITY + 2 {
        quiesce();
        let fits = (CAPACITY + item - 1).min(CAPACITY + 2);
        assert_eq!(
            put.load(Ordering::SeqCst),
            fits,
            "the capacity is {CAPACITY}"
        );
        assert_eq!(buffer.take(), item, "first in, first out");
    }
    producer.join().unwrap();
}

pub(crate) mod semaphore {
    use super::*;
    use std::collections::VecDeque;

    use lisle::sync::{Mutex, Semaphore};

    //: buffer semaphore
    pub(crate) struct Bounded {
        items: Mutex<VecDeque<usize>>,
        free: Semaphore,
        filled: Semaphore,
    }

    impl Buffer for Bounded {
        fn new() -> Self {
            let items = Mutex::new(VecDeque::new());
            Bounded {
                items,
                free: Semaphore::new(CAPACITY),
                filled: Semaphore::new(0),
            }
        }

        fn put(&self, item: usize) {
            self.free.p();
            self.items.lock().unwrap().push_back(item);
            self.filled.v();
        }

        fn take(&self) -> usize {
            self.filled.p();
            let item = self.items.lock().unwrap().pop_front().unwrap();
            self.free.v();
            item
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            let free = self.free.p_deadline(deadline);
            if free {
                self.items.lock().unwrap().push_back(item);
                self.filled.v();
            }
            free
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            let filled = self.filled.p_deadline(deadline);
            filled.then(|| {
                let item = self.items.lock().unwrap().pop_front().unwrap();
                self.free.v();
                item
            })
        }
    }
}

pub(crate) mod mesa {
    use super::*;
    use std::collections::VecDeque;

    use lisle::sync::Monitor;

    //: buffer mesa
    const NOT_FULL: usize = 0;
    const NOT_EMPTY: usize = 1;

    pub(crate) struct Bounded(Monitor<VecDeque<usize>, 2>);

    impl Buffer for Bounded {
        fn new() -> Self {
            Bounded(Monitor::default())
        }

        fn put(&self, item: usize) {
            let mut items = self.0.enter();
            items.wait_while(NOT_FULL, |items| items.len() == CAPACITY);
            items.push_back(item);
            items.notify_one(NOT_EMPTY);
        }

        fn take(&self) -> usize {
            let mut items = self.0.enter();
            items.wait_while(NOT_EMPTY, |items| items.is_empty());
            items.notify_one(NOT_FULL);
            items.pop_front().unwrap()
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            let Some(mut items) = self.0.enter_deadline(deadline) else {
                return false;
            };
            let free =
                items.wait_while_deadline(NOT_FULL, deadline, |items| items.len() == CAPACITY);
            if free {
                items.push_back(item);
                items.notify_one(NOT_EMPTY);
            }
            free
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            let mut items = self.0.enter_deadline(deadline)?;
            let filled = items.wait_while_deadline(NOT_EMPTY, deadline, |items| items.is_empty());
            filled.then(|| {
                items.notify_one(NOT_FULL);
                items.pop_front().unwrap()
            })
        }
    }
}

pub(crate) mod hoare {
    use super::*;
    use std::collections::VecDeque;

    use lisle::sync::Monitor;

    //: buffer hoare
    const NOT_FULL: usize = 0;
    const NOT_EMPTY: usize = 1;

    pub(crate) struct Bounded(Monitor<VecDeque<usize>, 2>);

    impl Buffer for Bounded {
        fn new() -> Self {
            Bounded(Monitor::default())
        }

        fn put(&self, item: usize) {
            let mut items = self.0.enter();
            if items.len() == CAPACITY {
                items.wait(NOT_FULL);
            }
            items.push_back(item);
            items.signal(NOT_EMPTY);
        }

        fn take(&self) -> usize {
            let mut items = self.0.enter();
            if items.is_empty() {
                items.wait(NOT_EMPTY);
            }
            let item = items.pop_front().unwrap();
            items.signal(NOT_FULL);
            item
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            let Some(mut items) = self.0.enter_deadline(deadline) else {
                return false;
            };
            let free = items.len() < CAPACITY || items.wait_deadline(NOT_FULL, deadline);
            if free {
                items.push_back(item);
                items.signal(NOT_EMPTY);
            }
            free
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            let mut items = self.0.enter_deadline(deadline)?;
            let filled = !items.is_empty() || items.wait_deadline(NOT_EMPTY, deadline);
            filled.then(|| {
                let item = items.pop_front().unwrap();
                items.signal(NOT_FULL);
                item
            })
        }
    }
}

pub(crate) mod region {
    use super::*;
    use std::collections::VecDeque;

    use lisle::sync::{Inside, Region};

    //: buffer region
    pub(crate) struct Bounded(Region<VecDeque<usize>>);

    impl Buffer for Bounded {
        fn new() -> Self {
            Bounded(Region::default())
        }

        fn put(&self, item: usize) {
            self.0.when(
                |items| items.len() < CAPACITY,
                |items| items.push_back(item),
            );
        }

        fn take(&self) -> usize {
            self.0.when(
                |items| !items.is_empty(),
                |items| items.pop_front().unwrap(),
            )
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            let put = |items: &mut Inside<'_, VecDeque<usize>>| items.push_back(item);
            let free = |items: &VecDeque<usize>| items.len() < CAPACITY;
            self.0.when_deadline(deadline, free, put).is_some()
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            self.0.when_deadline(
                deadline,
                |items| !items.is_empty(),
                |items| items.pop_front().unwrap(),
            )
        }
    }
}

pub(crate) mod serializer {
    use super::*;
    use std::collections::VecDeque;

    use lisle::sync::Serializer;

    //: buffer serializer
    const PUT: usize = 0;
    const TAKE: usize = 1;

    pub(crate) struct Bounded(Serializer<VecDeque<usize>, 2, 0>);

    impl Buffer for Bounded {
        fn new() -> Self {
            Bounded(Serializer::default())
        }

        fn put(&self, item: usize) {
            let mut items = self.0.enter();
            items.enqueue(PUT, |items| items.len() < CAPACITY);
            items.push_back(item);
        }

        fn take(&self) -> usize {
            let mut items = self.0.enter();
            items.enqueue(TAKE, |items| !items.is_empty());
            items.pop_front().unwrap()
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            let Some(mut items) = self.0.enter_deadline(deadline) else {
                return false;
            };
            let free = items.enqueue_deadline(PUT, deadline, |items| items.len() < CAPACITY);
            if free {
                items.push_back(item);
            }
            free
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            let mut items = self.0.enter_deadline(deadline)?;
            let filled = items.enqueue_deadline(TAKE, deadline, |items| !items.is_empty());
            filled.then(|| items.pop_front().unwrap())
        }
    }
}

pub(crate) mod path {
    use super::*;
    use std::collections::VecDeque;

    use lisle::sync::{Mutex, PathExpression, path};

    //: buffer path
    pub(crate) struct Bounded {
        path: PathExpression,
        items: Mutex<VecDeque<usize>>,
    }

    impl Buffer for Bounded {
        fn new() -> Self {
            Bounded {
                path: path!("3:(1:(put) ; 1:(take))"),
                items: Mutex::default(),
            }
        }

        fn put(&self, item: usize) {
            self.path
                .perform("put", || self.items.lock().unwrap().push_back(item));
        }

        fn take(&self) -> usize {
            let take = || self.items.lock().unwrap().pop_front().unwrap();
            self.path.perform("take", take)
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            let put = || self.items.lock().unwrap().push_back(item);
            self.path.perform_deadline("put", deadline, put).is_some()
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            let take = || self.items.lock().unwrap().pop_front().unwrap();
            self.path.perform_deadline("take", deadline, take)
        }
    }
}

pub(crate) mod channel {
    use super::*;
    use lisle::channel::{Receiver, Sender, unbounded};

    //: buffer channel
    /// Items go one way, free places the other.
    pub(crate) struct Bounded {
        items: (Sender<usize>, Receiver<usize>),
        places: (Sender<()>, Receiver<()>),
    }

    impl Buffer for Bounded {
        fn new() -> Self {
            let places = unbounded();
            (0..CAPACITY).for_each(|_| places.0.send(()).unwrap());
            Bounded {
                items: unbounded(),
                places,
            }
        }

        fn put(&self, item: usize) {
            self.places.1.recv().unwrap();
            self.items.0.send(item).unwrap();
        }

        fn take(&self) -> usize {
            let item = self.items.1.recv().unwrap();
            self.places.0.send(()).unwrap();
            item
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            let free = self.places.1.recv_deadline(deadline).is_ok();
            if free {
                self.items.0.send(item).unwrap();
            }
            free
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            let item = self.items.1.recv_deadline(deadline).ok()?;
            self.places.0.send(()).unwrap();
            Some(item)
        }
    }
}

pub(crate) mod rendezvous {
    use super::*;
    use std::collections::VecDeque;

    use lisle::channel::rendezvous::{Accept, Chosen, Entry, entry};

    //: buffer rendezvous
    pub(crate) struct Bounded {
        put: Entry<usize, ()>,
        take: Entry<(), usize>,
    }

    impl Buffer for Bounded {
        fn new() -> Self {
            let ((put, puts), (take, takes)) = (entry(), entry());
            serve(move || {
                let mut items = VecDeque::new();
                loop {
                    let mut accept = Accept::new();
                    let put = accept.when(items.len() < CAPACITY, &puts);
                    accept.when(!items.is_empty(), &takes);
                    match accept.or_terminate().select() {
                        Ok(Chosen::Call(call)) if call.index() == put => {
                            call.accept(&puts, |item| items.push_back(item));
                        }
                        Ok(Chosen::Call(call)) => {
                            call.accept(&takes, |()| items.pop_front().unwrap());
                        }
                        _ => return,
                    }
                }
            });
            Bounded { put, take }
        }

        fn put(&self, item: usize) {
            self.put.call(item).unwrap();
        }

        fn take(&self) -> usize {
            self.take.call(()).unwrap()
        }
    }
    //:

    impl Patient for Bounded {
        fn put_until(&self, item: usize, deadline: Instant) -> bool {
            self.put.call_deadline(item, deadline).is_ok()
        }

        fn take_until(&self, deadline: Instant) -> Option<usize> {
            self.take.call_deadline((), deadline).ok()
        }
    }
}
