//! Shutting down, survivors, and handles that come too late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::Runtime;
use lisle::thread::{self, Builder, State};

use crate::support::{
    end, many, message, on, runtime, spawn, until, until_state, until_waiting, watchdog,
};

const LONG: Duration = Duration::from_secs(1 << 20);

fn kernel_threads(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    tasks
        .filter_map(|task| name(task.unwrap()).ok())
        .filter(|name| name.starts_with(prefix))
        .count()
}

#[test]
fn a_clean_shutdown_waits_for_all_and_leaves_no_kernel_thread() {
    let _dog = watchdog();
    for lwps in [1, 2, 5] {
        let rt = Runtime::builder().lwps(lwps).name_prefix("clean");
        let rt = rt.build().unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let ended = ended.clone();
            drop(on(&rt, move || {
                thread::sleep(Duration::from_millis(1));
                let (inner, counted) = (ended.clone(), ended);
                drop(crate::support::child(move || {
                    inner.fetch_add(1, Ordering::SeqCst);
                }));
                counted.fetch_add(1, Ordering::SeqCst);
            }));
        }
        rt.shutdown(LONG).unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), 200);
        // The kernel reports a thread as ended a little before it takes it off the list.
        until(|| kernel_threads("clean") == 0);
    }
}

#[test]
fn a_shutdown_may_take_for_ever() {
    let _dog = watchdog();
    let rt = runtime(1);
    on(&rt, || thread::sleep(Duration::from_millis(1)));
    rt.shutdown(Duration::MAX).unwrap();
}

#[test]
fn runtimes_come_and_go() {
    let _dog = watchdog();
    for n in 0..many(200) {
        let rt = runtime(1 + n % 3);
        if n % 2 == 0 {
            assert_eq!(on(&rt, move || n).join().unwrap(), n);
        }
        if n % 5 == 0 {
            drop(rt);
        } else {
            end(rt);
        }
    }
}

#[test]
fn survivors_are_listed_by_name_and_reason() {
    let _dog = watchdog();
    let rt = runtime(2);
    let named = |name: &str| Builder::new().on(&rt).name(name.into());
    let parked = spawn(named("parked"), thread::park);
    let asleep = spawn(named("asleep"), || thread::sleep(LONG));
    let held = spawn(named("held"), thread::park);
    until_waiting(parked.thread(), "park");
    until_waiting(asleep.thread(), "sleep");
    until_waiting(held.thread(), "park");
    held.thread().suspend();
    held.thread().unpark();
    until_state(held.thread(), State::Suspended);
    let error = rt.shutdown(Duration::from_millis(20)).unwrap_err();
    let names: Vec<_> = error
        .survivors()
        .iter()
        .map(|s| s.name.as_deref())
        .collect();
    assert_eq!(names, [Some("parked"), Some("asleep"), Some("held")]);
    let text = error.to_string();
    assert!(text.starts_with("3 threads did not end"), "{text}");
    for line in [
        "'parked': waiting: park",
        "'asleep': waiting: sleep",
        "'held': suspended",
    ] {
        assert!(text.contains(line), "{text}");
    }
    // What is done to them has no effect, and does no harm.
    for survivor in [&parked, &asleep, &held] {
        survivor.thread().unpark();
        survivor.thread().resume();
        survivor.thread().cancel();
        assert!(!survivor.is_finished());
    }
}

#[test]
fn many_survivors_are_summed_up() {
    let _dog = watchdog();
    let rt = runtime(1);
    let threads: Vec<_> = (0..20).map(|_| on(&rt, thread::park)).collect();
    threads
        .iter()
        .for_each(|t| until_waiting(t.thread(), "park"));
    let error = rt.shutdown(Duration::ZERO).unwrap_err();
    assert_eq!(error.survivors().len(), 20);
    assert!(error.to_string().ends_with("and 4 more"), "{error}");
}

#[test]
fn spawning_after_a_shutdown_is_an_error() {
    let _dog = watchdog();
    let rt = runtime(1);
    let late = rt.clone();
    assert!(late.is_alive());
    end(rt);
    assert!(!late.is_alive());
    // SAFETY: the closure touches no thread-local.
    let refused = unsafe { Builder::new().on(&late).spawn_light(|| ()) };
    assert!(refused.unwrap_err().to_string().contains("shut down"));
    // Shutting down twice is harmless.
    late.shutdown(LONG).unwrap();
}

#[test]
fn a_thread_cannot_shut_its_own_runtime_down() {
    let _dog = watchdog();
    let rt = runtime(1);
    let own = rt.clone();
    let outcome = on(&rt, move || own.shutdown(LONG).is_ok()).join();
    let payload = outcome.unwrap_err();
    assert!(message(&*payload).contains("own threads"));
    assert_eq!(on(&rt, || 8).join().unwrap(), 8);
    end(rt);
}

/// The last handle may be dropped anywhere.
#[test]
fn a_thread_drops_the_last_handle_of_its_own_runtime() {
    let _dog = watchdog();
    let rt = runtime(2);
    let own = rt.clone();
    let last = on(&rt, move || {
        thread::park();
        drop(own);
        5
    });
    until_waiting(last.thread(), "park");
    drop(rt);
    last.thread().unpark();
    assert_eq!(last.join().unwrap(), 5);
}

#[test]
fn dropping_the_last_handle_does_not_wait() {
    let _dog = watchdog();
    let rt = runtime(1);
    let parked = on(&rt, thread::park);
    until_waiting(parked.thread(), "park");
    drop(rt);
    assert!(!parked.is_finished());
}

#[test]
fn the_default_runtime_starts_by_itself_and_lives_on() {
    let _dog = watchdog();
    let answer = crate::support::child(|| 42).join().unwrap();
    assert_eq!(answer, 42);
    let first = Runtime::default_runtime().unwrap();
    drop(first);
    let again = Runtime::default_runtime().unwrap();
    assert!(again.is_alive());
    let lwps = thread::available_parallelism().unwrap().get();
    assert_eq!(lwps, again.lwps());
    assert_eq!(lisle::lwp::list().unwrap().len(), lwps);
    until(|| crate::support::child(|| ()).join().is_ok());
}
