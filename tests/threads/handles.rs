//! Results and closures of every shape, dropped exactly once whoever comes last.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::thread::{self, Builder};

use crate::support::{child, end, on, runtime, spawn, until, until_waiting, watchdog};

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<AtomicUsize>, impl Fn() -> usize) {
    let drops = Arc::new(AtomicUsize::new(0));
    let read = drops.clone();
    (drops, move || read.load(Ordering::SeqCst))
}

#[test]
fn a_handle_dropped_before_the_thread_starts() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (drops, dropped) = counter();
    on(&rt, move || {
        // One LWP: the child cannot have started.
        drop(child(move || Counted(drops)));
    })
    .join()
    .unwrap();
    until(|| dropped() == 1);
    end(rt);
    assert_eq!(dropped(), 1);
}

#[test]
fn a_handle_dropped_while_the_thread_waits() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (drops, dropped) = counter();
    let handle = on(&rt, move || {
        thread::park();
        Counted(drops)
    });
    let thread = handle.thread().clone();
    until_waiting(&thread, "park");
    drop(handle);
    assert_eq!(dropped(), 0);
    thread.unpark();
    until(|| dropped() == 1);
    end(rt);
    assert_eq!(dropped(), 1);
}

#[test]
fn a_handle_dropped_after_the_thread_has_ended() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (drops, dropped) = counter();
    let handle = on(&rt, move || Counted(drops));
    until(|| handle.is_finished());
    assert_eq!(dropped(), 0);
    drop(handle);
    assert_eq!(dropped(), 1);
    end(rt);
    assert_eq!(dropped(), 1);
}

#[test]
fn a_joined_result_is_the_callers() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (drops, dropped) = counter();
    let result = on(&rt, move || Counted(drops)).join();
    assert_eq!(dropped(), 0);
    drop(result);
    assert_eq!(dropped(), 1);
    end(rt);
    assert_eq!(dropped(), 1);
}

/// Many at once, in whatever order they come.
#[test]
fn every_result_and_capture_is_dropped_once() {
    let _dog = watchdog();
    let rt = runtime(2);
    let (results, result_drops) = counter();
    let (captures, capture_drops) = counter();
    const N: usize = 4000;
    for n in 0..N {
        let (result, capture) = (Counted(results.clone()), Counted(captures.clone()));
        let handle = on(&rt, move || {
            let _capture = capture;
            if n % 3 == 0 {
                thread::yield_now();
            }
            if n % 5 == 0 {
                std::panic::resume_unwind(Box::new(result));
            }
            result
        });
        match n % 4 {
            0 => drop(handle),
            1 => drop(handle.join()),
            2 => {
                until(|| handle.is_finished());
                drop(handle);
            }
            _ => {
                std::thread::yield_now();
                drop(handle);
            }
        }
    }
    end(rt);
    assert_eq!((result_drops(), capture_drops()), (N, N));
}

/// A panicking result destructor must not take the stack with it.
#[test]
fn a_panic_while_a_handle_drops_the_result() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("bomb"));
        }
    }
    let _dog = watchdog();
    let rt = runtime(1);
    for _ in 0..3 {
        let handle = on(&rt, || Bomb);
        until(|| handle.is_finished());
        let thread = handle.thread().clone();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(handle)));
        assert!(caught.is_err());
        assert!(thread.info().to_string().contains("terminated"));
    }
    end(rt);
}

#[test]
fn over_aligned_closures_and_results() {
    #[repr(align(4096))]
    #[derive(Clone, Copy)]
    struct Page(u8);
    #[repr(align(128))]
    struct Line(u8);
    let _dog = watchdog();
    let rt = runtime(2);
    let is_aligned = |page: &Page| std::ptr::from_ref(page).addr().is_multiple_of(4096);
    for n in 0..50 {
        let page = Page(n);
        // Debug builds copy them often.
        let builder = Builder::new().on(&rt).stack_size(1 << 20);
        let handle = spawn(builder, move || {
            let ok = is_aligned(&page);
            thread::yield_now();
            (Line(page.0 + 1), ok && is_aligned(&page), page)
        });
        let (line, ok, page) = handle.join().unwrap();
        assert!(ok && line.0 == n + 1 && page.0 == n);
    }
    end(rt);
}

