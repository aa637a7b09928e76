//! One mechanism for every flavour: a buffer and two wait lists behind one lock.
//!
//! ```text
//!   waiting senders ──► buffer (none, bounded, growing) ──► waiting receivers
//! ```
//!
//! *Invariants*, whenever the lock is free:
//! * somebody waits to receive only if the buffer is empty and nobody waits to
//!   send;
//! * somebody waits to send only if the buffer is full (a rendezvous's always
//!   is) and nobody waits to receive.
//!
//! *Hand-off*. A message goes straight into the slot of the first waiting
//! receiver, or out of the slot of the first waiting sender, before that waiter
//! is woken; if its wait has ended otherwise, the wake fails, the message is
//! taken back and the next waiter tried. So a message is with exactly one side
//! at any time, and messages leave in the order in which they came.
//!
//! The buffer grows outside the lock, where allocation is allowed: a sender that
//! finds no capacity left brings a larger buffer and tries again. Messages are
//! moved, never dropped, under the lock. *Rejected* for now: a lock-free list of
//! blocks; it wins only with several LWPs on one channel.

#[allow(clippy::disallowed_types)] // see `Slot`
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::time::Instant;

use lisle_lwp::shim::{AtomicUsize, Ordering};
use lisle_runtime::cancel;
use lisle_runtime::wait::list::Queue;
use lisle_runtime::wait::{self, Locked, Node, Outcome, Reason, Waiters};

use super::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

static SENDING: Reason = Reason::new("send on channel");
static RECEIVING: Reason = Reason::new("receive on channel");

/// Where an unbounded channel begins. In models it grows at once.
const FIRST_ROOM: usize = if cfg!(lisle_loom) { 1 } else { 32 };

/// A waiter's message: its own to send, or the one it receives.
#[allow(clippy::disallowed_types)]
struct Slot<T>(UnsafeCell<Option<T>>);

#[allow(clippy::disallowed_types)]
impl<T> Slot<T> {
    fn new(message: Option<T>) -> Self {
        Slot(UnsafeCell::new(message))
    }

    /// # Safety
    /// The caller holds the channel's lock, or is the waiter when its wait is
    /// over.
    unsafe fn put(&self, message: T) {
        // SAFETY: the caller's promise makes the access unique.
        unsafe { *self.0.get() = Some(message) };
    }

    /// # Safety
    /// As [`Slot::put`].
    unsafe fn take(&self) -> Option<T> {
        // SAFETY: as above.
        unsafe { (*self.0.get()).take() }
    }
}

struct State<T> {
    buffer: VecDeque<T>,
    senders: Queue<Slot<T>>,
    receivers: Queue<Slot<T>>,
    /// One side is gone for good.
    disconnected: bool,
}

