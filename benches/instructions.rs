//! Hot paths, so and so often: for ci/instructions.sh, which counts their instructions.
//!
//! ```text
//! instructions WORKLOAD N
//! ```
//!
//! Runs the workload on one LWP, with light threads, `N` times. The script runs it twice with different `N` under
//! callgrind; the difference has no start and no end in it.

#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod common;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use common::switch::lisle_switches;
use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::Source;
use lisle::{channel, sync};

/// A light thread on the runtime of the caller.
fn light<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: the workloads touch no thread-local.
    unsafe { Builder::new().spawn_light(f) }.expect("lisle spawns")
}

/// One yield is half of a turn of two threads.
fn yields(n: u64) {
    let other = light(move || (0..n / 2).for_each(|_| thread::yield_now()));
    (0..n / 2).for_each(|_| thread::yield_now());
    other.join().expect("it returns");
}

fn spawns(n: u64) {
    (0..n).for_each(|_| light(|| ()).join().expect("it returns"));
}

/// Parks and is unparked by a partner who does the same.
fn unparks(n: u64) {
    let me = thread::current();
    let other = light(move || {
        for _ in 0..n {
            thread::park();
            me.unpark();
        }
    });
    for _ in 0..n {
        other.thread().unpark();
        thread::park();
    }
    other.join().expect("it returns");
}

fn locks(n: u64) {
    let mutex = sync::Mutex::new(0_u64);
    (0..n).for_each(|_| *black_box(&mutex).lock().expect("nobody panics") += 1);
}

fn semaphores(n: u64) {
    let [ping, pong] = [0, 0].map(|permits| Arc::new(sync::Semaphore::new(permits)));
    let (pinged, ponged) = (ping.clone(), pong.clone());
    let partner = light(move || {
        for _ in 0..n {
            pinged.p();
            pong.v();
        }
    });
    for _ in 0..n {
        ping.v();
        ponged.p();
    }
    partner.join().expect("it returns");
}

fn messages(n: u64) {
    let (sender, receiver) = channel::bounded(1024);
    for word in 0..n {
        sender.send(word).expect("the receiver lives");
        black_box(receiver.recv().expect("there is one"));
    }
}

fn round_trips(n: u64) {
    let (ping, pinged) = channel::unbounded();
    let (pong, ponged) = channel::unbounded();
    let partner = light(move || {
        (0..n).for_each(|_| {
            pong.send(pinged.recv().expect("it lives"))
                .expect("it lives")
        });
    });
    for word in 0..n {
        ping.send(word).expect("the partner lives");
        black_box(ponged.recv().expect("the partner lives"));
    }
    partner.join().expect("it returns");
}

fn joins(n: u64) {
    for number in 0..n {
        black_box(lisle::join(|| black_box(number), || black_box(1)));
    }
}

fn workload(name: &str) -> Option<fn(u64)> {
    Some(match name {
        "switch" => |n| {
            lisle_switches(n);
        },
        "yield" => yields,
        "spawn_join" => spawns,
        "unpark_park" => unparks,
        "lock_unlock" => locks,
        "semaphore_round_trip" => semaphores,
        "send_receive" => messages,
        "channel_round_trip" => round_trips,
        "join" => joins,
        _ => return None,
    })
}

fn main() -> ExitCode {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let (name, n) = (
        arguments.next(),
        arguments.next().and_then(|n| n.parse().ok()),
    );
    let (Some(run), Some(n)) = (name.as_deref().and_then(workload), n) else {
        // What `cargo bench` runs, too: there is nothing to time here.
        println!("instructions: run by ci/instructions.sh");
        return ExitCode::SUCCESS;
    };
    let builder = lisle::Runtime::builder().lwps(1).upcalls(Source::Off);
    let runtime = builder.build().expect("lisle's runtime starts");
    let builder = Builder::new().on(&runtime);
    // SAFETY: as in `light`.
    let thread = unsafe { builder.spawn_light(move || run(n)) }.expect("lisle spawns");
    thread.join().expect("it returns");
    ExitCode::SUCCESS
}
