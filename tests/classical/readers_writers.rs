//! Concurrent readers, exclusive writers (Courtois, Heymans, Parnas, 1971).
//!
//! *First*: no reader waits because a writer does. *Second*: once a writer waits, no
//! reader begins. *Fair*: in the order of coming.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::harness::{Kind, Stage, child, finally, quiesce, serve};
use crate::support::Log;

pub(crate) trait ReadersWriters: Send + Sync + 'static {
    fn new() -> Self;
    fn read(&self, body: impl FnOnce());
    fn write(&self, body: impl FnOnce());
}

/// Whether nobody else is inside who must not be.
#[derive(Default)]
struct Inside {
    readers: AtomicUsize,
    writer: AtomicBool,
}

impl Inside {
    fn read(&self, body: impl FnOnce()) {
        self.readers.fetch_add(1, Ordering::SeqCst);
        assert!(
            !self.writer.load(Ordering::SeqCst),
            "a reader with a writer"
        );
        body();
        self.readers.fetch_sub(1, Ordering::SeqCst);
    }

    fn write(&self, body: impl FnOnce()) {
        assert!(!self.writer.swap(true, Ordering::SeqCst), "two writers");
        assert_eq!(
            self.readers.load(Ordering::SeqCst),
            0,
            "a writer with readers"
        );
        body();
        self.writer.store(false, Ordering::SeqCst);
    }
}

fn drive<S: ReadersWriters>(stage: &Arc<Stage>) {
    let (shared, inside) = (Arc::new(S::new()), Arc::new(Inside::default()));
    let actors = stage.clone();
    stage.crowd(6, 0..6, move |who, _| {
        let operation = actors.ask();
        if who % 3 == 0 {
            shared.write(|| inside.write(|| operation.enter()));
        } else {
            shared.read(|| inside.read(|| operation.enter()));
        }
    });
}