#[test]
fn zero_sized_closures_and_results() {
    let _dog = watchdog();
    let rt = runtime(2);
    let threads: Vec<_> = (0..100).map(|_| on(&rt, || ())).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    end(rt);
}

#[test]
fn large_closures_and_results_come_through() {
    const SIZE: usize = 100_000;
    let _dog = watchdog();
    let rt = runtime(2);
    let bytes: [u8; SIZE] = std::array::from_fn(|i| (i % 251) as u8);
    let handle = spawn(Builder::new().on(&rt).stack_size(4 << 20), move || {
        let mut copy = bytes;
        copy.reverse();
        copy
    });
    let mut back = handle.join().unwrap();
    back.reverse();
    assert!(back == bytes);
    end(rt);
}

/// As with std's threads, whose stacks are larger.
#[test]
fn large_closures_and_results_get_a_larger_stack() {
    let _dog = watchdog();
    let rt = runtime(2);
    const SIZE: usize = 60_000;
    let bytes = [1u8; SIZE];
    let sum = |bytes: [u8; SIZE]| bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    let builder = || Builder::new().on(&rt);
    let full = builder().spawn(move || sum(bytes)).unwrap();
    let fresh = builder().fresh(true).spawn(move || (sum(bytes), bytes));
    // SAFETY: the closure touches no thread-local.
    let light = unsafe { builder().spawn_light(move || (sum(bytes), bytes)) };
    assert_eq!(full.join().unwrap(), SIZE);
    for (counted, bytes) in [fresh, light].map(|thread| thread.unwrap().join().unwrap()) {
        assert_eq!((counted, sum(bytes)), (SIZE, SIZE));
    }
    thread::scope(|scope| {
        assert_eq!(scope.spawn(|| sum(bytes)).join().unwrap(), SIZE);
    });
    // Beyond the largest stack.
    let refused = builder().spawn(|| [0u8; 6 << 20]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    end(rt);
}

#[test]
fn what_does_not_fit_is_an_error_and_is_dropped() {
    let _dog = watchdog();
    let rt = runtime(1);
    let (drops, dropped) = counter();
    let counted = Counted(drops);
    let builder = || Builder::new().on(&rt).stack_size(64 << 10);
    // SAFETY: the closures touch no thread-local.
    let refused = unsafe {
        builder().spawn_light(move || {
            let _counted = counted;
            [0u8; 40_000]
        })
    };
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(dropped(), 1);
    let bytes = [1u8; 40_000];
    // SAFETY: as above.
    let refused = unsafe { builder().spawn_light(move || bytes.len()) };
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    // Nothing counts as alive: shutting down finds no survivors.
    end(rt);
}

#[test]
fn borrowed_closures_under_the_callers_promise() {
    let _dog = watchdog();
    let rt = runtime(2);
    let numbers = [1u64, 2, 3];
    // SAFETY: joined below, before `numbers` goes; no thread-local is touched.
    let handle = unsafe {
        Builder::new()
            .on(&rt)
            .spawn_light_unchecked(|| numbers.iter().sum::<u64>())
    };
    assert_eq!(handle.unwrap().join().unwrap(), 6);
    end(rt);
}

#[test]
fn a_thread_cannot_join_itself() {
    use std::sync::Mutex;
    let _dog = watchdog();
    let rt = runtime(1);
    let place: Arc<Mutex<Option<thread::JoinHandle<()>>>> = Arc::default();
    let own = place.clone();
    let handle = on(&rt, move || {
        thread::park();
        #[inline(never)]
        fn take(place: &Mutex<Option<thread::JoinHandle<()>>>) -> thread::JoinHandle<()> {
            place.lock().unwrap().take().unwrap()
        }
        let _ = take(&own).join();
    });
    let thread = handle.thread().clone();
    *place.lock().unwrap() = Some(handle);
    thread.unpark();
    until(|| thread.info().to_string().contains("terminated"));
    end(rt);
}

#[test]
fn handles_outlive_their_threads() {
    let _dog = watchdog();
    let rt = runtime(1);
    let handle = on(&rt, || ());
    let thread = handle.thread().clone();
    let id = thread.id();
    handle.join().unwrap();
    end(rt);
    thread.unpark();
    thread.cancel();
    thread.suspend();
    thread.resume();
    assert_eq!(thread.id(), id);
    assert_eq!(thread.info().state, thread::State::Terminated);
}
