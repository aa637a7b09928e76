//! Receivers that nobody sends to. Time is a seeded runtime's, which is virtual.

use std::time::Duration;

use lisle::channel::{RecvTimeoutError, TryRecvError, after, at, never, select, tick, unbounded};
use lisle::{thread, time};

use super::support::{child, watchdog};
use super::{TICK, under_seeds};

#[test]
fn after_delivers_once_when_its_time_is_up() {
    let _dog = watchdog();
    under_seeds(|| {
        let start = time::now();
        let receiver = after(TICK);
        assert_eq!((receiver.len(), receiver.capacity()), (0, Some(1)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        let instant = receiver.recv().unwrap();
        assert!(instant >= start + TICK);
        assert!(time::now() >= instant);
        assert_eq!(receiver.recv_timeout(TICK), Err(RecvTimeoutError::Timeout));
    });
}

#[test]
fn a_late_receiver_learns_when_it_was() {
    let _dog = watchdog();
    under_seeds(|| {
        let when = time::now() + TICK;
        let receiver = at(when);
        thread::sleep(4 * TICK);
        assert_eq!((receiver.len(), receiver.is_full()), (1, true));
        assert_eq!(receiver.try_recv(), Ok(when));
        assert!(receiver.is_empty());
    });
}

#[test]
fn one_of_several_gets_the_message() {
    let _dog = watchdog();
    under_seeds(|| {
        let receiver = after(TICK);
        let waiters = [(); 3].map(|()| {
            let receiver = receiver.clone();
            child(move || receiver.recv_timeout(3 * TICK).is_ok())
        });
        let got = waiters.map(|waiter| waiter.join().unwrap());
        assert_eq!(got.iter().filter(|got| **got).count(), 1);
    });
}

#[test]
fn ticks_do_not_drift_and_do_not_pile_up() {
    let _dog = watchdog();
    under_seeds(|| {
        let ticks = tick(TICK);
        let first = ticks.recv().unwrap();
        for n in 1..5 {
            assert_eq!(ticks.recv(), Ok(first + n * TICK));
        }
        thread::sleep(10 * TICK);
        assert_eq!(ticks.recv(), Ok(first + 5 * TICK), "one has waited");
        assert_eq!(ticks.try_recv(), Err(TryRecvError::Empty), "only one");
    });
}

#[test]
fn never_is_silent() {
    let _dog = watchdog();
    under_seeds(|| {
        let receiver = never::<u8>();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv_timeout(TICK), Err(RecvTimeoutError::Timeout));
        assert_eq!((receiver.len(), receiver.capacity()), (0, Some(0)));
        assert!(receiver.same_channel(&never()));
        assert!(after(Duration::MAX).try_recv().is_err());
    });
}

#[test]
fn timers_end_a_select() {
    let _dog = watchdog();
    under_seeds(|| {
        let (_sender, receiver) = unbounded::<u8>();
        let ticks = tick(TICK);
        let limit = after(4 * TICK + TICK / 2);
        let mut seen = 0;
        loop {
            select! {
                recv(receiver) -> _ => unreachable!(),
                recv(ticks) -> _ => seen += 1,
                recv(limit) -> _ => break,
            }
        }
        assert_eq!(seen, 4);
    });
}
