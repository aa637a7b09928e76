//! The disk-head scheduler (Hoare, 1974): one access at a time, in the order of an elevator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::harness::{Kind, Stage, child, finally, quiesce, serve};
use crate::support::Log;

pub(crate) trait Disk: Send + Sync + 'static {
    fn new() -> Self;
    fn access(&self, track: u64, body: impl FnOnce());
}

const TRACKS: u64 = 100;

pub(crate) fn drive<S: Disk>(stage: &Arc<Stage>) {
    if stage.kind == Kind::Seeded {
        assert_eq!(
            order::<S>(),
            [50, 55, 60, 45, 40],
            "the order of an elevator"
        );
    }
    let (disk, busy) = (Arc::new(S::new()), Arc::new(AtomicBool::new(false)));
    let actors = stage.clone();
    stage.crowd(5, 0..2, move |_, _| {
        let track = actors.random(TRACKS);
        let operation = actors.ask();
        disk.access(track, || {
            assert!(!busy.swap(true, Ordering::SeqCst), "two move the head");
            operation.enter();
            busy.store(false, Ordering::SeqCst);
        });
    });
}

/// Four come while the head is at track 50.
fn order<S: Disk>() -> Vec<u64> {
    let (disk, log) = (Arc::new(S::new()), Log::new());
    let held = Arc::new(AtomicBool::new(true));
    let threads = [50, 60, 40, 55, 45].map(|track| {
        let (disk, log, held) = (disk.clone(), log.clone(), held.clone());
        let thread = child(move || {
            disk.access(track, || {
                log.note(track);
                while held.load(Ordering::SeqCst) {
                    quiesce();
                }
            });
        });
        (0..3).for_each(|_| quiesce());
        thread
    });
    held.store(false, Ordering::SeqCst);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    log.take()
}

//: disk semaphore,region,channel,rendezvous
/// Who waits, by a number, for which track; and where the head is, if it is in use.
#[derive(Default)]
struct Elevator {
    waiting: Vec<(u64, u64)>,
    head: u64,
    down: bool,
    busy: Option<u64>,
}

impl Elevator {
    /// Who is next: the nearest in the direction of the head, else in the other.
    fn next(&self) -> Option<u64> {
        let ahead = |down: bool| {
            let ahead = self.waiting.iter().filter(move |(_, track)| match down {
                true => *track <= self.head,
                false => *track >= self.head,
            });
            ahead
                .min_by_key(|(_, track)| track.abs_diff(self.head))
                .map(|(who, _)| *who)
        };
        match self.busy {
            Some(_) => None,
            None => ahead(self.down).or_else(|| ahead(!self.down)),
        }
    }

    fn begin(&mut self, who: u64) {
        let at = self.waiting.iter().position(|(other, _)| *other == who);
        let (_, track) = self.waiting.remove(at.expect("it waits"));
        if track != self.head {
            self.down = track < self.head;
        }
        (self.head, self.busy) = (track, Some(who));
    }

    /// Whether it has waited or been busy.
    fn end(&mut self, who: u64) {
        self.waiting.retain(|(other, _)| *other != who);
        self.busy = self.busy.filter(|other| *other != who);
    }
}
//:

pub(crate) mod semaphore {
    use super::*;
    use std::collections::HashMap;

    use lisle::sync::{Mutex, Semaphore};

    //: disk semaphore
    /// A private semaphore for each who waits.
    #[derive(Default)]
    pub(crate) struct Head {
        state: Mutex<(Elevator, HashMap<u64, Arc<Semaphore>>)>,
        numbers: AtomicU64,
    }

    impl Head {
        fn change(&self, change: impl FnOnce(&mut Elevator, &mut HashMap<u64, Arc<Semaphore>>)) {
            let (elevator, turns) = &mut *self.state.lock().unwrap();
            change(elevator, turns);
            if let Some(next) = elevator.next() {
                elevator.begin(next);
                turns[&next].v();
            }
        }
    }

    impl Disk for Head {
        fn new() -> Self {
            Head::default()
        }

