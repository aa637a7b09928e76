//! Readiness: descriptors that threads wait on.

pub(crate) mod reactor;
pub mod source;

pub use self::source::{Interest, Source};
