//! A cancel of the caller goes on when both closures have ended.

use std::sync::Arc;

use lisle::cancel::{self, Cancelled};
use lisle::sync::Semaphore;
use lisle::thread::{self, Thread};
use lisle::{Runtime, join};

use crate::full;
use crate::support::{Log, end, runtime, steady, until, until_waiting, watchdog};

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// On one LWP and on two: `body` in a full thread, `meanwhile` outside, with that
/// thread; then what the thread noted. The thread has been cancelled.
fn cancelled(body: fn(&Log<&'static str>), meanwhile: fn(&Thread, &Log<&'static str>)) {
    let _dog = watchdog();
    let check = |rt: Runtime| {
        let log = Log::new();
        let noted = log.clone();
        let thread = full(&rt, move || body(&noted));
        meanwhile(thread.thread(), &log);
        let outcome = thread.join();
        assert!(outcome.unwrap_err().is::<Cancelled>());
        assert_eq!(log.take().last(), Some(&"the caller unwinds"));
        end(rt);
    };
    check(runtime(1));
    check(runtime(2));
}

#[test]
fn a_caller_that_waits_for_a_helper_cancels_it() {
    cancelled(
        |log| {
            let _unwinds = OnDrop(|| log.note("the caller unwinds"));
            let begun = Semaphore::new(0);
            join(
                || begun.p(),
                || {
                    let _ends = OnDrop(|| log.note("the helper has ended"));
                    begun.v();
                    thread::park();
                    unreachable!("the park is a cancellation point");
                },
            );
            unreachable!("the join passes the cancel on");
        },
        |thread, log| {
            until_waiting(thread, "join of thread");
            assert_eq!(log.len(), 0);
            thread.cancel();
            until(|| log.len() == 2);
        },
    );
}

#[test]
fn a_helper_that_does_not_heed_is_waited_for() {
    cancelled(
        |log| {
            let _unwinds = OnDrop(|| log.note("the caller unwinds"));
            let begun = Semaphore::new(0);
            join(
                || begun.p(),
                || {
                    begun.v();
                    // The cancel comes here, and the helper goes on.
                    while !cancel::is_cancelled() {
                        thread::yield_now();
                    }
                    cancel::shield(|| thread::sleep(std::time::Duration::from_millis(1)));
                    log.note("the helper has ended");
                },
            );
            // The helper has returned a result; the cancel comes at the next
            // cancellation point.
            log.note("the results are there");
            cancel::checkpoint();
        },
        |thread, log| {
            until_waiting(thread, "join of thread");
            thread.cancel();
            until(|| log.len() == 3);
        },
    );
}

#[test]
fn a_cancel_in_the_first_closure_waits_for_the_second() {
    cancelled(
        |log| {
            let _unwinds = OnDrop(|| log.note("the caller unwinds"));
            let go = Arc::new(Semaphore::new(0));
            join(
                || {
                    let _ends = OnDrop(|| go.v());
                    log.note("parked");
                    thread::park();
                },
                || {
                    // The helper is not cancelled before the first closure has
                    // ended, and then it has something to do before it can be.
                    cancel::shield(|| go.p());
                    log.note("the helper has ended");
                },
            );
        },
        |thread, log| {
            until_waiting(thread, "park");
            until(|| log.len() == 1);
            thread.cancel();
            until(|| log.len() == 3);
        },
    );
}

#[test]
fn a_cancelled_caller_runs_both_to_their_cancellation_points() {
    let _dog = watchdog();
    let rt = steady(1);
    let log = Log::new();
    let noted = log.clone();
    let thread = full(&rt, move || {
        let log = noted;
        thread::current().cancel();
        join(
            || {
                log.note("first");
                cancel::checkpoint();
                log.note("never");
            },
            || {
                log.note("second");
                cancel::checkpoint();
                log.note("never");
            },
        );
        log.note("never");
    });
    assert!(thread.join().unwrap_err().is::<Cancelled>());
    assert_eq!(log.take(), ["first", "second"]);
    end(rt);
}

#[test]
fn a_shielded_caller_passes_no_cancel_on() {
    let _dog = watchdog();
    let rt = runtime(2);
    let go = Arc::new(Semaphore::new(0));
    let give = go.clone();
    let thread = full(&rt, move || {
        let begun = Semaphore::new(0);
        let results = cancel::shield(|| {
            join(
                || begun.p(),
                || {
                    begun.v();
                    go.p();
                    cancel::is_cancelled()
                },
            )
        });
        (results.1, cancel::is_cancelled())
    });
    until_waiting(thread.thread(), "join of thread");
    thread.thread().cancel();
    give.v();
    assert_eq!(thread.join().unwrap(), (false, true));
    end(rt);
}

#[test]
fn a_cancel_poisons_nothing() {
    let _dog = watchdog();
    let rt = runtime(1);
    let mutex = Arc::new(lisle::sync::Mutex::new(()));
    let locked = mutex.clone();
    let thread = full(&rt, move || {
        let _guard = locked.lock();
        thread::current().cancel();
        join(|| (), cancel::checkpoint);
    });
    assert!(thread.join().unwrap_err().is::<Cancelled>());
    assert!(mutex.lock().is_ok());
    end(rt);
}
