//! Sending and receiving from async tasks.
//!
//! A task waits in the same lists as threads do, with its own ticket inside its
//! future. A sending future's ticket is direct: its message is taken out of the
//! future. A receiving future is promised its message and takes it when it is
//! polled; if it is dropped before, the message goes to the next receiver.

use core::fmt;
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use lisle_runtime::wait::Node;

use super::alarm::Alarm;
use super::complete::Claimed;
use super::core::{Core, NONE, Sent, Taken};
use super::ends::{Receiver, Sender, Source};
use super::ticket::{Mode, Slot, Ticket, Waiting};
use super::timer::Timer;
use super::{RecvError, SendError};

/// The future of [`Sender::send_async`]. It goes where its message may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>(_: T) {}
/// let (sender, _receiver) = lisle::channel::unbounded();
/// sent(sender.send_async(std::rc::Rc::new(0)));
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct SendFuture<'a, T> {
    sender: &'a Sender<T>,
    message: Slot<T>,
    /// There once it has waited.
    waiting: Option<Waiting>,
    finished: bool,
    _pinned: PhantomPinned,
}

/// The future of [`Receiver::recv_async`]. It goes where its message may go:
///
/// ```compile_fail,E0277
/// # use lisle_sync::__facade as lisle;
/// fn sent<T: Send>(_: T) {}
/// let (_sender, receiver) = lisle::channel::unbounded::<std::rc::Rc<u8>>();
/// sent(receiver.recv_async());
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct RecvFuture<'a, T> {
    receiver: &'a Receiver<T>,
    waiting: Waiting,
    stage: Stage,
    /// Set while it waits for a timer.
    alarm: Option<Alarm>,
}

/// How far a receive has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has nothing and waits nowhere.
    Idle,
    /// It joined the receivers.
    Waiting,
    /// It was promised a message.
    Promised(u64),
    /// It waits for a promised message to be made.
    Claiming(u64),
    /// It has returned.
    Finished,
}

// SAFETY: others reach its parts under the channel's lock only, and its message
// may be sent.
unsafe impl<T: Send> Send for SendFuture<'_, T> {}
// SAFETY: as above; nothing can be done with a shared reference.
unsafe impl<T: Send> Sync for SendFuture<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for RecvFuture<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for RecvFuture<'_, T> {}

impl<T> Sender<T> {
    /// As [`Sender::send`], for async tasks: the task waits, not the thread.
    /// Dropping the future gives up; then the message is dropped, unless it has
    /// been taken.
    ///
    /// # Errors
    /// As [`Sender::send`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// let (sender, receiver) = lisle::channel::bounded(1);
    /// let mut future = pin!(sender.send_async(1));
    /// let ready = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    /// assert_eq!(ready, Poll::Ready(Ok(())));
    /// assert_eq!(receiver.recv(), Ok(1));
    /// ```
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture {
            sender: self,
            message: Slot::new(Some(message)),
            waiting: None,
            finished: false,
            _pinned: PhantomPinned,
        }
    }
}

impl<T> Receiver<T> {
    /// As [`Receiver::recv`], for async tasks: the task waits, not the thread.
    /// Dropping the future gives up and loses no message.
    ///
    /// A future that waits for a timer has a thread sleep for it, which is cancelled
    /// with the future.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// let (sender, receiver) = lisle::channel::unbounded();
    /// let mut context = Context::from_waker(Waker::noop());
    /// let mut future = pin!(receiver.recv_async());
    /// assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
    /// sender.send(1).unwrap();
    /// assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(Ok(1)));
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture {
            receiver: self,
            waiting: Node::without_thread(Ticket::new(Mode::Promise)),
            stage: Stage::Idle,
            alarm: None,
        }
    }
}

/// Replaces the waker of a ticket that still waits. Returns what is to be
/// dropped outside the lock.
fn still_waits(waiting: &Waiting, waker: &mut Option<Waker>) -> Option<Option<Waker>> {
    let replace = || waiting.data.set_task(waker.take());
    waiting.is_linked().then(replace)
}

