//! A protocol at a network, with calls that wait.

use std::fmt;
use std::time::{Duration, Instant};

use lisle_clock::Process;
use lisle_runtime::time;

use super::{
    Broadcast, Causal, Delivery, Fifo, Held, Inbox, Missing, Network, PointToPoint, Protocol,
    Refused, Total,
};
use crate::channel::RecvTimeoutError;

/// A process with a delivery order, attached to a [`Network`]. It is detached when it
/// is dropped.
///
/// A process is sequential, so a member belongs to one thread at a time. Receiving is a
/// cancellation point; a cancelled receive loses nothing.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use std::time::Duration;
/// use lisle::clock::Process;
/// use lisle::delivery::{Causal, Faults, Member, Network};
///
/// let slow = Faults::new(1).delay(Duration::ZERO..Duration::from_millis(2));
/// let network = Network::with(slow);
/// let [mut alice, mut bob] = [0, 1].map(|process| {
///     Member::attach(&network, Causal::new(process).limit(100))
/// });
/// alice.broadcast("hello");
/// assert_eq!(bob.recv().unwrap().from, Process::new(0));
/// ```
#[derive(Debug)]
pub struct Member<P: Protocol> {
    protocol: P,
    inbox: Inbox<P::Envelope>,
    network: Network<P::Envelope>,
}

/// Why nothing was received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RecvError<E> {
    /// All others have left; nothing of theirs is on its way, or what is held waits for
    /// something that will not come.
    Disconnected,
    /// The time is up.
    Timeout,
    /// The [hold-back](super::HoldBack) is full, and this envelope would have to wait. It is
    /// no longer the network's: to keep it, have it [arrive](Protocol::arrive) again when
    /// there is room; or drop it, and have it sent again. [`Member::missing`] says what the
    /// others wait for, and the next receive goes on to what may be that.
    Full(E),
}

/// What a receive returns.
type Received<P> = Result<Delivery<<P as Protocol>::Message>, RecvError<<P as Protocol>::Envelope>>;

/// Members with first-in-first-out delivery, at a reliable network.
pub fn fifo<T: Clone, const N: usize>() -> [Member<Fifo<T>>; N] {
    group(|process, _| Fifo::new(process))
}

/// Members with causal delivery of broadcasts, at a reliable network.
pub fn causal<T: Clone, const N: usize>() -> [Member<Causal<T>>; N] {
    group(|process, _| Causal::new(process))
}

/// Members with causal delivery of messages to single receivers, at a reliable network.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::delivery;
/// let [mut alice, mut bob] = delivery::point_to_point();
/// alice.send(bob.process(), "for you");
/// assert_eq!(bob.recv().unwrap().message, "for you");
/// ```
pub fn point_to_point<T: Clone, const N: usize>() -> [Member<PointToPoint<T>>; N] {
    group(|process, _| PointToPoint::new(process))
}

/// Members with total order, at a reliable network.
///
/// ```
/// # use lisle_sync::__facade as lisle;
/// use lisle::delivery;
/// let [mut alice, mut bob] = delivery::total();
/// let other = std::thread::spawn(move || {
///     bob.broadcast("b");
///     [(); 2].map(|()| bob.recv().unwrap().message)
/// });
/// alice.broadcast("a");
/// let order = [(); 2].map(|()| alice.recv().unwrap().message);
/// assert_eq!(other.join().unwrap(), order);
/// ```
pub fn total<T: Clone, const N: usize>() -> [Member<Total<T>>; N] {
    group(|process, all| Total::new(process, all.iter().copied()))
}

fn group<P: Protocol, const N: usize>(
    protocol: impl Fn(Process, &[Process]) -> P,
) -> [Member<P>; N] {
    let all = std::array::from_fn::<_, N, _>(|n| Process::new(n as u32));
    let network = Network::reliable();
    all.map(|process| Member::attach(&network, protocol(process, &all)))
}

impl<P: Protocol> Member<P> {
    /// Attaches a process to a network.
    ///
    /// # Panics
    /// If a process of that name is attached.
    pub fn attach(network: &Network<P::Envelope>, protocol: P) -> Member<P> {
        let inbox = network.attach(protocol.process());
        Member::at(network, protocol, inbox)
    }

    fn at(network: &Network<P::Envelope>, protocol: P, inbox: Inbox<P::Envelope>) -> Member<P> {
        Member {
            protocol,
            inbox,
            network: network.clone(),
        }
    }

    /// Who it is.
    pub fn process(&self) -> Process {
        self.protocol.process()
    }

    /// The next message in the delivery order, waiting for it.
    ///
    /// # Errors
    /// If all others have left, or the hold-back is full.
    pub fn recv(&mut self) -> Received<P> {
        self.recv_until(None)
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] if it is not; or as [`Member::recv`].
    pub fn try_recv(&mut self) -> Received<P> {
        self.recv_until(Some(time::now()))
    }

