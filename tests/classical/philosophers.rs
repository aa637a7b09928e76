//! The dining philosophers (Dijkstra, 1971): nobody eats beside somebody who eats.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::{Stage, finally, serve};

pub(crate) const SEATS: usize = 5;

pub(crate) trait Table: Send + Sync + 'static {
    fn new() -> Self;
    fn eat(&self, seat: usize, body: impl FnOnce());
}

pub(crate) fn drive<S: Table>(stage: &Arc<Stage>) {
    let table = Arc::new(S::new());
    let forks: Arc<[AtomicBool; SEATS]> = Arc::default();
    let actors = stage.clone();
    stage.crowd(SEATS, 0..SEATS, move |seat, _| {
        let operation = actors.ask();
        table.eat(seat, || {
            let both = [seat, (seat + 1) % SEATS];
            for fork in both {
                assert!(
                    !forks[fork].swap(true, Ordering::SeqCst),
                    "two eat with one fork"
                );
            }
            operation.enter();
            for fork in both {
                forks[fork].store(false, Ordering::SeqCst);
            }
        });
    });
}

//: philosophers mesa,hoare,region,rendezvous
/// The neighbours, and whoever else wants this seat.
fn rivals(seat: usize) -> [usize; 3] {
    [(seat + SEATS - 1) % SEATS, (seat + 1) % SEATS, seat]
}

type Eating = [bool; SEATS];

fn free(eating: &Eating, seat: usize) -> bool {
    rivals(seat).iter().all(|rival| !eating[*rival])
}
//:

pub(crate) mod semaphore {
    use super::*;
    use lisle::sync::Semaphore;

    //: philosophers semaphore
    /// Everybody takes the fork with the lower number first: no circle can close.
    pub(crate) struct Solution([Semaphore; SEATS]);

    impl Table for Solution {
        fn new() -> Self {
            Solution([const { Semaphore::new(1) }; SEATS])
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            let next = (seat + 1) % SEATS;
            let _lower = self.0[seat.min(next)].acquire().unwrap();
            let _upper = self.0[seat.max(next)].acquire().unwrap();
            body();
        }
    }
    //:
}

pub(crate) mod mesa {
    use super::*;
    use lisle::sync::Monitor;

    //: philosophers mesa
    #[derive(Default)]
    pub(crate) struct Solution(Monitor<Eating, SEATS>);

    impl Table for Solution {
        fn new() -> Self {
            Solution::default()
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            let mut eating = self.0.enter();
            eating.wait_while(seat, |eating| !free(eating, seat));
            eating[seat] = true;
            drop(eating);
            body();
            let mut eating = self.0.enter();
            eating[seat] = false;
            for rival in rivals(seat) {
                eating.notify_all(rival);
            }
        }
    }
    //:
}

pub(crate) mod hoare {
    use super::*;
    use lisle::sync::Monitor;

    //: philosophers hoare
    #[derive(Default)]
    pub(crate) struct Solution(Monitor<Eating, SEATS>);

    impl Table for Solution {
        fn new() -> Self {
            Solution::default()
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            let mut eating = self.0.enter();
            if !free(&eating, seat) {
                eating.wait(seat);
            }
            eating[seat] = true;
            drop(eating);
            body();
            let mut eating = self.0.enter();
            eating[seat] = false;
            for rival in rivals(seat) {
                if free(&eating, rival) {
                    eating.signal(rival);
                }
            }
        }
    }
    //:
}

pub(crate) mod region {
    use super::*;
    use lisle::sync::Region;

    //: philosophers region
    #[derive(Default)]
    pub(crate) struct Solution(Region<Eating>);

    impl Table for Solution {
        fn new() -> Self {
            Solution::default()
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            self.0
                .when(|eating| free(eating, seat), |eating| eating[seat] = true);
            let _gone = finally(|| self.0.enter(|eating| eating[seat] = false));
            body();
        }
    }
    //:
}

pub(crate) mod serializer {
    use super::*;
    use lisle::sync::Serializer;

    //: philosophers serializer
    /// A queue and a crowd for each seat.
    #[derive(Default)]
    pub(crate) struct Solution(Serializer<(), SEATS, SEATS>);

    impl Table for Solution {
        fn new() -> Self {
            Solution::default()
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            let mut table = self.0.enter();
            let rivals = rivals(seat);
            table.enqueue(seat, |table| {
                rivals.iter().all(|rival| table.crowd_is_empty(*rival))
            });
            table.join_crowd(seat, body);
        }
    }
    //:
}

pub(crate) mod path {
    use super::*;
    use lisle::sync::{PathExpression, path};

    //: philosophers path
    /// A path for each fork.
    pub(crate) struct Solution(PathExpression);

    impl Table for Solution {
        fn new() -> Self {
            Solution(path!(
                "path eat0 , eat1 end path eat1 , eat2 end path eat2 , eat3 end
                 path eat3 , eat4 end path eat4 , eat0 end"
            ))
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            self.0
                .perform(["eat0", "eat1", "eat2", "eat3", "eat4"][seat], body);
        }
    }
    //:
}

pub(crate) mod channel {
    use super::*;
    use lisle::channel::{Receiver, Sender, unbounded};

    //: philosophers channel
    /// A fork is a message; the lower number is received first.
    pub(crate) struct Solution([(Sender<()>, Receiver<()>); SEATS]);

    impl Table for Solution {
        fn new() -> Self {
            let forks = [(); SEATS].map(|()| unbounded());
            forks.iter().for_each(|(give, _)| give.send(()).unwrap());
            Solution(forks)
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            let next = (seat + 1) % SEATS;
            let take = |fork: usize| {
                let (give, take) = &self.0[fork];
                take.recv().unwrap();
                finally(|| give.send(()).unwrap())
            };
            let _lower = take(seat.min(next));
            let _upper = take(seat.max(next));
            body();
        }
    }
    //:
}

pub(crate) mod rendezvous {
    use super::*;
    use lisle::channel::rendezvous::{Accept, Chosen, Entry, entry};

    //: philosophers rendezvous
    pub(crate) struct Solution {
        begin: [Entry<(), ()>; SEATS],
        end: Entry<usize, ()>,
    }

    impl Table for Solution {
        fn new() -> Self {
            let entries = [(); SEATS].map(|()| entry());
            let begin = entries.each_ref().map(|(begin, _)| begin.clone());
            let begins = entries.map(|(_, begins)| begins);
            let (end, ends) = entry();
            serve(move || {
                let mut eating = Eating::default();
                loop {
                    let mut accept = Accept::new();
                    for (seat, begins) in begins.iter().enumerate() {
                        accept.when(free(&eating, seat), begins);
                    }
                    accept.or(&ends);
                    let Ok(Chosen::Call(call)) = accept.or_terminate().select() else {
                        return;
                    };
                    match call.index() {
                        SEATS => call.accept(&ends, |seat: usize| eating[seat] = false),
                        seat => call.accept(&begins[seat], |()| eating[seat] = true),
                    }
                }
            });
            Solution { begin, end }
        }

        fn eat(&self, seat: usize, body: impl FnOnce()) {
            self.begin[seat].call(()).unwrap();
            let _gone = finally(|| self.end.call(seat).unwrap());
            body();
        }
    }
    //:
}
