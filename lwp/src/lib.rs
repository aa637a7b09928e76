//! Mechanism of the lisle runtime: what it takes to run many stacks on few
//! kernel threads, without any opinion on which stack runs next.
//!
//! * [`arch`]: switching between stacks, one file per architecture
//! * [`stack`]: guarded stacks in slabs, cached warm, with overflow reports
//! * [`current`]: which flow of control is running here
//! * `donor`: threads with a thread pointer of their own
//! * `frame`: threads that a signal interrupts, taken to another kernel thread
//! * `kernel`: kernel threads for the runtime itself
//! * [`owner`]: which kernel thread holds an LWP
//! * [`sleep`], [`lock`]: how the runtime itself waits
//! * [`sys`]: every system call, each of which a test can make fail
//! * [`shim`]: the only place that names `std`'s or loom's atomics
//!
//! This crate is an implementation detail of `lisle`; depend on that instead.

#[macro_use]
pub mod shim;

#[cfg(not(lisle_loom))]
pub mod arch;
#[cfg(not(lisle_loom))]
pub mod checkers;
pub mod current;
#[cfg(not(any(lisle_loom, miri)))]
pub mod donor;
#[cfg(lisle_loom)]
pub mod explore;
#[cfg(not(any(lisle_loom, miri)))]
pub mod frame;
#[cfg(not(lisle_loom))]
pub mod kernel;
pub mod lock;
#[cfg(all(test, lisle_loom))]
mod models;
pub mod owner;
pub mod sleep;
#[cfg(not(lisle_loom))]
pub mod stack;
#[cfg(not(lisle_loom))]
pub mod sys;
