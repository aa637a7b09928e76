//! What is said, and by which signal the process dies, when a stack overflows: each test runs
//! itself again as a child that does the deed.
#![cfg(not(any(lisle_model, lisle_loom, miri)))]
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle_lwp::arch::{self, Context};
use lisle_lwp::stack::overflow;
use lisle_lwp::stack::{StackPool, StackSize};

const CHILD: &str = "LISLE_OVERFLOW_CHILD";

/// Runs `deed` in a child that runs only the named test; in that child, does it and never returns.
fn in_child(test: &str, deed: fn()) -> (Output, String) {
    if std::env::var_os(CHILD).is_some() {
        deed();
        println!("survived");
        std::process::exit(0);
    }
    let program = std::env::current_exe().unwrap();
    // Under emulation the child needs the emulator as well.
    let runner = cfg!(target_arch = "aarch64")
        .then(|| std::env::var("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER").ok())
        .flatten();
    let mut command = match runner {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    let output = command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stderr)
}

#[inline(never)]
fn recurse(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    if frame[depth % 64] == usize::MAX {
        return 0;
    }
    recurse(depth + 1) + black_box(frame[3])
}

static MAIN: AtomicUsize = AtomicUsize::new(0);

/// Runs `body` on a stack of the pool, on this kernel thread.
fn on_slab_stack(body: fn()) {
    unsafe extern "C" fn entry(_: usize, body: *mut ()) -> ! {
        // SAFETY: the function below passes one.
        let body: fn() = unsafe { std::mem::transmute(body) };
        body();
        let main = MAIN.load(Ordering::Relaxed) as *const Context;
        // SAFETY: the function below waits there.
        unsafe { arch::switch_final(*main, 0) }
    }
    let pool = StackPool::global();
    let stack = pool.take(StackSize::DEFAULT).unwrap();
    let mut main = Context::EMPTY;
    MAIN.store(&raw mut main as usize, Ordering::Relaxed);
    // SAFETY: the stack is ours until the body has ended.
    unsafe {
        let context = arch::init(stack.top(), entry, body as *mut ());
        arch::switch(&raw mut main, context, 0);
    }
    pool.give(stack);
}

fn describe(buffer: &mut [u8; 64]) -> usize {
    buffer[..7].copy_from_slice(b"gustave");
    7
}

#[test]
fn overflow_names_the_user_thread() {
    let (output, stderr) = in_child("overflow_names_the_user_thread", || {
        overflow::set_describe(describe);
        overflow::install().unwrap();
        overflow::install().unwrap();
        on_slab_stack(|| {
            black_box(recurse(0));
        });
    });
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    let expected = "\nthread 'gustave' has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn overflow_without_a_name_is_reported() {
    let (output, stderr) = in_child("overflow_without_a_name_is_reported", || {
        overflow::install().unwrap();
        on_slab_stack(|| {
            black_box(recurse(0));
        });
    });
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    assert!(
        stderr.contains("thread '<unknown>' has overflowed"),
        "{stderr}"
    );
}

/// A kernel thread that std did not make has no alternate stack of its own.
#[test]
fn overflow_on_a_foreign_kernel_thread_is_reported() {
    let (output, stderr) = in_child("overflow_on_a_foreign_kernel_thread_is_reported", || {
        extern "C" fn body(_: *mut libc::c_void) -> *mut libc::c_void {
            let _alt = overflow::ensure_alt_stack().unwrap();
            on_slab_stack(|| {
                black_box(recurse(0));
            });
            std::ptr::null_mut()
        }
        overflow::install().unwrap();
        // SAFETY: plain pthread calls with valid arguments.
        unsafe {
            let mut thread = std::mem::zeroed();
            let made =
                libc::pthread_create(&mut thread, std::ptr::null(), body, std::ptr::null_mut());
            assert_eq!(made, 0);
            libc::pthread_join(thread, std::ptr::null_mut());
        }
    });
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    assert!(
        stderr.contains("thread '<unknown>' has overflowed"),
        "{stderr}"
    );
}

#[test]
fn std_still_reports_its_own_threads() {
    let (output, stderr) = in_child("std_still_reports_its_own_threads", || {
        overflow::install().unwrap();
        std::thread::Builder::new()
            .name("kernel-gustave".into())
            .spawn(|| black_box(recurse(0)))
            .unwrap()
            .join()
            .unwrap();
    });
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{stderr}");
    assert!(stderr.contains("thread 'kernel-gustave'"), "{stderr}");
    assert!(stderr.contains("has overflowed its stack"), "{stderr}");
}

