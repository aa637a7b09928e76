//! Readiness: descriptors that threads wait on.

pub(crate) mod reactor;
pub(crate) mod slot;
pub(crate) mod source;

pub(crate) use self::source::Patience;
pub use self::source::{Interest, Source};
