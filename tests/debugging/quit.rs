//! A dump at SIGQUIT.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use lisle::signal::dump_on_quit;
use lisle::thread::{self, Builder};

use crate::support::{in_child, runtime, stderr, until, until_waiting, watchdog};

static KEEPS: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn keeps_its_lwp() {
    loop {
        KEEPS.store(true, Ordering::Relaxed);
    }
}

/// The dump comes although every LWP is kept and the reader is slow, more than once, and the
/// process goes on.
#[test]
fn a_signal_makes_a_dump_of_all_threads() {
    let output = in_child("quit::a_signal_makes_a_dump_of_all_threads", &[], || {
        let _watchdog = watchdog();
        let rt = runtime(1);
        dump_on_quit().unwrap();
        dump_on_quit().unwrap();
        let parked = Builder::new().on(&rt).name("the parked one".into());
        let parked = parked.spawn(thread::park).unwrap();
        until_waiting(parked.thread(), "park");
        let _keeps = Builder::new().on(&rt).spawn(keeps_its_lwp).unwrap();
        until(|| KEEPS.load(Ordering::Relaxed));
        let (mut reader, writer) = std::io::pipe().unwrap();
        // SAFETY: both are open; what was standard error is put back below.
        let before = unsafe {
            let before = libc::dup(2);
            libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&writer), 2);
            before
        };
        let mut named = 0;
        while named < 2 {
            // SAFETY: a signal with a handler, to this process.
            unsafe { libc::kill(libc::getpid(), libc::SIGQUIT) };
            let mut text = Vec::new();
            until(|| {
                let mut some = [0; 100];
                let read = reader.read(&mut some).unwrap();
                text.extend_from_slice(&some[..read]);
                let text = String::from_utf8_lossy(&text);
                let Some((_, rest)) = text.split_once("'the parked one': waiting: park") else {
                    return false;
                };
                let is_named = rest.contains("keeps_its_lwp\n");
                named += usize::from(is_named);
                // A busy machine may not let it answer in time.
                is_named || rest.contains("no backtrace: ")
            });
        }
        // SAFETY: as above.
        unsafe { libc::dup2(before, 2) };
        eprintln!("went on");
        std::process::exit(0);
    });
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("went on"));
}
