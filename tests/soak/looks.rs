//! Threads that look at the others: what they see must be there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::debug::Watchdog;
use lisle::thread::{self, JoinHandle, State};

use crate::kitchen::Cook;

/// Cycles of threads that a watchdog has reported. No two threads here wait for each other.
static CYCLES: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn settle() {
    assert_eq!(CYCLES.load(Ordering::SeqCst), 0, "a deadlock, it was said");
}

fn waits(state: &State) -> bool {
    matches!(state, State::Waiting { .. })
}

/// A thread that waits until it is told to end.
fn parked(cook: &mut Cook<'_>) -> JoinHandle<()> {
    let (begins, begun) = lisle::channel::bounded(0);
    let thread = cook.spawn(move || {
        begins.send(()).unwrap();
        thread::park();
    });
    begun.recv().unwrap();
    while !waits(&thread.thread().info().state) {
        thread::yield_now();
    }
    thread
}

fn release(thread: JoinHandle<()>) {
    thread.thread().unpark();
    thread.join().unwrap();
}

pub(crate) fn lists(cook: &mut Cook<'_>) {
    let thread = parked(cook);
    let [me, other] = [thread::current().id(), thread.thread().id()];
    let list = thread::list();
    let find = |id| list.iter().find(|info| info.id == id);
    assert!(find(me).is_some());
    let other = find(other).unwrap();
    assert!(waits(&other.state));
    assert_eq!(other.parent, Some(me));
    release(thread);
}

/// With backtraces: costs milliseconds; the first, a second.
pub(crate) fn dumps(cook: &mut Cook<'_>) {
    if !cook.random.once_in(100) {
        return;
    }
    let thread = parked(cook);
    let [me, other] = [thread::current().id(), thread.thread().id()];
    let dump = lisle::dump();
    let find = |id| dump.threads.iter().find(|thread| thread.info.id == id);
    assert!(find(me).is_some());
    assert!(waits(&find(other).unwrap().info.state));
    assert!(dump.to_string().contains("park"));
    release(thread);
}

pub(crate) fn watchdogs(cook: &mut Cook<'_>) {
    if !cook.random.once_in(4) {
        return;
    }
    let watching = Watchdog::new()
        .every(Duration::from_millis(1))
        .on_deadlock(|deadlock| {
            // All may well wait for a kernel thread that lisle does not know.
            if !deadlock.cycle.is_empty() {
                crate::support::say(&deadlock.to_string());
                CYCLES.fetch_add(1, Ordering::SeqCst);
            }
        })
        .on_hog(Duration::from_millis(20), |_| ())
        .start()
        .unwrap();
    thread::sleep(Duration::from_micros(cook.random.below(4000) as u64));
    drop(watching);
}

/// What was recorded makes sense, and this thread's part is there unless a buffer was full.
pub(crate) fn traces(cook: &mut Cook<'_>) {
    if !cook.random.once_in(8) {
        return;
    }
    let label = format!("soaked {}", cook.random.below(1_000_000));
    let recorder = lisle_trace::Recorder::new().capacity(32 << 10);
    let recording = match recorder.start() {
        Ok(recording) => recording,
        Err(error) => {
            // Another thread records.
            assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
            return;
        }
    };
    lisle_trace::event(&label);
    thread::sleep(Duration::from_micros(cook.random.below(1000) as u64));
    let trace = recording.stop().unwrap();
    assert!(trace.history().find(&label).is_some() || trace.loss().dropped > 0);
}
