//! What to ask when a program hangs: philosophers who all take the left fork first.
//!
//! The watchdog finds that they wait for each other, prints who waits for whom, and where in the
//! program each of them is; then one of them is sent away, and the others eat.
//!
//! ```sh
//! cargo run --example debugging --features backtrace
//! ```
//!
//! With the argument `wait` it stays in the deadlock, until Ctrl-C; Ctrl-\ prints a dump of all
//! threads, and `tools/gdb/lisle.py` shows them in gdb.

use std::io;
use std::sync::mpsc::channel;
use std::time::Duration;

use lisle::debug::Watchdog;
use lisle::signal;
use lisle::sync::{Arc, Barrier, PriorityMutex};
use lisle::thread::{Builder, JoinHandle};

const NAMES: [&str; 3] = ["Kant", "Hegel", "Hume"];

type Fork = Arc<PriorityMutex<u32>>;

#[inline(never)]
fn take_second_fork(second: &Fork) {
    // A wait that a cancel ends.
    if let Ok(mut fork) = second.lock_cancellable() {
        *fork += 1;
    }
}

fn eat(first: &Fork, second: &Fork, all: &Barrier) {
    let _first = first.lock();
    // So that it happens every time.
    all.wait();
    take_second_fork(second);
}

fn sit_down() -> io::Result<Vec<JoinHandle<()>>> {
    let forks = NAMES.map(|_| Fork::default());
    let all = Arc::new(Barrier::new(NAMES.len()));
    let seats = NAMES.iter().enumerate().map(|(seat, name)| {
        let left = forks[seat].clone();
        let right = forks[(seat + 1) % forks.len()].clone();
        let all = all.clone();
        Builder::new()
            .name((*name).into())
            .spawn(move || eat(&left, &right, &all))
    });
    seats.collect()
}

/// Where a debugger can stop when all of them wait.
#[inline(never)]
fn all_wait() {
    println!("all wait");
}

fn main() -> io::Result<()> {
    signal::dump_on_quit()?;
    let (tell, told) = channel();
    let watching = Watchdog::new()
        .every(Duration::from_millis(100))
        .on_deadlock(move |deadlock| {
            eprint!("{deadlock}");
            // The program may have ended.
            let _ = tell.send(deadlock.cycle.len());
        })
        .on_hog(Duration::from_secs(1), |hog| eprintln!("{hog}"))
        .start()?;
    let philosophers = sit_down()?;
    let waiting = told.recv().map_err(io::Error::other)?;
    all_wait();
    if std::env::args().any(|argument| argument == "wait") {
        return signal::ctrl_c();
    }
    println!("{waiting} wait for each other; {} is sent away", NAMES[0]);
    drop(watching);
    philosophers[0].thread().cancel();
    let ate = philosophers.into_iter().map(JoinHandle::join);
    let ate = ate.filter(Result::is_ok).count();
    println!("ok: {ate} of {} ate", NAMES.len());
    Ok(())
}
