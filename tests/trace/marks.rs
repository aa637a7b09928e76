//! What a recording holds of LWPs: steals and upcalls.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::upcall::{Kind, Source};
use lisle::{Runtime, thread};
use lisle_trace::schedule::Marked;

use crate::recording::{alone, spawn};
use crate::support::{end, until, watchdog};

/// As often, from whom and by whom as the LWPs have counted.
#[test]
fn each_steal_is_a_mark() {
    let _alone = alone();
    let _dog = watchdog();
    // An LWP that nobody takes from the thread that it runs.
    let runtime = Runtime::builder().lwps(2).upcalls(Source::Off);
    let runtime = runtime.build().unwrap();
    let recording = lisle_trace::record().unwrap();
    let parent = spawn(&runtime, "parent", || {
        let done = Arc::new(AtomicUsize::new(0));
        let mut children = Vec::new();
        // It neither waits nor yields: whoever runs a child has stolen it.
        while done.load(Ordering::Acquire) == 0 {
            let done = done.clone();
            let child = thread::Builder::new().name("child".to_owned());
            let child = child.spawn(move || done.fetch_add(1, Ordering::Release));
            children.push(child.unwrap());
            (0..1000).for_each(|_| std::hint::spin_loop());
        }
        children.into_iter().for_each(|child| {
            child.join().unwrap();
        });
    });
    parent.join().unwrap();
    let counted = runtime.lwp_list();
    let counted: BTreeMap<_, _> = counted
        .iter()
        .map(|lwp| (lwp.id, (lwp.steals, lwp.stolen_from)))
        .collect();
    let trace = recording.stop().unwrap();
    let schedule = trace.schedule();
    let mut marked: BTreeMap<usize, (u64, u64)> = counted.keys().map(|id| (*id, (0, 0))).collect();
    let mut stolen = Vec::new();
    for mark in schedule.marks() {
        if let Marked::Steal { victim, thread } = mark.what {
            let thief = schedule.lwps()[mark.lwp.unwrap()].index;
            assert_ne!(thief, victim);
            marked.get_mut(&thief).unwrap().0 += 1;
            marked.get_mut(&victim).unwrap().1 += 1;
            stolen.push(schedule.name(thread));
        }
    }
    assert_eq!(marked, counted);
    assert!(stolen.iter().any(|name| name == "child"), "{stolen:?}");
}

/// As many, of which kind and about whom as the runtime has kept.
#[test]
fn each_upcall_is_a_mark() {
    let _alone = alone();
    let _dog = watchdog();
    let recording = lisle_trace::record().unwrap();
    // Only the hog has a slice, so that the reader is left when it waits and not before.
    let runtime = Runtime::builder().lwps(1).time_slice(None);
    let runtime = runtime.build().unwrap();
    // The only LWP goes on without a thread that waits in the kernel for another one.
    let (mut from, mut to) = std::io::pipe().unwrap();
    let reader = spawn(&runtime, "reader", move || {
        from.read_exact(&mut [0]).unwrap();
    });
    let writer = spawn(&runtime, "writer", move || to.write_all(&[7]).unwrap());
    writer.join().unwrap();
    let reads = reader.thread().id().as_u64().get();
    reader.join().unwrap();
    // And without one that computes until another one has run.
    let (began, free) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let slice = Duration::from_millis(1);
    let hog = thread::Builder::new().on(&runtime).time_slice(Some(slice));
    let hog = hog.spawn({
        let (began, free) = (began.clone(), free.clone());
        move || {
            began.store(true, Ordering::Relaxed);
            while !free.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    });
    let hog = hog.unwrap();
    until(|| began.load(Ordering::Relaxed));
    let other = spawn(&runtime, "other", move || {
        free.store(true, Ordering::Relaxed);
    });
    other.join().unwrap();
    let computes = hog.thread().id().as_u64().get();
    hog.join().unwrap();
    // Until they have ended, threads that have been joined may be left and come back once more.
    let ended = runtime.clone();
    end(runtime);
    let log = ended.upcall_log();
    let trace = recording.stop().unwrap();
    let upcall = |mark: &lisle_trace::schedule::Mark| match mark.what {
        Marked::Upcall { kind, thread } => Some((kind as u8, thread)),
        _ => None,
    };
    let mut marked: Vec<(u8, u64)> = trace.schedule().marks().iter().filter_map(upcall).collect();
    let about = |event: &lisle::upcall::Event| event.thread.map_or(0, |id| id.as_u64().get());
    let mut kept: Vec<(u8, u64)> = log
        .iter()
        .map(|event| (event.kind as u8, about(event)))
        .collect();
    marked.sort_unstable();
    kept.sort_unstable();
    assert_eq!(marked, kept);
    let is_marked = |kind: Kind, thread| marked.contains(&(kind as u8, thread));
    for (kind, thread) in [
        (Kind::Added, 0),
        (Kind::Blocked, reads),
        (Kind::Unblocked, reads),
    ] {
        assert!(is_marked(kind, thread), "{kind:?} {thread}: {marked:?}");
    }
    // A page that is slow to come, and it is the kernel for which it is left.
    assert!(
        is_marked(Kind::Preempted, computes) || is_marked(Kind::Blocked, computes),
        "{computes}: {marked:?}"
    );
}
