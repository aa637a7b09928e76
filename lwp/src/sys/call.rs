//! The kinds of system calls, by which faults are planned.

/// What kind of system call a site makes; see [`guarded`](super::guarded).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Call {
    /// Reserving address space.
    Mmap,
    /// Giving address space back.
    Munmap,
    /// Changing the protection of pages.
    Mprotect,
    /// Advice about pages, guard regions included.
    Madvise,
    /// Asking which pages are resident.
    Mincore,
    /// Sleeping on a word.
    FutexWait,
    /// Setting the alternate signal stack.
    Sigaltstack,
    /// Setting a signal's action.
    Sigaction,
    /// Asking whether the kernel can read a word.
    Probe,
    /// Sending a signal to a kernel thread.
    Kill,
    /// Registering for, or issuing, a memory barrier in other threads.
    Membarrier,
    /// Starting a kernel thread.
    Clone,
    /// Setting a scheduling policy, affinity or nice value.
    Sched,
    /// Reading a clock.
    Clock,
    /// Making a poller, pipe or event descriptor.
    Create,
    /// Adding to, changing in or removing from a poller.
    Register,
    /// Waiting in a poller.
    Wait,
    /// Opening a file.
    Open,
    /// Making a socket.
    Socket,
    /// Binding a socket, or listening on it.
    Bind,
    /// Connecting a socket.
    Connect,
    /// Accepting a connection.
    Accept,
    /// Reading or receiving.
    Read,
    /// Writing or sending.
    Write,
    /// Getting or setting a descriptor's or the process's options.
    Control,
}

impl Call {
    /// Every kind of call, in the order of their numbers.
    #[cfg(any(test, feature = "faults"))]
    pub const ALL: [Call; 25] = [
        Call::Mmap,
        Call::Munmap,
        Call::Mprotect,
        Call::Madvise,
        Call::Mincore,
        Call::FutexWait,
        Call::Sigaltstack,
        Call::Sigaction,
        Call::Probe,
        Call::Kill,
        Call::Membarrier,
        Call::Clone,
        Call::Sched,
        Call::Clock,
        Call::Create,
        Call::Register,
        Call::Wait,
        Call::Open,
        Call::Socket,
        Call::Bind,
        Call::Connect,
        Call::Accept,
        Call::Read,
        Call::Write,
        Call::Control,
    ];

    /// The error the kernel is most likely to give for this call.
    pub const fn usual_errno(self) -> i32 {
        self.errnos()[0]
    }

    /// Errors that a correct program may get from this call, the most likely first. Not among them is
    /// what says only that a descriptor is not ready: whoever believes that waits until it is.
    pub const fn errnos(self) -> &'static [i32] {
        match self {
            Call::Mmap | Call::Munmap | Call::Mprotect => &[libc::ENOMEM],
            Call::Madvise => &[libc::ENOMEM, libc::EINVAL, libc::EAGAIN],
            Call::Mincore => &[libc::ENOMEM, libc::EAGAIN],
            Call::FutexWait | Call::Wait => &[libc::EINTR],
            Call::Read => &[libc::EINTR, libc::ECONNRESET],
            Call::Write => &[libc::EINTR, libc::EPIPE, libc::ECONNRESET],
            Call::Clone => &[libc::EAGAIN, libc::ENOMEM, libc::EPERM],
            Call::Sched => &[libc::EPERM, libc::EINVAL],
            Call::Membarrier => &[libc::EPERM, libc::ENOSYS, libc::EINVAL],
            Call::Create => &[libc::EMFILE, libc::ENFILE, libc::ENOMEM],
            Call::Open => &[
                libc::EMFILE,
                libc::ENFILE,
                libc::ENOENT,
                libc::EACCES,
                libc::EPERM,
                libc::EINVAL,
                libc::ENOSYS,
            ],
            Call::Socket => &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS],
            Call::Accept => &[
                libc::EMFILE,
                libc::ENFILE,
                libc::ENOMEM,
                libc::ENOBUFS,
                libc::EINTR,
                libc::ECONNABORTED,
            ],
            Call::Register => &[libc::ENOSPC, libc::ENOMEM, libc::EPERM],
            Call::Bind => &[libc::EADDRINUSE, libc::EACCES, libc::EADDRNOTAVAIL],
            Call::Connect => &[
                libc::ECONNREFUSED,
                libc::ETIMEDOUT,
                libc::ENETUNREACH,
                libc::EHOSTUNREACH,
                libc::EADDRNOTAVAIL,
            ],
            Call::Kill => &[libc::ESRCH, libc::EAGAIN],
            Call::Sigaltstack => &[libc::EINVAL, libc::ENOMEM],
            Call::Sigaction | Call::Probe | Call::Clock | Call::Control => &[libc::EINVAL],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_turn_back_into_calls() {
        for (number, &call) in Call::ALL.iter().enumerate() {
            assert_eq!(call as usize, number);
        }
    }
}
