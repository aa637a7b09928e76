//! What a donor needs of libc and the kernel.
//!
//! Neither documents where a thread's id lies in its control block, so it is looked for, once per
//! process: the one offset at which two new threads hold their own ids. Every donor checks it again
//! before it writes there.

use core::ffi::{c_int, c_void};
use core::fmt;
use core::mem::MaybeUninit;
use std::io;
use std::sync::OnceLock;

use crate::arch::native;
use crate::current::{self, Slot};
use crate::shim::AtomicU32;
use crate::stack::Stack;
use crate::sys;

/// Why full threads are not available on this system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// Built for a libc, or a checker's backend, that the technique was not made for.
    Build,
    /// libc keeps a thread's id where it could not be found.
    ThreadId,
    /// The kernel does not tell which address it clears when a thread ends
    /// (`PR_GET_TID_ADDRESS`), and this libc is not known to have said.
    TidAddress,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("threads with thread-locals of their own are not available: ")?;
        f.write_str(match self {
            Unsupported::Build => "this build is not for glibc or musl on Linux",
            Unsupported::ThreadId => "this libc keeps a thread's id in an unknown place",
            Unsupported::TidAddress => "the kernel or sandbox refuses prctl(PR_GET_TID_ADDRESS)",
        })
    }
}

impl core::error::Error for Unsupported {}

impl From<Unsupported> for io::Error {
    fn from(error: Unsupported) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, error)
    }
}

/// Whether donors can be made in this process; asked of the system once.
///
/// # Errors
/// Why not.
pub fn support() -> Result<(), Unsupported> {
    tid_offset().map(drop)
}

const PR_GET_TID_ADDRESS: c_int = 40;

/// Bytes of libc's control block, from the address that `pthread_self` returns, that may be read.
const CONTROL_BLOCK: usize = if cfg!(target_env = "gnu") { 1024 } else { 128 };

/// Where, in bytes from `pthread_self()`, libc keeps a thread's id.
fn tid_offset() -> Result<usize, Unsupported> {
    static OFFSET: OnceLock<Result<usize, Unsupported>> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        if cfg!(lisle_model) || !cfg!(any(target_env = "gnu", target_env = "musl")) {
            return Err(Unsupported::Build);
        }
        if clear_tid_address(core::ptr::null_mut()).is_err() {
            return Err(Unsupported::TidAddress);
        }
        let look = || std::thread::spawn(own_id_offsets).join();
        let (Ok(one), Ok(other)) = (look(), look()) else {
            return Err(Unsupported::ThreadId);
        };
        let mut both = one.into_iter().filter(|offset| other.contains(offset));
        match (both.next(), both.next()) {
            (Some(offset), None) => Ok(offset),
            _ => Err(Unsupported::ThreadId),
        }
    })
}

/// All offsets at which the calling thread's control block holds its id.
fn own_id_offsets() -> Vec<usize> {
    let id = sys::gettid();
    (0..CONTROL_BLOCK)
        .step_by(size_of::<i32>())
        // SAFETY: the address is aligned and inside this thread's control block.
        .filter(|&offset| unsafe { own_word(offset).read_volatile() } == id)
        .collect()
}

/// The word at this offset of the calling thread's control block.
fn own_word(offset: usize) -> *mut i32 {
    // SAFETY: no preconditions.
    let block = unsafe { libc::pthread_self() } as usize;
    (block + offset) as *mut i32
}

/// Where the kernel writes 0 when the calling kernel thread ends. A kernel without
/// `CONFIG_CHECKPOINT_RESTORE`, and user-mode emulators, know no such question and say
/// `EINVAL`; but glibc's joins wait for the very word in which a thread's id stands. A
/// sandbox that refuses the question means it.
fn clear_tid_address(tid_word: *mut i32) -> Result<*mut i32, i32> {
    let mut address: *mut i32 = core::ptr::null_mut();
    // SAFETY: the kernel writes one pointer.
    match unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut address, 0, 0, 0) } {
        0 => Ok(address),
        _ if cfg!(target_env = "gnu") && errno() == libc::EINVAL => Ok(tid_word),
        _ => Err(errno()),
    }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Creates a joinable thread of libc on a stack of ours.
///
/// # Safety
/// The stack belongs to the thread until it has been joined; `data` is what `body` wants.
pub(super) unsafe fn create(
    stack: &Stack,
    body: extern "C" fn(*mut c_void) -> *mut c_void,
    data: *mut c_void,
) -> io::Result<libc::pthread_t> {
    let check = |code: c_int| match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    };
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialised first, destroyed last; the stack is the caller's.
    unsafe {
        check(libc::pthread_attr_init(attributes.as_mut_ptr()))?;
        let place = stack.limit().cast();
        let set = check(libc::pthread_attr_setstack(
            attributes.as_mut_ptr(),
            place,
            stack.size(),
        ));
        let mut handle = MaybeUninit::uninit();
        let created = set.and_then(|()| {
            check(libc::pthread_create(
                handle.as_mut_ptr(),
                attributes.as_ptr(),
                body,
                data,
            ))
        });
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        created?;
        // Libc sets its handler with the first thread, so it is there now.
        super::setxid::wrap();
        Ok(handle.assume_init())
    }
}

/// What a first body found out about its thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    pub(super) pointer: usize,
    pub(super) slot: Slot,
    pub(super) tid_word: *mut i32,
    /// What the kernel is to clear at the thread's end.
    pub(super) clear_tid: *mut i32,
    robust_list: *const c_void,
    robust_size: usize,
}

