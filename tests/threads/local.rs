//! `local!`: variables of a lisle thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::thread;

use crate::support::{Log, end, message, on, runtime, watchdog};

lisle::local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static TEXT: RefCell<String> = RefCell::new(String::from("fresh"));
}

/// The kernel's id of the kernel thread that runs the caller.
#[inline(never)]
pub(crate) fn kernel_thread() -> i64 {
    // SAFETY: no preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

#[test]
fn every_thread_has_its_own() {
    let _dog = watchdog();
    let rt = runtime(2);
    let body = |n: u64| {
        move || {
            let fresh = NUMBER.with(Cell::get);
            NUMBER.with(|number| number.set(n));
            TEXT.with(|text| text.borrow_mut().push_str(&n.to_string()));
            for _ in 0..10 {
                thread::yield_now();
            }
            let text = TEXT.with(|text| text.borrow().clone());
            (fresh, NUMBER.with(Cell::get), text)
        }
    };
    let threads: Vec<_> = (1..200).map(|n| on(&rt, body(n))).collect();
    for (n, thread) in (1..200).zip(threads) {
        assert_eq!(thread.join().unwrap(), (0, n, format!("fresh{n}")));
    }
    let outside = std::thread::spawn(body(7)).join().unwrap();
    assert_eq!(outside, (0, 7, "fresh7".into()));
    assert_eq!(NUMBER.with(Cell::get), 0);
    end(rt);
}

/// The value stays with the thread when that goes to another kernel thread.
#[test]
fn a_value_follows_its_thread() {
    let _dog = watchdog();
    let rt = runtime(2);
    let traveller = on(&rt, || {
        NUMBER.with(|number| number.set(77));
        let start = kernel_thread();
        while kernel_thread() == start {
            thread::park();
            assert_eq!(NUMBER.with(Cell::get), 77);
        }
        NUMBER.with(Cell::get)
    });
    // A thread that is unparked by a running thread goes on where that one ran,
    // or is stolen from there.
    while !traveller.is_finished() {
        let target = traveller.thread().clone();
        on(&rt, move || target.unpark()).join().unwrap();
    }
    assert_eq!(traveller.join().unwrap(), 77);
    end(rt);
}

/// Tells the log when it is dropped, and may use other locals then.
struct Noting {
    name: &'static str,
    log: Option<Log<String>>,
}

impl Drop for Noting {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            // `LATE` is made here, if it was not: destroyed after all others.
            let late = LATE.try_with(|late| {
                let mut late = late.borrow_mut();
                late.log.get_or_insert_with(|| log.clone());
            });
            let own = match self.name {
                "a" => A.try_with(|_| ()).is_err(),
                _ => true,
            };
            log.note(format!("{} {} {own}", self.name, late.is_ok()));
        }
    }
}

const fn nothing(name: &'static str) -> RefCell<Noting> {
    RefCell::new(Noting { name, log: None })
}

lisle::local! {
    static A: RefCell<Noting> = nothing("a");
    static B: RefCell<Noting> = nothing("b");
    static C: RefCell<Noting> = nothing("c");
    static LATE: RefCell<Noting> = nothing("late");
}

fn use_locals(log: &Log<String>) {
    for key in [&B, &A, &C] {
        key.with(|value| value.borrow_mut().log = Some(log.clone()));
    }
}

/// In the order of first use, once each; while a value is destroyed it cannot be
/// reached, others can, and those made meanwhile are destroyed too.
#[test]
fn destructors_run_once_in_order() {
    let _dog = watchdog();
    let rt = runtime(2);
    let expected = [
        "b true true",
        "a true true",
        "c true true",
        "late false true",
    ];
    let check = |ended: bool, log: &Log<String>| {
        assert!(ended);
        assert_eq!(log.take(), expected);
    };
    let log = Log::new();
    let noted = log.clone();
    let light = on(&rt, move || use_locals(&noted));
    check(light.join().is_ok(), &log);
    let noted = log.clone();
    let bound = thread::Builder::new().bound();
    let bound = bound.spawn(move || use_locals(&noted)).unwrap();
    check(bound.join().is_ok(), &log);
    let noted = log.clone();
    let outside = std::thread::spawn(move || use_locals(&noted));
    check(outside.join().is_ok(), &log);
    let noted = log.clone();
    let unwound = on(&rt, move || {
        use_locals(&noted);
        std::panic::resume_unwind(Box::new(()));
    });
    check(unwound.join().is_err(), &log);
    end(rt);
}

#[test]
fn a_destructor_may_wait() {
    static PARKED: AtomicUsize = AtomicUsize::new(0);
    struct Waits;
    impl Drop for Waits {
        fn drop(&mut self) {
            thread::yield_now();
            thread::sleep(std::time::Duration::from_millis(1));
            PARKED.fetch_add(1, Ordering::SeqCst);
        }
    }
    lisle::local! {
        static WAITS: Waits = Waits;
    }
    let _dog = watchdog();
    let rt = runtime(2);
    let threads: Vec<_> = (0..50).map(|_| on(&rt, || WAITS.with(|_| ()))).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(PARKED.load(Ordering::SeqCst), 50);
    end(rt);
}

#[test]
fn an_initializer_that_panics_is_tried_again() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    lisle::local! {
        static FUSSY: usize = match TRIES.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("not yet"),
            tries => tries,
        };
    }
    #[inline(never)]
    fn first_use_panics() -> bool {
        let caught = std::panic::catch_unwind(|| FUSSY.with(|_| ()));
        caught.is_err_and(|payload| message(&*payload) == "not yet")
    }
    let _dog = watchdog();
    let rt = runtime(1);
    let fussy = on(&rt, || (first_use_panics(), FUSSY.with(|tries| *tries)));
    assert_eq!(fussy.join().unwrap(), (true, 1));
    end(rt);
}

#[test]
fn an_initializer_that_needs_itself_is_an_error() {
    lisle::local! {
        static OWN: bool = OWN.try_with(|_| ()).is_err();
    }
    assert!(OWN.with(|refused| *refused));
    let _dog = watchdog();
    let rt = runtime(1);
    assert!(on(&rt, || OWN.with(|refused| *refused)).join().unwrap());
    end(rt);
}

#[test]
fn values_are_dropped_before_the_joiner_is_told() {
    lisle::local! {
        static HELD: RefCell<Option<Arc<()>>> = RefCell::new(None);
    }
    let _dog = watchdog();
    let rt = runtime(2);
    for _ in 0..200 {
        let shared = Arc::new(());
        let copy = shared.clone();
        let holder = on(&rt, move || {
            HELD.with(|held| *held.borrow_mut() = Some(copy));
        });
        holder.join().unwrap();
        assert_eq!(Arc::strong_count(&shared), 1);
    }
    end(rt);
}