#[test]
fn a_null_dereference_still_dies_by_its_signal() {
    let (output, stderr) = in_child("a_null_dereference_still_dies_by_its_signal", || {
        overflow::install().unwrap();
        // SAFETY: not at all; the child is to die of it.
        unsafe { black_box(std::ptr::null_mut::<u8>().wrapping_add(8)).write_volatile(1) };
    });
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{stderr}");
    assert!(!stderr.contains("overflowed"), "{stderr}");
}

#[test]
fn a_signal_that_was_sent_still_kills() {
    let (output, stderr) = in_child("a_signal_that_was_sent_still_kills", || {
        // Without std's handler in between, which swallows the first one.
        // SAFETY: all zeroes is the default action.
        unsafe {
            let default: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGSEGV, &default, std::ptr::null_mut());
        }
        overflow::install().unwrap();
        // SAFETY: plain system call.
        unsafe { libc::raise(libc::SIGSEGV) };
    });
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{stderr}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("survived"));
}

/// A handler that was there before gets every other fault, with its arguments.
#[test]
fn an_earlier_handler_is_called() {
    let (output, stderr) = in_child("an_earlier_handler_is_called", || {
        extern "C" fn earlier(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
            // SAFETY: the kernel's own structure.
            let address = unsafe { (*info).si_addr() } as usize;
            std::process::exit(if (signal, address) == (libc::SIGSEGV, 24) {
                42
            } else {
                1
            });
        }
        // SAFETY: all zeroes but for the handler is a valid action.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = earlier as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
        }
        overflow::install().unwrap();
        // SAFETY: not at all; the handler ends the child.
        unsafe { black_box(std::ptr::null_mut::<u8>().wrapping_add(24)).write_volatile(1) };
    });
    assert_eq!(output.status.code(), Some(42), "{stderr}");
}

/// The alternate stack is set where there is none, left alone where there is one, and removed
/// again.
#[test]
fn alt_stacks_come_and_go() {
    fn current() -> libc::stack_t {
        // SAFETY: only asks.
        unsafe { lisle_lwp::sys::sigaltstack(None) }.unwrap()
    }
    fn a_small_stack_comes_back() {
        let mut memory = vec![0u8; lisle_lwp::sys::min_sig_stack()];
        let small = libc::stack_t {
            ss_sp: memory.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: memory.len(),
        };
        let none = current();
        // SAFETY: the memory outlives its use: what was set before is set again below.
        unsafe { lisle_lwp::sys::sigaltstack(Some(&small)) }.unwrap();
        let alt = overflow::ensure_alt_stack().unwrap();
        assert_ne!(current().ss_sp, small.ss_sp);
        drop(alt);
        assert_eq!(current().ss_sp, small.ss_sp);
        // SAFETY: removes only.
        unsafe { lisle_lwp::sys::sigaltstack(Some(&none)) }.unwrap();
    }
    extern "C" fn body(_: *mut libc::c_void) -> *mut libc::c_void {
        assert_ne!(current().ss_flags & libc::SS_DISABLE, 0);
        let alt = overflow::ensure_alt_stack().unwrap();
        let set = current();
        assert_eq!(set.ss_flags & libc::SS_DISABLE, 0);
        assert!(set.ss_size >= lisle_lwp::sys::min_sig_stack() + (32 << 10));
        let second = overflow::ensure_alt_stack().unwrap();
        drop(second);
        assert_eq!(current().ss_sp, set.ss_sp);
        drop(alt);
        assert_ne!(current().ss_flags & libc::SS_DISABLE, 0);
        a_small_stack_comes_back();
        std::ptr::dangling_mut::<u8>().cast()
    }
    // SAFETY: plain pthread calls with valid arguments.
    unsafe {
        let (mut thread, mut result) = (std::mem::zeroed(), std::ptr::null_mut());
        let made = libc::pthread_create(&mut thread, std::ptr::null(), body, std::ptr::null_mut());
        assert_eq!(made, 0);
        libc::pthread_join(thread, &mut result);
        assert!(!result.is_null(), "the thread came to its end");
    }
}
