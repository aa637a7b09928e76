//! Waiting for signals, with tokio's names, as blocking calls that hold no LWP.
//!
//! # How
//!
//! The handler counts the signal and writes to one event descriptor, which is
//! never closed. Whoever waits has a duplicate of it in a reactor, is woken by
//! every signal, and compares counts. So nothing that the handler touches ever
//! goes away, there may be any number of listeners, and no signal that came
//! after a listener was made is missed (several at a time count as one).
//!
//! A handler, once installed, stays for the life of the process: a signal that
//! would have ended the process does so no longer. It takes the place of the
//! handler that was there before. Programs started by `exec` have the system's.

mod quit;
pub mod unix;

use std::io;
use std::time::Instant;

pub use self::quit::dump_on_quit;
use self::unix::{SignalKind, signal};

/// Waits until the process is interrupted (`SIGINT`, Ctrl-C), from the call on.
/// A cancellation point. From the first call on, an interrupt no longer ends the
/// process; to miss none, make a [`unix::Signal`] early and wait on that.
///
/// # Errors
/// If the system refuses the handler or a descriptor.
///
/// ```no_run
/// # use lisle_runtime as lisle;
/// lisle::signal::ctrl_c()?;
/// println!("interrupted");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn ctrl_c() -> io::Result<()> {
    signal(SignalKind::interrupt())?.recv()
}

/// As [`ctrl_c`], until the deadline at most.
///
/// # Errors
/// As [`ctrl_c`]; `TimedOut` once the deadline has passed.
pub fn ctrl_c_deadline(deadline: Instant) -> io::Result<()> {
    signal(SignalKind::interrupt())?.recv_deadline(deadline)
}