impl Traits {
    pub(super) const UNKNOWN: Traits = Traits {
        pointer: 0,
        slot: core::ptr::null(),
        tid_word: core::ptr::null_mut(),
        clear_tid: core::ptr::null_mut(),
        robust_list: core::ptr::null(),
        robust_size: 0,
    };

    /// Gives the kernel libc's robust list again.
    pub(super) fn restore_robust_list(&self) {
        if self.robust_size == 0 {
            return;
        }
        // SAFETY: the list is the calling thread's own. A refusal leaves the thread without one,
        // which harms only robust mutexes that its destructors hold.
        unsafe {
            libc::syscall(
                libc::SYS_set_robust_list,
                self.robust_list,
                self.robust_size,
            )
        };
    }
}

/// Makes libc and the kernel forget that they belong together; afterwards the calling kernel thread
/// must do nothing but leave. When it has left, the kernel clears `gone` and wakes its waiters.
///
/// # Errors
/// An error number; then nothing has changed but the signal mask.
///
/// # Safety
/// Called by a new thread of libc, on its own body, which runs on `stack`.
pub(super) unsafe fn detach(stack: &Stack, gone: &AtomicU32) -> Result<Traits, i32> {
    block_signals();
    let tid_word = own_word(tid_offset().map_err(|_| libc::ENOTSUP)?);
    // SAFETY: inside this thread's control block.
    if unsafe { tid_word.read_volatile() } != sys::gettid() {
        return Err(libc::ENOTSUP);
    }
    let (mut robust_list, mut robust_size) = (core::ptr::null::<c_void>(), 0usize);
    // SAFETY: the kernel writes both.
    let got = unsafe {
        libc::syscall(
            libc::SYS_get_robust_list,
            0,
            &raw mut robust_list,
            &raw mut robust_size,
        )
    };
    if got != 0 {
        // A kernel without such lists, or an emulator: there is nothing to forget.
        (robust_list, robust_size) = (core::ptr::null(), 0);
    }
    let traits = Traits {
        pointer: native::thread_pointer(),
        slot: current::slot(),
        tid_word,
        clear_tid: clear_tid_address(tid_word)?,
        robust_list,
        robust_size,
    };
    // SAFETY: the rest changes what belongs to this thread alone, and cannot fail in a way that
    // matters: without a robust list and a sequence the kernel has nothing to write to later.
    unsafe {
        // First: see `block_signals`.
        tid_word.write_volatile(stack.thread_number() as i32);
        unregister_rseq(traits.pointer);
        let none = core::ptr::null::<c_void>();
        if robust_size > 0 {
            libc::syscall(libc::SYS_set_robust_list, none, robust_size);
        }
        libc::syscall(libc::SYS_set_tid_address, core::ptr::from_ref(gone));
    }
    Ok(traits)
}

/// All of them but the one by which libc changes credentials: whoever calls `setuid` waits for every
/// kernel thread to which it could send it, and this one will not be there to handle it later. It is
/// sent to the id in the thread's control block; once that has been replaced, no more is sent, and the
/// system calls that remain give the last one the time to arrive. (libc's own threads shake hands
/// with the sender before they leave, by words of which we do not know the place.)
fn block_signals() {
    let all = !(1u64 << (super::setxid::SIGSETXID - 1));
    let none = core::ptr::null_mut::<u64>();
    // SAFETY: reads one set of the kernel's size. Signals of a thread that is about to leave.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const all,
            none,
            8usize,
        );
    }
}

/// Ends the calling kernel thread's registration for restartable sequences, if libc has made one for
/// the thread with this pointer.
pub(super) unsafe fn unregister_rseq(pointer: usize) {
    const RSEQ_FLAG_UNREGISTER: usize = 1;
    const AT_RSEQ_FEATURE_SIZE: libc::c_ulong = 27;
    const AT_RSEQ_ALIGN: libc::c_ulong = 28;
    /// What libc registers where the kernel knows no more.
    const ORIGINAL: usize = 32;
    let (offset, size) = native::rseq_variables();
    // SAFETY: libc's own variables, or null.
    if offset.is_null() || size.is_null() || unsafe { *size } == 0 {
        return;
    }
    // SAFETY: as above; getauxval has no preconditions.
    let (area, feature, align) = unsafe {
        (
            pointer.wrapping_add_signed(*offset),
            libc::getauxval(AT_RSEQ_FEATURE_SIZE) as usize,
            libc::getauxval(AT_RSEQ_ALIGN).max(32) as usize,
        )
    };
    // The kernel wants to be told the size that was registered.
    for size in [ORIGINAL, feature.max(ORIGINAL).next_multiple_of(align)] {
        // SAFETY: the area is the calling thread's.
        let done = unsafe {
            libc::syscall(
                libc::SYS_rseq,
                area,
                size,
                RSEQ_FLAG_UNREGISTER,
                native::RSEQ_SIGNATURE,
            )
        };
        if done == 0 {
            return;
        }
    }
}

/// Sleeps while the word is 1. The kernel's own wake-up at a thread's end is for shared words, so
/// the wait must be, too.
pub(super) fn wait_while_one(word: &AtomicU32) {
    let forever = core::ptr::null::<libc::timespec>();
    // SAFETY: the word outlives the call. Any error means: look again.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            core::ptr::from_ref(word),
            libc::FUTEX_WAIT,
            1,
            forever,
        );
    }
}

/// Wakes who sleeps there.
pub(super) fn wake(word: &AtomicU32) {
    // SAFETY: the kernel does not access the word.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            core::ptr::from_ref(word),
            libc::FUTEX_WAKE,
            c_int::MAX,
        );
    }
}