        fn access(&self, track: u64, body: impl FnOnce()) {
            let who = self.numbers.fetch_add(1, Ordering::Relaxed);
            let turn = Arc::new(Semaphore::new(0));
            self.change(|elevator, turns| {
                elevator.waiting.push((who, track));
                turns.insert(who, turn.clone());
            });
            let _gone = finally(|| {
                self.change(|elevator, turns| {
                    elevator.end(who);
                    turns.remove(&who);
                });
            });
            turn.p();
            body();
        }
    }
    //:
}

pub(crate) mod mesa {
    use super::*;
    use lisle::sync::Monitor;

    //: disk mesa,hoare
    #[derive(Default)]
    pub(crate) struct State {
        head: u64,
        down: bool,
        busy: bool,
    }

    pub(crate) const UP: usize = 0;
    pub(crate) const DOWN: usize = 1;

    impl State {
        /// Which sweep will pass the track, and how late in it.
        pub(crate) fn sweep(&self, track: u64) -> (usize, u64) {
            match track > self.head || track == self.head && !self.down {
                true => (UP, track),
                false => (DOWN, TRACKS - track),
            }
        }

        pub(crate) fn begin(&mut self, track: u64) {
            if track != self.head {
                self.down = track < self.head;
            }
            (self.head, self.busy) = (track, true);
        }

        /// The sweep that goes on, and the one that begins if that is over.
        pub(crate) fn end(&mut self) -> [usize; 2] {
            self.busy = false;
            if self.down { [DOWN, UP] } else { [UP, DOWN] }
        }

        pub(crate) fn is_busy(&self) -> bool {
            self.busy
        }
    }
    //:

    //: disk mesa
    #[derive(Default)]
    pub(crate) struct Head(Monitor<State, 2>);

    impl Disk for Head {
        fn new() -> Self {
            Head::default()
        }

        fn access(&self, track: u64, body: impl FnOnce()) {
            let mut state = self.0.enter();
            while state.busy {
                let (sweep, rank) = state.sweep(track);
                state.wait_ranked(sweep, rank);
            }
            state.begin(track);
            drop(state);
            body();
            let mut state = self.0.enter();
            // Both: the first may have been cancelled.
            for sweep in state.end() {
                state.notify_one(sweep);
            }
        }
    }
    //:
}

pub(crate) mod hoare {
    use super::mesa::State;
    use super::*;
    use lisle::sync::Monitor;

    //: disk hoare
    #[derive(Default)]
    pub(crate) struct Head(Monitor<State, 2>);

    impl Disk for Head {
        fn new() -> Self {
            Head::default()
        }

        fn access(&self, track: u64, body: impl FnOnce()) {
            let mut state = self.0.enter();
            if state.is_busy() {
                let (sweep, rank) = state.sweep(track);
                state.wait_ranked(sweep, rank);
            }
            state.begin(track);
            drop(state);
            body();
            let mut state = self.0.enter();
            let [this, other] = state.end();
            if !state.signal(this) {
                state.signal(other);
            }
        }
    }
    //:
}

pub(crate) mod region {
    use super::*;
    use lisle::sync::Region;

    //: disk region
    #[derive(Default)]
    pub(crate) struct Head(Region<Elevator>, AtomicU64);

    impl Disk for Head {
        fn new() -> Self {
            Head::default()
        }

        fn access(&self, track: u64, body: impl FnOnce()) {
            let who = self.1.fetch_add(1, Ordering::Relaxed);
            self.0.enter(|elevator| elevator.waiting.push((who, track)));
            let _gone = finally(|| self.0.enter(|elevator| elevator.end(who)));
            self.0.when(
                |elevator| elevator.next() == Some(who),
                |elevator| elevator.begin(who),
            );
            body();
        }
    }
    //:
}

pub(crate) mod serializer {
    use super::*;
    use lisle::sync::Serializer;

    //: disk serializer
    const UP: usize = 0;
    const DOWN: usize = 1;
    const HEAD: usize = 0;

    #[derive(Default)]
    pub(crate) struct State {
        head: u64,
        down: bool,
    }

    /// A queue for each sweep, ordered by track.
    #[derive(Default)]
    pub(crate) struct Head(Serializer<State, 2, 1>);

    impl Disk for Head {
        fn new() -> Self {
            Head::default()
        }

