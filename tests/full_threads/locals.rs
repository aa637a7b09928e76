//! Thread-locals: each full thread's own, wherever it runs, and destroyed as
//! std destroys them.
// Those that are initialised when first used are meant.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lisle::thread::{self, Builder};

use super::travel::{Trip, joined};
use crate::support::{Log, end, runtime, watchdog};

type Events = Arc<Mutex<Vec<(usize, &'static str)>>>;

/// Notes its name when it is destroyed.
struct Noted {
    name: &'static str,
    to: RefCell<Option<(usize, Events)>>,
}

impl Noted {
    const fn new(name: &'static str) -> Noted {
        Noted {
            name,
            to: RefCell::new(None),
        }
    }

    fn set(&self, who: usize, events: &Events) {
        *self.to.borrow_mut() = Some((who, events.clone()));
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some((who, events)) = self.to.take() {
            events.lock().unwrap().push((who, self.name));
        }
    }
}

thread_local! {
    static FIRST: Noted = const { Noted::new("first") };
    static SECOND: Noted = const { Noted::new("second") };
    static LAZY: Noted = Noted::new("lazy");
    static LATE: Noted = Noted::new("late");
    static REVIVES: Revives = const { Revives(RefCell::new(None)) };
}

/// Uses another thread-local when it is destroyed.
struct Revives(RefCell<Option<(usize, Events)>>);

impl Drop for Revives {
    fn drop(&mut self) {
        if let Some((who, events)) = self.0.take() {
            events.lock().unwrap().push((who, "revives"));
            LATE.with(|late| late.set(who, &events));
        }
    }
}

/// Uses the thread-locals in this order; `between` comes between two uses.
fn use_all(who: usize, events: &Events, between: impl Fn()) {
    SECOND.with(|second| second.set(who, events));
    between();
    REVIVES.with(|revives| *revives.0.borrow_mut() = Some((who, events.clone())));
    between();
    LAZY.with(|lazy| lazy.set(who, events));
    between();
    FIRST.with(|first| first.set(who, events));
    between();
}

fn of(events: &Events, who: usize) -> Vec<&'static str> {
    let events = events.lock().unwrap();
    let own = events.iter().filter(|(of, _)| *of == who);
    own.map(|(_, name)| *name).collect()
}

#[test]
fn a_fresh_threads_destructors_run_once_each_in_stds_order_and_before_join() {
    let _dog = watchdog();
    const N: usize = 40;
    let events = Events::default();
    let kernel = events.clone();
    std::thread::spawn(move || use_all(N, &kernel, || ()))
        .join()
        .unwrap();
    let as_std_does = of(&events, N);
    assert_eq!(as_std_does.len(), 5, "{as_std_does:?}");
    let trip = Trip::new(8);
    for batch in 0..N / 8 {
        let threads: Vec<_> = (batch * 8..batch * 8 + 8)
            .map(|who| {
                let events = events.clone();
                let fresh = Builder::new().fresh(true);
                let thread = trip.spawn_as(fresh, move |go| {
                    use_all(who, &events, || go.hop());
                    go.hop();
                });
                (who, thread)
            })
            .collect();
        for (who, thread) in threads {
            thread.join().unwrap();
            assert_eq!(of(&events, who), as_std_does, "{who}");
        }
    }
    trip.end();
    assert_eq!(events.lock().unwrap().len(), 5 * (N + 1));
}

/// Destructors see the thread's own lisle identity, and may wait.
#[test]
fn a_destructor_may_block_and_knows_who_it_is() {
    type Names = Log<(thread::ThreadId, Option<String>)>;
    struct Blocks(RefCell<Option<Names>>);
    impl Drop for Blocks {
        fn drop(&mut self) {
            if let Some(log) = self.0.take() {
                thread::sleep(std::time::Duration::from_micros(100));
                thread::yield_now();
                thread::spawn(thread::yield_now).join().unwrap();
                let me = thread::current();
                log.note((me.id(), me.name().map(str::to_owned)));
            }
        }
    }
    thread_local!(static BLOCKS: Blocks = const { Blocks(RefCell::new(None)) });
    let _dog = watchdog();
    let rt = runtime(2);
    let log = Log::new();
    for n in 0..20 {
        let log = log.clone();
        let name = format!("fresh-{n}");
        let builder = Builder::new().on(&rt).fresh(true).name(name.clone());
        let noted = log.clone();
        let thread = builder.spawn(move || {
            BLOCKS.with(|blocks| *blocks.0.borrow_mut() = Some(noted));
            thread::current().id()
        });
        let id = thread.unwrap().join().unwrap();
        assert_eq!(log.take(), [(id, Some(name))]);
    }
    end(rt);
}

#[test]
fn what_a_thread_keeps_in_its_locals_goes_where_it_goes() {
    thread_local! {
        static PLAIN: Cell<usize> = const { Cell::new(0) };
        static LIST: RefCell<Vec<usize>> = RefCell::new(Vec::new());
    }
    let _dog = watchdog();
    let trip = Trip::new(8);
    let moves = trip.all(8, |who, go| {
        LIST.with(|list| {
            // The borrow, a reference and the lock in it live over the hops.
            let mut list = list.borrow_mut();
            list.clear();
            let place: *const Cell<usize> = PLAIN.with(std::ptr::from_ref);
            for k in 0..crate::support::many(100) {
                PLAIN.set(who * 1000 + k);
                list.push(who * k);
                go.hop();
                assert_eq!(PLAIN.get(), who * 1000 + k);
                assert_eq!(PLAIN.with(std::ptr::from_ref), place);
            }
            assert!(list.iter().enumerate().all(|(k, n)| *n == who * k));
            list.len()
        })
    });
    assert_eq!(moves, [crate::support::many(100); 8]);
    trip.end();
}

