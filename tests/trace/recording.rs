//! What a recording holds of a program.

#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // std's lock around recordings, kernel threads

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lisle::{Runtime, channel, sync, thread};
use lisle_trace::graph::{Event, Link, Order};
use lisle_trace::{History, Kind, Trace};

use crate::support::{emulated, until_waiting};

/// One recording at a time in a process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Records what a closure does in a runtime of so many LWPs.
pub(crate) fn recorded(lwps: usize, f: impl FnOnce(&Runtime)) -> Trace {
    let _alone = alone();
    let runtime = Runtime::builder().lwps(lwps).build().unwrap();
    let recording = lisle_trace::record().unwrap();
    f(&runtime);
    let trace = recording.stop().unwrap();
    assert_eq!(trace.loss().dropped, 0);
    trace
}

pub(crate) fn spawn<T: Send + 'static>(
    runtime: &Runtime,
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    thread::Builder::new()
        .name(name.to_owned())
        .on(runtime)
        .spawn(f)
        .unwrap()
}

fn kinds(history: &History, name: &str) -> Vec<Kind> {
    let process = history.process(name).unwrap_or_else(|| panic!("no {name}"));
    let events = history.graph().events_of(process);
    events.map(|event| history.kind(event)).collect()
}

pub(crate) fn arrows(history: &History, link: Link) -> Vec<(String, String)> {
    let graph = history.graph();
    let name = |event: Event| history.processes()[event.process as usize].name.clone();
    let arrows = graph.arrows().filter(|arrow| arrow.link == link);
    arrows
        .map(|arrow| (name(arrow.from), name(arrow.to)))
        .collect()
}

#[test]
fn a_thread_begins_after_its_spawn_and_ends_before_its_join() {
    for lwps in [1, 2] {
        let trace = recorded(lwps, |runtime| {
            lisle_trace::event("before");
            let child = spawn(runtime, "child", || lisle_trace::event("inside"));
            child.join().unwrap();
            lisle_trace::event("after");
        });
        let history = trace.history();
        let graph = history.graph();
        // Behind the end stands only that it wakes who joins it.
        let kinds = kinds(history, "child");
        assert_eq!(kinds[..3], [Kind::Start, Kind::Local, Kind::End]);
        let [before, inside, after] =
            ["before", "inside", "after"].map(|label| history.find(label).unwrap());
        assert_eq!(graph.compare(before, inside), Ok(Order::Before));
        assert_eq!(graph.compare(after, inside), Ok(Order::After));
        let path = graph.path(before, inside).unwrap().unwrap();
        assert!(path.iter().any(|event| history.kind(*event) == Kind::Spawn));
        assert_eq!(arrows(history, Link::Spawn).len(), 1);
        assert_eq!(arrows(history, Link::Join).len(), 1);
    }
}

#[test]
fn threads_that_do_not_talk_are_concurrent() {
    let trace = recorded(2, |runtime| {
        let each = ["one", "two"].map(|name| {
            spawn(runtime, name, move || {
                lisle_trace::event(&format!("{name} is there"))
            })
        });
        for thread in each {
            thread.join().unwrap();
        }
    });
    let graph = trace.history().graph();
    let [one, two] =
        ["one is there", "two is there"].map(|label| trace.history().find(label).unwrap());
    assert_eq!(graph.concurrent(one, two), Ok(true));
}

#[test]
fn each_message_is_an_arrow() {
    for (lwps, capacity) in [
        (1, Some(0)),
        (1, Some(1)),
        (1, None),
        (2, Some(0)),
        (2, Some(3)),
        (2, None),
    ] {
        const EACH: u64 = 200;
        let trace = recorded(lwps, |runtime| {
            let (sender, receiver) = match capacity {
                Some(capacity) => channel::bounded(capacity),
                None => channel::unbounded(),
            };
            let senders = ["ada", "bob"].map(|name| {
                let sender = sender.clone();
                spawn(runtime, name, move || {
                    for n in 0..EACH {
                        lisle_trace::event(&format!("{name} sends {n}"));
                        sender.send((name, n)).unwrap();
                    }
                })
            });
            drop(sender);
            let eve = spawn(runtime, "eve", move || {
                for (name, n) in receiver.iter() {
                    lisle_trace::event(&format!("eve has {name} {n}"));
                }
            });
            for sender in senders {
                sender.join().unwrap();
            }
            eve.join().unwrap();
        });
        let history = trace.history();
        let graph = history.graph();
        let messages = arrows(history, Link::Message);
        for name in ["ada", "bob"] {
            let wanted = (name.to_owned(), "eve".to_owned());
            let count = messages.iter().filter(|arrow| **arrow == wanted).count();
            assert_eq!(
                count as u64, EACH,
                "{name}, {lwps} LWPs, capacity {capacity:?}"
            );
        }
        assert_eq!(trace.loss().unsent, 0);
        for (name, n) in [("ada", 0), ("bob", 7), ("ada", EACH - 1)] {
            let sends = history.find(&format!("{name} sends {n}")).unwrap();
            let has = history.find(&format!("eve has {name} {n}")).unwrap();
            assert_eq!(graph.before(sends, has), Ok(true), "{name} {n}");
        }
    }
}

