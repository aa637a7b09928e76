//! Space-time of lisle's threads.
//!
//! * [`record()`]: what the runtime does, as a [`Trace`]
//! * [`History`]: processes, their events, and which could have caused which
//!   ([`graph`])
//! * pictures: [`svg`], [`html`]; for ui.perfetto.dev: [`perfetto`]
//! * logs of other systems, read and written: [`shiviz`]
//!
//! ```
//! # use lisle_trace::__facade as lisle;
//! let recording = lisle::trace::record()?;
//! lisle::thread::spawn(|| ()).join().unwrap();
//! let trace = recording.stop()?;
//! let page = lisle::trace::html::page(trace.history(), "one thread");
//! assert!(page.starts_with("<!doctype html>"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! With `lisle`'s feature `trace` this crate is `lisle::trace`.

mod decode;
pub mod graph;
mod history;
pub mod html;
mod layout;
pub mod perfetto;
mod record;
pub mod schedule;
pub mod shiviz;
pub mod summary;
pub mod svg;

pub use self::decode::{Loss, Trace};
pub use self::history::{History, HistoryBuilder, Kind, Process, ProcessKind, Stamp};
pub use self::record::{Raw, Recorder, Recording, event, event_stamped, is_recording, record};

/// What the crate `lisle`, on which programs depend, calls what is here: for examples.
#[doc(hidden)]
pub mod __facade {
    pub use crate as trace;
    pub use lisle_runtime::*;
}
