//! A race among fourteen threads, found and seen again: `lisle::seeded`.
//!
//! Twelve clients send requests to a server, which closes the session after the last one.
//! An auditor looks whether the session is open and, if so, writes into its journal; but in
//! between, the server may have served all that was left. That takes dozens of steps of the
//! server between two of the auditor, so choosing threads at random does not come across it;
//! and a model checker that tries all interleavings cannot take in so many threads. Random
//! priorities with one change point find it within a hundred runs or so, and the seed that they
//! print shows it again.
//!
//! cargo run --release --example races

use std::error::Error;
use std::panic::catch_unwind;
use std::sync::Arc;

use lisle::channel::{self, Receiver};
use lisle::seeded::{self, Schedules};
use lisle::sync::Mutex;
use lisle::thread;

const CLIENTS: u32 = 12;
const REQUESTS: u32 = 4;

#[derive(Default)]
struct Session {
    closed: bool,
    journal: Vec<u32>,
}

type Shared = Arc<Mutex<Session>>;

/// Serves all requests, then closes the session.
fn serve(requests: &Receiver<u32>, session: &Shared) {
    for request in requests {
        session.lock().unwrap().journal.push(request);
    }
    session.lock().unwrap().closed = true;
}

fn write(session: &mut Session) {
    assert!(!session.closed, "written after closing");
    session.journal.push(u32::MAX);
}

/// Looks, and writes: between the two it does not hold the lock.
fn audit_carelessly(session: &Shared) {
    if !session.lock().unwrap().closed {
        // Where another thread may come in between: seeded runs change threads where one
        // waits, and where it says so.
        thread::yield_now();
        write(&mut session.lock().unwrap());
    }
}

/// Looks and writes under one lock.
fn audit(session: &Shared) {
    let mut session = session.lock().unwrap();
    if !session.closed {
        thread::yield_now();
        write(&mut session);
    }
}

/// One run: all fourteen threads, from beginning to end.
fn run(audit: fn(&Shared)) {
    let session = Shared::default();
    let (sender, requests) = channel::bounded(2);
    let (served, audited) = (session.clone(), session.clone());
    let auditor = thread::spawn(move || audit(&audited));
    let server = thread::spawn(move || serve(&requests, &served));
    let client = |number| {
        let sender = sender.clone();
        thread::spawn(move || (0..REQUESTS).try_for_each(|n| sender.send(number * 100 + n)))
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    drop(sender);
    for client in clients {
        client.join().unwrap().expect("the server takes all");
    }
    server.join().unwrap();
    if let Err(panic) = auditor.join() {
        std::panic::resume_unwind(panic);
    }
    let journal = session.lock().unwrap().journal.len() as u32;
    assert!(journal >= CLIENTS * REQUESTS, "a request is lost");
}

/// Under which of the seeds the race shows.
fn failing(schedules: Schedules, seeds: u64, audit: fn(&Shared)) -> Vec<u64> {
    // SAFETY: `run` touches no thread-local.
    let fails = |seed: &u64| catch_unwind(|| unsafe { schedules.run(*seed, move || run(audit)) });
    (0..seeds).filter(|seed| fails(seed).is_err()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    // What fails is counted, not printed.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let seeds = 1000;
    let at_random = failing(Schedules::Random, seeds, audit_carelessly);
    println!(
        "choosing at random: {} of {seeds} runs fail",
        at_random.len()
    );

    // SAFETY: as above.
    let steps = unsafe { seeded::steps(0, || run(audit)) };
    let schedules = Schedules::Priorities { changes: 1, steps };
    let found = failing(schedules, seeds, audit_carelessly);
    println!("{schedules:?}: {} of {seeds} runs fail", found.len());
    let seed = *found.first().ok_or("the race was not found")?;

    println!("once more, under seed {seed}:");
    std::panic::set_hook(print);
    // SAFETY: as above.
    let again = catch_unwind(|| unsafe { schedules.run(seed, || run(audit_carelessly)) });
    again.expect_err("a seed repeats what it showed");

    let mended = failing(schedules, seeds, audit).len();
    if mended > 0 {
        return Err(format!("the mended one fails {mended} times").into());
    }
    println!("ok: seed {seed} shows the race, and with one lock it is gone");
    Ok(())
}
