//! Signals and child processes. A binary of its own: signals and faults
//! concern the whole process.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lisle::signal::unix::{SignalKind, Signals, signal};
use lisle::{process, thread};
use lisle_lwp::sys::Call;
use lisle_lwp::sys::fault::{self, Plan};

use support::{end, on, runtime, until_waiting, watchdog};

/// One test at a time: they count signals and make calls fail.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raise(kind: SignalKind) {
    // SAFETY: plain system calls; the tests handle what they send.
    let sent = unsafe { libc::kill(libc::getpid(), kind.as_raw_value()) };
    assert_eq!(sent, 0);
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A child that ends when told to, by closing its input, with this code.
fn obedient(code: i32) -> Child {
    sh(&format!("read _; exit {code}"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn an_interrupt_is_waited_for() {
    let _alone = alone();
    let _dog = watchdog();
    let rt = runtime(1);
    let waiting = on(&rt, lisle::signal::ctrl_c);
    until_waiting(waiting.thread(), "readable descriptor");
    // One LWP, and it is free.
    on(&rt, || ()).join().unwrap();
    raise(SignalKind::interrupt());
    waiting.join().unwrap().unwrap();
    // Nobody waits for Ctrl-C, and it does not end the process.
    let mut handled = signal(SignalKind::interrupt()).unwrap();
    raise(SignalKind::interrupt());
    on(&rt, move || handled.recv()).join().unwrap().unwrap();
    let soon = Instant::now() + Duration::from_millis(2);
    let late = on(&rt, move || lisle::signal::ctrl_c_deadline(soon));
    let late = late.join().unwrap().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    end(rt);
}

#[test]
fn each_listener_hears_each_signal() {
    let _alone = alone();
    let _dog = watchdog();
    let rt = runtime(2);
    let kind = SignalKind::user_defined1();
    let mut early = signal(kind).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let heard = heard.clone();
            on(&rt, move || {
                let mut signal = signal(kind).unwrap();
                for _ in 0..3 {
                    signal.recv().unwrap();
                    heard.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 1..=3 {
        for waiting in &waiting {
            until_waiting(waiting.thread(), "readable descriptor");
        }
        raise(kind);
        support::until(|| heard.load(Ordering::SeqCst) == round * waiting.len());
    }
    for waiting in waiting {
        waiting.join().unwrap();
    }
    // Three that nobody waited for are one.
    early.recv().unwrap();
    let none = early.recv_deadline(Instant::now()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::TimedOut);
    end(rt);
}

#[test]
fn several_kinds_are_told_apart() {
    let _alone = alone();
    let _dog = watchdog();
    let kinds = [SignalKind::hangup(), SignalKind::user_defined2()];
    let mut signals = Signals::new(kinds).unwrap();
    raise(kinds[1]);
    assert_eq!(signals.recv().unwrap(), kinds[1]);
    raise(kinds[0]);
    raise(kinds[1]);
    let mut both = [signals.recv().unwrap(), signals.recv().unwrap()];
    both.sort_by_key(|kind| kind.as_raw_value());
    assert_eq!(both, kinds);
    for bad in [0, -1, 65, 1000, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV] {
        let refused = signal(SignalKind::from_raw(bad)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{bad}");
    }
}

fn children_are_waited_for() {
    let rt = runtime(1);
    let mut child = obedient(3);
    let input = child.stdin.take().unwrap();
    let waiting = on(&rt, move || {
        let first = process::wait(&mut child).unwrap();
        // Again: it knows.
        assert_eq!(process::wait(&mut child).unwrap(), first);
        first
    });
    support::until(|| waiting.thread().info().to_string().contains("waiting"));
    // One LWP, and it is free.
    on(&rt, || ()).join().unwrap();
    drop(input);
    assert_eq!(waiting.join().unwrap().code(), Some(3));

    // A deadline that passes, and a child that is killed after it.
    let late = on(&rt, || {
        let mut child = obedient(0);
        let input = child.stdin.take();
        let soon = Instant::now() + Duration::from_millis(2);
        let late = process::wait_deadline(&mut child, soon).unwrap_err();
        child.kill().unwrap();
        let status = process::wait(&mut child).unwrap();
        drop(input);
        (late.kind(), status.signal())
    });
    let expected = (ErrorKind::TimedOut, Some(libc::SIGKILL));
    assert_eq!(late.join().unwrap(), expected);

    // Its input is closed, or it would wait for ever.
    let closed = on(&rt, || process::wait(&mut obedient(4)).unwrap().code());
    assert_eq!(closed.join().unwrap(), Some(4));
    end(rt);
}

#[test]
fn children_are_waited_for_by_descriptor() {
    let _alone = alone();
    let _dog = watchdog();
    children_are_waited_for();
}

/// As on a kernel that has no descriptors of processes.
#[test]
fn children_are_waited_for_by_helpers() {
    let _alone = alone();
    let _dog = watchdog();
    let _faults = fault::exclusive();
    let recording = fault::record();
    children_are_waited_for();
    let sites = recording.sites();
    drop(recording);
    let opens = sites
        .iter()
        .find(|site| site.call == Call::Open && site.file.ends_with("process.rs"));
    let plan = fault::arm(
        Plan::once(Call::Open)
            .at(*opens.expect("it opens one"))
            .times(100)
            .errno(libc::ENOSYS),
    );
    children_are_waited_for();
    assert!(plan.fired() >= 3);
}

#[test]
fn a_cancelled_wait_leaves_the_child() {
    let _alone = alone();
    let _dog = watchdog();
    let rt = runtime(1);
    let mut child = obedient(5);
    let input = child.stdin.take();
    let child = Arc::new(Mutex::new(child));
    let waited = child.clone();
    let waiting = on(&rt, move || {
        let mut child = waited.lock().unwrap_or_else(PoisonError::into_inner);
        process::wait(&mut child)
    });
    until_waiting(waiting.thread(), "readable descriptor");
    waiting.thread().cancel();
    assert!(waiting.join().is_err());
    drop(input);
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(process::wait(&mut child).unwrap().code(), Some(5));
    end(rt);
}

/// Both pipes at once, more than either holds.
#[test]
fn outputs_are_collected() {
    let _alone = alone();
    let _dog = watchdog();
    let rt = runtime(1);
    let output = on(&rt, || {
        let script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; \
                      head -c 100 /dev/zero; exit 7";
        process::output(&mut sh(script)).unwrap()
    });
    let output = output.join().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        (output.stdout.len(), output.stderr.len()),
        (300_100, 300_000)
    );
    let status = on(&rt, || process::status(&mut sh("exit 9")).unwrap().code());
    assert_eq!(status.join().unwrap(), Some(9));
    let fed = on(&rt, || {
        let mut child = sh("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"fed").unwrap();
        process::wait_with_output(child).unwrap().stdout
    });
    assert_eq!(fed.join().unwrap(), b"fed");
    end(rt);
}

/// Many children at once on one LWP, which sleeps meanwhile.
#[test]
fn many_children_end_in_any_order() {
    let _alone = alone();
    let _dog = watchdog();
    let rt = runtime(1);
    let mut inputs = Vec::new();
    let waiting: Vec<_> = (0..30)
        .map(|code| {
            let mut child = obedient(code);
            inputs.push(child.stdin.take());
            on(&rt, move || process::wait(&mut child).unwrap().code())
        })
        .collect();
    let sleeper = on(&rt, || thread::sleep(Duration::from_millis(1)));
    sleeper.join().unwrap();
    while let Some(input) = inputs.pop() {
        drop(input);
    }
    for (code, waiting) in waiting.into_iter().enumerate() {
        assert_eq!(waiting.join().unwrap(), Some(code as i32));
    }
    end(rt);
}
