//! lisle: user threads on virtual processors.
//!
//! lisle multiplexes *user threads*, which have a stack of their own and are
//! cheap to make and to switch, onto *LWPs* (light-weight processes, virtual
//! processors), which kernel threads carry. A call that waits, such as receiving
//! from a channel or reading from a socket, blocks the calling user thread only:
//! its LWP goes on with another one. So code is written as if each activity had
//! a kernel thread to itself, and there can be a hundred thousand of them.
//!
//! ```
//! use lisle::{channel, thread};
//!
//! let sum = lisle::run(|| {
//!     let (sender, receiver) = channel::bounded(16);
//!     for n in 1..=1000_u64 {
//!         let sender = sender.clone();
//!         thread::Builder::new().spawn(move || sender.send(n))?;
//!     }
//!     drop(sender);
//!     Ok::<u64, std::io::Error>(receiver.iter().sum())
//! })?;
//! assert_eq!(sum, 500_500);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Modules
//!
//! | module | what it holds | after the manner of |
//! |---|---|---|
//! | [`thread`] | spawning, joining, parking, observing user threads; [`local!`] | `std::thread` |
//! | [`jobs`] | [`join`], [`cobegin`](fn@cobegin), [`cobegin!`]: fork and join without threads | `rayon`, `chili` |
//! | [`sync`] | locks, semaphores, barriers, what happens once | `std::sync`, parking_lot |
//! | [`channel`] | channels and select; oneshot, mpsc, broadcast, watch, duplex, rendezvous | `crossbeam-channel` |
//! | [`clock`], [`channel::stamped`] | logical time: which event happened before which | Lamport, 1978 |
//! | [`delivery`] | FIFO, causal and total order; a network with faults | Birman et al., 1991 |
//! | [`net`], [`os`] | TCP, UDP and Unix sockets | `std::net`, `std::os::unix::net` |
//! | [`io`] | waiting for any descriptor | tokio's `AsyncFd` |
//! | [`future`] | `block_on`, streams for async crates | |
//! | [`signal`], [`process`] | Ctrl-C and other signals; child processes | `tokio::signal`, `std::process` |
//! | [`time`] | the clock of deadlines; [`thread::sleep`] | `std::time` |
//! | [`mod@cancel`] | asking threads to end; shields, checkpoints | POSIX |
//! | [`policy`] | which ready thread runs next | |
//! | [`lwp`] | looking at LWPs | |
//! | [`debug`], [`dump`](fn@dump) | what every thread waits for, deadlocks, hogs | Go's SIGQUIT, parking_lot |
//! | [`upcall`], [`blocking`] | threads that block in the kernel or compute on | Anderson et al., 1992 |
//! | `trace` (feature) | recording, happens-before graphs, space-time diagrams | ShiViz, Perfetto |
//! | [`seeded`] | a test under many reproducible interleavings | |
//! | [`wait`] | the one way to block, to build primitives on | |
//!
//! # Kinds of threads
//!
//! * A *full* thread ([`thread::spawn`], [`thread::scope`]) moves from kernel
//!   thread to kernel thread and has thread-locals of its own, which move with
//!   it: safe for any closure that `std::thread::spawn` takes. See
//!   [what a full thread is](mod@guide::full_threads).
//! * A *light* thread ([`thread::Builder::spawn_light`]) moves from kernel thread
//!   to kernel thread and borrows the thread-locals of the one that runs it.
//!   Making it is therefore `unsafe`: its contract says which functions may
//!   touch thread-locals.
//! * A *bound* thread ([`thread::Builder::bound`]) has a kernel thread of its
//!   own. [`run`] makes the calling kernel thread one.
//! * *Plain kernel threads* may call everything here; what waits then blocks
//!   them. A program can adopt lisle one module at a time.
//!
//! # Rules that hold everywhere
//!
//! * A wake-up is never lost.
//! * Whatever may wait has a form with a deadline (but for join), and is a
//!   cancellation point (but for locks, which have a form that is). A wait that
//!   ends early leaves no trace.
//! * Cancelling is not panicking: it poisons nothing.
//! * Where std reports an error when resources run out, so does lisle.
//!
//! # Runtimes
//!
//! The default runtime starts when it is first needed, with one LWP per
//! processor; environment variables tune it ([`RuntimeBuilder::from_env`]).
//! [`Runtime::builder`] makes others, which can be shut down with a deadline and
//! report the threads that did not end.
//!
//! # Models
//!
//! Under `--cfg lisle_loom` the crate has only [`sync`], [`channel`],
//! [`wait`], [`mod@cancel`], and what they need of [`thread`] and [`time`]; they
//! run inside `loom::model` (see `examples/loom_model`).