    /// As [`Member::recv`], waiting at most this long.
    ///
    /// # Errors
    /// If the time is up, or as [`Member::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Received<P> {
        self.recv_until(time::now().checked_add(timeout))
    }

    /// As [`Member::recv`], waiting at most until the deadline.
    ///
    /// # Errors
    /// As [`Member::recv_timeout`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Received<P> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Received<P> {
        loop {
            if let Some(delivery) = self.protocol.deliver() {
                return Ok(delivery);
            }
            let arrived = self.inbox.recv_until(deadline);
            let envelope = arrived.map_err(|error| match error {
                RecvTimeoutError::Timeout => RecvError::Timeout,
                RecvTimeoutError::Disconnected => RecvError::Disconnected,
            })?;
            if let Err(Refused::Full(envelope)) = self.protocol.arrive(envelope) {
                return Err(RecvError::Full(envelope));
            }
            if let Some(reply) = self.protocol.reply() {
                self.network.broadcast(self.protocol.process(), &reply);
            }
        }
    }

    /// Who waits for what.
    pub fn held(&self) -> Vec<Held> {
        self.protocol.held()
    }

    /// What has to arrive so that all that is held can be delivered.
    pub fn missing(&self) -> Vec<Missing> {
        self.protocol.missing()
    }

    /// Gives up what is missing, fewest messages first, until something can be
    /// delivered; returns how many messages.
    pub fn give_up(&mut self) -> u64 {
        self.protocol.give_up()
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The protocol, to be told what the network does not know: that a member of a
    /// total order has left, say.
    pub fn protocol_mut(&mut self) -> &mut P {
        &mut self.protocol
    }

    /// The network.
    pub fn network(&self) -> &Network<P::Envelope> {
        &self.network
    }
}

impl<P: Broadcast> Member<P> {
    /// Sends to all others. Never waits. Returns the envelope, which can be sent again
    /// to those that miss it, by [`Network::send`].
    pub fn broadcast(&mut self, message: P::Message) -> P::Envelope {
        let envelope = self.protocol.broadcast(message);
        self.network.broadcast(self.protocol.process(), &envelope);
        envelope
    }
}

impl<T: Clone> Member<Causal<T>> {
    /// Attaches a process while others are at work: what is broadcast from now on is
    /// delivered to it.
    ///
    /// ```
    /// # use lisle_sync::__facade as lisle;
    /// use lisle::delivery::{self, Member};
    /// let [mut alice, mut bob] = delivery::causal();
    /// alice.broadcast("before");
    /// let mut carol = Member::<delivery::Causal<_>>::join(alice.network(), 2);
    /// bob.recv().unwrap();
    /// bob.broadcast("after");
    /// assert_eq!(carol.recv().unwrap().message, "after");
    /// ```
    ///
    /// # Panics
    /// As [`Member::attach`].
    pub fn join(
        network: &Network<<Causal<T> as Protocol>::Envelope>,
        process: impl Into<Process>,
    ) -> Self {
        let process = process.into();
        let (inbox, past) = network.attach_late(process);
        Member::at(network, Causal::joining(process, past), inbox)
    }
}

impl<T: Clone> Member<Fifo<T>> {
    /// Attaches a process while others are at work: what is broadcast from now on is
    /// delivered to it.
    ///
    /// # Panics
    /// As [`Member::attach`].
    pub fn join(
        network: &Network<<Fifo<T> as Protocol>::Envelope>,
        process: impl Into<Process>,
    ) -> Self {
        let process = process.into();
        let (inbox, past) = network.attach_late(process);
        Member::at(network, Fifo::joining(process, past), inbox)
    }
}

impl<T: Clone> Member<PointToPoint<T>> {
    /// Sends to one process. Never waits. Returns the envelope, as
    /// [`Member::broadcast`].
    pub fn send(
        &mut self,
        to: impl Into<Process>,
        message: T,
    ) -> <PointToPoint<T> as Protocol>::Envelope {
        let to = to.into();
        let envelope = self.protocol.send(to, message);
        self.network.send(self.process(), to, envelope.clone());
        envelope
    }
}

impl<E> fmt::Display for RecvError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::Disconnected => "all other members have left",
            RecvError::Timeout => "the time is up",
            RecvError::Full(_) => "as many messages wait for others as may",
        })
    }
}

/// Whatever the envelope is, so that errors can be unwrapped; without the envelope.
impl<E> fmt::Debug for RecvError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::Disconnected => "Disconnected",
            RecvError::Timeout => "Timeout",
            RecvError::Full(_) => "Full(..)",
        })
    }
}

impl<E> std::error::Error for RecvError<E> {}
