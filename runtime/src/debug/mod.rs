//! When something goes wrong: what every thread does, who waits for whom, who
//! keeps its LWP.
//!
//! * [`dump()`]: a look at every thread, with what it waits for and a backtrace
//! * [`deadlock()`]: threads that wait for each other, or that nobody can wake
//! * [`Watchdog`]: a kernel thread that looks for both from time to time
//! * [`dump_on_quit`](crate::signal::dump_on_quit): a dump at Ctrl-\
//!
//! Nothing here costs anything before it is called: what a thread waits for is in
//! its control block already.
//!
//! # How a look is taken while all goes on
//! Control blocks are never freed, so [`looks`] walks them as
//! [`thread::list`](crate::thread::list) does, with a reference to each. A wait
//! has a number that never comes again. *What is the same in two looks, one after
//! the other, with the same numbers, was so at once at a moment between them*: the
//! thread was in that one wait all the time. Deadlocks are reported only from
//! that, so no thread has to be stopped to be sure.
//!
//! # How the stack of a parked thread is read
//! Only a thread that cannot go on meanwhile has a stack that others can read. It is
//! *pinned* (`pin.rs`): a bit in the word that keeps suspended threads from running,
//! which whoever picks a thread looks at anyway.
//!
//! | reader | who makes the thread run |
//! |---|---|
//! | 1. sets the bit | 1. resolves the wait word |
//! | 2. writes the wait word back as it is, if it says parked | 2. picks the thread: is the bit set? hold it |
//! | 3. reads the stack | |
//! | 4. clears the bit; makes the thread ready if it was held | |
//!
//! Both write the wait word, so one is first. If the resolver is, the reader finds
//! the thread not parked and leaves it alone. If the reader is, the resolver sees
//! the bit. A thread is pinned for as long as it takes to walk its stack, some
//! microseconds, one after the other; names are found afterwards. A suspended thread is held
//! already, and the bit keeps it so.
//!
//! # How the stack of a thread that runs is read
//! The thread copies it itself, in a signal handler, for whoever asks (`ask.rs`).
//!
//! *Rejected*: stopping all threads (a debugger can); copying stacks while they
//! change, and looking afterwards whether they did (a data race).

#[cfg(feature = "backtrace")]
mod ask;
mod backtrace;
mod deadlock;
mod dump;
pub(crate) mod layout;
mod looks;
#[cfg(feature = "backtrace")]
mod pin;
mod watchdog;

#[cfg(feature = "backtrace")]
pub(crate) use self::ask::{answer, forget};
pub use self::backtrace::{Backtrace, Frame};
pub(crate) use self::deadlock::waits_within;
pub use self::deadlock::{Deadlock, deadlock};
pub use self::dump::{Dump, Holder, RuntimeDump, ThreadDump, ThreadKind, dump};
pub use self::watchdog::{Hog, Watchdog, Watching};