#[doc(inline)]
pub use lisle_clock as clock;
pub use lisle_runtime::{cancel, thread, time, wait};
pub use lisle_sync::{channel, delivery};

#[cfg(not(lisle_loom))]
#[doc(inline)]
pub use lisle_runtime::debug::{self, dump};
#[cfg(not(lisle_loom))]
pub use lisle_runtime::sched::policy;
#[cfg(not(lisle_loom))]
pub use lisle_runtime::{
    Builder as RuntimeBuilder, Runtime, ShutdownError, blocking, jobs, local, lwp, run, seeded,
    upcall,
};
#[cfg(not(lisle_loom))]
#[doc(inline)]
pub use lisle_runtime::{cobegin, jobs::cobegin, jobs::join};
#[cfg(not(lisle_loom))]
pub use lisle_runtime::{future, io, net, process, signal};

/// Recording what threads do, and pictures of it. With the feature `trace`.
#[cfg(all(feature = "trace", not(lisle_loom)))]
#[doc(inline)]
pub use lisle_trace as trace;

/// What std has in `std::os`.
#[cfg(not(lisle_loom))]
pub mod os {
    /// What std has in `std::os::unix`.
    pub mod unix {
        #[doc(inline)]
        pub use lisle_runtime::net::unix as net;
    }
}

/// What threads say to each other: locks, semaphores, barriers.
///
/// Everything works between user threads, kernel threads, and both mixed. What std
/// has too has std's names and behaviour; [`sync::parking_lot`] has parking_lot's.
///
/// | type | beyond std's | fairness | bytes, around `()` |
/// |---|---|---|---|
/// | [`sync::Mutex`] | deadlines, cancellable, fair unlock | first come first served; bypassed a bounded number of times | 8 |
/// | [`sync::RwLock`] | policy, upgrades, recursion, deadlines, cancellable | as its policy says | 16 |
/// | [`sync::Condvar`] | deadlines | first come first served | 1 |
/// | [`sync::Once`], [`sync::OnceLock`], [`sync::LazyLock`] | deadlines | none is needed | 4 |
/// | [`sync::Barrier`] | deadlines | none is needed | 40 |
/// | [`sync::PriorityMutex`] | the holder inherits priorities | the most urgent first | 40 |
/// | [`sync::Semaphore`] | all of it, after tokio | first come first served, by hand-off | 56 |
/// | [`sync::Monitor`] | Mesa's and Hoare's, ranked waits | first come first served, by hand-off | 80 |
/// | [`sync::Region`] | guards, examined by who leaves | first come first served among true guards | 40 |
/// | [`sync::Serializer`] | queues with guarantees, crowds | first come first served in each queue | 96 |
/// | [`sync::PathExpression`] | [`sync::path!`] | first come first served among what is allowed | |
/// | [`sync::WaitGroup`], [`sync::Parker`] | all of it, after crossbeam | none is needed | 8 |
///
/// ```
/// use lisle::sync::Semaphore;
///
/// let slots = Semaphore::new(2);
/// slots.p();
/// slots.p();
/// assert!(slots.try_acquire().is_err());
/// slots.v();
/// assert_eq!(slots.available_permits(), 1);
/// ```
///
/// What else `std::sync` has is here too, so that a program's `use` lines can be changed
/// as they stand: [`sync::mpsc`] is lisle's, [`sync::Arc`], [`sync::Weak`] and
/// [`sync::atomic`] are std's own.
pub mod sync {
    #[doc(inline)]
    pub use lisle_sync::*;

    #[doc(inline)]
    pub use lisle_sync::channel::mpsc;
    #[cfg(not(lisle_loom))]
    #[doc(no_inline)]
    pub use std::sync::{Arc, Weak, atomic};
}

#[cfg(not(lisle_loom))]
#[doc(hidden)]
pub use lisle_runtime::sched::in_runtime as __in_runtime;

/// Longer texts.
#[cfg(not(lisle_loom))]
pub mod guide {
    #[doc = include_str!("../docs/classical.md")]
    pub mod classical {}
    #[doc = include_str!("../docs/full-threads.md")]
    pub mod full_threads {}
    #[doc = include_str!("../docs/upcalls.md")]
    pub mod upcalls {}

    #[doc = include_str!("../docs/debugging.md")]
    pub mod debugging {}

    #[doc = include_str!("../docs/spacetime.md")]
    pub mod spacetime {}

    #[doc = include_str!("../docs/logical-time.md")]
    pub mod logical_time {}
}

/// README.md's example is a test, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
