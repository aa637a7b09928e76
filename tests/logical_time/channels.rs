//! Stamped channels: every flavour, every way to send and to receive, one thread or many
//! in a process.

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use lisle::channel::stamped::{self, Receiver, Sender, Shared};
use lisle::channel::{
    self, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError, select,
};
use lisle::clock::{Causality, Clock, Lamport, LamportStamp, Matrix, Stamped, Vector};
use lisle::thread::{self, State};
use lisle::time;

use super::processes;
use super::support::{self, child, many, on, runtime, until_waiting, watchdog};

/// Unbounded, rendezvous, and buffers small and large.
const FLAVOURS: [Option<usize>; 4] = [None, Some(0), Some(1), Some(100)];
const TICK: Duration = Duration::from_millis(1);

fn channel<T, C: Clock>(flavour: Option<usize>) -> (Sender<T, C>, Receiver<T, C>) {
    flavour.map_or_else(stamped::unbounded, stamped::bounded)
}

/// Runs the test under many seeds.
fn under_seeds(test: impl Fn() + Send + Sync + Clone + 'static) {
    support::under_seeds(100, test);
}

#[test]
fn a_receiver_is_after_its_sender_in_every_flavour_with_every_clock() {
    fn check<C: Clock<Stamp: PartialOrd + std::fmt::Debug + Send> + Send + 'static>(
        make: impl Fn(u32) -> C,
    ) {
        for flavour in FLAVOURS {
            let (sender, receiver) = channel::<_, C>(flavour);
            let mut here = make(0);
            let thread = std::thread::spawn(move || {
                (0..10).for_each(|n| sender.send(&mut here, n).unwrap());
                here.now()
            });
            let mut there = make(1);
            let mut last = None;
            for n in 0..10 {
                let message = receiver.recv(&mut there).unwrap();
                assert_eq!(message.message, n);
                assert!(message.stamp < there.now());
                assert!(
                    last.replace(message.stamp.clone())
                        .is_none_or(|last| last < message.stamp)
                );
            }
            assert!(receiver.recv(&mut there).is_err());
            assert_eq!(last.unwrap(), thread.join().unwrap());
        }
    }
    let _watchdog = watchdog();
    check(Lamport::new);
    check(Vector::new);
    check(|n| Matrix::new(n, processes::<2>()));
}

#[test]
fn a_send_that_fails_was_no_event() {
    let mut process = Vector::new(0);
    let (sender, receiver) = stamped::bounded(1);
    sender.send(&mut process, 1).unwrap();
    let before = process.clone();
    assert_eq!(sender.try_send(&mut process, 2), Err(TrySendError::Full(2)));
    let late = sender.send_timeout(&mut process, 3, TICK);
    assert_eq!(late, Err(SendTimeoutError::Timeout(3)));
    assert_eq!(process.now(), before.now());

    let shared = Shared::new(process);
    assert_eq!(sender.try_send(&shared, 2), Err(TrySendError::Full(2)));
    let late = sender.send_deadline(&shared, 3, time::now());
    assert_eq!(late, Err(SendTimeoutError::Timeout(3)));
    assert_eq!(shared.now(), before.now());

    drop(receiver);
    assert_eq!(sender.send(&shared, 4).unwrap_err().into_inner(), 4);
    assert_eq!(shared.now(), before.now());
    let mut process = before.clone();
    assert_eq!(sender.send(&mut process, 4).unwrap_err().into_inner(), 4);
    assert_eq!(process.now(), before.now());
}

#[test]
fn a_receive_that_fails_was_no_event() {
    let mut process = Lamport::new(0);
    let (sender, receiver) = stamped::unbounded::<(), _>();
    assert_eq!(receiver.try_recv(&mut process), Err(TryRecvError::Empty));
    let late = receiver.recv_timeout(&mut process, TICK);
    assert_eq!(late, Err(RecvTimeoutError::Timeout));
    drop(sender);
    let gone = receiver.recv_deadline(&mut process, time::now());
    assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
    assert_eq!(process.time(), 0);
}

