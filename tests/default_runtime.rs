//! The default runtime can be shut down; another one starts when it is wanted.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::time::Duration;

use lisle::Runtime;
use lisle::thread::Builder;

use support::{until_waiting, watchdog};

#[test]
fn it_starts_anew_after_a_shutdown() {
    for round in 0..3 {
        // SAFETY: the closure touches no thread-local.
        let handle = unsafe { Builder::new().spawn_light(move || round) }.unwrap();
        assert_eq!(handle.join().unwrap(), round);
        let runtime = Runtime::default_runtime().unwrap();
        assert!(runtime.is_alive());
        runtime.clone().shutdown(Duration::from_secs(10)).unwrap();
        assert!(!runtime.is_alive());
    }
}

#[test]
fn survivors_never_run_again() {
    let _dog = watchdog();
    for _ in 0..20 {
        let runtime = Runtime::builder().lwps(2).build().unwrap();
        let builder = Builder::new().on(&runtime);
        // SAFETY: as above.
        let parked = unsafe { builder.spawn_light(lisle::thread::park) }.unwrap();
        // One that is still on its way to the wait would find the token there, and end.
        until_waiting(parked.thread(), "park");
        let error = runtime.shutdown(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.survivors().len(), 1);
        parked.thread().unpark();
        std::thread::sleep(Duration::from_millis(2));
        assert!(!parked.is_finished());
    }
}