        fn access(&self, track: u64, body: impl FnOnce()) {
            let mut disk = self.0.enter();
            if track > disk.head || track == disk.head && !disk.down {
                disk.enqueue_ranked(UP, track, |disk| {
                    disk.crowd_is_empty(HEAD) && (!disk.down || disk.queue_is_empty(DOWN))
                });
            } else {
                disk.enqueue_ranked(DOWN, TRACKS - track, |disk| {
                    disk.crowd_is_empty(HEAD) && (disk.down || disk.queue_is_empty(UP))
                });
            }
            if track != disk.head {
                disk.down = track < disk.head;
            }
            disk.head = track;
            disk.join_crowd(HEAD, body);
        }
    }
    //:
}

pub(crate) mod channel {
    use super::*;
    use std::collections::HashMap;

    use lisle::channel::{Sender, oneshot, unbounded};

    //: disk channel
    enum Message {
        Comes(u64, u64, oneshot::Sender<()>),
        Leaves(u64),
    }

    pub(crate) struct Head(Sender<Message>, AtomicU64);

    impl Disk for Head {
        fn new() -> Self {
            let (sender, messages) = unbounded();
            serve(move || {
                let (mut elevator, mut turns) = (Elevator::default(), HashMap::new());
                for message in messages.iter() {
                    match message {
                        Message::Comes(who, track, turn) => {
                            elevator.waiting.push((who, track));
                            turns.insert(who, turn);
                        }
                        Message::Leaves(who) => elevator.end(who),
                    }
                    if let Some(next) = elevator.next() {
                        elevator.begin(next);
                        // Who has been cancelled says that it leaves.
                        let _ = turns.remove(&next).unwrap().send(());
                    }
                }
            });
            Head(sender, AtomicU64::new(0))
        }

        fn access(&self, track: u64, body: impl FnOnce()) {
            let who = self.1.fetch_add(1, Ordering::Relaxed);
            let (turn, my_turn) = oneshot::channel();
            self.0.send(Message::Comes(who, track, turn)).ok().unwrap();
            let _gone = finally(|| self.0.send(Message::Leaves(who)).ok().unwrap());
            my_turn.recv().unwrap();
            body();
        }
    }
    //:
}

pub(crate) mod rendezvous {
    use super::*;
    use std::collections::HashMap;

    use lisle::channel::rendezvous::{Accept, Chosen, Entry, entry};
    use lisle::channel::{Receiver, bounded};

    //: disk rendezvous
    /// Who comes is given a place to wait at; the server meets there whose turn it is.
    pub(crate) struct Head {
        come: Entry<(u64, u64), Receiver<()>>,
        leave: Entry<u64, ()>,
        numbers: AtomicU64,
    }

    impl Disk for Head {
        fn new() -> Self {
            let ((come, comes), (leave, leaves)) = (entry(), entry());
            serve(move || {
                let (mut elevator, mut turns) = (Elevator::default(), HashMap::new());
                loop {
                    let mut accept = Accept::new();
                    let come = accept.or(&comes);
                    accept.or(&leaves);
                    match accept.or_terminate().select() {
                        Ok(Chosen::Call(call)) if call.index() == come => {
                            call.accept(&comes, |(who, track)| {
                                let (turn, my_turn) = bounded(0);
                                elevator.waiting.push((who, track));
                                turns.insert(who, turn);
                                my_turn
                            });
                        }
                        Ok(Chosen::Call(call)) => call.accept(&leaves, |who| elevator.end(who)),
                        _ => return,
                    }
                    if let Some(next) = elevator.next() {
                        elevator.begin(next);
                        // Who has been cancelled calls that it leaves.
                        let _ = turns.remove(&next).unwrap().send(());
                    }
                }
            });
            Head {
                come,
                leave,
                numbers: AtomicU64::new(0),
            }
        }

        fn access(&self, track: u64, body: impl FnOnce()) {
            let who = self.numbers.fetch_add(1, Ordering::Relaxed);
            // Not cancelled before it comes, it leaves in any case.
            let my_turn = self.come.call((who, track)).unwrap();
            let _gone = finally(|| self.leave.call(who).unwrap());
            // Whoever is cancelled here is gone from there before it says that it leaves.
            let meet = |turn: Receiver<()>| turn.recv().unwrap();
            meet(my_turn);
            body();
        }
    }
    //:
}
