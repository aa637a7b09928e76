//! The cigarette smokers (Patil, 1971): an agent offers two of three ingredients; only the
//! smoker who has the third one can use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::harness::{Stage, child, finally, joined_or_cancelled, quiesce, serve};

pub(crate) const KINDS: usize = 3;

pub(crate) trait Table: Send + Sync + 'static {
    fn new() -> Self;
    /// Offers what the smoker of this kind lacks, when the table is free.
    fn offer(&self, kind: usize);
    /// Smokes, when that is offered; then the table is free.
    fn smoke(&self, kind: usize, body: impl FnOnce());
}

pub(crate) fn drive<S: Table>(stage: &Arc<Stage>) {
    let table = Arc::new(S::new());
    let smoking = Arc::new(AtomicBool::new(false));
    let smoked: Arc<[AtomicUsize; KINDS]> = Arc::default();
    let smoker = |kind: usize| {
        let (table, smoking) = (table.clone(), smoking.clone());
        let (smoked, stage) = (smoked.clone(), stage.clone());
        child(move || {
            loop {
                let operation = stage.ask();
                table.smoke(kind, || {
                    assert!(!smoking.swap(true, Ordering::SeqCst), "two smoke at once");
                    smoked[kind].fetch_add(1, Ordering::SeqCst);
                    operation.enter();
                    smoking.store(false, Ordering::SeqCst);
                });
            }
        })
    };
    let smokers = [0, 1, 2].map(smoker);
    let victims = if stage.has_victims() { 3 } else { 0 };
    let victims: Vec<_> = (0..victims).map(smoker).collect();
    let agent = {
        let (table, rounds) = (table.clone(), stage.rounds);
        stage.spawn(0, move || {
            (0..rounds * KINDS).for_each(|round| table.offer(round % KINDS))
        })
    };
    for victim in victims {
        stage.linger();
        victim.thread().cancel();
        joined_or_cancelled(victim);
    }
    agent.join();
    while smoked
        .iter()
        .map(|kind| kind.load(Ordering::SeqCst))
        .sum::<usize>()
        < stage.rounds * KINDS
    {
        quiesce();
    }
    for smoker in smokers {
        smoker.thread().cancel();
        joined_or_cancelled(smoker);
    }
    for kind in smoked.iter() {
        assert_eq!(
            kind.load(Ordering::SeqCst),
            stage.rounds,
            "another one has smoked"
        );
    }
}

pub(crate) mod semaphore {
    use super::*;
    use lisle::sync::Semaphore;

    //: smokers semaphore
    pub(crate) struct Agent {
        table: Semaphore,
        offered: [Semaphore; KINDS],
    }

    impl Table for Agent {
        fn new() -> Self {
            let offered = [const { Semaphore::new(0) }; KINDS];
            Agent {
                table: Semaphore::new(1),
                offered,
            }
        }

        fn offer(&self, kind: usize) {
            self.table.p();
            self.offered[kind].v();
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            self.offered[kind].p();
            body();
            self.table.v();
        }
    }
    //:
}

//: smokers mesa,hoare,region,serializer
/// What lies on the table: for whom, and whether it is being smoked.
#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    For(usize),
    Smoked,
}
//:

pub(crate) mod mesa {
    use super::*;
    use lisle::sync::Monitor;

    //: smokers mesa
    /// A condition for each smoker, and one for the agent.
    const FREE: usize = KINDS;

    #[derive(Default)]
    pub(crate) struct Agent(Monitor<State, { KINDS + 1 }>);

    impl Table for Agent {
        fn new() -> Self {
            Agent::default()
        }

        fn offer(&self, kind: usize) {
            let mut state = self.0.enter();
            state.wait_while(FREE, |state| *state != State::Free);
            *state = State::For(kind);
            state.notify_one(kind);
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            let mut state = self.0.enter();
            state.wait_while(kind, |state| *state != State::For(kind));
            *state = State::Smoked;
            drop(state);
            body();
            let mut state = self.0.enter();
            *state = State::Free;
            state.notify_one(FREE);
        }
    }
    //:
}

pub(crate) mod hoare {
    use super::*;
    use lisle::sync::Monitor;

    //: smokers hoare
    const FREE: usize = KINDS;

    #[derive(Default)]
    pub(crate) struct Agent(Monitor<State, { KINDS + 1 }>);

    impl Table for Agent {
        fn new() -> Self {
            Agent::default()
        }

