//! Recording what the runtime does.

use std::{fmt, io};

use lisle_runtime::trace::Session;

use crate::decode::{self, Trace};

/// Eight bytes each: enough for about half a million events, or four million
/// switches in quick succession, of each LWP.
const WORDS: usize = 4 << 20;

/// Begins to record all runtimes of the process. One recording at a time.
///
/// What is recorded: spawns, ends and joins; switches; waits with their reasons,
/// and what ends them; unparks; steals and upcalls; sends and receives on
/// channels; what the program says itself ([`event`]). See [`Trace`] for what
/// becomes of it.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] if somebody records;
/// [`io::ErrorKind::OutOfMemory`].
///
/// ```
/// # use lisle_trace::__facade as lisle;
/// let recording = lisle::trace::record()?;
/// let thread = lisle::thread::spawn(|| lisle::trace::event("hello"));
/// thread.join().unwrap();
/// let trace = recording.stop()?;
/// let (history, graph) = (trace.history(), trace.history().graph());
/// let hello = history.find("hello").expect("it was recorded");
/// assert!(graph.past(hello)?.any(|e| history.kind(e) == lisle::trace::Kind::Spawn));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn record() -> io::Result<Recording> {
    Recorder::new().start()
}

/// How to record: see [`record`].
#[derive(Debug, Clone)]
#[must_use = "a recorder records when it is started"]
pub struct Recorder {
    words: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// As [`record`] records.
    pub fn new() -> Recorder {
        Recorder { words: WORDS }
    }

    /// How many bytes of events each LWP may record, and all others together.
    /// This memory is taken when the recording begins. When it is full, what
    /// follows is dropped, and counted: see [`Trace::loss`].
    pub fn capacity(mut self, bytes: usize) -> Recorder {
        self.words = bytes / size_of::<u64>();
        self
    }

    /// Begins.
    ///
    /// # Errors
    /// As [`record`].
    pub fn start(self) -> io::Result<Recording> {
        match Session::begin(self.words) {
            Ok(Ok(session)) => Ok(Recording { session }),
            Ok(Err(_)) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another recording is going on",
            )),
            Err(_) => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
}

/// A recording that goes on; dropping it ends it.
#[must_use = "a recording ends when it is dropped"]
pub struct Recording {
    session: Session,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

impl Recording {
    /// Ends the recording and makes sense of it.
    ///
    /// # Errors
    /// If it does not: what happened before what goes in a circle, which would be a
    /// mistake of this crate or of the runtime.
    pub fn stop(self) -> io::Result<Trace> {
        self.stop_raw().decode()
    }

    /// Ends the recording and keeps what was written, to make sense of it later.
    pub fn stop_raw(self) -> Raw {
        Raw(self.session.end())
    }
}

/// What was written during a recording.
#[derive(Debug)]
pub struct Raw(lisle_runtime::trace::Record);

impl Raw {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.0.lanes.iter().map(|lane| lane.events().count()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.0.lanes.iter().map(|lane| lane.bytes()).sum()
    }

    /// How many events were dropped because a buffer was full.
    pub fn dropped(&self) -> u64 {
        let dropped = self.0.lanes.iter().map(|lane| lane.dropped);
        dropped.sum::<u64>() + self.0.lost
    }

    /// Makes sense of them.
    ///
    /// # Errors
    /// As [`Recording::stop`].
    pub fn decode(self) -> io::Result<Trace> {
        decode::decode(&self.0).map_err(io::Error::other)
    }
}

/// Records that something happened in the calling thread. Does next to nothing
/// while nobody records.
///
/// At most about 500 bytes of the label are kept, and an ellipsis behind them if there
/// were more; such events are counted: [`Trace::loss`].
#[inline]
pub fn event(label: &str) {
    if lisle_runtime::trace::is_on() {
        lisle_runtime::trace::local(label, &[]);
    }
}

/// As [`event`], with what some clock said then: pairs of a process, whatever the
/// program numbers so, and its count. At least thirty pairs are kept; events of which
/// there were more are counted, too.
#[inline]
pub fn event_stamped(label: &str, clock: &[(u64, u64)]) {
    if lisle_runtime::trace::is_on() {
        lisle_runtime::trace::local(label, clock);
    }
}

/// Whether somebody records: to save the trouble of making a label.
#[inline]
pub fn is_recording() -> bool {
    lisle_runtime::trace::is_on()
}
