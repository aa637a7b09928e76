//! A computation is interrupted, taken to another kernel thread by hand, and goes on there.

use core::ffi::{c_int, c_void};

use crate::arch::{self, Context};
use crate::frame::{Frame, Saved};
use crate::shim::{AtomicBool, AtomicUsize, Ordering};
use crate::stack::{StackPool, StackSize, overflow};
use crate::sys;

const SIGNAL: c_int = libc::SIGUSR2;

static IDLE: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);
static BEGUN: AtomicBool = AtomicBool::new(false);
static MOVED: AtomicBool = AtomicBool::new(false);

fn context(address: usize) -> Context {
    // SAFETY: a context is its address.
    unsafe { core::mem::transmute::<usize, Context>(address) }
}

extern "C" fn handler(_: c_int, info: *mut libc::siginfo_t, ucontext: *mut c_void) {
    // SAFETY: the kernel's arguments; the thread's stack is large, and this runs on the alternate stack.
    unsafe {
        let frame = Frame::new(info, ucontext);
        assert!(frame.is_directed());
        let saved = frame.copy();
        assert!(frame.stack_pointer() - saved.address() as usize <= frame.size());
        let again = arch::init(saved.address(), resumed, saved.address().cast());
        INTERRUPTED.store(again.address(), Ordering::SeqCst);
        arch::switch_final(context(IDLE.load(Ordering::SeqCst)), 7)
    }
}

unsafe extern "C" fn resumed(_: usize, saved: *mut ()) -> ! {
    // SAFETY: what the handler put there.
    unsafe { Saved::at(saved.cast()).resume() }
}

/// Computes in vector registers until it has been moved; says what came out.
unsafe extern "C" fn compute(_: usize, result: *mut ()) -> ! {
    let mut lanes = [1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let mut rounds = 0u64;
    BEGUN.store(true, Ordering::SeqCst);
    while !MOVED.load(Ordering::Relaxed) || rounds % 2 == 1 {
        lanes = lanes.map(|lane| 1.0 / lane);
        rounds += 1;
    }
    // SAFETY: the test's; and its idle context, saved by the second switch.
    unsafe {
        result.cast::<[f64; 8]>().write(lanes);
        arch::switch_final(context(IDLE.load(Ordering::SeqCst)), 8)
    }
}

fn switch_from_here(to: usize) -> usize {
    // SAFETY: the contexts are resumed once each, in turn.
    unsafe { arch::switch(IDLE.as_ptr().cast(), context(to), 0) }
}

#[test]
fn an_interrupted_thread_goes_on_elsewhere() {
    // SAFETY: all zeroes is an action; the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        sys::sigaction(SIGNAL, Some(&action)).unwrap();
    }
    let stack = StackPool::global().take(StackSize::DEFAULT).unwrap();
    let mut result = [0.0_f64; 8];
    // SAFETY: the stack and the result are ours until the end.
    let first = unsafe { arch::init(stack.top(), compute, (&raw mut result).cast()) };
    let (first, tid) = (first.address(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            let _alternate = overflow::ensure_alt_stack().unwrap();
            tid.store(sys::gettid() as usize, Ordering::SeqCst);
            let mask = sys::signal_mask();
            assert_eq!(switch_from_here(first), 7, "by the handler");
            // The handler's mask is still in force.
            assert_ne!(sys::signal_mask(), mask);
            sys::set_signal_mask(mask);
        });
        while !BEGUN.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        sys::tgkill(tid.load(Ordering::SeqCst) as i32, SIGNAL).unwrap();
        one.join().unwrap();
        let two = scope.spawn(|| {
            let alternate = overflow::ensure_alt_stack().unwrap();
            // SAFETY: only asks.
            let before = unsafe { sys::sigaltstack(None).unwrap() };
            MOVED.store(true, Ordering::SeqCst);
            let again = INTERRUPTED.load(Ordering::SeqCst);
            assert_eq!(switch_from_here(again), 8, "at its end");
            // SAFETY: only asks.
            let after = unsafe { sys::sigaltstack(None).unwrap() };
            assert_eq!(before.ss_sp, after.ss_sp, "this kernel thread's own");
            drop(alternate);
        });
        two.join().unwrap();
    });
    assert_eq!(result, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    StackPool::global().give(stack);
}
