//! Listeners for any signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Instant;

use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::{AtomicI32, AtomicU64, Ordering};
use lisle_lwp::sys::{self, Call};
use rustix::event::{EventfdFlags, eventfd};

use crate::io::{Interest, Source};

/// One more than the largest signal's number.
const SIGNALS: usize = 65;

/// How often each signal came. Release in the handler and Acquire in
/// `take`: what the sender did before is seen after.
static COUNTS: [AtomicU64; SIGNALS] = [const { AtomicU64::new(0) }; SIGNALS];

/// The event descriptor that handlers write to; -1 before there is one.
static KICK: AtomicI32 = AtomicI32::new(-1);

/// Which handlers are installed. Held while one is being.
static INSTALLED: RawLock<[bool; SIGNALS]> = RawLock::new([false; SIGNALS]);

/// A kind of signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

impl SignalKind {
    /// The signal with this number.
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// Its number.
    pub const fn as_raw_value(self) -> i32 {
        self.0
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:ident;)*) => {
        impl SignalKind {
            $($(#[$doc])* pub const fn $name() -> SignalKind { SignalKind(libc::$number) })*
        }
    };
}

kinds! {
    /// `SIGINT`: Ctrl-C.
    interrupt = SIGINT;
    /// `SIGTERM`: asked to end.
    terminate = SIGTERM;
    /// `SIGHUP`: the terminal is gone, or the configuration has changed.
    hangup = SIGHUP;
    /// `SIGQUIT`: Ctrl-\.
    quit = SIGQUIT;
    /// `SIGUSR1`.
    user_defined1 = SIGUSR1;
    /// `SIGUSR2`.
    user_defined2 = SIGUSR2;
    /// `SIGALRM`: a timer.
    alarm = SIGALRM;
    /// `SIGCHLD`: a child process has ended or stopped.
    child = SIGCHLD;
    /// `SIGIO`: a descriptor is ready.
    io = SIGIO;
    /// `SIGPIPE`: nobody reads.
    pipe = SIGPIPE;
    /// `SIGWINCH`: the terminal's size has changed.
    window_change = SIGWINCH;
}

/// A listener for one kind of signal, from now on.
///
/// # Errors
/// `InvalidInput` for a number that is no signal's, or that of one that cannot
/// be caught or that reports a fault (`SIGKILL`, `SIGSTOP`, `SIGSEGV`, `SIGBUS`,
/// `SIGFPE`, `SIGILL`); else what the system says when it refuses the handler or
/// a descriptor.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    Ok(Signal {
        signals: Signals::new([kind])?,
    })
}

/// A listener for one kind of signal; see [`signal`].
#[derive(Debug)]
pub struct Signal {
    signals: Signals,
}

impl Signal {
    /// Waits until the signal has come since the listener was made or this
    /// returned last; several times count as one. A cancellation point. (tokio's
    /// returns an option that is always `Some`.)
    ///
    /// # Errors
    /// If the default runtime cannot be started.
    pub fn recv(&mut self) -> io::Result<()> {
        self.signals.recv().map(drop)
    }

    /// As [`Signal::recv`], until the deadline at most.
    ///
    /// # Errors
    /// As [`Signal::recv`]; `TimedOut` once the deadline has passed.
    pub fn recv_deadline(&mut self, deadline: Instant) -> io::Result<()> {
        self.signals.recv_deadline(deadline).map(drop)
    }
}

/// A listener for several kinds of signals.
///
/// ```
/// # use lisle_runtime as lisle;
/// use lisle::signal::unix::{SignalKind, Signals};
///
/// let mut signals = Signals::new([SignalKind::user_defined1(), SignalKind::hangup()])?;
/// # rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP)?;
/// // … somebody sends SIGHUP …
/// assert_eq!(signals.recv()?, SignalKind::hangup());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Signals {
    kick: Source<OwnedFd>,
    /// The kinds, each with the count up to which it has been received.
    seen: Vec<(SignalKind, u64)>,
}

impl Signals {
    /// A listener for these kinds, from now on.
    ///
    /// # Errors
    /// As [`signal`].
    pub fn new(kinds: impl IntoIterator<Item = SignalKind>) -> io::Result<Signals> {
        let mut seen = Vec::new();
        let kick = duplicate_of_kick()?;
        for kind in kinds {
            let count = &COUNTS[catchable(kind)?];
            seen.push((kind, count.load(Ordering::Acquire)));
            install(kind)?;
        }
        Ok(Signals {
            kick: Source::new(kick),
            seen,
        })
    }

