//! The switch from serving to draining, thrown by SIGINT, SIGTERM or SIGHUP.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use lisle::signal::unix::{SignalKind, Signals};
use lisle::thread::Builder;

/// Set once, never cleared.
pub(crate) struct Shutdown {
    /// A hint for busy connections; idle ones are cancelled.
    draining: AtomicBool,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self {
            draining: AtomicBool::new(false),
        }
    }

    /// Blocks the calling thread until the first signal. A second one ends the process.
    pub(crate) fn wait(&self, mut signals: Signals) -> io::Result<()> {
        signals.recv()?;
        self.draining.store(true, Ordering::Relaxed);
        // Bound: leaving the process runs what others have registered for that.
        let again = Builder::new().name("second signal".to_owned()).bound();
        again.spawn(move || {
            if signals.recv().is_ok() {
                std::process::exit(130);
            }
        })?;
        Ok(())
    }

    /// Whether a connection should end with the request that it is serving.
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The signals that ask the server to end, from now on.
pub(crate) fn signals() -> io::Result<Signals> {
    Signals::new([
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ])
}