/// See the module documentation.
pub(super) struct Core<T> {
    state: Waiters<State<T>>,
    capacity: Option<usize>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

// SAFETY: messages go from thread to thread, by value, under the lock.
unsafe impl<T: Send> Send for Core<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Core<T> {}

/// What became of an attempt to send.
enum Attempt<T> {
    Sent,
    Full(T),
    Disconnected(T),
    /// The buffer may grow but has no capacity left for one more.
    NeedsRoom(T, usize),
}

impl<T> State<T> {
    fn new() -> Self {
        State {
            buffer: VecDeque::new(),
            senders: Queue::new(),
            receivers: Queue::new(),
            disconnected: false,
        }
    }
}

/// Sends without waiting, under the lock.
fn attempt_send<T>(
    state: &mut Locked<'_, State<T>>,
    capacity: Option<usize>,
    mut message: T,
) -> Attempt<T> {
    if state.disconnected {
        return Attempt::Disconnected(message);
    }
    // SAFETY: we hold the lock and forget each node once woken.
    while let Some(node) = unsafe { state.receivers.pop() } {
        // SAFETY: we hold the lock; the waiter does not look before it is woken.
        unsafe { node.data.put(message) };
        let slot = &node.data;
        if state.wake(node.key()) {
            return Attempt::Sent;
        }
        // SAFETY: as above. Its wait ended otherwise, and it cannot leave
        // before it has had the lock.
        message = unsafe { slot.take() }.expect("nobody else takes it");
    }
    let len = state.buffer.len();
    if capacity.is_some_and(|capacity| len >= capacity) {
        Attempt::Full(message)
    } else if len == state.buffer.capacity() {
        let double = (len * 2).max(FIRST_ROOM);
        Attempt::NeedsRoom(
            message,
            capacity.map_or(double, |capacity| double.min(capacity)),
        )
    } else {
        state.buffer.push_back(message);
        Attempt::Sent
    }
}

/// Receives without waiting, under the lock.
fn attempt_recv<T>(state: &mut Locked<'_, State<T>>) -> Result<T, TryRecvError> {
    let buffered = state.buffer.pop_front();
    // SAFETY: we hold the lock and forget each node once woken.
    while let Some(node) = unsafe { state.senders.pop() } {
        // SAFETY: we hold the lock; the waiter does not look before it is woken.
        let message = unsafe { node.data.take() }.expect("a waiting sender has a message");
        let slot = &node.data;
        if state.wake(node.key()) {
            let Some(first) = buffered else {
                return Ok(message);
            };
            // Its message takes the place of the one that leaves.
            state.buffer.push_back(message);
            return Ok(first);
        }
        // SAFETY: as in `attempt_send`; the message goes back to its sender.
        unsafe { slot.put(message) };
    }
    match buffered {
        Some(message) => Ok(message),
        None if state.disconnected => Err(TryRecvError::Disconnected),
        None => Err(TryRecvError::Empty),
    }
}

impl<T> Core<T> {
    pub(super) fn new(capacity: Option<usize>) -> Core<T> {
        Core {
            state: Waiters::new(State::new()),
            capacity,
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        }
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().buffer.len()
    }

    /// Brings a larger buffer, made outside the lock.
    #[cold]
    fn grow(&self, room: usize) {
        let mut larger = VecDeque::with_capacity(room);
        let mut state = self.state.lock();
        if state.buffer.capacity() < room {
            // Both fit, so this only moves.
            larger.append(&mut state.buffer);
            core::mem::swap(&mut state.buffer, &mut larger);
        }
        // The smaller buffer, empty, is freed after the lock.
        drop(state);
    }

    pub(super) fn try_send(&self, mut message: T) -> Result<(), TrySendError<T>> {
        loop {
            let attempt = attempt_send(&mut self.state.lock(), self.capacity, message);
            match attempt {
                Attempt::Sent => return Ok(()),
                Attempt::Full(message) => return Err(TrySendError::Full(message)),
                Attempt::Disconnected(message) => {
                    return Err(TrySendError::Disconnected(message));
                }
                Attempt::NeedsRoom(back, room) => {
                    message = back;
                    self.grow(room);
                }
            }
        }
    }