    /// Waits for one of the signals, and says which it was; if there are several,
    /// the one that stands first in the list. A cancellation point.
    ///
    /// # Errors
    /// If the default runtime cannot be started.
    pub fn recv(&mut self) -> io::Result<SignalKind> {
        self.recv_until(None)
    }

    /// As [`Signals::recv`], until the deadline at most.
    ///
    /// # Errors
    /// As [`Signals::recv`]; `TimedOut` once the deadline has passed.
    pub fn recv_deadline(&mut self, deadline: Instant) -> io::Result<SignalKind> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> io::Result<SignalKind> {
        let Signals { kick, seen } = self;
        kick.when_ready(Interest::Read, deadline, |_| {
            take(seen).ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })
    }
}

/// A duplicate of the event descriptor that handlers write to: it is in a poller under
/// a number of its own.
pub(super) fn duplicate_of_kick() -> io::Result<OwnedFd> {
    let kick = kick()?;
    sys::guarded(Call::Create, || {
        Ok(rustix::io::fcntl_dupfd_cloexec(kick, 3)?)
    })
}

/// How often the signal has come.
pub(super) fn count(kind: SignalKind) -> u64 {
    // Acquire: pairs with the Release in `on_signal`.
    COUNTS[kind.0 as usize].load(Ordering::Acquire)
}

/// Takes the first kind that has come.
pub(super) fn take(seen: &mut [(SignalKind, u64)]) -> Option<SignalKind> {
    seen.iter_mut().find_map(|(kind, seen)| {
        // Acquire: pairs with the Release in `on_signal`.
        let count = COUNTS[kind.0 as usize].load(Ordering::Acquire);
        (std::mem::replace(seen, count) != count).then_some(*kind)
    })
}

/// The index of a signal that a program may handle.
fn catchable(kind: SignalKind) -> io::Result<usize> {
    const NOT: [i32; 6] = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
    ];
    match usize::try_from(kind.0) {
        Ok(index) if (1..SIGNALS).contains(&index) && !NOT.contains(&kind.0) => Ok(index),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("signal {} cannot be waited for", kind.0),
        )),
    }
}

/// The event descriptor that handlers write to, made now if there is none.
fn kick() -> io::Result<BorrowedFd<'static>> {
    let mut fd = KICK.load(Ordering::Relaxed);
    if fd < 0 {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let made = sys::guarded(Call::Create, || Ok(eventfd(0, flags)?))?;
        // Relaxed: a descriptor's number carries nothing with it.
        match KICK.compare_exchange(
            -1,
            std::os::fd::AsRawFd::as_raw_fd(&made),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => fd = made.into_raw_fd(),
            Err(other) => fd = other,
        }
    }
    // SAFETY: it is never closed.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

pub(super) fn install(kind: SignalKind) -> io::Result<()> {
    let _entry = crate::Entry::new();
    let mut installed = INSTALLED.lock();
    let index = kind.0 as usize;
    if installed[index] {
        return Ok(());
    }
    // SAFETY: zeroes are a valid action: the default one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    // On the alternate stack, where there is one: user threads' stacks are small.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // One handler at a time: on the alternate stacks that std makes there is room for two frames
    // with vector state, and libc interrupts everybody to change credentials.
    // SAFETY: writes the set.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    // SAFETY: the handler does only what is allowed in one.
    unsafe { sys::sigaction(kind.0, Some(&action)) }?;
    installed[index] = true;
    Ok(())
}

/// Allowed in a handler: two atomics and a system call that leaves `errno` alone.
extern "C" fn on_signal(number: libc::c_int) {
    if let Some(count) = COUNTS.get(number as usize) {
        // Release: pairs with the Acquire in `take`.
        count.fetch_add(1, Ordering::Release);
    }
    let fd = KICK.load(Ordering::Relaxed);
    if fd >= 0 {
        // SAFETY: it is never closed.
        let kick = unsafe { BorrowedFd::borrow_raw(fd) };
        // Full after 2^64 signals.
        let _ = rustix::io::write(kick.as_fd(), &1_u64.to_ne_bytes());
    }
}
