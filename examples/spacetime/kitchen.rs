//! What is recorded if there is no log: two cooks with one stove, a waiter, a runner,
//! and guests.

use std::io;
use std::sync::Arc;

use lisle::sync::Mutex;
use lisle::thread::{Builder, JoinHandle};
use lisle::{Runtime, channel};
use lisle_trace::Trace;

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(f)
}

/// Each guest orders once.
pub(crate) fn one_evening() -> io::Result<Trace> {
    // One LWP, so that the picture is much the same each time.
    evening(1, 2, 1)
}

/// As many orders as it takes for so many events.
pub(crate) fn many_evenings(events: u64) -> io::Result<Trace> {
    let orders = events.div_ceil(8 * 30).max(1);
    evening(2, 8, orders)
}

fn evening(lwps: usize, guests: usize, orders: u64) -> io::Result<Trace> {
    let runtime = Runtime::builder().lwps(lwps).build()?;
    let recording = lisle_trace::record()?;
    let host = Builder::new().name("host".to_owned()).on(&runtime);
    let served = host.spawn(move || serve(guests, orders))?;
    served.join().expect("nobody panics")?;
    recording.stop()
}

/// Opens the restaurant, and closes it when all are served.
fn serve(guests: usize, orders: u64) -> io::Result<()> {
    let (to_kitchen, from_waiter) = channel::bounded::<(usize, u64)>(2);
    let (to_waiter, from_guests) = channel::bounded(0);
    let (ready, dishes) = channel::unbounded();
    let stove = Arc::new(Mutex::new(0));
    let mut threads = Vec::new();
    for cook in ["Anna", "Boris"] {
        let (orders, ready, stove) = (from_waiter.clone(), ready.clone(), stove.clone());
        threads.push(spawn(cook, move || {
            for (guest, order) in orders.iter() {
                let mut stove = stove.lock().expect("nobody panics");
                *stove += 1;
                lisle_trace::event("cooks");
                // Something boils: meanwhile the other cook asks for the stove.
                lisle::thread::yield_now();
                drop(stove);
                ready.send((guest, order)).expect("the waiter waits");
            }
        })?);
    }
    drop((from_waiter, ready));
    let mut seats = Vec::new();
    for guest in 0..guests {
        let (plate, served) = channel::bounded(1);
        seats.push(plate);
        let to_waiter = to_waiter.clone();
        threads.push(spawn(&format!("guest {guest}"), move || {
            for order in 0..orders {
                lisle_trace::event("is hungry");
                to_waiter.send((guest, order)).expect("the waiter listens");
                let _: u64 = served.recv().expect("the waiter serves");
                lisle_trace::event("eats");
            }
        })?);
    }
    drop(to_waiter);
    threads.push(spawn("waiter", move || {
        for order in from_guests.iter() {
            lisle_trace::event("notes the order");
            to_kitchen.send(order).expect("the cooks work");
        }
    })?);
    threads.push(spawn("runner", move || {
        for (guest, order) in dishes.iter() {
            lisle_trace::event("serves");
            // The guest waits for it.
            seats[guest].send(order).expect("the guest is there");
        }
    })?);
    for thread in threads {
        thread.join().expect("nobody panics");
    }
    Ok(())
}