#[test]
fn std_sees_one_thread_wherever_it_runs() {
    let _dog = watchdog();
    let trip = Trip::new(8);
    // What one stands on is the next one's when it has ended.
    let all = Arc::new(lisle::sync::Barrier::new(8));
    let ids = trip.all(8, move |_, go| {
        let current = std::thread::current();
        // SAFETY: no preconditions.
        let handle = unsafe { libc::pthread_self() };
        for _ in 0..20 {
            go.hop();
            assert_eq!(std::thread::current().id(), current.id());
            // SAFETY: as above.
            assert_eq!(unsafe { libc::pthread_self() }, handle);
        }
        all.wait();
        (current.id(), handle as usize)
    });
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 8, "all of them were alive at once: {ids:?}");
    trip.end();
}

/// Two threads that yield side by side on one LWP have different thread-locals
/// under `errno`'s, std's and lisle's names.
#[test]
fn neighbours_on_an_lwp_share_nothing() {
    thread_local!(static MINE: Cell<usize> = const { Cell::new(0) });
    let _dog = watchdog();
    for lwps in [1, 2] {
        let rt = runtime(lwps);
        let threads: Vec<_> = (1..=20)
            .map(|n| {
                let body = move || {
                    for k in 0..200 {
                        MINE.set(n * 1000 + k);
                        // SAFETY: the calling thread's own.
                        unsafe { *libc::__errno_location() = n as i32 };
                        thread::yield_now();
                        assert_eq!(MINE.get(), n * 1000 + k);
                        // SAFETY: as above.
                        assert_eq!(unsafe { *libc::__errno_location() }, n as i32);
                    }
                };
                Builder::new().on(&rt).spawn(body).unwrap()
            })
            .collect();
        joined(threads);
        end(rt);
    }
}

/// Light and full threads, and the kernel thread that carries them, each see
/// their own (a light one: some kernel thread's).
#[test]
fn light_and_full_threads_mix() {
    thread_local!(static OWNER: Cell<i64> = const { Cell::new(0) });
    /// A leaf, for light threads.
    #[inline(never)]
    fn own() -> i64 {
        OWNER.get()
    }
    #[inline(never)]
    fn note() {
        OWNER.set(-i64::from(super::travel::kernel_thread()));
    }
    let _dog = watchdog();
    for lwps in [1, 2, 4] {
        let rt = runtime(lwps);
        let foreign = Arc::new(AtomicUsize::new(0));
        let full: Vec<_> = (1..=10i64)
            .map(|n| {
                let body = move || {
                    for k in 0..200 {
                        OWNER.set(n * 1000 + k);
                        thread::yield_now();
                        assert_eq!(OWNER.get(), n * 1000 + k);
                    }
                };
                Builder::new().on(&rt).spawn(body).unwrap()
            })
            .collect();
        let light: Vec<_> = (0..10)
            .map(|_| {
                let foreign = foreign.clone();
                crate::support::on(&rt, move || {
                    for _ in 0..200 {
                        // Only light threads of the same kernel thread write here.
                        let seen = own();
                        if seen != 0 && seen != -i64::from(super::travel::kernel_thread()) {
                            foreign.fetch_add(1, Ordering::Relaxed);
                        }
                        note();
                        thread::yield_now();
                    }
                })
            })
            .collect();
        joined(full);
        joined(light);
        end(rt);
        assert_eq!(foreign.load(Ordering::Relaxed), 0);
    }
}

/// Destructors of pthread keys run once for each thread that set one.
#[test]
fn keys_of_libc_are_destroyed_once() {
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn destroy(value: *mut libc::c_void) {
        DESTROYED.fetch_add(value as usize, Ordering::SeqCst);
    }
    let _dog = watchdog();
    let mut key = 0;
    // SAFETY: writes a key.
    assert_eq!(
        // SAFETY: writes a key; `destroy` takes what the threads store.
        unsafe { libc::pthread_key_create(&mut key, Some(destroy)) },
        0
    );
    let trip = Trip::new(8);
    for _ in 0..4 {
        let threads: Vec<_> = (1..=8usize)
            .map(|n| {
                trip.spawn_as(Builder::new().fresh(true), move |go| {
                    let value = n as *mut libc::c_void;
                    // SAFETY: the key exists; its destructor takes any number.
                    unsafe {
                        assert!(libc::pthread_getspecific(key).is_null());
                        assert_eq!(libc::pthread_setspecific(key, value), 0);
                        go.hops(10);
                        assert_eq!(libc::pthread_getspecific(key), value);
                    }
                })
            })
            .collect();
        joined(threads);
    }
    trip.end();
    assert_eq!(DESTROYED.load(Ordering::SeqCst), 4 * 36);
    // SAFETY: nobody uses it any more.
    unsafe { libc::pthread_key_delete(key) };
}
