//! The sleeping barber (Dijkstra, 1965): customers wait on a few chairs or go away; the
//! barber sleeps while there is none.
//!
//! A customer who has taken a chair stays until its hair is cut: where a mechanism cannot
//! take that back, a cancel is shielded off meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lisle::cancel::shield;

use super::harness::{Kind, Stage, child, joined_or_cancelled, quiesce, serve};

const CHAIRS: usize = 2;

pub(crate) trait Shop: Send + Sync + 'static {
    fn new() -> Self;
    /// A customer: whether there was a chair. The body is the haircut.
    fn visit(&self, body: impl FnOnce()) -> bool;
    /// The barber: waits for a customer and cuts its hair.
    fn cut(&self);
}

pub(crate) fn drive<S: Shop>(stage: &Arc<Stage>) {
    if stage.kind == Kind::Seeded {
        chairs::<S>();
    }
    let shop = Arc::new(S::new());
    let (busy, cuts) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let served = Arc::new(AtomicUsize::new(0));
    let barber = child({
        let (shop, cuts) = (shop.clone(), cuts.clone());
        move || {
            loop {
                shop.cut();
                cuts.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let (actors, customers) = (stage.clone(), served.clone());
    stage.crowd(4, 0..2, move |_, _| {
        let operation = actors.ask();
        shop.visit(|| {
            assert!(
                !busy.swap(true, Ordering::SeqCst),
                "two in the barber's chair"
            );
            customers.fetch_add(1, Ordering::SeqCst);
            operation.enter();
            busy.store(false, Ordering::SeqCst);
        });
    });
    while cuts.load(Ordering::SeqCst) < served.load(Ordering::SeqCst) {
        quiesce();
    }
    barber.thread().cancel();
    joined_or_cancelled(barber);
    assert_eq!(cuts.load(Ordering::SeqCst), served.load(Ordering::SeqCst));
}

/// As many wait as there are chairs.
fn chairs<S: Shop>() {
    let shop = Arc::new(S::new());
    let customers = [(); CHAIRS].map(|()| {
        let shop = shop.clone();
        child(move || assert!(shop.visit(|| ())))
    });
    quiesce();
    assert!(!shop.visit(|| ()), "more wait than there are chairs");
    (0..CHAIRS).for_each(|_| shop.cut());
    for customer in customers {
        customer.join().unwrap();
    }
}

pub(crate) mod semaphore {
    use super::*;
    use lisle::sync::{Mutex, Semaphore};

    //: barber semaphore
    pub(crate) struct Barber {
        waiting: Mutex<usize>,
        customers: Semaphore,
        invitations: Semaphore,
        done: Semaphore,
    }

    impl Shop for Barber {
        fn new() -> Self {
            let [customers, invitations, done] = [(); 3].map(|()| Semaphore::new(0));
            Barber {
                waiting: Mutex::new(0),
                customers,
                invitations,
                done,
            }
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            let mut waiting = self.waiting.lock().unwrap();
            if *waiting == CHAIRS {
                return false;
            }
            *waiting += 1;
            drop(waiting);
            self.customers.v();
            shield(|| self.invitations.p());
            body();
            self.done.v();
            true
        }

        fn cut(&self) {
            self.customers.p();
            *self.waiting.lock().unwrap() -= 1;
            self.invitations.v();
            self.done.p();
        }
    }
    //:
}

//: barber mesa,region
#[derive(Default)]
struct State {
    waiting: usize,
    invitations: usize,
    done: bool,
}
//:

pub(crate) mod mesa {
    use super::*;
    use lisle::sync::Monitor;

    //: barber mesa
    const CUSTOMER: usize = 0;
    const INVITED: usize = 1;
    const DONE: usize = 2;

    #[derive(Default)]
    pub(crate) struct Barber(Monitor<State, 3>);

    impl Shop for Barber {
        fn new() -> Self {
            Barber::default()
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            let mut shop = self.0.enter();
            if shop.waiting == CHAIRS {
                return false;
            }
            shop.waiting += 1;
            shop.notify_one(CUSTOMER);
            shield(|| shop.wait_while(INVITED, |shop| shop.invitations == 0));
            shop.invitations -= 1;
            drop(shop);
            body();
            let mut shop = self.0.enter();
            shop.done = true;
            shop.notify_one(DONE);
            true
        }

        fn cut(&self) {
            let mut shop = self.0.enter();
            shop.wait_while(CUSTOMER, |shop| shop.waiting == 0);
            shop.waiting -= 1;
            shop.invitations += 1;
            shop.notify_one(INVITED);
            shop.wait_while(DONE, |shop| !shop.done);
            shop.done = false;
        }
    }
    //:
}

pub(crate) mod hoare {
    use super::*;
    use lisle::sync::Monitor;

    //: barber hoare
    const CUSTOMER: usize = 0;
    const INVITED: usize = 1;
    const DONE: usize = 2;

    /// How many wait.
    #[derive(Default)]
    pub(crate) struct Barber(Monitor<usize, 3>);

    impl Shop for Barber {
        fn new() -> Self {
            Barber::default()
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            let mut waiting = self.0.enter();
            if *waiting == CHAIRS {
                return false;
            }
            // The barber is ready at once, or invites us when he is.
            if !waiting.signal(CUSTOMER) {
                *waiting += 1;
                shield(|| waiting.wait(INVITED));
                *waiting -= 1;
            }
            drop(waiting);
            body();
            self.0.enter().signal(DONE);
            true
        }

        fn cut(&self) {
            let mut waiting = self.0.enter();
            if !waiting.signal(INVITED) {
                waiting.wait(CUSTOMER);
            }
            waiting.wait(DONE);
        }
    }
    //:
}

pub(crate) mod region {
    use super::*;
    use lisle::sync::Region;

    //: barber region
    #[derive(Default)]
    pub(crate) struct Barber(Region<State>);

    impl Shop for Barber {
        fn new() -> Self {
            Barber::default()
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            let seated = self.0.enter(|shop| {
                let seated = shop.waiting < CHAIRS;
                shop.waiting += usize::from(seated);
                seated
            });
            if seated {
                shield(|| {
                    self.0
                        .when(|shop| shop.invitations > 0, |shop| shop.invitations -= 1)
                });
                body();
                shield(|| self.0.enter(|shop| shop.done = true));
            }
            seated
        }

        fn cut(&self) {
            self.0.when(
                |shop| shop.waiting > 0,
                |shop| {
                    shop.waiting -= 1;
                    shop.invitations += 1;
                    shop.wait_until(|shop| shop.done);
                    shop.done = false;
                },
            );
        }
    }
    //:
}

pub(crate) mod serializer {
    use super::*;
    use lisle::sync::Serializer;

    //: barber serializer
    const CUSTOMERS: usize = 0;
    const BARBER: usize = 1;
    const CHAIR: usize = 0;

    /// Whether the barber is ready. Who waits is in a queue, and may leave it.
    #[derive(Default)]
    pub(crate) struct Barber(Serializer<bool, 2, 1>);

    impl Shop for Barber {
        fn new() -> Self {
            Barber::default()
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            let mut ready = self.0.enter();
            if ready.queue(CUSTOMERS) == CHAIRS {
                return false;
            }
            ready.enqueue(CUSTOMERS, |ready| **ready);
            *ready = false;
            ready.join_crowd(CHAIR, body);
            true
        }

        fn cut(&self) {
            let mut ready = self.0.enter();
            *ready = true;
            ready.enqueue(BARBER, |ready| !**ready && ready.crowd_is_empty(CHAIR));
        }
    }
    //:
}

pub(crate) mod path {
    use super::*;
    use lisle::sync::{PathExpression, path};

    //: barber path
    /// A chair is taken from `sit` to `call`.
    pub(crate) struct Barber(PathExpression);

    impl Shop for Barber {
        fn new() -> Self {
            Barber(path!(
                "path 2:(sit ; call) end path call ; haircut ; dismiss end"
            ))
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            if self.0.try_perform("sit", || ()).is_none() {
                return false;
            }
            shield(|| self.0.perform("haircut", body));
            true
        }

        fn cut(&self) {
            self.0.perform("call", || ());
            self.0.perform("dismiss", || ());
        }
    }
    //:
}

pub(crate) mod channel {
    use super::*;
    use lisle::channel::{Receiver, Sender, unbounded};

    //: barber channel
    type Ends = (Sender<()>, Receiver<()>);

    /// Free chairs, customers, invitations and finished haircuts are messages.
    pub(crate) struct Barber {
        chairs: Ends,
        customers: Ends,
        invitations: Ends,
        done: Ends,
    }

    impl Shop for Barber {
        fn new() -> Self {
            let [chairs, customers, invitations, done] = [(); 4].map(|()| unbounded());
            (0..CHAIRS).for_each(|_| chairs.0.send(()).unwrap());
            Barber {
                chairs,
                customers,
                invitations,
                done,
            }
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            if self.chairs.1.try_recv().is_err() {
                return false;
            }
            self.customers.0.send(()).unwrap();
            shield(|| self.invitations.1.recv().unwrap());
            body();
            self.done.0.send(()).unwrap();
            true
        }

        fn cut(&self) {
            self.customers.1.recv().unwrap();
            self.chairs.0.send(()).unwrap();
            self.invitations.0.send(()).unwrap();
            self.done.1.recv().unwrap();
        }
    }
    //:
}

pub(crate) mod rendezvous {
    use super::*;
    use lisle::channel::rendezvous::{Accept, Acceptor, Chosen, Entry, entry};

    //: barber rendezvous
    /// The waiting room is a server; the barber accepts the haircut itself.
    pub(crate) struct Barber {
        sit: Entry<(), bool>,
        call: Entry<(), ()>,
        haircut: (Entry<(), ()>, Acceptor<(), ()>),
        done: (Entry<(), ()>, Acceptor<(), ()>),
    }

    impl Shop for Barber {
        fn new() -> Self {
            let ((sit, sits), (call, calls)) = (entry(), entry());
            serve(move || {
                let mut waiting = 0;
                loop {
                    let mut accept = Accept::new();
                    let sit = accept.or(&sits);
                    accept.when(waiting > 0, &calls);
                    match accept.or_terminate().select() {
                        Ok(Chosen::Call(call)) if call.index() == sit => call.accept(&sits, |()| {
                            let seated = waiting < CHAIRS;
                            waiting += usize::from(seated);
                            seated
                        }),
                        Ok(Chosen::Call(call)) => call.accept(&calls, |()| waiting -= 1),
                        _ => return,
                    }
                }
            });
            Barber {
                sit,
                call,
                haircut: entry(),
                done: entry(),
            }
        }

        fn visit(&self, body: impl FnOnce()) -> bool {
            let seated = self.sit.call(()).unwrap();
            if seated {
                shield(|| self.haircut.0.call(()).unwrap());
                body();
                shield(|| self.done.0.call(()).unwrap());
            }
            seated
        }

        fn cut(&self) {
            self.call.call(()).unwrap();
            self.haircut.1.accept(|()| ()).unwrap();
            self.done.1.accept(|()| ()).unwrap();
        }
    }
    //:
}
