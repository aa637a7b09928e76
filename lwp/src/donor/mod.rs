//! Donors: threads of libc whose kernel thread has gone and whose stack, control block and
//! thread-locals live on.
//!
//! A stackful thread that moves between kernel threads is unsound in safe Rust as long as
//! thread-locals belong to the kernel thread. So a *full* thread has its own: it runs on a stack
//! that libc knows as a thread, under that thread's own thread pointer, wherever it runs.
//!
//! ```text
//!   pthread_create            leave the body                                    new body
//!   on a stack of ours        (raw exit)                                        (raw clone)
//!        │                        │                                                │
//!   starts: learns its       DONOR: stack + thread pointer.                   runs the thread's
//!   thread pointer, makes    Any kernel thread resumes what is put    ──────► destructors, returns
//!   libc forget the kernel   on the stack below `base`, under that            through libc, is
//!   thread, saves `base`     thread pointer                                   joined
//! ```
//!
//! Making the control block by hand (`_dl_allocate_tls`) was tried and rejected: a fork in such a
//! thread crashes, and libraries with initial-exec thread-locals read zeros. What libc has made
//! itself, it can work with.
//!
//! # What the first body does before it leaves ([`host`])
//! - signals blocked: no handler of the program runs while libc's idea of the thread is changed;
//! - restartable sequences unregistered, so that `sched_getcpu` asks the kernel from now on;
//! - the robust list detached (the kernel would walk it when the body exits);
//! - libc's thread id replaced by one that no kernel thread has (above 2^22) and no other donor:
//!   recursive and error-checking mutexes know their owner by it, wherever the thread runs;
//! - the address that the kernel clears at exit moved to a word of ours, which tells when the body
//!   is gone.
//!
//! # The end
//! The kernel thread made by `clone` gets libc's thread id word and the address to clear back, and
//! resumes `base`, which returns into libc: thread-local destructors run as in any thread. If the
//! system refuses the kernel thread, the donor is as it was and can be ended later.
//!
//! # Invariants
//! - A donor is in one place: an owner's [`Donor`], one list, or [`Ended`].
//! - Whoever resumes a context on its stack does so under its thread pointer, and under no other.
//! - Nothing runs on it while a new body is being made.

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use std::io;

use crate::arch::{Context, native};
use crate::current::Slot;
use crate::shim::{AtomicU32, Cell, Ordering};
use crate::stack::{Stack, StackPool, StackSize};
use crate::sys::{self, Call};

mod end;
mod fork;
mod host;
mod list;
mod setxid;

pub use end::{Ended, Finale};
pub use fork::{after_fork_in_child, before_fork};
pub use host::{Unsupported, support};
pub use list::{Donors, List, Stage};
pub use setxid::{Carrier, register_carrier};

/// A thread of libc without a kernel thread; see the [module](self). It must be
/// [ended](Donor::end): one that is dropped instead stays reserved.
#[derive(Debug)]
#[must_use = "a donor that is dropped is lost"]
pub struct Donor(NonNull<Control>);

// SAFETY: a donor is memory with one owner; nothing in it belongs to a kernel thread.
unsafe impl Send for Donor {}
// SAFETY: through a shared reference one only reads what is immutable.
unsafe impl Sync for Donor {}

/// What is known of a donor. In a box of its own.
#[derive(Debug)]
struct Control {
    /// 1 until the first body is gone; then the kernel clears it and wakes.
    body: AtomicU32,
    /// Why the first body could not become a donor; 0 if it did.
    error: Cell<i32>,
    /// Resuming it ends the donor's life.
    base: Cell<Context>,
    /// What the first body found out about itself.
    host: Cell<host::Traits>,
    /// What is left to do when the thread's destructors have run.
    finale: Cell<Option<Finale>>,
    /// The next one in the list that owns it.
    next: Cell<Option<NonNull<Control>>>,
    stack: ManuallyDrop<Stack>,
    handle: libc::pthread_t,
}

/// A donor whose first body may still be there.
#[derive(Debug)]
#[must_use = "a donor that is dropped is lost"]
pub struct Starting(NonNull<Control>);

// SAFETY: as for `Donor`.
unsafe impl Send for Starting {}

/// Distance between what the first body keeps on the stack and what others put there.
const RED_ZONE: usize = 256;

impl Donor {
    /// Starts a thread that will become a donor with a stack of this class, or of the smallest that
    /// libc takes.
    ///
    /// # Errors
    /// If the system refuses a stack or a kernel thread; [`Unsupported`] where the technique does
    /// not work.
    pub fn start(class: StackSize) -> io::Result<Starting> {
        support()?;
        let stack = StackPool::global().take(class.fitting_libc())?;
        let control = Box::into_raw(Box::new(Control {
            body: AtomicU32::new(1),
            error: Cell::new(0),
            base: Cell::new(Context::EMPTY),
            host: Cell::new(host::Traits::UNKNOWN),
            finale: Cell::new(None),
            next: Cell::new(None),
            stack: ManuallyDrop::new(stack),
            handle: 0 as libc::pthread_t,
        }));
        // SAFETY: the stack is ours and stays until the thread has been joined; the control block
        // is not touched here before the body says so, but for the handle, which it does not read.
        let created = sys::guarded(Call::Clone, || unsafe {
            host::create(&(*control).stack, donate, control.cast())
        });
        match created {
            Ok(handle) => {
                // SAFETY: as above.
                unsafe { (*control).handle = handle };
                // SAFETY: a box is not at null.
                Ok(Starting(unsafe { NonNull::new_unchecked(control) }))
            }
            Err(error) => {
                // SAFETY: no thread has seen it.
                let mut control = unsafe { Box::from_raw(control) };
                // SAFETY: taken once, the box goes.
                StackPool::global().give(unsafe { ManuallyDrop::take(&mut control.stack) });
                Err(error)
            }
        }
    }

