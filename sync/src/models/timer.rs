//! Timers: two receivers, and each message is received once. The clock is the real one, so
//! what is due is always due.

use std::time::Duration;

use lisle_lwp::explore::{model, outcomes};
use lisle_runtime::thread::spawn;
use lisle_runtime::time;

use crate::channel::{RecvTimeoutError, at, tick};

#[test]
fn receive_against_receive() {
    let seen = outcomes(Some(4), || {
        let now = time::now();
        let timer = at(now);
        let other = timer.clone();
        let thread = spawn(move || other.try_recv().is_ok());
        let got = match timer.recv_deadline(now) {
            Ok(due) => due == now,
            Err(error) => error != RecvTimeoutError::Timeout,
        };
        assert_eq!(thread.join().unwrap(), !got);
        got
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// Every tick is due by the time anybody looks.
#[test]
fn tick_against_tick() {
    model(Some(4), || {
        let ticks = tick(Duration::from_nanos(1));
        let other = ticks.clone();
        let thread = spawn(move || other.recv().unwrap());
        let mine = [(); 2].map(|()| ticks.recv().unwrap());
        let its = thread.join().unwrap();
        assert!(mine[0] < mine[1] && !mine.contains(&its));
    });
}
