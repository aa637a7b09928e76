//! How a recording says that waits ended.

use std::sync::Arc;
use std::time::Duration;

use lisle::sync::Semaphore;
use lisle::thread;
use lisle_trace::graph::Link;
use lisle_trace::{History, Kind, Trace};

use crate::recording::{arrows, recorded};
use crate::support::{until_waiting, watchdog};

/// A thread ends each wait otherwise, on an LWP or on a kernel thread of its own.
fn three_ends(bound: bool) -> Trace {
    recorded(1, |runtime| {
        let gate = Arc::new(Semaphore::new(0));
        let spawn = |name: &str, waits: fn(&Semaphore)| {
            let builder = thread::Builder::new().name(name.to_owned());
            let builder = match bound {
                true => builder.bound(),
                false => builder.on(runtime),
            };
            let gate = gate.clone();
            builder.spawn(move || waits(&gate)).unwrap()
        };
        let woken = spawn("woken", Semaphore::p);
        until_waiting(woken.thread(), "semaphore");
        gate.v();
        woken.join().unwrap();
        let late = spawn("late", |gate| {
            assert!(!gate.p_timeout(Duration::from_millis(1)));
        });
        late.join().unwrap();
        let cancelled = spawn("cancelled", Semaphore::p);
        until_waiting(cancelled.thread(), "semaphore");
        cancelled.thread().cancel();
        cancelled.join().unwrap_err();
    })
}

/// What a thread's going on after waits is called.
fn resumes<'a>(history: &'a History, name: &str) -> Vec<&'a str> {
    let process = history.process(name).unwrap();
    let events = history.graph().events_of(process);
    let resumes = events.filter(|event| history.kind(*event) == Kind::Resume);
    resumes.map(|event| history.label(event)).collect()
}

#[test]
fn waits_end_by_a_wake_a_deadline_or_a_cancel() {
    let _dog = watchdog();
    for bound in [false, true] {
        let trace = three_ends(bound);
        let history = trace.history();
        assert_eq!(resumes(history, "woken"), ["semaphore"]);
        assert_eq!(resumes(history, "late"), ["semaphore, timed out"]);
        assert_eq!(resumes(history, "cancelled"), ["semaphore, cancelled"]);
        // Others woke two of them; nobody ended the third's wait but the clock.
        let wakes = arrows(history, Link::Wake);
        let woken = |name: &str| wakes.iter().filter(|(_, to)| to == name).count();
        let counts = ["woken", "late", "cancelled"].map(woken);
        assert_eq!(counts, [1, 0, 1], "bound: {bound}");
    }
}
