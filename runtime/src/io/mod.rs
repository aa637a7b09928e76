//! Readiness: descriptors that threads wait on.

#[cfg(not(lisle_loom))]
pub(crate) mod reactor;
pub(crate) mod side;
#[cfg(not(lisle_loom))]
pub(crate) mod slot;
pub(crate) mod slumber;
#[cfg(not(lisle_loom))]
pub(crate) mod source;

#[cfg(not(lisle_loom))]
pub(crate) use self::source::Patience;
#[cfg(not(lisle_loom))]
pub use self::source::{Interest, Source};
