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
    pub(super) const ALL: [Call; 25] = [
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
        match self {
            Call::Mmap | Call::Munmap | Call::Mprotect | Call::Madvise | Call::Mincore => {
                libc::ENOMEM
            }
            Call::FutexWait | Call::Wait | Call::Read | Call::Write => libc::EINTR,
            Call::Clone => libc::EAGAIN,
            Call::Sched | Call::Membarrier => libc::EPERM,
            Call::Create | Call::Open | Call::Socket | Call::Accept => libc::EMFILE,
            Call::Register => libc::ENOSPC,
            Call::Bind => libc::EADDRINUSE,
            Call::Connect => libc::ECONNREFUSED,
            Call::Kill => libc::ESRCH,
            Call::Sigaltstack | Call::Sigaction | Call::Probe | Call::Clock | Call::Control => {
                libc::EINVAL
            }
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