/// In which order they went in: `steps` names who comes, `r` or `w`, when nobody else can
/// go on; `-` lets out who is inside.
fn order<S: ReadersWriters>(steps: &str) -> String {
    let (shared, log) = (Arc::new(S::new()), Log::new());
    let gate = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for step in steps.chars() {
        if step == '-' {
            gate.fetch_add(1, Ordering::SeqCst);
        } else {
            let (shared, log, gate) = (shared.clone(), log.clone(), gate.clone());
            threads.push(child(move || {
                let body = || {
                    log.note(step);
                    while gate.load(Ordering::SeqCst) == 0 {
                        quiesce();
                    }
                };
                if step.is_ascii_uppercase() {
                    shared.write(body)
                } else {
                    shared.read(body)
                }
            }));
        }
        // Longer than who is inside looks.
        (0..4).for_each(|_| quiesce());
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    log.take().into_iter().collect()
}

pub(crate) fn first<S: ReadersWriters>(stage: &Arc<Stage>) {
    drive::<S>(stage);
    if stage.kind == Kind::Seeded {
        assert_eq!(
            order::<S>("aWb-"),
            "abW",
            "a reader waits because a writer does"
        );
        assert_eq!(order::<S>("AbC-"), "AbC");
    }
}

pub(crate) fn second<S: ReadersWriters>(stage: &Arc<Stage>) {
    drive::<S>(stage);
    if stage.kind == Kind::Seeded {
        assert_eq!(
            order::<S>("aWb-"),
            "aWb",
            "a reader begins although a writer waits"
        );
        assert_eq!(
            order::<S>("AbC-"),
            "ACb",
            "a reader begins although a writer waits"
        );
    }
}

pub(crate) fn fair<S: ReadersWriters>(stage: &Arc<Stage>) {
    drive::<S>(stage);
    if stage.kind == Kind::Seeded {
        assert_eq!(order::<S>("aWb-"), "aWb");
        assert_eq!(order::<S>("AbC-"), "AbC");
        assert_eq!(order::<S>("aWbXc-"), "aWbXc");
    }
}

pub(crate) mod semaphore {
    use super::*;
    use lisle::sync::{Mutex, Semaphore};

    //: first semaphore
    /// The first reader takes the resource for all of them, the last gives it back.
    pub(crate) struct First {
        readers: Mutex<usize>,
        resource: Semaphore,
    }

    impl ReadersWriters for First {
        fn new() -> Self {
            First {
                readers: Mutex::new(0),
                resource: Semaphore::new(1),
            }
        }

        fn read(&self, body: impl FnOnce()) {
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

        fn write(&self, body: impl FnOnce()) {
            let _resource = self.resource.acquire().unwrap();
            body();
        }
    }
    //:

    //: second semaphore
    /// The first writer closes the gate to readers for all writers, the last opens it.
    pub(crate) struct Second {
        inner: First,
        writers: Mutex<usize>,
        gate: Semaphore,
        queue: Semaphore,
    }

    impl ReadersWriters for Second {
        fn new() -> Self {
            let writers = Mutex::new(0);
            Second {
                inner: First::new(),
                writers,
                gate: Semaphore::new(1),
                queue: Semaphore::new(1),
            }
        }

        fn read(&self, body: impl FnOnce()) {
            // One reader at most waits at the gate, so that a writer comes next there.
            let queue = self.queue.acquire().unwrap();
            let gate = self.gate.acquire().unwrap();
            let mut readers = self.inner.readers.lock().unwrap();
            if *readers == 0 {
                self.inner.resource.p();
            }
            *readers += 1;
            drop((readers, gate, queue));
            body();
            let mut readers = self.inner.readers.lock().unwrap();
            *readers -= 1;
            if *readers == 0 {
                self.inner.resource.v();
            }
        }

        fn write(&self, body: impl FnOnce()) {
            let mut writers = self.writers.lock().unwrap();
            if *writers == 0 {
                self.gate.p();
            }
            *writers += 1;
            drop(writers);
            let _gone = finally(|| {
                let mut writers = self.writers.lock().unwrap();
                *writers -= 1;
                if *writers == 0 {
                    self.gate.v();
                }
            });
            self.inner.write(body);
        }
    }
    //:

    //: fair semaphore
    /// All pass a turnstile, whose semaphore is first in, first out.
    pub(crate) struct Fair {
        inner: First,
        turnstile: Semaphore,
    }

    impl ReadersWriters for Fair {
        fn new() -> Self {
            Fair {
                inner: First::new(),
                turnstile: Semaphore::new(1),
            }
        }

        fn read(&self, body: impl FnOnce()) {
            let turn = self.turnstile.acquire().unwrap();
            self.inner.read(|| {
                drop(turn);
                body();
            });
        }

        fn write(&self, body: impl FnOnce()) {
            let turn = self.turnstile.acquire().unwrap();
            self.inner.write(|| {
                drop(turn);
                body();
            });
        }
    }
    //:
}

pub(crate) mod mesa {
    use super::*;
    use lisle::sync::Monitor;

    //: first,second,fair mesa
    #[derive(Default)]
    pub(crate) struct State {
        reading: usize,
        writing: bool,
        tickets: u64,
    }

    const READ: usize = 0;
    const WRITE: usize = 1;
    //:

    //: first mesa
    #[derive(Default)]
    pub(crate) struct First(Monitor<State, 2>);

    impl ReadersWriters for First {
        fn new() -> Self {
            First::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            state.wait_while(READ, |state| state.writing);
            state.reading += 1;
            drop(state);
            body();
            let mut state = self.0.enter();
            state.reading -= 1;
            state.notify_one(WRITE);
        }

        fn write(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            state.wait_while(WRITE, |state| state.writing || state.reading > 0);
            state.writing = true;
            drop(state);
            body();
            let mut state = self.0.enter();
            state.writing = false;
            state.notify_all(READ);
            state.notify_one(WRITE);
        }
    }
    //:

    //: second mesa
    #[derive(Default)]
    pub(crate) struct Second(Monitor<State, 2>);

    impl ReadersWriters for Second {
        fn new() -> Self {
            Second::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            while state.writing || state.is_awaited(WRITE) {
                state.wait(READ);
            }
            state.reading += 1;
            drop(state);
            body();
            let mut state = self.0.enter();
            state.reading -= 1;
            state.notify_one(WRITE);
            state.notify_all(READ);
        }

        fn write(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            state.wait_while(WRITE, |state| state.writing || state.reading > 0);
            state.writing = true;
            drop(state);
            body();
            let mut state = self.0.enter();
            state.writing = false;
            state.notify_one(WRITE);
            state.notify_all(READ);
        }
    }
    //:

    //: fair mesa
    const TURN: usize = 0;

    /// All wait in one queue, in the order of their tickets.
    #[derive(Default)]
    pub(crate) struct Fair(Monitor<State, 1>);

    impl Fair {
        fn begin(&self, blocked: impl Fn(&State) -> bool, begin: impl FnOnce(&mut State)) {
            let mut state = self.0.enter();
            state.tickets += 1;
            let ticket = state.tickets;
            let mut first = state.is_awaited(TURN);
            while first || blocked(&state) {
                state.wait_ranked(TURN, ticket);
                first = false;
            }
            begin(&mut state);
            // The next may be a reader, too.
            state.notify_one(TURN);
        }

        fn end(&self, end: impl FnOnce(&mut State)) {
            let mut state = self.0.enter();
            end(&mut state);
            state.notify_one(TURN);
        }
    }

    impl ReadersWriters for Fair {
        fn new() -> Self {
            Fair::default()
        }

        fn read(&self, body: impl FnOnce()) {
            self.begin(|state| state.writing, |state| state.reading += 1);
            body();
            self.end(|state| state.reading -= 1);
        }

        fn write(&self, body: impl FnOnce()) {
            self.begin(
                |state| state.writing || state.reading > 0,
                |state| state.writing = true,
            );
            body();
            self.end(|state| state.writing = false);
        }
    }
    //:
}

pub(crate) mod hoare {
    use super::*;
    use lisle::sync::Monitor;

    //: first,second,fair hoare
    #[derive(Default)]
    pub(crate) struct State {
        reading: usize,
        writing: bool,
    }

    const READ: usize = 0;
    const WRITE: usize = 1;
    //:

    //: first hoare
    #[derive(Default)]
    pub(crate) struct First(Monitor<State, 2>);

    impl ReadersWriters for First {
        fn new() -> Self {
            First::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            if state.writing {
                state.wait(READ);
            }
            state.reading += 1;
            state.signal(READ);
            drop(state);
            body();
            let mut state = self.0.enter();
            state.reading -= 1;
            if state.reading == 0 {
                state.signal(WRITE);
            }
        }

        fn write(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            if state.writing || state.reading > 0 {
                state.wait(WRITE);
            }
            state.writing = true;
            drop(state);
            body();
            let mut state = self.0.enter();
            state.writing = false;
            if !state.signal(READ) {
                state.signal(WRITE);
            }
        }
    }
    //:

    //: second hoare
    #[derive(Default)]
    pub(crate) struct Second(Monitor<State, 2>);

    impl ReadersWriters for Second {
        fn new() -> Self {
            Second::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            if state.writing || state.is_awaited(WRITE) {
                state.wait(READ);
            }
            state.reading += 1;
            state.signal(READ);
            drop(state);
            body();
            let mut state = self.0.enter();
            state.reading -= 1;
            if state.reading == 0 && !state.signal(WRITE) {
                state.signal(READ);
            }
        }

        fn write(&self, body: impl FnOnce()) {
            let mut state = self.0.enter();
            if state.writing || state.reading > 0 {
                state.wait(WRITE);
            }
            state.writing = true;
            drop(state);
            body();
            let mut state = self.0.enter();
            state.writing = false;
            if !state.signal(WRITE) {
                state.signal(READ);
            }
        }
    }
    //:

    //: fair hoare
    const QUEUE: usize = 0;
    const FIRST: usize = 1;

    /// All wait in one queue, and its first looks whether it can go on.
    #[derive(Default)]
    pub(crate) struct Fair(Monitor<State, 2>);

    impl Fair {
        fn begin(&self, blocked: impl Fn(&State) -> bool, begin: impl FnOnce(&mut State)) {
            let mut state = self.0.enter();
            if state.is_awaited(QUEUE) || state.is_awaited(FIRST) {
                state.wait(QUEUE);
            }
            while blocked(&state) {
                state.wait(FIRST);
            }
            begin(&mut state);
            state.signal(QUEUE);
        }

        fn end(&self, end: impl FnOnce(&mut State)) {
            let mut state = self.0.enter();
            end(&mut state);
            if !state.signal(FIRST) {
                state.signal(QUEUE);
            }
        }
    }

    impl ReadersWriters for Fair {
        fn new() -> Self {
            Fair::default()
        }

        fn read(&self, body: impl FnOnce()) {
            self.begin(|state| state.writing, |state| state.reading += 1);
            body();
            self.end(|state| state.reading -= 1);
        }

        fn write(&self, body: impl FnOnce()) {
            self.begin(
                |state| state.writing || state.reading > 0,
                |state| state.writing = true,
            );
            body();
            self.end(|state| state.writing = false);
        }
    }
    //:
}

pub(crate) mod region {
    use super::*;
    use lisle::sync::Region;

    //: first,second,fair region
    #[derive(Default)]
    pub(crate) struct State {
        reading: usize,
        writing: bool,
        writers: usize,
        claimed: bool,
    }
    //:

    //: first,second,fair region
    #[derive(Default)]
    pub(crate) struct First(Region<State>);

    impl ReadersWriters for First {
        fn new() -> Self {
            First::default()
        }

        fn read(&self, body: impl FnOnce()) {
            self.0
                .when(|state| !state.writing, |state| state.reading += 1);
            let _gone = finally(|| self.0.enter(|state| state.reading -= 1));
            body();
        }

        fn write(&self, body: impl FnOnce()) {
            let free = |state: &State| !state.writing && state.reading == 0;
            self.0.when(free, |state| state.writing = true);
            let _gone = finally(|| self.0.enter(|state| state.writing = false));
            body();
        }
    }
    //:

    //: second region
    #[derive(Default)]
    pub(crate) struct Second(First);

    impl ReadersWriters for Second {
        fn new() -> Self {
            Second::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let region = &self.0.0;
            region.when(|state| state.writers == 0, |state| state.reading += 1);
            let _gone = finally(|| region.enter(|state| state.reading -= 1));
            body();
        }

        fn write(&self, body: impl FnOnce()) {
            self.0.0.enter(|state| state.writers += 1);
            let _gone = finally(|| self.0.0.enter(|state| state.writers -= 1));
            self.0.write(body);
        }
    }
    //:

    //: fair region
    /// Who is next claims the region, in the order of coming, until it is inside.
    #[derive(Default)]
    pub(crate) struct Fair(First);

    impl Fair {
        fn claim(&self) -> impl Drop {
            let region = &self.0.0;
            region.when(|state| !state.claimed, |state| state.claimed = true);
            finally(|| region.enter(|state| state.claimed = false))
        }
    }

    impl ReadersWriters for Fair {
        fn new() -> Self {
            Fair::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let claim = self.claim();
            self.0.read(|| {
                drop(claim);
                body();
            });
        }

        fn write(&self, body: impl FnOnce()) {
            let claim = self.claim();
            self.0.write(|| {
                drop(claim);
                body();
            });
        }
    }
    //:
}

pub(crate) mod serializer {
    use super::*;
    use lisle::sync::Serializer;

    //: first,second,fair serializer
    const READERS: usize = 0;
    const WRITERS: usize = 1;
    //:

    //: first serializer
    #[derive(Default)]
    pub(crate) struct First(Serializer<(), 2, 2>);

    impl ReadersWriters for First {
        fn new() -> Self {
            First::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let mut serializer = self.0.enter();
            serializer.enqueue(READERS, |s| s.crowd_is_empty(WRITERS));
            serializer.join_crowd(READERS, body);
        }

        fn write(&self, body: impl FnOnce()) {
            let mut serializer = self.0.enter();
            serializer.enqueue(WRITERS, |s| {
                s.crowd_is_empty(READERS) && s.crowd_is_empty(WRITERS) && s.queue_is_empty(READERS)
            });
            serializer.join_crowd(WRITERS, body);
        }
    }
    //:

    //: second serializer
    #[derive(Default)]
    pub(crate) struct Second(Serializer<(), 2, 2>);

    impl ReadersWriters for Second {
        fn new() -> Self {
            Second::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let mut serializer = self.0.enter();
            serializer.enqueue(READERS, |s| {
                s.crowd_is_empty(WRITERS) && s.queue_is_empty(WRITERS)
            });
            serializer.join_crowd(READERS, body);
        }

        fn write(&self, body: impl FnOnce()) {
            let mut serializer = self.0.enter();
            serializer.enqueue(WRITERS, |s| {
                s.crowd_is_empty(READERS) && s.crowd_is_empty(WRITERS)
            });
            serializer.join_crowd(WRITERS, body);
        }
    }
    //:

    //: fair serializer
    const QUEUE: usize = 0;

    #[derive(Default)]
    pub(crate) struct Fair(Serializer<(), 1, 2>);

    impl ReadersWriters for Fair {
        fn new() -> Self {
            Fair::default()
        }

        fn read(&self, body: impl FnOnce()) {
            let mut serializer = self.0.enter();
            serializer.enqueue(QUEUE, |s| s.crowd_is_empty(WRITERS));
            serializer.join_crowd(READERS, body);
        }

        fn write(&self, body: impl FnOnce()) {
            let mut serializer = self.0.enter();
            serializer.enqueue(QUEUE, |s| {
                s.crowd_is_empty(READERS) && s.crowd_is_empty(WRITERS)
            });
            serializer.join_crowd(WRITERS, body);
        }
    }
    //:
}

pub(crate) mod path {
    use super::*;
    use lisle::sync::{PathExpression, path};

    //: first path
    pub(crate) struct First(PathExpression);

    impl ReadersWriters for First {
        fn new() -> Self {
            First(path!("{read} , write"))
        }

        fn read(&self, body: impl FnOnce()) {
            self.0.perform("read", body);
        }

        fn write(&self, body: impl FnOnce()) {
            self.0.perform("write", body);
        }
    }
    //:

    //: second path
    /// Campbell's and Habermann's: while a writer requests, no reader opens.
    pub(crate) struct Second(PathExpression);

    impl ReadersWriters for Second {
        fn new() -> Self {
            Second(path!(
                "path attemptread end
                 path requestread , {requestwrite} end
                 path {openread ; read} , write end"
            ))
        }

        fn read(&self, body: impl FnOnce()) {
            let open = || self.0.perform("openread", || ());
            let request = || self.0.perform("requestread", open);
            self.0.perform("attemptread", request);
            self.0.perform("read", body);
        }

        fn write(&self, body: impl FnOnce()) {
            self.0
                .perform("requestwrite", || self.0.perform("write", body));
        }
    }
    //:

    //: fair path
    /// All attempt one after the other, first come, first served.
    pub(crate) struct Fair(PathExpression);

    impl ReadersWriters for Fair {
        fn new() -> Self {
            Fair(path!(
                "path attempt end path {openread ; read} , (openwrite ; write) end"
            ))
        }

        fn read(&self, body: impl FnOnce()) {
            self.0
                .perform("attempt", || self.0.perform("openread", || ()));
            self.0.perform("read", body);
        }

        fn write(&self, body: impl FnOnce()) {
            self.0
                .perform("attempt", || self.0.perform("openwrite", || ()));
            self.0.perform("write", body);
        }
    }
    //:
}

pub(crate) mod channel {
    use super::*;
    use std::collections::VecDeque;

    use lisle::channel::{Sender, oneshot, unbounded};

    //: first,second,fair channel
    /// Somebody comes, and is to be told when it may go in; or leaves, perhaps unserved.
    enum Message {
        Comes(u64, bool, oneshot::Sender<()>),
        Leaves(u64),
    }

    #[derive(Default)]
    pub(crate) struct Office {
        inside: Vec<(u64, bool)>,
        waiting: VecDeque<(u64, bool, oneshot::Sender<()>)>,
    }

    impl Office {
        fn handle(&mut self, message: Message, next: fn(&Office) -> Option<usize>) {
            match message {
                Message::Comes(number, writes, grant) => {
                    self.waiting.push_back((number, writes, grant));
                }
                Message::Leaves(number) => {
                    self.inside.retain(|(other, _)| *other != number);
                    self.waiting.retain(|(other, ..)| *other != number);
                }
            }
            while let Some(index) = next(self) {
                let (number, writes, grant) = self.waiting.remove(index).expect("it waits");
                self.inside.push((number, writes));
                // Who has gone meanwhile says so.
                let _ = grant.send(());
            }
        }

        /// The first that waits for this, if it may go in.
        fn first(&self, writes: bool) -> Option<usize> {
            let free = match writes {
                true => self.inside.is_empty(),
                false => self.inside.iter().all(|(_, writes)| !writes),
            };
            let mut waiting = self.waiting.iter();
            waiting
                .position(|(_, other, _)| *other == writes)
                .filter(|_| free)
        }
    }

    fn readers_first(office: &Office) -> Option<usize> {
        office.first(false).or_else(|| office.first(true))
    }

    fn writers_first(office: &Office) -> Option<usize> {
        let awaited = office.waiting.iter().any(|(_, writes, _)| *writes);
        if awaited {
            office.first(true)
        } else {
            office.first(false)
        }
    }

    fn in_order(office: &Office) -> Option<usize> {
        let (_, writes, _) = office.waiting.front()?;
        office.first(*writes).filter(|index| *index == 0)
    }

    pub(crate) struct Client {
        office: Sender<Message>,
        numbers: std::sync::atomic::AtomicU64,
    }

    impl Client {
        fn of(next: fn(&Office) -> Option<usize>) -> Client {
            let (office, messages) = unbounded();
            serve(move || {
                let mut office = Office::default();
                messages
                    .iter()
                    .for_each(|message| office.handle(message, next));
            });
            Client {
                office,
                numbers: Default::default(),
            }
        }

        fn visit(&self, writes: bool, body: impl FnOnce()) {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let (grant, granted) = oneshot::channel();
            let _ = self.office.send(Message::Comes(number, writes, grant));
            let _gone = finally(|| drop(self.office.send(Message::Leaves(number))));
            granted.recv().expect("the office lives");
            body();
        }
    }
    //:

    macro_rules! variants {
        ($($name:ident: $next:expr;)*) => {
            $(pub(crate) struct $name(Client);

            impl ReadersWriters for $name {
                fn new() -> Self {
                    $name(Client::of($next))
                }

                fn read(&self, body: impl FnOnce()) {
                    self.0.visit(false, body);
                }

                fn write(&self, body: impl FnOnce()) {
                    self.0.visit(true, body);
                }
            })*
        };
    }

    variants! {
        First: readers_first;
        Second: writers_first;
        Fair: in_order;
    }
}

pub(crate) mod rendezvous {
    use super::*;
    use lisle::channel::rendezvous::{Accept, Acceptor, Chosen, Entry, entry};

    //: first,second,fair rendezvous
    /// Who is inside, as the server sees it.
    #[derive(Default)]
    struct Inside {
        reading: usize,
        writing: bool,
    }

    impl Inside {
        fn begin(&mut self, writes: bool) {
            self.writing |= writes;
            self.reading += usize::from(!writes);
        }

        fn end(&mut self, writes: bool) {
            self.writing &= !writes;
            self.reading -= usize::from(!writes);
        }
    }
    //:

    //: first,second rendezvous
    pub(crate) struct Client {
        begin_read: Entry<(), ()>,
        begin_write: Entry<(), ()>,
        end: Entry<bool, ()>,
        /// A writer comes, or is gone.
        announce: Entry<isize, ()>,
    }

    struct Server {
        begin_read: Acceptor<(), ()>,
        begin_write: Acceptor<(), ()>,
        end: Acceptor<bool, ()>,
        announce: Acceptor<isize, ()>,
    }

    impl Server {
        fn serve(&self) {
            let (mut inside, mut writers) = (Inside::default(), 0);
            loop {
                let readable = !inside.writing && writers == 0;
                while readable && self.begin_read.try_accept(|()| inside.begin(false)).is_ok() {}
                let mut accept = Accept::new();
                accept.when(readable, &self.begin_read);
                accept.when(!inside.writing && inside.reading == 0, &self.begin_write);
                accept.or(&self.end);
                accept.or(&self.announce);
                let Ok(Chosen::Call(call)) = accept.or_terminate().select() else {
                    return;
                };
                match call.index() {
                    0 => call.accept(&self.begin_read, |()| inside.begin(false)),
                    1 => call.accept(&self.begin_write, |()| inside.begin(true)),
                    2 => call.accept(&self.end, |writes| inside.end(writes)),
                    _ => call.accept(&self.announce, |more| writers += more),
                }
            }
        }
    }

    impl Client {
        fn new() -> Client {
            let (begin_read, begins_read) = entry();
            let (begin_write, begins_write) = entry();
            let ((end, ends), (announce, announces)) = (entry(), entry());
            let server = Server {
                begin_read: begins_read,
                begin_write: begins_write,
                end: ends,
                announce: announces,
            };
            serve(move || server.serve());
            Client {
                begin_read,
                begin_write,
                end,
                announce,
            }
        }

        fn visit(&self, writes: bool, body: impl FnOnce()) {
            let begin = if writes {
                &self.begin_write
            } else {
                &self.begin_read
            };
            begin.call(()).unwrap();
            let _gone = finally(|| self.end.call(writes).unwrap());
            body();
        }
    }
    //:

    //: first rendezvous
    pub(crate) struct First(Client);

    impl ReadersWriters for First {
        fn new() -> Self {
            First(Client::new())
        }

        fn read(&self, body: impl FnOnce()) {
            self.0.visit(false, body);
        }

        fn write(&self, body: impl FnOnce()) {
            self.0.visit(true, body);
        }
    }
    //:

    //: second rendezvous
    pub(crate) struct Second(Client);

    impl ReadersWriters for Second {
        fn new() -> Self {
            Second(Client::new())
        }

        fn read(&self, body: impl FnOnce()) {
            self.0.visit(false, body);
        }

        fn write(&self, body: impl FnOnce()) {
            self.0.announce.call(1).unwrap();
            let _gone = finally(|| self.0.announce.call(-1).unwrap());
            self.0.visit(true, body);
        }
    }
    //:

    //: fair rendezvous
    /// One entry: a call is accepted in its turn, and its body waits for the way to be free.
    pub(crate) struct Fair {
        begin: Entry<bool, ()>,
        end: Entry<bool, ()>,
    }

    impl ReadersWriters for Fair {
        fn new() -> Self {
            let ((begin, begins), (end, ends)) = (entry(), entry());
            serve(move || {
                let mut inside = Inside::default();
                loop {
                    let mut accept = Accept::new();
                    let begin = accept.or(&begins);
                    accept.or(&ends);
                    match accept.or_terminate().select() {
                        Ok(Chosen::Call(call)) if call.index() == begin => {
                            call.accept(&begins, |writes| {
                                while inside.writing || writes && inside.reading > 0 {
                                    ends.accept(|writes| inside.end(writes)).unwrap();
                                }
                                inside.begin(writes);
                            });
                        }
                        Ok(Chosen::Call(call)) => call.accept(&ends, |writes| inside.end(writes)),
                        _ => return,
                    }
                }
            });
            Fair { begin, end }
        }

        fn read(&self, body: impl FnOnce()) {
            self.begin.call(false).unwrap();
            let _gone = finally(|| self.end.call(false).unwrap());
            body();
        }

        fn write(&self, body: impl FnOnce()) {
            self.begin.call(true).unwrap();
            let _gone = finally(|| self.end.call(true).unwrap());
            body();
        }
    }
    //:
}
