//! Threads that keep a processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use lisle::debug::Watchdog;
use lisle::thread::{self, Builder};

use crate::support::{alone, end, runtime, watchdog};

#[test]
fn a_hog_is_named_once() {
    alone("hogs::a_hog_is_named_once", || {
        let _watchdog = watchdog();
        let rt = runtime(2);
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |name: &str, gives_way: bool| {
            let stop = stop.clone();
            let body = move || {
                while !stop.load(Ordering::Relaxed) {
                    if gives_way {
                        thread::yield_now();
                    }
                }
            };
            Builder::new()
                .on(&rt)
                .name(name.into())
                .spawn(body)
                .unwrap()
        };
        let (tell, told) = mpsc::channel();
        let watching = Watchdog::new()
            .every(Duration::from_millis(1))
            .on_hog(Duration::from_millis(20), move |hog| {
                tell.send(hog.clone()).unwrap()
            })
            .start()
            .unwrap();
        let polite = spawn("polite", true);
        let hog = spawn("hog", false);
        let found = told.recv().unwrap();
        assert_eq!(found.thread.id, hog.thread().id());
        assert!(found.used >= Duration::from_millis(20));
        assert!(std::path::Path::new(&format!("/proc/self/task/{}", found.kernel_thread)).exists());
        assert!(found.to_string().contains("'hog': running for "), "{found}");
        stop.store(true, Ordering::Relaxed);
        hog.join().unwrap();
        polite.join().unwrap();
        drop(watching);
        // Once, and nobody else.
        let more: Vec<_> = told.iter().collect();
        assert!(more.is_empty(), "{more:?}");
        end(rt);
    });
}
