//! lisle: user threads on virtual processors.
pub use lisle_runtime::sched::policy;
pub use lisle_runtime::{
    Builder as RuntimeBuilder, Runtime, ShutdownError, cancel, local, lwp, net, run, seeded,
    thread, time, wait,
};
pub use lisle_sync::channel;
/// Synchronisation: std's and the classical primitives.
pub mod sync {
    pub use lisle_sync::*;
}
#[doc(hidden)]
pub use lisle_runtime::sched::in_runtime as __in_runtime;
