//! Time as the runtime sees it: nanoseconds since the process began to care.
//!
//! Real time is the monotonic clock. Virtual time belongs to a seeded runtime:
//! it stands still while threads run and jumps to the next deadline when none
//! is ready, so that a run depends on its seed alone.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lisle_lwp::shim::{AtomicU64, Ordering};

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// A source of time.
#[derive(Debug)]
pub(crate) enum Clock {
    Real,
    Virtual(AtomicU64),
}

impl Clock {
    pub(crate) fn new(is_virtual: bool) -> Clock {
        if is_virtual {
            Clock::Virtual(AtomicU64::new(0))
        } else {
            Clock::Real
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// Nanoseconds since the base.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self {
            Clock::Real => nanos(Instant::now()),
            Clock::Virtual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Now, as users see it.
    pub(crate) fn instant(&self) -> Instant {
        match self {
            Clock::Real => Instant::now(),
            Clock::Virtual(now) => base() + Duration::from_nanos(now.load(Ordering::Relaxed)),
        }
    }

    /// Jumps ahead, if time is virtual.
    pub(crate) fn advance_to(&self, nanos: u64) {
        if let Clock::Virtual(now) = self {
            now.fetch_max(nanos, Ordering::Relaxed);
        }
    }
}

/// An instant in nanoseconds since the base; instants before it are 0, those
/// more than 580 years after it never come.
pub(crate) fn nanos(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(base());
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
