//! Reports of stack overflow.
//!
//! A thread that runs into its guard gets SIGSEGV (SIGBUS on some systems). The handler runs on the
//! kernel thread's alternate stack, finds out whether the address lies in one of our guards, and
//! says what std says, with the name of the *user* thread; then it aborts. Every other fault goes
//! to the handler that was there before, as it would have gone without us: std's own report for
//! kernel threads keeps working, and a program without a handler dies by the signal.
//!
//! # Invariants
//! The handler is async-signal-safe: it reads immutable statics and atomics, writes with
//! `write(2)`, allocates nothing and takes no lock.
//!
//! # Ordering
//! What was there before is stored before our handler is set, and the kernel's signal delivery
//! comes after both.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use std::io;

use super::slab;
use crate::checkers;
use crate::lock::RawLock;
use crate::shim::{AtomicPtr, Cell, Ordering};
use crate::sys;

/// Writes the running thread's name into the buffer and returns its length. Called in a signal
/// handler.
pub type Describe = fn(&mut [u8; 64]) -> usize;

static DESCRIBE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets what names the running thread in reports. It must be async-signal-safe.
pub fn set_describe(describe: Describe) {
    // Release: pairs with the Acquire in `report`.
    DESCRIBE.store(describe as *mut (), Ordering::Release);
}

/// The signals a hit guard may raise.
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What the signals did before; written once, before the handlers that read it are set.
struct Previous([Cell<MaybeUninit<libc::sigaction>>; 2]);

// SAFETY: written under `INSTALLED`'s lock before anybody reads it, and never again.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous([const { Cell::new(MaybeUninit::uninit()) }; 2]);
/// How many of the handlers are set.
static INSTALLED: RawLock<usize> = RawLock::new(0);

/// Sets the handlers, once per process; later calls do nothing. Kernel threads that run our stacks
/// also need [`ensure_alt_stack`].
///
/// # Errors
/// The system's. The next call tries again.
pub fn install() -> io::Result<()> {
    let mut installed = INSTALLED.lock();
    while *installed < SIGNALS.len() {
        let signal = SIGNALS[*installed];
        // SAFETY: only asks.
        let previous = unsafe { sys::sigaction(signal, None)? };
        PREVIOUS.0[*installed].with_mut(|slot| {
            // SAFETY: under the lock, and no handler of ours reads this slot yet.
            unsafe { slot.write(MaybeUninit::new(previous)) }
        });
        let mut new = previous;
        new.sa_sigaction = handle as *const () as usize;
        // The mask and these flags stay as the previous handler expects them.
        new.sa_flags = libc::SA_SIGINFO
            | libc::SA_ONSTACK
            | previous.sa_flags & (libc::SA_NODEFER | libc::SA_RESTART);
        // SAFETY: `handle` is async-signal-safe and passes on what is not ours.
        unsafe { sys::sigaction(signal, Some(&new))? };
        *installed += 1;
    }
    Ok(())
}

unsafe extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid structure.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let by_fault = code > 0;
    if by_fault && slab::is_in_guard(address) {
        report();
        checkers::abort_in_handler();
    }
    let index = usize::from(signal == SIGNALS[1]);
    // SAFETY: this handler is set only after its slot was written, and slots are written once.
    let previous = PREVIOUS.0[index].with(|slot| unsafe { (*slot).assume_init() });
    // SAFETY: the arguments are the kernel's own.
    unsafe { forward(signal, info, context, &previous, by_fault) };
}

/// Does what the signal would have done without us.
///
/// # Safety
/// `info` and `context` are what the kernel passed to the handler of `signal`.
unsafe fn forward(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    previous: &libc::sigaction,
    by_fault: bool,
) {
    match previous.sa_sigaction {
        // The kernel does not ignore faults, so neither do we.
        libc::SIG_IGN if !by_fault => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            set_default(signal);
            if !by_fault {
                // A fault comes again when the handler returns; a signal that was sent must be sent
                // again.
                // SAFETY: async-signal-safe; it stays pending until this handler returns.
                unsafe { libc::raise(signal) };
            }
        }
        handler => {
            if previous.sa_flags & libc::SA_RESETHAND != 0 {
                set_default(signal);
            }
            // SAFETY: the kernel would have called it just so; the flag says which of the two types
            // it has.
            unsafe {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    type Full = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
                    core::mem::transmute::<usize, Full>(handler)(signal, info, context);
                } else {
                    type Plain = unsafe extern "C" fn(c_int);
                    core::mem::transmute::<usize, Plain>(handler)(signal);
                }
            }
        }
    }
}