    /// Makes a donor: [`Donor::start`], then [`Starting::wait`].
    ///
    /// # Errors
    /// As they.
    pub fn make(class: StackSize) -> io::Result<Donor> {
        Donor::start(class)?.wait()
    }

    fn control(&self) -> &Control {
        // SAFETY: the box lives as long as the donor.
        unsafe { self.0.as_ref() }
    }

    /// The thread pointer under which alone its stack may be used.
    #[inline]
    pub fn thread_pointer(&self) -> usize {
        // SAFETY: written by the first body only, which is gone.
        self.control().host.with(|host| unsafe { (*host).pointer })
    }

    /// Its word for the current flow: see [`current`](crate::current).
    #[inline]
    pub fn slot(&self) -> Slot {
        // SAFETY: as above.
        self.control().host.with(|host| unsafe { (*host).slot })
    }

    /// Where the first frame of what is to run on it goes; 64-aligned.
    #[inline]
    pub fn top(&self) -> *mut u8 {
        // SAFETY: written by the first body only, which is gone.
        let base = self.control().base.with(|base| unsafe { *base }).address();
        let top = (base - RED_ZONE) & !63;
        self.control().stack.top().with_addr(top)
    }

    /// The lowest usable byte of its stack; below it lies the guard.
    #[inline]
    pub fn limit(&self) -> *mut u8 {
        self.control().stack.limit()
    }

    /// Usable bytes, from [`Donor::limit`] to [`Donor::top`].
    #[inline]
    pub fn size(&self) -> usize {
        self.top() as usize - self.limit() as usize
    }

    /// Its stack.
    #[inline]
    pub fn stack(&self) -> &Stack {
        &self.control().stack
    }

    /// Sets what is left to do at the end, when the thread's destructors have run.
    pub fn set_finale(&mut self, finale: Option<Finale>) {
        // SAFETY: the donor is suspended, and ours.
        self.control()
            .finale
            .with_mut(|place| unsafe { *place = finale });
    }
}

impl Starting {
    /// Whether its stack is of this class.
    pub fn is_of(&self, class: StackSize) -> bool {
        // SAFETY: the box lives as long as the donor; the stack stays in its place.
        unsafe { self.0.as_ref() }.stack.class() == class.fitting_libc()
    }

    /// Whether [`Starting::wait`] would return at once.
    pub fn is_ready(&self) -> bool {
        // SAFETY: the box lives as long as the donor. Acquire: pairs with the kernel's store, or
        // with the Release in `donate`.
        unsafe { self.0.as_ref() }.body.load(Ordering::Acquire) == 0
    }

    /// Waits until the first body is gone, in the kernel.
    ///
    /// # Errors
    /// If it could not become a donor.
    pub fn wait(self) -> io::Result<Donor> {
        // SAFETY: the box lives as long as the donor.
        let control = unsafe { self.0.as_ref() };
        while !self.is_ready() {
            host::wait_while_one(&control.body);
        }
        // SAFETY: the body has written it and is gone.
        let error = control.error.with(|error| unsafe { *error });
        if error == 0 {
            return Ok(Donor(self.0));
        }
        // The body has returned to libc, or will in a moment.
        Ended(self.0).join();
        Err(io::Error::from_raw_os_error(error))
    }
}

/// The thread's first function, on its first body; and, on the last one, what follows.
extern "C" fn donate(control: *mut c_void) -> *mut c_void {
    let control = control.cast::<Control>();
    // SAFETY: the creator leaves the box alone until the body says that it may.
    let control_ref = unsafe { &*control };
    // SAFETY: this is the thread itself, newly made.
    match unsafe { host::detach(&control_ref.stack, &control_ref.body) } {
        Ok(traits) => {
            // SAFETY: nobody reads it before `body` is cleared.
            control_ref.host.with_mut(|host| unsafe { *host = traits });
        }
        Err(error) => {
            control_ref
                .error
                // SAFETY: as above.
                .with_mut(|place| unsafe { *place = error });
            // Release: pairs with the Acquire in `is_ready`.
            control_ref.body.store(0, Ordering::Release);
            host::wake(&control_ref.body);
            return core::ptr::null_mut();
        }
    }
    let base = control_ref.base.with_mut(|base| base);
    // SAFETY: the kernel clears `body` when this kernel thread has gone, and nobody resumes the
    // context before that.
    unsafe { native::leave_body(base) };
    // Here begins the end, on a kernel thread made by `Donor::end`.
    // SAFETY: this is the thread itself again.
    unsafe { end::attach(&*control) };
    core::ptr::null_mut()
}

#[cfg(all(test, not(lisle_model)))]
mod tests;
