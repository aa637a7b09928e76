//! Why a semaphore gave no permit, or took none.

use core::fmt;

/// The semaphore has been closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcquireError;

/// Why a `try_acquire` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryAcquireError {
    /// There are not enough permits, or others wait for them.
    NoPermits,
    /// The semaphore has been closed.
    Closed,
}

/// Why an acquire with a deadline failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcquireTimeoutError {
    /// The deadline passed first.
    Timeout,
    /// The semaphore has been closed.
    Closed,
}

/// A release would have made more permits than the semaphore may hold; none was
/// given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleaseError;

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::NoPermits => "not enough permits are free",
            TryAcquireError::Closed => "the semaphore is closed",
        })
    }
}

impl fmt::Display for AcquireTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcquireTimeoutError::Timeout => "no permits before the deadline",
            AcquireTimeoutError::Closed => "the semaphore is closed",
        })
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many permits: the release would overflow the semaphore")
    }
}

impl std::error::Error for AcquireError {}
impl std::error::Error for TryAcquireError {}
impl std::error::Error for AcquireTimeoutError {}
impl std::error::Error for ReleaseError {}
