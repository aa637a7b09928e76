//! What the soak does to the process from outside its threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::signal::unix::{SignalKind, signal};

use crate::kitchen::Random;

static CAUGHT: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn caught() -> usize {
    CAUGHT.load(Ordering::Relaxed)
}

/// Uses `errno` as handlers do, and puts it back.
extern "C" fn handler(_: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the interrupted thread's own word; a bad descriptor is an error.
    unsafe {
        let before = *libc::__errno_location();
        libc::close(-1);
        *libc::__errno_location() = before;
    }
}

pub(crate) fn prepare() {
    // The process keeps a descriptor for it.
    drop(signal(SignalKind::window_change()).unwrap());
    for (signal, flags) in [(libc::SIGUSR1, 0), (libc::SIGUSR2, libc::SA_ONSTACK)] {
        // SAFETY: all zeroes is an action; the handler is async-signal-safe.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = flags | libc::SA_RESTART;
            // One at a time: std's alternate stacks hold two frames with vector state, and libc
            // interrupts everybody to change credentials.
            libc::sigfillset(&mut action.sa_mask);
            assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
        }
    }
}

/// Signals to the process, or to one of its kernel threads.
pub(crate) fn disturb(random: &mut Random) {
    let signal = [libc::SIGUSR1, libc::SIGUSR2][random.below(2)];
    // SAFETY: plain system calls; a kernel thread that has gone is an error.
    unsafe {
        if random.once_in(2) {
            libc::kill(libc::getpid(), signal);
            return;
        }
    }
    let tasks: Vec<_> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .flatten()
        .collect();
    let task = &tasks[random.below(tasks.len())];
    let id: i32 = task.file_name().to_str().unwrap().parse().unwrap();
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, signal) };
}
