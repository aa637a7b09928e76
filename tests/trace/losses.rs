//! What a recording says of what it lacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::{Runtime, thread};
use lisle_trace::Kind;

use crate::recording::{alone, recorded, spawn};

#[test]
fn what_does_not_fit_is_counted() {
    let _alone = alone();
    let runtime = Runtime::builder().lwps(1).build().unwrap();
    let recording = lisle_trace::Recorder::new().capacity(4096).start().unwrap();
    let busy = spawn(&runtime, "busy", || {
        for _ in 0..1000 {
            lisle_trace::event("one of a thousand");
        }
    });
    busy.join().unwrap();
    let raw = recording.stop_raw();
    let dropped = raw.dropped();
    assert!(raw.bytes() <= 2 * 4096);
    let trace = raw.decode().unwrap();
    let history = trace.history();
    let kept = history
        .graph()
        .events()
        .filter(|event| history.kind(*event) == Kind::Local)
        .count() as u64;
    assert!(kept > 0 && dropped > 0);
    assert!(kept + dropped >= 1000, "{kept} + {dropped}");
    assert!(trace.loss().dropped >= dropped);
}

#[test]
fn what_comes_after_a_loss_is_left_out() {
    let _alone = alone();
    let upcalls = lisle::upcall::Source::Off;
    let runtime = Runtime::builder().lwps(1).upcalls(upcalls);
    let runtime = runtime.build().unwrap();
    let recording = lisle_trace::Recorder::new().capacity(4096).start().unwrap();
    let handle = runtime.clone();
    let late = spawn(&runtime, "late", move || {
        lisle_trace::event("before");
        // More turns than an event can tell, most of them dropped.
        let turns = Arc::new(AtomicUsize::new(0));
        let theirs = turns.clone();
        let other = thread::spawn(move || {
            while theirs.load(Ordering::Relaxed) < 600 {
                thread::yield_now();
            }
        });
        while turns.fetch_add(1, Ordering::Relaxed) < 600 {
            thread::yield_now();
        }
        lisle::blocking(|| {
            while handle.upcalls().blocked == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            // Without an LWP, in a buffer that has room.
            lisle_trace::event("after");
        });
        other.join().unwrap();
    });
    late.join().unwrap();
    let raw = recording.stop_raw();
    let dropped = raw.dropped();
    let trace = raw.decode().unwrap();
    assert!(dropped > 0, "there was room for all");
    assert!(trace.loss().dropped > dropped, "{:?}", trace.loss());
    assert!(trace.history().find("before").is_some());
    assert!(trace.history().find("after").is_none());
}

/// Labels, names and clocks that are too long are there as far as they fit; each event
/// of which something is missing counts once.
#[test]
fn what_is_clipped_is_counted() {
    let long = "0123456789".repeat(200);
    let clock: Vec<(u64, u64)> = (1..=100).map(|who| (who, 7)).collect();
    let trace = recorded(1, |runtime| {
        spawn(runtime, &long, || ()).join().unwrap();
        lisle_trace::event("short");
        lisle_trace::event(&long);
        lisle_trace::event_stamped("short, too", &clock[..30]);
        lisle_trace::event_stamped("long clock", &clock);
        lisle_trace::event_stamped(&long, &clock);
    });
    let (history, loss) = (trace.history(), trace.loss());
    assert_eq!(loss.clipped, 4, "a name, a label, a clock, and both");
    assert!(!loss.is_none() && loss.to_string().contains("4 clipped"));
    let locals = history.graph().events();
    let locals: Vec<_> = locals
        .filter(|event| history.kind(*event) == Kind::Local)
        .collect();
    let said = locals.iter().map(|event| history.label(*event));
    let whole: Vec<&str> = said.clone().filter(|label| !label.ends_with('…')).collect();
    assert_eq!(whole, ["short", "short, too", "long clock"]);
    for label in said.filter(|label| label.ends_with('…')) {
        assert!(label.len() > 490 && long.starts_with(label.trim_end_matches('…')));
    }
    let stamps = locals.iter().filter_map(|event| history.stamp(*event));
    let stamps: Vec<usize> = stamps.map(Vec::len).collect();
    assert!(stamps[0] == 30 && stamps[1..].iter().all(|len| (30..100).contains(len)));
}