#[test]
fn a_lock_is_handed_over() {
    let trace = recorded(2, |runtime| {
        let mutex = std::sync::Arc::new(sync::Mutex::new(0));
        let waiting = std::sync::Arc::clone(&mutex);
        let guard = mutex.lock().unwrap();
        let waiter = spawn(runtime, "waiter", move || {
            *waiting.lock().unwrap() += 1;
            lisle_trace::event("has it");
        });
        // Until it waits, as its state says.
        while !format!("{:?}", waiter.thread().info()).contains("mutex") {
            thread::yield_now();
        }
        lisle_trace::event("gives it");
        drop(guard);
        waiter.join().unwrap();
    });
    let history = trace.history();
    let waiter = history.process("waiter").unwrap();
    let mut events = history.graph().events_of(waiter);
    let wait = events
        .find(|event| history.kind(*event) == Kind::Wait)
        .unwrap();
    assert_eq!(history.label(wait), "mutex");
    let [gives, has] = ["gives it", "has it"].map(|label| history.find(label).unwrap());
    assert_eq!(history.graph().before(gives, has), Ok(true));
    assert!(
        arrows(history, Link::Wake)
            .iter()
            .any(|(_, to)| to == "waiter")
    );
}

#[test]
fn an_unpark_is_an_arrow_also_if_it_comes_first() {
    let trace = recorded(1, |runtime| {
        let sleeper = spawn(runtime, "sleeper", || {
            thread::park();
            lisle_trace::event("unparked");
            thread::yield_now();
            thread::park();
            lisle_trace::event("unparked again");
        });
        // Else both tokens might come before the first wait, and be one.
        until_waiting(sleeper.thread(), "park");
        let other = sleeper.thread().clone();
        let waker = spawn(runtime, "waker", move || {
            lisle_trace::event("unpark");
            other.unpark();
            lisle_trace::event("token");
            other.unpark();
        });
        waker.join().unwrap();
        sleeper.join().unwrap();
    });
    let history = trace.history();
    let find = |label| history.find(label).unwrap();
    let before = |a, b| history.graph().before(find(a), find(b)).unwrap();
    assert!(before("unpark", "unparked"));
    assert!(before("token", "unparked again"));
}

#[test]
fn a_scope_ends_after_all_its_threads() {
    let trace = recorded(2, |runtime| {
        let scope = spawn(runtime, "parent", || {
            thread::scope(|scope| {
                for name in ["s0", "s1", "s2"] {
                    scope.spawn(move || lisle_trace::event(name));
                }
            });
            lisle_trace::event("scope is over");
        });
        scope.join().unwrap();
    });
    let history = trace.history();
    let over = history.find("scope is over").unwrap();
    for name in ["s0", "s1", "s2"] {
        let child = history.find(name).unwrap();
        assert_eq!(history.graph().before(child, over), Ok(true), "{name}");
    }
}

#[test]
fn kernel_threads_take_part() {
    let trace = recorded(1, |runtime| {
        let (to, from) = channel::unbounded();
        let (back, answer) = channel::unbounded();
        let doubler = spawn(runtime, "doubler", move || {
            for n in from.iter() {
                back.send(2 * n).unwrap();
            }
        });
        lisle_trace::event("asks");
        to.send(21).unwrap();
        assert_eq!(answer.recv(), Ok(42));
        lisle_trace::event("knows");
        drop(to);
        doubler.join().unwrap();
    });
    let history = trace.history();
    let doubler = history.process("doubler").unwrap();
    let [asks, knows] = ["asks", "knows"].map(|label| history.find(label).unwrap());
    let path = history.graph().path(asks, knows).unwrap().unwrap();
    assert_eq!(asks.process, knows.process);
    // Inside one process the way is direct, and there is one round the other.
    assert_eq!(path, [asks, knows]);
    let past: Vec<Event> = history.graph().past(knows).unwrap().collect();
    assert!(past.iter().any(|event| event.process == doubler));
}

#[test]
fn one_recording_at_a_time() {
    let _alone = alone();
    let first = lisle_trace::record().unwrap();
    let second = lisle_trace::record().map(drop).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::ResourceBusy);
    assert!(lisle_trace::is_recording());
    drop(first);
    assert!(!lisle_trace::is_recording());
    drop(lisle_trace::record().unwrap());
}

