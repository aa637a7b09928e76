//! The switch from serving to draining, thrown by SIGINT, SIGTERM or SIGHUP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use lisle::thread::{self, Thread};

/// Set once, never cleared.
pub(crate) struct Shutdown {
    /// A hint for busy connections; what must not be missed goes through `state`.
    draining: AtomicBool,
    state: Mutex<State>,
}

struct State {
    signals: u32,
    waiter: Option<Thread>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        let state = State {
            signals: 0,
            waiter: None,
        };
        Self {
            draining: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Called once per signal, on the handler's kernel thread. The second one ends the process.
    pub(crate) fn signal(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.signals += 1;
        if state.signals > 1 {
            std::process::exit(130);
        }
        self.draining.store(true, Ordering::Relaxed);
        if let Some(waiter) = &state.waiter {
            waiter.unpark();
        }
    }

    /// Blocks the calling user thread until the first signal.
    pub(crate) fn wait(&self) {
        while !self.signalled_or_register() {
            thread::park();
        }
    }

    fn signalled_or_register(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiter = Some(thread::current());
        state.signals > 0
    }

    /// Whether a connection should end with the request that it is serving.
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
