//! Kernel threads made by libc alone, for the runtime itself.
//!
//! Threads of `std::thread` begin and end under a lock of std's, which guards what its report of a
//! stack overflow has to know of each of them, and they allocate under it. A child that is forked
//! meanwhile finds that lock held for ever, and so can start no thread of std's. But a runtime must
//! be able to start in a forked child, whatever the parent's threads were doing.
//!
//! What std's threads have and these have not: a name in `std::thread::current()` (the kernel knows
//! it), a report of their own stack's overflow (the process ends by the signal), and a panic that is
//! handed to whoever joins them (it aborts the process).

use core::ffi::{c_int, c_void};
use core::fmt;
use core::mem::MaybeUninit;
use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::shim::{AtomicBool, Ordering};
use crate::sys;

/// What such a thread gets for its stack unless the caller says otherwise: as std's.
const STACK: usize = 2 << 20;

/// A kernel thread, to be joined. Dropping it detaches the thread.
pub struct KernelThread {
    /// Until it is joined or detached.
    handle: Option<libc::pthread_t>,
    ended: Arc<AtomicBool>,
}

// SAFETY: any thread may join or detach another; musl's handles are pointers, which nobody follows here.
unsafe impl Send for KernelThread {}
// SAFETY: a shared reference gives the handle to nobody.
unsafe impl Sync for KernelThread {}

impl fmt::Debug for KernelThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("KernelThread");
        shown.field("finished", &self.is_finished()).finish()
    }
}

/// What the new thread finds.
struct Start {
    name: CString,
    ended: Arc<AtomicBool>,
    body: Box<dyn FnOnce() + Send>,
}

impl KernelThread {
    /// Starts a kernel thread of that name, of which the kernel keeps 15 bytes. The stack has
    /// `stack` bytes, or 2 MiB.
    ///
    /// # Errors
    /// The system's; a name with a zero in it.
    pub fn spawn(
        name: &str,
        stack: Option<usize>,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<KernelThread> {
        let ended = Arc::new(AtomicBool::new(false));
        let start = Box::into_raw(Box::new(Start {
            name: CString::new(name)?,
            ended: ended.clone(),
            body: Box::new(body),
        }));
        match create(stack.unwrap_or(STACK), start.cast()) {
            Ok(handle) => Ok(KernelThread {
                handle: Some(handle),
                ended,
            }),
            Err(error) => {
                // SAFETY: there is no thread that could have taken it.
                drop(unsafe { Box::from_raw(start) });
                Err(error)
            }
        }
    }

    /// Whether its body has returned. Its thread-locals may still be being destroyed.
    pub fn is_finished(&self) -> bool {
        // Acquire: pairs with the Release in `begin`.
        self.ended.load(Ordering::Acquire)
    }

    /// It is to end: from now on the kernel lets it run as others, should it have chosen to run only
    /// where nobody else wants to. Whoever waits for it would wait for an idle CPU.
    pub fn end_soon(&self) {
        let Some(handle) = self.handle else { return };
        // SAFETY: neither joined nor detached; all zeroes are parameters.
        unsafe {
            let (mut policy, mut parameters) = (0, core::mem::zeroed());
            if libc::pthread_getschedparam(handle, &mut policy, &mut parameters) == 0
                && policy == libc::SCHED_IDLE
            {
                libc::pthread_setschedparam(handle, libc::SCHED_OTHER, &parameters);
            }
        }
    }

    /// Waits until the thread has ended, destructors of thread-locals included.
    pub fn join(mut self) {
        if let Some(handle) = self.handle.take() {
            // SAFETY: joinable, and neither joined nor detached: both take the handle.
            unsafe { libc::pthread_join(handle, core::ptr::null_mut()) };
        }
    }
}

impl Drop for KernelThread {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            // SAFETY: as in `join`.
            unsafe { libc::pthread_detach(handle) };
        }
    }
}

fn check(error: c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn create(stack: usize, data: *mut c_void) -> io::Result<libc::pthread_t> {
    let page = sys::page_size();
    let size = stack.max(sys::thread_stack_min() + page);
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let mut handle = MaybeUninit::uninit();
    // SAFETY: initialised first, destroyed last; `begin` takes what `data` points to.
    unsafe {
        let attributes = attributes.as_mut_ptr();
        check(libc::pthread_attr_init(attributes))?;
        let created = check(libc::pthread_attr_setstacksize(
            attributes,
            size.next_multiple_of(page),
        ))
        .and_then(|()| {
            check(libc::pthread_create(
                handle.as_mut_ptr(),
                attributes,
                begin,
                data,
            ))
        });
        libc::pthread_attr_destroy(attributes);
        created?;
        Ok(handle.assume_init())
    }
}

/// Where such threads start. A panic does not leave it: it aborts the process.
extern "C" fn begin(data: *mut c_void) -> *mut c_void {
    // SAFETY: from `spawn`, once.
    let Start { name, ended, body } = *unsafe { Box::from_raw(data.cast::<Start>()) };
    sys::set_thread_name(&name);
    body();
    // Release: what the body did; pairs with the Acquire in `is_finished`.
    ended.store(true, Ordering::Release);
    core::ptr::null_mut()
}

#[cfg(test)]
mod tests {
    use super::KernelThread;
    use crate::sys;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_runs_under_its_name_and_is_joined() {
        let (sender, receiver) = channel();
        let (go, wait) = channel::<()>();
        let thread = KernelThread::spawn("lisle-with-a-long-name", Some(1), move || {
            let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
            sender.send(name).unwrap();
            wait.recv().unwrap_err();
        })
        .unwrap();
        assert_eq!(receiver.recv().unwrap(), "lisle-with-a-lo\n");
        assert!(!thread.is_finished());
        drop(go);
        thread.join();
    }

    #[test]
    fn one_that_runs_where_nobody_else_does_ends_like_others() {
        let (sender, receiver) = channel();
        let (go, wait) = channel::<()>();
        // SAFETY: plain system call.
        let policy = || unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        let thread = KernelThread::spawn("lisle", None, move || {
            sys::become_idle_on(sys::allowed_cpus()[0]).unwrap();
            sender.send(policy()).unwrap();
            wait.recv().unwrap_err();
            sender.send(policy()).unwrap();
        });
        let thread = thread.unwrap();
        assert_eq!(receiver.recv().unwrap(), libc::SCHED_IDLE.into());
        thread.end_soon();
        drop(go);
        assert_eq!(receiver.recv().unwrap(), libc::SCHED_OTHER.into());
        thread.join();
    }

    #[test]
    fn a_dropped_one_goes_on() {
        let (sender, receiver) = channel();
        let thread = KernelThread::spawn("lisle", None, move || sender.send(5).unwrap());
        drop(thread.unwrap());
        assert_eq!(receiver.recv().unwrap(), 5);
    }

    #[test]
    fn a_name_with_a_zero_is_refused() {
        let error = KernelThread::spawn("a\0b", None, || ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
