//! Which connections live: for the limit on their number, and to cancel them all.
//!
//! A connection's entry in the registry is its [`Ticket`]:
//!
//! ```text
//!            try_take          open            attach
//!   (vacant) ───────> Reserved ────> Open(None) ────> Open(Some(thread))
//!      ▲                 │               │                   │
//!      └── ticket dropped┴───────────────┴───────────────────┘
//! ```
//!
//! The listener takes the ticket *before* it accepts, so that connections over the limit wait in
//! the kernel's queue, and attaches the thread *after* it has started it. A short connection may
//! have ended by then; only the listener takes tickets, so its entry is then vacant, not another's.
//!
//! Nothing here blocks for longer than a few instructions of another thread: waiting is a ready
//! thread parking itself, outside. The methods are never inlined because std's mutex looks at the
//! (thread-local) panic count; see `listener.rs`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lisle::thread::{self, Thread};

use crate::Shared;

/// All entries.
pub(crate) struct Registry {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    vacant: Vec<usize>,
    /// Entries not vacant.
    taken: usize,
    /// Entries past `Reserved`.
    open: usize,
    /// Connections ever opened.
    accepted: u64,
    /// Parked until there is room.
    waits_for_room: Option<Thread>,
    /// Parked until there is no entry left.
    waits_for_end: Option<Thread>,
}

#[derive(Default)]
enum Entry {
    #[default]
    Vacant,
    Reserved,
    Open(Option<Thread>),
}

/// How many connections there are and were.
pub(crate) struct Census {
    pub(crate) open: usize,
    pub(crate) accepted: u64,
    pub(crate) limit: usize,
}

impl Registry {
    /// A registry for at most `limit` connections at once.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every method leaves the lists whole at each point where it could panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the thread of an open connection, unless it has ended already.
    #[inline(never)]
    pub(crate) fn attach(&self, key: usize, thread: Thread) {
        if let Entry::Open(slot) = &mut self.lock().entries[key] {
            *slot = Some(thread);
        }
    }

    /// Asks every connection to end where it next waits. The listener must have ended before.
    #[inline(never)]
    pub(crate) fn cancel_all(&self) {
        let thread = |entry: &Entry| match entry {
            Entry::Open(thread) => thread.clone(),
            _ => None,
        };
        let threads: Vec<Thread> = self.lock().entries.iter().filter_map(thread).collect();
        for thread in threads {
            thread.cancel();
        }
    }

    /// Blocks until no connection is left or `deadline` has come; returns how many are left.
    pub(crate) fn wait_until_empty(&self, deadline: Instant) -> usize {
        loop {
            let left = self.taken_or_register();
            let patience = deadline.saturating_duration_since(Instant::now());
            if left == 0 || patience.is_zero() {
                return left;
            }
            thread::park_timeout(patience);
        }
    }

    #[inline(never)]
    fn taken_or_register(&self) -> usize {
        let mut inner = self.lock();
        inner.waits_for_end = Some(thread::current());
        inner.taken
    }

    #[inline(never)]
    pub(crate) fn census(&self) -> Census {
        let inner = self.lock();
        Census {
            open: inner.open,
            accepted: inner.accepted,
            limit: self.limit,
        }
    }

    /// Takes an entry; if there is none, notes that the caller waits for one.
    #[inline(never)]
    fn take(&self) -> Option<usize> {
        let mut inner = self.lock();
        if inner.taken == self.limit {
            inner.waits_for_room = Some(thread::current());
            return None;
        }
        let key = inner.vacant.pop().unwrap_or_else(|| {
            inner.entries.push(Entry::Vacant);
            inner.entries.len() - 1
        });
        inner.entries[key] = Entry::Reserved;
        inner.taken += 1;
        Some(key)
    }

    #[inline(never)]
    fn open(&self, key: usize) {
        let mut inner = self.lock();
        inner.entries[key] = Entry::Open(None);
        inner.open += 1;
        inner.accepted += 1;
    }

    /// Gives an entry back and wakes who waited for that.
    #[inline(never)]
    fn leave(&self, key: usize) {
        let mut inner = self.lock();
        let entry = std::mem::take(&mut inner.entries[key]);
        if matches!(entry, Entry::Open(_)) {
            inner.open -= 1;
        }
        inner.taken -= 1;
        inner.vacant.push(key);
        let for_room = inner.waits_for_room.take();
        let for_end = match inner.taken {
            0 => inner.waits_for_end.take(),
            _ => None,
        };
        // Whoever is woken wants the lock.
        drop(inner);
        for waiter in [for_room, for_end].into_iter().flatten() {
            waiter.unpark();
        }
    }
}

/// The right to one connection, given back when dropped, also by a panic or a cancellation.
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    key: usize,
}

impl Ticket {
    /// Takes a ticket, or arranges that the caller is unparked when one comes free.
    pub(crate) fn try_take(shared: &Arc<Shared>) -> Option<Self> {
        let key = shared.registry.take()?;
        Some(Self {
            shared: Arc::clone(shared),
            key,
        })
    }

    /// A connection was accepted under this ticket.
    pub(crate) fn open(&mut self) {
        self.shared.registry.open(self.key);
    }

    /// The entry's number; small, and unique among the connections that live.
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.registry.leave(self.key);
    }
}
