//! Waiting for child processes without holding an LWP.
//!
//! Children are std's; these functions take the places of std's methods of the
//! same names, which would block the LWP. A child is waited for through a
//! descriptor of it (`pidfd_open`), or, where the kernel has none (before 5.3),
//! by a helper kernel thread per child.
//!
//! ```
//! # use lisle_runtime as lisle;
//! use std::process::Command;
//! use lisle::process;
//!
//! let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
//! assert_eq!(process::wait(&mut child)?.code(), Some(3));
//!
//! let output = process::output(Command::new("echo").arg("hello"))?;
//! assert_eq!(output.stdout, b"hello\n");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::future::poll_fn;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::task::{Context, Poll};
use std::time::Instant;

use lisle_lwp::sys::{self, Call};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::future::block_on;
use crate::helpers::Helpers;
use crate::io::{Interest, Source};

/// For kernels without descriptors of processes.
static WATCHERS: Helpers = Helpers::new(1024);

/// Waits until the child has ended, and reaps it. As std's, it closes the
/// child's standard input first, if that is a pipe. May be called again. A
/// cancellation point: a child whose wait was cancelled can be waited for again.
///
/// # Errors
/// As [`Child::wait`]; and if the default runtime cannot be started or the
/// system refuses a descriptor.
pub fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    wait_until(child, None)
}

/// As [`wait`], until the deadline at most.
///
/// # Errors
/// As [`wait`]; `TimedOut` once the deadline has passed, and the child lives on.
pub fn wait_deadline(child: &mut Child, deadline: Instant) -> io::Result<ExitStatus> {
    wait_until(child, Some(deadline))
}

fn wait_until(child: &mut Child, deadline: Option<Instant>) -> io::Result<ExitStatus> {
    crate::cancel::checkpoint();
    drop(child.stdin.take());
    // What is reaped has no descriptor, and its number may be another's.
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let pid = Pid::from_child(child);
    let descriptor = sys::guarded(Call::Open, || Ok(pidfd_open(pid, PidfdFlags::empty())?));
    match descriptor {
        Ok(descriptor) => {
            let source = Source::new(descriptor);
            source.when_ready(Interest::Read, deadline, |_| match child.try_wait()? {
                Some(status) => Ok(status),
                None => Err(io::ErrorKind::WouldBlock.into()),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::Unsupported || lacks(&error) => {
            // Leaves the child to be reaped below.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            WATCHERS.call(deadline, move || {
                let wait = || sys::guarded(Call::Wait, || Ok(waitid(WaitId::Pid(pid), options)?));
                while wait().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
            })?;
            child.wait()
        }
        Err(error) => Err(error),
    }
}

/// Whether the kernel does not know the call, or a filter forbids it.
fn lacks(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [libc::ENOSYS, libc::EPERM, libc::EINVAL]
        .into_iter()
        .any(|lacking| number == Some(lacking))
}

/// Waits until the child has ended, and collects what it writes to pipes.
///
/// # Errors
/// As [`Child::wait_with_output`].
pub fn wait_with_output(mut child: Child) -> io::Result<Output> {
    drop(child.stdin.take());
    let mut stdout = Collector::new(child.stdout.take())?;
    let mut stderr = Collector::new(child.stderr.take())?;
    block_on(poll_fn(|context| {
        // Both, or a child that fills one pipe while we read the other hangs.
        match (stdout.poll(context), stderr.poll(context)) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }))?;
    Ok(Output {
        status: wait(&mut child)?,
        stdout: stdout.collected,
        stderr: stderr.collected,
    })
}

/// Runs a command to its end: [`Command::status`].
///
/// # Errors
/// As std's.
pub fn status(command: &mut Command) -> io::Result<ExitStatus> {
    wait(&mut command.spawn()?)
}

/// Runs a command to its end and collects what it writes: [`Command::output`],
/// but both outputs are always pipes, and the input is empty.
///
/// # Errors
/// As std's.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    wait_with_output(command.spawn()?)
}

/// Reads a pipe to its end.
struct Collector<P: AsFd> {
    pipe: Option<Source<P>>,
    collected: Vec<u8>,
}

impl<P: AsFd + Read> Collector<P> {
    fn new(pipe: Option<P>) -> io::Result<Collector<P>> {
        if let Some(pipe) = &pipe {
            sys::guarded(Call::Control, || Ok(rustix::io::ioctl_fionbio(pipe, true)?))?;
        }
        Ok(Collector {
            pipe: pipe.map(Source::new),
            collected: Vec::new(),
        })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Collector { pipe, collected } = self;
        while let Some(source) = pipe {
            let mut piece = [0; 4096];
            let read = source.poll_ready(Interest::Read, context, |pipe| {
                sys::guarded(Call::Read, || Ok(rustix::io::read(pipe, &mut piece)?))
            });
            match read {
                Poll::Ready(Ok(0)) => *pipe = None,
                Poll::Ready(Ok(n)) => collected.extend_from_slice(&piece[..n]),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