impl<T> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of the future but its message.
        let this = unsafe { self.get_unchecked_mut() };
        assert!(!this.finished, "polled after completion");
        let core = &this.sender.core;
        let mut waker = Some(context.waker().clone());
        if let Some(waiting) = &this.waiting {
            let turn = core.turn();
            let outdated = still_waits(waiting, &mut waker);
            drop(turn);
            if outdated.is_some() {
                return Poll::Pending;
            }
            this.finished = true;
            // SAFETY: the ticket is in no list.
            let message = unsafe { this.message.with_mut(|slot| (*slot).take()) };
            // A message that was not taken: nobody is there to take it.
            return Poll::Ready(message.map_or(Ok(()), |message| Err(SendError(message))));
        }
        loop {
            // SAFETY: nobody else knows the place yet.
            let message =
                unsafe { this.message.with_mut(|slot| (*slot).take()) }.expect("not sent yet");
            if let Some(claim) = core.claim_in() {
                claim.write(message);
                this.finished = true;
                return Poll::Ready(Ok(()));
            }
            let mut turn = core.turn();
            match turn.send(message) {
                Sent::Done => {
                    this.finished = true;
                    return Poll::Ready(Ok(()));
                }
                Sent::Disconnected(message) => {
                    this.finished = true;
                    return Poll::Ready(Err(SendError(message)));
                }
                Sent::NeedsSpace(message) => {
                    // SAFETY: as above.
                    unsafe { this.message.with_mut(|slot| *slot = Some(message)) };
                    drop(turn);
                    core.grow();
                }
                Sent::Full(message) => {
                    // SAFETY: as above.
                    unsafe { this.message.with_mut(|slot| *slot = Some(message)) };
                    if turn.shut_both() {
                        continue;
                    }
                    let ticket = Ticket::direct(&this.message);
                    ticket.set_task(waker);
                    let waiting = this.waiting.insert(Node::without_thread(ticket));
                    // SAFETY: the future is pinned, and dropping it removes the
                    // node.
                    unsafe { turn.state.senders.push(waiting) };
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<T> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting
            && !self.finished
        {
            // SAFETY: pushed to this list.
            unsafe { self.sender.core.turn().state.senders.remove(waiting) };
        }
    }
}

impl<T> RecvFuture<'_, T> {
    fn poll_channel(
        &mut self,
        core: &Core<T>,
        waker: &mut Option<Waker>,
    ) -> Poll<Result<T, RecvError>> {
        // Dropped after the lock.
        let _outdated;
        let mut turn = core.turn();
        match self.stage {
            Stage::Waiting => {
                _outdated = still_waits(&self.waiting, waker);
                if _outdated.is_some() {
                    return Poll::Pending;
                }
                self.stage = match self.waiting.data.granted.replace(NONE) {
                    NONE => Stage::Idle,
                    promise => Stage::Promised(promise),
                };
            }
            Stage::Claiming(promise) => {
                _outdated = Some(self.waiting.data.set_task(None));
                turn.set_claimant(promise, std::ptr::null());
                self.stage = Stage::Promised(promise);
            }
            _ => {}
        }
        if let Stage::Promised(promise) = self.stage {
            match turn.take_promised(promise) {
                Claimed::Message(message) => return Poll::Ready(Ok(message)),
                Claimed::NotYet => {
                    self.waiting.data.set_task(waker.take());
                    turn.set_claimant(promise, &self.waiting);
                    self.stage = Stage::Claiming(promise);
                    return Poll::Pending;
                }
                // Whoever was met has gone.
                Claimed::Gone => self.stage = Stage::Idle,
            }
        }
        let mut taken = turn.recv();
        if matches!(taken, Taken::Empty) && turn.shut_in() {
            taken = turn.recv();
        }
        match taken {
            Taken::Message(message) => return Poll::Ready(Ok(message)),
            Taken::Disconnected => return Poll::Ready(Err(RecvError)),
            Taken::Claim(promise) => self.stage = Stage::Promised(promise),
            Taken::NeedsSpace => {}
            Taken::Empty => {
                let outdated = self.waiting.data.set_task(waker.take());
                debug_assert!(outdated.is_none(), "taken when it was reached");
                self.stage = Stage::Waiting;
                // SAFETY: the future is pinned, and dropping it removes the node.
                unsafe { turn.state.receivers.push(&self.waiting) };
                return Poll::Pending;
            }
        }
        drop(turn);
        core.grow();
        self.poll_channel(core, waker)
    }
}

impl<T> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing is moved out of the future.
        let this = unsafe { self.get_unchecked_mut() };
        assert_ne!(this.stage, Stage::Finished, "polled after completion");
        let polled = match &this.receiver.source {
            Source::Channel(core) => {
                let mut waker = Some(context.waker().clone());
                this.poll_channel(core, &mut waker)
            }
            Source::Timer(timer) => poll_timer(timer, &mut this.alarm, context.waker()),
            Source::Never => Poll::Pending,
        };
        if polled.is_ready() {
            this.stage = Stage::Finished;
        }
        polled
    }
}

fn poll_timer<T>(
    timer: &Timer<T>,
    alarm: &mut Option<Alarm>,
    waker: &Waker,
) -> Poll<Result<T, RecvError>> {
    if let Some(message) = timer.try_recv() {
        *alarm = None;
        return Poll::Ready(Ok(message));
    }
    match timer.due() {
        Some(due) => Alarm::set(alarm, due, waker),
        None => *alarm = None,
    }
    Poll::Pending
}

impl<T> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        let Source::Channel(core) = &self.receiver.source else {
            return;
        };
        match self.stage {
            Stage::Idle | Stage::Finished => {}
            Stage::Promised(promise) => core.withdraw_recv(promise),
            Stage::Waiting => {
                // SAFETY: pushed to this list.
                unsafe { core.turn().state.receivers.remove(&self.waiting) };
                // Granted or not: no promise is found under `NONE`.
                core.withdraw_recv(self.waiting.data.granted.get());
            }
            Stage::Claiming(promise) => {
                core.turn().set_claimant(promise, std::ptr::null());
                core.withdraw_recv(promise);
            }
        }
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendFuture { .. }")
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("RecvFuture { .. }")
    }
}
