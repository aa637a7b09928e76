//! Spawning, joining, names, numbers, and what observers see.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use lisle::net::TcpListener;
use lisle::thread::{self, Builder, State};

use crate::support::{
    child, end, many, message, on, runtime, spawn, steady, until_waiting, watchdog,
};

#[test]
fn join_returns_the_result() {
    let _dog = watchdog();
    let rt = runtime(2);
    let threads: Vec<_> = (0..1000u64).map(|n| on(&rt, move || n * n)).collect();
    for (n, thread) in (0..1000u64).zip(threads) {
        assert_eq!(thread.join().unwrap(), n * n);
    }
    end(rt);
}

#[test]
fn join_returns_the_payload_of_a_panic() {
    let _dog = watchdog();
    let rt = runtime(2);
    let text = on(&rt, || panic!("number {}", 7)).join();
    assert_eq!(message(&*text.unwrap_err()), "number 7");
    let value = on(&rt, || std::panic::panic_any(42u64)).join();
    assert_eq!(value.unwrap_err().downcast_ref(), Some(&42u64));
    end(rt);
}

#[test]
fn threads_spawn_threads() {
    fn tree(depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let children: Vec<_> = (0..3).map(|_| child(move || tree(depth - 1))).collect();
        children.into_iter().map(|c| c.join().unwrap()).sum()
    }
    let _dog = watchdog();
    let rt = runtime(2);
    assert_eq!(on(&rt, || tree(7)).join().unwrap(), 3u64.pow(7));
    end(rt);
}

#[test]
fn is_finished_tells_when_join_will_not_wait() {
    let _dog = watchdog();
    let rt = runtime(1);
    let thread = on(&rt, thread::park);
    until_waiting(thread.thread(), "park");
    assert!(!thread.is_finished());
    thread.thread().unpark();
    crate::support::until(|| thread.is_finished());
    thread.join().unwrap();
    end(rt);
}

#[test]
fn names_and_numbers_belong_to_one_thread() {
    let _dog = watchdog();
    let rt = runtime(2);
    let named = spawn(Builder::new().on(&rt).name("gustave".into()), || {
        thread::current().name().map(str::to_owned)
    });
    assert_eq!(named.thread().name(), Some("gustave"));
    assert_eq!(named.join().unwrap().as_deref(), Some("gustave"));
    let unnamed = on(&rt, || thread::current().name().is_none());
    assert!(unnamed.join().unwrap());
    let ids = (0..3000).map(|_| {
        let thread = on(&rt, || thread::current().id());
        let id = thread.thread().id();
        assert_eq!(thread.join().unwrap(), id);
        id
    });
    // Control blocks are reused, numbers are not.
    assert_eq!(ids.collect::<HashSet<_>>().len(), 3000);
    end(rt);
}

#[test]
fn a_bad_name_or_priority_is_an_error() {
    let invalid = |builder: Builder| {
        // SAFETY: the closure touches no thread-local.
        let refused = unsafe { builder.spawn_light(|| ()) };
        assert_eq!(
            refused.unwrap_err().kind(),
            std::io::ErrorKind::InvalidInput
        );
    };
    invalid(Builder::new().name("a\0b".into()));
    invalid(Builder::new().priority(64));
}

#[test]
fn current_works_inside_and_outside() {
    let _dog = watchdog();
    let rt = runtime(1);
    let outside = thread::current();
    assert_eq!(outside.id(), thread::current().id());
    assert_eq!(outside.name(), std::thread::current().name());
    let inside = on(&rt, || thread::current().id()).join().unwrap();
    assert_ne!(inside, outside.id());
    assert!(outside.info().bound);
    let other = std::thread::spawn(|| thread::current().id()).join();
    assert_ne!(other.unwrap(), outside.id());
    assert_eq!(outside.info().state, State::Running);
    end(rt);
}

#[test]
fn the_list_shows_parents_and_children() {
    let _dog = watchdog();
    let rt = runtime(2);
    let parent = on(&rt, || {
        let children: Vec<_> = (0..3)
            .map(|n| spawn(Builder::new().name(format!("child-{n}")), thread::park))
            .collect();
        thread::park();
        for child in children {
            child.thread().unpark();
            child.join().unwrap();
        }
    });
    let info = parent.thread().info();
    assert_eq!(info.parent, Some(thread::current().id()));
    crate::support::until(|| info.children().len() == 3);
    let children = info.children();
    let names: HashSet<_> = children.iter().filter_map(|c| c.name.clone()).collect();
    assert_eq!(names.len(), 3);
    assert!(
        children
            .iter()
            .all(|c| c.parent == Some(info.id) && !c.bound)
    );
    let listed: HashSet<_> = thread::list().iter().map(|t| t.id).collect();
    assert!(listed.contains(&info.id) && children.iter().all(|c| listed.contains(&c.id)));
    parent.thread().unpark();
    parent.join().unwrap();
    // Its joiner is told before it has left its stack.
    crate::support::until(|| thread::list().iter().all(|t| t.id != info.id));
    end(rt);
}

#[test]
fn a_waiting_thread_says_for_what() {
    let _dog = watchdog();
    let rt = runtime(1);
    let parked = on(&rt, thread::park);
    until_waiting(parked.thread(), "park");
    assert_eq!(parked.thread().info().state.to_string(), "waiting: park");
    let id = parked.thread().id().as_u64().get();

    let sleeper = on(&rt, || thread::sleep(Duration::from_secs(1 << 30)));
    until_waiting(sleeper.thread(), "sleep");

    let unparker = parked.thread().clone();
    let joiner = on(&rt, move || parked.join().unwrap());
    until_waiting(joiner.thread(), "join of thread");
    let state = joiner.thread().info().state.to_string();
    assert_eq!(state, format!("waiting: join of thread {id}"));

    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = TcpListener::bind(any).unwrap();
    let fd = listener.as_raw_fd();
    let acceptor = on(&rt, move || listener.accept().is_ok());
    until_waiting(acceptor.thread(), "readable descriptor");
    let state = acceptor.thread().info().state.to_string();
    assert_eq!(state, format!("waiting: readable descriptor {fd}"));

    unparker.unpark();
    joiner.join().unwrap();
    for handle in [sleeper.thread(), acceptor.thread()] {
        handle.cancel();
    }
    assert!(sleeper.join().is_err() && acceptor.join().is_err());
    end(rt);
}

#[test]
fn states_follow_a_life() {
    let _dog = watchdog();
    let rt = steady(1);
    let states = on(&rt, || {
        let other = child(|| {
            thread::yield_now();
            thread::current().info().state
        });
        let new = other.thread().info().state;
        thread::yield_now();
        let ready = other.thread().info().state;
        let kept = other.thread().clone();
        let running = other.join().unwrap();
        (new, ready, running, kept.info().state)
    });
    let expected = (State::New, State::Ready, State::Running, State::Terminated);
    assert_eq!(states.join().unwrap(), expected);
    end(rt);
}

#[test]
fn a_hundred_thousand_threads_at_once() {
    let _dog = watchdog();
    let rt = runtime(2);
    let n = many(100_000);
    let threads: Vec<_> = (0..n)
        .map(|i| {
            let builder = Builder::new().on(&rt).stack_size(64 << 10);
            spawn(builder, move || {
                thread::park();
                i
            })
        })
        .collect();
    threads.iter().for_each(|t| t.thread().unpark());
    let sum: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!(sum, n * (n - 1) / 2);
    end(rt);
}
