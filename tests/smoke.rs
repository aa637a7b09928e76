//! Smoke tests.
#![allow(clippy::disallowed_methods)]
use lisle::{Runtime, thread};
use std::time::Duration;

fn light<T: Send + 'static>(
    rt: &Runtime,
    f: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    // SAFETY: none of these tests touches a thread-local between two waits.
    unsafe { thread::Builder::new().on(rt).spawn_light(f) }.unwrap()
}

#[test]
fn spawn_join() {
    let rt = Runtime::builder().lwps(2).build().unwrap();
    let h: Vec<_> = (0..1000u64)
        .map(|i| {
            light(&rt, move || {
                thread::yield_now();
                i
            })
        })
        .collect();
    let s: u64 = h.into_iter().map(|h| h.join().unwrap()).sum();
    assert_eq!(s, 499500);
    rt.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn nested_and_sleep() {
    let rt = Runtime::builder().lwps(2).build().unwrap();
    let r2 = rt.clone();
    let h = light(&rt, move || {
        let hs: Vec<_> = (0..200u64)
            .map(|i| {
                light(&r2, move || {
                    thread::sleep(Duration::from_millis(i % 7));
                    i
                })
            })
            .collect();
        hs.into_iter().map(|h| h.join().unwrap()).sum::<u64>()
    });
    assert_eq!(h.join().unwrap(), 19900);
    rt.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn panic_and_cancel() {
    let rt = Runtime::builder().lwps(2).build().unwrap();
    let h = light(&rt, || {
        if true {
            panic!("boom")
        }
    });
    assert_eq!(
        *h.join().unwrap_err().downcast_ref::<&str>().unwrap(),
        "boom"
    );
    let h = light(&rt, || {
        loop {
            thread::sleep(Duration::from_secs(100))
        }
    });
    std::thread::sleep(Duration::from_millis(20));
    h.thread().cancel();
    assert!(h.join().unwrap_err().is::<lisle::cancel::Cancelled>());
    rt.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn park_unpark_pingpong() {
    let rt = Runtime::builder().lwps(2).build().unwrap();
    let h = light(&rt, || {
        for _ in 0..10000 {
            thread::park();
        }
    });
    let t = h.thread().clone();
    let h2 = light(&rt, move || {
        while !h.is_finished() {
            t.unpark();
            thread::yield_now();
        }
        h.join().unwrap();
    });
    h2.join().unwrap();
    rt.shutdown(Duration::from_secs(5)).unwrap();
}
