//! Where upcalls come from: what is wanted, and what the system permits.

use std::fmt;
use std::io;

use lisle_lwp::shim::Ordering;
use lisle_lwp::{owner, sys};

use super::Watch;

/// How the runtime learns that a thread blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Source {
    /// Sentinels and the monitor, as far as the system permits: this is probed when
    /// the runtime starts.
    #[default]
    Auto,
    /// Sentinels and the monitor; a runtime does not start if the system does not
    /// permit the sentinels.
    Sentinels,
    /// The monitor alone: blocked threads are noticed after a tick.
    Monitor,
    /// Nobody looks: a thread that blocks or computes on takes its LWP with it,
    /// unless it says so ([`blocking()`](super::blocking())), which then wakes a
    /// kernel thread each time.
    Off,
}

/// Which source a runtime has, and why; see
/// [`Runtime::upcall_source`](crate::Runtime::upcall_source).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceInfo {
    /// What it has; never [`Source::Auto`].
    pub source: Source,
    /// How many sentinels keep watch. They start when an LWP first has work.
    pub sentinels: u32,
    /// Whether kernel threads may choose their scheduling policy, as sentinels must.
    pub idle_policy: bool,
    /// Whether the state of kernel threads can be read.
    pub kernel_states: bool,
    /// Whether the system runs barriers for us. If not, each call into the runtime
    /// runs one, some nanoseconds.
    pub barriers: bool,
    /// Whether threads are preempted that compute for their time slice.
    pub preempts: bool,
}

impl fmt::Display for SourceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Auto | Source::Sentinels => {
                write!(f, "the monitor and {} sentinels", self.sentinels)?;
            }
            Source::Monitor => f.write_str("the monitor alone")?,
            Source::Off => f.write_str("none")?,
        }
        let lost = self.lost();
        if !lost.is_empty() {
            write!(f, "; {}", lost.join("; "))?;
        }
        Ok(())
    }
}

impl SourceInfo {
    /// What is lost, against a system that permits everything and a program that
    /// wants it, in words.
    pub fn lost(&self) -> Vec<&'static str> {
        let off = self.source == Source::Off;
        [
            (
                off,
                "a thread that blocks or computes on keeps its LWP, unless it announces it",
            ),
            (
                self.source == Source::Monitor,
                "a blocked thread is noticed after milliseconds, not microseconds",
            ),
            (
                !self.idle_policy,
                "the system permits no policy for sentinels",
            ),
            (
                !off && !self.kernel_states,
                "threads count as blocked if they use no processor time",
            ),
            (!self.barriers, "calls into the runtime cost a barrier"),
            (
                !off && !self.preempts,
                "a thread that computes on keeps its LWP",
            ),
        ]
        .into_iter()
        .filter_map(|(lost, what)| lost.then_some(what))
        .collect()
    }
}

fn sees_kernel_states() -> bool {
    sys::kernel_state_of(sys::gettid() as u32).is_ok()
}

/// Decides by what the system permits.
///
/// # Errors
/// `Unsupported` if sentinels are demanded and not permitted.
pub(crate) fn choose(wanted: Source) -> io::Result<Source> {
    let permitted = || sys::may_choose_policy() && sees_kernel_states();
    match wanted {
        Source::Auto if permitted() => Ok(Source::Sentinels),
        Source::Auto => Ok(Source::Monitor),
        Source::Sentinels if !permitted() => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the system permits no sentinels: it refuses scheduling policies, or /proc",
        )),
        wanted => Ok(wanted),
    }
}

impl Watch {
    pub(crate) fn source_info(&self) -> SourceInfo {
        SourceInfo {
            source: self.source,
            sentinels: self.posted.load(Ordering::Relaxed),
            idle_policy: sys::may_choose_policy(),
            kernel_states: sees_kernel_states(),
            barriers: !owner::has_fences(),
            preempts: self.slice.is_some() && self.source != Source::Off,
        }
    }
}
