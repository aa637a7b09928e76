//! `Select`: a list of operations made at run time.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::ends::{Receiver, Sender, deadline_after};
use super::operand::{Grant, Operand};
use super::selecting::{self, Arm, Patience};
use super::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
    TrySendError,
};

/// Waits until one of several operations can go on, and commits to it.
///
/// The [`select!`](super::select!) macro is easier to use where the operations
/// are known in advance. An operation is ready if it need not wait: also if it
/// would fail because the other side is gone. If several are ready, a
/// random one is chosen, or the first one if the `Select` is
/// [biased](Select::new_biased). Waiting is a cancellation point.
///
/// A chosen receive has its message from then on. A chosen send has its room:
/// until it is completed, others may find the channel full and empty at once.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::channel::{Select, unbounded};
///
/// let (_sender1, receiver1) = unbounded::<u8>();
/// let (sender2, receiver2) = unbounded();
/// sender2.send(2).unwrap();
///
/// let mut select = Select::new();
/// let first = select.recv(&receiver1);
/// let second = select.recv(&receiver2);
/// let operation = select.select();
/// assert_ne!(operation.index(), first);
/// assert_eq!(operation.index(), second);
/// assert_eq!(operation.recv(&receiver2), Ok(2));
/// ```
///
/// A list with as many receivers as there are:
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::channel::{Receiver, RecvError, Select};
///
/// fn receive_any<T>(receivers: &[Receiver<T>]) -> Result<T, RecvError> {
///     let mut select = Select::new();
///     for receiver in receivers {
///         select.recv(receiver);
///     }
///     let operation = select.select();
///     let index = operation.index();
///     operation.recv(&receivers[index])
/// }
/// # let (sender, receiver) = lisle::channel::unbounded();
/// # sender.send(1).unwrap();
/// # assert_eq!(receive_any(&[receiver]), Ok(1));
/// ```
///
/// It does not outlive the ends that it knows:
///
/// ```compile_fail,E0505
/// # use lisle_sync::__facade as lisle;
/// let (_sender, receiver) = lisle::channel::unbounded::<u8>();
/// let mut select = lisle::channel::Select::new();
/// select.recv(&receiver);
/// drop(receiver);
/// select.ready();
/// ```
pub struct Select<'a> {
    arms: Vec<Arm<'a>>,
    next: usize,
    biased: bool,
}

// SAFETY: it holds references to ends of channels and does with them what their
// holders may do from any thread; messages pass only in `SelectedOperation`.
unsafe impl Send for Select<'_> {}
// SAFETY: as above; nothing happens through a shared reference.
unsafe impl Sync for Select<'_> {}

impl<'a> Select<'a> {
    /// An empty list, with fair choice among ready operations.
    pub fn new() -> Select<'a> {
        Select {
            arms: Vec::with_capacity(4),
            next: 0,
            biased: false,
        }
    }

    /// An empty list; of several ready operations, the first one added is
    /// chosen.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::channel::{Select, unbounded};
    /// let (sender, receiver) = unbounded();
    /// sender.send(1).unwrap();
    /// let mut select = Select::new_biased();
    /// let first = select.recv(&receiver);
    /// select.send(&sender);
    /// let operation = select.select();
    /// assert_eq!(operation.index(), first);
    /// assert_eq!(operation.recv(&receiver), Ok(1));
    /// ```
    pub fn new_biased() -> Select<'a> {
        Select {
            biased: true,
            ..Select::new()
        }
    }

    fn add(&mut self, operand: &'a dyn Operand) -> usize {
        let index = self.next;
        self.arms.push(Arm { operand, index });
        self.next += 1;
        index
    }

    /// Adds a send. Returns the operation's index: the first one gets 0.
    pub fn send<T>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add(sender)
    }

    /// Adds a receive. Returns the operation's index: the first one gets 0.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add(receiver)
    }

    /// Removes an operation, for instance because its channel is disconnected.
    /// The others keep their indexes.
    ///
    /// # Panics
    /// If there is no operation of this index, any more.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::channel::{Select, never, unbounded};
    /// let (gone, receiver) = unbounded::<u8>();
    /// drop(gone);
    /// let silent = never::<u8>();
    /// let mut select = Select::new();
    /// select.recv(&silent);
    /// let index = select.recv(&receiver);
    /// assert_eq!(select.ready(), index);
    /// select.remove(index);
    /// assert!(select.try_ready().is_err());
    /// ```
    pub fn remove(&mut self, index: usize) {
        assert!(
            index < self.next,
            "index out of bounds; {index} >= {}",
            self.next
        );
        let at = self.arms.iter().position(|arm| arm.index == index);
        self.arms
            .swap_remove(at.expect("no operation with this index"));
        if self.biased {
            self.arms.sort_by_key(|arm| arm.index);
        }
    }

    fn run(&mut self, patience: Patience) -> Option<SelectedOperation<'a>> {
        let (at, grant) = selecting::select(&mut self.arms, !self.biased, patience)?;
        Some(SelectedOperation::new(self.arms[at], grant))
    }

    fn run_ready(&mut self, patience: Patience) -> Option<usize> {
        let at = selecting::ready(&mut self.arms, !self.biased, patience)?;
        Some(self.arms[at].index)
    }

    fn assert_not_empty(&self) {
        assert!(
            !self.arms.is_empty(),
            "no operations have been added to `Select`"
        );
    }

    /// Commits to an operation that is ready. It must then be completed with
    /// [`SelectedOperation::send`] or [`SelectedOperation::recv`].
    ///
    /// # Errors
    /// If none is ready.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.run(Patience::None).ok_or(TrySelectError)
    }

    /// Waits until an operation is ready and commits to it. A cancellation
    /// point if it waits. As [`Select::try_select`] otherwise.
    ///
    /// # Panics
    /// If there are no operations.
    pub fn select(&mut self) -> SelectedOperation<'a> {
        self.assert_not_empty();
        self.run(Patience::Until(None))
            .expect("there is no deadline")
    }

    /// As [`Select::select`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up; without operations, it always will be.
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Patience::Until(deadline_after(timeout)))
            .ok_or(SelectTimeoutError)
    }

    /// As [`Select::select_timeout`], until the deadline.
    ///
    /// # Errors
    /// As [`Select::select_timeout`].
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Patience::Until(Some(deadline)))
            .ok_or(SelectTimeoutError)
    }

    /// The index of an operation that is ready. Nothing is committed: others may
    /// be faster, so the operation may have to wait after all.
    ///
    /// # Errors
    /// If none is ready.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.run_ready(Patience::None).ok_or(TryReadyError)
    }

    /// Waits until an operation is ready. As [`Select::try_ready`] otherwise. A
    /// cancellation point if it waits.
    ///
    /// # Panics
    /// If there are no operations.
    pub fn ready(&mut self) -> usize {
        self.assert_not_empty();
        self.run_ready(Patience::Until(None))
            .expect("there is no deadline")
    }

    /// As [`Select::ready`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.run_ready(Patience::Until(deadline_after(timeout)))
            .ok_or(ReadyTimeoutError)
    }

    /// As [`Select::ready_timeout`], until the deadline.
    ///
    /// # Errors
    /// As [`Select::ready_timeout`].
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.run_ready(Patience::Until(Some(deadline)))
            .ok_or(ReadyTimeoutError)
    }
}