/// Of one thread's clock and of a shared one.
#[test]
fn a_cancelled_send_was_no_event() {
    let _watchdog = watchdog();
    for flavour in [0, 1] {
        let runtime = runtime(1);
        let (sender, receiver) = stamped::bounded(flavour);
        let mut filler = Lamport::new(9);
        (0..flavour).for_each(|_| sender.send(&mut filler, 0).unwrap());
        let shared = Shared::new(Lamport::new(0));
        let (clock, other) = (shared.clone(), sender.clone());
        let waiting = on(&runtime, move || other.send(&clock, 1));
        until_waiting(waiting.thread(), "select on channels");
        waiting.thread().cancel();
        waiting.join().unwrap_err();
        assert_eq!(shared.now().time, 0);

        let (report, reported) = channel::bounded(1);
        let waiting = on(&runtime, move || {
            /// Tells the time when it is dropped.
            struct Tell(Lamport, channel::Sender<u64>);
            impl Drop for Tell {
                fn drop(&mut self) {
                    self.1.send(self.0.time()).unwrap();
                }
            }
            let mut clock = Tell(Lamport::new(1), report);
            sender.send(&mut clock.0, 2).unwrap();
        });
        until_waiting(waiting.thread(), "send on channel");
        waiting.thread().cancel();
        waiting.join().unwrap_err();
        assert_eq!(reported.recv(), Ok(0));
        assert_eq!(receiver.len(), flavour);
        super::support::end(runtime);
    }
}

#[test]
fn select_works_on_stamped_ends() {
    let (mut alice, mut bob) = (Vector::new(0), Vector::new(1));
    let (asks, asked) = stamped::unbounded::<&str, Vector>();
    let (answers, answered) = stamped::bounded::<&str, Vector>(1);
    asks.send(&mut alice, "where?").unwrap();
    let mut heard = Vec::new();
    for _ in 0..2 {
        select! {
            recv(asked) -> question => {
                let question = question.unwrap();
                bob.receive(&question.stamp);
                heard.push(question);
            }
            send(answers, bob.stamped("here")) -> sent => sent.unwrap(),
        }
    }
    // One of each; in one order the answer knows the question, in the other it does not.
    let answer = answered.recv(&mut alice).unwrap();
    assert_eq!((heard.len(), answer.message), (1, "here"));
    let knows = answer.stamp.get(alice.process()) == 1;
    assert_eq!(heard[0].happened_before(&answer), knows);
    assert_eq!(heard[0].concurrent_with(&answer), !knows);
    assert_eq!(
        bob.time().get(bob.process()),
        2,
        "an arm that is not chosen is no event"
    );

    let mut list = channel::Select::new();
    let at = list.recv(&asked);
    assert!(list.try_select().is_err());
    asks.send(&mut alice, "still?").unwrap();
    let chosen = list.select();
    assert_eq!(chosen.index(), at);
    assert_eq!(chosen.recv(&asked).unwrap().message, "still?");
}

#[test]
fn other_carriers_have_stamps_too() {
    let (mut a, mut b) = (Lamport::new(0), Lamport::new(1));
    let (sender, receiver) = channel::oneshot::channel::<Stamped<_, LamportStamp>>();
    assert!(sender.send(a.stamped("once")).is_ok());
    b.receive(&receiver.recv().unwrap().stamp);
    let (sender, mut receiver) = channel::broadcast::channel(2);
    sender.send(a.stamped("to all")).unwrap();
    b.receive(&receiver.recv().unwrap().stamp);
    assert_eq!((a.time(), b.time()), (2, 3));
}

#[test]
fn events_of_any_kind_can_be_stamped() {
    let (mut keyboard, mut screen) = (Vector::new(0), Vector::new(1));
    let typed = keyboard.stamped('x');
    let drawn = screen.stamped("cursor");
    assert_eq!(typed.stamp.causality(&drawn.stamp), Causality::Concurrent);
    let (sender, receiver) = stamped::unbounded();
    sender.send(&mut keyboard, typed.message).unwrap();
    receiver.recv(&mut screen).unwrap();
    let echoed = screen.stamped(typed.message);
    assert!(typed.happened_before(&echoed) && drawn.happened_before(&echoed));
}