fn set_default(signal: c_int) {
    // SAFETY: all zeroes is a valid sigaction: the default action, no flags, no mask.
    let default: libc::sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: async-signal-safe. It cannot fail for these signals.
    unsafe { libc::sigaction(signal, &default, core::ptr::null_mut()) };
}

fn report() {
    let mut buffer = [0; 64];
    // Acquire: pairs with the Release in `set_describe`.
    let describe = DESCRIBE.load(Ordering::Acquire);
    let name: &[u8] = if describe.is_null() {
        b"<unknown>"
    } else {
        // SAFETY: `set_describe` stored a function of this type.
        let describe: Describe = unsafe { core::mem::transmute(describe) };
        let len = describe(&mut buffer);
        &buffer[..len.min(64)]
    };
    sys::write_stderr(b"\nthread '");
    sys::write_stderr(name);
    sys::write_stderr(
        b"' has overflowed its stack\nfatal runtime error: stack overflow, aborting\n",
    );
}

/// The alternate signal stack of one kernel thread; dropping it there sets what was set before.
#[derive(Debug)]
#[must_use = "dropping it removes the stack"]
pub struct AltStack(Option<OwnStack>);

/// The raw pointers keep it on its kernel thread: it is neither `Send` nor `Sync`.
#[derive(Debug)]
struct OwnStack {
    /// The mapping, guard page included.
    base: *mut u8,
    len: usize,
    previous: libc::stack_t,
}

/// Handlers need this much beside the kernel's frame: std's report and backtraces included.
const HANDLER_ROOM: usize = 32 << 10;

/// Gives the calling kernel thread an alternate signal stack, with a guard page, unless it has one
/// that is large enough.
///
/// # Errors
/// The system's; nothing is left behind.
pub fn ensure_alt_stack() -> io::Result<AltStack> {
    // SAFETY: only asks.
    let current = unsafe { sys::sigaltstack(None)? };
    let enough = sys::min_sig_stack() + HANDLER_ROOM / 2;
    if current.ss_flags & libc::SS_DISABLE == 0 && current.ss_size >= enough {
        return Ok(AltStack(None));
    }
    let page = sys::page_size();
    let size = (sys::min_sig_stack() + HANDLER_ROOM).next_multiple_of(page);
    let len = page + size;
    let base = sys::mmap_reserve(len)?;
    // From here on dropping it unmaps.
    let alt = AltStack(Some(OwnStack {
        base,
        len,
        previous: current,
    }));
    let new = libc::stack_t {
        ss_sp: base.wrapping_add(page).cast(),
        ss_flags: 0,
        ss_size: size,
    };
    // SAFETY: the mapping is ours and stays until the guard is dropped.
    unsafe {
        sys::mprotect_none(base, page)?;
        sys::sigaltstack(Some(&new))?;
    }
    Ok(alt)
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Some(own) = &self.0 else {
            return;
        };
        // SAFETY: the previous stack was valid on this kernel thread and is its owner's to keep so.
        // Not through `sys`: a stack that is in force must not be unmapped, so these calls may not
        // be made to fail.
        unsafe {
            let mut current = own.previous;
            libc::sigaltstack(core::ptr::null(), &mut current);
            let in_force = current.ss_sp as usize == own.base as usize + sys::page_size();
            if in_force && libc::sigaltstack(&own.previous, core::ptr::null_mut()) != 0 {
                // A handler is running on it.
                return;
            }
            // On failure the memory stays reserved, which harms nobody.
            let _ = sys::munmap(own.base, own.len);
        }
    }
}