impl Clone for Select<'_> {
    fn clone(&self) -> Self {
        Select {
            arms: self.arms.clone(),
            ..*self
        }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}

/// An operation to which a [`Select`] has committed: it must be completed with
/// [`send`](SelectedOperation::send) or [`recv`](SelectedOperation::recv), on the
/// end that was added or a clone of it, and then does not wait for anybody to come: whoever it
/// meets is bound already. (Only if that one is a select that fails to make its
/// message, because making it panics, does this wait for another.)
///
/// It stays with its thread:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// let (_sender, receiver) = lisle::channel::unbounded::<u8>();
/// let mut select = lisle::channel::Select::new();
/// select.recv(&receiver);
/// let operation = select.select();
/// std::thread::scope(|scope| {
///     scope.spawn(|| operation.recv(&receiver));
/// });
/// ```
///
/// # Panics
/// If it is dropped without being completed. What it held is given back; if it is
/// forgotten instead, that stays held, and a receiver to whom it was to send waits for
/// ever.
#[must_use = "a selected operation must be completed"]
pub struct SelectedOperation<'a> {
    operand: &'a dyn Operand,
    index: usize,
    grant: Grant,
    /// It belongs to the thread that selected.
    _not_send: PhantomData<*mut ()>,
}

impl<'a> SelectedOperation<'a> {
    pub(super) fn new(arm: Arm<'a>, grant: Grant) -> SelectedOperation<'a> {
        SelectedOperation {
            operand: arm.operand,
            index: arm.index,
            grant,
            _not_send: PhantomData,
        }
    }

    /// The index of the operation in its `Select`.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Completes a send, by the sender that was selected or a clone of it.
    ///
    /// # Errors
    /// If there is no receiver; the message is in the error.
    ///
    /// # Panics
    /// If an end of another channel was selected, or the other end.
    pub fn send<T>(self, sender: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        sender.complete(self.grant_to(sender), message)
    }

    /// As [`SelectedOperation::send`], but waits for nobody. `Full`: whoever granted it has
    /// given up since.
    pub(super) fn try_send<T>(self, sender: &Sender<T>, message: T) -> Result<(), TrySendError<T>> {
        sender.try_complete(self.grant_to(sender), message)
    }

    fn grant_to<T>(self, sender: &Sender<T>) -> Grant {
        assert!(
            sender.end() == self.operand.end(),
            "passed a sender that wasn't selected"
        );
        self.into_grant()
    }

    /// Completes a receive, by the receiver that was selected or a clone of it.
    ///
    /// # Errors
    /// If nothing is buffered and there is no sender.
    ///
    /// # Panics
    /// If an end of another channel was selected, or the other end.
    pub fn recv<T>(self, receiver: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            receiver.end() == self.operand.end(),
            "passed a receiver that wasn't selected"
        );
        let grant = self.into_grant();
        receiver.complete(grant)
    }

    /// Whether completing it would fail.
    pub(super) fn is_disconnected(&self) -> bool {
        self.grant == Grant::Disconnected
    }

    /// Leaves the operation; what it held is given back.
    pub(crate) fn give_up(self) {
        let operand = self.operand;
        operand.withdraw(self.into_grant());
    }

    fn into_grant(self) -> Grant {
        let grant = self.grant;
        core::mem::forget(self);
        grant
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.operand.withdraw(self.grant);
        if !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}
