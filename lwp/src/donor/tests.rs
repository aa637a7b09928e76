use core::cell::Cell as Plain;
use std::sync::mpsc;

use super::*;
use crate::arch::{init, switch, switch_final};
use crate::current;
use crate::shim::AtomicUsize;

thread_local! {
    static COUNT: Plain<usize> = const { Plain::new(0) };
    static DROPS: Dropped = const { Dropped(Plain::new(core::ptr::null())) };
}

struct Dropped(Plain<*const AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // SAFETY: the test that set it waits for this.
        unsafe { &*self.0.get() }.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a test body and the kernel threads that resume it share.
struct Run {
    back: Cell<Context>,
    own: Cell<Context>,
    log: Cell<Vec<usize>>,
    drops: AtomicUsize,
}

/// What the cell holds; only the flow that runs uses the test's cells.
fn peek<T: Clone>(cell: &Cell<T>) -> T {
    // SAFETY: one flow at a time, by the order of the switches.
    cell.with(|value| unsafe { (*value).clone() })
}

fn poke<T>(cell: &Cell<T>, new: T) {
    // SAFETY: as in `peek`.
    cell.with_mut(|value| unsafe { *value = new });
}

#[inline(never)]
fn count() -> usize {
    COUNT.with(|count| {
        count.set(count.get() + 1);
        count.get()
    })
}

/// Counts in its own thread-local, resumed from wherever.
unsafe extern "C" fn body(_: usize, data: *mut ()) -> ! {
    // SAFETY: the test keeps it alive.
    let run = unsafe { &*data.cast::<Run>() };
    DROPS.with(|drops| drops.0.set(&run.drops));
    for _ in 0..3 {
        let count = count();
        let mut log = peek(&run.log);
        log.push(count);
        poke(&run.log, log);
        let back = peek(&run.back);
        // SAFETY: the resumer waits at `back`, under its own pointer from here on.
        unsafe {
            native::set_thread_pointer(HOME.load(Ordering::Relaxed));
            run.own.with_mut(|own| switch(own, back, 0));
        }
    }
    let back = peek(&run.back);
    // SAFETY: as above.
    unsafe {
        native::set_thread_pointer(HOME.load(Ordering::Relaxed));
        switch_final(back, 0)
    }
}

/// The resumer's own thread pointer.
static HOME: AtomicUsize = AtomicUsize::new(0);

fn resume(donor: &Donor, run: &Run) {
    HOME.store(native::thread_pointer(), Ordering::Relaxed);
    let to = peek(&run.own);
    // SAFETY: `to` is suspended on the donor's stack; nothing in between uses a thread-local.
    unsafe {
        let back = run.back.with_mut(|back| back);
        native::set_thread_pointer(donor.thread_pointer());
        switch(back, to, 0);
    }
}

struct Sent<T>(T);
// SAFETY: the tests hand them from one kernel thread to the other.
unsafe impl<T> Send for Sent<T> {}

#[test]
fn thread_locals_go_where_the_thread_goes_and_end_with_it() {
    let donor = Donor::make(StackSize::DEFAULT).unwrap();
    let run = Run {
        back: Cell::new(Context::EMPTY),
        own: Cell::new(Context::EMPTY),
        log: Cell::new(Vec::new()),
        drops: AtomicUsize::new(0),
    };
    // SAFETY: the donor is ours, and its stack below `top` unused.
    let first = unsafe { init(donor.top(), body, (&raw const run).cast_mut().cast()) };
    poke(&run.own, first);
    COUNT.with(|count| count.set(100));
    resume(&donor, &run);
    std::thread::scope(|scope| {
        let (donor, run) = (&donor, Sent(&run));
        scope.spawn(move || {
            let run = run;
            COUNT.with(|count| count.set(200));
            resume(donor, run.0);
            assert_eq!(COUNT.with(Plain::get), 200);
        });
    });
    resume(&donor, &run);
    resume(&donor, &run);
    assert_eq!(COUNT.with(Plain::get), 100);
    let log = peek(&run.log);
    assert_eq!(log, [1, 2, 3]);
    assert_eq!(run.drops.load(Ordering::SeqCst), 0);
    let ended = donor.end().map_err(|(_, error)| error).unwrap();
    ended.join();
    assert_eq!(run.drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_finale_comes_after_the_destructors() {
    unsafe fn finale(current: *const (), data: *mut ()) {
        assert_eq!(current, current::get());
        // SAFETY: boxed by the test.
        let sender = unsafe { Box::from_raw(data.cast::<mpsc::Sender<&str>>()) };
        sender.send("finale").unwrap();
    }
    let (sender, received) = mpsc::channel();
    let mut donor = Donor::make(StackSize::SMALL).unwrap();
    let number = donor.stack().thread_number();
    assert!(number > 1 << 22);
    let marker = 7u8;
    let finale = Finale {
        current: (&raw const marker).cast(),
        run: finale,
        data: Box::into_raw(Box::new(sender)).cast(),
    };
    donor.set_finale(Some(finale));
    let ended = donor.end().map_err(|(_, error)| error).unwrap();
    assert_eq!(received.recv(), Ok("finale"));
    let mut left = Some(ended);
    while let Some(ended) = left.take() {
        left = ended.try_join().err();
    }
}

#[test]
fn many_at_once_have_numbers_and_pointers_of_their_own() {
    let starting: Vec<_> = (0..50)
        .map(|_| Donor::start(StackSize::SMALL).unwrap())
        .collect();
    let donors: Vec<_> = starting.into_iter().map(|s| s.wait().unwrap()).collect();
    let mut seen = std::collections::HashSet::new();
    for donor in &donors {
        assert!(seen.insert(donor.stack().thread_number() as usize));
        assert!(seen.insert(donor.thread_pointer()));
        assert!(donor.size() > 30 << 10);
    }
    for donor in donors {
        donor.end().map_err(|(_, error)| error).unwrap().join();
    }
}
