//! lisle: a user-space M:N threading runtime.
pub use lisle_runtime::{
    Builder as RuntimeBuilder, Runtime, ShutdownError, cancel, local, lwp, net, run, seeded,
    thread, time, wait,
};