    pub(super) fn send(
        &self,
        mut message: T,
        deadline: Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        loop {
            message = match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(message)) => {
                    return Err(SendTimeoutError::Disconnected(message));
                }
                Err(TrySendError::Full(message)) => match self.wait_to_send(message, deadline) {
                    Ok(result) => return result,
                    // There was room by the time we had the lock.
                    Err(message) => message,
                },
            };
        }
    }

    /// Waits with a message until it is taken; `Err` if there is room now.
    #[cold]
    fn wait_to_send(
        &self,
        message: T,
        deadline: Option<Instant>,
    ) -> Result<Result<(), SendTimeoutError<T>>, T> {
        let Ok(wait) = wait::begin(&SENDING, self.address(), true) else {
            cancel::deliver()
        };
        let node = Node::new(&wait, Slot::new(None));
        {
            let mut state = self.state.lock();
            match attempt_send(&mut state, self.capacity, message) {
                Attempt::Full(message) => {
                    // SAFETY: nobody sees the node yet; it is removed below,
                    // before the frame goes, unless popped.
                    unsafe {
                        node.data.put(message);
                        state.senders.push(&node);
                    }
                }
                other => {
                    drop(state);
                    let _ = wait.abandon();
                    return match other {
                        Attempt::Sent => Ok(Ok(())),
                        Attempt::Disconnected(m) => Ok(Err(SendTimeoutError::Disconnected(m))),
                        Attempt::NeedsRoom(message, _) | Attempt::Full(message) => Err(message),
                    };
                }
            }
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: pushed to this queue.
            unsafe { self.state.lock().senders.remove(&node) };
        }
        // SAFETY: the wait is over, and the node is in no list.
        let message = unsafe { node.data.take() };
        match (outcome, message) {
            (Outcome::Cancelled, message) => {
                drop(message);
                cancel::deliver()
            }
            (_, None) => Ok(Ok(())),
            (Outcome::TimedOut, Some(message)) => Ok(Err(SendTimeoutError::Timeout(message))),
            (_, Some(message)) => Ok(Err(SendTimeoutError::Disconnected(message))),
        }
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        attempt_recv(&mut self.state.lock())
    }

    pub(super) fn recv(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match self.try_recv() {
            Ok(message) => Ok(message),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => self.wait_to_recv(deadline),
        }
    }

    #[cold]
    fn wait_to_recv(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let Ok(wait) = wait::begin(&RECEIVING, self.address(), true) else {
            cancel::deliver()
        };
        let node = Node::new(&wait, Slot::new(None));
        let attempt = {
            let mut state = self.state.lock();
            let attempt = attempt_recv(&mut state);
            if matches!(attempt, Err(TryRecvError::Empty)) {
                // SAFETY: removed below, before the frame goes, unless popped.
                unsafe { state.receivers.push(&node) };
            }
            attempt
        };
        match attempt {
            Err(TryRecvError::Empty) => {}
            Ok(message) => {
                // A cancel that came meanwhile is delivered at the next wait.
                let _ = wait.abandon();
                return Ok(message);
            }
            Err(TryRecvError::Disconnected) => {
                let _ = wait.abandon();
                return Err(RecvTimeoutError::Disconnected);
            }
        }
        let outcome = wait.block(deadline);
        if outcome != Outcome::Woken {
            // SAFETY: pushed to this queue.
            unsafe { self.state.lock().receivers.remove(&node) };
        }
        // SAFETY: the wait is over, and the node is in no list.
        match (outcome, unsafe { node.data.take() }) {
            (_, Some(message)) => Ok(message),
            (Outcome::Cancelled, None) => cancel::deliver(),
            (Outcome::TimedOut, None) => Err(RecvTimeoutError::Timeout),
            (_, None) => Err(RecvTimeoutError::Disconnected),
        }
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    pub(super) fn sender_joined(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn receiver_joined(&self) {
        self.receivers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sender_left(&self) {
        // Relaxed: what the others sent comes before, by the lock, which each
        // had for the last time before it left.
        if self.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut state = self.state.lock();
            state.disconnected = true;
            // SAFETY: we hold the lock and forget each node once woken.
            while let Some(node) = unsafe { state.receivers.pop() } {
                // An empty slot tells it that nothing will come.
                state.wake(node.key());
            }
        }
    }

    pub(super) fn receiver_left(&self) {
        // Relaxed: as in `sender_left`.
        if self.receivers.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut state = self.state.lock();
            state.disconnected = true;
            // SAFETY: as in `sender_left`.
            while let Some(node) = unsafe { state.senders.pop() } {
                // A full slot tells it that its message was not taken.
                state.wake(node.key());
            }
            // Nobody will receive what is buffered: it is dropped, after the
            // lock, because dropping runs user code.
            let buffered = core::mem::take(&mut state.buffer);
            drop(state);
            drop(buffered);
        }
    }
}