#[test]
fn recordings_begin_and_end_while_threads_run() {
    let _alone = alone();
    let runtime = Runtime::builder().lwps(2).build().unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let stop = stop.clone();
            let (sender, receiver) = channel::bounded(2);
            let partner = stop.clone();
            [
                spawn(&runtime, &format!("s{n}"), move || {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = sender.try_send(n);
                        thread::yield_now();
                    }
                }),
                spawn(&runtime, &format!("r{n}"), move || {
                    while !partner.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = receiver.try_recv();
                        thread::yield_now();
                    }
                }),
            ]
        })
        .collect();
    for _ in 0..30 {
        let recording = lisle_trace::Recorder::new()
            .capacity(1 << 16)
            .start()
            .unwrap();
        thread::sleep(Duration::from_millis(2));
        let trace = recording.stop().unwrap();
        let graph = trace.history().graph();
        // Whatever was recorded is in order.
        for arrow in graph.arrows() {
            assert_eq!(graph.before(arrow.from, arrow.to), Ok(true));
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in threads.into_iter().flatten() {
        thread.join().unwrap();
    }
}

/// What the thread said last before it sent, or first after it received.
fn said(history: &History, mut events: impl Iterator<Item = Event>, but: Kind) -> Option<&str> {
    let event = events.find(|event| [Kind::Local, but].contains(&history.kind(*event)))?;
    (history.kind(event) == Kind::Local).then(|| history.label(event))
}

/// Messages pass without a lock until somebody records: whoever was sent before has no sender, and all others have
/// theirs.
#[test]
fn messages_have_their_senders_whenever_a_recording_begins() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let _alone = alone();
    let runtime = Runtime::builder().lwps(2).build().unwrap();
    // Long enough that messages are sent and received within it.
    let long = Duration::from_millis(if emulated() { 40 } else { 2 });
    for (capacity, receivers) in [(None, 1), (None, 2), (Some(3), 2), (Some(64), 1)] {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let (sender, receiver) = match capacity {
            Some(capacity) => channel::bounded(capacity),
            None => channel::unbounded(),
        };
        let mut threads = Vec::new();
        for who in ["ada", "bob"] {
            let (sender, stop) = (sender.clone(), stop.clone());
            threads.push(spawn(&runtime, who, move || {
                for n in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    while sender.len() > 500 {
                        thread::yield_now();
                    }
                    if lisle_trace::is_recording() {
                        lisle_trace::event(&format!("{who} {n}"));
                    }
                    if n % 7 == 0 {
                        channel::select! { send(sender, (who, n)) -> sent => sent.unwrap() }
                    } else {
                        sender.send((who, n)).unwrap();
                    }
                }
            }));
        }
        drop(sender);
        for n in 0..receivers {
            let receiver = receiver.clone();
            threads.push(spawn(&runtime, &format!("eve {n}"), move || {
                while let Ok((who, n)) = receiver.recv() {
                    if lisle_trace::is_recording() {
                        lisle_trace::event(&format!("{who} {n}"));
                    }
                }
            }));
        }
        let (mut pairs, mut unsent, mut recordings) = (0, 0, 0);
        while recordings < 20 || pairs <= 100 {
            recordings += 1;
            assert!(recordings < 1000, "{pairs} pairs, {unsent} without senders");
            let recording = lisle_trace::Recorder::new()
                .capacity(8 << 20)
                .start()
                .unwrap();
            thread::sleep(long);
            let trace = recording.stop().unwrap();
            // On a busy machine it may last longer than it has room for.
            if trace.loss().dropped > 0 {
                continue;
            }
            unsent += trace.loss().unsent;
            let (history, graph) = (trace.history(), trace.history().graph());
            for arrow in graph.arrows().filter(|arrow| arrow.link == Link::Message) {
                let before = (0..arrow.from.index)
                    .rev()
                    .map(|index| Event::new(arrow.from.process, index));
                let after = (arrow.to.index + 1..graph.len_of(arrow.to.process))
                    .map(|index| Event::new(arrow.to.process, index));
                let sent = said(history, before, Kind::Send);
                let received = said(history, after, Kind::Receive);
                if let (Some(sent), Some(received)) = (sent, received) {
                    assert_eq!(sent, received, "capacity {capacity:?}");
                    pairs += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_schedule_says_who_ran_where() {
    let trace = recorded(1, |runtime| {
        // A parent on the LWP, so that both are ready at once.
        let parent = spawn(runtime, "parent", || {
            // In turn, so that neither is done before the other has begun.
            let turns = Arc::new(AtomicUsize::new(0));
            let each = [(0, "a"), (1, "b")].map(|(me, name)| {
                let turns = turns.clone();
                let builder = thread::Builder::new().name(name.to_owned());
                let yields = move || {
                    for _ in 0..100 {
                        while turns.load(Ordering::Relaxed) % 2 != me {
                            thread::yield_now();
                        }
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                };
                builder.spawn(yields).unwrap()
            });
            for thread in each {
                thread.join().unwrap();
            }
        });
        parent.join().unwrap();
    });
    let schedule = trace.schedule();
    assert_eq!(schedule.lwps().len(), 1);
    let ran = |name| {
        let of = schedule
            .slices()
            .iter()
            .filter(|slice| schedule.name(slice.thread) == name);
        of.count()
    };
    assert!(
        ran("a") >= 90 && ran("b") >= 90,
        "{} {}",
        ran("a"),
        ran("b")
    );
    for pair in schedule.slices().windows(2) {
        assert!(pair[0].began <= pair[0].ended);
        assert!(pair[0].ended <= pair[1].began, "one at a time: {pair:?}");
    }
}