/// On one channel, the messages of one process come in the order of their stamps, though
/// several of its threads send; and the process's events are all different.
#[test]
fn threads_of_one_process_keep_its_order() {
    const THREADS: usize = 4;
    const EACH: usize = 20;
    let _watchdog = watchdog();
    for flavour in FLAVOURS {
        under_seeds(move || {
            let (sender, receiver) = channel(flavour);
            let process = Shared::new(Vector::new(0));
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (process, sender) = (process.clone(), sender.clone());
                    child(move || {
                        for n in 0..EACH {
                            sender.send(&process, n).unwrap();
                            if n % 3 == 0 {
                                thread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            drop(sender);
            let mut there = Vector::new(1);
            let mut last = 0;
            while let Ok(message) = receiver.recv(&mut there) {
                let time = message.stamp.get(message.process());
                assert_eq!(time, last + 1);
                last = time;
            }
            assert_eq!(last as usize, THREADS * EACH);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    }
}

/// The same between kernel threads, in parallel.
#[test]
fn threads_of_one_process_keep_its_order_in_parallel() {
    let _watchdog = watchdog();
    for flavour in FLAVOURS {
        let each = many(2_000);
        let (sender, receiver) = channel(flavour);
        let process = Shared::new(Lamport::new(0));
        let threads = [(); 3].map(|()| {
            let (process, sender) = (process.clone(), sender.clone());
            std::thread::spawn(move || (0..each).for_each(|n| sender.send(&process, n).unwrap()))
        });
        drop(sender);
        let there = Shared::new(Lamport::new(1));
        let mut last = 0;
        for _ in 0..3 * each {
            let message = receiver.recv(&there).unwrap();
            assert!(message.stamp.time > last && there.now() > message.stamp);
            last = message.stamp.time;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(last as usize, 3 * each);
    }
}

/// A process whose thread waits to send still receives by another.
#[test]
fn a_shared_clock_is_free_while_a_send_waits() {
    let _watchdog = watchdog();
    under_seeds(|| {
        let process = Shared::new(Lamport::new(0));
        let (out, outgoing) = stamped::bounded(0);
        let (into, incoming) = stamped::unbounded();
        let sending = {
            let process = process.clone();
            child(move || out.send(&process, "out"))
        };
        while !matches!(sending.thread().info().state, State::Waiting { .. }) {
            thread::yield_now();
        }
        let mut other = Lamport::new(1);
        into.send(&mut other, "in").unwrap();
        let received = incoming.recv(&process).unwrap();
        assert_eq!((received.stamp.time, process.now().time), (1, 2));
        // The stamp is of the moment when it was taken.
        assert_eq!(outgoing.recv(&mut other).unwrap().stamp.time, 3);
        sending.join().unwrap().unwrap();
    });
}

#[test]
fn a_place_that_has_gone_keeps_no_thread_of_the_process() {
    fn check(patience: Option<Duration>) {
        let (sender, receiver) = stamped::bounded(0);
        let process = Shared::new(Lamport::new(0));
        let theirs = process.clone();
        let sending = child(move || match patience {
            None => sender.send(&theirs, 7).map_err(Into::into),
            Some(patience) => sender.send_timeout(&theirs, 7, patience),
        });
        let waits = || matches!(sending.thread().info().state, State::Waiting { .. });
        while !waits() {
            thread::yield_now();
        }
        // A receiver meets the sender, and gives up before that one goes on.
        let mut meeting = Box::pin(receiver.recv_async());
        let mut context = Context::from_waker(Waker::noop());
        assert!(meeting.as_mut().poll(&mut context).is_pending());
        drop(meeting);
        assert!(!waits(), "it has been told of the meeting");
        while !waits() {
            thread::yield_now();
        }
        assert_eq!(process.stamp().time, 1, "what was in vain is no event");
        if patience.is_some() {
            let sent = sending.join().unwrap();
            return assert_eq!(sent, Err(SendTimeoutError::Timeout(7)));
        }
        let message = receiver.recv(&mut Lamport::new(1)).unwrap();
        assert_eq!((message.message, message.stamp.time), (7, 2));
        sending.join().unwrap().unwrap();
    }
    let _watchdog = watchdog();
    under_seeds(|| [None, Some(TICK)].into_iter().for_each(check));
}
