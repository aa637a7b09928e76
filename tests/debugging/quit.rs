//! A dump at SIGQUIT.

use std::io::Read;

use lisle::signal::dump_on_quit;
use lisle::thread::{self, Builder};

use crate::support::{in_child, runtime, stderr, until, until_waiting, watchdog};

#[inline(never)]
fn keeps_its_lwp() {
    loop {
        std::hint::spin_loop();
    }
}

/// The dump comes although every LWP is kept and the reader is slow, twice, and the
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
        let keeps = Builder::new().on(&rt).spawn(keeps_its_lwp);
        until(|| keeps.as_ref().unwrap().thread().info().state == thread::State::Running);
        let (mut reader, writer) = std::io::pipe().unwrap();
        // SAFETY: both are open; what was standard error is put back below.
        let before = unsafe {
            let before = libc::dup(2);
            libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&writer), 2);
            before
        };
        let mut text = Vec::new();
        for dumps in 1..=2 {
            // SAFETY: a signal with a handler, to this process.
            unsafe { libc::kill(libc::getpid(), libc::SIGQUIT) };
            until(|| {
                let mut some = [0; 100];
                let read = reader.read(&mut some).unwrap();
                text.extend_from_slice(&some[..read]);
                let text = String::from_utf8_lossy(&text);
                text.matches("'the parked one': waiting: park").count() == dumps
                    && text.matches("keeps_its_lwp\n").count() == dumps
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
