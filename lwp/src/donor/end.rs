//! How a donor ends: a kernel thread of its own again, which returns through libc.
//!
//! Some ends are waited for: whoever joins a thread that is not reused expects its thread-local
//! destructors to have run. Nothing in libc calls back after *all* of them, but destructors of
//! pthread keys run in rounds, four at most, and after those of the language; so a [`Finale`] hangs
//! on a key that sets itself again until the last round.

use core::ffi::{c_int, c_void};
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use std::io;
use std::sync::OnceLock;

use super::{Control, Donor};
use crate::arch::native;
use crate::checkers;
use crate::current;
use crate::stack::StackPool;
use crate::sys::{self, Call};

/// What is left to do when a thread's destructors have run, on the thread itself.
#[derive(Debug, Clone, Copy)]
pub struct Finale {
    /// The current flow until then.
    pub current: *const (),
    /// Is called with `current` and `data`, and must not panic.
    pub run: unsafe fn(*const (), *mut ()),
    /// Whatever `run` wants.
    pub data: *mut (),
}

/// As libc's own threads are made.
const FLAGS: c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;

impl Donor {
    /// Gives the thread a kernel thread again, on which it returns through libc: its thread-local
    /// destructors run, then the [finale](Donor::set_finale). The kernel thread has the caller's signal mask,
    /// credentials and affinity. Makes a system call: never from inside the runtime.
    ///
    /// # Errors
    /// If the system refuses a kernel thread: the donor as it was, to be ended later.
    pub fn end(self) -> Result<Ended, (Donor, io::Error)> {
        let control = self.control();
        // SAFETY: the donor is suspended, and ours.
        let (base, traits) = unsafe {
            (
                control.base.with(|base| *base),
                control.host.with(|host| *host),
            )
        };
        let low = control.stack.limit();
        // SAFETY: the part of the donor's own stack that nobody stands on.
        unsafe { checkers::abandoned(low, low.with_addr(base.address())) };
        let body = || {
            // SAFETY: `base` is suspended since the first body left, and resumed here only; the
            // addresses are those that libc chose for this thread.
            let id = unsafe {
                native::new_body(
                    base,
                    FLAGS as usize,
                    traits.pointer,
                    traits.tid_word,
                    traits.clear_tid,
                )
            };
            match id {
                1.. => Ok(()),
                error => Err(io::Error::from_raw_os_error(-error as i32)),
            }
        };
        match sys::guarded(Call::Clone, body) {
            Ok(()) => Ok(Ended(self.0)),
            Err(error) => Err((self, error)),
        }
    }
}

/// A donor that has its kernel thread back and runs to its end.
#[derive(Debug)]
#[must_use = "its stack comes back only when it is joined"]
pub struct Ended(pub(super) NonNull<Control>);

// SAFETY: a right to join, which any thread may do.
unsafe impl Send for Ended {}

unsafe extern "C" {
    fn pthread_tryjoin_np(thread: libc::pthread_t, result: *mut *mut c_void) -> c_int;
}

impl Ended {
    /// Gives the stack back if the thread has ended.
    ///
    /// # Errors
    /// Itself, if it has not.
    pub fn try_join(self) -> Result<(), Ended> {
        // SAFETY: joinable, and joined once: on success `self` goes.
        unsafe {
            match pthread_tryjoin_np(self.0.as_ref().handle, core::ptr::null_mut()) {
                libc::EBUSY => Err(self),
                _ => {
                    self.free();
                    Ok(())
                }
            }
        }
    }

    /// Waits for the thread's end, in the kernel, and gives the stack back.
    pub fn join(self) {
        // SAFETY: as above.
        unsafe {
            libc::pthread_join(self.0.as_ref().handle, core::ptr::null_mut());
            self.free();
        }
    }

    /// # Safety
    /// The thread has been joined.
    unsafe fn free(self) {
        // SAFETY: nobody else knows the box; libc has forgotten the stack.
        unsafe {
            let mut control = Box::from_raw(self.0.as_ptr());
            StackPool::global().give(ManuallyDrop::take(&mut control.stack));
        }
    }
}

/// On the last body: libc and the kernel belong together again.
///
/// # Safety
/// Called by the thread itself, as the first thing on its last body.
pub(super) unsafe fn attach(control: &Control) {
    // SAFETY: written by the first body; the finale by the donor's owner, before this body was made.
    let (traits, finale) = unsafe {
        (
            control.host.with(|host| *host),
            control.finale.with_mut(|place| (*place).take()),
        )
    };
    traits.restore_robust_list();
    match finale {
        Some(finale) => {
            current::set(finale.current);
            after_destructors(finale);
        }
        None => current::set(core::ptr::null()),
    }
}

/// Rounds of key destructors: POSIX's minimum, and what glibc and musl do.
const ROUNDS: u32 = 4;

struct Waiting {
    rounds_left: u32,
    finale: Finale,
}

fn after_destructors(finale: Finale) {
    let waiting = Box::into_raw(Box::new(Waiting {
        rounds_left: ROUNDS,
        finale,
    }));
    if !set_key(waiting) {
        // No key, no memory: better too early than never.
        // SAFETY: made above, and not given away.
        unsafe { run(Box::from_raw(waiting)) };
    }
}

fn set_key(waiting: *mut Waiting) -> bool {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    let key = *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: writes a key; the destructor takes what `set_key` stores.
        let code = unsafe { libc::pthread_key_create(&mut key, Some(one_round)) };
        (code == 0).then_some(key)
    });
    // SAFETY: the key is ours.
    key.is_some_and(|key| unsafe { libc::pthread_setspecific(key, waiting.cast()) } == 0)
}

unsafe extern "C" fn one_round(waiting: *mut c_void) {
    let waiting = waiting.cast::<Waiting>();
    // SAFETY: `set_key` stored a box, which is ours until it is stored again.
    unsafe {
        (*waiting).rounds_left -= 1;
        if (*waiting).rounds_left == 0 || !set_key(waiting) {
            run(Box::from_raw(waiting));
        }
    }
}

/// # Safety
/// Called once for a finale, on its thread.
unsafe fn run(waiting: Box<Waiting>) {
    let finale = waiting.finale;
    drop(waiting);
    // SAFETY: by `Finale`'s contract.
    unsafe { (finale.run)(finale.current, finale.data) };
    current::set(core::ptr::null());
}