        fn offer(&self, kind: usize) {
            let mut state = self.0.enter();
            if *state != State::Free {
                state.wait(FREE);
            }
            *state = State::For(kind);
            state.signal(kind);
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            let mut state = self.0.enter();
            if *state != State::For(kind) {
                state.wait(kind);
            }
            *state = State::Smoked;
            drop(state);
            body();
            let mut state = self.0.enter();
            *state = State::Free;
            state.signal(FREE);
        }
    }
    //:
}

pub(crate) mod region {
    use super::*;
    use lisle::sync::Region;

    //: smokers region
    #[derive(Default)]
    pub(crate) struct Agent(Region<State>);

    impl Table for Agent {
        fn new() -> Self {
            Agent::default()
        }

        fn offer(&self, kind: usize) {
            let free = |state: &State| *state == State::Free;
            self.0.when(free, |state| **state = State::For(kind));
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            let offered = |state: &State| *state == State::For(kind);
            self.0.when(offered, |state| **state = State::Smoked);
            let _gone = finally(|| self.0.enter(|state| **state = State::Free));
            body();
        }
    }
    //:
}

pub(crate) mod serializer {
    use super::*;
    use lisle::sync::Serializer;

    //: smokers serializer
    /// A queue for each smoker, and one for the agent.
    const AGENT: usize = KINDS;
    const SMOKING: usize = 0;

    #[derive(Default)]
    pub(crate) struct Agent(Serializer<State, { KINDS + 1 }, 1>);

    impl Table for Agent {
        fn new() -> Self {
            Agent::default()
        }

        fn offer(&self, kind: usize) {
            let mut table = self.0.enter();
            table.enqueue(AGENT, |table| **table == State::Free);
            *table = State::For(kind);
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            let mut table = self.0.enter();
            table.enqueue(kind, |table| **table == State::For(kind));
            *table = State::Smoked;
            table.join_crowd(SMOKING, body);
            *table = State::Free;
        }
    }
    //:
}

pub(crate) mod path {
    use super::*;
    use lisle::sync::{PathExpression, path};

    //: smokers path
    pub(crate) struct Agent(PathExpression);

    impl Table for Agent {
        fn new() -> Self {
            Agent(path!("offer0 ; smoke0 , offer1 ; smoke1 , offer2 ; smoke2"))
        }

        fn offer(&self, kind: usize) {
            self.0.perform(["offer0", "offer1", "offer2"][kind], || ());
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            self.0.perform(["smoke0", "smoke1", "smoke2"][kind], body);
        }
    }
    //:
}

pub(crate) mod channel {
    use super::*;
    use lisle::channel::{Receiver, Sender, unbounded};

    //: smokers channel
    type Ends = (Sender<()>, Receiver<()>);

    pub(crate) struct Agent {
        table: Ends,
        offered: [Ends; KINDS],
    }

    impl Table for Agent {
        fn new() -> Self {
            let table = unbounded();
            table.0.send(()).unwrap();
            Agent {
                table,
                offered: [(); KINDS].map(|()| unbounded()),
            }
        }

        fn offer(&self, kind: usize) {
            self.table.1.recv().unwrap();
            self.offered[kind].0.send(()).unwrap();
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            self.offered[kind].1.recv().unwrap();
            body();
            self.table.0.send(()).unwrap();
        }
    }
    //:
}

pub(crate) mod rendezvous {
    use super::*;
    use lisle::channel::rendezvous::{Entry, entry};

    //: smokers rendezvous
    pub(crate) struct Agent {
        offer: Entry<usize, ()>,
        begin: [Entry<(), ()>; KINDS],
        end: Entry<(), ()>,
    }

    impl Table for Agent {
        fn new() -> Self {
            let ((offer, offers), (end, ends)) = (entry(), entry());
            let entries = [(); KINDS].map(|()| entry());
            let begin = entries.each_ref().map(|(begin, _)| begin.clone());
            let begins = entries.map(|(_, begins)| begins);
            serve(move || {
                let mut kind = 0;
                while offers.accept(|offered| kind = offered).is_ok() {
                    begins[kind].accept(|()| ()).unwrap();
                    ends.accept(|()| ()).unwrap();
                }
            });
            Agent { offer, begin, end }
        }

        fn offer(&self, kind: usize) {
            self.offer.call(kind).unwrap();
        }

        fn smoke(&self, kind: usize, body: impl FnOnce()) {
            self.begin[kind].call(()).unwrap();
            let _gone = finally(|| self.end.call(()).unwrap());
            body();
        }
    }
    //:
}
