//! A dump at Ctrl-\.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use lisle_lwp::shim::{AtomicU32, Ordering};
use lisle_lwp::sys::{self, Call};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::unix::{SignalKind, duplicate_of_kick, install, take};

/// Writes a [dump](crate::debug::dump()) of all threads to standard error whenever the
/// process gets `SIGQUIT` (Ctrl-\, or `kill -QUIT`), from now on, instead of ending.
///
/// A kernel thread of its own waits for the signal and makes the dump, so it comes
/// although all LWPs block or compute on. A second call does nothing; a forked child
/// calls it anew.
///
/// # Errors
/// If the system refuses the handler, a descriptor or the kernel thread.
///
/// ```no_run
/// # use lisle_runtime as lisle;
/// lisle::signal::dump_on_quit()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn dump_on_quit() -> io::Result<()> {
    // In which life of the process: a forked child has no such kernel thread.
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let now = crate::fork::generation() + 1;
    if STARTED.swap(now, Ordering::Relaxed) == now {
        return Ok(());
    }
    start().inspect_err(|_| STARTED.store(0, Ordering::Relaxed))
}

/// Never inlined: to start a kernel thread touches thread-locals.
#[inline(never)]
fn start() -> io::Result<()> {
    let kind = SignalKind::quit();
    let kick = duplicate_of_kick()?;
    let poller = sys::guarded(Call::Create, || Ok(epoll::create(CreateFlags::CLOEXEC)?))?;
    let edges = EventFlags::IN | EventFlags::ET;
    sys::guarded(Call::Register, || {
        Ok(epoll::add(&poller, &kick, EventData::new_u64(0), edges)?)
    })?;
    let seen = vec![(kind, super::unix::count(kind))];
    let builder = std::thread::Builder::new().name("lisle-quit".into());
    let body = move || serve(&poller, kick, seen);
    sys::guarded(Call::Clone, || builder.spawn(body))?;
    // Last: until here the signal does what it did.
    install(kind)
}

fn serve(poller: &OwnedFd, _kick: OwnedFd, mut seen: Vec<(SignalKind, u64)>) {
    let mut events = Vec::with_capacity(1);
    loop {
        events.clear();
        // Every signal that anybody listens for makes an edge. An interrupted wait
        // comes again.
        let _ = sys::guarded(Call::Wait, || {
            Ok(epoll::wait(poller, spare_capacity(&mut events), None)?)
        });
        if take(&mut seen).is_some() {
            write(&crate::debug::dump().to_string());
        }
    }
}

/// Past std's lock of standard error: a thread that has it may be what is wrong.
fn write(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(io::stderr().as_fd(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}
